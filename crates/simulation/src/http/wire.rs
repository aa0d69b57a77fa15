//! How requests are refused on the wire.

use dynoxide::DynoxideError;
use serde_json::{Map, Value, json};

use crate::service::ServiceError;

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error as DynamoDB writes it: JSON with `__type` and, mostly, `message`.
    pub body: String,
}

impl Refusal {
    fn new(status: u16, wire_type: &str, message: &str) -> Self {
        Self { status, body: json!({"__type": wire_type, "message": message}).to_string() }
    }

    pub(super) fn unknown_operation() -> Self {
        Self { status: 400, body: json!({"__type": "com.amazon.coral.service#UnknownOperationException"}).to_string() }
    }

    /// The body is no JSON object, or a field has a type that it cannot have.
    pub(super) fn not_json() -> Self {
        Self { status: 400, body: json!({"__type": "com.amazon.coral.service#SerializationException"}).to_string() }
    }

    /// A request whose fields do not fit together.
    pub(super) fn unreadable(message: &str) -> Self {
        Self::new(400, "com.amazon.coral.validate#ValidationException", message)
    }

    /// A field has a type that it cannot have. AWS writes the word with a capital here.
    pub(super) fn serialization(message: &str) -> Self {
        let mut body = json!({"__type": "com.amazon.coral.service#SerializationException"});
        if !message.is_empty() {
            body["Message"] = message.into();
        }
        Self { status: 400, body: body.to_string() }
    }

    /// Values that cannot be together.
    pub(super) fn invalid(message: &str) -> Self {
        Self::unreadable(&format!("One or more parameter values were invalid: {message}"))
    }

    pub(super) fn internal(message: &str) -> Self {
        Self::new(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", message)
    }

    pub(super) fn missing(field: &str) -> Self {
        let message = format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        );
        Self::new(400, "com.amazon.coral.validate#ValidationException", &message)
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Self::new(error.status, &error.wire_type(), &error.message)
    }
}

impl From<DynoxideError> for Refusal {
    fn from(error: DynoxideError) -> Self {
        Self { status: error.status_code(), body: error.to_json() }
    }
}

/// A text field; nothing when it is absent or null.
pub(super) fn text(request: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match request.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::not_json()),
    }
}

/// A text field that must be there.
pub(super) fn needed_text(request: &Map<String, Value>, field: &str) -> Result<String, Refusal> {
    // The service names its members with a small letter.
    let mut letters = field.chars();
    let member = letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect::<String>();
    text(request, field)?.ok_or_else(|| Refusal::missing(&member))
}

/// A number that is not negative; nothing when it is absent or null.
pub(super) fn number(request: &Map<String, Value>, field: &str) -> Result<Option<u32>, Refusal> {
    match request.get(field) {
        None | Some(Value::Null) => Ok(None),
        // What is too large or negative is out of every range, as zero is.
        Some(Value::Number(number)) => {
            Ok(Some(number.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)))
        }
        Some(_) => Err(Refusal::not_json()),
    }
}
