//! The harness of the end to end tests: it starts the `tailwater` binary against real servers and checks what arrived.
//!
//! It shares no code with the engine. What a row must be is worked out here a second time, from the table as the AWS SDK
//! answers it and from the stream as the SDK reads it; how often a row was written is counted by a trigger in the database.
//! Servers are started with `cargo x up`, the binary is built with `cargo build -p tailwater-cli`.

pub mod audit;
pub mod binary;
pub mod chaos;
pub mod compare;
pub mod counted;
pub mod endpoints;
pub mod fileout;
pub mod kafka;
pub mod patience;
pub mod pauses;
pub mod pipeline;
pub mod plain;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod recorder;
pub mod scene;
pub mod simulated;
pub mod stream;
pub mod table;
pub mod workload;
pub mod writer;
