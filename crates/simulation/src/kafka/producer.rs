//! A producer as librdkafka makes it: a queue of messages, retries that the caller does not see, a transaction that has to
//! be given up after a failed delivery, and states that nothing heals.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_sink_kafka::{
    Acknowledged, Batches, Fault, MessageLimits, Outgoing, Producer, ProducerRole, SendFault, partition_of,
};
use tokio::time::{Instant, sleep_until};

use super::broker::{Broker, Credential, Place, Sent};
use super::client::{Client, Queued, Work, is_passing};
use super::cluster::{ModelCluster, NAME, RETRY_PAUSE, Request};
use super::log::Record;

/// Messages that a producer holds before whoever sends has to wait.
const QUEUE_MESSAGES_MAX: usize = 1_000;
/// Messages of one produce request at most; how many there are is left to chance.
const REQUEST_MESSAGES_MAX: usize = 50;
/// How long giving a transaction up may take.
const ABORT_WITHIN: Duration = Duration::from_secs(5);
/// What a message needs beside key, value and headers, and each header beside its name and value (Kafka's protocol,
/// "Record Batch" and "Record"; librdkafka reckons with the most that they can take).
const MESSAGE_BYTES: usize = 61 + 36;
const HEADER_BYTES: usize = 10;

/// A producer. It fences nobody before it is asked to. Dropping it closes the client.
pub struct ModelProducer {
    cluster: ModelCluster,
    id: Option<String>,
    limits: MessageLimits,
    batches: Batches,
    client: Mutex<Client>,
}

impl ModelProducer {
    pub(crate) fn new(cluster: ModelCluster, role: &ProducerRole<'_>) -> Self {
        let mut client = Client::default();
        let (id, limits, batches) = match role {
            ProducerRole::Transactional { id, limits, batches } => (Some((*id).to_owned()), *limits, *batches),
            // A sign that comes twice says the same.
            ProducerRole::Idempotent { limits } | ProducerRole::Signs { limits } => {
                client.granted = Some((cluster.broker().new_producer(), 0));
                (None, *limits, Batches::Full)
            }
        };
        Self { cluster, id, limits, batches, client: Mutex::new(client) }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the broker is shown.
    fn credential(&self) -> Result<Credential, RDKafkaErrorCode> {
        let (producer, epoch) = self.client().granted.ok_or(RDKafkaErrorCode::State)?;
        Ok(Credential { transactional_id: self.id.clone(), producer, epoch })
    }

    async fn coordinate<T: Send + 'static>(
        &self,
        request: Request,
        until: Instant,
        serve: impl FnOnce(&mut Broker) -> Result<T, RDKafkaErrorCode> + Send + 'static,
    ) -> Option<Result<T, RDKafkaErrorCode>> {
        self.cluster
            .ask(request, until, move |broker| {
                if broker.chance.bites("coordinator_moved", |faults| faults.coordinator_moved) {
                    return Err(RDKafkaErrorCode::NotCoordinator);
                }
                serve(broker)
            })
            .await
    }

    /// Takes the next step towards having everything delivered.
    async fn deliver(&self, deadline: Instant) {
        let Ok(credential) = self.credential() else { return };
        let (pick, request_max) = {
            let rng = &mut self.cluster.broker().chance.rng;
            (rng.usize(..), rng.usize(1..=REQUEST_MESSAGES_MAX))
        };
        let messages_max = if self.batches == Batches::OfOne { 1 } else { request_max };
        let request_max = (messages_max, self.limits.batch_bytes_max());
        let Some(work) = self.client().work(pick, request_max, self.id.is_some()) else { return };
        let (answer, of) = match work {
            Work::Register(places) => {
                let added = places.clone();
                let adding = move |broker: &mut Broker| broker.add_partitions(&credential, &places);
                let answer = self.coordinate(Request::Coordinator, deadline, adding).await;
                if answer == Some(Ok(())) {
                    self.client().registered.extend(added);
                }
                (answer, None)
            }
            Work::Produce(batch) => {
                let sent = batch.clone();
                let breaks = self.cluster.broker().chance.bites("fatal", |faults| faults.fatal);
                let producing = move |broker: &mut Broker| broker.produce(&credential, &batch);
                let answer = self.cluster.ask(Request::Produce, deadline, producing).await;
                let mut client = self.client();
                if breaks {
                    client.fatal = Some(RDKafkaErrorCode::Fatal);
                }
                let first = client.first_of(&sent);
                if let Some(Ok(offsets)) = &answer {
                    client.delivered(&sent, offsets);
                }
                (answer.map(|answer| answer.map(drop)), first)
            }
        };
        let is_to_wait = self.client().learn(answer, of, self.id.is_some());
        if is_to_wait {
            sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
        }
    }

    fn place_of(&self, message: &Outgoing<'_>) -> Result<(Place, bool), RDKafkaErrorCode> {
        let broker = self.cluster.broker();
        let (name, partitions) = match broker.topics.get_key_value(message.topic) {
            Some((name, topic)) => (Arc::clone(name), i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)),
            // Taken until the client knows that there is no such topic.
            None => (message.topic.into(), i32::MAX),
        };
        let partition = if message.by_hand || partitions == i32::MAX {
            message.partition
        } else {
            partition_of(message.key, partitions)
        };
        if partition >= partitions {
            return Err(RDKafkaErrorCode::UnknownPartition);
        }
        Ok((Place { topic: name, partition }, partition != message.partition))
    }

    /// Asks for the end of the transaction until there is an answer.
    async fn end(&self, commits: bool, deadline: Instant) -> Result<(), RDKafkaErrorCode> {
        let credential = self.credential()?;
        loop {
            let credential = credential.clone();
            let ending = move |broker: &mut Broker| broker.end(&credential, commits);
            match self.coordinate(Request::End, deadline, ending).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(code)) if !is_passing(code) => return Err(code),
                Some(Err(_)) | None => {}
            }
            if Instant::now() >= deadline {
                return Err(RDKafkaErrorCode::OperationTimedOut);
            }
            // librdkafka asks again by itself, and it cannot be told not to.
            sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
        }
    }

    /// The broker's numbers begin anew after messages that it may not have (KIP-360).
    async fn bump(&self, deadline: Instant) -> Result<(), RDKafkaErrorCode> {
        let credential = self.credential()?;
        while Instant::now() < deadline {
            let credential = credential.clone();
            let bumping = move |broker: &mut Broker| broker.bump(&credential);
            match self.coordinate(Request::Coordinator, deadline, bumping).await {
                Some(Ok(epoch)) => {
                    let mut client = self.client();
                    client.granted = client.granted.map(|(producer, _)| (producer, epoch));
                    client.sequences.clear();
                    client.lost_sequence = false;
                    return Ok(());
                }
                Some(Err(code)) if !is_passing(code) => return Err(code),
                Some(Err(_)) | None => sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await,
            }
        }
        Err(RDKafkaErrorCode::OperationTimedOut)
    }
}

impl Producer for ModelProducer {
    async fn fence_others(&self, _lane: &str, within: Duration) -> Result<(), KafkaError> {
        let Some(id) = self.id.clone() else { return Err(KafkaError::Global(RDKafkaErrorCode::NotConfigured)) };
        let (deadline, timeout) = (Instant::now() + within, self.cluster.client.transaction_timeout);
        loop {
            let id = id.clone();
            let last =
                match self.coordinate(Request::Coordinator, deadline, move |broker| broker.init(&id, timeout)).await {
                    Some(Ok(granted)) => {
                        self.client().granted = Some(granted);
                        return Ok(());
                    }
                    Some(Err(code)) if is_passing(code) => code,
                    Some(Err(code)) => return Err(KafkaError::Global(code)),
                    None => RDKafkaErrorCode::OperationTimedOut,
                };
            sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
            if Instant::now() >= deadline {
                return Err(KafkaError::Global(last));
            }
        }
    }

    async fn begin(&self) -> Result<(), KafkaError> {
        let mut client = self.client();
        client.check()?;
        if client.granted.is_none() || client.is_in_transaction {
            return Err(KafkaError::Global(RDKafkaErrorCode::State));
        }
        client.is_in_transaction = true;
        Ok(())
    }

    async fn send(&self, message: Outgoing<'_>, deadline: Instant) -> Result<(), SendFault> {
        let not_taken = |code| Err::<(), _>(SendFault::from(KafkaError::MessageProduction(code)));
        while self.client().queue.len() >= QUEUE_MESSAGES_MAX && Instant::now() < deadline {
            self.deliver(deadline).await;
        }
        let (place, has_strayed) = self.place_of(&message).map_err(KafkaError::MessageProduction)?;
        let headers: Vec<_> =
            message.headers.iter().map(|header| (header.name.to_owned(), header.value.as_bytes().to_vec())).collect();
        let header_bytes: usize = headers.iter().map(|(name, value)| HEADER_BYTES + name.len() + value.len()).sum();
        let bytes = MESSAGE_BYTES + message.key.len() + message.value.map_or(0, <[u8]>::len) + header_bytes;
        let record = Record { key: message.key.to_vec(), value: message.value.map(<[u8]>::to_vec), headers };
        // A message is given up before its transaction is.
        let expires = Instant::now() + self.cluster.client.transaction_timeout / 10 * 9;
        let mut client = self.client();
        if client.fatal.is_some() {
            return not_taken(RDKafkaErrorCode::Fatal);
        }
        if self.id.is_some() {
            // A transaction takes nothing more after a delivery that failed.
            client.check_delivered()?;
            if !client.is_in_transaction {
                return not_taken(RDKafkaErrorCode::State);
            }
        }
        if bytes > self.limits.message_bytes_max() {
            return not_taken(RDKafkaErrorCode::MessageSizeTooLarge);
        }
        if client.queue.len() >= QUEUE_MESSAGES_MAX {
            return not_taken(RDKafkaErrorCode::QueueFull);
        }
        let next = client.sequences.entry(place.clone()).or_default();
        let sequence = *next;
        *next += 1;
        let sent = Sent { place, sequence, bytes, record: Arc::new(record) };
        let number = client.taken;
        client.taken += 1;
        client.queue.push_back(Queued { sent, number, expires, has_strayed });
        Ok(())
    }

    async fn wait_delivered(&self, deadline: Instant) -> Result<(), SendFault> {
        loop {
            {
                let mut client = self.client();
                client.give_up_expired(Instant::now());
                client.check_delivered()?;
                if client.has_strayed {
                    return Err(SendFault::Repartitioned);
                }
                if client.queue.is_empty() {
                    client.taken = 0;
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut).into());
            }
            self.deliver(deadline).await;
        }
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        let acknowledged = std::mem::take(&mut self.client().acknowledged);
        let told = |(Place { topic, partition }, (first, last))| Acknowledged { topic, partition, first, last };
        acknowledged.into_iter().map(told).collect()
    }

    async fn commit(&self, deadline: Instant) -> Result<(), KafkaError> {
        self.client().check()?;
        if !self.client().is_in_transaction {
            return Err(KafkaError::Global(RDKafkaErrorCode::State));
        }
        // It waits for deliveries first, and does not look where they went.
        match self.wait_delivered(deadline).await {
            Ok(()) | Err(SendFault::Repartitioned) => {}
            Err(SendFault::Kafka(error)) => return Err(error),
            Err(SendFault::Undelivered { code, .. }) => return Err(KafkaError::MessageProduction(code)),
        }
        // A transaction without a message is known to nobody else.
        let is_known = !self.client().registered.is_empty();
        if is_known && let Err(code) = self.end(true, deadline).await {
            return Err(KafkaError::Global(self.client().end_refused(code)));
        }
        self.client().ended();
        Ok(())
    }

    async fn abort(&self) {
        let deadline = Instant::now() + ABORT_WITHIN;
        let is_known = {
            let mut client = self.client();
            // librdkafka 2.12 forgets that the number of a message that was too large is lost, and learns it by the next one.
            let forgets = client.failed.map(|(code, _)| code) == Some(RDKafkaErrorCode::MessageSizeTooLarge);
            client.lost_sequence |= !forgets && (!client.queue.is_empty() || client.failed.is_some());
            client.queue.clear();
            if client.fatal.is_some() || !client.is_in_transaction {
                return;
            }
            !client.registered.is_empty()
        };
        if is_known && let Err(code) = self.end(false, deadline).await {
            self.client().end_refused(code);
            return;
        }
        if self.client().lost_sequence
            && let Err(code) = self.bump(deadline).await
        {
            self.client().refused(code);
            return;
        }
        self.client().ended();
    }

    /// After a fatal error every call and every delivery fails, mostly by another name: then the fatal one is meant.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let client = self.client();
        let by_another_name = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::State));
        let failed = client.failed.map(|(code, _)| code).filter(|_| by_another_name);
        let meant = client.fatal.or(failed).map(KafkaError::Global);
        Fault::of(doing, NAME, meant.as_ref().unwrap_or(error), None)
    }
}
