//! The service's time, as the `Date` header of each answer tells it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_smithy_runtime_api::http::Headers;
use jiff::fmt::rfc2822::DateTimeParser;
use tailwater_model::ServiceTime;

tokio::task_local! {
    /// Who gets the date of the answer to the call that is being made.
    static DATE: Arc<AtomicI64>;
}

/// No answer told its date. Real ones are after 1970.
const NO_DATE: i64 = i64::MIN;

/// One call's place for the date of its answer; of the last one, when it was attempted again.
pub(crate) struct DateSlot(Arc<AtomicI64>);

impl Default for DateSlot {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(NO_DATE)))
    }
}

impl DateSlot {
    /// Makes the call whose answer tells the date.
    pub(crate) async fn filled_by<F: Future>(&self, call: F) -> F::Output {
        DATE.scope(Arc::clone(&self.0), call).await
    }

    /// The date; nothing when no answer told one.
    pub(crate) fn take(&self) -> Option<ServiceTime> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ms| *ms != NO_DATE).map(ServiceTime::from_ms)
    }
}

/// Keeps the date of an answer for the call that is being made.
pub(crate) fn note(headers: &Headers) {
    // Nobody asks outside of a call that is made for a slot.
    let _ = DATE.try_with(|slot| {
        slot.store(of(headers).map_or(NO_DATE, ServiceTime::ms), Ordering::Relaxed);
    });
}

/// The date of an answer; nothing when it tells none that can be read.
pub(crate) fn of(headers: &Headers) -> Option<ServiceTime> {
    headers.get("date").and_then(parse)
}

/// `Sat, 28 Nov 2026 21:53:49 GMT` (RFC 9110, 5.6.7).
fn parse(text: &str) -> Option<ServiceTime> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let time = PARSER.parse_timestamp(text.trim()).ok()?;
    Some(ServiceTime::from_ms(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(ServiceTime::from_ms(784_111_777_000)));
        for bad in ["", "yesterday", "1994-11-06T08:49:37Z", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
