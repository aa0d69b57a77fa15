//! What the end of a shard costs: a question for its children, and no listing of all shards.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{SUPERVISION_INTERVAL, Scene, healthy};
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

/// One world in so many is looked at so, of those whose listings are rarer than the ends and not too rare.
const ONE_IN: u32 = 3;
const LISTINGS_APART: std::ops::RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(120);
/// Worlds with more shards take too long.
const SHARDS_MAX: usize = 40;
/// Ends that come before it is counted: a listing is long then, and a question is cheaper.
const ENDS_BEFORE: u32 = 6;
/// Ends that are counted.
const ENDS: u32 = 16;
const ENDS_EVERY: Duration = Duration::from_secs(10);
/// A listing that is under way when the counting begins, one with which it ends, and one for a shard that went meanwhile.
const LISTINGS_MORE: u64 = 3;

impl<G: Ground> Scene<G> {
    /// Shards end one after the other, and whoever reads them does not list all of them each time.
    pub(super) async fn end_shards_in_quiet(&mut self) {
        let mut rng = Rng::with_seed(self.plan.seed.rotate_left(40) ^ (self.plan.profile as u64) << 56);
        let interval = self.plan.reader.discovery_interval;
        let shards = lock(&self.witness).history().shards_listed();
        let is_drawn = rng.u32(0..ONE_IN) == 0 && LISTINGS_APART.contains(&interval) && shards <= SHARDS_MAX;
        if !is_drawn || !self.is_read_in_quiet() {
            return;
        }
        self.settle().await;
        self.tell(|| "shards end".to_owned());
        // A page for each shard.
        lock(&self.service).manners_mut().listing_page_max = 1;
        self.end_shards(ENDS_BEFORE).await;
        self.carry_everything().await;
        self.supervise_until(Instant::now() + interval * 2 + SUPERVISION_INTERVAL).await;
        let (began, before) = (Instant::now(), self.network.listings());
        self.end_shards(ENDS).await;
        // The last of them are noticed when they are polled.
        self.supervise_until(Instant::now() + self.plan.reader.poll_interval_max).await;
        let listings = self.network.listings() - before;
        // Where nobody shows the children of a shard, they are looked for again and again.
        let is_looked_for = lock(&self.witness).has_drained_what_outlives_its_children();
        let due = began.elapsed().as_secs() / interval.as_secs().max(1) + LISTINGS_MORE;
        if listings > due && !is_looked_for && !self.is_over() {
            let detail = format!("{listings} in {:?}, one is due in {interval:?}", began.elapsed());
            lock(&self.witness).violated("I6 listings", detail);
        }
        lock(&self.service).manners_mut().listing_page_max = healthy(&self.plan).listing_page_max;
        self.carry_everything().await;
    }

    async fn end_shards(&mut self, times: u32) {
        for _ in 0..times {
            self.act(Action::Rotate);
            self.supervise_until(Instant::now() + ENDS_EVERY).await;
        }
    }
}
