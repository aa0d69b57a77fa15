//! The wire: DynamoDB's tables and streams for any AWS client, over the simulated service.
//!
//! Tables, items and expressions are those of an embedded `dynoxide`; what its writes change goes into the streams of
//! [`Service`](crate::service::Service). One lock stands before both, so the order of an item's changes is that of its
//! writes.
//!
//! Beside the protocol, under `/_tailwater/`, testers of consumers make things happen and ask what really happened.
//!
//! Deliberately absent: TLS, and any check of signatures or credentials.

mod account;
mod control;
mod embedded;
mod failures;
mod fault;
mod names;
mod private_streams;
mod server;
mod streams;
mod tables;
mod wire;

pub use account::Account;
pub use fault::WireManners;
pub use server::{Clock, serve};
pub use wire::Refusal;
