//! The dates of all answers are hours ahead for some minutes, and then right again: what they told is set right.
//!
//! Whoever began with such dates could not know that they were wrong. So all that runs has heard right ones before, goes on until
//! what they told is stored anew, and no shard begins or ends meanwhile.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::Scene;
use super::aftermath::healthy_network;
use crate::face::NetworkFaults;
use crate::world::ground::Ground;
use crate::world::plan::Action;

/// So many hours ahead: with more of them a shard that is read all the time counts as unread for a day, and that is a gap.
const HOURS_AHEAD: Range<u64> = 2..20;
/// So many seconds long.
const SECONDS: Range<u64> = 90..180;
/// What is stored of them is stored anew within this time.
const SET_RIGHT_WITHIN: Duration = Duration::from_secs(5 * 60);
/// What is written while they are wrong.
const WRITES: u32 = 4;

impl<G: Ground> Scene<G> {
    /// What they have told is seen by what is said afterwards, by shards that come, and by a restart.
    pub(super) async fn live_with_wrong_dates(&mut self) {
        if !self.plan.has("network.dates_ahead") || !self.is_read_in_quiet() {
            return;
        }
        let mut rng = Rng::with_seed(self.plan.seed.rotate_left(52) ^ (self.plan.profile as u64) << 56);
        let dates_ahead = Duration::from_secs(rng.u64(HOURS_AHEAD) * 60 * 60);
        let wrong_for = Duration::from_secs(rng.u64(SECONDS));
        // Of a shard without records nothing is known but how far in time it was read.
        self.act(Action::Split);
        self.carry_everything().await;
        self.settle().await;
        self.let_the_tip_be_known().await;
        if !self.is_read_in_quiet() {
            return;
        }
        self.tell(|| format!("dates are {dates_ahead:?} ahead"));
        self.hit("network.dates_ahead");
        self.network.set_faults(NetworkFaults { dates_ahead, ..healthy_network() });
        self.supervise_until(Instant::now() + wrong_for / 2).await;
        self.act(Action::Write(WRITES));
        self.supervise_until(Instant::now() + wrong_for / 2).await;
        self.tell(|| "dates are right again".to_owned());
        self.network.set_faults(healthy_network());
        self.supervise_until(Instant::now() + SET_RIGHT_WITHIN).await;
        self.carry_everything().await;
    }
}
