//! How large messages may be: each topic has its own limit.

/// `max.message.bytes` where a topic does not say otherwise: 1 MiB and the overhead of a batch (Apache Kafka,
/// `ServerLogConfigs.MAX_MESSAGE_BYTES_DEFAULT`).
pub(super) const MESSAGE_BYTES_MAX_DEFAULT: usize = 1_048_588;

/// The largest record batch that each topic takes, in bytes (`max.message.bytes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Of the topic of change events.
    pub data_bytes_max: usize,
    /// Of the topic of dead letters.
    pub dead_letter_bytes_max: usize,
    /// Of the topic of progress.
    pub progress_bytes_max: usize,
    /// What several messages of one batch may have together, as far as refusals have told it; else as much as there is.
    pub learned_batch_bytes_max: usize,
}

impl MessageLimits {
    /// Three topics that take the same.
    pub const fn same(bytes_max: usize) -> Self {
        Self {
            data_bytes_max: bytes_max,
            dead_letter_bytes_max: bytes_max,
            progress_bytes_max: bytes_max,
            learned_batch_bytes_max: usize::MAX,
        }
    }

    /// The largest message that any of them takes: what a producer of all three must be able to send.
    pub fn message_bytes_max(&self) -> usize {
        self.data_bytes_max.max(self.dead_letter_bytes_max).max(self.progress_bytes_max)
    }

    /// The largest batch of several messages that all of them take: a producer has one size of batches for all topics.
    pub fn batch_bytes_max(&self) -> usize {
        let smallest = self.data_bytes_max.min(self.dead_letter_bytes_max).min(self.progress_bytes_max);
        smallest.min(self.learned_batch_bytes_max)
    }

    /// The smaller limit of each topic.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self {
            data_bytes_max: self.data_bytes_max.min(other.data_bytes_max),
            dead_letter_bytes_max: self.dead_letter_bytes_max.min(other.dead_letter_bytes_max),
            progress_bytes_max: self.progress_bytes_max.min(other.progress_bytes_max),
            learned_batch_bytes_max: self.learned_batch_bytes_max.min(other.learned_batch_bytes_max),
        }
    }
}
