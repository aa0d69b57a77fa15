//! The clock of the service that goes wrong.

use std::time::Duration;

use super::fake::{BEGINNING, Fake, Run, id, settings};
use super::{MINUTE, open, until};
use crate::settings::ReaderSettings;

/// It would be stored that the shard was read until tomorrow: the next start would take that for a gap.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_minutes_leaves_nothing_behind() {
    let fake = Fake::new(vec![("a", open(4))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(MINUTE).await.expect("no trouble");
    let day = 1_440 * MINUTE;
    fake.stream().leap = day;
    run.run(3 * MINUTE).await.expect("no trouble");
    let tomorrow = Some(BEGINNING.plus(day));
    assert!(run.stored[&id("a")].2 > tomorrow, "dates that agree are believed");
    fake.stream().leap = Duration::ZERO;
    run.run(3 * MINUTE).await.expect("no trouble");
    let read_until = run.stored[&id("a")].2;
    assert!(read_until > Some(BEGINNING) && read_until < Some(BEGINNING.plus(10 * MINUTE)), "{read_until:?}");
    assert!(run.gaps.is_empty());
}

/// A bounded run would have no end, and nobody would know why.
#[tokio::test(start_paused = true)]
async fn a_bounded_run_ends_where_the_clock_of_the_service_stands_still() {
    for until_tip in [true, false] {
        let fake = Fake::new(vec![("a", open(4))]);
        fake.stream().date_stands_still = true;
        let mut run = Run::open(&fake, 1, ReaderSettings { until_tip, ..settings() }).await;
        let ended = run.run(10 * MINUTE).await;
        assert_eq!(run.read("a"), until(4));
        assert_eq!(ended.err().map(|trouble| trouble.code), until_tip.then_some("source.clock_stands_still"));
    }
}
