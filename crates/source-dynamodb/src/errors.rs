//! Every error of the AWS SDK is given its meaning here, and nowhere else: for the reader as an [`ApiError`], for
//! people as a [`Trouble`] with advice.

use std::error::Error;

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http_body_util::LengthLimitError;
use tailwater_model::{Trouble, TroubleKind};

use crate::api::{ApiError, ApiErrorKind};
use crate::endpoint::Place;
use crate::page::PageFault;

/// Longest message that is passed on, in bytes. Services have answered with pages of HTML and stack traces.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Deepest chain of causes that is written out.
const CAUSES_MAX: usize = 12;

/// The message of a signature error quotes the signed request after these words, session token included.
const QUOTED_REQUEST: &str = "The Canonical String";

/// An error with its meaning.
#[derive(Clone, Debug)]
pub(crate) struct SortedError {
    pub(crate) kind: ApiErrorKind,
    pub(crate) origin: Origin,
    /// The call, its error code and the words that came with it: bounded, in one line, without credentials.
    pub(crate) message: String,
}

/// Who reported an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The service answered.
    Service,
    /// Nothing, or nothing whole, came back.
    Network,
    /// No provider of the chain had credentials.
    CredentialsMissing,
    /// A provider tried and failed.
    CredentialsProvider,
    /// The request could not be made.
    Request,
}

/// Gives an error of the call `operation` its meaning (`dynamodb-streams` API reference and observed codes).
pub(crate) fn sort<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> SortedError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(credentials) = causes(error).find(|cause| cause.is::<CredentialsError>()) {
        let origin = if found_none(credentials) { Origin::CredentialsMissing } else { Origin::CredentialsProvider };
        return SortedError { kind: ApiErrorKind::Credentials, origin, message: chain(operation, credentials) };
    }
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = bare_code(answer.err().code().unwrap_or_default());
            let words = answer.err().message().unwrap_or("no message");
            let request = answer.raw().headers().get("x-amzn-requestid").unwrap_or("unknown");
            let shown = if code.is_empty() { "no error code" } else { code };
            SortedError {
                kind: kind_of_answer(operation, code, words, status),
                origin: Origin::Service,
                message: bounded(&format!("{operation}: {shown} (HTTP {status}, request {request}): {words}")),
            }
        }
        SdkError::ConstructionFailure(_) => {
            SortedError { kind: ApiErrorKind::Invalid, origin: Origin::Request, message: chain(operation, error) }
        }
        SdkError::ResponseError(_) if causes(error).any(is_no_page) => {
            SortedError { kind: ApiErrorKind::Malformed, origin: Origin::Network, message: chain(operation, error) }
        }
        // Timeouts, broken connections, and whatever a later SDK adds.
        _ => SortedError { kind: ApiErrorKind::Transient, origin: Origin::Network, message: chain(operation, error) },
    }
}

/// What the reader makes of an error that the service answered in the call `operation` (`GetRecords`), with its `code` as
/// it came over the wire, its words and the HTTP status. For other ways to the service than the AWS SDK.
pub fn api_error(operation: &str, code: &str, message: &str, status: u16) -> ApiError {
    let code = bare_code(code);
    let shown = if code.is_empty() { "no error code" } else { code };
    ApiError {
        kind: kind_of_answer(operation, code, message, status),
        message: bounded(&format!("{operation}: {shown} (HTTP {status}): {message}")),
    }
}

/// The code without its namespace and link: after the last `#`, before the first `:`.
pub(crate) fn bare_code(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or(code);
    code.split(':').next().unwrap_or(code).trim()
}

fn kind_of_answer(operation: &str, code: &str, message: &str, status: u16) -> ApiErrorKind {
    match code {
        "ExpiredIteratorException" => ApiErrorKind::IteratorExpired,
        "TrimmedDataAccessException" => ApiErrorKind::Trimmed,
        "ResourceNotFoundException" => ApiErrorKind::NotFound,
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => ApiErrorKind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => ApiErrorKind::Credentials,
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => ApiErrorKind::Denied,
        // The iterator is the only thing in this request that can be invalid, and the service gave it to us.
        "ValidationException" if operation == "GetRecords" && message.contains("terator") => {
            ApiErrorKind::IteratorExpired
        }
        "ValidationException" | "SerializationException" | "UnknownOperationException" | "InvalidAction" => {
            ApiErrorKind::Invalid
        }
        _ if status == 429 => ApiErrorKind::Throttled,
        // Unknown: again, with the message in the log, never skipped.
        _ => ApiErrorKind::Transient,
    }
}

/// Whether the chain of credential providers came to its end: the metadata service of EC2 is its last, and what answers
/// there outside of EC2 may be anything.
fn found_none(credentials: &(dyn Error + 'static)) -> bool {
    causes(credentials).any(|cause| {
        let not_loaded = matches!(cause.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_)));
        not_loaded || cause.is::<ImdsError>()
    })
}

/// A body that came whole, or far too much of one, and is no page of records.
fn is_no_page(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<PageFault>() || cause.is::<LengthLimitError>()
}

/// The error, its cause, the cause of that.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source()).take(CAUSES_MAX)
}

/// The texts of an error and its causes in one line, without those that repeat the one before.
fn chain(operation: &str, error: &(dyn Error + 'static)) -> String {
    let mut line = String::from(operation);
    for cause in causes(error) {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    bounded(&line)
}

/// One line of at most [`MESSAGE_BYTES_MAX`] bytes, cut before a quoted request.
pub(crate) fn bounded(text: &str) -> String {
    let text = text.split(QUOTED_REQUEST).next().unwrap_or_default();
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    let mut line: String = text[..end].chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if end < text.len() {
        line.push('…');
    }
    line
}

impl SortedError {
    /// Whether the service itself says that it has no answer for the moment. Where nothing answers, the address may be wrong.
    pub(crate) fn may_pass(&self) -> bool {
        self.origin == Origin::Service && matches!(self.kind, ApiErrorKind::Throttled | ApiErrorKind::Transient)
    }

    /// What the reader makes of it. Where nothing came back, it has to be known where that was.
    pub(crate) fn at(self, place: &Place) -> ApiError {
        let Self { kind, origin, message } = self;
        let message = if origin == Origin::Network { format!("{message}, in {}", place.with_way()) } else { message };
        ApiError { kind, message }
    }

    /// The error of a table's operation in words for people. `place` says where we looked.
    pub(crate) fn trouble(self, action: &str, table: &str, place: &Place) -> Trouble {
        let Self { kind, origin, message } = self;
        let environment =
            |code, what: String, advice: String| Trouble::new(TroubleKind::Environment, code, what).advise(advice);
        match (origin, kind) {
            (Origin::CredentialsMissing, _) => environment(
                "aws.no_credentials",
                format!("no AWS credentials were found for {place}: {message}"),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a `profile`, or run where a role is attached; \
                 DynamoDB Local and other emulators take any values: \
                 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"
                    .into(),
            ),
            (Origin::Network, _) => environment(
                "aws.unreachable",
                format!("DynamoDB cannot be reached in {}: {message}", place.with_way()),
                "check the spelling of the region and the endpoint, who names them, and that this machine may connect there; \
                 AWS_CA_BUNDLE names authorities of your own"
                    .into(),
            ),
            (_, ApiErrorKind::Credentials) => environment(
                "aws.credentials",
                format!("the AWS credentials are expired or not accepted in {place}: {message}"),
                "renew them (`aws sso login`, a new session token), check `profile`, `role_arn` and `external_id`, \
                 and that this machine's clock is right"
                    .into(),
            ),
            (_, ApiErrorKind::Denied) => environment(
                "aws.access_denied",
                format!("{action} on table {table:?} in {place} was denied: {message}"),
                match action {
                    "dynamodb:ListStreams" => format!("allow {action} with the resource \"*\" in the caller's IAM policy"),
                    _ => format!("allow {action} for this table and its streams in the caller's IAM policy"),
                },
            ),
            (_, ApiErrorKind::NotFound) => environment(
                "aws.table_not_found",
                format!("table {table:?} does not exist in {place}: {message}"),
                "check the table's name, `region`, `endpoint_url` and the account that the credentials belong to"
                    .into(),
            ),
            (_, ApiErrorKind::Invalid) => Trouble::new(
                TroubleKind::Config,
                "aws.refused",
                format!("DynamoDB refused {action} on table {table:?} in {place}: {message}"),
            )
            .advise("check the table's name and the settings of the source"),
            _ => environment(
                "aws.unavailable",
                format!("DynamoDB in {place} could not answer {action} on table {table:?}: {message}"),
                "try again in a moment".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_in_every_spelling() {
        for spelling in [
            "ThrottlingException",
            "com.amazon.coral.availability#ThrottlingException",
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.availability/",
            "a#b#ThrottlingException",
        ] {
            assert_eq!(bare_code(spelling), "ThrottlingException", "{spelling}");
        }
    }

    #[test]
    fn answers_are_sorted_by_meaning() {
        for (operation, code, message, status, kind) in [
            ("GetRecords", "ExpiredIteratorException", "", 400, ApiErrorKind::IteratorExpired),
            ("GetRecords", "ValidationException", "Invalid ShardIterator", 400, ApiErrorKind::IteratorExpired),
            ("GetRecords", "ValidationException", "limit", 400, ApiErrorKind::Invalid),
            ("GetShardIterator", "ValidationException", "ShardIteratorType", 400, ApiErrorKind::Invalid),
            ("GetShardIterator", "TrimmedDataAccessException", "", 400, ApiErrorKind::Trimmed),
            ("DescribeStream", "ResourceNotFoundException", "", 400, ApiErrorKind::NotFound),
            ("DescribeStream", "LimitExceededException", "", 400, ApiErrorKind::Throttled),
            ("DescribeStream", "ExpiredTokenException", "", 400, ApiErrorKind::Credentials),
            ("DescribeStream", "AccessDeniedException", "", 400, ApiErrorKind::Denied),
            ("DescribeStream", "SomethingNew", "", 400, ApiErrorKind::Transient),
            ("DescribeStream", "", "<html>", 503, ApiErrorKind::Transient),
            ("DescribeStream", "", "", 429, ApiErrorKind::Throttled),
        ] {
            assert_eq!(kind_of_answer(operation, code, message, status), kind, "{operation} {code} {message} {status}");
        }
    }

    #[test]
    fn an_answer_without_the_sdk_is_sorted_alike() {
        let error = api_error("GetRecords", "com.amazonaws.dynamodb.v20120810#ExpiredIteratorException", "old", 400);
        assert_eq!(error.kind, ApiErrorKind::IteratorExpired);
        assert_eq!(error.message, "GetRecords: ExpiredIteratorException (HTTP 400): old");
    }

    #[test]
    fn missing_credentials_are_told_from_broken_ones() {
        let none = CredentialsError::not_loaded("no provider");
        assert!(found_none(&none));
        assert!(found_none(&CredentialsError::provider_error(none)), "no credentials to assume the role with");
        assert!(!found_none(&CredentialsError::provider_error("the role may not be assumed")));
    }

    #[test]
    fn messages_are_one_bounded_line_without_the_quoted_request() {
        let long = bounded(&"é\n".repeat(5000));
        assert!(long.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8() && !long.contains('\n') && long.ends_with('…'));
        let quoted = "bad. The Canonical String for this request should have been 'x-amz-security-token:SECRET'";
        assert_eq!(bounded(quoted), "bad. ");
    }
}
