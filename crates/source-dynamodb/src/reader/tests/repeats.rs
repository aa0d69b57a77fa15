//! A server that sends again what a shard was read to: at each poll, or where an iterator begins after a sequence number.

use super::fake::{Fake, FakeShard, Run, settings};
use super::{MINUTE, open, root, until};
use crate::settings::ReaderSettings;

#[tokio::test(start_paused = true)]
async fn a_record_that_is_sent_again_is_carried_once() {
    for shard in [open(7), root(7)] {
        let fake = Fake::new(vec![("a", FakeShard { repeats: true, ..shard })]);
        let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
        for _ in 0..3 {
            run.run(MINUTE).await.expect("no trouble");
            assert_eq!(run.read("a"), until(7));
            run.reopen(0).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_last_record_comes_at_every_poll_is_idle() {
    let fake = Fake::new(vec![("a", FakeShard { repeats: true, ..open(7) })]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(10 * MINUTE).await.expect("no trouble");
    let polls = fake.calls("GetRecords");
    assert!(polls < 700, "{polls} polls in ten minutes");
    fake.change("a", |shard| shard.records = 9);
    run.run(MINUTE).await.expect("no trouble");
    assert_eq!(run.read("a"), until(9));
}
