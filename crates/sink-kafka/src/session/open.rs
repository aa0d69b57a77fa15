//! Opening a lane: first Kafka fences every earlier producer of the lane and ends what it left open, then the progress is
//! read to its end. So the answer is the truth, whatever became of the last commit (I7).

use rdkafka::error::KafkaError;
use tailwater_model::{Progress, Trouble, TroubleKind};
use tokio::time::Instant;

use super::{LaneSession, Opened, OpenedTimes, is_newer};
use crate::client_config::{Batches, ProducerRole, answer_within};
use crate::cluster::{Cluster, Outgoing, Producer, SendFault};
use crate::fault::{Fault, Remedy};
use crate::progress::{LaneProgress, ProgressRecord, SessionMark, Until};
use crate::settings::{DeliveryPromise, OnRepartition};
use crate::topics::TopicFacts;

/// By what right a lane is opened.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// It is taken from whoever has it.
    New {
        owner: String,
        /// The greatest claim that any lane tells of.
        newest: u64,
    },
    /// It was taken by this claim, and may have been taken by a newer one since.
    Made { number: u64, owner: String },
}

impl<C: Cluster> LaneSession<C> {
    /// Opens the lane. Answers with the number of the claim and what is durable.
    pub(crate) async fn open(&mut self, facts: TopicFacts, claim: &Claim) -> Result<(u64, Progress), Fault> {
        // Producers of a failed commit first: after an error of unknown outcome nothing may be sent through them.
        self.opened = None;
        let opened = self.fence_and_read(facts, claim).await;
        if opened.as_ref().is_err_and(|fault| fault.remedy != Remedy::Fenced) {
            self.fences.clear();
        }
        opened
    }

    async fn fence_and_read(&mut self, facts: TopicFacts, claim: &Claim) -> Result<(u64, Progress), Fault> {
        let mut reader = self.reader()?;
        if let Claim::Made { number, owner } = claim {
            // Before fencing: whoever was replaced must not disturb the new owner.
            self.look(&mut reader, *number, owner).await?;
        }
        let facts = TopicFacts { limits: facts.limits.min(&self.failures.limits()), ..facts };
        let batches = self.failures.batches();
        let transactional = self.transactional_producer(&facts, batches)?;
        let name = self.doing("opening");
        let fenced = transactional.fence_others(&name, self.wait_max()).await;
        fenced.map_err(|error| transactional.fault(&name, &error))?;
        // Before anything is decided: brokers may show less than there is, for a moment (`Reader::end`). The log up to our own
        // record is the whole truth, for nobody else can write to it any more.
        let barrier = self.next_barrier(claim);
        self.store(&transactional, &[ProgressRecord::Barrier(barrier.clone())]).await?;
        let before =
            reader.read(&Until::Barrier(&barrier), self.wait_max()).await?.first().cloned().unwrap_or_default();
        let (mark, records) = self.session_of(&before, &facts, claim)?;
        self.store(&transactional, &records).await?;
        reader.read(&Until::Session(&mark), self.wait_max()).await?;
        let progress = reader.into_lane()?;
        let stream = &self.shared.pipeline.stream;
        let known = self.shared.note_stream(progress.stream_facts(&stream.stream_arn));
        let told = progress.progress(stream, known);
        self.shared.dead_letters().read(self.lane, progress.dead_letters.clone());
        self.shared.opened().insert(self.lane);
        let plain = self.plain_producer(&facts)?;
        let number = mark.claim;
        self.last_epoch = Some(mark.epoch);
        let now = Instant::now();
        let times = OpenedTimes { opened: now, begun: now, told: now };
        self.opened = Some(Opened { transactional, plain, mark, progress, facts, batches, times });
        Ok((number, told))
    }

    /// What an opening stores, if the lane is ours to open: the session with what it is bound to.
    fn session_of(
        &self,
        before: &LaneProgress,
        facts: &TopicFacts,
        claim: &Claim,
    ) -> Result<(SessionMark, Vec<ProgressRecord>), Fault> {
        let mark = self.next_mark(before, claim)?;
        let topic = self.topic_record(before, facts)?;
        let lifted = self.shared.check_brake(before)?.then_some(ProgressRecord::BrakeGone);
        let bound = self.binding_records(claim, before);
        let mut records: Vec<_> = topic.into_iter().chain(lifted).chain(bound).collect();
        let mark = SessionMark { holds: Some(self.holds(before.held_with(&records))), ..mark };
        records.push(ProgressRecord::Session(mark.clone()));
        Ok((mark, records))
    }

    /// A mark that nobody else writes to the lane's partition.
    fn next_barrier(&mut self, claim: &Claim) -> String {
        let (Claim::New { owner, .. } | Claim::Made { owner, .. }) = claim;
        self.openings += 1;
        format!("{owner}-{}", self.openings)
    }

    fn transactional_producer(&self, facts: &TopicFacts, batches: Batches) -> Result<C::Producer, Fault> {
        let id = format!("{}-{}", self.shared.pipeline.name, self.lane);
        self.shared.cluster.producer(&ProducerRole::Transactional { id: &id, limits: facts.limits, batches })
    }

    fn plain_producer(&self, facts: &TopicFacts) -> Result<Option<C::Producer>, Fault> {
        match self.shared.settings.delivery {
            DeliveryPromise::ExactlyOnce => Ok(None),
            DeliveryPromise::AtLeastOnce => {
                self.shared.cluster.producer(&ProducerRole::Idempotent { limits: facts.limits }).map(Some)
            }
        }
    }

    /// The mark of this opening, if the lane is ours to open.
    fn next_mark(&self, before: &LaneProgress, claim: &Claim) -> Result<SessionMark, Fault> {
        self.shared.check_pipeline(before)?;
        let newest = before.session.as_ref().map(|session| &session.fact);
        let epoch = newest.map_or(0, |newest| newest.epoch);
        if self.last_epoch.is_some_and(|last| epoch < last) {
            return Err(self.shared.progress_gone(self.partition()).into());
        }
        let (claim, owner) = match claim {
            Claim::New { owner, newest: of_others } => {
                (newest.map_or(0, |newest| newest.claim).max(*of_others) + 1, owner)
            }
            Claim::Made { number, owner } if newest.is_some_and(|newest| is_newer(newest, *number, owner)) => {
                return Err(self.taken_over());
            }
            // What was lost before this claim was judged by it.
            Claim::Made { number, .. } if newest.is_some_and(|newest| newest.claim == *number) && before.has_lost() => {
                return Err(self.shared.progress_gone(self.partition()).into());
            }
            Claim::Made { number, owner } => (*number, owner),
        };
        let pipeline = self.shared.pipeline.name.clone();
        Ok(SessionMark { pipeline, claim, owner: owner.clone(), epoch: epoch + 1, holds: None })
    }

    /// The record of the topic's partitions, where it is new. Another number than the one that was written down means
    /// that keys are in other partitions than before.
    fn topic_record(&self, before: &LaneProgress, facts: &TopicFacts) -> Result<Option<ProgressRecord>, Fault> {
        let settings = &self.shared.settings;
        let (topic, now) = (&settings.topic, facts.data_partitions);
        let record = ProgressRecord::Topic { name: topic.clone(), partitions: now };
        match (before.partitions_of(topic), settings.on_repartition) {
            (Some(stored), _) if stored == now => Ok(None),
            (Some(stored), OnRepartition::Stop) => Err(repartitioned(topic, Some(stored), Some(now)).into()),
            (Some(stored), OnRepartition::Continue) => {
                tracing::warn!(
                    topic,
                    stored,
                    now,
                    "the number of partitions has changed: going on, as on_repartition says"
                );
                Ok(Some(record))
            }
            (None, _) => Ok(Some(record)),
        }
    }

    /// Stores records in a transaction of their own.
    pub(super) async fn store(&self, producer: &C::Producer, records: &[ProgressRecord]) -> Result<(), Fault> {
        let known = self.shared.reached();
        let deadline = Instant::now() + self.shared.settings.transaction_timeout;
        let sent = async {
            producer.begin().await?;
            self.send_records(producer, records, deadline).await?;
            producer.wait_delivered(deadline).await
        };
        let sent: Result<(), SendFault> = sent.await;
        sent.map_err(|fault| self.send_fault(producer, fault))?;
        if let Err(lost) = self.shared.hold_acknowledged(&known, &producer.acknowledged()) {
            producer.abort().await;
            return Err(lost.into());
        }
        let ended = producer.commit(self.end_deadline(deadline)).await;
        ended.map_err(|error| self.send_fault(producer, error.into()))
    }

    /// Until when the end of a transaction may be waited for: no longer than for one answer. librdkafka would ask again by
    /// itself, and the first request, which names no transaction, could arrive late and end the next one, half written as
    /// it is (KIP-890, "Motivation"; librdkafka speaks `EndTxn` up to version 1). Without an answer the fate is unknown,
    /// and a new producer, with a new epoch, shuts out whatever comes late.
    pub(super) fn end_deadline(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + answer_within(&self.shared.settings))
    }

    pub(super) async fn send_records(
        &self,
        producer: &C::Producer,
        records: &[ProgressRecord],
        deadline: Instant,
    ) -> Result<(), SendFault> {
        for record in records {
            let (key, value) = record.encode();
            let message = Outgoing {
                topic: &self.shared.settings.progress_topic,
                partition: self.partition(),
                by_hand: true,
                key: key.as_bytes(),
                value: value.as_deref().map(str::as_bytes),
                headers: &[],
            };
            producer.send(message, deadline).await?;
        }
        Ok(())
    }

    pub(super) fn send_fault(&self, producer: &C::Producer, fault: SendFault) -> Fault {
        match (fault, self.shared.settings.on_repartition) {
            (SendFault::Kafka(error), _) => producer.fault(&self.doing("writing to"), &error),
            (SendFault::Undelivered { code, .. }, _) => {
                let fault = producer.fault(&self.doing("writing to"), &KafkaError::MessageProduction(code));
                Fault::of_delivery(code, fault)
            }
            (SendFault::Repartitioned, OnRepartition::Stop) => {
                repartitioned(&self.shared.settings.topic, None, None).into()
            }
            // Opening reads the new number.
            (SendFault::Repartitioned, OnRepartition::Continue) => {
                Fault::reopen(repartitioned(&self.shared.settings.topic, None, None))
            }
        }
    }
}

/// What is told when the number of partitions is not the one that was written down.
fn repartitioned(topic: &str, before: Option<i32>, now: Option<i32>) -> Trouble {
    let told = |count: Option<i32>| count.map_or("another number of".to_owned(), |count| count.to_string());
    Trouble::new(
        TroubleKind::Environment,
        "sink.kafka.repartitioned",
        format!(
            "topic {topic} has {} partitions and had {}: messages of one key would be in two partitions, and their order \
             would be lost",
            told(now),
            told(before)
        ),
    )
    .advise(
        "let consumers read what is there to its end, then set on_repartition = \"continue\" in [sink.kafka] to go on \
         with the new number; or write to a new topic",
    )
}
