//! How kind the service is. What AWS documents is fixed elsewhere; here stands what varies.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A chance between 0 (never) and 1 (always).
pub type Probability = f64;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// The longest that a shard's records may stand still, in milliseconds: stalls of some minutes were observed.
const STALL_MS_MAX: i64 = 5 * MINUTE_MS;

/// The sides of the service that vary. Names of its fields are the names under which [`super::Service::hits`] counts.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Open shards of a new stream; at least one.
    pub shards_at_start: usize,
    /// How long a shard stays open before it closes by itself; nothing for ever. AWS: about four hours (observed).
    pub rotate_after_ms: Option<RangeInclusive<i64>>,
    /// The chance that a shard which closes by itself has two children and not one.
    pub split: Probability,
    /// Most open shards of a stream that closing by itself may lead to: at that number a shard that would split rotates.
    pub open_shards_max: usize,
    /// How long records are kept. AWS: 24 hours, and some time more that nobody can rely on.
    pub trim_after_ms: RangeInclusive<i64>,
    /// Time from turning a stream on or off until that is done.
    pub status_change_ms: i64,
    /// Time from a write until readers see its record. AWS: mostly below a second.
    pub visible_after_ms: RangeInclusive<i64>,
    /// The chance that a record, and with it those after it in its shard, comes minutes late.
    pub stalled: Probability,

    /// Most shards of a page of a listing; 100 on AWS.
    pub listing_page_max: usize,
    /// Listings are in some fixed order that is not that of the ids.
    pub listing_shuffled: bool,
    /// The chance that a child is listed late: up to a minute after its parent closed, and at most after a tenth of its life.
    pub child_listed_late: Probability,
    /// The chance that a closed shard is listed as open for up to a minute, and at most for a tenth of its life.
    pub closed_listed_late: Probability,
    /// The chance that a listing is empty: its first page, and never twice in a row.
    pub listing_empty: Probability,
    /// An open shard without records is listed without `StartingSequenceNumber`. Never seen on AWS; other servers do it.
    pub idle_without_starting: bool,
    /// An open shard is listed with an `EndingSequenceNumber`, the one of its newest record. Never seen on AWS; other servers do it.
    pub open_with_ending: bool,
    /// The chance that a page of a listing calls a stream disabled that is on; never twice in a row.
    pub disabled_once: Probability,
    /// The chance that a page of a listing is empty and names where the next one begins.
    pub listing_page_empty: Probability,
    /// The chance, for each shard, that a listing does not have it; the next one has it again.
    pub shard_unlisted: Probability,
    /// The chance that a shard is on two pages of a listing.
    pub shard_listed_twice: Probability,
    /// `ShardFilter` is ignored and answers the shard itself, as DynamoDB Local does.
    pub shard_filter_ignored: bool,

    /// How long an iterator is good. AWS: 15 minutes.
    pub iterator_life_ms: i64,
    /// `LATEST` may begin so many records before the newest.
    pub latest_slack_records: usize,
    /// A sequence number of another shard is accepted, and means the place where it would be.
    pub foreign_sequence_accepted: bool,
    /// Most records of a page; 1 000 on AWS.
    pub page_records_max: usize,
    /// Most bytes of a page's records; 1 MB on AWS. One record always fits.
    pub page_bytes_max: usize,
    /// The chance of a page that is empty although there are records.
    pub page_empty: Probability,
    /// The chance of a page with fewer records than there are.
    pub page_short: Probability,
    /// The chance that the end of a closed shard comes in an empty page of its own.
    pub end_apart: Probability,
    /// The chance that a page begins with the record before its place, beyond all limits. Never seen on AWS; other servers do it.
    pub record_repeated: Probability,
    /// Readers of one shard at once, more are throttled; nothing counts nobody. AWS: two.
    pub readers_max: Option<usize>,
    /// `DescribeStream` calls in a second; nothing for any number. AWS: ten.
    pub describe_per_second: Option<usize>,
    /// `ListStreams` calls in a second; nothing for any number. AWS: five.
    pub list_per_second: Option<usize>,

    /// `ThrottlingException` on any call.
    pub throttled: Probability,
    /// `LimitExceededException` on `GetRecords` and `DescribeStream`.
    pub limit_exceeded: Probability,
    /// `ProvisionedThroughputExceededException` on `GetRecords`.
    pub throughput_exceeded: Probability,
    /// `InternalServerError` (HTTP 500) on any call.
    pub internal_error: Probability,
    /// `ServiceUnavailable` (HTTP 503) on any call.
    pub unavailable: Probability,
    /// `ExpiredIteratorException` for an iterator that is not that old.
    pub expired_early: Probability,
    /// `ValidationException` for an iterator that the service gave out itself.
    pub iterator_forgotten: Probability,
    /// `ResourceNotFoundException` for something that is there.
    pub not_found_once: Probability,
    /// `ExpiredTokenException` on any call.
    pub expired_token: Probability,
    /// `UnrecognizedClientException` on any call.
    pub unrecognized_client: Probability,
    /// `AccessDeniedException` on any call.
    pub access_denied: Probability,
    /// A code that no client knows, on any call.
    pub unknown_code: Probability,
}

impl Manners {
    /// Without any unkindness: no faults, no inconsistency, no waiting. Shards never close by themselves.
    pub fn kind() -> Self {
        Self {
            shards_at_start: 1,
            rotate_after_ms: None,
            split: 0.0,
            open_shards_max: 1000,
            trim_after_ms: 24 * HOUR_MS..=24 * HOUR_MS,
            status_change_ms: 0,
            visible_after_ms: 0..=0,
            stalled: 0.0,
            listing_page_max: 100,
            listing_shuffled: false,
            child_listed_late: 0.0,
            closed_listed_late: 0.0,
            listing_empty: 0.0,
            idle_without_starting: false,
            open_with_ending: false,
            disabled_once: 0.0,
            listing_page_empty: 0.0,
            shard_unlisted: 0.0,
            shard_listed_twice: 0.0,
            shard_filter_ignored: false,
            iterator_life_ms: 15 * MINUTE_MS,
            latest_slack_records: 0,
            foreign_sequence_accepted: false,
            page_records_max: 1000,
            page_bytes_max: 1_000_000,
            page_empty: 0.0,
            page_short: 0.0,
            end_apart: 0.0,
            record_repeated: 0.0,
            readers_max: None,
            describe_per_second: None,
            list_per_second: None,
            throttled: 0.0,
            limit_exceeded: 0.0,
            throughput_exceeded: 0.0,
            internal_error: 0.0,
            unavailable: 0.0,
            expired_early: 0.0,
            iterator_forgotten: 0.0,
            not_found_once: 0.0,
            expired_token: 0.0,
            unrecognized_client: 0.0,
            access_denied: 0.0,
            unknown_code: 0.0,
        }
    }

    pub(super) fn visible_delay(&self, rng: &mut fastrand::Rng, hits: &mut BTreeMap<&'static str, u64>) -> i64 {
        let delay_ms = rng.i64(self.visible_after_ms.clone());
        if hit("stalled", self.stalled, rng, hits) { delay_ms + rng.i64(0..=STALL_MS_MAX) } else { delay_ms }
    }
}

/// As AWS is on an ordinary day.
impl Default for Manners {
    fn default() -> Self {
        Self {
            rotate_after_ms: Some(HOUR_MS * 7 / 2..=HOUR_MS * 9 / 2),
            trim_after_ms: 24 * HOUR_MS..=30 * HOUR_MS,
            status_change_ms: 2 * SECOND_MS,
            visible_after_ms: 50..=900,
            child_listed_late: 0.2,
            page_empty: 0.05,
            page_short: 0.2,
            end_apart: 0.5,
            latest_slack_records: 2,
            readers_max: Some(2),
            describe_per_second: Some(10),
            list_per_second: Some(5),
            ..Self::kind()
        }
    }
}

/// Draws, and counts what was drawn.
pub(super) fn hit(
    name: &'static str,
    chance: Probability,
    rng: &mut fastrand::Rng,
    hits: &mut BTreeMap<&'static str, u64>,
) -> bool {
    // Nothing is drawn for what cannot be: a knob that is off does not change the rest of a run.
    let is_hit = chance > 0.0 && rng.f64() < chance;
    if is_hit {
        count(name, hits);
    }
    is_hit
}

pub(super) fn count(name: &'static str, hits: &mut BTreeMap<&'static str, u64>) {
    *hits.entry(name).or_default() += 1;
}
