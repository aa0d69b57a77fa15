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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::tell_in_log;
    use crate::arguments::LogFormat;
    use crate::logging;

    /// Tells the process that this test starts what to panic with.
    const PANICS_WITH: &str = "TAILWATER_TEST_PANICS_WITH";
    const LITERAL: &str = "a lane without a number";

    /// The hook is the process's, so each panic has a process of its own, which begins to log as the program does.
    #[test]
    fn a_panic_shows_its_place_and_nothing_of_an_item() {
        match std::env::var(PANICS_WITH).as_deref() {
            Ok(LITERAL) => logged(|| panic!("a lane without a number")),
            Ok(item) => logged(|| panic!("no place for the item {item}")),
            Err(_) => {}
        }
        let told = output_of_panic("hunter2");
        assert!(told.contains("a bug in Tailwater") && told.contains("its message is not shown"), "{told}");
        assert!(told.contains("src/panics.rs:") && !told.contains("hunter2"), "{told}");
        let told = output_of_panic(LITERAL);
        assert!(told.contains(LITERAL) && told.contains("src/panics.rs:"), "{told}");
    }

    fn logged(panics: impl FnOnce()) {
        logging::start(LogFormat::Json, true);
        tell_in_log();
        panics();
    }

    fn output_of_panic(words: &str) -> String {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "panics::tests::a_panic_shows_its_place_and_nothing_of_an_item"])
            .env_clear()
            .env(PANICS_WITH, words)
            .output()
            .expect("ran");
        assert!(!output.status.success(), "it panics");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }
}
