//! The story of a world, line by line.

use tailwater_model::Position;

use super::Witness;
use crate::world::ground::Landing;

/// Lines of a trace that are kept.
const TRACE_LINES_MAX: usize = 200_000;

impl Witness {
    /// Writes a line of the story.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.clock.told(self.clock.now_ms());
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.len() < TRACE_LINES_MAX) {
            trace.push(format!("{now:>14} {}", line()));
        }
    }

    /// The story so far.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

pub(super) fn describe(landing: &Landing) -> String {
    let mut line = format!("lane {} epoch {} commits", landing.lane, landing.epoch);
    for (shard, before, after) in &landing.steps {
        let before = before.as_ref().map_or("new".to_owned(), Position::to_string);
        line.push_str(&format!(" [{shard}: {before} -> {after}]"));
    }
    for change in &landing.changes {
        line.push_str(&format!(" {}", change.event_id));
    }
    for (shard, cause) in &landing.gaps {
        line.push_str(&format!(" GAP({cause}, {shard:?})"));
    }
    if !landing.dead_letters.is_empty() {
        line.push_str(&format!(" dead letters {:?}", landing.dead_letters));
    }
    line
}
