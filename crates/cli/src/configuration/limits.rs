//! `[limits]` and every other bound of a setting, in one place.

use std::time::Duration;

use crate::configuration::report::{Place, Report};
use crate::configuration::scalars::Bounds;
use crate::configuration::section::Section;
use crate::configuration::spec::LimitsSpec;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// A lane is a session of the sink and a loop; a stream rarely has more shards that are written at once.
pub const LANES: Bounds<u32> = Bounds { default: 4, min: 1, max: 64 };
/// The service answers five `GetRecords` calls a second per shard; emulators have no limit.
pub const POLL_INTERVAL_MIN: Bounds<Duration> = milliseconds(200, 10, 60_000);
/// Up to five minutes: an iterator expires after fifteen.
pub const POLL_INTERVAL_MAX: Bounds<Duration> = milliseconds(1_000, 10, 300_000);
/// A record may be read this long after its write.
pub const VISIBLE_WITHIN: Bounds<Duration> = Bounds {
    default: tailwater_source_dynamodb::VISIBLE_WITHIN,
    min: Duration::from_secs(1),
    max: Duration::from_secs(15 * 60),
};
/// Longest run of one statement.
pub const STATEMENT_TIMEOUT: Bounds<Duration> = milliseconds(30_000, 100, 3_600_000);
/// Longest wait for a lock.
pub const LOCK_TIMEOUT: Bounds<Duration> = milliseconds(10_000, 100, 3_600_000);
/// Longest time to connect.
pub const CONNECT_TIMEOUT: Bounds<Duration> = milliseconds(10_000, 100, 300_000);
/// Longest transaction of Kafka. Brokers refuse more than their `transaction.max.timeout.ms`, 15 minutes by default.
pub const TRANSACTION_TIMEOUT: Bounds<Duration> = milliseconds(60_000, 10_000, 900_000);
/// Longest wait for one answer of Kafka at a start.
pub const REQUEST_TIMEOUT: Bounds<Duration> = milliseconds(30_000, 1_000, 300_000);

const MEMORY_BYTES: Bounds<usize> = Bounds { default: 128 * MIB, min: 16 * MIB, max: 64 * GIB };
const FETCH_SLOTS: Bounds<u32> = Bounds { default: 8, min: 1, max: 256 };
/// Only a greater number lifts a brake, so the greatest one is more than a minute can bring.
const DEAD_LETTERS_PER_MINUTE: Bounds<u32> = Bounds { default: 100, min: 0, max: 1_000_000_000 };
const GRACE_PERIOD: Bounds<Duration> = milliseconds(30_000, 100, 600_000);
const DISCOVERY_INTERVAL: Bounds<Duration> = milliseconds(30_000, 100, 600_000);

/// What a group may hold and how long it may wait.
pub struct GroupBounds {
    events: Bounds<u32>,
    /// Of the pages that its events came in.
    bytes: Bounds<usize>,
    delay: Bounds<Duration>,
}

/// Postgres is fastest with statements of about a thousand rows. What comes slowly waits a moment for more, so little that
/// it is not seen beside the time between two polls; what comes fast does not wait, for it fills groups.
pub const GROUP: GroupBounds = GroupBounds {
    events: Bounds { default: 1_000, min: 1, max: 100_000 },
    bytes: Bounds { default: 4 * MIB, min: 64 * KIB, max: 256 * MIB },
    delay: milliseconds(15, 1, 60_000),
};
/// The end of a transaction costs Kafka's brokers as much as some thousand messages: a backlog goes in large groups, and
/// a lane has ten transactions a second at most where less comes, as Kafka Streams has by default (`commit.interval.ms`
/// with exactly once).
pub const GROUP_OF_KAFKA: GroupBounds = GroupBounds {
    events: Bounds { default: 20_000, ..GROUP.events },
    bytes: Bounds { default: 16 * MIB, ..GROUP.bytes },
    delay: milliseconds(100, 1, 60_000),
};

const fn milliseconds(default: u64, min: u64, max: u64) -> Bounds<Duration> {
    Bounds { default: Duration::from_millis(default), min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

/// Reads `[limits]`.
pub fn read(mut section: Section<'_>, group: GroupBounds, report: &mut Report<'_>) -> LimitsSpec {
    let limits = LimitsSpec {
        memory_bytes_max: section.bytes("memory_bytes_max", MEMORY_BYTES, report),
        group_events_max: section.number("group_events_max", group.events, report) as usize,
        group_bytes_max: section.bytes("group_bytes_max", group.bytes, report),
        group_delay_max: section.duration("group_delay_max", group.delay, report),
        fetch_slots: section.number("fetch_slots", FETCH_SLOTS, report) as usize,
        dead_letters_per_minute_max: section.number("dead_letters_per_minute_max", DEAD_LETTERS_PER_MINUTE, report),
        grace_period: section.duration("grace_period", GRACE_PERIOD, report),
        discovery_interval: section.duration("discovery_interval", DISCOVERY_INTERVAL, report),
    };
    // A group that is being committed and the next one that is being collected are both held.
    if limits.group_bytes_max.saturating_mul(2) > limits.memory_bytes_max {
        report.fault(
            &section.place_of("group_bytes_max"),
            "config.conflict",
            "`memory_bytes_max` cannot hold two groups of `group_bytes_max`: one being committed, one being collected",
            Some("raise `memory_bytes_max` or lower `group_bytes_max`".into()),
        );
    }
    section.finish(report);
    limits
}

/// All lanes share the memory. Where their groups alone may fill it, one slow lane can hold up the others.
pub fn warn_of_a_full_memory(limits: &LimitsSpec, lanes: u32, place: &Place, report: &mut Report<'_>) {
    // As above, for each of them.
    let groups = limits.group_bytes_max.saturating_mul(2).saturating_mul(lanes as usize);
    if lanes > 1 && groups > limits.memory_bytes_max {
        report.warn(
            place,
            "config.full_memory",
            format!("{lanes} lanes with two groups each may fill `memory_bytes_max`: a lane whose sink is slow can hold up the others"),
            Some(format!("raise `memory_bytes_max` to {} MiB or lower `group_bytes_max`", groups.div_ceil(MIB))),
        );
    }
}
