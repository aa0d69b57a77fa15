//! What is still to be carried, or to be put on record.

use tailwater_model::Position;

use super::{Manner, Witness};
use crate::world::Written;

impl Witness {
    /// Records that are neither settled nor trimmed unread, closed shards that are not drained, and gaps that are due:
    /// nothing when everything was carried.
    pub fn behind(&mut self) -> Option<String> {
        if let Some(record) = self.behind_of(&|_, _| true) {
            return Some(record);
        }
        if !self.is_known && !self.positions.is_empty() {
            return Some("that the stream is known".to_owned());
        }
        if let Some(shard) = self.history.undrained(&self.positions, self.last_stream) {
            return Some(format!("the end of shard {shard}, which stands at {:?}", self.positions.get(&shard)));
        }
        let untold = self.untold().find(|shard| self.has_lost(shard));
        untold.map(|shard| format!("the gap of shard {shard}, whose position was trimmed"))
    }

    /// Shards whose positions were trimmed, without a gap on record. Whoever reads such a shard all the time need not notice,
    /// and loses nothing; a restart finds a gap.
    pub(super) fn untold(&self) -> impl Iterator<Item = &String> {
        let positions = self.positions.iter().filter(|(_, position)| **position != Position::End);
        let trimmed = positions.filter(|(shard, position)| {
            // What a stream held that is gone as a whole is told by the gap to the next one.
            let is_of_stream = self.history.stream_of(shard).is_none_or(|stream| stream >= self.last_stream);
            is_of_stream && self.history.position_is_trimmed(shard, position) && !self.is_told(shard)
        });
        trimmed.map(|(shard, _)| shard)
    }

    /// A record of such shards that is neither settled nor trimmed unread.
    pub fn behind_of(&mut self, of_shard: &dyn Fn(&Self, &str) -> bool) -> Option<String> {
        self.learn_if_stale();
        let open = self.not_carried().find(|record| of_shard(self, &record.shard));
        open.map(|record| format!("record {} of shard {}", record.event_id, record.shard))
    }

    /// When the oldest record was written that is neither settled nor trimmed unread.
    pub fn oldest_behind_ms(&mut self) -> Option<i64> {
        self.learn_if_stale();
        self.not_carried().map(|record| record.created_at_ms).min()
    }

    fn not_carried(&self) -> impl Iterator<Item = &Written> {
        let records = self.history.records.iter().zip(&self.settled);
        let open = records.filter(|(record, settled)| {
            let seen = self.next_of_key.get(&record.key).is_some_and(|next| record.ordinal < *next);
            // What a rule drops is settled when it was passed.
            !(**settled || record.is_free() || (seen && self.manner == Manner::Folded))
        });
        open.map(|(record, _)| record)
    }
}
