//! The interleavings on the model, in virtual time.

use std::ops::AsyncFnOnce;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_simulation::kafka::{Faults, LandedRecord, ModelCluster, ModelProducer};
use tailwater_sink_kafka::{
    Batches, Cluster, KafkaSettings, MessageLimits, Outgoing, Producer, ProducerRole, SendFault,
};
use tokio::time::{Instant, sleep};

use super::{Answer, Client, Isolation, Refusal, Seen, Site, refusal};
use crate::in_paused_time;
use crate::kafka::settings;

/// How long one call to the cluster may take.
const WITHIN: Duration = Duration::from_secs(20);
/// What a request takes at most, and a marker.
const LATENCY_MAX: Duration = Duration::from_millis(5);
/// What clients are told that a topic takes.
const TOLD: MessageLimits = MessageLimits::same(1_000_000);

super::every_interleaving!(stand);

struct OnModel {
    cluster: ModelCluster,
    settings: KafkaSettings,
}

struct ModelClient(ModelProducer, KafkaSettings);

fn stand(test: impl AsyncFnOnce(&OnModel)) {
    in_paused_time(async {
        let settings = KafkaSettings { transaction_timeout: OnModel::TRANSACTION_TIMEOUT, ..settings("model") };
        let cluster = ModelCluster::new(1, &settings, 2);
        cluster.set_message_bytes_max(&settings.topic, OnModel::MESSAGE_BYTES_MAX);
        let latency = Duration::from_micros(100)..LATENCY_MAX;
        cluster.set_faults(Faults { latency: latency.clone(), markers_take: latency, ..Faults::default() });
        test(&OnModel { cluster, settings }).await;
    });
}

fn answer(sent: Result<(), SendFault>) -> Answer {
    sent.map_err(|fault| match fault {
        SendFault::Kafka(error) => refusal(&error),
        SendFault::Undelivered { code, .. } => refusal(&KafkaError::MessageProduction(code)),
        SendFault::Repartitioned => panic!("it went where it was meant to go"),
    })
}

async fn send(producer: &ModelProducer, topic: &str, partition: i32, value: &str) -> Answer {
    let deadline = Instant::now() + WITHIN;
    let value = Some(value.as_bytes());
    let message = Outgoing { topic, partition, by_hand: true, key: b"key", value, headers: &[] };
    answer(producer.send(message, deadline).await)?;
    answer(producer.wait_delivered(deadline).await)
}

impl Site for OnModel {
    type Client = ModelClient;

    const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
    const GIVEN_UP_WITHIN: Duration = LATENCY_MAX;
    const MESSAGE_BYTES_MAX: usize = 2_000;

    fn client(&self, id: &str) -> ModelClient {
        let role = ProducerRole::Transactional { id, limits: TOLD, batches: Batches::Full };
        ModelClient(self.cluster.producer(&role).expect("a producer"), self.settings.clone())
    }

    async fn write_plain(&self, partition: i32, value: &str) {
        let role = ProducerRole::Idempotent { limits: TOLD };
        let producer = self.cluster.producer(&role).expect("a producer");
        send(&producer, &self.settings.topic, partition, value).await.expect("delivered");
    }

    async fn seen(&self, isolation: Isolation) -> Vec<Seen> {
        // A reader comes as late as its answers do.
        sleep(LATENCY_MAX).await;
        let topic = &self.settings.topic;
        let seen = match isolation {
            Isolation::Committed => self.cluster.committed(topic),
            Isolation::Uncommitted => self.cluster.uncommitted(topic),
        };
        let seen = seen.into_iter().map(|LandedRecord { place, offset, record, .. }| {
            let value = record.value.clone().expect("no tombstones here");
            Seen { partition: place.partition, offset, value: String::from_utf8(value).expect("a text") }
        });
        seen.collect()
    }
}

impl Client for ModelClient {
    async fn init(&self) -> Answer {
        self.0.fence_others("a client", WITHIN).await.map_err(|error| refusal(&error))
    }

    async fn begin(&self) -> Answer {
        self.0.begin().await.map_err(|error| refusal(&error))
    }

    async fn send(&self, partition: i32, value: &str) -> Answer {
        send(&self.0, &self.1.topic, partition, value).await
    }

    async fn commit(&self) -> Answer {
        self.0.commit(Instant::now() + WITHIN).await.map_err(|error| refusal(&error))
    }

    async fn abort(&self) -> Answer {
        self.0.abort().await;
        // The sink does not ask how that went.
        match self.0.begin().await {
            Ok(()) => self.commit().await,
            Err(_) => Err(Refusal::Code(RDKafkaErrorCode::State)),
        }
    }
}
