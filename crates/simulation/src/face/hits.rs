//! The names under which errors are counted.

use tailwater_source_dynamodb::ApiErrorKind;

/// What errors mean to a reader, each by the name under which it is counted among the hits.
pub const ERROR_HITS: [(ApiErrorKind, &str); 8] = [
    (ApiErrorKind::Throttled, "error_throttled"),
    (ApiErrorKind::Transient, "error_transient"),
    (ApiErrorKind::IteratorExpired, "error_iterator_expired"),
    (ApiErrorKind::Trimmed, "error_trimmed"),
    (ApiErrorKind::NotFound, "error_not_found"),
    (ApiErrorKind::Credentials, "error_credentials"),
    (ApiErrorKind::Denied, "error_denied"),
    (ApiErrorKind::Invalid, "error_invalid"),
];

pub(super) fn error_hit(kind: ApiErrorKind) -> &'static str {
    ERROR_HITS.iter().find(|(one, _)| *one == kind).map_or("error_unnamed", |(_, name)| name)
}
