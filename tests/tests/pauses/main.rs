//! A hot standby: how long nobody carries when the owner goes. Of several pauses the shortest is held to what README promises, and
//! each to three seconds more: the rest of the machine is not ours. Times are measured, so that this is a program of its own, which cargo
//! runs when no other test runs, and its tests wait for each other.

mod kafka;
mod local;
mod postgres;

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// The lease of each pipeline here, as its file says it.
const LEASE_TEXT: &str = "3s";
const LEASE: Duration = Duration::from_secs(3);
/// What README promises after a stop in order.
const AFTER_A_STOP: Duration = Duration::from_secs(2);
/// The same after a kill.
const AFTER_A_KILL: Duration = LEASE.saturating_add(Duration::from_secs(2));
/// For whatever is not measured.
const WITHIN: Duration = Duration::from_secs(60);
const WRITE_PAUSE: Duration = Duration::from_millis(10);

static ALONE: Mutex<()> = Mutex::const_new(());

/// Held by the test that runs.
async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}
