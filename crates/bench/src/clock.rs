//! The wall clock: what a record's own times are compared with across processes.

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
