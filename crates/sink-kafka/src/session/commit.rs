//! Committing a group: data, dead letters and progress in one transaction, or, where the file promises less, the progress
//! in a transaction after the data was acknowledged.

use std::mem::take;

use tailwater_model::{Committed, Failure, Group};
use tokio::time::Instant;

use super::{LaneSession, Opened, not_open};
use crate::cluster::{Cluster, Outgoing, Producer, SendFault};
use crate::fault::{Fault, Remedy};
use crate::message::{Message, Room, partition_of};
use crate::progress::{ProgressRecord, StepRefused};

/// The partition of the dead letters: they are few, and there every topic has one.
const DEAD_LETTER_PARTITION: i32 = 0;

/// Why a group was not committed.
enum CommitFault {
    /// Before anything was sent.
    Refused(Failure),
    /// Inside the transaction, which can be given up.
    Inside(Fault),
    /// While it was ended: its fate is unknown, and nothing may be sent after it.
    Ending(Fault),
}

impl<C: Cluster> LaneSession<C> {
    /// Commits a group. An empty one only checks that the lane is still ours. Whoever drops the future leaves the lane
    /// closed, and the commit's fate unknown.
    pub(crate) async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.shared.check_dead_letters().map_err(Fault::into_failure)?;
        // From here on the lane is closed, until the commit is known to be durable.
        let Some(mut opened) = self.opened.take() else {
            return Err(Failure::Reopen(not_open(&self.shared.pipeline.name, self.lane)));
        };
        let written =
            if group.is_empty() { self.check(&mut opened).await } else { self.write(&mut opened, group).await };
        match written {
            Ok(committed) => {
                self.shared.add_dead_letters(committed.dead_lettered);
                self.opened = Some(opened);
                Ok(committed)
            }
            Err(fault) => Err(self.failure(&opened, fault).await),
        }
    }

    /// Writes the session's record once more: only the lane's owner can.
    async fn check(&self, opened: &mut Opened<C::Producer>) -> Result<Committed, CommitFault> {
        let mut records = vec![ProgressRecord::Session(opened.mark.clone())];
        records.extend(self.without_earlier_streams(opened, &Group::default()));
        let stored = self.store(&opened.transactional, &records).await;
        stored.map_err(|fault| CommitFault::Ending(self.send_fault(&opened.transactional, fault)))?;
        self.add(opened, records);
        Ok(Committed::default())
    }

    /// What takes the table's earlier streams out of this lane's partition, once the stream is known: by this group, or by
    /// what a lane has stored before.
    fn without_earlier_streams(&self, opened: &Opened<C::Producer>, group: &Group) -> Vec<ProgressRecord> {
        let known_at_ms = self.shared.note_stream(None).known_at_ms;
        let known_at_ms = known_at_ms.or_else(|| group.known_since().map(|_| opened.at_ms()));
        known_at_ms
            .map(|at_ms| opened.progress.without_earlier_streams(&self.shared.pipeline.stream, at_ms))
            .unwrap_or_default()
    }

    /// Takes durable records into what is known of the lane.
    fn add(&self, opened: &mut Opened<C::Producer>, records: Vec<ProgressRecord>) {
        let at_ms = opened.at_ms();
        records.into_iter().for_each(|record| opened.progress.add(record, at_ms));
        self.shared.note_stream(opened.progress.stream_facts(&self.shared.pipeline.stream.stream_arn));
    }

    async fn write(&self, opened: &mut Opened<C::Producer>, mut group: Group) -> Result<Committed, CommitFault> {
        let refused = |refused: StepRefused| CommitFault::Refused(refused.failure());
        let stream = &self.shared.pipeline.stream;
        // I2: held to what is stored before anything is sent; nobody else can have changed it since.
        opened.progress.records_of(&group, stream).map_err(refused)?;
        let deadline = Instant::now() + self.shared.settings.transaction_timeout;
        if let Some(plain) = &opened.plain {
            let delivered = match self.send_group(plain, opened, &mut group, deadline).await {
                // I1: what the progress will stand for is acknowledged first.
                Ok(()) => plain.wait_delivered(deadline).await,
                Err(fault) => Err(fault),
            };
            delivered.map_err(|fault| CommitFault::Inside(self.send_fault(plain, fault)))?;
        }
        let transactional = &opened.transactional;
        let inside = |fault: SendFault| CommitFault::Inside(self.send_fault(transactional, fault));
        transactional.begin().await.map_err(|error| inside(error.into()))?;
        if opened.plain.is_none() {
            self.send_group(transactional, opened, &mut group, deadline).await.map_err(inside)?;
        }
        let mut records = opened.progress.records_of(&group, stream).map_err(refused)?;
        records.extend(self.without_earlier_streams(opened, &group));
        self.send_records(transactional, &records, deadline).await.map_err(inside)?;
        transactional.wait_delivered(deadline).await.map_err(inside)?;
        let ended = transactional.commit(self.end_deadline(deadline)).await;
        ended.map_err(|error| CommitFault::Ending(self.send_fault(transactional, error.into())))?;
        self.add(opened, records);
        Ok(committed(&group))
    }

    /// Encodes and sends event by event, so that a group is never held twice as a whole. What cannot be a message goes to
    /// the dead letters (I5).
    async fn send_group(
        &self,
        producer: &C::Producer,
        opened: &Opened<C::Producer>,
        group: &mut Group,
        deadline: Instant,
    ) -> Result<(), SendFault> {
        let (shared, facts) = (&self.shared, &opened.facts);
        let mut room = Room::default();
        for batch in &mut group.batches {
            for event in take(&mut batch.events) {
                let messages = match shared.encoder.encode(&event, facts.message_bytes_max, &mut room) {
                    Ok(messages) => messages,
                    Err(rejected) => {
                        batch.refuse(&event, rejected);
                        continue;
                    }
                };
                for message in messages {
                    let partition = partition_of(message.key, facts.data_partitions);
                    producer.send(outgoing(&message, &shared.settings.topic, partition, false), deadline).await?;
                }
            }
            for letter in &batch.dead_letters {
                for message in shared.encoder.dead_letter(letter, facts.message_bytes_max) {
                    let topic = &shared.settings.dead_letter_topic;
                    producer.send(outgoing(&message, topic, DEAD_LETTER_PARTITION, true), deadline).await?;
                }
            }
        }
        Ok(())
    }

    async fn failure(&self, opened: &Opened<C::Producer>, fault: CommitFault) -> Failure {
        let fault = match fault {
            CommitFault::Refused(failure) => {
                opened.transactional.abort().await;
                return failure;
            }
            CommitFault::Inside(fault) => {
                if fault.remedy != Remedy::Fenced {
                    opened.transactional.abort().await;
                }
                fault
            }
            CommitFault::Ending(fault) => fault,
        };
        match fault.remedy {
            // Somebody opened the lane after us: either a newer owner, or one that was replaced and is about to notice.
            Remedy::Fenced => match self.look(opened.mark.claim, &opened.mark.owner).await {
                Ok(()) => fault.into_failure(),
                Err(looked) => looked.into_failure(),
            },
            Remedy::Reopen | Remedy::Halt => fault.into_failure(),
        }
    }
}

fn outgoing<'a>(message: &'a Message<'a>, topic: &'a str, partition: i32, by_hand: bool) -> Outgoing<'a> {
    Outgoing { topic, partition, by_hand, key: message.key, value: message.value, headers: &message.headers }
}

fn committed(group: &Group) -> Committed {
    let total = group.counts();
    Committed { written: total.written, dead_lettered: total.dead_lettered }
}
