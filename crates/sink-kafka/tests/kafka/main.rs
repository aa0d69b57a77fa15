//! The sink on a real Apache Kafka: the contract of `Sink`, owners, and what is in the topics afterwards.
//!
//! The broker is the one of `cargo x up kafka`, unless `TAILWATER_TEST_KAFKA` names another.

mod brake;
mod commits;
mod connections;
mod ground;
mod owners;
mod progress;
