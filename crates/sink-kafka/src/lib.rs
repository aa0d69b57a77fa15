//! Writes to Apache Kafka, exactly once: the records of a group and its steps in one transaction.

mod claim;
mod client_config;
mod context;
mod fault;
mod lane;
mod message;
#[cfg(test)]
mod mock_tests;
#[cfg(feature = "msk-iam")]
mod msk_iam;
mod oauth;
mod producer;
mod progress;
mod refused_property;
mod secured;
mod session;
mod settings;
mod thread;
mod topics;

pub use claim::{checkpoints, claim};
pub use lane::KafkaLane;
pub use refused_property::refused_property;
pub use settings::{CreateTopics, Credentials, Deletes, DeliveryPromise, Format, KafkaSettings};
pub use settings::{OnRepartition, SaslSettings, TlsSettings};
pub use topics::topic_name_fault;
