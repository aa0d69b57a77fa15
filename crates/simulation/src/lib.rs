//! A simulated DynamoDB Streams service with the manners of the real one, kind and unkind, and seeded worlds that drive the
//! engine through every fault.
//!
//! The service is a pure state ([`service`]) with two faces: [`http`] speaks the wire protocol to any client, and with the
//! feature `worlds` `face` is the reader's own trait in virtual time. With that feature there are also models of the
//! sinks' servers, the contract that every sink must pass, and the worlds.
//!
//! Deliberately absent: any part of the engine. What the worlds drive is what ships.

#[cfg(feature = "worlds")]
pub mod contract;
#[cfg(feature = "worlds")]
pub mod face;
pub mod http;
#[cfg(feature = "worlds")]
pub mod kafka;
#[cfg(feature = "worlds")]
pub mod postgres;
pub mod replay;
pub mod service;
#[cfg(feature = "worlds")]
pub mod world;
