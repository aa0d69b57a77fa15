//! Ctrl-C and SIGTERM as a flag, so that a command can stop what it started before it goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

static ASKED_TO_STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Turns SIGINT and SIGTERM into the flag that [`asked_to_stop`] reads. A second signal ends the process at once.
pub fn listen() -> Result<()> {
    let flag = Arc::clone(ASKED_TO_STOP.get_or_init(|| Arc::new(AtomicBool::new(false))));
    for signal in [SIGINT, SIGTERM] {
        // This order matters: the first signal finds the flag unset and sets it, the second finds it set and exits.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .with_context(|| format!("cannot listen for signal {signal}: run again on a plain terminal"))?;
    }
    Ok(())
}

/// Whether the user (or CI) has asked this process to stop.
pub fn asked_to_stop() -> bool {
    ASKED_TO_STOP.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}
