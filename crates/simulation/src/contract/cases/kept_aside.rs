//! Dead letters, gaps and the accounting: what is stored beside the data, in the same transaction.

use tailwater_model::{Batch, Counts, DeadLetter, Gap, GapCause, Position, Rejected, ServiceTime, Sink};

use super::{assert_held, assert_step_refused, claimed, one_lane, position, ready, shard};
use crate::contract::{Ground, Write, advance, after, group, pipeline, put, register, shard_of};

fn letter(write: &Write) -> DeadLetter {
    let rejected = Rejected { code: "transform.refused", message: "it does not fit".into() };
    DeadLetter::of_event(&write.event(&shard()), rejected)
}

/// I5: dead letters are kept with the step that passes them, and not without it.
pub async fn dead_letters_are_durable_with_their_step(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let with_letter = |from: Position| {
        let batch = advance(&shard(), from, after(2), &[put(1, "a")]);
        Batch {
            dead_letters: vec![letter(&put(2, "b"))],
            counts: Counts { read: 2, written: 1, dead_lettered: 1, ..Counts::default() },
            ..batch
        }
    };
    assert_step_refused(lane.commit(group([with_letter(after(9))])).await);
    lane.open().await.expect("opens");
    assert_eq!(ground.stored(&one_lane().name).await.dead_letters, 0);
    let committed = lane.commit(group([with_letter(Position::Start)])).await.expect("commits");
    assert_eq!(committed.figures(), (1, 1));
    assert_eq!(ground.stored(&one_lane().name).await.dead_letters, 1);
    assert_held(ground, &[put(1, "a")]).await;
}

async fn gaps(ground: &mut impl Ground) -> u64 {
    ground.stored(&one_lane().name).await.gaps
}

fn gap(cause: GapCause) -> Gap {
    Gap {
        shard: Some(shard()),
        cause,
        after: Position::Start,
        since: None,
        until: ServiceTime::from_ms(1_700_000_000_000),
        detail: "lost".into(),
        stop: false,
    }
}

/// I8: a gap is kept with its step, also when the pipeline stops at it, and not without; found again it is the same one.
pub async fn gaps_are_durable_with_their_step_and_once(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let with_gap = |from: Position, to: Position, cause: GapCause, stop: bool| {
        let gap = Some(Gap { stop, ..gap(cause) });
        group([Batch { gap, ..advance(&shard(), from, to, &[]) }])
    };
    assert_step_refused(lane.commit(with_gap(after(9), after(10), GapCause::Trimmed, false)).await);
    lane.open().await.expect("opens");
    assert_eq!(gaps(ground).await, 0);
    // A stop: the position stays, the gap is there.
    lane.commit(with_gap(Position::Start, Position::Start, GapCause::Trimmed, true)).await.expect("commits");
    assert_eq!(gaps(ground).await, 1);
    let progress = lane.open().await.expect("opens");
    assert_eq!(position(&progress), Some(Position::Start));
    lane.commit(with_gap(Position::Start, after(1), GapCause::Trimmed, false)).await.expect("found again");
    assert_eq!(gaps(ground).await, 1);
    lane.commit(with_gap(after(1), after(2), GapCause::ShardGone, false)).await.expect("another one");
    assert_eq!(gaps(ground).await, 2);
}

/// I8: the same place can be lost again a month later. When a gap was found does not make it another one, and the record tells
/// when it was found last: what was created until then may be lost.
pub async fn gaps_that_begin_at_another_moment_are_others(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let moment = |ms| Some(ServiceTime::from_ms(ms));
    let mut newest_ms = 0;
    let found =
        [(None, 10, 1), (moment(1), 10, 2), (moment(2), 10, 3), (moment(2), 20, 3), (None, 20, 3), (moment(2), 5, 3)];
    for (since, until_ms, stored) in found {
        let gap = Some(Gap { since, until: ServiceTime::from_ms(until_ms), ..gap(GapCause::Away) });
        let batch = Batch { gap, ..advance(&shard(), Position::Start, Position::Start, &[]) };
        lane.commit(group([batch])).await.expect("commits");
        let held = ground.stored(&one_lane().name).await;
        newest_ms = until_ms.max(newest_ms);
        let newest = Some(ServiceTime::from_ms(newest_ms));
        assert_eq!((held.gaps, held.gaps_until), (stored, newest), "{since:?}, {until_ms}");
    }
    lane.open().await.expect("opens");
    let whole_stream = Some(Gap { shard: None, since: moment(1), ..gap(GapCause::Away) });
    let batch = Batch { gap: whole_stream, ..advance(&shard(), Position::Start, Position::Start, &[]) };
    lane.commit(group([batch])).await.expect("commits");
    assert_eq!(gaps(ground).await, 4);
}

/// I8: a gap of the whole stream is carried by whichever lane can, and perhaps by a second one.
pub async fn a_gap_that_two_lanes_carry_is_one(ground: &mut impl Ground) {
    const LANES: u32 = 2;
    let identity = pipeline("contract", LANES, "a");
    let mut lanes = claimed(ground, &identity).await;
    for (number, lane) in (0..LANES).zip(&mut lanes) {
        lane.open().await.expect("opens");
        let whole_stream = Some(Gap { shard: None, ..gap(GapCause::StreamReplaced) });
        let batch = Batch { gap: whole_stream, ..register(&shard_of(number, LANES, 0), None) };
        lane.commit(group([batch])).await.expect("commits");
    }
    assert_eq!(ground.stored(&identity.name).await.gaps, 1);
}

/// I9: what was read is written, filtered, kept aside or suppressed; the figures add up over groups and refusals.
pub async fn what_is_counted_adds_up(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let name = one_lane().name;
    let busy = |from: Position, first: u64| {
        let writes = [put(first, "a"), put(first + 1, "a"), put(first + 2, "b")];
        let counts = Counts { read: 9, written: 3, filtered: 3, dead_lettered: 1, suppressed: 2 };
        let letters = vec![letter(&put(first + 3, "c"))];
        Batch { dead_letters: letters, counts, ..advance(&shard(), from, after(first + 8), &writes) }
    };
    lane.commit(group([busy(Position::Start, 1), busy(after(9), 10)])).await.expect("commits");
    assert_step_refused(lane.commit(group([busy(Position::Start, 1)])).await);
    lane.open().await.expect("opens");
    lane.commit(group([busy(after(18), 19)])).await.expect("commits");
    let counts = ground.stored(&name).await.counts[shard().as_str()];
    assert_eq!(counts, Counts { read: 27, written: 9, filtered: 9, dead_lettered: 3, suppressed: 6 });
    assert!(counts.balance());
}

/// P1: a refused change of an item takes none of its earlier changes along. Found by a simulated world (profile postgres,
/// seed 0): a mirror folds them to the last one.
pub async fn a_refused_change_does_not_hide_the_one_before(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let [refused, again] = [ground.refused(&put(3, "a")).await, ground.refused(&put(4, "a")).await];
    let writes = [put(1, "a"), put(2, "a"), put(5, "b")];
    let mut batch = advance(&shard(), Position::Start, after(5), &writes);
    batch.events.insert(2, refused);
    batch.events.insert(3, again);
    (batch.counts.read, batch.counts.written) = (5, 5);
    let committed = lane.commit(group([batch])).await.expect("commits");
    assert_eq!(committed.figures(), (3, 2));
    assert_held(ground, &writes).await;
    let stored = ground.stored(&one_lane().name).await;
    assert_eq!(stored.dead_letters, 2);
    assert_eq!(stored.counts[shard().as_str()], Counts { read: 5, written: 3, dead_lettered: 2, ..Counts::default() });
}

/// I5: an event that the sink or its server refuses is kept aside in the same commit; its neighbours are written.
pub async fn a_refused_event_blocks_no_other(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let refused = ground.refused(&put(3, "refused")).await;
    let writes = [put(1, "a"), put(2, "b"), put(4, "a"), put(5, "refused too late")];
    let mut batch = advance(&shard(), Position::Start, after(5), &writes);
    batch.events.insert(2, refused);
    (batch.counts.read, batch.counts.written) = (5, 5);
    let committed = lane.commit(group([batch])).await.expect("commits");
    assert_eq!(committed.figures(), (4, 1));
    assert_held(ground, &writes).await;
    let stored = ground.stored(&one_lane().name).await;
    assert_eq!(stored.dead_letters, 1);
    assert_eq!(stored.counts[shard().as_str()], Counts { read: 5, written: 4, dead_lettered: 1, ..Counts::default() });
    lane.commit(group([advance(&shard(), after(5), after(6), &[put(6, "a")])])).await.expect("goes on");
}
