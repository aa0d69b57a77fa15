//! The operating system's requests to stop.

use tailwater_model::{Trouble, TroubleKind};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT and SIGTERM from its making on: afterwards neither ends the process by itself.
pub struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
}

impl StopRequests {
    /// Begins to listen.
    pub fn listen() -> Result<Self, Trouble> {
        let refused = |fault: std::io::Error| {
            Trouble::new(TroubleKind::Environment, "process.no_signals", format!("cannot listen to signals: {fault}"))
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
        })
    }

    /// Waits for the next request and gives the exit code that it forces when it is the second: 128 plus the signal's
    /// number. Cancel-safe.
    pub async fn next(&mut self) -> u8 {
        tokio::select! { biased;
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
