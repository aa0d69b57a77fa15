//! The gap rules, and the steps by which registrations, gaps and moments reach the sink.

use tailwater_model::{Gap, GapCause, Position, PreviousStream, ServiceTime, ShardId, Step};

use super::ShardGraph;
use super::shard::{Origin, ReadFrom, Shard, Stage};
use crate::settings::OnGap;

/// A registration, a gap, or how far in time a shard was read: a batch without events.
#[derive(Debug)]
pub(crate) struct GraphStep {
    pub shard: ShardId,
    pub step: Step,
    pub read_until: Option<ServiceTime>,
    pub gap: Option<Gap>,
}

/// A gap that no registered shard has: of the whole stream, or of a shard that a stop keeps from being registered. Some
/// registered shard carries it with a step that goes nowhere.
pub(super) struct StreamGap {
    pub number: u64,
    pub shard: Option<ShardId>,
    cause: GapCause,
    detail: String,
    since: Option<ServiceTime>,
    until: ServiceTime,
    /// The shard whose step carries it, once handed out.
    carrier: Option<ShardId>,
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
    /// At most `steps_max` steps of this lane that may be handed out now, parents before children.
    pub fn take_steps(&mut self, lane: usize, steps_max: usize) -> Vec<GraphStep> {
        let mut steps: Vec<GraphStep> = self.take_stream_gaps(lane, steps_max);
        while steps.len() < steps_max
            && let Some(id) = self.lanes[lane].steps_due.pop_first()
        {
            steps.extend(self.step_of(&id));
            // A registration that was handed out lets the children of the same lane follow.
            self.settle_family(&id);
        }
        steps
    }

    /// Whether a step of this shard is due.
    pub(super) fn is_step_due(&self, id: &ShardId, shard: &Shard) -> bool {
        !self.is_frozen()
            && (self.may_register(id, shard)
                || cause_due(shard).is_some()
                || Self::is_read_until_due(shard)
                || self.is_forgettable(id, shard))
    }

    fn step_of(&mut self, id: &ShardId) -> Option<GraphStep> {
        let shard = self.shards.get(id)?;
        if self.may_register(id, shard) {
            return self.register(id, None);
        }
        if let Some(cause) = cause_due(shard) {
            return self.surface(id, cause);
        }
        let is_forgettable = self.is_forgettable(id, shard);
        let is_moment_due = Self::is_read_until_due(shard);
        let shard = self.shards.get_mut(id)?;
        if is_forgettable {
            let step = shard.forget()?;
            return Some(GraphStep { shard: id.clone(), step, read_until: None, gap: None });
        }
        if is_moment_due {
            let read_until = shard.read_until;
            let step = Step::Advance(shard.advance(shard.position(), None)?);
            return Some(GraphStep { shard: id.clone(), step, read_until, gap: None });
        }
        None
    }

    /// Gap rule 1: the position to read from was trimmed. Errors have no date: the gap is found with the next answer that has
    /// one, or nobody would know until when records are lost.
    pub fn trimmed(&mut self, id: &ShardId) -> TrimmedMeans {
        let Some(shard) = self.shards.get_mut(id) else { return TrimmedMeans::Nothing };
        let Stage::Readable(chain, reading) = &mut shard.stage else { return TrimmedMeans::Nothing };
        // Behind a gap that is on record it is the same loss. At the beginning no position was trimmed: the service moved
        // its trim horizon between two calls, and rule 5 says whether that matters.
        let is_at_start = chain.read == Some(Position::Start);
        if matches!(reading.from, ReadFrom::Behind(_)) || is_at_start {
            return TrimmedMeans::Nothing;
        }
        // How far it was read proves nothing against this answer: a service that keeps records for less than a day gives it, too.
        reading.is_trimmed = true;
        self.is_loss_undated = true;
        self.changes += 1;
        TrimmedMeans::Loss
    }

    /// A dated answer came.
    pub(super) fn note_time(&mut self, answered: ServiceTime) {
        self.now = self.now.max(answered);
        if std::mem::take(&mut self.is_restored_unchecked) {
            self.forget_the_future(answered);
        }
        if !std::mem::take(&mut self.is_loss_undated) {
            return;
        }
        let is_trimmed = |shard: &Shard| matches!(&shard.stage, Stage::Readable(_, reading) if reading.is_trimmed);
        let trimmed = self.shards.iter().filter(|(_, shard)| is_trimmed(shard)).map(|(id, _)| id.clone());
        for id in trimmed.collect::<Vec<_>>() {
            self.lost(&id, GapCause::Trimmed);
        }
    }

    pub(super) fn lost(&mut self, id: &ShardId, cause: GapCause) {
        if let Some(chain) = self.shards.get_mut(id).and_then(Shard::chain_mut) {
            chain.lost.get_or_insert(cause);
            self.settle(id);
        }
    }

    fn surface(&mut self, id: &ShardId, cause: GapCause) -> Option<GraphStep> {
        let now = self.now;
        let goes_on_in_shard = matches!(cause, GapCause::Trimmed | GapCause::Away);
        let is_gap = goes_on_in_shard || self.was_promised(self.shards.get(id)?);
        let stop = self.on_gap == OnGap::Stop && is_gap;
        let shard = self.shards.get_mut(id)?;
        shard.chain_mut()?.lost = None;
        let (after, since) = (shard.position(), shard.read_until);
        let to = if stop || goes_on_in_shard { after.clone() } else { Position::End };
        let step = Step::Advance(shard.advance(to.clone(), None)?);
        let read_until = shard.read_until;
        if stop {
            shard.stop();
        } else if to == Position::End {
            shard.exhaust();
        } else if let Stage::Readable(_, reading) = &mut shard.stage {
            // The stored position stays where it is until records behind the gap come: a restart finds the gap again.
            reading.from = ReadFrom::Behind(now);
            reading.is_trimmed = false;
        }
        let detail = match cause {
            GapCause::Trimmed => format!("shard {id}: the records after {after} were trimmed before they were read"),
            GapCause::Away => match since {
                Some(since) => {
                    format!("shard {id} was not read since {since}, and the stream keeps records for 24 hours")
                }
                None => format!("shard {id} was not read for 23 hours, and the stream keeps records for 24 hours"),
            },
            GapCause::ShardGone => format!("shard {id} was read up to {after} and no longer exists"),
            _ => format!("shard {id} was read up to {after}, no listing shows it, and it no longer exists"),
        };
        let gap = Gap { shard: Some(id.clone()), cause, after, since, until: now, detail, stop };
        self.changes += 1;
        Some(GraphStep { shard: id.clone(), step, read_until, gap: is_gap.then_some(gap) })
    }

    /// Whether a shard that is gone can have held anything that was promised. A shard goes a day after its end, so at a first
    /// start the oldest ones go before they can be read.
    fn was_promised(&self, shard: &Shard) -> bool {
        let Some(promised) = self.first_listed_at().map(|listed_at| self.promised_from(listed_at)) else { return true };
        let was_begun = shard.position() != Position::Start || shard.read_until.is_none_or(|until| until > promised);
        was_begun || !self.is_first_start(self.now) || self.is_unread_for_too_long(shard, self.now)
    }

    fn register(&mut self, id: &ShardId, stream_gap: Option<usize>) -> Option<GraphStep> {
        let stop = self.on_gap == OnGap::Stop;
        let now = self.now;
        self.inherit(id);
        self.inherit_unknown(id);
        // Stored before its gap it would look harmless: it carries the gap, though another may have it under way.
        let of_shard = || self.stream_gaps.iter().position(|gap| gap.shard.as_ref() == Some(id));
        let stream_gap = of_shard().or(stream_gap);
        let number = stream_gap.and_then(|index| Some(self.stream_gaps.get(index)?.number));
        let shard = self.shards.get_mut(id)?;
        let step = shard.register(number);
        let read_until = shard.read_until;
        let own = (shard.origin == Origin::Passed).then(|| Gap {
            shard: Some(id.clone()),
            cause: GapCause::ShardGone,
            after: Position::Start,
            since: None,
            until: now,
            detail: format!(
                "shard {id} is listed although it was said not to exist, and its children were read without it"
            ),
            stop,
        });
        let gap = stream_gap.and_then(|index| self.carry(index, id)).or(own);
        Some(GraphStep { shard: id.clone(), step, read_until, gap })
    }

    /// A gap that stops the pipeline and waits to be stored, or was: nothing else may happen.
    pub(super) fn is_frozen(&self) -> bool {
        self.on_gap == OnGap::Stop && !self.stream_gaps.is_empty()
    }

    /// A gap that stops the pipeline is this lane's, or keeps all lanes from reading.
    pub fn stops(&self, lane: usize) -> bool {
        let is_stopped = |shard: &Shard| shard.lane == lane && matches!(shard.stage, Stage::Stopped(_));
        self.is_frozen() || self.shards.values().any(is_stopped)
    }

    /// Nobody reads the shards of this lane for now. What it had handed out of gaps is handed out again, by whichever lane can:
    /// its own sink may be away for long, and behind a stop nobody goes on.
    pub fn lane_closed(&mut self, lane: usize) {
        self.lanes[lane].closed = true;
        self.give_gaps_back(lane);
    }

    fn give_gaps_back(&mut self, lane: usize) {
        for gap in &mut self.stream_gaps {
            let carrier = gap.carrier.as_ref().and_then(|carrier| self.shards.get(carrier));
            if carrier.is_some_and(|carrier| carrier.lane == lane) {
                gap.carrier = None;
                self.changes += 1;
            }
        }
    }

    /// The gaps that this lane had handed out wait again. And another stream than the one before is a gap, which is
    /// known when the first lane opens: what was written between the two is in neither.
    pub(super) fn restore_stream_gaps(&mut self, lane: usize, previous: Option<&PreviousStream>) {
        self.give_gaps_back(lane);
        let Some(previous) = previous.filter(|_| !self.is_known()) else { return };
        self.follows_another = true;
        let told = self.stream_gaps.iter_mut().find(|gap| gap.cause.is_between_streams());
        match told {
            // Each lane may know another part of the stream before.
            Some(gap) => gap.since = gap.since.and_then(|since| Some(since.min(previous.read_until?))),
            None => {
                let (cause, detail) = between_streams(previous);
                self.add_stream_gap(None, cause, detail, previous.read_until, self.now);
            }
        }
    }

    /// A gap of the whole stream, or of a shard that may have to wait for its registration.
    pub(super) fn add_stream_gap(
        &mut self,
        shard: Option<ShardId>,
        cause: GapCause,
        detail: String,
        since: Option<ServiceTime>,
        until: ServiceTime,
    ) {
        self.stream_gaps_found += 1;
        let number = self.stream_gaps_found;
        self.stream_gaps.push(StreamGap { number, shard, cause, detail, since, until, carrier: None });
        self.changes += 1;
    }

    /// The stream does not exist any more. What may not have been read of it is a gap; answers whether everything is told: the
    /// gap is on record, or nothing of the stream was ever stored.
    pub fn stream_is_gone(&mut self) -> bool {
        // What the others hold is not known yet.
        if !self.lanes.iter().all(|lane| lane.opened) {
            return false;
        }
        // Where children may not have been listed, a drained shard is no end of the stream.
        let is_unread = self.shards.values().any(Shard::is_stored) && !self.fronts.is_empty();
        if !self.is_gone && is_unread {
            self.is_gone = true;
            let front = self.furthest_behind().and_then(|front| front.read_until);
            let until = front.map_or_else(String::new, |until| format!(" It was read until {until}."));
            let detail = format!("the stream does not exist any more, and was not read to its end.{until}");
            // The moment would tell one gap from another: after a restart less is known of it.
            self.add_stream_gap(None, GapCause::StreamGone, detail, None, self.now);
            return false;
        }
        !self.stream_gaps.iter().any(|gap| gap.cause == GapCause::StreamGone)
    }

    /// The gaps of the whole stream that are not handed out yet, with a shard of this lane.
    fn take_stream_gaps(&mut self, lane: usize, steps_max: usize) -> Vec<GraphStep> {
        let mut steps = Vec::new();
        let all_opened = self.lanes.iter().all(|lane| lane.opened);
        // Of the stream before this one each lane may have something to say.
        while steps.len() < steps_max {
            let is_due = |index: &usize| self.is_gap_due(&self.stream_gaps[*index], all_opened);
            let due: Vec<usize> = (0..self.stream_gaps.len()).filter(is_due).collect();
            let Some(step) = due.into_iter().find_map(|index| self.hand_out_gap(index, lane)) else { break };
            self.settle_family(&step.shard);
            self.changes += 1;
            steps.push(step);
        }
        steps
    }

    /// With a shard of this lane that is stored, or is registered with it. Where no lane has any, the lost shard itself is
    /// registered: otherwise nothing would ever say why the pipeline stands still.
    fn hand_out_gap(&mut self, index: usize, lane: usize) -> Option<GraphStep> {
        if let Some(id) = self.choose_carrier(lane) {
            return self.carry_nowhere(index, &id);
        }
        if let Some(id) = self.first_to_register(lane) {
            return self.register(&id, Some(index));
        }
        let id = self.stream_gaps.get(index)?.shard.clone()?;
        let is_mine = self.shards.get(&id).is_some_and(|shard| shard.lane == lane && shard.is_unregistered());
        // Behind a stop nothing of it is read, and so nothing too early.
        let is_last_resort = self.on_gap == OnGap::Stop
            && self.is_first_listing_durable()
            && self.lanes.iter().all(|lane| lane.opened)
            && !self.is_begun();
        if is_mine && is_last_resort { self.register(&id, Some(index)) } else { None }
    }

    fn is_gap_due(&self, gap: &StreamGap, all_opened: bool) -> bool {
        let shard = gap.shard.as_ref().and_then(|id| Some((id, self.shards.get(id)?)));
        // A shard that is registered now carries its own.
        let waits = shard.is_some_and(|(id, shard)| self.may_register(id, shard));
        // Before the first page of a listing nobody knows the time, nor when the new stream was turned on.
        let is_dated = self.begun.is_some() || !gap.cause.is_between_streams();
        gap.carrier.is_none() && !waits && is_dated && (all_opened || gap.shard.is_some())
    }

    /// A shard that is stored or soon will be, and is not about to be forgotten.
    fn choose_carrier(&self, lane: usize) -> Option<ShardId> {
        let stays = |shard: &Shard| {
            let chain = shard.chain().filter(|_| shard.lane == lane);
            chain.is_some_and(|chain| chain.pending.back().is_none_or(|last| last.step != Step::Forget))
        };
        self.shards.iter().find(|(_, shard)| stays(shard)).map(|(id, _)| id.clone())
    }

    fn first_to_register(&self, lane: usize) -> Option<ShardId> {
        let may = |(id, shard): &(&ShardId, &Shard)| shard.lane == lane && self.may_register(id, shard);
        self.shards.iter().find(may).map(|(id, _)| id.clone())
    }

    fn carry_nowhere(&mut self, index: usize, id: &ShardId) -> Option<GraphStep> {
        let number = self.stream_gaps.get(index)?.number;
        let shard = self.shards.get_mut(id)?;
        let here = shard.position();
        let step = Step::Advance(shard.advance(here, Some(number))?);
        let read_until = shard.read_until;
        let gap = self.carry(index, id);
        Some(GraphStep { shard: id.clone(), step, read_until, gap })
    }

    fn carry(&mut self, index: usize, carrier: &ShardId) -> Option<Gap> {
        let stop = self.on_gap == OnGap::Stop;
        // What was written to the new stream is carried from its beginning.
        let replaced_at = self.created_at.filter(|_| self.stream_gaps[index].cause.is_between_streams());
        let now = self.now;
        let gap = self.stream_gaps.get_mut(index)?;
        gap.carrier = Some(carrier.clone());
        Some(Gap {
            shard: gap.shard.clone(),
            cause: gap.cause,
            // Of the whole stream, or of a shard that was born and trimmed unseen, no position is known to be complete.
            after: Position::Start,
            since: gap.since,
            until: replaced_at.unwrap_or(gap.until.max(now)),
            detail: gap.detail.clone(),
            stop,
        })
    }
}

/// The gap of a shard that was not handed out yet. It comes in its place in the lineage: given up before its parent is
/// drained, it would let its children overtake the parent (I4).
fn cause_due(shard: &Shard) -> Option<GapCause> {
    match &shard.stage {
        Stage::Readable(chain, _) => chain.lost,
        _ => None,
    }
}

pub(super) fn new_root_detail(id: &ShardId, parent: Option<&ShardId>) -> String {
    match parent {
        Some(parent) => format!(
            "shard {id} is new and its parent {parent} was never seen: at least one shard came and was trimmed unread"
        ),
        None => format!("shard {id} is new and has no parent: at least one shard came and was trimmed unread"),
    }
}

/// Why something is missing between the stream that was read before and this one, and what of it is where.
fn between_streams(previous: &PreviousStream) -> (GapCause, String) {
    let old = &previous.stream_arn;
    let hole = "what was written after its end and before the new stream was turned on is in neither";
    if previous.is_of_another_table {
        let detail = format!(
            "the table was deleted and made again: progress belongs to its stream {old}, {hole}, and items of the old table \
             that nobody wrote in the new one are still in the target"
        );
        return (GapCause::TableReplaced, detail);
    }
    let detail = format!("the table's stream was replaced: progress belongs to {old}, and {hole}");
    (GapCause::StreamReplaced, detail)
}
