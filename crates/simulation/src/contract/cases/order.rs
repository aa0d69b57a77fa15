//! The order of changes to one item.

use tailwater_model::{Position, Sink};

use super::{assert_held, position, ready, shard, stored_position};
use crate::contract::{Ground, Write, advance, after, group, put, remove};

/// Events of a big group: more than one page of DynamoDB, more than one message of any server.
const BIG_GROUP_EVENTS: u64 = 3_000;
/// Items that they change.
const BIG_GROUP_ITEMS: u64 = 700;

/// Put, update, removal, and being there again or not.
fn lives() -> Vec<Write> {
    vec![
        put(1, "removed"),
        put(2, "back"),
        put(3, "removed"),
        remove(4, "back"),
        put(5, "kept"),
        remove(6, "removed"),
        put(7, "back"),
        remove(8, "never there"),
        put(9, "kept"),
    ]
}

/// I4: several changes of one item in one group: the last one stands, and a log has them in order. All are counted.
pub async fn the_last_change_of_an_item_wins_within_a_group(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let writes = lives();
    let (first, second) = writes.split_at(4);
    let batches = [advance(&shard(), Position::Start, after(4), first), advance(&shard(), after(4), after(9), second)];
    let committed = lane.commit(group(batches)).await.expect("commits");
    assert_eq!(committed.figures(), (writes.len() as u64, 0));
    assert_held(ground, &writes).await;
}

/// I4: the same, each change in a group of its own.
pub async fn the_last_change_of_an_item_wins_across_groups(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let mut from = Position::Start;
    for write in lives() {
        let to = after(write.number);
        lane.commit(group([advance(&shard(), from, to.clone(), &[write])])).await.expect("commits");
        from = to;
    }
    assert_held(ground, &lives()).await;
    assert_eq!(position(&lane.open().await.expect("opens")), Some(from));
}

/// A group of many events, each item several times, is there whole and in order.
pub async fn big_groups_arrive_whole(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let writes: Vec<_> = (1..=BIG_GROUP_EVENTS)
        .map(|number| {
            let key = format!("item-{}", number % BIG_GROUP_ITEMS);
            if number % 11 == 0 { remove(number, &key) } else { put(number, &key) }
        })
        .collect();
    let batch = advance(&shard(), Position::Start, after(BIG_GROUP_EVENTS), &writes);
    let committed = lane.commit(group([batch])).await.expect("commits");
    assert_eq!(committed.figures(), (BIG_GROUP_EVENTS, 0));
    assert_held(ground, &writes).await;
    assert_eq!(stored_position(ground).await, Some(after(BIG_GROUP_EVENTS)));
}
