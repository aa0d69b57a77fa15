//! What the graph knows about one shard.

use std::collections::VecDeque;
use std::time::Duration;

use tailwater_model::{Advance, GapCause, Position, ShardId, Step};

use super::listing::Absence;
use crate::api::IteratorStart;

/// A step that was handed out and is not durable yet.
pub(super) struct Pending {
    pub step: Step,
    /// The gap of the whole stream that it carries.
    pub stream_gap: Option<GapCause>,
}

/// One shard: where it stands durably, where reading stands, and what was heard about it.
pub(super) struct Shard {
    pub parent: Option<ShardId>,
    pub lane: usize,
    /// Listed with an ending sequence number at least once. A closed shard never opens again.
    pub closed: bool,
    /// First seen when the stream was not known yet: an unknown parent is no loss then.
    pub seen_before_known: bool,
    /// It may be registered although its parent is not in the graph: complete listings did not have the parent.
    pub root: bool,
    /// Complete listings since it was seen that did not have its parent.
    pub absence_of_parent: Absence,
    /// Complete listings in a row, begun after it was last seen, that did not have it.
    pub absence: Absence,
    /// The newest listing begun when it was last seen.
    pub seen_at_listing: u64,

    /// Where it will be registered.
    pub register_at: Position,
    /// Its registration was handed out.
    pub registering: bool,
    /// The stored position; nothing while it is not registered.
    pub durable: Option<Position>,
    /// Where the next step begins: the stored position with all pending steps applied.
    pub read: Position,
    pub pending: VecDeque<Pending>,

    /// The very first read is from `LATEST`.
    pub from_latest: bool,
    /// Behind a gap: reading goes on from the trim horizon although the position is older.
    pub from_horizon: bool,
    /// Loss that its registration will carry: shards before it came and went unseen.
    pub birth_gap: Option<GapCause>,
    /// Loss that waits to be handed out.
    pub gap: Option<GapCause>,
    /// A gap of this shard stopped the pipeline.
    pub stopped: bool,
    /// A page of it was read, perhaps an empty one: from then on its beginning is ours.
    pub polled: bool,
    /// When it was last heard of, after the moment that listings are timed from: found, or read. Of a child of an ended shard
    /// that is when its parent was, until it is read.
    pub heard_at: Duration,
    /// The reader saw nothing but empty pages for a while.
    pub quiet: bool,
    /// Its children were asked for.
    pub children_asked: bool,
    /// Whether the lane was told that this shard may be read. Kept by `ShardGraph::refresh`.
    pub readable: bool,
}

impl Shard {
    pub fn new(parent: Option<ShardId>, lane: usize) -> Self {
        Self {
            parent,
            lane,
            closed: false,
            seen_before_known: false,
            root: false,
            absence_of_parent: Absence::default(),
            absence: Absence::default(),
            seen_at_listing: 0,
            register_at: Position::Start,
            registering: false,
            durable: None,
            read: Position::Start,
            pending: VecDeque::new(),
            from_latest: false,
            from_horizon: false,
            birth_gap: None,
            gap: None,
            stopped: false,
            polled: false,
            heard_at: Duration::ZERO,
            quiet: false,
            children_asked: false,
            readable: false,
        }
    }

    /// Its end is durable.
    pub fn drained(&self) -> bool {
        self.durable == Some(Position::End)
    }

    /// Its end was read (or its loss declared), durable or not.
    pub fn exhausted(&self) -> bool {
        (self.durable.is_some() || self.registering) && self.read == Position::End
    }

    /// Forgets everything that is not durable; the stored position is set afterwards if there is one.
    pub fn forget(&mut self) {
        self.durable = None;
        self.registering = false;
        self.read = Position::Start;
        self.pending.clear();
        self.from_horizon = false;
        self.gap = None;
        self.stopped = false;
        self.quiet = false;
        self.children_asked = false;
        self.readable = false;
    }

    /// Takes what the sink holds.
    pub fn restore(&mut self, position: &Position) {
        self.durable = Some(position.clone());
        self.read = position.clone();
        // Whatever was written between the registration and now would be skipped: never LATEST again.
        self.from_latest = false;
    }

    /// Moves on, chained to what was handed out before (I2).
    pub fn advance(&mut self, to: Position, stream_gap: Option<GapCause>) -> Advance {
        let from = std::mem::replace(&mut self.read, to.clone());
        let advance = Advance { from, to };
        self.pending.push_back(Pending { step: Step::Advance(advance.clone()), stream_gap });
        advance
    }

    /// The registration step.
    pub fn register(&mut self, stream_gap: Option<GapCause>) -> Step {
        self.registering = true;
        self.read = self.register_at.clone();
        let step = Step::Register { parent: self.parent.clone(), position: self.register_at.clone() };
        self.pending.push_back(Pending { step: step.clone(), stream_gap });
        step
    }

    /// Where reading begins or goes on.
    pub fn read_from(&self) -> Option<IteratorStart> {
        match &self.read {
            _ if self.from_horizon => Some(IteratorStart::TrimHorizon),
            Position::Start if self.from_latest => Some(IteratorStart::Latest),
            Position::Start => Some(IteratorStart::TrimHorizon),
            Position::After(number) => Some(IteratorStart::After(number.clone())),
            Position::End => None,
        }
    }
}
