//! Topics made, grown and deleted the way an administrator does it, past our own code.
//!
//! kcat cannot do it and Kafka's tools need a second of Java for each call, so that the requests are written by hand
//! (Kafka protocol guide: `Metadata` and `FindCoordinator` version 1, `CreateTopics` version 2, `DeleteTopics` version 1,
//! `CreatePartitions` version 0).

use anyhow::{Result, bail, ensure};

use super::wire::{Body, ask, take_byte, take_int, take_ints, take_short, take_text};

const METADATA: (i16, i16) = (3, 1);
const FIND_COORDINATOR: (i16, i16) = (10, 1);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);
const CREATE_PARTITIONS: (i16, i16) = (37, 0);
/// How long the broker may take until the change is in effect, in milliseconds.
const TIMEOUT_MS: i32 = 15_000;
/// What a key of `FindCoordinator` is: a transactional id.
const TRANSACTION: [u8; 1] = [1];
/// `false` for "only validate".
const DO_IT: [u8; 1] = [0];

/// An error unless the broker knows itself and its controller: then clients can use it.
pub fn must_be_ready(broker: &str) -> Result<()> {
    // An empty array asks about no topic, a null one about all.
    let answer = ask(broker, METADATA.0, METADATA.1, Body::default().int(0))?;
    let (count, controller) = take_brokers(&mut answer.as_slice())?;
    if count < 1 || controller < 0 {
        bail!("{count} brokers, controller {controller}");
    }
    Ok(())
}

/// A partition as a broker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The node that leads it; -1 when there is none.
    pub leader: i32,
    /// Copies that are in step.
    pub in_step: usize,
}

/// The partitions of a topic, by their numbers.
pub fn partitions(broker: &str, topic: &str) -> Result<Vec<PartitionState>> {
    let answer = ask(broker, METADATA.0, METADATA.1, Body::default().int(1).text(topic))?;
    let rest = &mut answer.as_slice();
    take_brokers(rest)?;
    ensure!(take_int(rest)? == 1, "an answer about another number of topics");
    let (code, _name, _is_internal) = (take_short(rest)?, take_text(rest)?, take_byte(rest)?);
    ensure!(code == 0, "the broker answers about topic {topic}: error {code}");
    let mut partitions = Vec::new();
    for _ in 0..take_int(rest)? {
        let (_code, number, leader) = (take_short(rest)?, take_int(rest)?, take_int(rest)?);
        let (_copies, in_step) = (take_ints(rest)?, take_ints(rest)?);
        partitions.push((number, PartitionState { leader, in_step: in_step.len() }));
    }
    partitions.sort_by_key(|(number, _)| *number);
    Ok(partitions.into_iter().map(|(_, state)| state).collect())
}

/// The node that coordinates the transactions of this id.
pub fn coordinator_of(broker: &str, transactional_id: &str) -> Result<i32> {
    let body = Body::default().text(transactional_id).bytes(&TRANSACTION);
    let answer = ask(broker, FIND_COORDINATOR.0, FIND_COORDINATOR.1, body)?;
    let rest = &mut answer.as_slice();
    let (_throttled, code, text) = (take_int(rest)?, take_short(rest)?, take_text(rest)?);
    ensure!(code == 0, "the coordinator of {transactional_id}: error {code} {text}");
    take_int(rest)
}

/// How many brokers there are, and the controller.
fn take_brokers(rest: &mut &[u8]) -> Result<(i32, i32)> {
    let count = take_int(rest)?;
    for _ in 0..count {
        let (_node, _host, _port, _rack) = (take_int(rest)?, take_text(rest)?, take_int(rest)?, take_text(rest)?);
    }
    Ok((count, take_int(rest)?))
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
