//! What a process has of its sink, behind the seam by which the world holds the process.

use tailwater_model::{Committed, Failure, Group, Owner, Ownership, Progress, Sink, Trouble};

use super::PanicCountdown;
use crate::face::Seam;
use crate::world::ground::{SharedWitness, lock};
use crate::world::lanes_down::LanesDown;

/// An ownership behind the seam of its process.
pub(super) struct SeamedOwnership<O> {
    pub(super) ownership: O,
    pub(super) seam: Seam,
}

impl<O: Ownership> Ownership for SeamedOwnership<O> {
    fn mark(&self) -> &str {
        self.ownership.mark()
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.seam.pass().await;
        self.ownership.show_life().await
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.seam.pass().await;
        self.ownership.owner().await
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.seam.pass().await;
        self.ownership.release().await
    }
}

/// The sink behind the seam of its process.
pub(super) struct SeamedSink<K> {
    pub(super) sink: K,
    pub(super) lane: u32,
    pub(super) seam: Seam,
    pub(super) panic: PanicCountdown,
    pub(super) lanes_down: LanesDown,
    pub(super) witness: SharedWitness,
}

impl<K: Sink> Sink for SeamedSink<K> {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.seam.pass().await;
        self.lanes_down.reach(self.lane).await?;
        let opened = self.sink.open().await;
        self.seam.pass().await;
        opened
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.seam.pass().await;
        if self.panic.is_due() {
            // Unwinds as a panic does, and says nothing on the way.
            std::panic::resume_unwind(Box::new("a panic of the world's own"));
        }
        self.lanes_down.reach(self.lane).await?;
        self.lanes_down.slow().await;
        for batch in &group.batches {
            let kept = (batch.events.len() + batch.dead_letters.len()) as u64;
            if batch.counts.read != kept + batch.counts.filtered + batch.counts.suppressed {
                lock(&self.witness).violated("I9 accounting", format!("{:?} with {kept} kept", batch.counts));
            }
        }
        let committed = self.sink.commit(group).await;
        self.seam.pass().await;
        committed
    }
}
