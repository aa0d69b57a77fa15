//! Committing a group: data, dead letters and progress in one transaction, or, where the file promises less, dead letters and
//! progress in a transaction after the data was acknowledged.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tailwater_model::{Committed, Failure, Group, Rejected, TooManyDeadLetters, Trouble, TroubleKind};
use tokio::time::Instant;

use super::failures::is_too_large;
use super::work::{Left, Origin, Work};
use super::{Claim, LaneSession, Opened, not_open};
use crate::client_config::{BATCH_BYTES_MAX, Batches};
use crate::cluster::{Cluster, Producer, SendFault};
use crate::fault::{Fault, Remedy, may_blame_message};
use crate::progress::{ProgressRecord, SessionMark, StepRefused};
use crate::topics::TopicFacts;

/// How old a lane's stored session may grow while it commits: as old as that of an idle lane does.
const SESSION_INTERVAL: Duration = Duration::from_secs(10);

/// Why a group was not committed.
enum CommitFault {
    /// Before anything was sent.
    Refused(Failure),
    /// Nothing of it was stored, for it has more dead letters than the store may take.
    TooManyDeadLetters(TooManyDeadLetters),
    /// Inside the transaction, which can be given up.
    Inside { fault: Fault, delivery: Option<FailedDelivery> },
    /// While it was ended: its fate is unknown, and nothing may be sent after it.
    Ending(Fault),
}

/// The first delivery that failed.
#[derive(Clone, Copy)]
struct FailedDelivery {
    code: RDKafkaErrorCode,
    message: usize,
}

impl<C: Cluster> LaneSession<C> {
    /// Commits a group. An empty one only checks that the lane is still ours. Whoever drops the future leaves the lane
    /// closed, and the commit's fate unknown.
    ///
    /// After some failures by which a message may be at fault, messages go one at a time; the one that is refused is set aside,
    /// and the lane is opened again for the rest (I7).
    pub(crate) async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        // From here on the lane is closed, until the commit is known to be durable.
        let Some(mut opened) = self.opened.take() else {
            return Err(Failure::Reopen(not_open(&self.shared.pipeline.name, self.lane)));
        };
        if group.is_empty() {
            return match self.check(&mut opened).await {
                Ok(()) => {
                    self.opened = Some(opened);
                    Ok(Committed::default())
                }
                Err(fault) => Err(self.failure(&opened, fault).await),
            };
        }
        let mut work = Work::new(group);
        loop {
            // Each attempt may set one more message aside, and each costs an opening: what is too much is not waited for.
            if let Err(exceeded) = self.look_at_dead_letters(&opened, &work.group) {
                return Err(self.brake(&opened, &exceeded).await);
            }
            let fault = match self.write(&mut opened, &mut work).await {
                Ok(()) => {
                    self.ended(opened).await;
                    return Ok(work.committed());
                }
                Err(fault) => fault,
            };
            let is_isolated = self.isolate(&opened, &fault, &mut work);
            let failure = self.failure(&opened, fault).await;
            if !is_isolated {
                return Err(failure);
            }
            opened = self.open_again(opened).await?;
        }
    }

    /// The group is durable. Where messages went one at a time, they need not any more.
    async fn ended(&mut self, opened: Opened<C::Producer>) {
        self.failures.end();
        if opened.batches == Batches::Full {
            self.opened = Some(opened);
        } else if let Err(failure) = self.open_again(opened).await.map(|opened| self.opened = Some(opened)) {
            // The lane is closed then, and whoever commits next is told to open it.
            tracing::debug!(lane = self.lane, "opening for full batches: {}", failure.trouble());
        }
    }

    async fn open_again(&mut self, opened: Opened<C::Producer>) -> Result<Opened<C::Producer>, Failure> {
        let (facts, mark) = (opened.facts, opened.mark.clone());
        drop(opened);
        self.open_as(facts, mark).await
    }

    async fn open_as(&mut self, facts: TopicFacts, mark: SessionMark) -> Result<Opened<C::Producer>, Failure> {
        let claim = Claim::Made { number: mark.claim, owner: mark.owner };
        // Boxed: it is rare, and would make every commit's future larger.
        Box::pin(self.open(facts, &claim)).await.map_err(Fault::into_failure)?;
        self.opened.take().ok_or_else(|| Failure::Reopen(not_open(&self.shared.pipeline.name, self.lane)))
    }

    /// Writes the session's record once more: only the lane's owner can.
    async fn check(&self, opened: &mut Opened<C::Producer>) -> Result<(), CommitFault> {
        opened.times.begun = Instant::now();
        let records = self.records_of(opened, &Group::default()).map_err(refused_step)?;
        let records = self.with_session(opened, records);
        self.store(&opened.transactional, &records).await.map_err(CommitFault::Ending)?;
        self.add(opened, records);
        Ok(())
    }

    /// What a group adds to this lane's partition. Once the stream is known, by this group or by what a lane has stored before,
    /// the table's earlier streams leave with it.
    fn records_of(&self, opened: &Opened<C::Producer>, group: &Group) -> Result<Vec<ProgressRecord>, StepRefused> {
        let known_at_ms = self.shared.note_stream(None).known_at_ms;
        let known_at_ms = known_at_ms.or_else(|| group.known_since().map(|_| opened.at_ms()));
        opened.progress.records_of(group, &self.shared.pipeline.stream, known_at_ms)
    }

    /// Takes durable records into what is known of the lane.
    fn add(&self, opened: &mut Opened<C::Producer>, records: Vec<ProgressRecord>) {
        let at_ms = opened.at_ms();
        let is_counted = records.iter().any(|record| matches!(record, ProgressRecord::DeadLetters(_)));
        for record in records {
            if let ProgressRecord::Session(mark) = &record {
                opened.mark = mark.clone();
                opened.times.told = Instant::now();
            }
            opened.progress.add(record, at_ms);
        }
        if is_counted {
            self.shared.dead_letters().read(self.lane, opened.progress.dead_letters.clone());
        }
        self.shared.note_stream(opened.progress.stream_facts(&self.shared.pipeline.stream.stream_arn));
    }

    /// One transaction.
    async fn write(&self, opened: &mut Opened<C::Producer>, work: &mut Work) -> Result<(), CommitFault> {
        let shared = &self.shared;
        // I2: held to what is stored before anything is sent; nobody else can have changed it since.
        opened.progress.check_steps(&work.group, &shared.pipeline.stream).map_err(refused_step)?;
        work.begin(opened.batches);
        opened.times.begun = Instant::now();
        let deadline = opened.times.begun + shared.settings.transaction_timeout;
        let known = shared.reached();
        let Opened { transactional, facts, batches, .. } = &*opened;
        let inside = |fault: SendFault| self.inside(transactional, fault);
        transactional.begin().await.map_err(|error| inside(error.into()))?;
        // A message that is to be found goes in the transaction, where nobody sees it before it is known to be good.
        match opened.plain.as_ref().filter(|_| *batches == Batches::Full) {
            None => work.send_events(shared, transactional, (facts, *batches), deadline).await.map_err(inside)?,
            Some(plain) => {
                let sent = work.send_events(shared, plain, (facts, *batches), deadline).await;
                sent.map_err(|fault| self.inside(plain, fault))?;
                // I1: what the progress will stand for is acknowledged first.
                plain.wait_delivered(deadline).await.map_err(|fault| self.inside(plain, fault))?;
                shared.hold_acknowledged(&known, &plain.acknowledged()).map_err(lost)?;
                work.begin(*batches);
            }
        }
        let counted = self.count_dead_letters(opened, &work.group).map_err(CommitFault::TooManyDeadLetters)?;
        work.send_dead_letters(shared, transactional, facts, deadline).await.map_err(inside)?;
        let mut records = self.records_of(opened, &work.group).map_err(refused_step)?;
        records.extend(counted);
        if self.is_session_due(opened, &records) {
            records = self.with_session(opened, records);
        }
        self.send_records(transactional, &records, deadline).await.map_err(inside)?;
        transactional.wait_delivered(deadline).await.map_err(inside)?;
        shared.hold_acknowledged(&known, &transactional.acknowledged()).map_err(lost)?;
        let ended = transactional.commit(self.end_deadline(deadline)).await;
        ended.map_err(|error| CommitFault::Ending(self.send_fault(transactional, error.into())))?;
        self.add(opened, records);
        Ok(())
    }

    /// Whether a session would tell what the stored one does not. How far the topic reaches is told now and then.
    fn is_session_due(&self, opened: &Opened<C::Producer>, with: &[ProgressRecord]) -> bool {
        opened.mark.holds != Some(self.holds(opened.progress.held_with(with)))
            || opened.times.told.elapsed() >= SESSION_INTERVAL
    }

    fn inside(&self, producer: &C::Producer, fault: SendFault) -> CommitFault {
        let delivery = match fault {
            SendFault::Undelivered { code, message } => Some(FailedDelivery { code, message }),
            SendFault::Kafka(_) | SendFault::Repartitioned => None,
        };
        CommitFault::Inside { fault: self.send_fault(producer, fault), delivery }
    }

    /// Finds the message that made a commit fail, where messages go one at a time. Whether the rest may be tried again.
    fn isolate(&mut self, opened: &Opened<C::Producer>, fault: &CommitFault, work: &mut Work) -> bool {
        let CommitFault::Inside { delivery: Some(FailedDelivery { code, message }), .. } = *fault else { return false };
        if opened.batches == Batches::Full || !may_blame_message(code) {
            return false;
        }
        let Some(sent) = work.sent(message) else { return false };
        match sent.of {
            // Encoding refuses it from now on, and every other one that is as large.
            Origin::Event(_) if is_too_large(code) => self.failures.refused_data(sent.bytes),
            Origin::Event(at) => work.refuse(at, Left::Tombstone, refused_by_server(code)),
            Origin::Tombstone(at) => work.refuse(at, Left::Nothing, refused_by_server(code)),
            Origin::DeadLetter if is_too_large(code) => return self.failures.refused_dead_letter(sent.bytes),
            Origin::DeadLetter => return false,
        }
        tracing::info!(lane = self.lane, ?code, of = ?sent.of, "the broker refused a message: trying without it");
        true
    }

    async fn failure(&mut self, opened: &Opened<C::Producer>, fault: CommitFault) -> Failure {
        let fault = match fault {
            CommitFault::Refused(failure) => {
                opened.transactional.abort().await;
                return failure;
            }
            CommitFault::TooManyDeadLetters(exceeded) => return self.brake(opened, &exceeded).await,
            CommitFault::Inside { fault, delivery } => {
                if let Some(delivery) = delivery {
                    self.failures.add(delivery.code, opened.facts.limits.batch_bytes_max().min(BATCH_BYTES_MAX));
                }
                if fault.remedy != Remedy::Fenced {
                    opened.transactional.abort().await;
                }
                // What was refused alone is refused again.
                match delivery.filter(|_| opened.batches == Batches::OfOne) {
                    Some(delivery) if may_blame_message(delivery.code) => Fault::from(fault.trouble),
                    _ => fault,
                }
            }
            CommitFault::Ending(fault) => fault,
        };
        match fault.remedy {
            Remedy::Fenced => self.fenced(opened, fault).await.into_failure(),
            Remedy::Reopen | Remedy::Halt => fault.into_failure(),
        }
    }

    /// Somebody opened the lane after us: a newer owner, one that was replaced and is about to notice, or one whose progress is
    /// elsewhere. Or the broker gave our transaction up for its age.
    async fn fenced(&mut self, opened: &Opened<C::Producer>, fault: Fault) -> Fault {
        let looked = match self.reader() {
            Ok(mut reader) => self.look(&mut reader, opened.mark.claim, &opened.mark.owner).await,
            Err(fault) => Err(fault),
        };
        let is_young = opened.times.begun.elapsed() < self.shared.settings.transaction_timeout;
        match looked {
            Err(looked) => looked,
            Ok(()) if is_young && self.fences.add(Instant::now()) => self.same_name(),
            Ok(()) => fault,
        }
    }

    fn same_name(&self) -> Fault {
        let settings = &self.shared.settings;
        let message = format!(
            "lane {} of pipeline \"{}\" on Kafka at {} is fenced again and again, and the progress topic \"{}\" names nobody who \
             took it over: another pipeline of this name has another progress topic",
            self.lane, self.shared.pipeline.name, settings.brokers, settings.progress_topic
        );
        Trouble::new(TroubleKind::DataAtRisk, "sink.kafka.same_name", message)
            .advise(
                "stop all copies of both and give one of them another name: transactional ids are made of it, so two of one name \
                 shut each other out. If both read one table, its changes are in the topic twice",
            )
            .into()
    }

    /// Gives the open transaction up, of which more may be refused, and stores the brake in one of a new producer.
    async fn brake(&mut self, opened: &Opened<C::Producer>, exceeded: &TooManyDeadLetters) -> Failure {
        opened.transactional.abort().await;
        let opened = match self.open_as(opened.facts, opened.mark.clone()).await {
            Ok(opened) => opened,
            Err(failure) => return failure,
        };
        let per_minute_max = self.shared.settings.dead_letters_per_minute_max;
        match self.store(&opened.transactional, &[ProgressRecord::Brake { per_minute_max }]).await {
            Ok(()) => Failure::Halt(exceeded.trouble(&self.shared.where_to_look())),
            // Without the brake this is no reason to halt: the group is read again, and is as much too much.
            Err(fault) => fault.into_failure(),
        }
    }
}

fn lost(trouble: Trouble) -> CommitFault {
    CommitFault::Refused(Failure::Halt(trouble))
}

fn refused_step(refused: StepRefused) -> CommitFault {
    CommitFault::Refused(refused.failure())
}

fn refused_by_server(code: RDKafkaErrorCode) -> Rejected {
    Rejected { code: "sink.kafka.refused", message: format!("the broker refuses the message, also alone: {code}") }
}
