//! Apache Kafka as others see it: what is in a topic is read by kcat and by Kafka's own tools, never by our code.

pub mod admin;
pub mod cluster;
pub mod history;
pub mod java;
pub mod reader;
pub mod scene;
pub mod typed;
pub mod wire;
