//! What each topic is for, and how it is made.

use crate::settings::KafkaSettings;

/// Takes the broker's default (KIP-464, brokers from 2.4 on).
const BROKER_DEFAULT: i32 = -1;

/// A setting of the data topic that the other two need as well: what is written there is to be as safe.
const SAFETY_CONFIG: &str = "min.insync.replicas";
/// One that the topic of dead letters needs as well: what the one takes, the other can then hold in one piece. Records of
/// progress are small, whatever change events are.
const SIZE_CONFIG: &str = "max.message.bytes";

/// Compaction leaves the newest segment alone, and opening reads what is left: small segments make both little.
const PROGRESS_SEGMENT_BYTES: &str = "16777216";
/// The share of a partition that may be outdated before it is compacted; the broker's default is a half.
const PROGRESS_DIRTY_RATIO_MIN: &str = "0.1";

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Data,
    DeadLetters,
    Progress,
}

impl Purpose {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Data => "change events",
            Self::DeadLetters => "dead letters",
            Self::Progress => "progress",
        }
    }
}

/// A topic as it is to be.
#[derive(Debug)]
pub(super) struct TopicPlan<'a> {
    pub(super) purpose: Purpose,
    pub(super) name: &'a str,
    /// Whether we may make it; if not, the numbers below are a proposal.
    pub(super) may_be_made: bool,
    /// Nothing where only the user can know: without `create_topics`.
    pub(super) partitions: Option<i32>,
    /// Copies; nothing for the broker's default.
    pub(super) replication: Option<i32>,
    pub(super) config: Vec<(&'a str, &'a str)>,
}

impl TopicPlan<'_> {
    pub(super) fn partitions_or_default(&self) -> i32 {
        self.partitions.unwrap_or(BROKER_DEFAULT)
    }

    pub(super) fn replication_or_default(&self) -> i32 {
        self.replication.unwrap_or(BROKER_DEFAULT)
    }
}

/// The three topics. Progress comes last: it is only made where the others are as they have to be.
pub(super) fn plans(settings: &KafkaSettings, lanes: i32) -> [TopicPlan<'_>; 3] {
    let create = settings.create_topics.as_ref();
    let replication = create.and_then(|create| create.replication).map(i32::from);
    let of_user: Vec<(&str, &str)> =
        create.iter().flat_map(|create| &create.config).map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let shared = |names: &'static [&str]| of_user.iter().copied().filter(|(name, _)| names.contains(name));
    let dead_letters = shared(&[SAFETY_CONFIG, SIZE_CONFIG]);
    let dead_letters = dead_letters.chain([("cleanup.policy", "delete"), ("retention.ms", "-1")]).collect();
    let progress = shared(&[SAFETY_CONFIG])
        .chain([
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.bytes", PROGRESS_SEGMENT_BYTES),
            ("min.cleanable.dirty.ratio", PROGRESS_DIRTY_RATIO_MIN),
        ])
        .collect();
    [
        TopicPlan {
            purpose: Purpose::Data,
            name: &settings.topic,
            may_be_made: create.is_some(),
            partitions: create.map(|create| i32::try_from(create.partitions).unwrap_or(i32::MAX)),
            replication,
            config: of_user.clone(),
        },
        TopicPlan {
            purpose: Purpose::DeadLetters,
            name: &settings.dead_letter_topic,
            may_be_made: create.is_some(),
            partitions: Some(1),
            replication,
            config: dead_letters,
        },
        TopicPlan {
            purpose: Purpose::Progress,
            name: &settings.progress_topic,
            may_be_made: true,
            partitions: Some(lanes),
            replication,
            config: progress,
        },
    ]
}
