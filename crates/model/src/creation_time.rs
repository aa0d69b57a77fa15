//! When an event was made, in text.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::event::Rejected;

/// Prints times as [`rfc_3339`] gives them, without the machinery of formatting.
static TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// The creation time of an event in text, kept for the events behind it: a stream counts seconds, so most of them have the
/// same.
#[derive(Debug, Default)]
pub struct CreationTime {
    ms: i64,
    milliseconds: String,
    /// Nothing when the time is out of the calendar.
    rfc_3339: Option<String>,
}

impl CreationTime {
    /// The texts of this time, in milliseconds since 1970.
    pub fn of(&mut self, ms: i64) -> &Self {
        // Before the first there is no text.
        if self.ms != ms || self.milliseconds.is_empty() {
            *self = Self { ms, milliseconds: ms.to_string(), rfc_3339: rfc_3339(ms).ok() };
        }
        self
    }

    /// Milliseconds since 1970.
    pub fn milliseconds(&self) -> &str {
        &self.milliseconds
    }

    /// What [`rfc_3339`] gives.
    pub fn rfc_3339(&self) -> Result<&str, Rejected> {
        self.rfc_3339.as_deref().ok_or_else(out_of_bounds)
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC, always with three decimals, so that the texts sort like the times. Refused
/// is what no calendar has (`sink.created_at`).
pub fn rfc_3339(ms: i64) -> Result<String, Rejected> {
    let time = Timestamp::from_millisecond(ms).map_err(|_| out_of_bounds())?;
    Ok(TIMES.timestamp_to_string(&time))
}

fn out_of_bounds() -> Rejected {
    Rejected { code: "sink.created_at", message: "the creation time is out of all bounds".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        let mut kept = CreationTime::default();
        for (ms, text) in [
            (0, Ok("1970-01-01T00:00:00.000Z")),
            (1_700_000_000_000, Ok("2023-11-14T22:13:20.000Z")),
            (1_700_000_000_000, Ok("2023-11-14T22:13:20.000Z")),
            (i64::MAX, Err("sink.created_at")),
            (-1, Ok("1969-12-31T23:59:59.999Z")),
        ] {
            assert_eq!(rfc_3339(ms).as_deref().map_err(|rejected| rejected.code), text);
            assert_eq!(kept.of(ms).rfc_3339().map_err(|rejected| rejected.code), text);
            assert_eq!(kept.milliseconds(), ms.to_string());
        }
    }
}
