//! How unkind the service of `tailwater simulate` is, from its flags.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::ValueEnum;
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;

use super::SimulateArguments;

/// Times vary by this part of what was asked for, so that not all shards close at once.
const SPREAD: f64 = 0.25;

/// How unkind the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// Everything at once, in order, and never an error
    None,
    /// As AWS is on an ordinary day: empty and short pages, late listings, rates, two readers of a shard
    Ordinary,
    /// Every error, also as HTML or without a body, empty and short pages, all the time; what is answered is true and whole
    Errors,
    /// Every error and every inconsistency that was ever seen, all the time: broken answers, too, and listings that lack shards
    Harsh,
}

/// What the flags ask of the service.
pub fn manners(arguments: &SimulateArguments) -> Manners {
    let mut manners = match arguments.faults {
        Faults::None => Manners::kind(),
        Faults::Ordinary => Manners::default(),
        Faults::Errors => errors(),
        Faults::Harsh => harsh(),
    };
    manners.shards_at_start = usize::from(arguments.shards);
    manners.open_shards_max = usize::from(arguments.shards_max);
    if let Some(after) = arguments.rotate_every {
        manners.rotate_after_ms = Some(about(after));
    }
    if let Some(splits) = arguments.splits {
        manners.split = splits;
    }
    if let Some(after) = arguments.trim_after {
        let after_ms = milliseconds(after);
        manners.trim_after_ms = after_ms..=after_ms.saturating_add(after_ms / 4);
    }
    if let Some(life) = arguments.iterator_life {
        manners.iterator_life_ms = milliseconds(life);
    }
    if let Some(records) = arguments.page_records_max {
        manners.page_records_max = usize::from(records);
    }
    if let Some(throttled) = arguments.throttle {
        manners.throttled = throttled;
    }
    manners
}

/// All errors, and pages that come empty or short. Listings are as on an ordinary day.
fn errors() -> Manners {
    Manners {
        page_empty: 0.3,
        page_short: 0.5,
        throttled: 0.05,
        limit_exceeded: 0.05,
        throughput_exceeded: 0.02,
        internal_error: 0.03,
        unavailable: 0.02,
        expired_early: 0.03,
        iterator_forgotten: 0.01,
        expired_token: 0.005,
        unknown_code: 0.01,
        ..Manners::default()
    }
}

/// Everything that was ever seen. What would stop a careful consumer for good (no access, a lost shard) is left out.
fn harsh() -> Manners {
    Manners {
        split: 0.3,
        stalled: 0.01,
        listing_page_max: 7,
        listing_shuffled: true,
        child_listed_late: 0.5,
        closed_listed_late: 0.3,
        listing_empty: 0.05,
        listing_page_empty: 0.05,
        shard_unlisted: 0.02,
        shard_listed_twice: 0.1,
        ..errors()
    }
}

/// What the level of faults does to answers on their way.
pub fn wire(faults: Faults) -> WireManners {
    match faults {
        Faults::None | Faults::Ordinary => WireManners::default(),
        Faults::Errors => WireManners { html: 0.01, empty: 0.01, long_message: 0.005, ..WireManners::default() },
        Faults::Harsh => WireManners { truncated: 0.01, wrong_checksum: 0.01, slow: 0.005, ..wire(Faults::Errors) },
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn about(time: Duration) -> RangeInclusive<i64> {
    let middle = milliseconds(time);
    let spread = (middle as f64 * SPREAD) as i64;
    (middle - spread).max(1)..=(middle + spread).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between an ordinary day and everything: what `errors` adds are errors and pages, never a listing.
    #[test]
    fn errors_have_the_listings_of_an_ordinary_day() {
        let listings = |manners: &Manners| {
            (
                (manners.listing_shuffled, manners.listing_page_max, manners.idle_without_starting),
                [manners.child_listed_late, manners.closed_listed_late, manners.listing_empty],
                [manners.listing_page_empty, manners.shard_unlisted, manners.shard_listed_twice, manners.stalled],
            )
        };
        assert_eq!(listings(&errors()), listings(&Manners::default()));
        assert_ne!(listings(&harsh()), listings(&errors()));
        let (ordinary, errors, harsh) = (Manners::default(), errors(), harsh());
        assert!(ordinary.throttled < errors.throttled && errors.throttled == harsh.throttled);
        assert!(ordinary.page_empty < errors.page_empty && errors.page_empty == harsh.page_empty);
        let broken = |faults| [wire(faults).truncated, wire(faults).wrong_checksum, wire(faults).html];
        assert_eq!(broken(Faults::Errors), [0.0, 0.0, broken(Faults::Harsh)[2]], "what is answered is whole");
    }

    #[test]
    fn times_are_spread_and_never_nothing() {
        assert_eq!(about(Duration::from_secs(4)), 3000..=5000);
        assert_eq!(about(Duration::ZERO), 1..=1);
    }
}
