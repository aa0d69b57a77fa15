//! What the pipeline's progress is bound to (I11): the topic of change events, as far as it reached, and the DynamoDB table.

use std::sync::PoisonError;

use tailwater_model::{Binding, Fit, KeySchema, PipelineIdentity, TargetFacts, TargetState, Trouble, TroubleKind};
use tokio::time::Instant;

use super::reached::Ends;
use super::{Claim, LaneSession, Opened, Shared};
use crate::client_config::ProducerRole;
use crate::cluster::{Cluster, Outgoing, Producer, SendFault};
use crate::fault::Fault;
use crate::progress::{LaneProgress, ProgressRecord, SessionMark, StoredTarget};
use crate::settings::KafkaSettings;
use crate::topics::{MessageLimits, TopicLook};

/// The largest record of a salt; librdkafka wants to know.
const SALT_BYTES_MAX: usize = 10_000;

/// What a claim finds, of the progress of all lanes and of the topics.
pub(crate) fn target_facts(
    settings: &KafkaSettings,
    pipeline: &PipelineIdentity,
    keys: &KeySchema,
    stored: &[LaneProgress],
    look: &TopicLook,
) -> TargetFacts {
    let bound = stored.iter().find_map(|lane| lane.target.as_ref());
    let state = match look.data_ends.as_slice() {
        [] => TargetState::Missing,
        ends if ends.iter().all(|end| *end == 0) => TargetState::Empty,
        _ => TargetState::Filled,
    };
    let written = written(stored);
    let has_lost_all = state == TargetState::Empty && written > bound.map_or(0, |bound| bound.written);
    TargetFacts {
        pipeline: pipeline.name.clone(),
        wanted: Binding::new(format!("the topic \"{}\"", settings.topic), pipeline, keys),
        bound: bound
            .map(|bound| Binding { target: format!("the topic \"{}\"", bound.topic), source: bound.source.clone() }),
        has_progress: stored.iter().any(|lane| lane.session.is_some()),
        has_begun: false,
        has_written: written > 0,
        state,
        // Ends do not go back, whatever is deleted by age.
        is_another: has_lost_all || bound.is_some_and(|bound| Ends::of(&bound.ends).exceed(&look.data_ends)),
        // Each pipeline has a progress topic of its own, and knows of no other.
        newer_pipeline: None,
        salt: stored.iter().find_map(|lane| lane.salt.clone()),
        is_ahead: false,
    }
}

fn written(stored: &[LaneProgress]) -> u64 {
    stored.iter().map(LaneProgress::written).sum()
}

impl<C> Shared<C> {
    /// Another name means other transactional ids: the two would not fence one another.
    ///
    /// # Errors
    /// When a lane's partition holds the progress of another pipeline.
    pub(crate) fn check_pipeline(&self, stored: &LaneProgress) -> Result<(), Trouble> {
        let other = stored.session.as_ref().map(|session| &session.fact.pipeline);
        let Some(other) = other.filter(|other| **other != self.pipeline.name) else { return Ok(()) };
        let message = format!("the progress topic {} belongs to pipeline \"{other}\"", self.settings.progress_topic);
        Err(Trouble::new(TroubleKind::Config, "sink.kafka.other_pipeline", message)
            .advise("give each pipeline a progress_topic of its own; a pipeline that gets another name begins anew"))
    }

    /// The refusal of a start that finds less progress in a partition than there was.
    pub(crate) fn refused_without(&self, partition: usize, refusal: Trouble) -> Trouble {
        let topic = &self.settings.progress_topic;
        let message = format!(
            "partition {partition} of the progress topic \"{topic}\" on Kafka at {} no longer holds what was written to it: {}",
            self.settings.brokers, refusal.message
        );
        Trouble { message, ..refusal }
    }

    /// I8: a topic of dead letters that is missing beside progress is made anew.
    pub(crate) fn warn_of_lost_dead_letters(&self, stored: &[LaneProgress], look: &TopicLook) {
        let lost: u64 = stored.iter().map(LaneProgress::dead_letter_count).sum();
        // Without the topic of change events that one was judged, and which others are missing is not known.
        if !look.data_ends.is_empty() {
            tracing::warn!(
                topic = self.settings.dead_letter_topic,
                dead_letters = lost,
                "the topic of dead letters is gone, with all that was in it, and is made anew where create_topics allows that"
            );
        }
    }

    /// What the claim binds the progress to, anew or as it was bound before; the openings of lanes are held to it.
    pub(crate) fn bind(&self, (source, fit): (&str, Fit), stored: &[LaneProgress], look: &TopicLook) {
        let (topic, ends) = (self.settings.topic.clone(), look.data_ends.clone());
        let before = stored.iter().find_map(|lane| lane.target.as_ref()).filter(|_| fit == Fit::Bound);
        let written = before.map_or_else(|| written(stored), |before| before.written);
        self.note_ends(&ends);
        // Another lane that panicked leaves it whole.
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        *target = Some(StoredTarget { topic, source: source.to_owned(), ends, written });
    }

    /// What the progress is bound to, with how far the topic is known to reach by now.
    fn target_record(&self) -> Option<ProgressRecord> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ends = self.reached().data.as_slice().to_vec();
        target.map(|target| ProgressRecord::Target(StoredTarget { ends, ..target }))
    }
}

impl<C: Cluster> LaneSession<C> {
    /// What the opening of a claim's first lane stores of the binding.
    pub(super) fn binding_records(&self, claim: &Claim, before: &LaneProgress) -> Vec<ProgressRecord> {
        let Claim::New { .. } = claim else { return Vec::new() };
        let salt = before.salt.as_ref().map(|_| ProgressRecord::SaltGone);
        self.shared.target_record().into_iter().chain(salt).collect()
    }

    /// These records with the session as it is then, and in the first lane with how far the topic reaches. Whoever reads only some of
    /// them finds no less than the session says: what is added comes first, and what is taken back last.
    pub(super) fn with_session(
        &self,
        opened: &Opened<C::Producer>,
        records: Vec<ProgressRecord>,
    ) -> Vec<ProgressRecord> {
        let holds = Some(self.holds(opened.progress.held_with(&records)));
        let target = if self.lane == 0 { self.shared.target_record() } else { None };
        let is_gone = |record: &ProgressRecord| {
            matches!(record, ProgressRecord::ShardGone { .. } | ProgressRecord::StreamGone { .. })
        };
        let (gone, mut records): (Vec<_>, Vec<_>) = records.into_iter().partition(is_gone);
        records.extend(target);
        records.push(ProgressRecord::Session(SessionMark { holds, ..opened.mark.clone() }));
        records.extend(gone);
        records
    }

    /// Leaves the salt of a refusal, outside of any transaction: a refused start fences nobody.
    pub(crate) async fn leave_salt(&self, salt: String) -> Result<(), Fault> {
        let (doing, settings) = (self.doing("refusing"), &self.shared.settings);
        let producer =
            self.shared.cluster.producer(&ProducerRole::Signs { limits: MessageLimits::same(SALT_BYTES_MAX) })?;
        let (key, value) = ProgressRecord::Salt(salt).encode();
        let record = Outgoing {
            topic: &settings.progress_topic,
            partition: self.partition(),
            by_hand: true,
            key: key.as_bytes(),
            value: value.as_deref().map(str::as_bytes),
            headers: &[],
        };
        let deadline = Instant::now() + settings.request_timeout;
        let sent = async {
            producer.send(record, deadline).await?;
            producer.wait_delivered(deadline).await
        };
        let left: Result<(), SendFault> = sent.await;
        left.map_err(|fault| match fault {
            SendFault::Kafka(error) => producer.fault(&doing, &error),
            fault => self.send_fault(&producer, fault),
        })
    }
}
