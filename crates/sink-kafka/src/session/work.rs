//! A group on its way to Kafka: which messages it becomes, and which of its events became none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tailwater_model::{Batch, Committed, Group, Rejected};
use tokio::time::Instant;

use super::Shared;
use crate::client_config::Batches;
use crate::cluster::{Outgoing, Producer, SendFault};
use crate::message::{Message, Room, partition_of};
use crate::topics::TopicFacts;

/// The partition of the dead letters: they are few, and there every topic has one.
const DEAD_LETTER_PARTITION: i32 = 0;

/// A group, and what is known of its events by now.
pub(super) struct Work {
    pub(super) group: Group,
    /// What is left of events that are refused; their records are among the dead letters.
    refused: BTreeMap<EventAt, Left>,
    sent: Sent,
}

/// Where each message of an attempt comes from, in their order; those behind them are progress. Taken note of where messages
/// go one at a time: only there one of them can be found.
#[derive(Default)]
struct Sent {
    messages: Vec<SentMessage>,
    is_noted: bool,
}

/// An event's place: of its batch in the group, and in the batch.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct EventAt {
    batch: usize,
    event: usize,
}

/// What is left of a refused event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// Of a removal its tombstone: that the item is gone is true whatever its event holds.
    Tombstone,
    Nothing,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentMessage {
    pub(super) of: Origin,
    /// An upper bound on its size.
    pub(super) bytes: usize,
}

/// What a message comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    Event(EventAt),
    Tombstone(EventAt),
    DeadLetter,
}

impl Sent {
    fn note(&mut self, of: Origin, bytes: usize) {
        if self.is_noted {
            self.messages.push(SentMessage { of, bytes });
        }
    }
}

impl Work {
    pub(super) fn new(group: Group) -> Self {
        Self { group, refused: BTreeMap::new(), sent: Sent::default() }
    }

    /// Begins another attempt: nothing of the one before was kept.
    pub(super) fn begin(&mut self, batches: Batches) {
        self.sent.messages.clear();
        self.sent.is_noted = batches == Batches::OfOne;
    }

    /// What was sent as this message, unless it was progress.
    pub(super) fn sent(&self, message: usize) -> Option<SentMessage> {
        self.sent.messages.get(message).copied()
    }

    /// Sets an event aside that the server refuses, or the tombstone that was left of it.
    pub(super) fn refuse(&mut self, of: EventAt, left: Left, rejected: Rejected) {
        if self.refused.insert(of, left).is_some() {
            return;
        }
        let Some(batch) = self.group.batches.get_mut(of.batch) else { return };
        if let Some(event) = batch.events.get(of.event).cloned() {
            batch.refuse(&event, rejected);
        }
    }

    pub(super) fn committed(&self) -> Committed {
        Committed::of_group(&self.group)
    }

    /// Encodes and sends event by event, so that a group is never held twice as a whole. What cannot be a message goes to the
    /// dead letters (I5). Where messages go in batches of one, events stay here for another attempt.
    pub(super) async fn send_events<C>(
        &mut self,
        shared: &Shared<C>,
        producer: &impl Producer,
        (facts, batches): (&TopicFacts, Batches),
        deadline: Instant,
    ) -> Result<(), SendFault> {
        let Self { group, refused, sent } = self;
        let mut room = Room::default();
        for (batch, number) in group.batches.iter_mut().zip(0..) {
            let events = std::mem::take(&mut batch.events);
            let mut sending = Sending { shared, producer, facts, deadline, refused, sent, room: &mut room };
            let done = sending.events(batch, number, &events).await;
            if batches == Batches::OfOne {
                batch.events = events;
            }
            done?;
        }
        Ok(())
    }

    /// Sends the dead letters of all batches.
    pub(super) async fn send_dead_letters<C>(
        &mut self,
        shared: &Shared<C>,
        producer: &impl Producer,
        facts: &TopicFacts,
        deadline: Instant,
    ) -> Result<(), SendFault> {
        for letter in self.group.batches.iter().flat_map(|batch| &batch.dead_letters) {
            for message in shared.encoder.dead_letter(letter, facts.limits.dead_letter_bytes_max) {
                self.sent.note(Origin::DeadLetter, message.bytes());
                let topic = &shared.settings.dead_letter_topic;
                producer.send(outgoing(&message, topic, DEAD_LETTER_PARTITION, true), deadline).await?;
            }
        }
        Ok(())
    }
}

/// Sending the events of one batch.
struct Sending<'a, C, P> {
    shared: &'a Shared<C>,
    producer: &'a P,
    facts: &'a TopicFacts,
    deadline: Instant,
    refused: &'a mut BTreeMap<EventAt, Left>,
    sent: &'a mut Sent,
    room: &'a mut Room,
}

impl<C, P: Producer> Sending<'_, C, P> {
    async fn events(
        &mut self,
        batch: &mut Batch,
        number: usize,
        events: &[tailwater_model::ChangeEvent],
    ) -> Result<(), SendFault> {
        let Self { shared, producer, facts, deadline, refused, sent, room } = self;
        let bytes_max = facts.limits.data_bytes_max;
        for (event, index) in events.iter().zip(0..) {
            let at = EventAt { batch: number, event: index };
            if let Entry::Vacant(vacant) = refused.entry(at) {
                match shared.encoder.encode(event, bytes_max, room) {
                    Ok(messages) => {
                        for (message, of) in messages.zip([Origin::Event(at), Origin::Tombstone(at)]) {
                            sent.note(of, message.bytes());
                            send_data(shared, *producer, facts, &message, *deadline).await?;
                        }
                        continue;
                    }
                    Err(rejected) => batch.refuse(event, rejected),
                }
                vacant.insert(Left::Tombstone);
            }
            let is_left = refused.get(&at) == Some(&Left::Tombstone);
            if is_left && let Some(message) = shared.encoder.tombstone(event, bytes_max, room) {
                sent.note(Origin::Tombstone(at), message.bytes());
                send_data(shared, *producer, facts, &message, *deadline).await?;
            }
        }
        Ok(())
    }
}

async fn send_data<C>(
    shared: &Shared<C>,
    producer: &impl Producer,
    facts: &TopicFacts,
    message: &Message<'_>,
    deadline: Instant,
) -> Result<(), SendFault> {
    let partition = partition_of(message.key, facts.data_partitions);
    producer.send(outgoing(message, &shared.settings.topic, partition, false), deadline).await
}

fn outgoing<'a>(message: &'a Message<'a>, topic: &'a str, partition: i32, by_hand: bool) -> Outgoing<'a> {
    Outgoing { topic, partition, by_hand, key: message.key, value: message.value, headers: &message.headers }
}
