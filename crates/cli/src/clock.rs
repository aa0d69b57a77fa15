//! The wall clock, which only the program's edge may ask.

/// Milliseconds since 1970. Shown to people, and the meaning of "now" in a bounded run; nothing else is decided by it.
#[expect(clippy::disallowed_methods, reason = "the program's edge: no other module asks the wall clock")]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The same in microseconds.
#[expect(clippy::disallowed_methods, reason = "the program's edge: no other module asks the wall clock")]
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
