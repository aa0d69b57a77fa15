//! Blocking work (writing, syncing) away from the executor, on a resource that only one such piece of work may hold.

use tokio::task::JoinHandle;

/// A resource for blocking work. The work takes the resource along: when the future that waits for it is dropped, the
/// work still ends on its own, and whoever comes next waits for that. So nothing of a cancelled commit can be written
/// after a reopening has begun.
pub(crate) struct BlockingResource<T>(State<T>);

enum State<T> {
    Idle(T),
    Working(JoinHandle<T>),
    Lost,
}

/// The work panicked and took the resource with it.
#[derive(Debug)]
pub(crate) struct ResourceLost;

impl<T: Send + 'static> BlockingResource<T> {
    pub(crate) fn new(resource: T) -> Self {
        Self(State::Idle(resource))
    }

    /// Runs `work` on a thread for blocking work, after any work begun before.
    pub(crate) async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, ResourceLost> {
        self.settle().await?;
        let State::Idle(mut resource) = std::mem::replace(&mut self.0, State::Lost) else { return Err(ResourceLost) };
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.0 = State::Working(tokio::task::spawn_blocking(move || {
            // Nobody listens any more when the waiting future was dropped.
            let _unheard = answer.send(work(&mut resource));
            resource
        }));
        self.settle().await?;
        answered.await.map_err(|_| ResourceLost)
    }

    async fn settle(&mut self) -> Result<(), ResourceLost> {
        if let State::Working(work) = &mut self.0 {
            let ended = work.await;
            self.0 = ended.map_or(State::Lost, State::Idle);
        }
        if matches!(self.0, State::Lost) { Err(ResourceLost) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn work_of_a_dropped_future_ends_before_the_next_begins() {
        let mut resource = BlockingResource::new(Vec::new());
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let slow = resource.run(move |list: &mut Vec<&str>| {
            let _ended = wait.recv();
            list.push("first");
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), slow).await.is_err());
        drop(go);
        assert_eq!(resource.run(|list| list.clone()).await.expect("not lost"), ["first"]);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_stays_told() {
        let mut resource = BlockingResource::new(());
        assert!(resource.run(|()| panic!("as the test wants")).await.is_err());
        assert!(resource.run(|()| ()).await.is_err());
    }
}
