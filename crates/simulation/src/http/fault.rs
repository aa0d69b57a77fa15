//! What goes wrong on the way: answers that are no answers.

use crate::service::Probability;

/// The length of a long message: 100 KB were seen.
const LONG_MESSAGE_BYTES: usize = 100 * 1024;

/// The chance of each broken answer, drawn one after the other.
#[derive(Clone, Debug, Default)]
pub struct WireManners {
    /// HTTP 503 with a page of HTML.
    pub html: Probability,
    /// HTTP 500 without a body.
    pub empty: Probability,
    /// HTTP 200 with the first half of the JSON. The request was processed.
    pub truncated: Probability,
    /// A checksum that is not the body's. The request was processed.
    pub wrong_checksum: Probability,
    /// HTTP 500 with a very long message.
    pub long_message: Probability,
    /// The answer comes after some seconds. The request was processed.
    pub slow: Probability,
}

/// What becomes of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Html,
    Empty,
    Truncated,
    WrongChecksum,
    LongMessage,
    Slow,
}

impl WireManners {
    /// Draws what is wrong with the next answer, by its name; nothing, mostly.
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> Option<(&'static str, Broken)> {
        let chances = [
            (self.html, ("html", Broken::Html)),
            (self.empty, ("empty", Broken::Empty)),
            (self.truncated, ("truncated", Broken::Truncated)),
            (self.wrong_checksum, ("wrong_checksum", Broken::WrongChecksum)),
            (self.long_message, ("long_message", Broken::LongMessage)),
            (self.slow, ("slow", Broken::Slow)),
        ];
        chances.into_iter().find_map(|(chance, broken)| (chance > 0.0 && rng.f64() < chance).then_some(broken))
    }
}

pub(super) fn long_message() -> String {
    serde_json::json!({
        "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError",
        "message": "so much to say. ".repeat(LONG_MESSAGE_BYTES / 16),
    })
    .to_string()
}
