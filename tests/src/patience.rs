//! Bounded waiting: every wait in the tests goes through here and says what it waited for when it gives up.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// Between two looks at the same thing.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a look found.
pub enum Look {
    /// It is as it should be.
    Done,
    /// Not yet; the reason is told when the wait ends without success.
    NotYet(String),
}

impl Look {
    /// `Done` when `so`, else not yet because of `reason`.
    pub fn when(so: bool, reason: impl Display) -> Self {
        if so { Self::Done } else { Self::NotYet(reason.to_string()) }
    }
}

/// Looks again and again until it is done, for at most `within`. An error of the look ends the wait at once.
pub async fn wait_until<F: Future<Output = Result<Look>>>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> F,
) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        match look().await? {
            Look::Done => return Ok(()),
            Look::NotYet(reason) if Instant::now() >= deadline => {
                bail!("waited {within:?} in vain until {what}: {reason}")
            }
            Look::NotYet(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}
