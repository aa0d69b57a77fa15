//! Calls of the embedded database, and its refusals in AWS's words.

use dynoxide::DynoxideError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::wire::Refusal;

/// Calls the embedded database through its own JSON: what it reads and writes is what a server would.
pub(super) fn call<Q: DeserializeOwned, A: Serialize>(
    request: Map<String, Value>,
    work: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<Value, Refusal> {
    let request = serde_json::from_value(Value::Object(request)).map_err(|error| unreadable(&error.to_string()))?;
    let answer = work(request)?;
    serde_json::to_value(&answer).map_err(|error| Refusal::internal(&error.to_string()))
}

/// Why a request cannot be read. Some checks of values stand in the database's reader, which marks their messages with the
/// kind of the error; its own server takes the marks off, and so has everybody else to.
fn unreadable(message: &str) -> Refusal {
    let marked = |marks: &[&str]| marks.iter().find_map(|mark| message.strip_prefix(mark));
    if let Some(message) = marked(&["VALIDATION_REQUEST:"]) {
        return Refusal::unreadable(&format!("1 validation error detected: {message}"));
    }
    if let Some(message) = marked(&["VALIDATION:", "VALIDATION_AS_READ:"]) {
        return Refusal::unreadable(message);
    }
    if let Some(message) = marked(&["SERIALIZATION:", "SERIALIZATION_AS_READ:"]) {
        return Refusal::serialization(message);
    }
    if message.contains("empty AttributeValue") {
        let message = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
        return Refusal::unreadable(message);
    }
    let is_a_value_at_fault =
        ["missing field", "unknown variant", "invalid type: null", "Supplied AttributeValue"].iter();
    if is_a_value_at_fault.into_iter().any(|word| message.contains(word)) {
        return Refusal::unreadable(message);
    }
    tracing::debug!(message, "a request whose types the embedded database cannot read");
    Refusal::serialization(message)
}
