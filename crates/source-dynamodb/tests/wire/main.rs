//! The AWS side of the source: the page decoder, the calls through the SDK, and DynamoDB Local.

mod decoder;
mod describe;
mod differential;
mod dynamodb_local;
mod generate;
mod get_records;
mod memory;
mod server;
