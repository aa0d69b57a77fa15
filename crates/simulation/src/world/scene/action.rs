//! What happens to a world while it runs.

use std::time::Duration;

use tailwater_model::ViewType;
use tokio::time::Instant;

use super::{Scene, TABLE};
use crate::service::Service;
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

impl<G: Ground> Scene<G> {
    pub(super) fn act(&mut self, action: Action) {
        self.tell(|| format!("{action:?}"));
        let now = self.clock.now_ms();
        let newest = lock(&self.service).latest_stream(now, TABLE);
        let arn = newest.map(|stream| stream.arn).unwrap_or_default();
        match action {
            Action::Write(times) => {
                let mut service = lock(&self.service);
                for _ in 0..times {
                    service.write(now, TABLE, self.workload.next());
                }
            }
            Action::Rotate => self.close_one("process.rotation", |service, shard| service.rotate(now, &arn, shard)),
            Action::Split => self.close_one("process.split", |service, shard| service.split(now, &arn, shard)),
            Action::SplitAll => {
                lock(&self.service).split_all(now, &arn);
                self.hit("process.storm");
            }
            Action::Disable => {
                if lock(&self.service).disable_stream(now, TABLE).is_ok() {
                    self.hit("process.stream_disabled");
                }
            }
            Action::Enable => {
                if lock(&self.service).enable_stream(now, TABLE, ViewType::NewAndOldImages).is_ok() {
                    self.hit("process.stream_replaced");
                }
            }
            Action::LanesDown(lanes) => self.set_lanes_down(lanes),
            Action::CommitsTake(time_ms) => self.lanes_down.slow_down(Duration::from_millis(time_ms)),
            Action::Leap(by_ms) => self.leap(by_ms),
            Action::Pass(by_ms) => self.clock.leap(Duration::from_millis(by_ms.unsigned_abs())),
            Action::Crash(worker) => {
                if let Some(worker) = self.workers[worker].take() {
                    worker.crash();
                    self.hit("process.crash");
                }
            }
            Action::Stop(worker) => {
                if let Some(worker) = &self.workers[worker] {
                    worker.stop();
                    self.hit("process.stop");
                }
            }
            Action::Freeze(worker) => self.freeze(worker, true),
            Action::Thaw(worker) => self.freeze(worker, false),
            Action::Start(worker) => self.start(worker),
            Action::Away(time_ms) => {
                self.workers = [None, None, None];
                self.away_until = Some(Instant::now() + Duration::from_millis(time_ms.unsigned_abs()));
                self.hit("process.away");
                for name in ["process.two_absences", "process.lag_and_absence"] {
                    if self.plan.has(name) {
                        self.hit(name);
                    }
                }
            }
            Action::Suspend(time_ms) => {
                self.workers.iter().flatten().for_each(|worker| worker.seam.freeze(true));
                self.away_until = Some(Instant::now() + Duration::from_millis(time_ms.unsigned_abs()));
                self.hit("process.days_frozen");
            }
            Action::Lose(loss) => self.lose(loss),
            Action::HideParent(for_ms) => self.hide_parent(for_ms),
            Action::StartWithoutChildren => self.start_without_children(),
            Action::Resume => self.workers.iter().flatten().for_each(|worker| worker.seam.freeze(false)),
        }
        lock(&self.witness).stale();
    }

    fn close_one(&mut self, name: &str, close: impl FnOnce(&mut Service, &str)) {
        let open = lock(&self.witness).history().open_shards();
        if open.is_empty() {
            return;
        }
        let shard = &open[self.plan.rng.usize(0..open.len())];
        close(&mut lock(&self.service), shard);
        self.hit(name);
    }

    fn freeze(&mut self, worker: usize, frozen: bool) {
        if let Some(worker) = &self.workers[worker] {
            worker.seam.freeze(frozen);
            if frozen {
                let long = self.plan.has("process.long_pause");
                self.hit(if long { "process.long_pause" } else { "process.pause" });
            }
        }
    }

    /// The lanes by the bits of this number; one of them, if the number names none that there is.
    fn set_lanes_down(&mut self, lanes: u32) {
        let of_pipeline = 0..self.plan.lanes;
        let is_all = lanes == u32::MAX;
        let mut down: Vec<u32> = of_pipeline.clone().filter(|lane| lanes >> lane & 1 == 1).collect();
        if lanes > 0 && !is_all && (down.is_empty() || down.len() == of_pipeline.len()) {
            down = vec![lanes % self.plan.lanes];
        }
        self.lanes_down.set(down);
    }

    /// For the service time goes by, in which the table lives on, and for everybody else none does.
    fn leap(&mut self, by_ms: i64) {
        let mut steps: Vec<(i64, Action)> = (0..self.plan.rng.usize(1..6))
            .map(|_| {
                let action = match self.plan.rng.u32(0..3) {
                    0 => Action::Rotate,
                    1 => Action::SplitAll,
                    _ => Action::Write(self.plan.rng.u32(1..20)),
                };
                (self.plan.rng.i64(0..by_ms), action)
            })
            .collect();
        steps.sort_by_key(|(at, _)| *at);
        let mut gone_ms = 0;
        for (at, action) in steps {
            self.clock.leap(Duration::from_millis((at - gone_ms).unsigned_abs()));
            gone_ms = at;
            self.act(action);
        }
        self.clock.leap(Duration::from_millis((by_ms - gone_ms).unsigned_abs()));
        self.hit("process.suspended");
    }
}
