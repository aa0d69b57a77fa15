//! The operating system's requests to stop.

use std::fs;
use std::io;
use std::process;
use std::thread;

use tailwater_model::{Trouble, TroubleKind};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT, SIGTERM and SIGHUP from its making on: afterwards none ends the process by itself.
pub struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
    /// A terminal that is closed. Nothing where it is to be ignored, as below `nohup`.
    hangup: Option<Signal>,
}

/// Where Linux says which signals a process ignores.
const STATUS_FILE: &str = "/proc/self/status";

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
        // Elsewhere nobody can say it without unsafe code.
        let is_ignored = fs::read_to_string(STATUS_FILE).is_ok_and(|status| ignores(&status, SignalKind::hangup()));
        let hangup = if is_ignored { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Waits for the next request and gives the exit code that it forces when it is the second: 128 plus the signal's
    /// number. Cancel-safe.
    pub async fn next(&mut self) -> u8 {
        tokio::select! { biased;
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            Some(_) = hang_up(&mut self.hangup) => {
                // A terminal that is closed may say so twice, through its shell and by itself: that is one request.
                self.hangup = None;
                129
            }
        }
    }
}

async fn hang_up(hangup: &mut Option<Signal>) -> Option<()> {
    match hangup {
        Some(signal) => signal.recv().await,
        None => None,
    }
}

/// By the mask in hexadecimal digits that stands in the status of a process: its lowest bit is signal 1.
fn ignores(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal.as_raw_value() - 1)) & 1 == 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_stays_ignored() {
        for (mask, is_ignored) in [("0000000000000001", true), ("0000000000001000", false), ("0000000000001003", true)]
        {
            let status =
                format!("Name:\ttailwater\nSigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
            assert_eq!(ignores(&status, SignalKind::hangup()), is_ignored, "{mask}");
        }
        assert!(!ignores("", SignalKind::hangup()));
    }
}
