//! One stream: its status and its shards.

use tailwater_model::ViewType;

use super::manners::Manners;
use super::sequence::Sequence;
use super::shard::{Birth, Shard};

/// The end of all places that a key may have.
const PLACES: u64 = 1 << 32;
/// How long a stream that was turned off stays readable (DynamoDB developer guide, "Change data capture").
pub(super) const DISABLED_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// What a stream and the table below it are called.
#[derive(Debug)]
pub(super) struct StreamNames {
    pub(super) arn: String,
    pub(super) table: String,
    /// Partition key first.
    pub(super) key_attributes: Vec<String>,
}

/// A stream of a table.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) names: StreamNames,
    pub(super) view: ViewType,
    pub(super) created_at_ms: i64,
    enabled_from_ms: i64,
    pub(super) disabled_at_ms: Option<i64>,
    disabled_from_ms: i64,
    /// The last listing was empty by chance.
    pub(super) was_listed_empty: bool,
    /// The last page of a listing called it disabled, by chance.
    pub(super) was_called_disabled: bool,
    /// By number; children after their parents.
    pub(super) shards: Vec<Shard>,
}

/// `StreamStatus` of the DynamoDB API reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// Being turned on: no shard is listed yet.
    Enabling,
    /// On.
    Enabled,
    /// Being turned off.
    Disabling,
    /// Off, and readable for 24 hours.
    Disabled,
}

/// The state of a table's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Its ARN.
    pub arn: String,
    /// The end of the ARN, which tells a table's streams apart.
    pub label: String,
    /// What its records carry.
    pub view: ViewType,
    /// Its status.
    pub status: StreamStatus,
}

impl StreamStatus {
    /// DynamoDB's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabling => "ENABLING",
            Self::Enabled => "ENABLED",
            Self::Disabling => "DISABLING",
            Self::Disabled => "DISABLED",
        }
    }
}

impl Stream {
    pub(super) fn new(
        now_ms: i64,
        names: StreamNames,
        view: ViewType,
        manners: &Manners,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let count = manners.shards_at_start.max(1) as u64;
        let shards = (0..count).map(|number| {
            let places = number * PLACES / count..(number + 1) * PLACES / count;
            let starting = Sequence::first(rng);
            Shard::new(now_ms, Birth { parent: None, starting, places }, manners, rng)
        });
        Self {
            names,
            view,
            created_at_ms: now_ms,
            enabled_from_ms: now_ms + manners.status_change_ms,
            disabled_at_ms: None,
            disabled_from_ms: i64::MAX,
            was_listed_empty: false,
            was_called_disabled: false,
            shards: shards.collect(),
        }
    }

    pub(super) fn label(&self) -> &str {
        self.names.arn.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn state(&self, now_ms: i64) -> StreamState {
        StreamState {
            arn: self.names.arn.clone(),
            label: self.label().to_owned(),
            view: self.view,
            status: self.status(now_ms),
        }
    }

    pub(super) fn status(&self, now_ms: i64) -> StreamStatus {
        match self.disabled_at_ms {
            Some(_) if now_ms >= self.disabled_from_ms => StreamStatus::Disabled,
            Some(_) => StreamStatus::Disabling,
            None if now_ms >= self.enabled_from_ms => StreamStatus::Enabled,
            None => StreamStatus::Enabling,
        }
    }

    pub(super) fn is_gone(&self, now_ms: i64) -> bool {
        self.disabled_at_ms.is_some_and(|at_ms| at_ms + DISABLED_KEPT_MS <= now_ms)
    }

    pub(super) fn disable(&mut self, now_ms: i64, status_change_ms: i64) {
        self.disabled_at_ms = Some(now_ms);
        self.disabled_from_ms = now_ms + status_change_ms;
    }

    /// The open shard that keys at this place belong to.
    pub(super) fn open_shard(&mut self, place: u32) -> Option<&mut Shard> {
        // The newest shards are at the end.
        self.shards.iter_mut().rev().find(|shard| shard.is_open() && shard.places.contains(&u64::from(place)))
    }

    /// The number of a shard by its id.
    pub(super) fn shard_number(&self, id: &str) -> Option<usize> {
        self.shards.iter().position(|shard| shard.id == id)
    }
}
