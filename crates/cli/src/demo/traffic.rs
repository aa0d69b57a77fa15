//! Lets the shop write at an even rate until it is told to stop.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use tailwater_model::Trouble;
use tailwater_pipeline::StopSignal;
use tokio::time::{Instant, MissedTickBehavior};

use super::server::{ShopTable, Written};
use super::settling::blocking;
use super::shop::Shop;

/// Writes are done in small bursts at this pace.
const TICK: Duration = Duration::from_millis(50);
/// Highest rate that can be asked for. The embedded server writes some thousand items in a second.
const RATE_MAX: u32 = 2000;

/// Writes in a second, typed as `20/s` or `20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix("/s").unwrap_or(text.trim());
        let rate = number.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
        rate.map(Self).ok_or_else(|| format!("expected writes in a second, such as 20/s, between 1/s and {RATE_MAX}/s"))
    }
}

impl Rate {
    /// Writes that are due after `elapsed`.
    fn due(self, elapsed: Duration) -> u64 {
        u64::try_from(elapsed.as_millis() * u128::from(self.0) / 1000).unwrap_or(u64::MAX)
    }
}

/// Writes until the signal is given, and counts into `written`.
pub async fn write_orders(
    table: ShopTable,
    rate: Rate,
    written: Arc<AtomicU64>,
    stop: StopSignal,
) -> Result<(), Trouble> {
    let mut shop = Shop::new(SEED);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut done = 0;
    loop {
        tokio::select! { biased;
            () = stop.stopped() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let due = rate.due(began.elapsed());
        // A burst is bounded: after a pause of the machine the shop does not catch up.
        let burst = (due - done).min(u64::from(RATE_MAX));
        done = due;
        let (table, counter) = (table.clone(), Arc::clone(&written));
        shop = blocking(move || write_burst(shop, &table, burst, &counter)).await?;
    }
}

/// The traffic is the same in every run.
const SEED: u64 = 20_261_123;

fn write_burst(mut shop: Shop, table: &ShopTable, burst: u64, written: &AtomicU64) -> Result<Shop, Trouble> {
    for _ in 0..burst {
        if table.write(shop.next_write(&now()))? == Written::Done {
            written.fetch_add(1, Relaxed);
        }
    }
    Ok(shop)
}

#[expect(clippy::disallowed_methods, reason = "the demo's orders carry the time at which a person sees them")]
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_bounded() {
        assert_eq!("20/s".parse(), Ok(Rate(20)));
        assert_eq!("7".parse(), Ok(Rate(7)));
        for bad in ["", "0", "-1/s", "2001/s", "20/m", "1.5/s", "fast"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn slow_rates_lose_nothing_between_ticks() {
        let rate = Rate(3);
        assert_eq!(rate.due(Duration::from_millis(50)), 0);
        assert_eq!(rate.due(Duration::from_millis(350)), 1);
        assert_eq!(rate.due(Duration::from_secs(100)), 300);
    }
}
