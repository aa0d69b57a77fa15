//! What only a real broker can say: which partition librdkafka chooses, and what counts against the largest message.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, util::Timeout};

use super::{Header, Message, owned_headers, partition_of};

/// Where the tests' broker is, unless `TAILWATER_TEST_KAFKA` names another.
const BROKER: &str = "127.0.0.1:29092";
const PATIENCE: Duration = Duration::from_secs(60);

/// Partition, or what the broker had against it, by the message's key.
#[derive(Default)]
struct Deliveries(Mutex<BTreeMap<Vec<u8>, Result<i32, RDKafkaErrorCode>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(message.partition())),
            Err((error, message)) => (message, Err(error.rdkafka_error_code().expect("a code"))),
        };
        let key = message.key().unwrap_or_default().to_vec();
        self.0.lock().expect("no thread panicked").insert(key, outcome);
    }
}

fn config() -> ClientConfig {
    let brokers = std::env::var("TAILWATER_TEST_KAFKA").unwrap_or_else(|_| BROKER.to_owned());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// Sends the messages to a topic that lives as long as the test, and tells what became of each.
async fn send(
    topic: &str,
    partitions: i32,
    message_bytes_max: usize,
    messages: &[Message<'static>],
) -> BTreeMap<Vec<u8>, Result<i32, RDKafkaErrorCode>> {
    let topic = format!("tailwater-{topic}-{}", std::process::id());
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let bytes_max = message_bytes_max.to_string();
    let wanted = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", &bytes_max);
    let options = AdminOptions::new().operation_timeout(Some(Timeout::After(PATIENCE)));
    let made = admin.create_topics([&wanted], &options).await.expect("the broker");
    assert_eq!(made, [Ok(topic.clone())]);
    let sent = tokio::task::spawn_blocking({
        let (topic, messages) = (topic.clone(), messages.to_vec());
        move || produce(&topic, &messages)
    })
    .await;
    admin.delete_topics(&[&topic], &options).await.expect("the broker");
    sent.expect("the producer's thread")
}

fn produce(topic: &str, messages: &[Message<'_>]) -> BTreeMap<Vec<u8>, Result<i32, RDKafkaErrorCode>> {
    let producer: BaseProducer<Deliveries> = config()
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("compression.codec", "none")
        // One message, one batch: what is measured is the message.
        .set("batch.num.messages", "1")
        .create_with_context(Deliveries::default())
        .expect("a producer");
    for message in messages {
        let record = BaseRecord::to(topic).key(message.key).headers(owned_headers(&message.headers));
        let record = match message.value {
            Some(value) => record.payload(value),
            None => record,
        };
        producer.send(record).map_err(|(error, _): (KafkaError, _)| error).expect("room in the queue");
    }
    producer.flush(PATIENCE).expect("answers for all");
    std::mem::take(&mut *producer.context().0.lock().expect("no thread panicked"))
}

/// What it is of lives until the tests end: a thread sends it.
fn message(key: Vec<u8>, value: usize) -> Message<'static> {
    let headers = vec![Header::new("__op", "c"), Header::new("__event_id", "é")];
    Message { key: key.leak(), value: Some(vec![b'x'; value].leak()), headers }
}

#[tokio::test]
async fn librdkafka_chooses_the_same_partitions() {
    let keys = (0..300_usize).map(|number| match number % 3 {
        0 => format!(r#"{{"Id":{number}}}"#),
        1 => format!(r#"{{"Fecha":"é漢😀{}"}}"#, "y".repeat(number)),
        _ => "z".repeat(number / 3 + 1),
    });
    let messages: Vec<_> = keys.map(|key| message(key.into_bytes(), 0)).collect();
    let delivered = send("partitions", 7, 1_000_000, &messages).await;
    let expected: BTreeMap<_, _> =
        messages.iter().map(|message| (message.key.to_vec(), Ok(partition_of(message.key, 7)))).collect();
    assert_eq!(expected.len(), messages.len());
    assert_eq!(delivered, expected);
    for partition in 0..7 {
        assert!(delivered.values().any(|outcome| *outcome == Ok(partition)), "none in {partition}");
    }
}

#[tokio::test]
async fn the_broker_takes_what_we_say_fits() {
    const MESSAGE_BYTES_MAX: usize = 5000;
    let around = message(b"fits".to_vec(), 0).bytes();
    // What we count too much is framing: more than that over the limit no broker takes.
    let framing = super::RECORD_BATCH_BYTES + super::RECORD_BYTES + 2 * super::HEADER_BYTES;
    let messages = [
        message(b"fits".to_vec(), MESSAGE_BYTES_MAX - around),
        message(b"over".to_vec(), MESSAGE_BYTES_MAX - around + framing),
    ];
    assert_eq!(messages[0].bytes(), MESSAGE_BYTES_MAX);
    let delivered = send("size", 1, MESSAGE_BYTES_MAX, &messages).await;
    assert_eq!(delivered.get(&b"fits"[..]), Some(&Ok(0)));
    assert_eq!(delivered.get(&b"over"[..]), Some(&Err(RDKafkaErrorCode::MessageSizeTooLarge)));
}
