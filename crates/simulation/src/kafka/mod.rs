//! Apache Kafka in memory, with the manners that hurt: producers that fence one another, transactions whose end is decided
//! at once and seen later, ends that arrive late or whose answer is lost, readers that wait at the last stable offset,
//! offsets with holes, messages that may have been written, and a cluster that forgets its topics for a while.
//!
//! It stands behind the sink's own traits ([`Cluster`](tailwater_sink_kafka::Cluster)), so the lane that runs over it is
//! the one that ships. The broker is the one of transactions without an epoch for each (KIP-98 and KIP-360, with the
//! verification of KIP-890's first part), for that is what librdkafka speaks.
//!
//! Deliberately absent: the wire protocol, consumer groups, replicas (a cluster that lacks them only says so, a new
//! leader shows less for a while, and one that was deposed tells older ends), rights, and an end of an earlier transaction that comes
//! late although its connection was seen to break.

mod broker;
mod client;
mod cluster;
mod coordinator;
mod faults;
mod log;
mod look;
mod producer;
mod reader;
#[cfg(test)]
mod tests;

pub use broker::{Landed, LandedRecord, Place, Watch};
pub use cluster::ModelCluster;
pub use faults::{Faults, Hits};
pub use log::Record;
pub use producer::ModelProducer;
pub use reader::ModelReader;
