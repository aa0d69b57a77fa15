//! What the graph knows about one shard, and the stages it goes through.

use std::collections::VecDeque;
use std::time::Duration;

use tailwater_model::{Advance, GapCause, Position, ServiceTime, ShardId, Step};

use super::listing::Absence;
use super::missing::Missing;
use super::read_until::{EmptyRun, UNREAD_MAX};
use crate::api::IteratorStart;

/// A stream keeps a shard for 24 hours after its end. What goes later than that by this hour and another is not listed again.
const OVER_AFTER: Duration = Duration::from_secs(26 * 60 * 60);

/// One shard.
pub(super) struct Shard {
    pub parent: Option<ShardId>,
    pub lane: usize,
    /// Listed with an ending sequence number at least once. A closed shard never opens again.
    pub closed: bool,
    /// It was closed by this moment at the latest.
    pub closed_by: Option<ServiceTime>,
    /// Complete listings since it was closed that must have shown a child of it, and did not.
    pub listings_without_child: u32,
    /// Its pages go on although it is listed as closed, and no child of it is known: that end is none.
    pub goes_on: bool,
    /// It was listed as open when this was asked.
    pub open_at: Option<ServiceTime>,
    /// The newest listing begun when it was last seen.
    pub seen_at_listing: u64,
    /// Complete listings since then that did not have it.
    pub absence: Absence,
    /// Since when it is not found, whoever asks.
    pub missing: Missing,
    /// How its registration is decided.
    pub origin: Origin,
    /// When it was first seen by this process.
    pub seen_at: ServiceTime,
    /// No listing shows it, and so nobody knows its parent.
    pub is_parent_unknown: bool,
    /// It may have been there before everything of the first complete listing was stored.
    pub is_of_start: bool,
    /// Everything that was written to it before this moment was handed out. Nothing while nobody knows.
    pub read_until: Option<ServiceTime>,
    /// That was told by its own pages, and not by its parent.
    pub was_read: bool,
    pub stage: Stage,
}

/// Why a shard that is not stored may be registered, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Its parent is not in the graph, and it is not clear yet whether the parent exists.
    Unplaced,
    /// It follows its parent.
    Child,
    /// Nothing before it was ever ours.
    Root,
    /// Nothing before it is wanted: it is registered once there is an iterator of `LATEST` to begin with.
    Latest,
    /// The user left it out: it is registered as drained.
    LeftOut,
    /// Shards before it came and went unseen: that gap was found then, and is on record or on its way.
    Lost(ServiceTime),
    /// Its children were begun because it was said not to exist. It is registered as drained, with a gap.
    Passed,
}

/// Where a shard is on its way. What has no place in a stage does not exist in it.
pub(super) enum Stage {
    /// Listed, and not stored.
    Unregistered,
    /// Handed out for registration or stored; its parent's end is not durable.
    Blocked(Chain),
    /// It may be read.
    Readable(Chain, Reading),
    /// Its end was handed out and is not durable.
    Exhausted(Chain),
    /// Its end is durable.
    Drained(Chain, Ended),
    /// A gap of it stops the pipeline.
    Stopped(Chain),
}

/// What was handed out of a shard, chained step to step (I2).
#[derive(Default)]
pub(super) struct Chain {
    /// The stored position; nothing while the registration is under way.
    pub durable: Option<Position>,
    /// Where the next step begins: the stored position with all pending steps applied.
    pub read: Option<Position>,
    pub pending: VecDeque<Pending>,
    /// How far in time it was read as of the stored position.
    pub durable_until: Option<ServiceTime>,
    /// The empty pages since where it stands.
    pub empty: EmptyRun,
    /// Loss that waits to be handed out.
    pub lost: Option<GapCause>,
}

/// A step that was handed out and is not durable yet.
pub(super) struct Pending {
    pub step: Step,
    pub read_until: Option<ServiceTime>,
    /// The number of the gap of the whole stream that it carries.
    pub stream_gap: Option<u64>,
}

/// How a readable shard is being read.
#[derive(Default)]
pub(super) struct Reading {
    pub from: ReadFrom,
    /// Answers in a row that called it ended.
    pub ends_told: u32,
    /// When the first of them came.
    pub ends_since: Option<ServiceTime>,
    /// It was not found when it was to be read.
    pub is_suspected: bool,
    /// Its position was said to be trimmed.
    pub is_trimmed: bool,
}

/// Where a new iterator begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadFrom {
    /// At the position.
    #[default]
    Position,
    /// Behind a gap that was found then: at the trim horizon, although the position is older.
    Behind(ServiceTime),
}

/// What is left to know about a drained shard.
#[derive(Default)]
pub(super) struct Ended {
    /// It was drained already when its lane was opened.
    pub was_stored: bool,
    /// Complete listings, begun late enough, in which all its children must have been.
    pub listings_with_children: u32,
    /// Its children were asked for late enough, and some were told.
    pub children_told: bool,
    /// It does not exist any more, by an answer of then.
    pub gone_since: Option<ServiceTime>,
}

impl Shard {
    pub fn new(parent: Option<ShardId>, lane: usize, seen_at: ServiceTime) -> Self {
        Self {
            parent,
            lane,
            closed: false,
            closed_by: None,
            listings_without_child: 0,
            goes_on: false,
            open_at: None,
            seen_at_listing: 0,
            absence: Absence::default(),
            missing: Missing::default(),
            origin: Origin::Unplaced,
            seen_at,
            is_parent_unknown: false,
            is_of_start: false,
            read_until: None,
            was_read: false,
            stage: Stage::Unregistered,
        }
    }

    pub fn chain(&self) -> Option<&Chain> {
        match &self.stage {
            Stage::Unregistered => None,
            Stage::Blocked(chain)
            | Stage::Readable(chain, _)
            | Stage::Exhausted(chain)
            | Stage::Drained(chain, _)
            | Stage::Stopped(chain) => Some(chain),
        }
    }

    pub fn chain_mut(&mut self) -> Option<&mut Chain> {
        match &mut self.stage {
            Stage::Unregistered => None,
            Stage::Blocked(chain)
            | Stage::Readable(chain, _)
            | Stage::Exhausted(chain)
            | Stage::Drained(chain, _)
            | Stage::Stopped(chain) => Some(chain),
        }
    }

    /// It is listed as closed, and neither its pages nor its children say otherwise.
    pub fn is_closed(&self) -> bool {
        self.closed && !self.goes_on
    }

    /// Its row is in the sink.
    pub fn is_stored(&self) -> bool {
        self.chain().is_some_and(|chain| chain.durable.is_some())
    }

    pub fn is_unregistered(&self) -> bool {
        matches!(self.stage, Stage::Unregistered)
    }

    /// It may not exist any more: no listing shows it, or it was not found when it was to be read.
    pub fn is_suspect(&self) -> bool {
        let was_not_found = matches!(&self.stage, Stage::Readable(_, reading) if reading.is_suspected);
        was_not_found || self.absence.is_suspicious()
    }

    /// Less than a day before this moment a listing called it open, and no complete one was without it since.
    pub fn was_listed_open_by(&self, moment: ServiceTime) -> bool {
        let is_fresh = |open_at: ServiceTime| moment.since(open_at) < UNREAD_MAX;
        !self.closed && self.open_at.is_some_and(is_fresh) && !self.absence.is_noticed()
    }

    /// Its parent is gone or was never shown, and it waits for its registration.
    pub fn is_cut_off(&self) -> bool {
        let has_parent = self.parent.is_some() || self.is_parent_unknown;
        self.is_unregistered() && has_parent && matches!(self.origin, Origin::Root | Origin::Lost(_))
    }

    pub fn is_drained(&self) -> bool {
        matches!(self.stage, Stage::Drained(..))
    }

    /// It was read to its end, and what it held is older than anything that a stream keeps: a process need not run for long to
    /// let it go.
    pub fn is_over_for_long(&self, now: ServiceTime) -> bool {
        self.is_drained() && self.read_until.is_some_and(|read_until| now.since(read_until) >= OVER_AFTER)
    }

    /// That its progress is removed may have been handed out.
    pub fn may_be_forgotten(&self) -> bool {
        let is_asked = |chain: &Chain| chain.pending.iter().any(|pending| pending.step == Step::Forget);
        matches!(&self.stage, Stage::Drained(chain, ended) if ended.gone_since.is_some() || is_asked(chain))
    }

    /// Its end was handed out, durable or not.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.stage, Stage::Exhausted(_) | Stage::Drained(..))
    }

    /// Where it stands with all that was handed out.
    pub fn position(&self) -> Position {
        self.chain().and_then(|chain| chain.read.clone()).unwrap_or(Position::Start)
    }

    /// How far in time its records are in the sink.
    pub fn durable_until(&self) -> Option<ServiceTime> {
        match self.chain() {
            Some(chain) if !chain.pending.is_empty() => chain.durable_until,
            _ => self.read_until,
        }
    }

    /// Read this far, never back.
    pub fn read_until_at_least(&mut self, moment: ServiceTime) {
        self.read_until = self.read_until.max(Some(moment));
    }

    /// Moves on, chained to what was handed out before (I2).
    pub fn advance(&mut self, to: Position, stream_gap: Option<u64>) -> Option<Advance> {
        let read_until = self.read_until;
        let chain = self.chain_mut()?;
        let from = chain.read.replace(to.clone())?;
        let advance = Advance { from, to };
        chain.pending.push_back(Pending { step: Step::Advance(advance.clone()), read_until, stream_gap });
        Some(advance)
    }

    /// Hands its registration out.
    pub fn register(&mut self, stream_gap: Option<u64>) -> Step {
        let is_left_out = matches!(self.origin, Origin::LeftOut | Origin::Passed);
        let position = if is_left_out { Position::End } else { Position::Start };
        let step = Step::Register { parent: self.parent.clone(), position: position.clone() };
        let pending = Pending { step: step.clone(), read_until: self.read_until, stream_gap };
        let chain = Chain { read: Some(position), pending: VecDeque::from([pending]), ..Chain::default() };
        self.stage = if is_left_out { Stage::Exhausted(chain) } else { Stage::Blocked(chain) };
        step
    }

    /// Hands out that its progress is to be removed.
    pub fn forget(&mut self) -> Option<Step> {
        let chain = self.chain_mut()?;
        chain.pending.push_back(Pending { step: Step::Forget, read_until: None, stream_gap: None });
        Some(Step::Forget)
    }

    /// It is read at its position, and nothing of it waits for the sink: no step and no gap.
    pub fn is_all_durable(&self) -> bool {
        let Stage::Readable(chain, reading) = &self.stage else { return false };
        chain.pending.is_empty() && chain.lost.is_none() && reading.from == ReadFrom::Position
    }

    /// Takes what the sink holds; nothing when it holds nothing. Everything that is not durable is forgotten (I7). Empty pages are
    /// not, where the shard stands as it stood: another iterator makes them void, and the one before may still be used.
    pub fn restore(&mut self, stored: Option<(&Position, Option<ServiceTime>)>) {
        let Some((position, read_until)) = stored else {
            self.stage = Stage::Unregistered;
            return;
        };
        let stands = self.is_all_durable() && self.position() == *position;
        let empty = self.chain_mut().filter(|_| stands).map(|chain| std::mem::take(&mut chain.empty).kept());
        let chain = Chain {
            durable: Some(position.clone()),
            read: Some(position.clone()),
            durable_until: read_until,
            empty: empty.unwrap_or_default(),
            ..Chain::default()
        };
        // Not what was known since: a gap that it goes by may not have become durable.
        self.read_until = read_until;
        self.was_read = *position != Position::Start;
        // Whatever was written between the registration and now would be skipped: no LATEST again. What was lost before it
        // stays on record.
        if !matches!(self.origin, Origin::Lost(_)) {
            self.origin = Origin::Root;
        }
        self.stage = match position {
            Position::End => Stage::Drained(chain, Ended { was_stored: true, ..Ended::default() }),
            Position::Start | Position::After(_) => Stage::Blocked(chain),
        };
    }

    /// A stored shard whose parent does not stand in its way may be read from now on.
    pub fn unblock(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Unregistered) {
            Stage::Blocked(chain) if chain.durable.is_some() => {
                let is_new = chain.durable == Some(Position::Start);
                let from = match self.origin {
                    // What it lost is on record.
                    Origin::Lost(found) if is_new => ReadFrom::Behind(found),
                    _ => ReadFrom::Position,
                };
                Stage::Readable(chain, Reading { from, ..Reading::default() })
            }
            other => other,
        };
    }

    /// Its end was handed out.
    pub fn exhaust(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Unregistered) {
            Stage::Blocked(chain) | Stage::Readable(chain, _) => Stage::Exhausted(chain),
            other => other,
        };
    }

    /// A gap of it stops the pipeline.
    pub fn stop(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Unregistered) {
            Stage::Blocked(chain) | Stage::Readable(chain, _) => Stage::Stopped(chain),
            other => other,
        };
    }

    /// The oldest step that was handed out is durable.
    pub fn committed(&mut self, step: &Step) -> Option<Pending> {
        let chain = self.chain_mut()?;
        let pending = chain.pending.pop_front();
        debug_assert_eq!(pending.as_ref().map(|pending| &pending.step), Some(step), "steps out of order");
        chain.durable_until = pending.as_ref().and_then(|pending| pending.read_until).or(chain.durable_until);
        chain.durable = match step {
            Step::Register { position, .. } => Some(position.clone()),
            Step::Advance(advance) => Some(advance.to.clone()),
            Step::Forget => None,
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Unregistered) {
            Stage::Exhausted(chain) if chain.durable == Some(Position::End) => Stage::Drained(chain, Ended::default()),
            other => other,
        };
        pending
    }

    /// There may be more to read.
    pub fn may_be_read(&self) -> bool {
        matches!(&self.stage, Stage::Readable(chain, _) if chain.read.as_ref().is_some_and(|at| *at != Position::End))
    }

    /// Where a new iterator begins.
    pub fn read_from(&self) -> Option<IteratorStart> {
        let Stage::Readable(chain, reading) = &self.stage else { return None };
        match (reading.from, chain.read.as_ref()?) {
            (_, Position::End) => None,
            (ReadFrom::Behind(_), _) => Some(IteratorStart::TrimHorizon),
            (_, Position::Start) => Some(IteratorStart::TrimHorizon),
            (_, Position::After(number)) => Some(IteratorStart::After(number.clone())),
        }
    }
}
