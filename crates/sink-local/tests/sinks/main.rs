//! The contract of the embedded sinks, tried on real files.

mod contract;
mod file;
mod fixture;
mod kill;
mod mirror;
mod older_schema;
mod owners;
mod trouble;
