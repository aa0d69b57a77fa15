//! The ground of Kafka: the sink that ships over the model of a cluster, exactly once, and what becomes durable read from
//! the topics without the sink's code.

mod removals;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use rdkafka::error::RDKafkaErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tailwater_model::{KeyAttribute, KeyKind, KeySchema, PipelineIdentity, Position, ViewType};
use tailwater_sink_kafka::{
    ChangeHeader, Deletes, DeliveryPromise, DirectLane, DirectOwnership, Format, KafkaSettings, OnRepartition, claim_on,
};

use removals::Removals;

use super::ground::{ClaimResult, Durable, Ground, Held, LandedChange, Landing, Loss, SharedWitness, SinkFaults, lock};
use crate::kafka::{Faults, Landed, LandedRecord, ModelCluster, Record};

const TOPIC: &str = "orders";
const DEAD_LETTER_TOPIC: &str = "orders-dead-letters";
const PROGRESS_TOPIC: &str = "orders-progress";
/// What the topics take in one message while items are to be refused: less than such an item has, and more than the smallest
/// part of a dead letter with its headers.
const REFUSING_BYTES: usize = 2_200;
/// What they take otherwise.
const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// More than any world has.
const DEAD_LETTERS_PER_MINUTE_MAX: u32 = 1_000_000;
/// What every request takes, there and back each; and a marker.
const LATENCY: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(10);

/// How late a request can be.
const LATE_MIN: Duration = Duration::from_millis(10);
const LATE_MAX: Duration = Duration::from_secs(40);
/// So soon a lane opens again and commits, mostly.
const COMES_AGAIN_WITHIN: Duration = Duration::from_secs(3);

/// The faults of the model that each fault class of a world turns.
const PARTS: [(&str, &[&str]); 6] = [
    (
        "unreachable",
        &[
            "outage",
            "metadata_lost",
            "not_enough_replicas",
            "coordinator_moved",
            "fetch_failed",
            "stale_end",
            "deposed",
            "repartitioned",
        ],
    ),
    ("slow", &["slow"]),
    ("hang", &["hang"]),
    ("reply_lost", &["end_answer_lost", "answer_lost"]),
    ("not_applied", &["end_lost", "delivery_refused", "fatal"]),
    ("applied_later", &["end_late", "markers_late", "late"]),
];

/// A cluster with the topics of one pipeline.
#[derive(Clone)]
pub struct KafkaGround {
    cluster: ModelCluster,
    settings: KafkaSettings,
    refusal: Refusal,
    book: Arc<Mutex<Book>>,
}

/// How the topics refuse items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// They are larger than the topics say that they take.
    TooLarge,
    /// They are larger than the topics take, and nobody may read how much that is.
    UnknownLimit,
    /// Somebody made a rule, and nobody knows of it.
    Rule,
}

/// What is known of what the topics hold.
struct Book {
    rng: Rng,
    /// How strong each fault of the model is among those of its class.
    shares: [f64; 12],
    /// How much later what is late arrives.
    late_by: Range<Duration>,
    delete: Deletes,
    durable: Durable,
    /// The epoch that a producer wrote down when it opened its lane.
    sessions: BTreeMap<(i64, i32), u64>,
    witness: SharedWitness,
}

impl KafkaGround {
    /// An empty cluster with chance from `seed`.
    pub fn new(seed: u64, witness: SharedWitness) -> Self {
        let mut rng = Rng::with_seed(seed);
        let delete = if rng.bool() { Deletes::Event } else { Deletes::EventAndTombstone };
        let settings = KafkaSettings {
            brokers: "the model".into(),
            topic: TOPIC.into(),
            dead_letter_topic: DEAD_LETTER_TOPIC.into(),
            progress_topic: PROGRESS_TOPIC.into(),
            format: Format::Dynamodb,
            delete,
            headers: ChangeHeader::ALL.into(),
            delivery: DeliveryPromise::ExactlyOnce,
            on_repartition: OnRepartition::Continue,
            create_topics: None,
            tls: None,
            sasl: None,
            librdkafka: BTreeMap::new(),
            transaction_timeout: Duration::from_secs([12, 60][rng.usize(0..2)]),
            request_timeout: Duration::from_secs([3, 10, 30][rng.usize(0..3)]),
            dead_letters_per_minute_max: DEAD_LETTERS_PER_MINUTE_MAX,
            adopt: None,
        };
        let cluster = ModelCluster::new(rng.u64(..), &settings, rng.usize(1..4));
        let refusal = [Refusal::TooLarge, Refusal::UnknownLimit, Refusal::Rule][(seed % 3) as usize];
        cluster.hide_limits(refusal == Refusal::UnknownLimit);
        // Swarm: with every fault at its most, nothing gets deep.
        let shares = std::array::from_fn(|_| if rng.bool() { rng.f64() } else { 0.0 });
        // Any time later, or about when the client has given up and comes again: there it hurts.
        let given_up = settings.request_timeout;
        let late_by = if rng.bool() { LATE_MIN..LATE_MAX } else { given_up..given_up + COMES_AGAIN_WITHIN };
        let durable = Durable::default();
        let book = Book { rng, shares, late_by, delete, durable, sessions: BTreeMap::new(), witness };
        let ground = Self { cluster, settings, refusal, book: Arc::new(Mutex::new(book)) };
        let watching = Arc::clone(&ground.book);
        ground.cluster.watch(Box::new(move |landed| lock(&watching).land(landed)));
        ground
    }
}

impl Ground for KafkaGround {
    type Lane = DirectLane<ModelCluster>;
    type Ownership = DirectOwnership<ModelCluster>;

    async fn claim(&self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let keys = KeySchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None };
        let (cluster, view_type) = (self.cluster.clone(), Some(ViewType::NewAndOldImages));
        let chance = lock(&self.book).rng.fork();
        Box::pin(claim_on(cluster, &self.settings, identity, &keys, view_type, chance)).await
    }

    fn set_faults(&self, faults: &SinkFaults) {
        let parts = {
            let book = lock(&self.book);
            Faults { late_by: book.late_by.clone(), ..faults_of(faults, &book.shares) }
        };
        if *faults == SinkFaults::default() {
            self.cluster.heal();
        }
        self.cluster.set_faults(parts);
        let text = faults.refused_text.as_deref();
        let is_by_rule = self.refusal == Refusal::Rule;
        let rule = text.filter(|_| is_by_rule).map(|text| (text, RDKafkaErrorCode::InvalidRecord));
        self.cluster.refuse_messages(TOPIC, rule);
        let limit = if text.is_some() && !is_by_rule { REFUSING_BYTES } else { MESSAGE_BYTES_MAX };
        for topic in [TOPIC, DEAD_LETTER_TOPIC] {
            self.cluster.set_message_bytes_max(topic, limit);
        }
    }

    fn hits(&self) -> BTreeMap<&'static str, u64> {
        let mut hits = self.cluster.hits();
        for (class, parts) in PARTS {
            let times = parts.iter().filter_map(|part| hits.get(part)).sum::<u64>();
            hits.insert(class, times);
        }
        let refused = lock(&self.book).durable.dead_letters.len() as u64;
        hits.insert("refused_text", refused);
        hits
    }

    fn durable(&self) -> Durable {
        lock(&self.book).durable.clone()
    }

    fn lose(&self, loss: Loss) -> bool {
        if lock(&self.book).durable.items.is_empty() {
            return false;
        }
        match loss {
            Loss::Progress => self.cluster.remove_topic(PROGRESS_TOPIC),
            Loss::Target => self.cluster.make_topic(TOPIC, self.cluster.offsets(TOPIC).len(), false),
        }
        true
    }
}

/// What the fault classes of a world are in Kafka.
fn faults_of(faults: &SinkFaults, shares: &[f64; 12]) -> Faults {
    let SinkFaults { unreachable, slow, hang, reply_lost, not_applied, applied_later, refused_text: _ } = *faults;
    let seconds = |from: f64, to: u64| Duration::from_secs_f64(from)..Duration::from_secs(to);
    Faults {
        latency: LATENCY,
        markers_take: LATENCY,
        // A commit is several requests. What makes them late makes others slow: only so does a late one meet an open
        // transaction.
        slow: slow / 4.0 + applied_later * shares[10],
        slow_by: seconds(1.0, 15),
        hang: hang / 4.0,
        outage: unreachable / 20.0,
        outage_by: seconds(1.0, 40),
        metadata_lost: unreachable / 10.0 * shares[0],
        metadata_lost_by: seconds(0.1, 40),
        not_enough_replicas: unreachable * shares[1],
        coordinator_moved: unreachable * shares[2],
        fetch_failed: unreachable * shares[3],
        stale_end: unreachable * shares[11],
        stale_by: seconds(0.1, 20),
        // The topics are looked at once in an opening, and an old leader has heard of the new one before the last look.
        deposed: (unreachable * 4.0).min(1.0) * shares[11],
        deposed_by: seconds(0.1, 8),
        // The topics are looked at once in an opening.
        repartitioned: (unreachable * 4.0).min(1.0) * shares[4],
        end_answer_lost: reply_lost,
        answer_lost: reply_lost * shares[5],
        end_lost: not_applied,
        delivery_refused: not_applied / 2.0 * shares[6],
        fatal: not_applied / 2.0 * shares[7],
        end_late: applied_later,
        markers_late: applied_later * shares[8],
        late: applied_later / 4.0 * shares[9],
        compacted: (unreachable + applied_later) / 10.0,
        ..Faults::default()
    }
}

/// A message of the topic, in the form of a record of DynamoDB Streams.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(rename = "eventName")]
    event_name: String,
    #[serde(borrow)]
    dynamodb: Images<'a>,
}

#[derive(Deserialize)]
struct Images<'a> {
    #[serde(borrow, rename = "Keys")]
    keys: &'a RawValue,
    #[serde(borrow, default, rename = "NewImage")]
    new: Option<&'a RawValue>,
}

impl Book {
    /// Takes in what is there for good, and tells the witness of it.
    fn land(&mut self, landed: &Landed) {
        if !landed.records.is_empty() && landed.records.iter().all(is_sign) {
            return;
        }
        let mut landing = Landing::default();
        let mut removals = Removals::default();
        let mut letters = Vec::new();
        for record in &landed.records {
            // In the progress topic a record without a value removes what is forgotten.
            let is_tombstone = record.record.value.is_none() && &*record.place.topic != PROGRESS_TOPIC;
            if removals.open.is_some() || is_tombstone {
                self.check_tombstone(record, &mut removals);
            }
            match &*record.place.topic {
                PROGRESS_TOPIC => self.progress(landed.producer, record, &mut landing),
                DEAD_LETTER_TOPIC => letters.push(&record.record),
                _ => removals.open = self.change(record, &mut landing),
            }
        }
        if let Some(removed) = &removals.open {
            lock(&self.witness).violated("P5 tombstone", format!("none comes after {removed:?}"));
        }
        self.dead_letters(&letters, &mut removals, &mut landing);
        if !removals.alone.is_empty() {
            lock(&self.witness).violated("P5 tombstone", format!("of no removal: {:?}", removals.alone));
        }
        // A producer that gives itself a new epoch goes on with its session.
        let (producer, epoch) = landed.producer;
        let session = self.sessions.range((producer, i32::MIN)..=(producer, epoch)).next_back();
        landing.epoch = session.map_or(0, |(_, session)| *session);
        lock(&self.witness).landed(&landing);
    }

    /// Gives what must be followed by a tombstone.
    fn change(&mut self, record: &LandedRecord, landing: &mut Landing) -> Option<(i32, String)> {
        let value = record.record.value.as_deref()?;
        let Ok(Message { event_id, event_name, dynamodb }) = serde_json::from_slice::<Message<'_>>(value) else {
            lock(&self.witness).violated("P5 message", format!("at offset {} of {TOPIC}", record.offset));
            return None;
        };
        let present = event_name != "REMOVE";
        let (key, image) = (dynamodb.keys.get().to_owned(), dynamodb.new.map(|image| image.get().to_owned()));
        let held = Held { event_id: event_id.clone(), present, image: image.clone() };
        self.durable.items.entry(key.clone()).or_default().push(held);
        landing.changes.push(LandedChange { key, event_id: event_id.clone(), image });
        let is_followed = !present && self.delete == Deletes::EventAndTombstone;
        is_followed.then_some((record.place.partition, event_id))
    }

    /// The forms of keys and values are documented in `sink-kafka/src/progress/records.rs`.
    fn progress(&mut self, producer: (i64, i32), record: &LandedRecord, landing: &mut Landing) {
        landing.lane = record.place.partition.unsigned_abs();
        let key: Vec<String> = serde_json::from_slice(&record.record.key).unwrap_or_default();
        let value = record.record.value.as_deref().unwrap_or_default();
        let value: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
        match key.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["session"] => {
                self.sessions.insert(producer, value["epoch"].as_u64().unwrap_or_default());
            }
            ["shard", _, shard] if record.record.value.is_none() => {
                self.durable.positions.remove(*shard);
                landing.forgotten.push((*shard).to_owned());
            }
            ["shard", _, shard] => {
                let position = value["position"].as_str().and_then(|text| Position::parse(text).ok());
                let Some(position) = position else {
                    return lock(&self.witness).violated("I1 position", format!("{value} of shard {shard}"));
                };
                let before = self.durable.positions.insert((*shard).to_owned(), position.clone());
                landing.steps.push(((*shard).to_owned(), before, position));
            }
            ["stream", _] => landing.known |= value["known"] == true,
            ["gap", _, shard, cause, ..] => {
                let row = ((!shard.is_empty()).then(|| (*shard).to_owned()), (*cause).to_owned());
                landing.gaps_until.extend(value["until_ms"].as_i64().map(|until_ms| (row.0.clone(), until_ms)));
                self.durable.gaps.push(row.clone());
                landing.gaps.push(row);
            }
            // What the topics are, and what was counted of shards that are forgotten.
            ["topic", _] | ["target"] | ["forgotten"] => {}
            // How many dead letters there were lately, and where somebody stood.
            ["dead_letters"] | ["barrier", _] | ["salt"] => {}
            other => lock(&self.witness).violated("an unknown record", format!("{other:?} in the progress topic")),
        }
    }
}

/// Says of an owner whether it lives, or what its refused start left, and is fenced by nobody.
fn is_sign(record: &LandedRecord) -> bool {
    let key: Vec<String> = serde_json::from_slice(&record.record.key).unwrap_or_default();
    let kind = key.first().map(String::as_str);
    &*record.place.topic == PROGRESS_TOPIC && matches!(kind, Some("life" | "handed_over" | "salt"))
}

fn header(record: &Record, name: &str) -> Option<String> {
    let (_, value) = record.headers.iter().find(|(header, _)| header == name)?;
    String::from_utf8(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Profile, run_world};

    /// Worlds in which every fault has bitten, with some to spare.
    const WORLDS: u64 = 120;

    /// A knob that no world turns far enough would prove nothing.
    #[test]
    fn every_fault_of_the_model_bites_in_some_world() {
        let mut hits: BTreeMap<String, u64> = BTreeMap::new();
        for seed in 0..WORLDS {
            let shown = run_world(seed, Profile::Kafka, false).expect("a runtime of one thread");
            for (name, times) in shown.hits {
                *hits.entry(name).or_default() += times;
            }
        }
        let parts = PARTS.iter().flat_map(|(_, parts)| *parts);
        let others = ["compacted", "transaction_expired", "fencing_aborts", "duplicate_dropped"];
        for name in parts.chain(&others) {
            let times = hits.get(&format!("sink.{name}")).copied().unwrap_or_default();
            assert!(times > 0, "{name} never bit: {hits:?}");
        }
        assert!(hits["process.refused_text"] > 0);
    }
}
