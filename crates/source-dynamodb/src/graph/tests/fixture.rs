//! A graph with the least that is around one: a lane, a sink, the service's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tailwater_model::{
    Advance, Gap, GapCause, Position, Progress, SequenceNumber, ServiceTime, ShardId, ShardProgress, Step,
};

use crate::api::{IteratorStart, ListedShard, ShardListing, When};
use crate::graph::{PageFacts, PageMeans, ShardGraph};
use crate::settings::{OnGap, StartAt};

pub const START: ServiceTime = ServiceTime::from_ms(1_700_000_000_000);
/// Steps that are taken at once.
const STEPS_MAX: usize = 1_000;

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

pub fn row(shard: &str, parent: Option<&str>, position: Position, read_until: ServiceTime) -> ShardProgress {
    ShardProgress { shard: id(shard), parent: parent.map(id), position, read_until: Some(read_until) }
}

/// What a sink holds of a shard.
type Row = (Option<ShardId>, Position, Option<ServiceTime>);

/// One lane with a sink that stores every step at once.
pub struct Fixture {
    pub graph: ShardGraph,
    pub now: ServiceTime,
    pub stored: BTreeMap<ShardId, Row>,
    pub gaps: Vec<Gap>,
    pub progress: Progress,
}

impl Fixture {
    pub fn new(start: StartAt, on_gap: OnGap, bounded: bool, progress: Progress) -> Self {
        let mut graph = ShardGraph::new(1, start, on_gap, bounded);
        graph.restore(0, &progress, progress.previous_stream.as_ref());
        let stored = progress.shards.iter().cloned();
        let stored = stored.map(|row| (row.shard, (row.parent, row.position, row.read_until))).collect();
        Self { graph, now: START, stored, gaps: Vec::new(), progress }
    }

    pub fn fresh(on_gap: OnGap) -> Self {
        Self::new(StartAt::TrimHorizon, on_gap, false, Progress::default())
    }

    /// A call that was answered at once, now.
    pub fn when(&self) -> When {
        When { asked: self.now, answered: self.now }
    }

    /// A complete listing, two minutes after what came before.
    pub fn list(&mut self, shards: &[&str]) {
        self.list_after(Duration::from_secs(120), shards);
    }

    pub fn list_after(&mut self, pause: Duration, shards: &[&str]) {
        self.now = self.now.plus(pause);
        self.list_now(false, shards);
    }

    pub fn list_now(&mut self, disabled: bool, shards: &[&str]) {
        let number = self.graph.begin_listing();
        let page = ShardListing { shards: listed(shards), disabled, ..ShardListing::default() };
        self.graph.merge_page(number, self.when(), &page);
        let ids: BTreeSet<ShardId> = page.shards.into_iter().map(|listed| listed.shard).collect();
        self.graph.listed_completely(number, self.when(), &ids);
        self.steps();
    }

    /// The service is asked for everything that is in doubt, and has iterators for these shards only.
    pub fn ask(&mut self, existing: &[&str]) -> Vec<ShardId> {
        let doubtful = self.graph.take_doubtful();
        for shard in &doubtful {
            if existing.contains(&shard.as_str()) {
                self.graph.exists(shard, self.when());
            } else {
                self.graph.does_not_exist(shard, self.when());
            }
        }
        self.steps();
        doubtful
    }

    /// The same twice, as far apart as it takes to believe that something is gone.
    pub fn ask_for_long(&mut self, existing: &[&str]) -> Vec<ShardId> {
        let doubtful = self.ask(existing);
        self.now = self.now.plus(Duration::from_secs(30));
        self.graph.note_time(self.now);
        self.graph.doubts_due = true;
        self.ask(existing);
        doubtful
    }

    /// Nothing is found of this shard for as long as it takes.
    pub fn is_missing(&mut self, shard: &str) -> Vec<ShardId> {
        self.graph.suspect(&id(shard), self.now);
        self.ask(&[]);
        self.now = self.now.plus(Duration::from_secs(30));
        self.graph.suspect(&id(shard), self.now);
        self.ask(&[])
    }

    /// The pages of shards that are only said to be over, and wait for an iterator of `LATEST`, say so, too.
    pub fn end_what_is_said_to_be_over(&mut self) {
        for shard in self.graph.latest_wanted() {
            self.graph.latest_is_over(&shard);
        }
        self.steps();
    }

    pub fn steps(&mut self) {
        self.store_first_listing();
        for step in self.graph.take_steps(0, STEPS_MAX) {
            self.gaps.extend(step.gap);
            self.store(&step.shard, &step.step, step.read_until);
        }
        self.store_first_listing();
    }

    fn store_first_listing(&mut self) {
        if let Some(listing) = self.graph.first_listing_due() {
            self.progress.first_listing = Some(listing);
            self.graph.first_listing_committed(listing);
        }
    }

    pub fn is_known(&self) -> bool {
        self.progress.known_since().is_some()
    }

    pub fn store(&mut self, shard: &ShardId, step: &Step, read_until: Option<ServiceTime>) {
        match step {
            Step::Register { parent, position } => {
                let before = self.stored.insert(shard.clone(), (parent.clone(), position.clone(), read_until));
                assert!(before.is_none(), "{shard} registered twice");
            }
            Step::Advance(Advance { from, to }) => {
                let row = self.stored.get_mut(shard).expect("registered first");
                assert_eq!(row.1, *from);
                *row = (row.0.clone(), to.clone(), read_until.or(row.2));
            }
            Step::Forget => {
                let row = self.stored.remove(shard).expect("registered first");
                assert_eq!(row.1, Position::End);
            }
        }
        self.graph.committed(shard, step);
    }

    /// A page with a new iterator, created now.
    pub fn page(&mut self, shard: &str, last: Option<u64>, end: bool) -> PageMeans {
        let from = self.from(shard);
        self.page_from(shard, from, last, end)
    }

    fn page_from(&mut self, shard: &str, from: Option<IteratorStart>, last: Option<u64>, end: bool) -> PageMeans {
        let last = last.map(number);
        let facts = PageFacts {
            when: self.when(),
            last: last.as_ref(),
            created: last.as_ref().map(|_| self.now),
            is_end: end,
            start: from.as_ref(),
        };
        self.graph.page_read(&id(shard), &facts)
    }

    /// The same, stored.
    pub fn read(&mut self, shard: &str, last: Option<u64>, end: bool) {
        let means = self.page(shard, last, end);
        self.take(shard, means);
    }

    fn take(&mut self, shard: &str, means: PageMeans) {
        match means {
            PageMeans::Step { advance: Some(advance), read_until, .. } => {
                self.store(&id(shard), &Step::Advance(advance), read_until);
            }
            PageMeans::Step { advance: None, .. } | PageMeans::Nothing => {}
        }
        self.steps();
    }

    /// An end without records, told as often as it takes to be believed.
    pub fn end(&mut self, shard: &str) {
        self.read(shard, None, true);
        self.read(shard, None, true);
    }

    /// So many empty pages with the iterator of the page before, a second apart.
    pub fn read_empty(&mut self, shard: &str, pages: usize) {
        for _ in 0..pages {
            self.now = self.now.plus(Duration::from_secs(1));
            let means = self.page_from(shard, None, None, false);
            self.take(shard, means);
        }
    }

    /// What the sink holds.
    fn stored_progress(&self) -> Progress {
        let row = |(shard, (parent, position, read_until)): (&ShardId, &Row)| ShardProgress {
            shard: shard.clone(),
            parent: parent.clone(),
            position: position.clone(),
            read_until: *read_until,
        };
        let shards = self.stored.iter().map(row).collect();
        Progress { shards, ..self.progress.clone() }
    }

    /// Another process, at once.
    pub fn restart(&self) -> Self {
        let progress = self.stored_progress();
        let mut again = Self::new(self.graph.start, self.graph.on_gap, self.graph.is_bounded, progress);
        again.now = self.now;
        again
    }

    /// The lane is opened again by the same process, at once.
    pub fn reopen(&mut self) {
        let progress = self.stored_progress();
        self.graph.lane_closed(0);
        self.graph.restore(0, &progress, None);
    }

    pub fn from(&self, shard: &str) -> Option<IteratorStart> {
        self.graph.read_from(&id(shard))
    }

    pub fn causes(&self) -> Vec<GapCause> {
        self.gaps.iter().map(|gap| gap.cause).collect()
    }

    pub fn read_until(&self, shard: &str) -> Option<ServiceTime> {
        self.graph.shards.get(&id(shard)).and_then(|shard| shard.read_until)
    }
}
