//! Errors by their wire codes.

use std::fmt;

/// An error as the service answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// The code without its namespace.
    pub code: &'static str,
    /// The service's words.
    pub message: String,
}

impl ServiceError {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The code as it stands in `__type` on the wire. The namespaces are those that AWS was seen to use.
    pub fn wire_type(&self) -> String {
        wire_type(self.code)
    }
}

/// An error's code with its namespace before it.
pub(crate) fn wire_type(code: &str) -> String {
    let namespace = match code {
        "ThrottlingException" => "com.amazon.coral.availability",
        "ValidationException" => "com.amazon.coral.validate",
        "ExpiredTokenException" | "UnrecognizedClientException" | "AccessDeniedException" => "com.amazon.coral.service",
        "ExpiredIteratorException" | "TrimmedDataAccessException" => "com.amazonaws.dynamodb.streams.v20120810",
        _ => "com.amazonaws.dynamodb.v20120810",
    };
    format!("{namespace}#{code}")
}

impl fmt::Display for ServiceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (HTTP {}): {}", self.code, self.status, self.message)
    }
}

impl std::error::Error for ServiceError {}

pub(super) fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "ValidationException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "ResourceNotFoundException", message)
}

pub(super) fn table_not_found(table: &str) -> ServiceError {
    not_found(format!("Requested resource not found: Table: {table} not found"))
}

pub(super) fn throttled() -> ServiceError {
    ServiceError::new(400, "ThrottlingException", "Rate exceeded")
}

pub(super) fn limit_exceeded() -> ServiceError {
    ServiceError::new(
        400,
        "LimitExceededException",
        "There are too many concurrent readers of the shard or too many calls",
    )
}

pub(super) fn trimmed() -> ServiceError {
    let message = "The operation attempted to read past the oldest stream record in a shard.";
    ServiceError::new(400, "TrimmedDataAccessException", message)
}

pub(super) fn expired_iterator() -> ServiceError {
    ServiceError::new(
        400,
        "ExpiredIteratorException",
        "Iterator expired. The iterator was created more than 15 minutes ago.",
    )
}
