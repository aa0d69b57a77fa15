//! Writes to Apache Kafka, exactly once: the records of a group and its steps in one transaction.

#[cfg(test)]
mod broker_tests;
mod brokers;
mod claim;
mod client_config;
mod cluster;
mod context;
#[cfg(test)]
mod direct_tests;
mod fault;
mod home;
mod lane;
mod lane_count;
mod message;
#[cfg(test)]
mod mock_tests;
#[cfg(feature = "msk-iam")]
mod msk_iam;
mod oauth;
mod ownership;
mod producer;
mod progress;
mod refused_property;
mod secured;
mod session;
mod settings;
mod thread;
mod time;
mod topics;

pub use claim::{check_claim, checkpoints, checkpoints_on, claim, claim_on};
pub use client_config::{Batches, Isolation, ProducerRole, property_fault};
pub use cluster::{Acknowledged, Cluster, Outgoing, Producer, Read, Reader, SendFault, StoredRecord};
pub use fault::Fault;
pub use lane::{DirectLane, KafkaLane};
pub use message::{Header, partition_of};
pub use ownership::{DirectOwnership, KafkaOwnership};
pub use refused_property::refused_property;
pub use secured::{are_local, secret_in_the_clear, tls_faults};
pub use settings::{ChangeHeader, CreateTopics, Credentials, Deletes, DeliveryPromise, Format, KafkaSettings};
pub use settings::{OnRepartition, SaslSettings, TlsSettings};
pub use topics::{MayMake, MessageLimits, TopicFacts, TopicLook, topic_name_fault};
