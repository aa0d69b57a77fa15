//! Moments of the service's own clock.

use std::fmt;
use std::time::Duration;

use crate::creation_time::rfc_3339;

/// A moment by the clock of the service that is read, in milliseconds since 1970. Creation times of records and `Date`
/// headers are of this clock; the clock of this machine is never compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceTime(i64);

impl ServiceTime {
    /// Before everything.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since 1970.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this moment, nothing when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(time)))
    }

    /// So much earlier.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(time)))
    }
}

/// RFC 3339 in UTC with milliseconds; a moment that no calendar has as its number.
impl fmt::Display for ServiceTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rfc_3339(self.0) {
            Ok(text) => out.write_str(&text),
            Err(_) => write!(out, "{} ms since 1970", self.0),
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_added_and_compared_without_overflow() {
        let moment = ServiceTime::from_ms(1_700_000_000_000);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.000Z");
        assert_eq!(moment.plus(Duration::from_secs(1)).since(moment), Duration::from_secs(1));
        assert_eq!(moment.minus(Duration::from_secs(1)).since(moment), Duration::ZERO);
        assert_eq!(ServiceTime::from_ms(i64::MAX).plus(Duration::MAX), ServiceTime::from_ms(i64::MAX));
        assert_eq!(ServiceTime::from_ms(i64::MIN).since(moment), Duration::ZERO);
        assert_eq!(ServiceTime::from_ms(i64::MAX).to_string(), format!("{} ms since 1970", i64::MAX));
    }
}
