//! A simulated DynamoDB Streams service with the manners of the real one, kind and unkind.
//!
//! The service is a pure state ([`service`]); [`http`] lets any AWS client speak to it.
//!
//! Deliberately absent: any part of the engine.

pub mod http;
pub mod service;
