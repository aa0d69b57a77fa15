//! What the pipeline's progress is bound to (I11): the topic of change events, as far as it reached, and the DynamoDB table.

use std::sync::PoisonError;

use tailwater_model::{
    Binding, Fit, KeySchema, Misfit, PipelineIdentity, TargetFacts, TargetState, Trouble, TroubleKind,
};
use tokio::time::Instant;

use super::{Claim, LaneSession, Shared};
use crate::client_config::ProducerRole;
use crate::cluster::{Cluster, Outgoing, Producer, SendFault};
use crate::fault::Fault;
use crate::progress::{LaneProgress, ProgressRecord, StoredTarget};
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
        is_another: has_lost_all || bound.is_some_and(|bound| ends_earlier(&look.data_ends, &bound.ends)),
        // Each pipeline has a progress topic of its own, and knows of no other.
        newer_pipeline: None,
        salt: stored.iter().find_map(|lane| lane.salt.clone()),
        is_ahead: false,
    }
}

fn written(stored: &[LaneProgress]) -> u64 {
    stored.iter().map(LaneProgress::written).sum()
}

/// Whether a topic reaches less far than it did.
fn ends_earlier(now: &[i64], before: &[i64]) -> bool {
    now.len() < before.len() || now.iter().zip(before).any(|(now, before)| now < before)
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

    /// What the claim binds the progress to, anew or as it was bound before; the openings of lanes are held to it.
    pub(crate) fn bind(&self, (source, fit): (&str, Fit), stored: &[LaneProgress], look: &TopicLook) {
        let (topic, ends) = (self.settings.topic.clone(), look.data_ends.clone());
        let before = stored.iter().find_map(|lane| lane.target.as_ref()).filter(|_| fit == Fit::Bound);
        let written = before.map_or_else(|| written(stored), |before| before.written);
        // Another lane that panicked leaves it whole.
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        *target = Some(StoredTarget { topic, source: source.to_owned(), ends, written });
    }

    /// Takes note of how far the topic reaches now.
    ///
    /// # Errors
    /// When it does not reach as far as it did.
    pub(crate) fn hold_to_target(&self, look: &TopicLook) -> Result<(), Trouble> {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(target) = target.as_mut() else { return Ok(()) };
        if ends_earlier(&look.data_ends, &target.ends) {
            let message = format!(
                "the topic \"{}\" on Kafka at {} was made again while the pipeline ran, or has lost what it had",
                target.topic, self.settings.brokers
            );
            return Err(Trouble::new(TroubleKind::DataAtRisk, Misfit::Replaced.code(), message)
                .advise("restore it with what it held; another start says how to go on without it"));
        }
        target.ends.clone_from(&look.data_ends);
        Ok(())
    }

    /// What the opening of a claim's first lane stores of it.
    pub(super) fn binding_records(&self, claim: &Claim, before: &LaneProgress) -> Vec<ProgressRecord> {
        let Claim::New { .. } = claim else { return Vec::new() };
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let salt = before.salt.as_ref().map(|_| ProgressRecord::SaltGone);
        target.map(ProgressRecord::Target).into_iter().chain(salt).collect()
    }
}

impl<C: Cluster> LaneSession<C> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_went_back_is_another_topic() {
        for (now, before, earlier) in [
            (vec![3, 4], vec![3, 4], false),
            (vec![5, 4, 0], vec![3, 4], false),
            (vec![9, 3], vec![3, 4], true),
            (vec![9], vec![3, 0], true),
            (vec![], vec![], false),
        ] {
            assert_eq!(ends_earlier(&now, &before), earlier, "{now:?} after {before:?}");
        }
    }
}
