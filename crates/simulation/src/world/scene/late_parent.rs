//! A shard that was over before its pipeline began with LATEST, and that no listing shows before the second process: its children are
//! stored, in lanes that open later than its own.

use tailwater_model::ShardId;

use super::Scene;
use crate::service::TrueShard;
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

impl<G: Ground> Scene<G> {
    /// Takes such a shard out of the listings for so long. It holds records.
    pub(super) fn hide_parent(&mut self, for_ms: i64) {
        let mut service = lock(&self.service);
        let shards: Vec<TrueShard<'_>> = service.truth().shards().filter(|shard| !shard.gone).collect();
        let lane = |shard: &str| ShardId::new(shard).lane(self.plan.lanes);
        let hidden = shards.iter().find(|shard| {
            let mut children = shards.iter().filter(|child| child.parent == Some(shard.id)).peekable();
            let are_elsewhere = children.peek().is_some() && children.all(|child| lane(child.id) != lane(shard.id));
            are_elsewhere && shard.records_from(0).next().is_some()
        });
        let Some((stream, hidden)) = hidden.map(|shard| (shard.stream_arn.to_owned(), shard.id.to_owned())) else {
            return;
        };
        service.list_from(&stream, &hidden, self.clock.now_ms() + for_ms);
        drop(service);
        self.tell(|| format!("shard {hidden} is hidden"));
        self.hidden_parent = Some(hidden);
    }

    /// The process dies and begins anew, while the sink has the shard's own lane and not those of its children.
    pub(super) fn start_without_children(&mut self) {
        let Some(parent) = self.hidden_parent.take().filter(|_| self.workers[0].is_some()) else { return };
        let children: Vec<String> = {
            let service = lock(&self.service);
            let of_parent = |shard: &TrueShard<'_>| shard.parent == Some(parent.as_str());
            service.truth().shards().filter(of_parent).map(|shard| shard.id.to_owned()).collect()
        };
        self.act(Action::Crash(0));
        self.lanes_down.set(children.iter().map(|child| ShardId::new(child).lane(self.plan.lanes)));
        let is_met = {
            let witness = lock(&self.witness);
            witness.is_known() && !witness.has_row(&parent) && children.iter().all(|child| witness.has_row(child))
        };
        if is_met {
            self.hit("service.parent_listed_late");
        }
        self.act(Action::Start(0));
    }
}
