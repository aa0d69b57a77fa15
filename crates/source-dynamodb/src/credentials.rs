//! Credentials that are looked up again: AWS's own chain reads the profile files once, and would never see renewed ones.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::sdk_config::SharedTimeSource;

use crate::environment::fits_a_header;

/// Credentials that do not say when they expire, as those of profile files, are looked up again after so long.
const LOOKED_UP_AFTER: Duration = Duration::from_secs(120);

/// A chain of credentials that is made anew when what it gave may have been renewed in a file since then: its credentials do
/// not say when they expire, or it had none. One whose credentials expire is kept. It renews them itself, and remembers the
/// last ones for the time that the machine's metadata service is away.
pub(crate) struct Renewed<M> {
    make_chain: M,
    chain: Mutex<Option<SharedCredentialsProvider>>,
    /// The clock of the SDK's cache, by which credentials expire.
    clock: SharedTimeSource,
}

impl<M> Renewed<M> {
    pub(crate) fn new(make_chain: M, clock: SharedTimeSource) -> Self {
        Self { make_chain, chain: Mutex::new(None), clock }
    }

    fn chain(&self) -> MutexGuard<'_, Option<SharedCredentialsProvider>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M, F> Renewed<M>
where
    M: Fn() -> F + Send + Sync,
    F: Future<Output = Option<SharedCredentialsProvider>> + Send + 'static,
{
    async fn look_up(&self) -> provider::Result {
        // It stays where it is meanwhile: a look-up that takes too long is dropped.
        let kept = self.chain().clone();
        let chain = match kept {
            Some(chain) => chain,
            None => (self.make_chain)().await.ok_or_else(|| CredentialsError::not_loaded("there is no provider"))?,
        };
        let found = chain.provide_credentials().await;
        let expire = found.as_ref().is_ok_and(|credentials| credentials.expiry().is_some());
        *self.chain() = expire.then_some(chain);
        let mut credentials = found?;
        check(&credentials)?;
        credentials.expiry_mut().get_or_insert_with(|| self.clock.now() + LOOKED_UP_AFTER);
        Ok(credentials)
    }
}

impl<M, F> ProvideCredentials for Renewed<M>
where
    M: Fn() -> F + Send + Sync,
    F: Future<Output = Option<SharedCredentialsProvider>> + Send + 'static,
{
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.look_up())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain().as_ref()?.fallback_on_interrupt()
    }
}

/// The SDK would panic on a key that does not fit into a header, wherever it comes from.
fn check(credentials: &Credentials) -> Result<(), CredentialsError> {
    let in_headers = [Some(credentials.access_key_id()), credentials.session_token()];
    if in_headers.into_iter().flatten().all(fits_a_header) {
        return Ok(());
    }
    let what = "the access key id or the session token holds a line break or another character that no header of HTTP can have";
    Err(CredentialsError::invalid_configuration(what))
}

/// Names the type only: what it holds are secrets.
impl<M> fmt::Debug for Renewed<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Renewed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn named(name: &str, lasts: Option<Duration>, clock: &SharedTimeSource) -> Credentials {
        Credentials::new(name, "secret", None, lasts.map(|lasts| clock.now() + lasts), "test")
    }

    /// Finds the first credentials, and the second ones when it is made anew.
    fn chain_of(found: [Credentials; 2]) -> impl ProvideCredentials {
        let made = AtomicUsize::new(0);
        let make = move || {
            let made = made.fetch_add(1, Ordering::Relaxed);
            let found = found[made.min(1)].clone();
            async move { Some(SharedCredentialsProvider::new(found)) }
        };
        Renewed::new(make, SharedTimeSource::default())
    }

    async fn key(chain: &impl ProvideCredentials) -> String {
        let found = chain.provide_credentials().await.expect("credentials");
        found.access_key_id().to_owned()
    }

    #[tokio::test]
    async fn what_a_file_says_is_read_again_after_two_minutes() {
        let clock = SharedTimeSource::default();
        let chain = chain_of([named("old", None, &clock), named("new", None, &clock)]);
        let found = chain.provide_credentials().await.expect("credentials");
        // The SDK's cache asks again when it expires.
        let lasts = found.expiry().expect("an end").duration_since(clock.now()).expect("to come");
        assert!(lasts <= LOOKED_UP_AFTER && lasts > LOOKED_UP_AFTER / 2, "{lasts:?}");
        assert_eq!((found.access_key_id(), key(&chain).await), ("old", "new".to_owned()));
    }

    #[tokio::test]
    async fn a_chain_whose_credentials_expire_is_kept() {
        let clock = SharedTimeSource::default();
        let chain = chain_of([named("first", Some(HOUR), &clock), named("second", Some(HOUR), &clock)]);
        for _ in 0..3 {
            assert_eq!(key(&chain).await, "first");
        }
    }

    #[tokio::test]
    async fn a_key_that_fits_into_no_header_is_refused() {
        for (key, token) in [("key\n", None), ("kéy", None), ("key", Some("token\r\n".to_owned()))] {
            let found = Credentials::new(key, "secret", token, None, "test");
            let refused =
                chain_of([found.clone(), found]).provide_credentials().await.map(drop).expect_err("is refused");
            assert!(format!("{refused:?}").contains("no header of HTTP"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_chain_that_finds_nothing_is_made_anew() {
        let tries = AtomicUsize::new(0);
        let make = move || {
            let is_first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                let found = Credentials::new("new", "secret", None, None, "test");
                (!is_first).then(|| SharedCredentialsProvider::new(found))
            }
        };
        let chain = Renewed::new(make, SharedTimeSource::default());
        assert!(chain.provide_credentials().await.is_err());
        assert_eq!(key(&chain).await, "new");
    }
}
