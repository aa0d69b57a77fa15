//! How hard the tests that kill processes try: some kills by default, as many as `cargo x chaos` asks for in its variables.

use std::fmt::Display;

use anyhow::{Context, Result};

/// Kills of the `tailwater` process in each test.
pub const KILLS: (&str, u64) = ("TAILWATER_CHAOS_KILLS", 15);
/// Kills of the broker in each test.
pub const BROKER_KILLS: (&str, u64) = ("TAILWATER_CHAOS_BROKER_KILLS", 3);
/// Kills of leaders, coordinators and `tailwater` in a cluster of three.
pub const CLUSTER_KILLS: (&str, u64) = ("TAILWATER_CHAOS_CLUSTER_KILLS", 20);
/// What all chance in these tests starts from: other seeds write other items and kill at other moments.
pub const SEED: (&str, u64) = ("TAILWATER_CHAOS_SEED", 5);

/// The number in the variable, or its default.
pub fn number((variable, default): (&str, u64)) -> Result<u64> {
    match std::env::var(variable).ok().filter(|value| !value.is_empty()) {
        Some(value) => value.parse().with_context(|| format!("{variable} is no number: {value:?}")),
        None => Ok(default),
    }
}

/// Figures of one test, as the line that `cargo x chaos` collects: `chaos: TEST | FIGURE NAME | FIGURE NAME`.
pub fn line(test: &str, figures: &[(&str, &dyn Display)]) -> String {
    let figures = figures.iter().map(|(name, figure)| format!(" | {figure} {name}"));
    format!("chaos: {test}{}", figures.collect::<String>())
}
