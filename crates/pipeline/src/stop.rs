//! The request to stop gracefully.

use tokio_util::sync::CancellationToken;

/// Asks lanes to stop: commit what is in hand, read no more. Clones share one state; stopping cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(CancellationToken);

impl StopSignal {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether it was given.
    pub fn is_stopping(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is given.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// A signal that is given with this one, and can be given alone.
    pub(crate) fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}
