//! The cluster's state: topics, transactional ids, and what each request does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tailwater_sink_kafka::Isolation;
use tokio::time::Instant;

use super::coordinator::{Decision, TransactionalId};
use super::faults::{Chance, PARTITIONS_MAX};
use super::log::{Epoch, Fetched, PartitionLog, ProducerId, Record, Stamp, Stored};

/// The broker's clock when a cluster begins: some day in 2026, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_790_000_000_000;
/// Codes by which a produce request can be refused for good: the broker lost what it knew of the producer, or its disk.
const REFUSALS: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::OutOfOrderSequenceNumber,
    RDKafkaErrorCode::UnknownProducerId,
    RDKafkaErrorCode::InvalidTransactionalState,
    RDKafkaErrorCode::KafkaStorageError,
];

/// By how much a new leader shows less at most.
pub(crate) const STALE_BY_MAX: u8 = 6;

/// A partition of a topic.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// Records at the instant at which it is decided that they stay: a transaction's, or one outside of any.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The transactional id; nothing outside of transactions.
    pub transactional_id: Option<String>,
    /// Who wrote them: a number and an epoch, by which two openings of the same id differ.
    pub producer: (i64, i32),
    /// By partition, each in its order.
    pub records: Vec<LandedRecord>,
}

/// One record of a landing.
#[derive(Clone, Debug)]
pub struct LandedRecord {
    /// Where it stands.
    pub place: Place,
    /// Its offset there.
    pub offset: i64,
    /// Its time by the broker's clock, in milliseconds since 1970.
    pub at_ms: i64,
    /// What it says.
    pub record: Arc<Record>,
}

/// Told of everything that stays, at that instant. It must not ask the cluster anything: the cluster is locked.
pub type Watch = Box<dyn FnMut(&Landed) + Send>;

/// A partition whose leader has changed: for a while it shows less than there is (KIP-207).
#[derive(Clone, Debug)]
struct Stale {
    until: Instant,
    /// What it shows.
    end: i64,
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    pub(crate) partitions: Vec<PartitionLog>,
    /// `max.message.bytes`.
    pub(crate) message_bytes_max: usize,
    pub(crate) is_compacted: bool,
    /// Messages whose value has this text are refused by this code: a rule of the service, or of somebody in between.
    pub(crate) refused: Option<(String, RDKafkaErrorCode)>,
}

/// A producer's right to write, as it presents it.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) transactional_id: Option<String>,
    pub(crate) producer: ProducerId,
    pub(crate) epoch: Epoch,
}

/// A message of a produce request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) place: Place,
    pub(crate) sequence: u64,
    /// What it counts for against `max.message.bytes`.
    pub(crate) bytes: usize,
    pub(crate) record: Arc<Record>,
}

type Answer<T> = Result<T, RDKafkaErrorCode>;

/// The state behind a [`ModelCluster`](super::ModelCluster).
pub(crate) struct Broker {
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    pub(crate) ids: BTreeMap<String, TransactionalId>,
    pub(crate) chance: Chance,
    pub(crate) watch: Option<Watch>,
    pub(crate) unreachable_until: Option<Instant>,
    pub(crate) unknown_until: Option<Instant>,
    pub(crate) deposed_until: Option<Instant>,
    /// Nobody may read the settings of topics.
    pub(crate) hides_limits: bool,
    /// Partitions with a new leader, which shows less than is committed.
    stale: BTreeMap<Place, Stale>,
    producers: ProducerId,
    started: Instant,
}

impl Broker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            topics: BTreeMap::new(),
            ids: BTreeMap::new(),
            chance: Chance::new(seed),
            watch: None,
            unreachable_until: None,
            unknown_until: None,
            deposed_until: None,
            hides_limits: false,
            stale: BTreeMap::new(),
            producers: 0,
            started: Instant::now(),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        BEGINNING_MS + i64::try_from(self.started.elapsed().as_millis()).unwrap_or_default()
    }

    fn log(&mut self, place: &Place) -> Option<&mut PartitionLog> {
        let partition = usize::try_from(place.partition).ok()?;
        self.topics.get_mut(&place.topic)?.partitions.get_mut(partition)
    }

    /// What has happened by itself until now: transactions grew too old, markers arrived.
    pub(crate) fn advance(&mut self) {
        let now = Instant::now();
        let ids: Vec<String> = self.ids.keys().cloned().collect();
        for id in ids {
            let expired = self.ids.get(&id).and_then(TransactionalId::expires).filter(|(at, _)| *at <= now);
            if let Some((at, places)) = expired.map(|(at, places)| (at, places.clone())) {
                self.chance.hit("transaction_expired");
                if let Some(known) = self.ids.get_mut(&id) {
                    known.fence();
                }
                self.decide(&id, false, places, at);
            }
            let Some(known) = self.ids.get_mut(&id) else { continue };
            let (producer, epoch) = (known.producer, known.epoch);
            let (commits, arrived) = known.arrived(now);
            for place in arrived {
                if let Some(log) = self.log(&place) {
                    log.end_transaction(producer, epoch, commits);
                }
            }
        }
    }

    /// A transaction ends, which can no longer be changed. Its markers are on their way.
    fn decide(&mut self, id: &str, commits: bool, places: BTreeSet<Place>, at: Instant) {
        if commits {
            self.tell(id, &places);
        }
        let late = if self.chance.bites("markers_late", |faults| faults.markers_late) {
            self.chance.time(|faults| &faults.late_by)
        } else {
            Duration::ZERO
        };
        let markers = places.into_iter().map(|place| {
            let takes = self.chance.time(|faults| &faults.markers_take);
            (place, at + late + takes)
        });
        let markers = markers.collect();
        if let Some(known) = self.ids.get_mut(id) {
            known.decide(commits, markers);
        }
    }

    fn tell(&mut self, id: &str, places: &BTreeSet<Place>) {
        let Some((producer, epoch)) = self.ids.get(id).map(|known| (known.producer, known.epoch)) else { return };
        let mut records = Vec::new();
        for place in places {
            if let Some(log) = self.log(place) {
                records.extend(log.open_records(producer).map(|stored| landed(place, stored)));
            }
        }
        let landed = Landed { transactional_id: Some(id.to_owned()), producer: (producer, epoch), records };
        if let Some(watch) = &mut self.watch {
            watch(&landed);
        }
    }

    /// `InitProducerId` with a transactional id.
    pub(crate) fn init(&mut self, id: &str, timeout: Duration) -> Answer<(ProducerId, Epoch)> {
        if !self.ids.contains_key(id) {
            let known = TransactionalId::new(self.new_producer());
            self.ids.insert(id.to_owned(), known);
        }
        let Some(known) = self.ids.get_mut(id) else { return Err(RDKafkaErrorCode::Unknown) };
        match known.init(timeout) {
            Ok(granted) => Ok(granted),
            Err(left_open) => {
                if !left_open.is_empty() {
                    self.chance.hit("fencing_aborts");
                    self.decide(id, false, left_open, Instant::now());
                    self.advance();
                }
                Err(RDKafkaErrorCode::ConcurrentTransactions)
            }
        }
    }

    /// `InitProducerId` without one.
    pub(crate) fn new_producer(&mut self) -> ProducerId {
        self.producers += 1;
        self.producers
    }

    fn known(&mut self, credential: &Credential) -> Answer<&mut TransactionalId> {
        let id = credential.transactional_id.as_deref().and_then(|id| self.ids.get_mut(id));
        id.ok_or(RDKafkaErrorCode::InvalidProducerIdMapping)
    }

    pub(crate) fn bump(&mut self, credential: &Credential) -> Answer<Epoch> {
        let epoch = credential.epoch;
        self.known(credential)?.bump(epoch)
    }

    /// `AddPartitionsToTxn`.
    pub(crate) fn add_partitions(&mut self, credential: &Credential, places: &[Place]) -> Answer<()> {
        if places.iter().any(|place| self.log(place).is_none()) {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let now = Instant::now();
        self.known(credential)?.add(credential.epoch, places, now)
    }

    /// `Produce`: all of the messages; or none, when one is refused. Gives their offsets; nothing for one that was there already.
    pub(crate) fn produce(&mut self, credential: &Credential, batch: &[Sent]) -> Answer<Vec<Option<i64>>> {
        if self.chance.bites("not_enough_replicas", |faults| faults.not_enough_replicas) {
            return Err(RDKafkaErrorCode::NotEnoughReplicas);
        }
        if self.chance.bites("delivery_refused", |faults| faults.delivery_refused) {
            return Err(REFUSALS[self.chance.rng.usize(0..REFUSALS.len())]);
        }
        if self.topics_are_unknown() {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        batch.iter().try_for_each(|sent| self.check(batch, sent))?;
        batch.iter().map(|sent| self.append(credential, sent)).collect()
    }

    /// What the topic has against a message, or the batch that it is in.
    fn check(&self, batch: &[Sent], sent: &Sent) -> Answer<()> {
        let topic = self.topics.get(&sent.place.topic).ok_or(RDKafkaErrorCode::UnknownTopicOrPartition)?;
        if batch.iter().map(|sent| sent.bytes).sum::<usize>() > topic.message_bytes_max {
            return Err(RDKafkaErrorCode::MessageSizeTooLarge);
        }
        let value = sent.record.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        match &topic.refused {
            Some((text, code)) if value.contains(text) => Err(*code),
            _ => Ok(()),
        }
    }

    fn append(&mut self, credential: &Credential, sent: &Sent) -> Answer<Option<i64>> {
        let (producer, epoch) = (credential.producer, credential.epoch);
        let is_transactional = credential.transactional_id.is_some();
        if is_transactional {
            self.known(credential)?.verify(epoch, &sent.place)?;
        }
        let stamp = Stamp { producer, epoch, sequence: sent.sequence, is_transactional };
        let now_ms = self.now_ms();
        let log = self.log(&sent.place).ok_or(RDKafkaErrorCode::UnknownTopicOrPartition)?;
        let new = log.append(stamp, &sent.record, now_ms)?;
        let offset = new.as_ref().map(|stored| stored.offset);
        match new {
            None => self.chance.hit("duplicate_dropped"),
            Some(stored) if !is_transactional => {
                let records = vec![landed(&sent.place, stored)];
                if let Some(watch) = &mut self.watch {
                    watch(&Landed { transactional_id: None, producer: (producer, epoch), records });
                }
            }
            Some(_) => {}
        }
        Ok(offset)
    }

    /// `EndTxn`.
    pub(crate) fn end(&mut self, credential: &Credential, commits: bool) -> Answer<()> {
        let epoch = credential.epoch;
        match self.known(credential)?.end(epoch, commits)? {
            Decision::Before => {}
            Decision::Now(places) => {
                let id = credential.transactional_id.clone().unwrap_or_default();
                self.decide(&id, commits, places, Instant::now());
                self.advance();
                if self.chance.bites("compacted", |faults| faults.compacted) {
                    self.compact();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn compact(&mut self) {
        let compacted = self.topics.values_mut().filter(|topic| topic.is_compacted);
        compacted.flat_map(|topic| &mut topic.partitions).for_each(PartitionLog::compact);
    }

    /// `Fetch`.
    pub(crate) fn fetch(
        &mut self,
        place: &Place,
        from: i64,
        records_max: usize,
        isolation: Isolation,
    ) -> Answer<Fetched> {
        let shown = self.shown(place).map(|stale| stale.end);
        let log = self.log(place).ok_or(RDKafkaErrorCode::UnknownTopicOrPartition)?;
        // Who was told more before is told nothing new.
        let shown = shown.map_or(i64::MAX, |end| end.max(from));
        Ok(log.fetch(from, records_max, shown, isolation))
    }

    /// `ListOffsets`: where the partition ends for such readers. A leader that may not know it yet says so.
    pub(crate) fn end_of(&mut self, place: &Place, isolation: Isolation) -> Answer<i64> {
        if self.shown(place).is_some() {
            return Err(RDKafkaErrorCode::OffsetNotAvailable);
        }
        let log = self.log(place).ok_or(RDKafkaErrorCode::UnknownTopicOrPartition)?;
        Ok(log.end_for(isolation))
    }

    /// What a leader shows that has just changed. It may begin with this look.
    fn shown(&mut self, place: &Place) -> Option<Stale> {
        let now = Instant::now();
        self.stale.retain(|_, stale| now < stale.until);
        if let Some(stale) = self.stale.get(place) {
            return Some(stale.clone());
        }
        if !self.chance.bites("stale_end", |faults| faults.stale_end) {
            return None;
        }
        let stable = self.log(place)?.last_stable();
        let end = (stable - i64::from(self.chance.rng.u8(1..=STALE_BY_MAX))).max(0);
        let until = now + self.chance.time(|faults| &faults.stale_by);
        let stale = Stale { until, end };
        self.stale.insert(place.clone(), stale.clone());
        Some(stale)
    }

    /// Every leader knows what it has.
    pub(crate) fn heal_stale(&mut self) {
        self.stale.clear();
    }

    /// Whether no broker knows the topics just now. It may begin with this look.
    pub(crate) fn topics_are_unknown(&mut self) -> bool {
        let now = Instant::now();
        if self.unknown_until.is_some_and(|until| now < until) {
            return true;
        }
        if !self.chance.bites("metadata_lost", |faults| faults.metadata_lost) {
            return false;
        }
        self.unknown_until = Some(now + self.chance.time(|faults| &faults.metadata_lost_by));
        true
    }

    /// Somebody may just have added a partition to the topic.
    pub(crate) fn repartition(&mut self, topic: &str) {
        if self.topics.get(topic).is_none_or(|topic| topic.partitions.len() >= PARTITIONS_MAX) {
            return;
        }
        if self.chance.bites("repartitioned", |faults| faults.repartitioned)
            && let Some(topic) = self.topics.get_mut(topic)
        {
            topic.partitions.push(PartitionLog::default());
        }
    }
}

fn landed(place: &Place, stored: Stored) -> LandedRecord {
    let Stored { offset, at_ms, record } = stored;
    LandedRecord { place: place.clone(), offset, at_ms, record }
}
