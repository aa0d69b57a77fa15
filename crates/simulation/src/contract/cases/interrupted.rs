//! Commits of unknown fate: nobody heard the answer, and only opening tells (I7).

use tailwater_model::{Group, Position, Sink};

use super::{assert_held, opened, position, ready, reopen_code, shard};
use crate::contract::{Fate, Ground, Interruption, Write, advance, after, group, put};

/// How often each interruption is made. Dropped futures are dropped at another place each time.
const INTERRUPTIONS_EACH: u64 = 3;

/// A run of interrupted commits: what must be held, and where the shard stands.
struct Story {
    held: Vec<Write>,
    from: Position,
    next: u64,
}

impl Story {
    fn new() -> Self {
        Self { held: Vec::new(), from: Position::Start, next: 1 }
    }

    fn writes(&self) -> Vec<Write> {
        // An item of its own, and one that all share.
        vec![put(self.next, &format!("item-{}", self.next)), put(self.next + 1, "shared")]
    }

    fn to(&self) -> Position {
        after(self.next + 1)
    }

    fn group(&self) -> Group {
        group([advance(&shard(), self.from.clone(), self.to(), &self.writes())])
    }

    /// Takes what an opening found for the truth, as the engine does, and holds it to what the ground did.
    fn learn(&mut self, found: Option<Position>, how: Interruption) {
        let landed = found == Some(self.to());
        assert!(landed || found.as_ref() == Some(&self.from), "{how:?}: {found:?} is neither before nor after");
        match how.fate() {
            Fate::Landed => assert!(landed, "{how:?}: the commit is lost"),
            Fate::Lost => assert!(!landed, "{how:?}: the commit landed"),
            Fate::Either => {}
        }
        if landed {
            self.land();
        }
    }

    fn land(&mut self) {
        self.held.extend(self.writes());
        self.from = self.to();
        self.next += 2;
    }
}

/// I7: after an interrupted commit the lane must be opened, what opening finds agrees with what is held, and going on
/// from there leaves every change once.
pub async fn opening_tells_the_truth_about_an_interrupted_commit(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let mut story = Story::new();
    for how in ground.interruptions() {
        for _ in 0..INTERRUPTIONS_EACH {
            ground.interrupt(&mut lane, story.group(), *how).await;
            // Never retried as it is: this one is refused, whatever became of the first.
            reopen_code(lane.commit(story.group()).await);
            story.learn(position(&lane.open().await.expect("opens")), *how);
            assert_held(ground, &story.held).await;
            lane.commit(story.group()).await.expect("goes on from what opening told");
            story.land();
            assert_held(ground, &story.held).await;
        }
    }
}

/// P4, I7: the same when another process takes over: its opening waits for the commit or shuts it out.
pub async fn a_new_claim_learns_the_truth_about_an_interrupted_commit(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let mut story = Story::new();
    for how in ground.interruptions() {
        ground.interrupt(&mut lane, story.group(), *how).await;
        let (mut next, progress) = opened(ground).await;
        story.learn(position(&progress), *how);
        assert_held(ground, &story.held).await;
        next.commit(story.group()).await.expect("goes on from what opening told");
        story.land();
        assert_held(ground, &story.held).await;
        lane = next;
    }
}
