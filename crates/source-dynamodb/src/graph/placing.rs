//! Where a new shard belongs, and what does not exist any more. Listings only make suspicious: a shard is gone when the
//! service has no iterator for it.

use std::time::Duration;

use tailwater_model::{FirstListing, GapCause, ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::Absence;
use super::missing::Missing;
use super::read_until::UNREAD_MAX;
use super::shard::{Origin, Shard, Stage};
use crate::api::When;
use crate::settings::OnGap;

/// A shard that went may be listed again for a while: other readers keep what they know of it for two days (Flink's connector,
/// `ShardUtils`). Not for longer than processes run: after a start it is asked for anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// Drained shards that are asked for at once: nobody waits for an answer, and after a year there may be many.
const DRAINED_ASKED_MAX: usize = 160;

impl ShardGraph {
    /// A shard that was not seen before.
    pub(super) fn insert(&mut self, id: ShardId, parent: Option<ShardId>, seen_at: ServiceTime) {
        let lane = self.lane_number(&id);
        if let Some(parent) = &parent {
            self.children.entry(parent.clone()).or_default().insert(id.clone());
            if let Some(parent) = self.shards.get_mut(parent) {
                parent.goes_on = false;
            }
        }
        let mut shard = Shard::new(parent, lane, seen_at);
        shard.seen_at_listing = self.listings.begun;
        shard.is_of_start = !self.is_known();
        self.shards.insert(id, shard);
    }

    /// Decides about a new shard as far as that is possible: before its lane was restored it may be stored there, and before
    /// those of its children were it may have been passed over.
    pub(super) fn place(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.get(id).filter(|shard| self.is_new(shard)) else { return };
        let is_passed = matches!(shard.origin, Origin::LeftOut | Origin::Passed);
        if !is_passed && self.has_registered_child(id) {
            self.pass_over(id);
            return;
        }
        match shard.parent.clone() {
            None if shard.origin == Origin::Unplaced && self.knows_first_listing() && self.knows_children(id) => {
                self.begin_lineage(id, GapCause::Orphan);
            }
            Some(parent) if self.shards.contains_key(&parent) => self.place_children(&parent),
            Some(parent) if shard.origin == Origin::Unplaced => {
                self.missing_parents.entry(parent).or_default();
            }
            _ => {}
        }
    }

    /// Shards without a parent that could not be placed when they were seen.
    pub(super) fn place_orphans(&mut self) {
        let unplaced = |(_, shard): &(&ShardId, &Shard)| shard.parent.is_none() && shard.origin == Origin::Unplaced;
        let orphans: Vec<ShardId> = self.shards.iter().filter(unplaced).map(|(id, _)| id.clone()).collect();
        for id in orphans {
            self.place(&id);
            self.settle_family(&id);
        }
    }

    /// This shard is in the graph: its children that waited for it follow it.
    pub(super) fn place_children(&mut self, id: &ShardId) {
        self.missing_parents.remove(id);
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        for child in children {
            if self.shards.get(&child).is_some_and(|child| child.origin == Origin::Unplaced) {
                self.set_origin(&child, Origin::Child);
            }
        }
    }

    /// Shards that may not exist any more, to be asked for. What is not answered comes again after the next listing.
    pub fn take_doubtful(&mut self) -> Vec<ShardId> {
        if !std::mem::take(&mut self.doubts_due) {
            return Vec::new();
        }
        let Self { shards, suspects, .. } = self;
        let is_over = |shard: &Shard| shard.is_drained() && shard.absence.is_noticed();
        suspects.retain(|id| shards.get(id).is_some_and(|shard| shard.is_suspect() || is_over(shard)));
        let is_listed_through = self.listings.complete > 0 && self.knows_first_listing();
        let missing = self.missing_parents.iter().filter(|(id, parent)| {
            // What another lane has stored is not known yet.
            is_listed_through && self.knows_family_of_missing(id) && parent.missing.is_to_be_asked(self.now)
        });
        let over = self.suspects.iter().filter(|id| {
            self.shards.get(*id).is_some_and(|shard| {
                matches!(&shard.stage, Stage::Drained(_, ended) if ended.gone_since.is_none())
                    && (!self.has_children(id) || self.has_begun_children(id, shard))
            })
        });
        let absent = self.suspects.iter().filter(|id| {
            self.shards.get(*id).is_some_and(|shard| match &shard.stage {
                Stage::Blocked(chain) | Stage::Readable(chain, _) => {
                    chain.lost.is_none() && shard.missing.is_to_be_asked(self.now)
                }
                Stage::Unregistered => true,
                Stage::Exhausted(_) | Stage::Stopped(_) | Stage::Drained(..) => false,
            })
        });
        missing.map(|(id, _)| id).chain(absent).chain(over.take(DRAINED_ASKED_MAX)).cloned().collect()
    }

    /// This shard was not found when it was to be read.
    pub fn suspect(&mut self, id: &ShardId, now: ServiceTime) {
        self.now = self.now.max(now);
        if let Some(Shard { stage: Stage::Readable(_, reading), missing, .. }) = self.shards.get_mut(id) {
            reading.is_suspected = true;
            if missing.is_to_be_asked(self.now) {
                self.suspects.insert(id.clone());
                self.doubts_due = true;
                self.changes += 1;
            }
        }
    }

    /// The service has an iterator for this shard: it exists, whatever listings say.
    pub fn exists(&mut self, id: &ShardId, when: When) {
        if let Some(shard) = self.shards.get_mut(id) {
            shard.absence = Absence::default();
            shard.missing = Missing::default();
            if let Stage::Readable(_, reading) = &mut shard.stage {
                reading.is_suspected = false;
            }
            return;
        }
        if self.missing_parents.get(id).is_some_and(|parent| parent.absence.is_suspicious()) {
            self.begin_hidden(id, when);
        }
    }

    /// The service has no iterator for this shard, asked several times.
    pub fn does_not_exist(&mut self, id: &ShardId, when: When) {
        if self.missing_parents.contains_key(id) {
            self.missing_parent_is_gone(id, when);
            return;
        }
        let seen_at = self.shards.get(id).map(|shard| shard.seen_at);
        let is_late = |seen_at| self.knows_first_listing() && self.is_after_first_day(seen_at);
        let was_promised = self.is_known() || seen_at.is_some_and(is_late);
        let has_stored_parent =
            self.shards.get(id).and_then(|shard| self.parent_of(shard)).is_some_and(Shard::is_stored);
        self.note_time(when.answered);
        if let Some(shard) = self.shards.get_mut(id).filter(|shard| shard.was_listed_open_by(when.asked)) {
            // What was open goes a day later at the earliest: one of the two answers is wrong, and it is asked for again.
            if let Stage::Readable(_, reading) = &mut shard.stage {
                reading.is_suspected = false;
            }
            return;
        }
        match self.shards.get_mut(id) {
            Some(Shard { stage: Stage::Drained(_, ended), .. }) => drop(ended.gone_since.get_or_insert(when.asked)),
            // Gap rule 1. Whoever reads it goes on asking, and suspects it again.
            Some(Shard { stage: Stage::Readable(chain, reading), missing, .. }) if reading.is_suspected => {
                reading.is_suspected = false;
                if missing.told(when.asked) {
                    chain.lost = Some(GapCause::ShardGone);
                }
            }
            // Gap rule 2.
            Some(Shard { stage: Stage::Blocked(chain) | Stage::Readable(chain, _), missing, .. }) => {
                if missing.told(when.asked) {
                    chain.lost = Some(GapCause::ShardUnlisted);
                }
            }
            // What came to it after its pipeline's beginning is lost, and that is found when it is read.
            Some(shard) if shard.origin == Origin::Latest && (was_promised || has_stored_parent) => {
                shard.origin = Origin::Root;
                self.changes += 1;
            }
            // Trimmed before the pipeline had it: the oldest record that the stream still has is younger.
            Some(shard) if shard.is_unregistered() && !was_promised && !has_stored_parent => self.remove(id),
            // What is lost with it is found when it is read.
            Some(_) | None => {}
        }
        self.settle_family(id);
        self.settle_bootstrap();
    }

    fn missing_parent_is_gone(&mut self, id: &ShardId, when: When) {
        // A child was listed meanwhile that a lane may know more of.
        if !self.knows_family_of_missing(id) {
            return;
        }
        let is_known = self.is_known();
        let is_proved = self.missing_parents.get_mut(id).is_some_and(|parent| parent.missing.told(when.asked));
        // A pipeline that begins does not wait: each lineage of a stream of more than a day begins behind such a shard.
        if is_known && !is_proved {
            return;
        }
        self.missing_parents.remove(id);
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        for child in children {
            let is_unplaced = |shard: &Shard| shard.is_unregistered() && shard.origin == Origin::Unplaced;
            if self.shards.get(&child).is_some_and(is_unplaced) {
                self.begin_lineage(&child, GapCause::UnknownParent);
                self.settle_family(&child);
            }
        }
        self.settle_bootstrap();
        self.changes += 1;
    }

    /// Nothing before this shard was ever read by this pipeline: it has no parent, or one that does not exist and is not
    /// stored. Within a day of the first listing, such a parent can have ended before the first start, and a
    /// shard that listings left out be older than that. Later it is a loss (gap rules 3 and 4): it was there for a day after
    /// its end, and nobody stored it.
    fn begin_lineage(&mut self, id: &ShardId, cause: GapCause) {
        let Some(seen_at) = self.shards.get(id).map(|shard| shard.seen_at) else { return };
        let is_lost = self.is_after_first_day(seen_at);
        self.begin_root(id, seen_at);
        if !is_lost {
            return;
        }
        let Some(shard) = self.shards.get_mut(id) else { return };
        shard.origin = if self.on_gap == OnGap::Continue { Origin::Lost(seen_at) } else { Origin::Unplaced };
        if !self.stream_gaps.iter().any(|gap| gap.shard.as_ref() == Some(id)) {
            // On record at once: the shard itself may have to wait for others before it is registered. After a stop it is
            // not: the next start finds it again, and stops again.
            let detail = super::gaps::new_root_detail(id, shard.parent.as_ref());
            self.add_stream_gap(Some(id.clone()), cause, detail, None, seen_at);
        }
    }

    /// So long after the first complete listing that what came before that is gone.
    pub(super) fn is_after_first_day(&self, moment: ServiceTime) -> bool {
        self.first_listed_at().is_some_and(|listed_at| moment.since(listed_at) > UNREAD_MAX)
    }

    /// It begins a lineage: everything that was promised of that at the first listing is to be read, however much later it was
    /// seen.
    fn begin_root(&mut self, id: &ShardId, seen_at: ServiceTime) {
        let from = self.promised_from(self.first_listed_at().unwrap_or(seen_at));
        if let Some(shard) = self.shards.get_mut(id) {
            shard.read_until_at_least(from);
            shard.origin = Origin::Root;
        }
    }

    /// Whether a shard whose parent is gone may come from one that is still to be read, by parents that are gone, too (I4).
    pub(super) fn may_descend(&self, id: &ShardId, shard: &Shard) -> bool {
        // Where two lineages wait for each other the ids decide, which are in the order of their making (observed).
        let comes_before = |other: &ShardId| {
            let first = self.first_of_lineage(other);
            // One that has a child may have had another, made after it: the one that is missing. Else lineages would be read one
            // after the other at a first start.
            let may_have_made_it = !self.has_children(other) || Some(other) < shard.parent.as_ref();
            let is_placed = self.shards.get(first).is_some_and(|one| !one.is_unregistered() || first < id);
            first != id && may_have_made_it && is_placed
        };
        let is_alone = shard.is_cut_off() && self.parent_of(shard).is_none();
        is_alone && self.possible_ancestors.iter().any(comes_before)
    }

    /// The oldest shard of this lineage that is in the graph.
    fn first_of_lineage<'a>(&'a self, id: &'a ShardId) -> &'a ShardId {
        let mut first = id;
        // Circles are cut where shards are taken in.
        while let Some(parent) = self.shards.get(first).and_then(|shard| shard.parent.as_ref())
            && self.shards.contains_key(parent)
        {
            first = parent;
        }
        first
    }

    /// It is known not to be stored.
    fn is_new(&self, shard: &Shard) -> bool {
        shard.is_unregistered() && self.lanes[shard.lane].opened
    }

    pub(super) fn set_origin(&mut self, id: &ShardId, origin: Origin) {
        if let Some(shard) = self.shards.get_mut(id).filter(|shard| shard.is_unregistered()) {
            shard.origin = origin;
        }
    }

    /// All its children have begun: what it was read to is stored with them. One that is gone and has none may have had some: it
    /// stays until enough listings show nothing that comes from it.
    fn has_begun_children(&self, id: &ShardId, shard: &Shard) -> bool {
        let has_begun = |child: &Shard| {
            let stored = child.chain().and_then(|chain| chain.durable_until);
            child.is_drained() || (child.is_stored() && stored >= shard.read_until)
        };
        let is_last = matches!(&shard.stage, Stage::Drained(_, ended) if ended.is_listed_through());
        let mut children = self.children.get(id).into_iter().flatten().filter_map(|child| self.shards.get(child));
        (is_last || self.has_children(id)) && children.all(has_begun)
    }

    /// Its progress can be removed: it does not exist any more, its children have begun, and its parent went before it. Not
    /// before the stream is known: it may be all that says that something was carried.
    pub(super) fn is_forgettable(&self, id: &ShardId, shard: &Shard) -> bool {
        let is_gone_for_long =
            |since: ServiceTime| self.now.since(since) >= FORGOTTEN_AFTER || shard.is_over_for_long(self.now);
        matches!(&shard.stage, Stage::Drained(chain, ended) if chain.pending.is_empty() && ended.gone_since.is_some_and(is_gone_for_long))
            && FirstListing::known_since(self.first_listing_durable).is_some()
            && self.parent_of(shard).is_none()
            && self.has_begun_children(id, shard)
    }

    pub(super) fn remove(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.remove(id) else { return };
        if let Some(parent) = &shard.parent
            && let Some(siblings) = self.children.get_mut(parent)
        {
            siblings.remove(id);
            if siblings.is_empty() {
                self.children.remove(parent);
            }
        }
        let lane = &mut self.lanes[shard.lane];
        lane.steps_due.remove(id);
        lane.woken.remove(id);
        let Self { latest_wanted, awaiting_children, possible_ancestors, suspects, cut_off, .. } = self;
        for set in [latest_wanted, awaiting_children, possible_ancestors, suspects, cut_off] {
            set.remove(id);
        }
        self.children_needed.remove(id);
        self.children_asked.remove(id);
        self.place_front(id);
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        for child in children {
            // Its children need their own proof that there is nothing before them.
            if self.shards.get(&child).is_some_and(|one| one.is_unregistered() && one.origin == Origin::Child) {
                self.set_origin(&child, Origin::Unplaced);
                self.missing_parents.entry(id.clone()).or_default();
            }
            self.settle(&child);
        }
    }

    /// A drained shard was forgotten: its children know that it was read.
    pub(super) fn remove_forgotten(&mut self, id: &ShardId) {
        self.remove(id);
        self.forgotten.push(id.clone());
    }
}
