//! The seam between a worker process and the world outside.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use super::lock;

/// What a worker process passes on its way out and in: here it can be frozen, and here it dies. Clones are the same seam.
#[derive(Clone, Debug)]
pub struct Seam(Arc<SeamState>);

#[derive(Debug)]
struct SeamState {
    /// Who waits is woken in order, which a `watch` does not.
    thawed: Notify,
    crashed: watch::Sender<bool>,
    passes: Mutex<Passes>,
}

#[derive(Debug)]
struct Passes {
    done: u64,
    crash_at: Option<u64>,
    frozen: bool,
}

impl Seam {
    /// A seam that lets everything through, or crashes its worker at the pass with this number.
    pub fn new(crash_at: Option<u64>) -> Self {
        Self(Arc::new(SeamState {
            thawed: Notify::new(),
            crashed: watch::Sender::new(false),
            passes: Mutex::new(Passes { done: 0, crash_at, frozen: false }),
        }))
    }

    /// Freezes the worker: calls that come by wait, in both directions. What is under way outside goes on.
    pub fn freeze(&self, frozen: bool) {
        lock(&self.0.passes).frozen = frozen;
        if !frozen {
            self.0.thawed.notify_waiters();
        }
    }

    /// Waits for the crash that the seam was made with.
    pub async fn crashed(&self) {
        let mut crashed = self.0.crashed.subscribe();
        // The sender lives in `self`.
        drop(crashed.wait_for(|crashed| *crashed).await);
    }

    /// Passes so far.
    pub fn passes(&self) -> u64 {
        lock(&self.0.passes).done
    }

    /// Passes, as soon as the worker may. A crashed worker never does.
    pub async fn pass(&self) {
        let dies = {
            let mut passes = lock(&self.0.passes);
            passes.done += 1;
            passes.crash_at.is_some_and(|at| passes.done >= at)
        };
        if dies {
            self.0.crashed.send_replace(true);
            std::future::pending::<()>().await;
        }
        loop {
            let thawed = self.0.thawed.notified();
            if !lock(&self.0.passes).frozen {
                return;
            }
            thawed.await;
        }
    }
}
