//! Moments for people.

/// Milliseconds since 1970 as RFC 3339.
pub(crate) fn rfc_3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}
