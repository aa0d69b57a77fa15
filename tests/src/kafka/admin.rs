//! Topics made, grown and deleted the way an administrator does it, past our own code.
//!
//! kcat cannot do it and Kafka's tools need a second of Java for each call, so that the requests are written by hand
//! (Kafka protocol guide: `Metadata` version 1, `CreateTopics` version 2, `DeleteTopics` version 1, `CreatePartitions` version 0).

use anyhow::{Result, bail, ensure};

use super::wire::{Body, ask, take_int, take_short, take_text};

const METADATA: (i16, i16) = (3, 1);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);
const CREATE_PARTITIONS: (i16, i16) = (37, 0);
/// How long the broker may take until the change is in effect, in milliseconds.
const TIMEOUT_MS: i32 = 15_000;
/// `false` for "only validate".
const DO_IT: [u8; 1] = [0];

/// An error unless the broker knows itself and its controller: then clients can use it.
pub fn must_be_ready(brokers: &str) -> Result<()> {
    // An empty array asks about no topic, a null one about all.
    let answer = ask(brokers, METADATA.0, METADATA.1, Body::default().int(0))?;
    let mut rest = answer.as_slice();
    let count = take_int(&mut rest)?;
    for _ in 0..count {
        let (_node, _host, _port, _rack) =
            (take_int(&mut rest)?, take_text(&mut rest)?, take_int(&mut rest)?, take_text(&mut rest)?);
    }
    let controller = take_int(&mut rest)?;
    if count < 1 || controller < 0 {
        bail!("{count} brokers, controller {controller}");
    }
    Ok(())
}

/// Makes a topic with one copy of each partition and these settings.
pub fn create_topic(brokers: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    let one_copy = 1_i16.to_be_bytes();
    let mut body = Body::default().int(1).text(topic).int(partitions).bytes(&one_copy).int(0);
    body = body.int(i32::try_from(settings.len())?);
    for (name, value) in settings {
        body = body.text(name).text(value);
    }
    must_succeed(brokers, CREATE_TOPICS, body.int(TIMEOUT_MS).bytes(&DO_IT), true)
}

/// Raises a topic's number of partitions to `partitions`.
pub fn raise_partitions(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
    // A null assignment: the broker picks the places.
    let body = Body::default().int(1).text(topic).int(partitions).int(-1);
    must_succeed(brokers, CREATE_PARTITIONS, body.int(TIMEOUT_MS).bytes(&DO_IT), true)
}

/// Deletes topics. One that is not there is an error, after the others were deleted.
pub fn delete_topics(brokers: &str, topics: &[String]) -> Result<()> {
    let mut body = Body::default().int(i32::try_from(topics.len())?);
    for topic in topics {
        body = body.text(topic);
    }
    must_succeed(brokers, DELETE_TOPICS, body.int(TIMEOUT_MS), false)
}

/// All three answer with the throttle time and then each topic's name and error code, two of them with a text as well.
fn must_succeed(brokers: &str, (api, version): (i16, i16), body: Body, with_text: bool) -> Result<()> {
    let answer = ask(brokers, api, version, body)?;
    let mut rest = answer.as_slice();
    take_int(&mut rest)?;
    for _ in 0..take_int(&mut rest)? {
        let (topic, code) = (take_text(&mut rest)?, take_short(&mut rest)?);
        let text = if with_text { take_text(&mut rest)? } else { String::new() };
        ensure!(code == 0, "request {api} about topic {topic}: error {code} {text}");
    }
    Ok(())
}
