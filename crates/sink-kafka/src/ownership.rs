//! Who owns a pipeline: shown, looked at and handed over in the first lane's partition of the progress topic.
//!
//! A sign is a record without a value and outside of any transaction (`progress/records.rs`). It is not fenced, and need not
//! be: it gates nothing. Whoever looks reads uncommitted records, so a transaction that was left open hides nothing, and takes
//! every record of the partition for a sign of life.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Owner, Ownership, Trouble};
use tokio::time::Instant;

use crate::brokers::Brokers;
use crate::client_config::{Isolation, ProducerRole};
use crate::cluster::{Cluster, Outgoing, Producer, Reader, SendFault};
use crate::producer::LaneProducer;
use crate::progress::{ClaimMark, Partitions, ProgressRecord};
use crate::session::Shared;
use crate::settings::KafkaSettings;
use crate::thread::{Idle, Thread, wait_for};
use crate::topics::MessageLimits;

/// The lane in whose partition the signs are.
const LANE: u32 = 0;
/// The longest wait for one answer: less than the engine waits, so that no work is left behind.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// The same while the topic is not there: a look only shows whether it is there again.
const GONE_ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The largest sign; librdkafka wants to know.
const SIGN_BYTES_MAX: usize = 10_000;

/// The claim of a pipeline on Kafka, with clients of its own on a thread of its own.
pub struct KafkaOwnership {
    mark: String,
    thread: Thread<OwnerSession<Brokers>>,
}

/// The claim of a pipeline on a model of Kafka, without a thread.
pub struct DirectOwnership<C: Cluster>(OwnerSession<C>);

/// Shows and looks for one claim.
pub(crate) struct OwnerSession<C: Cluster> {
    shared: Arc<Shared<C>>,
    claim: ClaimMark,
    /// Made when it is first needed, and anew after any fault.
    producer: Option<C::Producer>,
    watch: Option<Watch<C::Reader>>,
}

/// A reader of the signs, and what it has seen.
struct Watch<R> {
    partition: Partitions<R>,
    seen: Seen,
    /// The last look was told that the topic is not there.
    is_gone: bool,
}

/// What the signs say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Of the last record.
    offset: i64,
    /// The newest claim that was made or showed life, with whose it is, and the newest that handed over.
    claimed: u64,
    owner: String,
    handed_over: Option<u64>,
}

impl Seen {
    /// A record of the partition, and what it says.
    fn add(&mut self, offset: i64, record: Option<ProgressRecord>) {
        self.offset = offset;
        match record {
            Some(ProgressRecord::Session(session)) => self.add_claim(session.claim, session.owner),
            Some(ProgressRecord::Life(claim)) => self.add_claim(claim.number, claim.owner),
            Some(ProgressRecord::HandedOver(claim)) => self.handed_over = self.handed_over.max(Some(claim.number)),
            // Somebody has written.
            _ => {}
        }
    }

    fn add_claim(&mut self, number: u64, owner: String) {
        if number >= self.claimed {
            (self.claimed, self.owner) = (number, owner);
        }
    }

    /// A claim that handed over owns nothing any more, unless a newer one has come.
    fn owner(&self) -> Owner {
        match self.handed_over {
            Some(claim) if claim >= self.claimed => Owner::Nobody,
            _ => Owner::Somebody { mark: self.owner.clone(), life: self.offset.to_string() },
        }
    }
}

impl<R: Reader> Watch<R> {
    /// Reads what is there by now. Where the partition ends only its leader knows: a reader may be shown less, and that would look as
    /// if the owner were silent.
    async fn read_on(&mut self, deadline: Instant) -> Result<(), KafkaError> {
        let mut last = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        self.partition.begin();
        while !self.partition.are_read() {
            if Instant::now() >= deadline {
                return Err(last);
            }
            let next = self.partition.next(deadline, |record| (record.offset, ProgressRecord::of(record)));
            let failed = match next.await {
                Ok(Some((offset, record))) => {
                    self.seen.add(offset, record.and_then(Result::ok));
                    None
                }
                Ok(None) => self.partition.ask_ends(deadline).await.err(),
                Err(error) => Some(error),
            };
            // What heals by itself is waited for until the deadline. That the topic is not there says more than that nobody answered.
            if let Some(error) = failed.filter(|_| !is_of_missing_topic(&last)) {
                last = error;
            }
        }
        Ok(())
    }
}

/// Brokers say that the topic is not there. One of them may not know it yet.
fn is_of_missing_topic(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicId, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code();
    matches!(code, Some(UnknownPartition | UnknownTopic | UnknownTopicId | UnknownTopicOrPartition))
}

impl<C: Cluster> OwnerSession<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>, claim: ClaimMark) -> Self {
        Self { shared, claim, producer: None, watch: None }
    }

    async fn sign(&mut self, sign: ProgressRecord) -> Result<(), Trouble> {
        let doing = format!("showing who owns pipeline \"{}\"", self.shared.pipeline.name);
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let role = ProducerRole::Signs { limits: MessageLimits::same(SIGN_BYTES_MAX) };
                self.shared.cluster.producer(&role).map_err(|fault| fault.trouble)?
            }
        };
        let (key, _) = sign.encode();
        let error = match send(&self.shared.settings, &producer, key.as_bytes()).await {
            Ok(()) => {
                self.producer = Some(producer);
                return Ok(());
            }
            Err(SendFault::Kafka(error)) => error,
            Err(SendFault::Undelivered { code, .. }) => KafkaError::MessageProduction(code),
            Err(SendFault::Repartitioned) => KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition),
        };
        Err(producer.fault(&doing, &error).trouble)
    }

    /// In a topic that is gone nobody shows life any more: it looks as if the owner were silent, and not as if nobody could look.
    async fn look(&mut self) -> Result<Owner, Trouble> {
        let is_gone = self.watch.as_ref().is_some_and(|watch| watch.is_gone);
        let within = if is_gone { GONE_ANSWER_WITHIN } else { ANSWER_WITHIN };
        let deadline = Instant::now() + within.min(self.shared.settings.request_timeout);
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => {
                let reader = self.shared.cluster.reader(LANE..LANE + 1, Isolation::Uncommitted);
                let partition = Partitions::new(reader.map_err(|fault| fault.trouble)?, LANE..LANE + 1);
                none.insert(Watch { partition, seen: Seen::default(), is_gone: false })
            }
        };
        match watch.read_on(deadline).await {
            Ok(()) => {
                watch.is_gone = false;
                Ok(watch.seen.owner())
            }
            Err(error) if is_of_missing_topic(&error) => {
                watch.is_gone = true;
                Ok(watch.seen.owner())
            }
            Err(error) => {
                let doing = format!("looking who owns pipeline \"{}\"", self.shared.pipeline.name);
                Err(watch.partition.reader().fault(&doing, &error).trouble)
            }
        }
    }
}

async fn send(settings: &KafkaSettings, producer: &impl Producer, key: &[u8]) -> Result<(), SendFault> {
    let deadline = Instant::now() + ANSWER_WITHIN.min(settings.request_timeout);
    let topic = &settings.progress_topic;
    let sign = Outgoing { topic, partition: partition(), by_hand: true, key, value: None, headers: &[] };
    producer.send(sign, deadline).await?;
    producer.wait_delivered(deadline).await
}

fn partition() -> i32 {
    i32::try_from(LANE).unwrap_or_default()
}

impl<C: Cluster> Ownership for OwnerSession<C> {
    fn mark(&self) -> &str {
        &self.claim.owner
    }

    /// Whether others have the lanes is not looked at: the lanes find that.
    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.sign(ProgressRecord::Life(self.claim.clone())).await
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.look().await
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.sign(ProgressRecord::HandedOver(self.claim.clone())).await
    }
}

impl Idle for OwnerSession<Brokers> {
    fn idle(&self) {
        self.producer.iter().for_each(LaneProducer::poll);
    }
}

impl KafkaOwnership {
    pub(crate) fn start(session: OwnerSession<Brokers>) -> Result<Self, Trouble> {
        let name = format!("{}-owner", session.shared.pipeline.name);
        let mark = session.claim.owner.clone();
        Ok(Self { mark, thread: Thread::start(name, session)? })
    }
}

impl fmt::Debug for KafkaOwnership {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the settings, which know passwords.
        out.write_str("KafkaOwnership")
    }
}

impl Ownership for KafkaOwnership {
    fn mark(&self) -> &str {
        &self.mark
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.thread.run(|session| wait_for(session.show_life())).await?
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.thread.run(|session| wait_for(session.owner())).await?
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.thread.run(|session| wait_for(session.release())).await?
    }
}

impl<C: Cluster> DirectOwnership<C> {
    pub(crate) fn new(session: OwnerSession<C>) -> Self {
        Self(session)
    }
}

impl<C: Cluster> fmt::Debug for DirectOwnership<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DirectOwnership")
    }
}

impl<C: Cluster> Ownership for DirectOwnership<C> {
    fn mark(&self) -> &str {
        self.0.mark()
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.0.show_life().await
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.0.owner().await
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.0.release().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::SessionMark;

    fn seen(records: &[Option<ProgressRecord>]) -> Owner {
        let mut seen = Seen::default();
        for (offset, record) in (0..).zip(records) {
            seen.add(offset, record.clone());
        }
        seen.owner()
    }

    #[test]
    fn every_record_is_a_sign_of_life_and_handing_over_counts_for_ones_own_claim() {
        let life = |offset: u32, owner: &str| Owner::Somebody { mark: owner.into(), life: offset.to_string() };
        let of = |number: u64| ClaimMark { number, owner: format!("{number:x}") };
        let lives = |number| Some(ProgressRecord::Life(of(number)));
        let hands_over = |number| Some(ProgressRecord::HandedOver(of(number)));
        let claims = |number| {
            let ClaimMark { number: claim, owner } = of(number);
            Some(ProgressRecord::Session(SessionMark {
                pipeline: "orders".into(),
                claim,
                owner,
                epoch: 1,
                holds: None,
            }))
        };
        for (records, owner) in [
            (vec![lives(1)], life(0, "1")),
            (vec![lives(1), claims(1)], life(1, "1")),
            (vec![lives(1), hands_over(1)], Owner::Nobody),
            (vec![lives(1), lives(2), hands_over(1)], life(2, "2")),
            (vec![lives(1), hands_over(1), lives(2)], life(2, "2")),
            // Whoever claims owns it before it shows life.
            (vec![lives(1), hands_over(1), claims(2)], life(2, "2")),
            (vec![claims(2), hands_over(2), lives(1)], Owner::Nobody),
            // It is none of ours.
            (vec![lives(1), None], life(1, "1")),
        ] {
            assert_eq!(seen(&records), owner, "{records:?}");
        }
    }
}
