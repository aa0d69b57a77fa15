//! What the witness says of losses: a gap is on record where something was lost, and nowhere else (I8).

use tailwater_model::Position;

use super::{Manner, Witness};
use crate::world::ground::Landing;

/// A gap by time is not legal before a shard was unread for so long: the service keeps records for 24 hours, an hour of them is
/// the reader's margin, and how far an idle shard was read is known with some delay and stored with some more.
const AWAY_MIN_MS: i64 = 21 * 60 * 60 * 1000;

/// A first start has half an hour at least before anything that it promised may be trimmed.
const FIRST_START_MS: i64 = AWAY_MIN_MS - 30 * 60 * 1000;

/// The gap between two streams of one table.
const REPLACED: &str = "stream_replaced";
/// The gap of a stream that went before it was read to its end.
const GONE: &str = "stream_gone";

impl Witness {
    /// I8: a gap says the truth.
    pub(super) fn check_gaps(&mut self, landing: &Landing) {
        for (shard, until_ms) in &landing.gaps_until {
            let told = self.told_until.entry(shard.clone()).or_insert(*until_ms);
            *told = (*told).max(*until_ms);
        }
        for (shard, cause) in &landing.gaps {
            let lost = match shard {
                None => self.history.lost_unread(&self.settled, &self.positions),
                Some(shard) => self.history.lineage_lost_unread(shard, &self.settled, &self.positions),
            };
            let is_of_time = match cause.as_str() {
                "away" => true,
                // A root whose ancestors were all carried to their ends was never alone.
                "orphan" | "unknown_parent" => shard.as_ref().is_none_or(|shard| self.has_uncarried_ancestors(shard)),
                _ => false,
            };
            let away = is_of_time && shard.as_ref().is_some_and(|shard| self.is_unread_for_long(shard));
            // A step of the same commit may have come before the gap.
            let unknown = shard.as_ref().is_some_and(|shard| {
                let moved = landing.steps.iter().filter(|(of, ..)| of == shard).map(|(_, _, to)| to);
                self.positions.get(shard).into_iter().chain(moved).any(|at| self.history.position_is_trimmed(shard, at))
            });
            // What was written between two streams is in neither: nobody can know that nothing was.
            let replaced = cause == REPLACED && self.history.streams() > 1;
            let gone = cause == GONE && self.history.has_gone_stream();
            if !lost && !away && !unknown && !replaced && !gone {
                let known = shard.as_ref().map(|shard| self.clock.told(self.known_until(shard)));
                let detail =
                    format!("a gap ({cause}, shard {shard:?}, read until {known:?}), and nothing was trimmed unread");
                self.violated("I8 a gap without loss", detail);
            }
            self.gapped.insert((shard.clone(), cause.clone()));
        }
    }

    /// It has no ancestors, or one of them was not carried to its end.
    fn has_uncarried_ancestors(&self, shard: &str) -> bool {
        let parent = |shard: &String| self.history.parent(shard).cloned();
        let mut ancestors = std::iter::successors(parent(&shard.to_owned()), parent).peekable();
        ancestors.peek().is_none() || ancestors.any(|shard| self.positions.get(&shard) != Some(&Position::End))
    }

    /// A gap of this very shard is on record.
    pub(super) fn is_told(&self, shard: &str) -> bool {
        self.gapped.iter().any(|(of, _)| of.as_deref() == Some(shard))
    }

    fn is_whole_stream_told(&self, cause: &str) -> bool {
        self.gapped.iter().any(|(_, told)| told == cause)
    }

    /// A restart may have something to write: what is older than the start of the pipeline and was not carried, or a gap.
    pub fn has_more(&mut self) -> bool {
        self.learn();
        let mut records = self.history.records.iter().zip(&self.settled);
        let has_options = records.any(|(record, settled)| record.is_optional && !record.trimmed && !settled);
        has_options || self.untold().next().is_some()
    }

    /// Something that the pipeline was to carry was trimmed before that.
    pub fn has_losses(&mut self) -> bool {
        self.learn();
        let records = self.history.records.iter().enumerate();
        records.into_iter().any(|(index, record)| {
            record.trimmed && !record.is_optional && !self.settled[index] && !self.before_known.contains(&index)
        })
    }

    /// Nobody was given anything newer of this lineage for nearly a day.
    fn is_unread_for_long(&self, shard: &str) -> bool {
        self.clock.now_ms() - self.known_until(shard) >= AWAY_MIN_MS
    }

    /// How far in time this lineage can be known to be read by who has just begun.
    fn known_until(&self, shard: &str) -> i64 {
        let now_ms = self.clock.now_ms();
        let lineage = std::iter::successors(Some(shard.to_owned()), |shard| self.history.parent(shard).cloned());
        // What was read after the last step of its shard in a session is not stored: who begins anew does not know it.
        let stored = |shard: &String| self.stored.get(shard).map(Vec::as_slice);
        let has_records = |shard: &String| self.positions.get(shard).is_some_and(|at| *at != Position::Start);
        let known = |shard: String| self.network.known_until(&shard, now_ms, stored(&shard)?, has_records(&shard));
        let known = lineage.filter_map(known).max();
        known.unwrap_or_else(|| {
            let began_ms = now_ms - self.clock.elapsed_ms();
            self.started_ms.map_or(began_ms, |started_ms| began_ms.max(started_ms - FIRST_START_MS))
        })
    }

    /// A record that was promised was trimmed unread.
    fn is_lost(&self, index: usize) -> bool {
        let record = &self.history.records[index];
        let next = self.next_of_key.get(&record.key);
        let is_folded = self.manner == Manner::Folded && next.is_some_and(|next| record.ordinal < *next);
        let is_promised = !record.is_optional && !self.before_known.contains(&index);
        record.trimmed && !self.settled[index] && is_promised && !is_folded
    }

    /// Records of this shard were trimmed unread.
    pub(super) fn has_lost(&self, shard: &str) -> bool {
        self.history.of_shard(shard).iter().any(|index| self.is_lost(*index))
    }

    /// I8: where records were trimmed unread there is a gap on record.
    pub fn check_losses(&mut self) {
        self.check_losses_of_shards();
        if self.streams_read.len() > 1 && !self.is_whole_stream_told(REPLACED) {
            self.violated("I8 silent loss between streams", format!("of streams {:?}", self.streams_read));
        }
        if self.has_losses() && self.gapped.is_empty() {
            self.violated("I8 silent loss", "records were trimmed unread and no gap is on record".into());
        }
    }

    /// Records that were trimmed unread are a gap of that very shard; of a shard that nobody ever saw, one of a shard that
    /// comes from it.
    fn check_losses_of_shards(&mut self) {
        // A stream that was gone before its end is lost as a whole, and so is that told.
        let is_left = |shard: &str| self.history.stream_of(shard).is_some_and(|stream| stream < self.last_stream);
        let silent = self.history.shards_with_records().find_map(|(shard, records)| {
            // The newest: what came after a gap was found is another loss.
            let at = records.iter().rfind(|index| self.is_lost(**index))?;
            let created_at_ms = self.history.records[*at].created_at_ms;
            let tells = |until_ms: &i64| *until_ms >= created_at_ms;
            let is_told = match self.positions.contains_key(shard) {
                _ if is_left(shard) && self.is_whole_stream_told(REPLACED) => true,
                _ if self.history.is_of_gone_stream(shard) && self.is_whole_stream_told(GONE) => true,
                true => self.told_until.get(&Some(shard.to_owned())).is_some_and(tells),
                false => {
                    let comes_from_it = |of: &String| self.history.comes_from(of, shard);
                    self.told_until.iter().any(|(of, until)| of.as_ref().is_some_and(comes_from_it) && tells(until))
                }
            };
            (!is_told).then_some((shard, at))
        });
        if let Some(detail) = silent.map(|(shard, at)| format!("{} of {shard}", self.history.records[*at].event_id)) {
            self.violated("I8 silent loss in a shard", detail);
        }
    }
}
