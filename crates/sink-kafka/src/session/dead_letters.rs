//! The brake on dead letters ([`tailwater_model::Brake`]) in the progress topic. A lane stores with its dead letters how many it
//! stored lately, so whoever reads all lanes knows what the store took within the last minute, whichever process that was.
//! The brake is a record, and only a start with a greater number takes it back.

use std::sync::{MutexGuard, PoisonError};

use tailwater_model::{Brake, Group, TooManyDeadLetters, Trouble};

use super::{LaneSession, Opened, Shared};
use crate::cluster::Cluster;
use crate::progress::{AllDeadLetters, LaneProgress, ProgressRecord};

impl<C> Shared<C> {
    /// Another lane that panicked while counting leaves a usable count.
    pub(super) fn dead_letters(&self) -> MutexGuard<'_, AllDeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what all lanes have stored, before any of them is opened.
    ///
    /// # Errors
    /// A brake that this start does not lift.
    pub(crate) fn take_stock(&self, stored: &[LaneProgress]) -> Result<(), Trouble> {
        for (lane, stored) in (0..).zip(stored) {
            self.check_brake(stored)?;
            self.dead_letters().read(lane, stored.dead_letters.clone());
            if stored.session.is_some() {
                self.opened().insert(lane);
            }
        }
        Ok(())
    }

    /// Whether the lane has a brake that is lifted now.
    ///
    /// # Errors
    /// One that is not.
    pub(super) fn check_brake(&self, stored: &LaneProgress) -> Result<bool, Trouble> {
        let Some(brake) = &stored.brake else { return Ok(false) };
        let per_minute_max = self.settings.dead_letters_per_minute_max;
        let brake = Brake { per_minute_max: brake.fact, since: crate::time::rfc_3339(brake.at_ms) };
        if brake.is_lifted_by(per_minute_max) {
            return Ok(true);
        }
        Err(brake.trouble(&self.pipeline.name, per_minute_max, &self.where_to_look()))
    }

    /// Where a person finds the dead letters.
    pub(super) fn where_to_look(&self) -> String {
        format!(
            "the headers __cdc.error.code and __cdc.error.message of the messages in the topic {}",
            self.settings.dead_letter_topic
        )
    }
}

impl<C: Cluster> LaneSession<C> {
    /// Whether the store may take the group's dead letters, as far as they are known.
    pub(super) fn look_at_dead_letters(
        &self,
        opened: &Opened<C::Producer>,
        group: &Group,
    ) -> Result<(), TooManyDeadLetters> {
        let mut letters = group.batches.iter().flat_map(|batch| &batch.dead_letters).peekable();
        if letters.peek().is_none() {
            return Ok(());
        }
        let stored = self.shared.dead_letters().count(opened.now_ms());
        TooManyDeadLetters::check(stored, letters, self.shared.settings.dead_letters_per_minute_max)
    }

    /// Looks whether the store may take the group's dead letters, before it does. From here on they count for every lane,
    /// until their fate is known. Gives the record that goes with them.
    pub(super) fn count_dead_letters(
        &self,
        opened: &Opened<C::Producer>,
        group: &Group,
    ) -> Result<Option<ProgressRecord>, TooManyDeadLetters> {
        let letters = group.batches.iter().flat_map(|batch| &batch.dead_letters);
        let (count, now_ms) = (letters.clone().count() as u64, opened.now_ms());
        if count == 0 {
            return Ok(None);
        }
        // Held over both: else two lanes would overlook each other.
        let mut all = self.shared.dead_letters();
        TooManyDeadLetters::check(all.count(now_ms), letters, self.shared.settings.dead_letters_per_minute_max)?;
        Ok(Some(ProgressRecord::DeadLetters(all.begin(self.lane, count, now_ms))))
    }
}
