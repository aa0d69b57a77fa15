//! Tells all lanes that something has changed, in the order in which they wait.
//!
//! Not tokio's `watch`: with many receivers it wakes them in an order by chance (`BigNotify`), and a world would not repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<State>);

#[derive(Debug, Default)]
struct State {
    count: AtomicU64,
    notify: Notify,
}

/// What one task has seen of them.
#[derive(Debug)]
pub(super) struct Seen {
    changes: Changes,
    count: u64,
}

impl Changes {
    /// Something changed.
    pub(super) fn add(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Sees what comes from now on.
    pub(super) fn subscribe(&self) -> Seen {
        Seen { changes: self.clone(), count: self.count() }
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Seen {
    /// Waits for a change that was not seen yet.
    pub(super) async fn changed(&mut self) {
        loop {
            let notified = self.changes.0.notify.notified();
            let count = self.changes.count();
            if self.count != count {
                self.count = count;
                return;
            }
            notified.await;
        }
    }
}
