//! Servers with a will of their own: rules that users made refuse rows, in ways that nobody can foresee. And the brake on
//! what is set aside.

use tailwater_model::{Change, Committed, Counts, Failure, Group, Position, RemoveCause, Sink};

use super::{claimed, halt_code, one_lane, opened, position, ready, shard};
use crate::contract::{Manner, Refusal, Staying, WilfulGround, Write, advance, after, expected, group, put, remove};

/// Commits, and opens again as often as it may take to know that an error does not pass.
async fn commit_at_last(lane: &mut impl Sink, group: impl Fn() -> Group) -> Committed {
    const OPENINGS_MAX: usize = 4;
    for _ in 0..OPENINGS_MAX {
        match lane.commit(group()).await {
            Ok(committed) => return committed,
            Err(Failure::Reopen(_)) => drop(lane.open().await.expect("opens")),
            Err(Failure::Halt(trouble)) => panic!("{trouble:?}"),
        }
    }
    panic!("the same group fails for ever");
}

/// The writes, of which one comes with an image that the server refuses.
async fn with_refused<G: WilfulGround>(
    ground: &mut G,
    from: &Position,
    writes: &[Write],
    refused: &Write,
    how: Refusal,
) -> impl Fn() -> Group + use<G> {
    let image = ground.refused_image(refused, how).await;
    let (from, writes, refused) = (from.clone(), writes.to_vec(), refused.clone());
    let last = writes.last().map_or(0, |write| write.number);
    move || {
        let mut batch = advance(&shard(), from.clone(), after(last), &writes);
        let change = if refused.is_put {
            Change::Insert { new: Some(image.clone()) }
        } else {
            Change::Remove { old: Some(image.clone()), cause: RemoveCause::Request }
        };
        let at = writes.iter().position(|write| *write == refused).expect("one of the writes");
        batch.events[at] = refused.event_of(&shard(), change);
        group([batch])
    }
}

/// I5, P1: whatever the server says of a row that it refuses, also nothing, the row is set aside and no other is.
pub async fn a_refusal_of_any_kind_blocks_no_other<G: WilfulGround>(ground: &mut G) {
    let mut lane = ready(ground).await;
    let (mut from, mut first, mut told) = (Position::Start, 1, Vec::new());
    for &how in ground.refusals() {
        let writes = [put(first, "a"), put(first + 1, &format!("{how:?}")), put(first + 2, "b")];
        let group = with_refused(ground, &from, &writes, &writes[1], how).await;
        let committed = commit_at_last(&mut lane, group).await;
        assert_eq!(committed.figures(), (2, 1), "{how:?}");
        told.extend([writes[0].clone(), writes[2].clone()]);
        assert_eq!(ground.held().await, expected(ground.manner(), &told), "{how:?}");
        (from, first) = (after(first + 2), first + 3);
    }
    let stored = ground.stored(&one_lane().name).await;
    let refused = ground.refusals().len() as u64;
    assert_eq!(stored.dead_letters, refused);
    let counts = Counts { read: 3 * refused, written: 2 * refused, dead_lettered: refused, ..Counts::default() };
    assert_eq!(stored.counts[shard().as_str()], counts);
}

/// P1: an item is gone whatever its old image holds. Its record is kept whole, and counts once.
pub async fn a_removal_is_told_whatever_its_old_image_holds<G: WilfulGround>(ground: &mut G) {
    ground.keep_removed();
    let mut lane = ready(ground).await;
    let (mut from, mut first) = (Position::Start, 1);
    // In a log stays what was there before; a removal has no place there but its tombstone.
    let (is_log, mut told) = (ground.manner() == Manner::Log, Vec::new());
    for &how in ground.refusals() {
        let key = format!("{how:?}");
        // The row is there; and in another item's case it is made and removed by one group.
        let made = advance(&shard(), from.clone(), after(first), &[put(first, &key)]);
        lane.commit(group([made])).await.expect("commits");
        told.extend(is_log.then(|| put(first, &key)));
        for key in [key.clone(), format!("{key} at once")] {
            let writes = [put(first + 1, &key), remove(first + 2, &key)];
            let group = with_refused(ground, &after(first), &writes, &writes[1], how).await;
            let committed = commit_at_last(&mut lane, group).await;
            assert_eq!(committed.figures(), (1, 1), "{how:?}");
            told.extend(is_log.then(|| writes[0].clone()));
            assert_eq!(ground.held().await, expected(ground.manner(), &told), "{how:?}");
            first += 2;
        }
        (from, first) = (after(first), first + 1);
    }
    let refused = ground.refusals().len() as u64;
    assert_eq!(ground.stored(&one_lane().name).await.dead_letters, 2 * refused);
}

/// P1: what the server takes well is written only where the row is as the change says. A row that stays is a dead letter.
pub async fn a_row_that_stays_as_it_is_is_not_called_written<G: WilfulGround>(ground: &mut G) {
    let mut lane = ready(ground).await;
    let with_image = |from: Position, write: &Write, image| {
        let mut batch = advance(&shard(), from, after(write.number), std::slice::from_ref(write));
        batch.events[0] = write.event_of(&shard(), Change::Modify { old: None, new: Some(image) });
        group([batch])
    };
    let (mut position, mut told, mut dead_letters) = (Position::Start, Vec::new(), 0);
    let [first, second] = [put(1, "replaced"), put(2, "replaced")];
    if let Some(image) = ground.staying_image(&second, Staying::Replaced).await {
        let batch = advance(&shard(), position, after(1), std::slice::from_ref(&first));
        lane.commit(group([batch])).await.expect("commits");
        let committed = lane.commit(with_image(after(1), &second, image)).await.expect("commits");
        assert_eq!(committed.figures(), (0, 1));
        (position, dead_letters) = (after(2), 1);
        told.push(first);
        assert_eq!(ground.held().await, expected(ground.manner(), &told));
    }
    let there = put(3, "removed");
    if let Some(image) = ground.staying_image(&there, Staying::Removed).await {
        lane.commit(with_image(position, &there, image)).await.expect("commits");
        told.push(there);
        // Another item goes with it, and one goes that was never there.
        let writes = [put(4, "other"), remove(5, "other"), remove(6, "removed"), remove(7, "never there")];
        let [made, rest @ ..] = &writes;
        let made = advance(&shard(), after(3), after(4), std::slice::from_ref(made));
        lane.commit(group([made])).await.expect("commits");
        let gone = advance(&shard(), after(4), after(7), rest);
        let committed = lane.commit(group([gone])).await.expect("commits");
        assert_eq!(committed.figures(), (2, 1));
        dead_letters += 1;
        assert_eq!(ground.held().await, expected(ground.manner(), &told));
    }
    assert_eq!(ground.stored(&one_lane().name).await.dead_letters, dead_letters);
}

/// More dead letters than are allowed within a minute are not stored, and from then on every start is refused, until somebody
/// allows more.
pub async fn too_many_dead_letters_hold_every_start<G: WilfulGround>(ground: &mut G) {
    ground.allow_dead_letters(2);
    let mut lane = ready(ground).await;
    let name = one_lane().name;
    for (number, from) in [(1, Position::Start), (2, after(1))] {
        let group = with_refused(ground, &from, &[put(number, "a")], &put(number, "a"), Refusal::Known).await;
        lane.commit(group()).await.expect("is allowed");
    }
    // Another process counts on.
    let (mut lane, _) = opened(ground).await;
    let group = with_refused(ground, &after(2), &[put(3, "a")], &put(3, "a"), Refusal::Known).await;
    assert_eq!(halt_code(lane.commit(group()).await), "sink.dead_letter_rate");
    assert_eq!(ground.stored(&name).await.dead_letters, 2);
    for allowed in [2, 1] {
        ground.allow_dead_letters(allowed);
        let trouble = ground.claim(&one_lane()).await.map(drop).expect_err("nobody lifted the brake");
        assert_eq!(trouble.code, "sink.dead_letter_rate");
    }
    ground.allow_dead_letters(3);
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(after(2)));
    lane.commit(group()).await.expect("is allowed now");
    ground.allow_dead_letters(2);
    claimed(ground, &one_lane()).await;
}
