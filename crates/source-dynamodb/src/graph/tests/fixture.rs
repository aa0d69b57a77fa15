//! A graph with the least that is around one: a lane, a sink, a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tailwater_model::{Advance, Gap, GapCause, Position, Progress, SequenceNumber, ShardId, ShardProgress, Step};

use crate::api::{IteratorStart, ListedShard};
use crate::graph::ShardGraph;
use crate::settings::{OnGap, StartAt};

pub fn id(name: &str) -> ShardId {
    ShardId::new(name)
}

pub fn number(digits: u64) -> SequenceNumber {
    SequenceNumber::parse(format!("{digits:021}").into()).expect("digits")
}

pub fn after(digits: u64) -> Position {
    Position::After(number(digits))
}

/// `"B<A"` is the open shard B with parent A, `"A."` the closed shard A.
pub fn listed(shards: &[&str]) -> Vec<ListedShard> {
    let one = |text: &&str| {
        let closed = text.ends_with('.');
        let (shard, parent) = text
            .trim_end_matches('.')
            .split_once('<')
            .map_or((text.trim_end_matches('.'), None), |(shard, parent)| (shard, Some(id(parent))));
        ListedShard { shard: id(shard), parent, closed }
    };
    shards.iter().map(one).collect()
}

/// One lane with a sink that stores every step at once.
pub struct Fixture {
    pub graph: ShardGraph,
    pub now: Duration,
    pub stored: BTreeMap<ShardId, (Option<ShardId>, Position)>,
    pub gaps: Vec<Gap>,
    pub contact: Progress,
}

impl Fixture {
    pub fn new(start: StartAt, on_gap: OnGap, contact: Progress) -> Self {
        let mut graph = ShardGraph::new(1, start, on_gap);
        graph.restore(0, &contact);
        let stored =
            contact.shards.iter().map(|row| (row.shard.clone(), (row.parent.clone(), row.position.clone()))).collect();
        Self { graph, now: Duration::ZERO, stored, gaps: Vec::new(), contact }
    }

    pub fn fresh(on_gap: OnGap) -> Self {
        Self::new(StartAt::TrimHorizon, on_gap, Progress::default())
    }

    /// A complete listing, long enough after the one before that two of them prove an absence.
    pub fn list(&mut self, shards: &[&str]) {
        self.list_after(Duration::from_secs(120), shards);
    }

    pub fn list_after(&mut self, pause: Duration, shards: &[&str]) {
        self.now += pause;
        let listing = self.graph.begin_listing(self.now);
        self.graph.merge_listing(listing, true, false, &listed(shards));
        self.steps();
    }

    pub fn steps(&mut self) {
        for step in self.graph.take_steps(0) {
            self.gaps.extend(step.gap);
            self.store(&step.shard, &step.step);
        }
    }

    pub fn store(&mut self, shard: &ShardId, step: &Step) {
        match step {
            Step::Register { parent, position } => {
                let before = self.stored.insert(shard.clone(), (parent.clone(), position.clone()));
                assert!(before.is_none(), "{shard} registered twice");
            }
            Step::Advance(Advance { from, to }) => {
                let row = self.stored.get_mut(shard).expect("registered first");
                assert_eq!(row.1, *from);
                row.1 = to.clone();
            }
        }
        self.graph.committed(shard, step);
    }

    pub fn read(&mut self, shard: &str, last: Option<u64>, end: bool) {
        let advance = self.graph.page_read(&id(shard), last.map(number).as_ref(), end).expect("readable");
        self.store(&id(shard), &Step::Advance(advance));
        self.steps();
    }

    pub fn restart(&self) -> Self {
        let row = |(shard, (parent, position)): (&ShardId, &(Option<ShardId>, Position))| ShardProgress {
            shard: shard.clone(),
            parent: parent.clone(),
            position: position.clone(),
        };
        let shards = self.stored.iter().map(row).collect();
        Self::new(self.graph.start, self.graph.on_gap, Progress { shards, ..self.contact.clone() })
    }

    pub fn from(&self, shard: &str) -> Option<IteratorStart> {
        self.graph.read_from(&id(shard))
    }

    pub fn causes(&self) -> Vec<GapCause> {
        self.gaps.iter().map(|gap| gap.cause).collect()
    }
}

pub fn known() -> Progress {
    Progress { stream_known: true, since_contact: Some(Duration::from_secs(60)), ..Progress::default() }
}
