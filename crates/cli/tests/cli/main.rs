//! The binary as its users meet it: messages, exit codes, and what is never shown.

mod bad_pipelines;
mod binary;
mod commands;
mod secrets;
mod supervisor;
