//! Whose progress the sink holds: rows come with steps and go with what the service has forgotten.

use std::collections::BTreeSet;

use tailwater_model::Position;

use super::Witness;
use crate::world::ground::Landing;

impl Witness {
    /// Takes note of the rows. What is forgotten was drained, and the service has forgotten it, too; or it is of a stream
    /// before the one that is read.
    pub(super) fn move_rows(&mut self, landing: &Landing) {
        for (shard, _, _) in &landing.steps {
            self.rows.insert(shard.clone());
            let (began_ms, now_ms) = (self.began_ms.get(&landing.lane).copied(), self.clock.now_ms());
            let began_ms = began_ms.unwrap_or(now_ms);
            let sessions = self.stored.entry(shard.clone()).or_default();
            match sessions.last_mut().filter(|(of_session, _)| *of_session == began_ms) {
                Some((_, last_ms)) => *last_ms = now_ms,
                None => sessions.push((began_ms, now_ms)),
            }
            let stream = self.history.stream_of(shard).unwrap_or_default();
            self.last_stream = self.last_stream.max(stream);
            self.streams_read.insert(stream);
        }
        for shard in &landing.forgotten {
            self.rows.remove(shard);
            if !self.may_be_forgotten(shard) {
                self.learn();
                if !self.may_be_forgotten(shard) {
                    let stands = self.positions.get(shard);
                    self.violated("I5 forgotten", format!("shard {shard}, which stands at {stands:?}"));
                }
            }
        }
    }

    fn may_be_forgotten(&self, shard: &str) -> bool {
        let is_drained = self.positions.get(shard) == Some(&Position::End);
        let is_of_older_stream = self.history.stream_of(shard).is_some_and(|stream| stream < self.last_stream);
        self.history.shard_is_trimmed(shard) && is_drained || is_of_older_stream
    }

    /// The stream of which progress was last stored, if any was.
    pub fn stored_stream(&self) -> Option<String> {
        let is_stored = !self.positions.is_empty();
        is_stored.then(|| self.history.stream_arn(self.last_stream).cloned()).flatten()
    }

    /// How many shards have progress in the sink.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Shards that have progress in the sink although the service has forgotten them.
    pub fn rows_of_the_gone(&mut self) -> Vec<String> {
        self.learn();
        self.rows.iter().filter(|shard| self.history.shard_is_trimmed(shard)).cloned().collect()
    }

    /// Shards that have progress in the sink.
    pub fn stored_shards(&self) -> BTreeSet<String> {
        self.rows.clone()
    }

    /// Whether a shard has progress in the sink.
    pub fn has_row(&self, shard: &str) -> bool {
        self.rows.contains(shard)
    }
}
