//! The witness: told of every commit at the instant at which it becomes visible, it compares it with what the service knows
//! to be true, and keeps the first violation.
//!
//! It judges by the truth and by the order of landings alone; it never asks the engine anything.

mod behind;
mod fence;
mod losses;
mod moments;
mod rows;
mod tip;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tailwater_model::Position;

use super::ground::{LandedChange, Landing, lock};
use super::history::{History, Written};
use super::promise::Promise;
use crate::face::{StreamNetwork, VirtualClock};
use crate::service::Service;

/// A first start promises records that are no older than this.
const PROMISED_MS: i64 = 22 * 60 * 60 * 1000;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check: the invariant's number and a few words.
    pub check: &'static str,
    /// What was seen and where.
    pub detail: String,
}

/// How a ground shows its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every change, in order.
    Log,
    /// Of each item only the last change of a commit.
    Folded,
}

/// Watches one world.
pub struct Witness {
    service: Arc<Mutex<Service>>,
    clock: VirtualClock,
    manner: Manner,
    history: History,
    settled: Vec<bool>,
    next_of_key: BTreeMap<String, usize>,
    positions: BTreeMap<String, Position>,
    /// Shards whose progress is in the sink.
    rows: BTreeSet<String>,
    /// Of a shard, per session of its lane that stored progress of it: when the session began, and when it last did.
    stored: BTreeMap<String, Vec<(i64, i64)>>,
    /// The number of the stream that progress was last stored of.
    last_stream: usize,
    /// The streams that progress was stored of.
    streams_read: BTreeSet<usize>,
    epochs: BTreeMap<u32, u64>,
    /// When the newest session of a lane began.
    began_ms: BTreeMap<u32, i64>,
    busy: moments::Busy,
    gapped: BTreeSet<(Option<String>, String)>,
    /// Until when they tell of losses, by shard.
    told_until: BTreeMap<Option<String>, i64>,
    network: StreamNetwork,
    /// Records that were trimmed before the pipeline knew the stream, and that nobody promised.
    before_known: BTreeSet<usize>,
    /// When somebody first ran the pipeline.
    started_ms: Option<i64>,
    /// When the first registration landed.
    registered_ms: Option<i64>,
    is_known: bool,
    follows_another: bool,
    stale: bool,
    /// The stream that somebody claimed last.
    claimed: Option<String>,
    claimed_again: u64,
    /// The sink has lost what no start may pass over.
    is_lost: bool,
    violation: Option<Violation>,
    /// Landings that changed data, progress, gaps or dead letters.
    pub landings: u64,
    trace: Option<Vec<String>>,
}

impl Witness {
    /// A witness of what becomes of the streams of this service.
    pub fn new(
        service: Arc<Mutex<Service>>,
        clock: VirtualClock,
        network: StreamNetwork,
        manner: Manner,
        promise: Promise,
        traced: bool,
    ) -> Self {
        Self {
            service,
            clock,
            manner,
            history: History::under(promise),
            settled: Vec::new(),
            next_of_key: BTreeMap::new(),
            positions: BTreeMap::new(),
            rows: BTreeSet::new(),
            stored: BTreeMap::new(),
            last_stream: 0,
            streams_read: BTreeSet::new(),
            epochs: BTreeMap::new(),
            began_ms: BTreeMap::new(),
            busy: moments::Busy::default(),
            gapped: BTreeSet::new(),
            told_until: BTreeMap::new(),
            network,
            before_known: BTreeSet::new(),
            started_ms: None,
            registered_ms: None,
            is_known: false,
            follows_another: false,
            is_lost: false,
            stale: true,
            claimed: None,
            claimed_again: 0,
            violation: None,
            landings: 0,
            trace: traced.then(Vec::new),
        }
    }

    /// Keeps the first violation.
    pub fn violated(&mut self, check: &'static str, detail: String) {
        self.tell(|| format!("VIOLATED {check}: {detail}"));
        self.violation.get_or_insert(Violation { check, detail });
    }

    /// The first violation, if there is one.
    pub fn violation(&self) -> Option<Violation> {
        self.violation.clone()
    }

    /// What is true, as of now.
    pub fn history(&mut self) -> &History {
        self.learn_if_stale();
        &self.history
    }

    /// Somebody runs the pipeline.
    pub fn started(&mut self) {
        self.started_ms.get_or_insert(self.clock.now_ms());
    }

    /// The sink has lost its progress or its target.
    pub fn lost(&mut self) {
        self.is_lost = true;
    }

    /// Something was written, or changed in the lineage.
    pub fn stale(&mut self) {
        self.stale = true;
    }

    fn learn_if_stale(&mut self) {
        if self.stale {
            self.learn();
        }
    }

    fn learn(&mut self) {
        self.stale = false;
        let now = self.clock.now_ms();
        let mut service = lock(&self.service);
        service.advance(now);
        self.history.learn(service.truth());
        self.settled.resize(self.history.records.len(), false);
    }

    /// A commit became visible.
    pub fn landed(&mut self, landing: &Landing) {
        if landing.gaps.is_empty() {
            self.learn_if_stale();
        } else {
            self.learn();
        }
        let stream = landing.steps.first().and_then(|(shard, _, _)| self.history.stream_of(shard));
        if stream.is_some_and(|stream| stream > self.last_stream) && !self.positions.is_empty() {
            // All of a stream that follows another is promised.
            self.follows_another = true;
            self.is_known = false;
        }
        if !self.is_known && !self.follows_another {
            self.learn();
            let promised_ms = self.registered_ms.map_or(i64::MAX, |at_ms| at_ms - PROMISED_MS);
            let is_excused = |record: &Written| record.trimmed && record.created_at_ms < promised_ms;
            let excused = self.history.records.iter().enumerate().filter(|(_, record)| is_excused(record));
            self.before_known.extend(excused.map(|(index, _)| index));
        }
        if !landing.steps.is_empty() {
            self.registered_ms.get_or_insert(self.clock.now_ms());
        }
        if landing.known && !self.is_known {
            self.history.known(self.clock.now_ms());
        }
        self.is_known |= landing.known;
        if landing.changes.is_empty()
            && landing.steps.is_empty()
            && landing.gaps.is_empty()
            && landing.dead_letters.is_empty()
            && landing.forgotten.is_empty()
        {
            return;
        }
        self.landings += u64::from(self.is_news(landing));
        if let (true, Some((shard, _, _))) = (self.positions.is_empty(), landing.steps.first()) {
            // With the first registration the start is chosen, by a listing before it.
            let stream = self.history.stream_of(shard).unwrap_or_default();
            self.history.started(stream);
            self.tell(|| "started".to_owned());
        }
        self.tell(|| trace::describe(landing));
        self.check_fence(landing);
        self.check_gaps(landing);
        // A child's record and its parent's end may not come in one commit: nothing was durable yet when it was read.
        let positions_before = self.positions.clone();
        for event_id in &landing.dead_letters {
            self.settle_dead_letter(event_id);
        }
        self.move_positions(landing);
        for change in &landing.changes {
            self.check_change(change, &positions_before);
        }
        self.check_steps(landing);
        self.move_rows(landing);
        self.check_moments(landing);
    }

    /// A gap that is on record, carried by a step that goes nowhere, tells nothing new.
    fn is_news(&self, landing: &Landing) -> bool {
        !landing.changes.is_empty()
            || !landing.dead_letters.is_empty()
            || landing.steps.iter().any(|(_, before, after)| before.as_ref() != Some(after))
            || landing.gaps.iter().any(|(shard, _)| !shard.as_ref().is_some_and(|shard| self.is_told(shard)))
    }

    fn settle_dead_letter(&mut self, event_id: &str) {
        match self.history.by_event_id.get(event_id) {
            Some(&index) if !self.settled[index] => self.settled[index] = true,
            Some(_) => self.violated("I2 duplicate", format!("event {event_id} is settled twice")),
            None => self.violated("an unknown event", format!("dead letter {event_id}")),
        }
    }

    /// I2: a step begins where the shard stands.
    fn move_positions(&mut self, landing: &Landing) {
        for (shard, before, after) in &landing.steps {
            if self.positions.get(shard) != before.as_ref() {
                let detail =
                    format!("shard {shard} moved from {before:?}, it stood at {:?}", self.positions.get(shard));
                self.violated("I2 step", detail);
            }
            self.positions.insert(shard.clone(), after.clone());
        }
    }

    fn check_change(&mut self, change: &LandedChange, before: &BTreeMap<String, Position>) {
        let Some(&index) = self.history.by_event_id.get(&change.event_id) else {
            return self.violated("an unknown event", format!("{} of {}", change.event_id, change.key));
        };
        let record = self.history.records[index].clone();
        if record.key != change.key {
            return self.violated("P5 key", format!("{} is told as {}", record.key, change.key));
        }
        if self.manner == Manner::Log && record.new != change.image {
            let detail = format!("{}: {:?} is told as {:?}", record.event_id, record.new, change.image);
            self.violated("P5 image", detail);
        }
        if record.is_filtered {
            let detail = format!("{} of {} lands although a rule drops it", change.event_id, change.key);
            return self.violated("I5 filtered", detail);
        }
        let next = self.next_of_key.get(&change.key).copied().unwrap_or_default();
        if record.ordinal < next {
            let detail = format!("change {} of {} lands after change {}", record.ordinal, change.key, next - 1);
            return self.violated(if self.settled[index] { "I2 duplicate" } else { "I4 order" }, detail);
        }
        self.check_prefix(change, next, record.ordinal);
        self.next_of_key.insert(change.key.clone(), record.ordinal + 1);
        self.settled[index] = true;
        // I3: what the parent held came before. The first complete listing was answered by the first registration.
        let listed_ms = self.registered_ms.unwrap_or_default();
        let drained =
            |parent: &String| before.get(parent) == Some(&Position::End) || self.history.is_left_out(parent, listed_ms);
        if let Some(parent) = self.history.parent(&record.shard)
            && !drained(parent)
            && !self.history.shard_is_trimmed(parent)
        {
            let detail = format!("{} of shard {} before the end of its parent {parent}", record.event_id, record.shard);
            self.violated("I3 parent before child", detail);
        }
    }

    /// I4: what lies between the last change and this one was dead-lettered, folded into this commit, or trimmed unread.
    fn check_prefix(&mut self, change: &LandedChange, next: usize, ordinal: usize) {
        let between = self.history.of_key(&change.key).get(next..ordinal).unwrap_or_default().to_vec();
        for index in between {
            let folded = self.manner == Manner::Folded && self.history.covered(index, &self.positions);
            if folded {
                self.settled[index] = true;
            } else if self.is_owed(index) {
                let record = &self.history.records[index];
                let written_at = self.clock.told(record.created_at_ms);
                let (missing, landed) = (&record.event_id, &change.event_id);
                let detail =
                    format!("{missing}, written at {written_at}, is missing before {landed} of {}", change.key);
                return self.violated("I4 prefix", detail);
            }
        }
    }

    /// It is neither settled nor excused. What was trimmed a moment ago is not learnt before it matters.
    fn is_owed(&mut self, index: usize) -> bool {
        let is_owed = |of: &Self| !of.settled[index] && !of.history.records[index].is_excused();
        is_owed(self) && {
            self.learn();
            is_owed(self)
        }
    }

    /// I1: everything that a position stands for is settled, or was trimmed unread.
    fn check_steps(&mut self, landing: &Landing) {
        for (shard, _, after) in &landing.steps {
            if *after == Position::End && !self.history.shard_is_closed(shard) {
                self.violated("I1 end", format!("shard {shard} is called drained while it is open"));
            }
            for index in self.history.covered_of(shard, &self.positions).to_vec() {
                let record = &self.history.records[index];
                self.settled[index] |= record.is_filtered;
                let seen = self.next_of_key.get(&record.key).is_some_and(|next| record.ordinal < *next);
                if !seen && self.is_owed(index) {
                    let record = &self.history.records[index];
                    let written_at = self.clock.told(record.created_at_ms);
                    let missing = &record.event_id;
                    let detail = format!(
                        "shard {shard} stands at {after}, and {missing}, written at {written_at}, never landed"
                    );
                    self.violated("I1 position", detail);
                    break;
                }
            }
        }
    }

    /// What was last learnt to be true.
    pub fn history_now(&self) -> &History {
        &self.history
    }

    /// Where a shard stands.
    pub fn position(&self, shard: &str) -> Option<&Position> {
        self.positions.get(shard)
    }

    /// The stream is known, as the sink holds it.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// How its ground shows commits.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// A gap is on record.
    pub fn has_gaps(&self) -> bool {
        !self.gapped.is_empty()
    }

    /// Whether each record was settled, in the order of the truth.
    pub fn settled(&self) -> &[bool] {
        &self.settled
    }
}
