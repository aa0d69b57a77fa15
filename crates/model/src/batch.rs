//! What travels from source to sink: batches with their steps, gaps, dead letters, and the group of one commit.

use bytestring::ByteString;

use crate::contract::FirstListing;
use crate::event::{ChangeEvent, Rejected, SourceInfo};
use crate::position::{Advance, Position, SequenceNumber, ShardId};
use crate::service_time::ServiceTime;

/// A run of change events of one shard together with the step that it stands for. Filtering, routing and
/// dead-lettering change the events and never the step (I5).
#[derive(Debug)]
pub struct Batch {
    /// The shard.
    pub shard: ShardId,
    /// What becomes durable together with the events.
    pub step: Step,
    /// The moment up to which everything that was written to this shard is handed out once this batch is. Stored with the
    /// step; nothing leaves what is stored.
    pub read_until: Option<ServiceTime>,
    /// The events in stream order. May be empty: an empty closed shard still has a step.
    pub events: Vec<ChangeEvent>,
    /// Records that could not become or stay events.
    pub dead_letters: Vec<DeadLetter>,
    /// Loss that was found at this place. Recorded in the same commit (I8).
    pub gap: Option<Gap>,
    /// What became of the records that the step accounts for (I9). The source fills in `read`; what becomes of each record is
    /// decided when the batch is collected, as if the sink took every event, and the sink [refuses](Self::refuse) from there.
    pub counts: Counts,
    /// Memory that the batch holds, in bytes. Grows when transforms write images anew, because keys and ids still hold the
    /// page that the batch came in.
    pub bytes: usize,
}

/// The change of stored progress that a batch stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The shard becomes known: stored before it is first read.
    Register {
        /// Its parent, if it has one.
        parent: Option<ShardId>,
        /// Where it stands from now on: `Start`, or `End` for a shard that the user chose to leave out.
        position: Position,
    },
    /// The shard moves on. `from` equal to `to` is a step that carries only a gap, or how far in time the shard was read.
    Advance(Advance),
    /// A drained shard has left the listing and its children have begun: its progress is removed. Applies only where `End`
    /// is stored.
    Forget,
}

impl Step {
    /// The shard has ended with it, and had not before.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Register { position, .. } => *position == Position::End,
            Self::Advance(advance) => advance.to == Position::End && advance.from != Position::End,
            Self::Forget => false,
        }
    }
}

/// Accounting of a batch or of a shard, in records: `read = written + filtered + dead_lettered + suppressed` (I9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that came from the source.
    pub read: u64,
    /// Records whose events are in the sink, or were overtaken inside their group by a later event of the same item.
    pub written: u64,
    /// Records that a rule of the user dropped.
    pub filtered: u64,
    /// Records of which something is in the dead letters.
    pub dead_lettered: u64,
    /// Records older than the place where the user chose to start.
    pub suppressed: u64,
}

/// A record that is kept aside, as it came to whoever refused it (`docs/decisions/20261128-what-a-dead-letter-holds.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The shard it was read from.
    pub shard: ShardId,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// DynamoDB's id of the record.
    pub event_id: ByteString,
    /// Stable dotted code of the reason.
    pub code: &'static str,
    /// The reason in words, without any value of the item.
    pub error: String,
    /// The record as one line of JSON.
    pub record: String,
}

impl DeadLetter {
    /// Keeps an event aside that a transform or a sink refused.
    pub fn of_event(event: &ChangeEvent, rejected: Rejected) -> Self {
        let SourceInfo { shard, sequence_number, event_id, .. } = &event.source;
        Self {
            shard: shard.clone(),
            sequence_number: sequence_number.clone(),
            event_id: event_id.clone(),
            code: rejected.code,
            error: rejected.message,
            record: event.record_json(),
        }
    }

    /// Memory that its texts hold, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let Self { sequence_number, event_id, error, record, .. } = self;
        sequence_number.as_str().len() + event_id.len() + error.capacity() + record.capacity()
    }
}

/// Data that was, or may have been, trimmed before it was read. Durable, with its bounds (I8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The shard, or nothing when the whole stream is meant.
    pub shard: Option<ShardId>,
    /// How it was found.
    pub cause: GapCause,
    /// The last position that is known to be complete: the loss begins after it.
    pub after: Position,
    /// Everything that was created before this moment was carried: the loss begins after it. Nothing where nobody knows. With
    /// stream, shard, cause and `after` it says which gap this is.
    pub since: Option<ServiceTime>,
    /// When the gap was found: what was created later is not lost.
    pub until: ServiceTime,
    /// One sentence for the operator.
    pub detail: String,
    /// Whether the pipeline stops here (`on_gap = "stop"`) or goes on.
    pub stop: bool,
}

impl Gap {
    /// Where and when changes may be missing, in words.
    pub fn words(&self) -> String {
        let place = match (&self.shard, &self.after) {
            (None, _) => "the stream".to_owned(),
            (Some(shard), Position::Start) => format!("shard {shard}, from its beginning on"),
            (Some(shard), Position::After(number)) => format!("shard {shard}, behind record {number}"),
            (Some(shard), Position::End) => format!("shard {shard}, behind its end"),
        };
        let since = self.since.map_or_else(String::new, |since| format!("from {since} "));
        format!("{place}, {since}until {}: {}", self.until, self.detail)
    }
}

/// The rules by which gaps are found (design, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// The position that is to be read from was trimmed.
    Trimmed,
    /// A shard that was not drained no longer exists.
    ShardGone,
    /// A shard that was not drained is absent from two complete listings.
    ShardUnlisted,
    /// A new shard names a parent that was never seen.
    UnknownParent,
    /// A new shard has no parent although the stream was listed completely before.
    Orphan,
    /// The shard was not read for longer than the stream keeps records with certainty.
    Away,
    /// The table has another stream than the one that the progress belongs to.
    StreamReplaced,
    /// The table itself was deleted and made again: what it held then is unknown to its new stream.
    TableReplaced,
    /// The stream does not exist any more, and some of its shards were not drained.
    StreamGone,
}

impl GapCause {
    /// Whether it lies between the stream that was read before and this one.
    pub fn is_between_streams(self) -> bool {
        matches!(self, Self::StreamReplaced | Self::TableReplaced)
    }

    /// Stable name in storage, metrics and outputs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::ShardGone => "shard_gone",
            Self::ShardUnlisted => "shard_unlisted",
            Self::UnknownParent => "unknown_parent",
            Self::Orphan => "orphan",
            Self::Away => "away",
            Self::StreamReplaced => "stream_replaced",
            Self::TableReplaced => "table_replaced",
            Self::StreamGone => "stream_gone",
        }
    }
}

/// What a source answers when it is asked for more.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every delivery is a batch, and one is moved per page, not per event"
)]
pub enum Delivery {
    /// Events and a step.
    Batch(Batch),
    /// News of the first complete listing. Nothing of the stream is registered before it is stored.
    FirstListing(FirstListing),
    /// There is nothing more to come.
    Finished(Finished),
}

/// Why a source has nothing more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// A bounded run has reached the tip of the stream.
    Tip,
    /// The stream was turned off and every shard is drained.
    StreamEnded,
}

/// The batches of one commit.
#[derive(Debug, Default)]
pub struct Group {
    /// In the order in which the source gave them: the steps of a shard follow one another.
    pub batches: Vec<Batch>,
    /// News of the first complete listing. The sink keeps the last that it got before one with all shards stored, and that; and
    /// with that it removes the progress of the pipeline's earlier streams.
    pub first_listing: Option<FirstListing>,
}

impl Group {
    /// Nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.first_listing.is_none()
    }

    /// When the first complete listing began, if this group makes the stream known.
    pub fn known_since(&self) -> Option<ServiceTime> {
        FirstListing::known_since(self.first_listing)
    }

    /// Events in all batches.
    pub fn events(&self) -> usize {
        self.batches.iter().map(|batch| batch.events.len()).sum()
    }

    /// Bytes held by all batches.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes).sum()
    }

    /// The step of each batch, for telling the source once they are durable.
    pub fn steps(&self) -> Vec<(ShardId, Step)> {
        self.batches.iter().map(|batch| (batch.shard.clone(), batch.step.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_where_and_when() {
        let number = SequenceNumber::parse("17".into()).expect("digits");
        let gap = Gap {
            shard: Some(ShardId::new("s")),
            cause: GapCause::Trimmed,
            after: Position::After(number),
            since: Some(ServiceTime::EPOCH),
            until: ServiceTime::from_ms(1000),
            detail: "gone".into(),
            stop: true,
        };
        let when = "from 1970-01-01T00:00:00.000Z until 1970-01-01T00:00:01.000Z: gone";
        assert_eq!(gap.words(), format!("shard s, behind record 17, {when}"));
        assert_eq!(Gap { shard: None, ..gap }.words(), format!("the stream, {when}"));
    }
}
