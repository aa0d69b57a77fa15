//! What time brings: rotations, splits, trimming. And the same by hand, for scripts.

use super::Service;
use super::manners::hit;
use super::shard::{Birth, Shard};
use super::stream::DISABLED_KEPT_MS;

impl Service {
    /// Lets everything happen that is due by now. Every other call does this first.
    pub fn advance(&mut self, now_ms: i64) {
        while self.next_due_ms <= now_ms {
            let mut next_due_ms = i64::MAX;
            for number in 0..self.streams.len() {
                next_due_ms = next_due_ms.min(self.advance_stream(number, now_ms));
            }
            self.next_due_ms = next_due_ms;
        }
    }

    /// Does what is due in one stream, and says when something is due there next.
    fn advance_stream(&mut self, number: usize, now_ms: i64) -> i64 {
        let mut next_due_ms = i64::MAX;
        let mut at = 0;
        // Children come at the end, so that they are reached, too: a child may be due at once.
        while let Some(shard) = self.streams.get_mut(number).and_then(|stream| stream.shards.get_mut(at)) {
            match shard.closes_at_ms {
                Some(closes_at_ms) if closes_at_ms <= now_ms => {
                    let has_room = self.open_shards(number) < self.manners.open_shards_max;
                    let is_split = has_room && hit("split", self.manners.split, &mut self.rng, &mut self.hits);
                    self.close(number, at, closes_at_ms, 1 + usize::from(is_split));
                    continue;
                }
                Some(closes_at_ms) => next_due_ms = next_due_ms.min(closes_at_ms),
                None => {}
            }
            if !shard.gone {
                next_due_ms = next_due_ms.min(shard.trim_due(now_ms));
            }
            at += 1;
        }
        let stream = &mut self.streams[number];
        if let Some(disabled_at_ms) = stream.disabled_at_ms {
            let gone_at_ms = disabled_at_ms + DISABLED_KEPT_MS;
            if gone_at_ms <= now_ms {
                stream.shards.iter_mut().for_each(|shard| shard.gone = true);
            } else {
                next_due_ms = next_due_ms.min(gone_at_ms);
            }
        }
        next_due_ms
    }

    /// Closes an open shard, which then has one child. Does nothing to any other.
    pub fn rotate(&mut self, now_ms: i64, stream_arn: &str, shard: &str) {
        self.close_by_name(now_ms, stream_arn, shard, 1);
    }

    /// Closes an open shard, which then has two children. Does nothing to any other.
    pub fn split(&mut self, now_ms: i64, stream_arn: &str, shard: &str) {
        self.close_by_name(now_ms, stream_arn, shard, 2);
    }

    /// Splits all open shards at once, as a table does that is scaled up.
    pub fn split_all(&mut self, now_ms: i64, stream_arn: &str) {
        self.advance(now_ms);
        let Some(number) = self.stream_number(stream_arn) else { return };
        let open = |shard: &Shard| shard.is_open();
        let open: Vec<usize> = (0..self.streams[number].shards.len())
            .filter(|at| self.streams[number].shards.get(*at).is_some_and(open))
            .collect();
        for at in open {
            self.close(number, at, now_ms, 2);
        }
    }

    /// Trims the oldest `records` of a shard, and the shard itself when it is closed and none is left.
    pub fn trim_shard(&mut self, now_ms: i64, stream_arn: &str, shard: &str, records: usize) {
        self.advance(now_ms);
        let Some(stream) = self.stream_number(stream_arn).and_then(|number| self.streams.get_mut(number)) else {
            return;
        };
        let Some(shard) = stream.shard_number(shard).and_then(|at| stream.shards.get_mut(at)) else { return };
        shard.trimmed = shard.trimmed.saturating_add(records).min(shard.records.len());
        shard.gone |= !shard.is_open() && shard.trimmed == shard.records.len();
    }

    /// No listing shows this shard before `from_ms`, as if none ever had.
    pub fn list_from(&mut self, stream_arn: &str, shard: &str, from_ms: i64) {
        let Some(stream) = self.stream_number(stream_arn).and_then(|number| self.streams.get_mut(number)) else {
            return;
        };
        if let Some(shard) = stream.shards.iter_mut().find(|one| one.id == shard) {
            shard.listed_from_ms = from_ms;
        }
    }

    /// Lets the streams that were turned off go as if a day had passed, those of one table or all. Gives their ARNs.
    pub fn forget_streams(&mut self, now_ms: i64, table: Option<&str>) -> Vec<String> {
        let mut gone = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| table.is_none_or(|table| table == stream.names.table)) {
            if stream.disabled_at_ms.is_some() && !stream.is_gone(now_ms) {
                stream.disabled_at_ms = Some(now_ms - DISABLED_KEPT_MS);
                gone.push(stream.names.arn.clone());
            }
        }
        self.next_due_ms = i64::MIN;
        self.advance(now_ms);
        gone
    }

    fn open_shards(&self, number: usize) -> usize {
        self.streams.get(number).map_or(0, |stream| stream.shards.iter().filter(|shard| shard.is_open()).count())
    }

    pub(super) fn stream_number(&self, arn: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.names.arn == arn)
    }

    /// Turns a stream off: its open shards close and have no children.
    pub(super) fn close_stream(&mut self, number: usize, now_ms: i64) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        stream.disable(now_ms, self.manners.status_change_ms);
        for shard in stream.shards.iter_mut().filter(|shard| shard.is_open()) {
            shard.close(now_ms, &mut self.rng);
        }
        self.next_due_ms = i64::MIN;
    }

    fn close_by_name(&mut self, now_ms: i64, stream_arn: &str, shard: &str, children: usize) {
        self.advance(now_ms);
        let Some(number) = self.stream_number(stream_arn) else { return };
        let Some(at) = self.streams[number].shard_number(shard) else { return };
        self.close(number, at, now_ms, children);
    }

    fn close(&mut self, number: usize, at: usize, now_ms: i64, children: usize) {
        let Self { rng, hits, manners, .. } = self;
        let Some(stream) = self.streams.get_mut(number) else { return };
        let Some(parent) = stream.shards.get_mut(at).filter(|shard| shard.is_open()) else { return };
        parent.close(now_ms, rng);
        if hit("closed_listed_late", manners.closed_listed_late, rng, hits) {
            parent.closed_listed_from_ms = now_ms + parent.lateness(rng);
        }
        let (places, ending) = (parent.places.clone(), parent.ending.unwrap_or(parent.starting));
        let middle = places.start + (places.end - places.start) / 2;
        let parts = if children == 2 && middle > places.start {
            vec![places.start..middle, middle..places.end]
        } else {
            vec![places]
        };
        let is_late = hit("child_listed_late", manners.child_listed_late, rng, hits);
        for places in parts {
            let birth = Birth { parent: Some(at), starting: ending.of_child(rng), places };
            let mut child = Shard::new(now_ms, birth, manners, rng);
            if is_late {
                child.listed_from_ms = now_ms + child.lateness(rng);
            }
            stream.shards.push(child);
        }
        self.next_due_ms = i64::MIN;
    }
}
