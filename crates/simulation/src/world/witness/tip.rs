//! What holds when a run says that it is at its end.

use tailwater_model::{Finished, Position};

use super::{Manner, Witness};
use crate::world::ground::lock;

impl Witness {
    /// A shard was read to its end, and is still there although all that came from it has gone.
    pub fn has_drained_what_outlives_its_children(&mut self) -> bool {
        self.learn_if_stale();
        self.history.outlive_their_children().any(|shard| self.positions.get(shard) == Some(&Position::End))
    }

    /// A run of this stream has ended by itself, whose first listing was answered at this moment: what was written before
    /// is settled, and of a stream that has ended everything is.
    pub fn check_end(&mut self, stream_arn: &str, how: Finished, first_answer_ms: Option<i64>) {
        if how == Finished::StreamEnded && lock(&self.service).truth().is_on(stream_arn) {
            return self.violated("P8 the end of a stream that lives", stream_arn.to_owned());
        }
        self.learn();
        let Some(first_answer_ms) = first_answer_ms else { return };
        let is_due = |record: &crate::world::Written| match how {
            Finished::StreamEnded => true,
            Finished::Tip => record.created_at_ms <= first_answer_ms && !self.history.is_late(record),
        };
        let is_of_stream = |shard: &str| {
            let number = self.history.stream_of(shard);
            number.and_then(|number| self.history.stream_arn(number)).is_some_and(|arn| arn == stream_arn)
        };
        let open = self.history.records.iter().zip(&self.settled).find(|(record, settled)| {
            let next = self.next_of_key.get(&record.key);
            let is_folded = self.manner == Manner::Folded && next.is_some_and(|next| record.ordinal < *next);
            let is_carried = **settled || record.is_free() || is_folded;
            !is_carried && is_due(record) && is_of_stream(&record.shard) && !self.waits_for_late(&record.shard)
        });
        if let Some((record, _)) = open {
            let detail = format!("{how:?}, and {} of shard {} never landed", record.event_id, record.shard);
            self.violated("P1 the end of a run", detail);
        }
    }

    /// A record of this shard, or of one before it, comes late: until it does, nobody sees what is behind it.
    fn waits_for_late(&self, shard: &str) -> bool {
        let is_late = |index: &usize| {
            let record = &self.history.records[*index];
            !self.settled[*index] && self.history.is_late(record)
        };
        let before = || self.history.parent(shard).is_some_and(|parent| self.waits_for_late(parent));
        self.history.of_shard(shard).iter().any(is_late) || before()
    }
}
