//! How long nobody carries when an owner goes, held to what is promised.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// What whatever else runs on the machine may add to a pause.
const NOISE_MAX: Duration = Duration::from_secs(3);

/// Pauses of one kind. Noise only makes a pause longer: the shortest one is held to what is promised, and none may be far from it.
#[derive(Debug)]
pub struct Pauses {
    promised: Duration,
    seen: Vec<Duration>,
}

impl Pauses {
    /// None yet, of a kind of which so much is promised.
    pub fn promised(promised: Duration) -> Self {
        Self { promised, seen: Vec::new() }
    }

    /// Takes one in.
    pub fn add(&mut self, pause: Duration) -> Result<()> {
        self.seen.push(pause);
        ensure!(pause < self.promised + NOISE_MAX, "nobody carried for {pause:?}, {self:?}");
        Ok(())
    }

    /// Whether they are what is promised.
    #[expect(
        clippy::print_stdout,
        reason = "the figures, for whoever measures: the harness shows them when it is told to"
    )]
    pub fn check(&self) -> Result<()> {
        println!("{self:?}");
        let shortest = self.seen.iter().min().context("there was no pause")?;
        ensure!(*shortest < self.promised, "nobody carried for {shortest:?} at the least, {self:?}");
        Ok(())
    }
}
