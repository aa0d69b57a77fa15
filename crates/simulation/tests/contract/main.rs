//! The contract of `tailwater_simulation::contract` on every ground, and models against the servers that they are of.

mod kafka;
mod model_kafka;
mod model_postgres;
mod postgres;
mod sqlite;
mod transactions;

use std::future::Future;

/// Runs a test on a current-thread runtime, on real time.
fn in_real_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

/// Runs a test on a current-thread runtime, in virtual time.
fn in_paused_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}
