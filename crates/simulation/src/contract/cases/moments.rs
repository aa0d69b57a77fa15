//! How far in time a shard was read, since when a stream is known, and what is let go of.

use std::time::Duration;

use tailwater_model::{
    Batch, Counts, DeadLetter, FirstListing, Gap, GapCause, Group, Position, Rejected, ServiceTime, ShardId, Sink,
};

use super::{assert_step_refused, claimed, one_lane, opened, position, ready, shard};
use crate::contract::{Ground, advance, after, forget, group, pipeline, put, register, shard_of};

const MOMENT: ServiceTime = ServiceTime::from_ms(1_700_000_000_123);
/// Shards that follow one another, each in the place of the one before.
const ROTATIONS: u64 = 10_000;
/// Rotations of one group, of three steps each.
const ROTATIONS_PER_GROUP: u64 = 500 / 3;

fn later(seconds: u64) -> ServiceTime {
    MOMENT.plus(Duration::from_secs(seconds))
}

fn known(since: ServiceTime) -> Group {
    Group { batches: Vec::new(), first_listing: Some(FirstListing::stored(since)) }
}

/// The moment is stored with the step that has one, the registration too; a step without one leaves it, and one that goes
/// nowhere stores it as well. I2 holds for it: where the step does not fit nothing changes.
pub async fn read_until_is_stored_with_its_step(ground: &mut impl Ground) {
    let (mut lane, _) = opened(ground).await;
    let carrying = |batch: Batch, read_until| group([Batch { read_until, ..batch }]);
    let step = |from: Position, to: Position| advance(&shard(), from, to, &[]);
    let stored = async |ground: &mut _| opened(ground).await.1.shards[0].read_until;
    lane.commit(carrying(register(&shard(), None), Some(MOMENT))).await.expect("registers");
    assert_eq!(lane.open().await.expect("opens").shards[0].read_until, Some(MOMENT));
    lane.commit(carrying(step(Position::Start, after(1)), None)).await.expect("moves on");
    assert_eq!(lane.open().await.expect("opens").shards[0].read_until, Some(MOMENT));
    lane.commit(carrying(step(after(1), after(1)), Some(later(1)))).await.expect("only the moment");
    let progress = lane.open().await.expect("opens");
    assert_eq!((position(&progress), progress.shards[0].read_until), (Some(after(1)), Some(later(1))));
    assert_step_refused(lane.commit(carrying(step(Position::Start, after(2)), Some(later(9)))).await);
    assert_eq!(stored(ground).await, Some(later(1)));

    // Of several steps the last one that has a moment counts.
    let (mut lane, _) = opened(ground).await;
    let mut steps = [step(after(1), after(2)), step(after(2), after(3)), step(after(3), after(4))];
    (steps[0].read_until, steps[1].read_until) = (Some(later(2)), Some(later(3)));
    lane.commit(group(steps)).await.expect("commits");
    assert_eq!(stored(ground).await, Some(later(3)));
}

/// The first complete listing is stored before the stream is known, and as long as it is not, a newer one counts. Then
/// nothing takes it back.
pub async fn the_first_listing_is_stored(ground: &mut impl Ground) {
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(progress.first_listing, None);
    let begun = FirstListing { follows_another: true, ..FirstListing::begun(later(2)) };
    let stored = FirstListing { follows_another: true, ..FirstListing::stored(MOMENT) };
    for listing in [FirstListing::begun(later(0)), begun] {
        lane.commit(Group { batches: Vec::new(), first_listing: Some(listing) }).await.expect("commits");
        assert_eq!(lane.open().await.expect("opens").first_listing, Some(listing));
    }
    lane.commit(group([register(&shard(), None)])).await.expect("registers");
    assert_eq!(lane.open().await.expect("opens").first_listing, Some(begun));
    let step = advance(&shard(), Position::Start, after(1), &[]);
    lane.commit(Group { batches: vec![step], first_listing: Some(stored) }).await.expect("commits");
    for listing in [FirstListing::stored(later(1)), FirstListing::begun(later(1))] {
        lane.commit(Group { batches: Vec::new(), first_listing: Some(listing) }).await.expect("commits");
        assert_eq!(lane.open().await.expect("opens").known_since(), Some(MOMENT), "{listing:?} comes too late");
    }
    drop(lane);
    let (_lane, progress) = opened(ground).await;
    assert_eq!((progress.first_listing, position(&progress)), (Some(stored), Some(after(1))));
}

/// When a stream is known the progress of the table's earlier streams goes: that of the lane that stores it at once, that of
/// each other lane with its next commit at the latest. Gaps and dead letters stay, and every lane is told since when.
pub async fn a_known_stream_takes_the_place_of_the_earlier_ones(ground: &mut impl Ground) {
    let of_stream = |stream: &str| pipeline("contract", 2, stream);
    let shards = |nth| [shard_of(0, 2, nth), shard_of(1, 2, nth)];
    let mut lanes = claimed(ground, &of_stream("a")).await;
    for ((lane, shard), seconds) in lanes.iter_mut().zip(shards(0)).zip([5, 3]) {
        lane.open().await.expect("opens");
        let rejected = Rejected { code: "transform.refused", message: "it does not fit".into() };
        let gap = Gap {
            shard: Some(shard.clone()),
            cause: GapCause::Trimmed,
            after: Position::Start,
            since: None,
            until: MOMENT,
            detail: "lost".into(),
            stop: false,
        };
        let batch = Batch {
            read_until: Some(later(seconds)),
            dead_letters: vec![DeadLetter::of_event(&put(1, "a").event(&shard), rejected)],
            gap: Some(gap),
            counts: Counts { read: 1, dead_lettered: 1, ..Counts::default() },
            ..advance(&shard, Position::Start, after(1), &[])
        };
        lane.commit(group([register(&shard, None), batch])).await.expect("commits");
    }
    lanes[0].commit(known(MOMENT)).await.expect("commits");

    let mut lanes = claimed(ground, &of_stream("b")).await;
    for (lane, shard) in lanes.iter_mut().zip(shards(1)) {
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.shards.len(), progress.known_since()), (0, None));
        let previous = progress.previous_stream.expect("the first one");
        assert_eq!((previous.stream_arn, previous.read_until), (of_stream("a").stream.stream_arn, Some(later(3))));
        assert!(!previous.is_of_another_table);
        lane.commit(group([register(&shard, None)])).await.expect("registers");
    }
    assert_eq!(ground.stored("contract").await.counts.len(), 4, "the first one's is there until the second is known");
    lanes[0].commit(known(later(9))).await.expect("commits");
    for (lane, shard) in lanes.iter_mut().zip(shards(1)) {
        lane.commit(group([advance(&shard, Position::Start, after(1), &[])])).await.expect("moves on");
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.known_since(), &progress.previous_stream), (Some(later(9)), &None));
        assert_eq!(progress.shards.len(), 1);
    }
    let stored = ground.stored("contract").await;
    assert_eq!(stored.counts.keys().collect::<Vec<_>>(), shards(1).iter().map(ShardId::as_str).collect::<Vec<_>>());
    assert_eq!((stored.gaps, stored.dead_letters), (2, 2), "the ledger stays");
    for lane in &mut claimed(ground, &of_stream("a")).await {
        assert_eq!(lane.open().await.expect("opens").shards, []);
    }
    // The table was deleted and made again.
    let mut again = of_stream("c");
    again.stream.table_id = "another".into();
    for lane in &mut claimed(ground, &again).await {
        let previous = lane.open().await.expect("opens").previous_stream.expect("the second one");
        assert_eq!((previous.stream_arn, previous.is_of_another_table), (of_stream("b").stream.stream_arn, true));
    }
}

/// I2: only a shard that stands at its end is forgotten, once. What was kept aside of it stays, and its id is free again.
pub async fn a_drained_shard_is_forgotten_and_no_other(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let child = shard_of(0, 1, 1);
    assert_step_refused(lane.commit(group([forget(&shard())])).await);
    lane.open().await.expect("opens");
    assert_step_refused(lane.commit(group([forget(&child)])).await);
    assert_eq!(position(&lane.open().await.expect("opens")), Some(Position::Start));
    let refused = ground.refused(&put(2, "b")).await;
    let mut last = advance(&shard(), Position::Start, Position::End, &[put(1, "a")]);
    last.events.push(refused);
    last.counts.read = 2;
    lane.commit(group([last, register(&child, Some(&shard()))])).await.expect("drains");
    assert_eq!(ground.stored(&one_lane().name).await.dead_letters, 1);

    // Not in part: another step of the group does not fit.
    assert_step_refused(lane.commit(group([forget(&shard()), forget(&child)])).await);
    assert_eq!(position(&lane.open().await.expect("opens")), Some(Position::End));
    lane.commit(group([forget(&shard())])).await.expect("forgets");
    let progress = lane.open().await.expect("opens");
    let left: Vec<_> = progress.shards.iter().map(|stored| (&stored.shard, stored.parent.as_ref())).collect();
    assert_eq!(left, [(&child, Some(&shard()))], "a child keeps the name of its parent");
    for step in [forget(&shard()), advance(&shard(), Position::End, Position::End, &[])] {
        assert_step_refused(lane.commit(group([step])).await);
        lane.open().await.expect("opens");
    }
    let stored = ground.stored(&one_lane().name).await;
    assert_eq!((stored.counts.len(), stored.dead_letters), (1, 1));
    lane.commit(group([register(&shard(), None)])).await.expect("it is as if it had never been");
    // A whole life in one group leaves nothing.
    let short = shard_of(0, 1, 2);
    let life = [register(&short, None), advance(&short, Position::Start, Position::End, &[]), forget(&short)];
    lane.commit(group(life)).await.expect("commits");
    let (_lane, progress) = opened(ground).await;
    assert_eq!(progress.shards.len(), 2);
    assert_eq!(position(&progress), Some(Position::Start));
}

/// I6: what is stored is bounded by what is listed, however long a pipeline runs.
pub async fn ten_thousand_rotations_leave_as_many_rows_as_there_are_shards(ground: &mut impl Ground) {
    let (mut lane, _) = opened(ground).await;
    let shard = |number: u64| ShardId::new(&format!("shardId-{number:020}-0a1b2c3d"));
    lane.commit(group([register(&shard(0), None)])).await.expect("registers");
    let mut batches = Vec::new();
    for number in 0..ROTATIONS + ROTATIONS_PER_GROUP {
        if number < ROTATIONS {
            batches.push(register(&shard(number + 1), Some(&shard(number))));
            batches.push(advance(&shard(number), Position::Start, Position::End, &[]));
        }
        // A shard leaves the listing long after it was drained.
        if number >= ROTATIONS_PER_GROUP {
            batches.push(forget(&shard(number - ROTATIONS_PER_GROUP)));
        }
        if (number + 1) % ROTATIONS_PER_GROUP == 0 {
            lane.commit(group(std::mem::take(&mut batches))).await.expect("rotates");
        }
    }
    lane.commit(group(batches)).await.expect("rotates");
    assert_eq!(ground.stored(&one_lane().name).await.counts.len(), 1);
    let same = lane.open().await.expect("opens");
    let (_lane, later) = opened(ground).await;
    for progress in [same, later] {
        assert_eq!(progress.shards.iter().map(|stored| &stored.shard).collect::<Vec<_>>(), [&shard(ROTATIONS)]);
    }
}
