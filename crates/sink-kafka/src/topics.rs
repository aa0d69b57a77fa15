//! The three topics: whether they are there and can hold what they are to, and making those that may be made.

mod admin;
mod limits;
mod metadata;
mod plan;
mod rules;

use std::time::Duration;

use tailwater_model::{Trouble, TroubleKind};
use tokio::runtime::Handle;

use crate::fault::{Fault, Remedy};
use crate::settings::KafkaSettings;
use admin::Admin;
pub use limits::MessageLimits;
use metadata::{Looked, MetadataClient, TopicShape};
use plan::{Purpose, TopicPlan};

/// So often the topics are looked at before it is believed that the one of change events reaches less far than it did.
pub(crate) const LOOKS_MAX: u32 = 4;
/// The pause between two of these looks. A leader that was replaced hears of it before the last (`broker.session.timeout.ms`, 9
/// seconds).
pub(crate) const LOOK_PAUSE: Duration = Duration::from_secs(3);

/// Longest name of a topic (Apache Kafka, `org.apache.kafka.common.internals.Topic`).
const NAME_LENGTH_MAX: usize = 249;

/// What sending needs to know about the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Partitions of the topic of change events.
    pub data_partitions: i32,
    /// How large messages may be.
    pub limits: MessageLimits,
}

/// What a look at the topics has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLook {
    /// What sending needs to know.
    pub facts: TopicFacts,
    /// Where each partition of the topic of change events ends, open transactions with it; none when that topic is missing.
    pub data_ends: Vec<i64>,
    /// Partitions of the progress topic.
    pub progress_partitions: u32,
    /// All three are there. Only a look [`AtClaim`](MayMake::AtClaim) may find less.
    pub is_complete: bool,
}

/// Which topics a look may make where they are missing (I11). Beside the one of progress only those that `create_topics` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayMake {
    /// All, unless there is a progress topic already: what is missing then may be what progress was made with.
    AtClaim,
    /// All: there is no progress that is bound to any of them.
    All,
    /// None: the pipeline runs, and whatever is missing was lost.
    Nothing,
}

/// Why this cannot be the name of a topic; nothing when it can (Apache Kafka, `Topic.validate`).
pub fn topic_name_fault(name: &str) -> Option<&'static str> {
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if name.is_empty() {
        Some("it is empty")
    } else if matches!(name, "." | "..") {
        Some("\".\" and \"..\" are not names")
    } else if name.len() > NAME_LENGTH_MAX {
        Some("it is longer than 249 characters")
    } else if !name.chars().all(is_legal) {
        Some("it may have letters a-z and A-Z, digits, \".\", \"_\" and \"-\" only")
    } else {
        None
    }
}

/// Partitions of a topic; none when it is missing. It blocks.
///
/// # Errors
/// What the cluster does not answer, or refuses.
pub(crate) fn partitions(settings: &KafkaSettings, topic: &str) -> Result<u32, Fault> {
    Ok(match MetadataClient::connect(settings)?.look(topic)? {
        Looked::There(shape) => u32::try_from(shape.partitions).unwrap_or_default(),
        Looked::Missing { .. } => 0,
    })
}

/// Looks at the topics of a pipeline with so many lanes. Makes the progress topic when it is missing, and the other two
/// when `create_topics` says so, as far as they may be made; nothing is ever made by the broker's own `auto.create.topics.enable`, whose defaults
/// (one partition, records deleted after a week) would lose progress and order.
///
/// # Errors
/// What only a person can change halts: a missing topic, a cleanup policy that would lose
/// progress or dead letters, a missing right. What the cluster does not answer may pass.
pub(crate) async fn check_topics(settings: &KafkaSettings, lanes: u32, may_make: MayMake) -> Result<TopicLook, Fault> {
    let settings = settings.clone();
    let handle = Handle::current();
    // librdkafka blocks: in looking at metadata, and when a client is dropped.
    let checking =
        tokio::task::spawn_blocking(move || Check { settings: &settings, lanes, may_make, handle: &handle }.run());
    checking.await.unwrap_or_else(|ended| {
        if ended.is_panic() {
            std::panic::resume_unwind(ended.into_panic());
        }
        let message = "looking at the topics was cut off: the program ends";
        Err(Fault {
            remedy: Remedy::Reopen,
            trouble: Trouble::new(TroubleKind::Runtime, "sink.kafka.cut_off", message),
        })
    })
}

/// One look at the topics. It blocks.
struct Check<'a> {
    settings: &'a KafkaSettings,
    lanes: u32,
    may_make: MayMake,
    handle: &'a Handle,
}

impl Check<'_> {
    fn run(&self) -> Result<TopicLook, Fault> {
        let lanes = self.checked_lanes()?;
        let plans = plan::plans(self.settings, lanes);
        check_names(&plans)?;
        let client = MetadataClient::connect(self.settings)?;
        let admin = Admin::new(self.settings, self.handle)?;
        let shapes = self.look_or_make(&client, admin.as_ref(), &plans)?;
        let (mut data_partitions, mut progress_partitions) = (0, 0);
        let mut limits = MessageLimits::same(limits::MESSAGE_BYTES_MAX_DEFAULT);
        let is_complete = shapes.iter().all(Option::is_some);
        for (plan, shape) in plans.iter().zip(shapes).filter_map(|(plan, shape)| Some((plan, shape?))) {
            let config = match &admin {
                Some(admin) => admin.config_of(plan)?,
                None => {
                    tracing::warn!(topic = plan.name, "{}", admin::UNREAD_BY_TOKEN);
                    None
                }
            };
            if let Some(config) = &config {
                rules::check_config(self.settings, plan, shape, config)?;
            }
            let bytes_max = rules::message_bytes_max(plan.purpose, config.as_ref());
            match plan.purpose {
                Purpose::Data => (data_partitions, limits.data_bytes_max) = (shape.partitions, bytes_max),
                Purpose::DeadLetters => limits.dead_letter_bytes_max = bytes_max,
                Purpose::Progress => {
                    rules::check_progress_limit(self.settings, plan, bytes_max)?;
                    progress_partitions = u32::try_from(shape.partitions).unwrap_or_default();
                    limits.progress_bytes_max = bytes_max;
                }
            }
        }
        let data_ends = client.ends(&self.settings.topic, data_partitions)?;
        Ok(TopicLook { facts: TopicFacts { data_partitions, limits }, data_ends, progress_partitions, is_complete })
    }

    fn checked_lanes(&self) -> Result<i32, Trouble> {
        i32::try_from(self.lanes).ok().filter(|lanes| *lanes > 0).ok_or_else(|| {
            Trouble::new(TroubleKind::Config, "sink.lane_count", format!("{} lanes are not possible", self.lanes))
                .advise("set lanes to 1 or more")
        })
    }

    /// The shape of each topic, in the order of the plans; nothing where it is missing and not to be made yet.
    fn look_or_make(
        &self,
        client: &MetadataClient<'_>,
        admin: Option<&Admin<'_>>,
        plans: &[TopicPlan<'_>],
    ) -> Result<Vec<Option<TopicShape>>, Fault> {
        let is_begun = matches!(client.look(&self.settings.progress_topic)?, Looked::There(_));
        let makes = match self.may_make {
            MayMake::AtClaim => !is_begun,
            MayMake::All => true,
            MayMake::Nothing => false,
        };
        let maker = |plan: &TopicPlan<'_>| admin.filter(|_| makes && plan.may_be_made);
        let mut shapes = Vec::new();
        let mut missing = Vec::new();
        for plan in plans {
            let looked = match client.look(plan.name)? {
                Looked::Missing { .. } if maker(plan).is_none() => client.look_longer(plan.name)?,
                looked => looked,
            };
            match looked {
                Looked::There(shape) => shapes.push(Some(shape)),
                Looked::Missing { brokers } => {
                    shapes.push(None);
                    missing.extend(maker(plan).is_none().then_some((plan, brokers)));
                }
            }
        }
        match (self.may_make, missing.first()) {
            (_, None) => {}
            (MayMake::AtClaim, Some(_)) if is_begun => {}
            (MayMake::Nothing, Some((plan, _))) if plan.purpose != Purpose::DeadLetters => {
                return Err(rules::gone(self.settings, plan).into());
            }
            _ => return Err(rules::missing(self.settings, &missing).into()),
        }
        // Only now: a start that is refused leaves nothing behind.
        for (plan, shape) in plans.iter().zip(&mut shapes).filter(|(_, shape)| shape.is_none()) {
            if let Some(admin) = maker(plan) {
                admin.make(plan)?;
                *shape = Some(client.wait_made(plan.name)?);
            }
        }
        Ok(shapes)
    }
}

/// Names that Kafka takes, each for one purpose.
fn check_names(plans: &[TopicPlan<'_>]) -> Result<(), Trouble> {
    let unfit = |message| Trouble::new(TroubleKind::Config, "sink.kafka.topic_name", message);
    for (index, plan) in plans.iter().enumerate() {
        let words = plan.purpose.words();
        if let Some(fault) = topic_name_fault(plan.name) {
            let message = format!("\"{}\" cannot be the topic of {words}: {fault}", plan.name);
            return Err(unfit(message).advise("correct the name in [sink.kafka]"));
        }
        if let Some(other) = plans.iter().take(index).find(|other| other.name == plan.name) {
            let message = format!("the topic \"{}\" is to hold both {} and {words}", plan.name, other.purpose.words());
            return Err(unfit(message).advise(
                "give topic, dead_letter_topic and progress_topic of [sink.kafka] three names: each needs a cleanup policy \
                 of its own",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
