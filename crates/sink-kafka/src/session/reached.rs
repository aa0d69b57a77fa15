//! How far topics are known to reach. Offsets only grow, unless a topic is made again or loses what it had: so where less is told
//! than was known before the question, that has happened (I11). What is known grows meanwhile, by other lanes; so the question goes
//! by what was known before it.

use std::sync::PoisonError;

use tailwater_model::{Misfit, Trouble, TroubleKind};

use super::Shared;
use crate::cluster::Acknowledged;

/// Where each partition of a topic ends at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends(Vec<i64>);

/// How far the topics of change events and of progress reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(super) data: Ends,
    progress: Ends,
}

impl Ends {
    pub(super) fn of(told: &[i64]) -> Self {
        Self(told.to_vec())
    }

    pub(super) fn as_slice(&self) -> &[i64] {
        &self.0
    }

    /// Takes note of what was told, which may be less than others have told meanwhile.
    fn note(&mut self, told: &[i64]) {
        for (partition, end) in (0..).zip(told) {
            self.note_one(partition, *end);
        }
    }

    fn note_one(&mut self, partition: i32, end: i64) {
        let Ok(index) = usize::try_from(partition) else { return };
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        if let Some(known) = self.0.get_mut(index) {
            *known = end.max(*known);
        }
    }

    /// Whether a topic reaches less far than these.
    pub(super) fn exceed(&self, told: &[i64]) -> bool {
        told.len() < self.0.len() || self.0.iter().zip(told).any(|(known, told)| told < known)
    }

    /// Whether a message was written before the end of its partition.
    fn exceed_offset(&self, partition: i32, offset: i64) -> bool {
        let known = usize::try_from(partition).ok().and_then(|index| self.0.get(index));
        known.is_some_and(|known| offset < *known)
    }
}

impl<C> Shared<C> {
    /// How far the topics are known to reach by now.
    pub(crate) fn reached(&self) -> Reached {
        // Another lane that panicked leaves ends that are whole.
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of where the partitions of the topic of change events end.
    pub(super) fn note_ends(&self, told: &[i64]) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).data.note(told);
    }

    /// Takes note of where they end, as they were told.
    ///
    /// # Errors
    /// When that is less than what was known before they were asked for.
    pub(crate) fn hold_ends(&self, known: &Reached, told: &[i64]) -> Result<(), Trouble> {
        if known.data.exceed(told) {
            return Err(self.topic_replaced());
        }
        self.note_ends(told);
        Ok(())
    }

    /// Takes note of where messages were written.
    ///
    /// # Errors
    /// When that is before what was known before they were sent.
    pub(super) fn hold_acknowledged(&self, known: &Reached, acknowledged: &[Acknowledged]) -> Result<(), Trouble> {
        let (data, progress) = (&self.settings.topic, &self.settings.progress_topic);
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for Acknowledged { topic, partition, first, last } in acknowledged {
            let (is_data, is_progress) = (**topic == **data, **topic == **progress);
            if is_data && known.data.exceed_offset(*partition, *first) {
                return Err(self.topic_replaced());
            }
            if is_progress && known.progress.exceed_offset(*partition, *first) {
                return Err(self.progress_gone(*partition));
            }
            let ends = match (is_data, is_progress) {
                (true, _) => &mut reached.data,
                (false, true) => &mut reached.progress,
                (false, false) => continue,
            };
            ends.note_one(*partition, last.saturating_add(1));
        }
        Ok(())
    }

    fn topic_replaced(&self) -> Trouble {
        let message = format!(
            "the topic \"{}\" on Kafka at {} was made again while the pipeline ran, or has lost what it had",
            self.settings.topic, self.settings.brokers
        );
        Trouble::new(TroubleKind::DataAtRisk, Misfit::Replaced.code(), message)
            .advise("restore it with what it held; another start says how to go on without it")
    }

    /// What is told where a lane's partition has less than this process has written to it.
    pub(crate) fn progress_gone(&self, partition: i32) -> Trouble {
        let message = format!(
            "the progress topic \"{}\" on Kafka at {} no longer holds what was written to its partition {partition}",
            self.settings.progress_topic, self.settings.brokers
        );
        Trouble::new(TroubleKind::DataAtRisk, Misfit::ProgressGone.code(), message).advise(
            "was it deleted, or lost with its broker? Without it nobody knows what has been carried: restore it; another start says \
             how to go on without it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_went_back_is_another_topic() {
        for (told, known, exceed) in [
            (vec![3, 4], vec![3, 4], false),
            (vec![5, 4, 0], vec![3, 4], false),
            (vec![9, 3], vec![3, 4], true),
            (vec![9], vec![3, 0], true),
            (vec![], vec![], false),
        ] {
            assert_eq!(Ends::of(&known).exceed(&told), exceed, "{told:?} after {known:?}");
        }
    }

    #[test]
    fn what_is_known_grows_only() {
        let mut ends = Ends::default();
        ends.note(&[3, 4]);
        ends.note(&[9, 1, 2]);
        ends.note_one(4, 7);
        ends.note_one(-1, 7);
        assert_eq!(ends.as_slice(), [9, 4, 2, 0, 7]);
        assert!(ends.exceed_offset(1, 3) && !ends.exceed_offset(1, 4) && !ends.exceed_offset(5, 0));
    }
}
