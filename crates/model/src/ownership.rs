//! Who owns a pipeline. The newest claim owns it; whoever was replaced stands by until the owner shows no more life.

use std::future::Future;
use std::time::Duration;

use crate::contract::Trouble;

/// How many different waits there are.
const JITTER_STEPS: u32 = 250;

/// What a claim gives: the sessions of the lanes, by number, and what is said of their owner.
#[derive(Debug)]
pub struct Claimed<K, O> {
    /// One per lane; index is lane.
    pub lanes: Vec<K>,
    /// The ownership that this claim has made.
    pub ownership: O,
}

/// One claim of a pipeline beside its lanes. It gates nothing: what an owner writes is fenced by the epochs of its lanes, and
/// this only tells others whether they are to wait. Every future may be dropped; what it did is unknown then.
pub trait Ownership: Send {
    /// The mark of this claim's owner. No two owners have the same.
    fn mark(&self) -> &str;

    /// A wait of less than `max`, by the mark: owners that wait for the same pipeline hardly ever take it at the same moment.
    fn jitter(&self, max: Duration) -> Duration {
        jitter(self.mark(), max)
    }

    /// Shows that this owner lives, and perhaps that others may have its lanes already.
    ///
    /// # Errors
    /// Trouble of kind [`Replaced`](crate::TroubleKind::Replaced) when another process owns the pipeline, of kind
    /// [`ClaimLost`](crate::TroubleKind::ClaimLost) when the store forgot our claim; any other when nothing could be shown.
    fn show_life(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Who owns the pipeline now. Changes nothing and disturbs nobody.
    ///
    /// # Errors
    /// When nobody can tell.
    fn owner(&mut self) -> impl Future<Output = Result<Owner, Trouble>> + Send;

    /// Hands over: whoever waits need not wait any longer. Does nothing when another process owns the pipeline.
    ///
    /// # Errors
    /// When it could not be said.
    fn release(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;
}

fn jitter(mark: &str, max: Duration) -> Duration {
    max / JITTER_STEPS * (crc32fast::hash(mark.as_bytes()) % JITTER_STEPS)
}

/// The owner of a pipeline, as somebody sees it who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The last one has handed over; or the store knows of none, because what it knew of owners is gone. Whoever claims then
    /// finds out what is still there, as a start does.
    Nobody,
    /// Somebody.
    Somebody {
        /// Its mark.
        mark: String,
        /// Changes whenever the owner shows life. Two of them are the same or not, and nothing else.
        life: String,
    },
}

/// Where a pipeline has no second owner: its progress is the process' own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unshared;

impl Ownership for Unshared {
    fn mark(&self) -> &str {
        ""
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        Ok(Owner::Nobody)
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_wait_for_different_times() {
        let max = Duration::from_millis(250);
        let waits = ["1", "2", "3"].map(|mark| jitter(mark, max));
        assert!(waits.iter().all(|wait| *wait < max), "{waits:?}");
        assert!(waits[0] != waits[1] && waits[1] != waits[2] && waits[0] != waits[2], "{waits:?}");
        assert_eq!(jitter("1", max), waits[0]);
    }
}
