//! What a lane's failed commits tell of its messages. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode;

use crate::client_config::Batches;
use crate::fault::may_blame_message;
use crate::topics::MessageLimits;

/// After so many commits whose messages were refused by the same code and none that succeeded, it is not by chance: a message
/// is at fault.
const FAILURES_MAX: u32 = 3;

/// The failures of a lane since its last commit, and what it has learned of the topics from them. They outlive its openings,
/// and end with the process.
#[derive(Debug)]
pub(super) struct Failures {
    /// There are only so many codes (I6).
    by_code: BTreeMap<i32, u32>,
    /// Where nobody tells the limits of the topics, refusals do.
    limits: MessageLimits,
}

impl Failures {
    pub(super) fn none() -> Self {
        Self { by_code: BTreeMap::new(), limits: MessageLimits::same(usize::MAX) }
    }

    /// A delivery failed, in a batch that could have so many bytes.
    pub(super) fn add(&mut self, code: RDKafkaErrorCode, batch_bytes_max: usize) {
        if is_too_large(code) {
            // Of a batch nobody can say whether it is one message or all of them together: smaller ones are tried meanwhile.
            let learned = &mut self.limits.learned_batch_bytes_max;
            *learned = (*learned).min((batch_bytes_max / 2).max(1));
        }
        if may_blame_message(code) {
            // Of the messages of a batch, librdkafka tells only one the broker's own code.
            let code =
                if code == RDKafkaErrorCode::InvalidDifferentRecord { RDKafkaErrorCode::InvalidRecord } else { code };
            let count = self.by_code.entry(code as i32).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// How messages are to be sent: one at a time where one of them is to be found.
    pub(super) fn batches(&self) -> Batches {
        if self.by_code.values().any(|count| *count >= FAILURES_MAX) { Batches::OfOne } else { Batches::Full }
    }

    /// A commit succeeded.
    pub(super) fn end(&mut self) {
        self.by_code.clear();
    }

    /// What the topics take, as far as it was learned.
    pub(super) fn limits(&self) -> MessageLimits {
        self.limits
    }

    /// The topic of change events refused a message of so many bytes as too large.
    pub(super) fn refused_data(&mut self, bytes: usize) {
        self.limits.data_bytes_max = self.limits.data_bytes_max.min(bytes.saturating_sub(1));
    }

    /// The topic of dead letters did. They are cut into smaller parts then, down to the smallest; whether they were not yet.
    pub(super) fn refused_dead_letter(&mut self, bytes: usize) -> bool {
        let known = self.limits.dead_letter_bytes_max;
        self.limits.dead_letter_bytes_max = known.min(bytes / 2);
        self.limits.dead_letter_bytes_max < known
    }
}

/// Whether a message, or the batch it is in, is larger than its topic takes.
pub(super) fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as C;

    const BATCH: usize = 1_000_000;

    #[test]
    fn batches_shrink_where_one_is_too_large() {
        let mut failures = Failures::none();
        failures.add(C::InvalidRecord, BATCH);
        assert_eq!(failures.limits().learned_batch_bytes_max, usize::MAX);
        let mut bytes = BATCH;
        for _ in 0..30 {
            failures.add(C::MessageSizeTooLarge, bytes);
            bytes = failures.limits().learned_batch_bytes_max;
        }
        assert_eq!(bytes, 1, "a message alone goes in any case");
        failures.end();
        assert_eq!(failures.limits().learned_batch_bytes_max, 1, "what was learned stays");
    }

    #[test]
    fn each_code_is_counted_by_itself_until_a_commit() {
        let mut failures = Failures::none();
        for _ in 1..FAILURES_MAX {
            [C::InvalidRecord, C::MessageSizeTooLarge, C::Unknown]
                .into_iter()
                .for_each(|code| failures.add(code, BATCH));
            assert_eq!(failures.batches(), Batches::Full);
        }
        failures.add(C::InvalidDifferentRecord, BATCH);
        assert_eq!(failures.batches(), Batches::OfOne);
        failures.end();
        assert_eq!(failures.batches(), Batches::Full);
    }

    #[test]
    fn what_is_not_about_a_message_is_not_counted() {
        let mut failures = Failures::none();
        for code in [C::NotEnoughReplicas, C::MessageTimedOut, C::Fenced, C::TopicAuthorizationFailed, C::PurgeQueue] {
            (0..10).for_each(|_| failures.add(code, BATCH));
            assert_eq!(failures.batches(), Batches::Full, "{code}");
        }
    }

    #[test]
    fn limits_are_learned_and_only_shrink() {
        let mut failures = Failures::none();
        failures.refused_data(1000);
        failures.refused_data(2000);
        assert!(failures.refused_dead_letter(5000) && !failures.refused_dead_letter(5000));
        let limits = failures.limits();
        assert_eq!((limits.data_bytes_max, limits.dead_letter_bytes_max), (999, 2500));
    }
}
