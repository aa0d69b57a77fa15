//! The operating system's requests to stop.

use std::io;
use std::process;
use std::thread;

use tailwater_model::{Trouble, TroubleKind};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT and SIGTERM from its making on: afterwards neither ends the process by itself.
pub struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
}

impl StopRequests {
    /// Begins to listen. From here on a second request ends the process, whatever the rest of it does.
    pub fn listen() -> Result<Self, Trouble> {
        let refused = |fault: io::Error| {
            Trouble::new(TroubleKind::Environment, "process.no_signals", format!("cannot listen to signals: {fault}"))
        };
        let requests = Self::new().map_err(refused)?;
        end_at_the_second().map_err(refused)?;
        Ok(requests)
    }

    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
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

/// Listens on a thread of its own as well: all others may stand still. Where it cannot listen, they do all the same.
fn end_at_the_second() -> io::Result<()> {
    let listen = || -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let code = runtime.block_on(async {
            let mut requests = StopRequests::new()?;
            requests.next().await;
            io::Result::Ok(requests.next().await)
        })?;
        process::exit(code.into())
    };
    thread::Builder::new().name("second-signal".into()).spawn(listen).map(drop)
}
