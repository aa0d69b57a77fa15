//! Panics are bugs, told by their place.

use std::backtrace::{Backtrace, BacktraceStatus};

use tailwater_model::panic_words;
use tracing::field::display;

/// From now on a panic is a line of the log, without what may quote an item. `RUST_BACKTRACE=1` adds how it came there.
pub fn tell_in_log() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
        let (place, words) = (panic.location().map(display), panic_words(panic.payload()));
        tracing::error!(place, backtrace, "a bug in Tailwater, please report it: {words}");
    }));
}
