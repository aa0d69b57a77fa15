//! How far shards were read is stored while their lane commits, whatever else it has to carry: who begins anew knows nothing else.

use std::collections::BTreeMap;

use tailwater_model::Position;

use super::Witness;
use crate::face::JUST_NOW_MS;
use crate::world::ground::Landing;

const MINUTE_MS: i64 = 60_000;
/// A lane that commits nothing for so long was away, or idle.
const PAUSE_MAX_MS: i64 = 15 * MINUTE_MS;
/// Within this time of commits what was read of a shard is stored. An idle one is stored every ten minutes.
const STORED_WITHIN_MS: i64 = 90 * MINUTE_MS;
/// What is known goes with a commit that begins then, behind one under way and one that is ready; none of them takes longer.
const CARRIED_WITHIN_MS: i64 = 5 * MINUTE_MS;
/// How much more may be known than what is stored.
const KNOWN_MORE_MS: i64 = 30 * MINUTE_MS;

/// Since when each lane commits without a pause, and when it last did; and the lanes of the shards.
#[derive(Debug, Default)]
pub(super) struct Busy {
    lanes: BTreeMap<u32, (i64, i64)>,
    lane_of: BTreeMap<String, u32>,
}

impl Busy {
    /// A commit of this lane is visible. For how long it has committed now.
    fn landed(&mut self, lane: u32, now_ms: i64) -> i64 {
        let (since, last) = self.lanes.entry(lane).or_insert((now_ms, now_ms));
        if now_ms - *last > PAUSE_MAX_MS {
            *since = now_ms;
        }
        *last = now_ms;
        now_ms - *since
    }
}

impl Witness {
    pub(super) fn check_moments(&mut self, landing: &Landing) {
        let (lane, now_ms) = (landing.lane, self.clock.now_ms());
        for (shard, ..) in &landing.steps {
            self.busy.lane_of.insert(shard.clone(), lane);
        }
        if self.busy.landed(lane, now_ms) < STORED_WITHIN_MS {
            return;
        }
        let of_lane = self.busy.lane_of.iter().filter(|(_, of)| **of == lane).map(|(shard, _)| shard);
        let unstored =
            of_lane.filter(|shard| self.rows.contains(*shard)).find(|shard| self.knows_more(lane, shard, now_ms));
        if let Some(shard) = unstored.cloned() {
            self.violated("I9 what is known is not stored", format!("how far shard {shard} was read"));
        }
    }

    /// The readers of this shard were given much more than they have stored for long.
    fn knows_more(&self, lane: u32, shard: &str, now_ms: i64) -> bool {
        let Some(position) = self.positions.get(shard).filter(|at| **at != Position::End) else { return false };
        // Who began anew knows what was stored, and has to find out the rest.
        let began_ms = self.began_ms.get(&lane).copied().unwrap_or(now_ms);
        let stored_ms = self.stored.get(shard).and_then(|sessions| sessions.last()).map_or(began_ms, |(_, last)| *last);
        let stored_ms = stored_ms.max(began_ms);
        if now_ms - stored_ms < STORED_WITHIN_MS {
            return false;
        }
        let known =
            |until_ms| self.network.known_until(shard, until_ms, &[(began_ms, until_ms)], *position != Position::Start);
        // With the step may be stored whatever was known at its moment, and nothing newer.
        let stored_at_most = known(stored_ms + JUST_NOW_MS).unwrap_or(stored_ms);
        known(now_ms - CARRIED_WITHIN_MS).is_some_and(|now| now - stored_at_most > KNOWN_MORE_MS)
    }
}
