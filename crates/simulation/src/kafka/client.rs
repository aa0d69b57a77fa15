//! What a producer's client knows: its queue, its right to write, and what has failed. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_sink_kafka::SendFault;
use tokio::time::Instant;

use super::broker::{Place, Sent};
use super::log::{Epoch, ProducerId};

/// How long a topic may be unknown before its messages are given up (librdkafka, `topic.metadata.propagation.max.ms`).
const UNKNOWN_TOPIC_MAX: Duration = Duration::from_secs(30);

/// What the client knows.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) granted: Option<(ProducerId, Epoch)>,
    pub(crate) is_in_transaction: bool,
    /// Partitions that the coordinator knows to be in the transaction.
    pub(crate) registered: BTreeSet<Place>,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) sequences: BTreeMap<Place, u64>,
    /// The first delivery that failed since the transaction began, and which message it was.
    pub(crate) failed: Option<(RDKafkaErrorCode, usize)>,
    /// Messages since all were delivered last.
    pub(crate) taken: usize,
    /// Nothing heals this.
    pub(crate) fatal: Option<RDKafkaErrorCode>,
    pub(crate) has_strayed: bool,
    /// The least and the greatest offset of each partition that were told since they were asked for last.
    pub(crate) acknowledged: BTreeMap<Place, (i64, i64)>,
    /// Numbers were given to messages that the broker may not have.
    pub(crate) lost_sequence: bool,
    unknown_topic_since: Option<Instant>,
}

pub(crate) struct Queued {
    pub(crate) sent: Sent,
    pub(crate) number: usize,
    pub(crate) expires: Instant,
    pub(crate) has_strayed: bool,
}

/// What a producer does next to get its messages delivered.
pub(crate) enum Work {
    Register(Vec<Place>),
    Produce(Vec<Sent>),
}

impl Client {
    /// What has to be asked next; nothing when everything is delivered, or nothing can be any more. Each partition has a
    /// leader of its own, so a request is for one of them: `pick` says which, and `request_max` for how many messages and how
    /// many bytes, if it is not one message alone.
    pub(crate) fn work(&self, pick: usize, request_max: (usize, usize), is_transactional: bool) -> Option<Work> {
        if self.fatal.is_some() || self.failed.is_some() {
            return None;
        }
        let places: BTreeSet<&Place> = self.queue.iter().map(|queued| &queued.sent.place).collect();
        let new: Vec<Place> =
            places.iter().filter(|place| !self.registered.contains(**place)).map(|place| (*place).clone()).collect();
        if is_transactional && !new.is_empty() {
            return Some(Work::Register(new));
        }
        let place = *places.iter().nth(pick % places.len().max(1))?;
        let of_place = self.queue.iter().filter(|queued| queued.sent.place == *place);
        let (messages_max, bytes_max) = request_max;
        let (mut batch, mut bytes): (Vec<Sent>, usize) = (Vec::new(), 0);
        for queued in of_place.take(messages_max) {
            bytes += queued.sent.bytes;
            if !batch.is_empty() && bytes > bytes_max {
                break;
            }
            batch.push(queued.sent.clone());
        }
        Some(Work::Produce(batch))
    }

    /// These messages were acknowledged.
    pub(crate) fn delivered(&mut self, batch: &[Sent], offsets: &[Option<i64>]) {
        for (sent, offset) in batch.iter().zip(offsets) {
            if let Some(offset) = *offset {
                let written = self.acknowledged.entry(sent.place.clone()).or_insert((offset, offset));
                *written = (offset.min(written.0), offset.max(written.1));
            }
            let is_it = |queued: &Queued| queued.sent.place == sent.place && queued.sent.sequence == sent.sequence;
            if let Some(queued) = self.queue.iter().position(is_it).and_then(|index| self.queue.remove(index)) {
                self.has_strayed |= queued.has_strayed;
            }
        }
    }

    /// The number of the first message that waits.
    fn first(&self) -> usize {
        self.queue.front().map_or(0, |queued| queued.number)
    }

    /// The number of the first message of a batch: where one of them is refused, the client tells it of all.
    pub(crate) fn first_of(&self, batch: &[Sent]) -> Option<usize> {
        let first = batch.first()?;
        let is_it = |queued: &&Queued| queued.sent.place == first.place && queued.sent.sequence == first.sequence;
        self.queue.iter().find(is_it).map(|queued| queued.number)
    }

    /// Takes an answer in, about the message with this number if it is about any. Gives whether it has to be asked again after a
    /// pause.
    pub(crate) fn learn(
        &mut self,
        answer: Option<Result<(), RDKafkaErrorCode>>,
        of: Option<usize>,
        is_transactional: bool,
    ) -> bool {
        match answer {
            Some(Ok(())) => {
                self.unknown_topic_since = None;
                return false;
            }
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                let since = *self.unknown_topic_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= UNKNOWN_TOPIC_MAX {
                    self.failed = Some((RDKafkaErrorCode::UnknownTopic, self.first()));
                    return false;
                }
            }
            Some(Err(code)) if !is_passing(code) => {
                let code = self.refused(code);
                let first = of.or_else(|| Some(self.first()));
                self.failed.get_or_insert((code, first.unwrap_or_default()));
                if !is_transactional {
                    // Without a transaction nothing can be given up, and the next message would leave a hole.
                    self.fatal.get_or_insert(code);
                }
                return false;
            }
            Some(Err(_)) | None => {}
        }
        true
    }

    /// Remembers what cannot heal. Gives the code as the client tells it.
    pub(crate) fn refused(&mut self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        match code {
            RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch => {
                *self.fatal.insert(RDKafkaErrorCode::Fenced)
            }
            other => other,
        }
    }

    /// The same for an end of the transaction, where client and broker must agree on what is open.
    pub(crate) fn end_refused(&mut self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        match code {
            RDKafkaErrorCode::InvalidTransactionalState => *self.fatal.insert(code),
            other => self.refused(other),
        }
    }

    pub(crate) fn give_up_expired(&mut self, now: Instant) {
        if self.queue.front().is_some_and(|queued| queued.expires <= now) {
            let first = self.first();
            self.failed.get_or_insert((RDKafkaErrorCode::MessageTimedOut, first));
        }
    }

    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        match self.fatal.or(self.failed.map(|(code, _)| code)) {
            Some(code) => Err(KafkaError::Global(code)),
            None => Ok(()),
        }
    }

    pub(crate) fn check_delivered(&self) -> Result<(), SendFault> {
        let fatal = self.fatal.map(|code| (code, self.failed.map_or(0, |(_, message)| message)));
        match fatal.or(self.failed) {
            Some((code, message)) => Err(SendFault::Undelivered { code, message }),
            None => Ok(()),
        }
    }

    /// The transaction has ended, one way or the other.
    pub(crate) fn ended(&mut self) {
        self.is_in_transaction = false;
        self.taken = 0;
        self.registered.clear();
        self.failed = None;
        self.has_strayed = false;
    }
}

/// Codes after which the client asks again by itself.
pub(crate) fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::ConcurrentTransactions
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::NotEnoughReplicas
            | RDKafkaErrorCode::UnknownTopicOrPartition
    )
}
