//! The gap rules, and the steps by which registrations and gaps reach the sink.

use std::time::Duration;

use tailwater_model::{Gap, GapCause, Position, Progress, ShardId, Step};

use super::ShardGraph;
use super::shard::Shard;
use crate::settings::OnGap;

/// Longest absence without suspicion. The stream keeps records for 24 hours; the hour between is for what was stored
/// last before the pipeline went away, and for reading it now.
pub(crate) const ABSENCE_MAX: Duration = Duration::from_secs(23 * 60 * 60);

/// A registration or a gap, to be handed out as a batch without events.
#[derive(Debug)]
pub(crate) struct GraphStep {
    pub shard: ShardId,
    pub step: Step,
    pub gap: Option<Gap>,
}

/// A gap that no registered shard has: of the whole stream, or of a shard that a stop keeps from being registered. Some
/// registered shard carries it with a step that goes nowhere.
pub(super) struct StreamGap {
    pub shard: Option<ShardId>,
    pub cause: GapCause,
    pub detail: String,
    /// The shard whose step carries it, once handed out.
    pub carrier: Option<ShardId>,
}

/// What a trimmed position means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimmedMeans {
    /// Records are lost; the gap comes with the next steps.
    Loss,
    /// Nothing of ours: a new iterator begins at what is there.
    Nothing,
}

impl ShardGraph {
    /// Registrations and gaps of this lane that may be handed out now, parents before children.
    pub fn take_steps(&mut self, lane: usize) -> Vec<GraphStep> {
        let mut steps: Vec<GraphStep> = self.take_stream_gaps(lane).into_iter().collect();
        while let Some(id) = self.lanes[lane].steps_due.pop_first() {
            let Some(shard) = self.shards.get(&id) else { continue };
            if self.may_register(shard) {
                steps.extend(self.register(&id, None));
            } else if let Some(cause) = self.cause_due(shard) {
                steps.extend(self.surface(&id, cause));
            }
            // A registration that was handed out lets the children of the same lane follow.
            self.refresh_family(&id);
        }
        steps
    }

    /// Gap rule 1: the position to read from was trimmed.
    pub fn trimmed(&mut self, id: &ShardId) -> TrimmedMeans {
        self.passed_by(id, GapCause::Trimmed)
    }

    /// Gap rule 5 for one shard of a process that went on: nothing was read of it for so long that its trim horizon may
    /// have passed records. From the trim horizon the service gives what is left, and says nothing of the rest.
    pub fn too_late(&mut self, id: &ShardId, at: Duration) {
        self.heard(id, at);
        self.passed_by(id, GapCause::Away);
    }

    fn passed_by(&mut self, id: &ShardId, cause: GapCause) -> TrimmedMeans {
        let Some(shard) = self.shards.get(id) else { return TrimmedMeans::Nothing };
        let parent_was_ours = shard.parent.as_ref().is_some_and(|parent| self.shards.contains_key(parent));
        let promised = parent_was_ours || shard.polled;
        // Nothing was read yet and the shard has no beginning that was promised: the service moved its trim horizon
        // between two calls. Behind a gap that is already on record it is the same loss.
        if shard.from_horizon || (shard.read == Position::Start && !promised) {
            return TrimmedMeans::Nothing;
        }
        self.lost(id, cause);
        TrimmedMeans::Loss
    }

    /// Gap rule 1: a shard that was not drained no longer exists.
    pub fn gone(&mut self, id: &ShardId) {
        self.lost(id, GapCause::ShardGone);
    }

    fn lost(&mut self, id: &ShardId, cause: GapCause) {
        if let Some(shard) = self.shards.get_mut(id).filter(|shard| shard.gap.is_none()) {
            shard.gap = Some(cause);
            self.refresh(id);
        }
    }

    pub(super) fn gap_due(&self, shard: &Shard) -> bool {
        self.cause_due(shard).is_some()
    }

    /// The gap of a registered shard that was not handed out yet.
    fn cause_due(&self, shard: &Shard) -> Option<GapCause> {
        if shard.durable.is_none() || shard.read == Position::End || shard.stopped {
            return None;
        }
        // Gap rule 2.
        let unlisted = shard.absence.is_proven().then_some(GapCause::ShardUnlisted);
        shard.gap.or(unlisted)
    }

    fn surface(&mut self, id: &ShardId, cause: GapCause) -> Option<GraphStep> {
        let stop = self.on_gap == OnGap::Stop;
        let shard = self.shards.get_mut(id)?;
        shard.gap = None;
        let after = shard.read.clone();
        let trimmed = matches!(cause, GapCause::Trimmed | GapCause::Away);
        let to = if stop || trimmed { after.clone() } else { Position::End };
        let advance = shard.advance(to, None);
        shard.stopped = stop;
        // The stored position stays where it is until records behind the gap come: a restart finds the gap again.
        shard.from_horizon = trimmed && !stop;
        let detail = match cause {
            GapCause::Trimmed => format!("shard {id}: the records after {after} were trimmed before they were read"),
            GapCause::Away => {
                format!("shard {id}: nothing was read for 23 hours, and the stream keeps records for 24 hours")
            }
            GapCause::ShardGone => format!("shard {id} was read up to {after} and no longer exists"),
            _ => format!("shard {id} was read up to {after} and is absent from all complete listings"),
        };
        let gap = Gap { shard: Some(id.clone()), cause, after, detail, stop };
        self.changes += 1;
        Some(GraphStep { shard: id.clone(), step: Step::Advance(advance), gap: Some(gap) })
    }

    fn register(&mut self, id: &ShardId, stream_gap: Option<usize>) -> Option<GraphStep> {
        let stop = self.on_gap == OnGap::Stop;
        let shard = self.shards.get_mut(id)?;
        let step = shard.register(stream_gap.and_then(|index| Some(self.stream_gaps.get(index)?.cause)));
        let cause = shard.birth_gap;
        let parent = shard.parent.clone();
        let own = cause.map(|cause| Gap {
            shard: Some(id.clone()),
            cause,
            after: Position::Start,
            detail: new_root_detail(id, parent.as_ref()),
            stop,
        });
        let gap = stream_gap.and_then(|index| self.carry(index, id, Position::Start)).or(own);
        Some(GraphStep { shard: id.clone(), step, gap })
    }

    /// Complete listings had this unregistered shard and not its parent. Before the stream is known that is where a
    /// lineage begins; afterwards at least one shard came and went unseen (gap rules 3 and 4).
    pub(super) fn parent_is_gone(&mut self, id: &ShardId) {
        let stop = self.on_gap == OnGap::Stop;
        let Some(shard) = self.shards.get_mut(id) else { return };
        let known_then = !shard.seen_before_known;
        let cause = if shard.parent.is_some() { GapCause::UnknownParent } else { GapCause::Orphan };
        if known_then && stop {
            // Not registered: the next start finds it again, and stops again.
            shard.stopped = true;
            if self.stream_gaps.iter().any(|gap| gap.shard.as_ref() == Some(id)) {
                return;
            }
            let detail = new_root_detail(id, shard.parent.as_ref());
            self.stream_gaps.push(StreamGap { shard: Some(id.clone()), cause, detail, carrier: None });
            return;
        }
        shard.root = true;
        shard.birth_gap = known_then.then_some(cause);
    }

    /// A gap that stops the pipeline and waits to be stored, or was: nothing else may happen.
    pub(super) fn frozen(&self) -> bool {
        self.on_gap == OnGap::Stop && !self.stream_gaps.is_empty()
    }

    /// Gap rule 5: whenever the first lane is opened, because a process can be cut off for long and go on, too. And another
    /// stream than the one before, which is known when it is first opened. What the lane had handed out is handed out again.
    pub(super) fn stream_gaps_restored(&mut self, lane: usize, first: bool, progress: &Progress) {
        for gap in &mut self.stream_gaps {
            let carrier = gap.carrier.as_ref().and_then(|carrier| self.shards.get(carrier));
            if carrier.is_some_and(|carrier| carrier.lane == lane) {
                gap.carrier = None;
            }
        }
        if lane != 0 {
            return;
        }
        let told = self.stream_gaps.iter().any(|gap| gap.shard.is_none() && gap.cause == GapCause::Away);
        let mut found = |cause, detail| {
            self.stream_gaps.push(StreamGap { shard: None, cause, detail, carrier: None });
        };
        if let Some(away) = progress.since_contact.filter(|away| *away > ABSENCE_MAX && !told) {
            let hours = away.as_secs() / 3600;
            found(
                GapCause::Away,
                format!("nobody looked at the stream for {hours} hours, and it keeps records for 24 hours only"),
            );
        }
        if let Some(previous) = progress.previous_stream.as_ref().filter(|_| first && !progress.stream_known) {
            found(
                GapCause::StreamReplaced,
                format!(
                    "the table's stream was replaced: progress belongs to {previous}, and what was written between the two streams is in neither"
                ),
            );
        }
    }

    /// The gaps of the whole stream, if this lane has the shard to carry them.
    fn take_stream_gaps(&mut self, lane: usize) -> Vec<GraphStep> {
        let mut steps = Vec::new();
        if !self.all_opened() {
            return steps;
        }
        while let Some(index) = self.stream_gaps.iter().position(|gap| gap.carrier.is_none()) {
            let step = match self.choose_carrier() {
                Some(id) if self.lane_of(&id) == Some(lane) => self.carry_nowhere(index, &id),
                Some(_) => None,
                None => match self.first_to_register() {
                    Some(id) if self.lane_of(&id) == Some(lane) => self.register(&id, Some(index)),
                    _ => None,
                },
            };
            let Some(step) = step else { break };
            self.refresh_family(&step.shard);
            self.changes += 1;
            steps.push(step);
        }
        steps
    }

    /// A registered shard, best one in the middle of being read: its position makes the record of this gap another one
    /// than the record of a gap last month.
    fn choose_carrier(&self) -> Option<ShardId> {
        let stored = || self.shards.iter().filter(|(_, shard)| shard.durable.is_some() || shard.registering);
        stored()
            .find(|(_, shard)| matches!(shard.read, Position::After(_)))
            .or_else(|| stored().next())
            .map(|(id, _)| id.clone())
    }

    fn first_to_register(&self) -> Option<ShardId> {
        self.shards.iter().find(|(_, shard)| self.may_register(shard)).map(|(id, _)| id.clone())
    }

    fn lane_of(&self, id: &ShardId) -> Option<usize> {
        self.shards.get(id).map(|shard| shard.lane)
    }

    fn carry_nowhere(&mut self, index: usize, id: &ShardId) -> Option<GraphStep> {
        let shard = self.shards.get_mut(id)?;
        let here = shard.read.clone();
        let cause = self.stream_gaps.get(index)?.cause;
        let advance = shard.advance(here.clone(), Some(cause));
        let gap = self.carry(index, id, here);
        Some(GraphStep { shard: id.clone(), step: Step::Advance(advance), gap })
    }

    fn carry(&mut self, index: usize, carrier: &ShardId, after: Position) -> Option<Gap> {
        let stop = self.on_gap == OnGap::Stop;
        let gap = self.stream_gaps.get_mut(index)?;
        gap.carrier = Some(carrier.clone());
        // Of a shard that was born and trimmed unseen nothing is known to be complete.
        let after = if gap.shard.is_some() { Position::Start } else { after };
        Some(Gap { shard: gap.shard.clone(), cause: gap.cause, after, detail: gap.detail.clone(), stop })
    }
}

fn new_root_detail(id: &ShardId, parent: Option<&ShardId>) -> String {
    match parent {
        Some(parent) => format!(
            "shard {id} is new and its parent {parent} was never seen: at least one shard came and was trimmed unread"
        ),
        None => format!("shard {id} is new and has no parent although the stream was listed completely before"),
    }
}
