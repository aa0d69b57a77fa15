//! Who owns the log: shown, looked at and handed over, with the faults of the way there.

use tailwater_model::{Failure, Owner, Ownership, Trouble};

use super::MemoryGround;
use crate::world::ground::lock;

/// A claim.
pub struct MemoryOwnership {
    ground: MemoryGround,
    owner: u64,
    mark: String,
}

impl MemoryOwnership {
    pub(super) fn new(ground: MemoryGround, owner: u64) -> Self {
        Self { ground, owner, mark: owner.to_string() }
    }
}

impl Ownership for MemoryOwnership {
    fn mark(&self) -> &str {
        &self.mark
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.ground.reach("a sign of life").await.map_err(Failure::into_trouble)?;
        let mut state = lock(&self.ground.state);
        state.check_owner(self.owner).map_err(Failure::into_trouble)?;
        state.life += 1;
        Ok(())
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.ground.reach("a look at the owner").await.map_err(Failure::into_trouble)?;
        let state = lock(&self.ground.state);
        let (mark, life) = (state.owner.to_string(), format!("{} {}", state.owner, state.life));
        Ok(if state.released { Owner::Nobody } else { Owner::Somebody { mark, life } })
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.ground.reach("handing over").await.map_err(Failure::into_trouble)?;
        let mut state = lock(&self.ground.state);
        state.released |= state.owner == self.owner;
        Ok(())
    }
}
