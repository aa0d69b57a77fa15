//! What the witness says of losses: a gap is on record where something was lost, and nowhere else (I8).

use super::{Manner, Witness};
use crate::world::ground::Landing;

/// Longest absence after which a whole-stream gap "away" is not legal yet: the service keeps records for 24 hours, and the
/// hour between is the reader's margin.
const AWAY_MIN_MS: i64 = 23 * 60 * 60 * 1000;
impl Witness {
    /// I8: a gap says the truth.
    pub(super) fn check_gaps(&mut self, landing: &Landing) {
        for (shard, cause) in &landing.gaps {
            let lost = self.history.lost_unread(&self.settled, &self.positions);
            let away_long =
                self.clock.now_ms() - self.contact_ms >= AWAY_MIN_MS || (self.stood_still && shard.is_some());
            let away = cause == "away" && away_long;
            let unknown =
                shard.as_ref().is_some_and(|shard| self.history.position_is_trimmed(shard, self.positions.get(shard)));
            if !lost && !away && !unknown {
                let detail = format!("a gap ({cause}, shard {shard:?}) although nothing was trimmed unread");
                self.violated("I8 a gap without loss", detail);
            }
            self.gapped.insert((shard.clone(), cause.clone()));
        }
    }

    /// A gap of this very shard is on record.
    pub(super) fn is_told(&self, shard: &str) -> bool {
        self.gapped.iter().any(|(of, _)| of.as_deref() == Some(shard))
    }

    /// Something that the pipeline was to carry was trimmed before that.
    pub fn has_losses(&mut self) -> bool {
        self.learn();
        let records = self.history.records.iter().enumerate();
        records
            .into_iter()
            .any(|(index, record)| record.trimmed && !self.settled[index] && !self.before_contact.contains(&index))
    }

    /// I8: where records were trimmed unread there is a gap on record.
    pub fn check_losses(&mut self) {
        self.check_losses_of_shards();
        if self.has_losses() && self.gapped.is_empty() {
            self.violated("I8 silent loss", "records were trimmed unread and no gap is on record".into());
        }
    }

    /// Behind records that were carried, those that were trimmed unread are a gap of that very shard.
    fn check_losses_of_shards(&mut self) {
        let lost = |index: &usize| self.history.records[*index].trimmed && !self.settled[*index];
        let seen = |index: &usize| {
            let record = &self.history.records[*index];
            let next = self.next_of_key.get(&record.key);
            self.manner == Manner::Folded && next.is_some_and(|next| record.ordinal < *next)
        };
        let silent = self.history.shards_with_records().find_map(|(shard, records)| {
            let mut behind = records.iter().skip_while(|index| !self.settled[**index]);
            behind.find(|index| lost(index) && !seen(index) && !self.is_told(shard)).map(|index| (shard, index))
        });
        if let Some(detail) = silent.map(|(shard, at)| format!("{} of {shard}", self.history.records[*at].event_id)) {
            self.violated("I8 silent loss in a shard", detail);
        }
    }
}
