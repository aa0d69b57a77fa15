//! Some worlds with debug assertions, which an optimized build leaves out. Most run in `cargo x simulate day`, a step of
//! `cargo x test`.

use tailwater_simulation::world::{Profile, run_world};

/// Worlds of each profile that are run twice.
const REPEATED_WORLDS: u64 = 2;

#[test]
fn the_same_seed_is_the_same_story() {
    for profile in Profile::ALL {
        // A world of days takes a minute without optimization.
        for seed in 0..if profile == Profile::Year { 0 } else { REPEATED_WORLDS } {
            let [first, second] = [0, 1].map(|_| run_world(seed, profile, true).expect("a runtime of one thread"));
            assert!(first.violation.is_none(), "seed {seed} of profile {}", profile.name());
            assert!(!first.trace.is_empty());
            assert_eq!(first.trace, second.trace, "seed {seed} of profile {}", profile.name());
        }
    }
}
