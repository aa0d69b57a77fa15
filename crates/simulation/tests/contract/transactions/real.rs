//! The interleavings on a real Apache Kafka, each with a topic of its own.

use std::ops::AsyncFnOnce;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::{Answer, Client, Isolation, Seen, Site, refusal};
use crate::in_real_time;
use crate::kafka::{self, brokers, unique_name};

/// How long one call to the cluster may take.
const WITHIN: Duration = Duration::from_secs(20);

super::every_interleaving!(stand);

struct OnKafka {
    topic: String,
}

fn stand(test: impl AsyncFnOnce(&OnKafka)) {
    let topic = unique_name();
    in_real_time(async {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("an admin client");
        let bytes_max = OnKafka::MESSAGE_BYTES_MAX.to_string();
        let new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1)).set("max.message.bytes", &bytes_max);
        admin.create_topics(&[new], &AdminOptions::new()).await.expect("asked").remove(0).expect("made");
        test(&OnKafka { topic }).await;
    });
}

/// Remembers the newest delivery that failed, by the number of its message: what became of messages that an abort threw
/// away is told late, and is not about the message that was sent since.
#[derive(Default)]
struct Deliveries(Mutex<Option<(usize, KafkaError)>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, message: usize) {
        if let Err((error, _)) = delivered {
            *self.0.lock().expect("no panic") = Some((message, error.clone()));
        }
    }
}

struct KafkaClient {
    producer: BaseProducer<Deliveries>,
    topic: String,
    sent: AtomicUsize,
}

impl KafkaClient {
    fn new(site: &OnKafka, id: Option<&str>) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers());
        if let Some(id) = id {
            config
                .set("transactional.id", format!("{}-{id}", site.topic))
                .set("transaction.timeout.ms", OnKafka::TRANSACTION_TIMEOUT.as_millis().to_string());
        }
        let producer = config.create_with_context(Deliveries::default()).expect("a producer");
        Self { producer, topic: site.topic.clone(), sent: AtomicUsize::new(0) }
    }
}

fn answer(done: Result<(), KafkaError>) -> Answer {
    done.map_err(|error| refusal(&error))
}

impl Site for OnKafka {
    type Client = KafkaClient;

    // The broker looks for such every ten seconds (`transaction.abort.timed.out.transaction.cleanup.interval.ms`).
    const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
    const GIVEN_UP_WITHIN: Duration = Duration::from_secs(12);
    const MESSAGE_BYTES_MAX: usize = 2_000;

    fn client(&self, id: &str) -> KafkaClient {
        KafkaClient::new(self, Some(id))
    }

    async fn write_plain(&self, partition: i32, value: &str) {
        KafkaClient::new(self, None).send(partition, value).await.expect("delivered");
    }

    async fn seen(&self, isolation: Isolation) -> Vec<Seen> {
        // The answer to a commit comes before the markers are everywhere.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let mut seen: Vec<_> = kafka::read(&self.topic, isolation)
            .into_iter()
            .map(|seen| Seen {
                partition: seen.partition,
                offset: seen.offset,
                value: seen.value.expect("no tombstones here"),
            })
            .collect();
        seen.sort_by_key(|seen| (seen.partition, seen.offset));
        seen
    }
}

impl Client for KafkaClient {
    async fn init(&self) -> Answer {
        answer(self.producer.init_transactions(WITHIN))
    }

    async fn begin(&self) -> Answer {
        answer(self.producer.begin_transaction())
    }

    async fn send(&self, partition: i32, value: &str) -> Answer {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let record = BaseRecord::with_opaque_to(&self.topic, number).partition(partition).key("key").payload(value);
        answer(self.producer.send(record).map_err(|(error, _)| error))?;
        answer(self.producer.flush(WITHIN))?;
        match self.producer.context().0.lock().expect("no panic").take() {
            Some((message, error)) if message == number => Err(refusal(&error)),
            _ => Ok(()),
        }
    }

    async fn commit(&self) -> Answer {
        answer(self.producer.commit_transaction(WITHIN))
    }

    async fn abort(&self) -> Answer {
        answer(self.producer.abort_transaction(WITHIN))
    }
}
