//! Which streams there are, and what happens to them.

use proptest::prelude::*;
use tailwater_model::ShardId;

/// A shard of the simulated stream: its records are 1 to `records`, numbered `index * 1000 +`.
#[derive(Clone, Debug)]
pub struct TrueShard {
    pub id: ShardId,
    pub parent: Option<usize>,
    /// The parent's id where the parent itself is long gone.
    pub lost_parent: bool,
    pub records: u64,
    pub generation: u32,
    /// Shows up in complete listings after this many listings.
    pub listed_from: u64,
}

/// A stream of closed lineages, oldest shards first.
pub fn lineages() -> impl Strategy<Value = Vec<TrueShard>> {
    let shard = (any::<prop::sample::Index>(), 0..4u8, 0..6u64, 0..3u64, any::<u32>());
    prop::collection::vec(shard, 1..14).prop_map(|seeds| {
        let mut shards: Vec<TrueShard> = Vec::new();
        for (number, (parent, kind, records, late, name)) in seeds.into_iter().enumerate() {
            // At most two children, at most four generations.
            let parent = (kind > 0 && number > 0).then(|| parent.index(number)).filter(|parent| {
                let children = shards.iter().filter(|shard| shard.parent == Some(*parent)).count();
                children < 2 && shards[*parent].generation < 3
            });
            let generation = parent.map_or(0, |parent| shards[parent].generation + 1);
            // Children may be listed late; roots are there from the beginning.
            let listed_from = parent.map_or(0, |parent| shards[parent].listed_from + late);
            let id = ShardId::new(&format!("shardId-{name:010}-{number}"));
            shards.push(TrueShard { id, parent, lost_parent: kind == 3, records, generation, listed_from });
        }
        shards
    })
}

#[derive(Clone, Debug)]
pub enum Move {
    /// A complete listing; the seed shuffles and repeats.
    List {
        order: u64,
    },
    /// A listing of which only some shards came.
    Partial {
        order: u64,
        take: usize,
    },
    /// The children of an ended shard, with nonsense added.
    Children {
        order: u64,
    },
    Read {
        shard: prop::sample::Index,
        records: u64,
    },
    /// Commits the oldest steps of a lane.
    Commit {
        lane: prop::sample::Index,
        steps: usize,
    },
    /// The lane's connection broke; its oldest steps may have landed all the same.
    Reopen {
        lane: prop::sample::Index,
        landed: usize,
    },
}

pub fn moves() -> impl Strategy<Value = Vec<Move>> {
    use prop::sample::Index;
    let one = prop_oneof![
        2 => any::<u64>().prop_map(|order| Move::List { order }),
        2 => (any::<u64>(), 0..6usize).prop_map(|(order, take)| Move::Partial { order, take }),
        2 => any::<u64>().prop_map(|order| Move::Children { order }),
        8 => (any::<Index>(), 0..4u64).prop_map(|(shard, records)| Move::Read { shard, records }),
        5 => (any::<Index>(), 0..5usize).prop_map(|(lane, steps)| Move::Commit { lane, steps }),
        1 => (any::<Index>(), 0..4usize).prop_map(|(lane, landed)| Move::Reopen { lane, landed }),
    ];
    prop::collection::vec(one, 0..120)
}
