//! Who owns a pipeline: shown, looked at and handed over in the first lane's partition of the progress topic.
//!
//! A sign is a record without a value and outside of any transaction. Its key says what it is and of which claim:
//! `["life",CLAIM,OWNER]` or `["handed_over",CLAIM,OWNER]`. A version that does not know it takes it for the tombstone of
//! somebody who tidied up. It is not fenced, and need not be: it gates nothing. Whoever looks reads uncommitted records, so a
//! transaction that was left open hides nothing, and takes every record of the partition for a sign of life.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Owner, Ownership, Trouble};
use tokio::time::Instant;

use crate::brokers::Brokers;
use crate::client_config::{Isolation, ProducerRole};
use crate::cluster::{Cluster, Outgoing, Producer, Read, Reader, SendFault, StoredRecord};
use crate::producer::LaneProducer;
use crate::session::Shared;
use crate::settings::KafkaSettings;
use crate::thread::{Idle, Thread, wait_for};

/// The lane in whose partition the signs are.
const LANE: u32 = 0;
/// The longest wait for one answer: less than the engine waits, so that no work is left behind.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// The largest sign; librdkafka wants to know.
const SIGN_BYTES_MAX: usize = 10_000;

/// The claim of a pipeline on Kafka, with clients of its own on a thread of its own.
pub struct KafkaOwnership(Thread<OwnerSession<Brokers>>);

/// The claim of a pipeline on a model of Kafka, without a thread.
pub struct DirectOwnership<C: Cluster>(OwnerSession<C>);

/// Shows and looks for one claim.
pub(crate) struct OwnerSession<C: Cluster> {
    shared: Arc<Shared<C>>,
    claim: u64,
    owner: String,
    /// Made when it is first needed, and anew after any fault.
    producer: Option<C::Producer>,
    watch: Option<Watch<C::Reader>>,
}

/// A reader of the signs, and what it has seen.
struct Watch<R> {
    reader: R,
    seen: Seen,
}

/// What the signs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Of the last record.
    offset: i64,
    /// The newest claim that showed life, and the newest that handed over.
    life: u64,
    handed_over: Option<u64>,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Life(u64),
    HandedOver(u64),
    /// Somebody has written.
    Other,
}

impl Sign {
    fn of(record: &StoredRecord<'_>) -> Self {
        let parts = serde_json::from_slice::<[String; 3]>(record.key).ok().filter(|_| record.value.is_none());
        let Some([kind, claim, _owner]) = parts else { return Self::Other };
        match (kind.as_str(), claim.parse()) {
            ("life", Ok(claim)) => Self::Life(claim),
            ("handed_over", Ok(claim)) => Self::HandedOver(claim),
            _ => Self::Other,
        }
    }
}

impl Seen {
    fn add(&mut self, offset: i64, sign: Sign) {
        self.offset = offset;
        match sign {
            Sign::Life(claim) => self.life = self.life.max(claim),
            Sign::HandedOver(claim) => self.handed_over = self.handed_over.max(Some(claim)),
            Sign::Other => {}
        }
    }

    /// A claim that handed over owns nothing any more, unless a newer one has come.
    fn owner(self) -> Owner {
        match self.handed_over {
            Some(claim) if claim >= self.life => Owner::Nobody,
            _ => Owner::Somebody { life: self.offset.to_string() },
        }
    }
}

impl<C: Cluster> OwnerSession<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>, claim: u64, owner: String) -> Self {
        Self { shared, claim, owner, producer: None, watch: None }
    }

    async fn sign(&mut self, kind: &str) -> Result<(), Trouble> {
        let doing = format!("showing who owns pipeline \"{}\"", self.shared.pipeline.name);
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let role = ProducerRole::Signs { message_bytes_max: SIGN_BYTES_MAX };
                self.shared.cluster.producer(&role).map_err(|fault| fault.trouble)?
            }
        };
        // Texts have no way to fail.
        let key =
            serde_json::to_string(&[kind, self.claim.to_string().as_str(), self.owner.as_str()]).unwrap_or_default();
        match send(&self.shared.settings, &producer, key.as_bytes()).await {
            Ok(()) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(SendFault::Kafka(error)) => Err(producer.fault(&doing, &error).trouble),
            Err(SendFault::Repartitioned) => Err(producer.fault(&doing, &unknown_partition()).trouble),
        }
    }

    async fn look(&mut self) -> Result<Owner, Trouble> {
        let doing = format!("looking who owns pipeline \"{}\"", self.shared.pipeline.name);
        let deadline = Instant::now() + ANSWER_WITHIN.min(self.shared.settings.request_timeout);
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => {
                let reader = self.shared.cluster.reader(LANE..LANE + 1, Isolation::Uncommitted);
                none.insert(Watch { reader: reader.map_err(|fault| fault.trouble)?, seen: Seen::default() })
            }
        };
        // Only a broker that says that there is no more has shown that nothing was written.
        let mut last = watch.reader.tell_ends_again().err();
        while Instant::now() < deadline {
            match watch.reader.next(deadline, |record| (record.offset, Sign::of(&record))).await {
                Ok(Read::Nothing) => {}
                Ok(Read::Record((offset, sign))) => watch.seen.add(offset, sign),
                Ok(Read::End(_)) => return Ok(watch.seen.owner()),
                // What heals by itself is waited for until the deadline.
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        Err(watch.reader.fault(&doing, &error).trouble)
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

fn unknown_partition() -> KafkaError {
    KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition)
}

impl<C: Cluster> Ownership for OwnerSession<C> {
    /// Whether others have the lanes is not looked at: the lanes find that.
    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.sign("life").await
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.look().await
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.sign("handed_over").await
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
        Thread::start(name, session).map(Self)
    }
}

impl fmt::Debug for KafkaOwnership {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the settings, which know passwords.
        out.write_str("KafkaOwnership")
    }
}

impl Ownership for KafkaOwnership {
    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.0.run(|session| wait_for(session.show_life())).await?
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        self.0.run(|session| wait_for(session.owner())).await?
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        self.0.run(|session| wait_for(session.release())).await?
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

    fn seen(signs: &[(&str, bool)]) -> Owner {
        let mut seen = Seen::default();
        for (offset, (key, has_value)) in (0..).zip(signs) {
            let value = has_value.then_some(b"{}".as_slice());
            let record = StoredRecord { partition: 0, offset, at_ms: 0, key: key.as_bytes(), value };
            seen.add(offset, Sign::of(&record));
        }
        seen.owner()
    }

    #[test]
    fn every_record_is_a_sign_of_life_and_handing_over_counts_for_ones_own_claim() {
        let life = |offset: u32| Owner::Somebody { life: offset.to_string() };
        let (first, second) = (r#"["life","1","a"]"#, r#"["life","2","b"]"#);
        let (handed_over, late) = (r#"["handed_over","2","b"]"#, r#"["handed_over","1","a"]"#);
        let other = r#"["session"]"#;
        for (signs, owner) in [
            (vec![(first, false)], life(0)),
            (vec![(first, false), (other, true)], life(1)),
            (vec![(first, false), (late, false)], Owner::Nobody),
            (vec![(first, false), (second, false), (late, false)], life(2)),
            (vec![(first, false), (late, false), (second, false)], life(2)),
            (vec![(second, false), (handed_over, false), (first, false)], Owner::Nobody),
            // It is none of ours.
            (vec![(first, false), (late, true)], life(1)),
        ] {
            assert_eq!(seen(&signs), owner, "{signs:?}");
        }
    }
}
