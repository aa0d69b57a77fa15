//! The proof that a seed is a story that repeats. Fresh ones, and those that once failed, run in `cargo x simulate day`, which
//! is a step of `cargo x test`.

use tailwater_simulation::world::{Profile, run_world};

/// Worlds that are run twice.
const REPEATED_WORLDS: u64 = 12;

#[test]
fn the_same_seed_is_the_same_story() {
    for profile in Profile::ALL {
        for seed in 0..if profile == Profile::Year { 1 } else { REPEATED_WORLDS } {
            let [first, second] = [0, 1].map(|_| run_world(seed, profile, true).expect("a runtime of one thread"));
            assert!(!first.trace.is_empty());
            assert_eq!(first.trace, second.trace, "seed {seed} of profile {}", profile.name());
        }
    }
}
