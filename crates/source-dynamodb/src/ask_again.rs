//! What is asked again while the service has no answer: calls of a start and of a person. The reader has waits of its own.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::errors::{self, SortedError};

/// Waits before a call is made again, 15 seconds in all: limits of an account are counted by the second, and nobody waits for
/// longer at a prompt.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// The answer to a call. What the service throttles, or cannot answer for the moment, is asked again for [`PAUSES`].
pub(crate) async fn answered<T, E, F>(operation: &'static str, ask: impl Fn() -> F) -> Result<T, SortedError>
where
    E: Error + ProvideErrorMetadata + 'static,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let mut pauses = PAUSES.into_iter();
    loop {
        let sorted = match Box::pin(ask()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => errors::sort(operation, &error),
        };
        let pause = if sorted.may_pass() { pauses.next() } else { None };
        let Some(pause) = pause else { return Err(sorted) };
        tracing::warn!("{}; asking again", sorted.message);
        tokio::time::sleep(pause).await;
    }
}
