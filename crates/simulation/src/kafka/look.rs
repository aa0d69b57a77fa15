//! Looking at the cluster from outside, and turning its knobs.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::broker::{LandedRecord, Place, Watch};
use super::cluster::{ModelCluster, topic};
use super::faults::{Faults, Hits};
use super::log::{Fate, PartitionLog, Stored};

impl ModelCluster {
    /// Tells `watch` of everything that stays, from now on, at the instant at which that is decided.
    pub fn watch(&self, watch: Watch) {
        self.broker().watch = Some(watch);
    }

    /// Sets the faults from now on. What is under way stays: requests that are late still arrive.
    pub fn set_faults(&self, faults: Faults) {
        self.broker().chance.faults = faults;
    }

    /// Changes single faults.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.broker().chance.faults);
    }

    /// Ends all faults, but for what is under way.
    pub fn heal(&self) {
        let mut broker = self.broker();
        broker.chance.faults = Faults::default();
        broker.unreachable_until = None;
        broker.unknown_until = None;
        broker.deposed_until = None;
        broker.heal_stale();
    }

    /// How often each fault bit.
    pub fn hits(&self) -> Hits {
        self.broker().chance.hits.clone()
    }

    /// Nobody reaches the cluster for so long.
    pub fn cut_off_for(&self, time: Duration) {
        self.broker().unreachable_until = Some(Instant::now() + time);
    }

    /// Makes a topic, or takes the place of the one that had the name.
    pub fn make_topic(&self, name: &str, partitions: usize, is_compacted: bool) {
        self.broker().topics.insert(name.into(), topic(partitions, is_compacted));
    }

    /// Deletes a topic with everything in it.
    pub fn remove_topic(&self, name: &str) {
        self.broker().topics.remove(name);
    }

    /// Deletes all records of a partition, up to its end (`DeleteRecords`). The next one goes behind them.
    pub fn purge(&self, name: &str, partition: usize) {
        if let Some(topic) = self.broker().topics.get_mut(name) {
            topic.partitions.get_mut(partition).into_iter().for_each(PartitionLog::purge);
        }
    }

    /// Adds partitions to a topic.
    pub fn add_partitions(&self, name: &str, added: usize) {
        if let Some(topic) = self.broker().topics.get_mut(name) {
            topic.partitions.extend(std::iter::repeat_with(PartitionLog::default).take(added));
        }
    }

    /// Sets `max.message.bytes` of a topic.
    pub fn set_message_bytes_max(&self, name: &str, bytes: usize) {
        if let Some(topic) = self.broker().topics.get_mut(name) {
            topic.message_bytes_max = bytes;
        }
    }

    /// From now on a topic's messages whose value has this text are refused by this code; by none when there is no text.
    pub fn refuse_messages(&self, name: &str, refused: Option<(&str, RDKafkaErrorCode)>) {
        if let Some(topic) = self.broker().topics.get_mut(name) {
            topic.refused = refused.map(|(text, code)| (text.to_owned(), code));
        }
    }

    /// Whether nobody may read the settings of topics (`DescribeConfigs`).
    pub fn hide_limits(&self, is_hidden: bool) {
        self.broker().hides_limits = is_hidden;
    }

    /// Compacts the compacted topics, as a log cleaner does from time to time.
    pub fn compact(&self) {
        self.broker().compact();
    }

    /// What a reader of committed records finds in a topic: nothing from the last stable offset on.
    pub fn committed(&self, topic: &str) -> Vec<LandedRecord> {
        self.records(topic, |log, stored, fate| fate == Fate::Committed && stored.offset < log.last_stable())
    }

    /// What a reader of uncommitted records finds: everything that was written, given up or not.
    pub fn uncommitted(&self, topic: &str) -> Vec<LandedRecord> {
        self.records(topic, |_, _, _| true)
    }

    fn records(&self, topic: &str, is_shown: impl Fn(&PartitionLog, &Stored, Fate) -> bool) -> Vec<LandedRecord> {
        let broker = self.broker();
        let Some((name, topic)) = broker.topics.get_key_value(topic) else { return Vec::new() };
        let mut shown = Vec::new();
        for (partition, log) in (0..).zip(&topic.partitions) {
            let place = Place { topic: Arc::clone(name), partition };
            let records = log.all().filter(|(stored, _, fate)| is_shown(log, stored, *fate));
            shown.extend(records.map(|(Stored { offset, at_ms, record }, _, _)| LandedRecord {
                place: place.clone(),
                offset,
                at_ms,
                record,
            }));
        }
        shown
    }

    /// The last stable offset and the offset behind the last entry of each partition.
    pub fn offsets(&self, topic: &str) -> Vec<(i64, i64)> {
        let broker = self.broker();
        let topic = broker.topics.get(topic);
        topic.map_or_else(Vec::new, |topic| topic.partitions.iter().map(|log| (log.last_stable(), log.end())).collect())
    }
}
