//! Why something failed: every code of librdkafka and of the brokers, in groups that need the same words.

use rdkafka::error::RDKafkaErrorCode;
use tailwater_model::TroubleKind;

use super::Remedy;

/// A group of codes that a person meets in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No answer in time. What was asked may have been done.
    Timeout,
    /// No connection to a broker.
    Unreachable,
    /// Encryption failed, or a certificate was not accepted.
    Tls,
    /// The broker does not believe who we are. Credentials may be exchanged while we run.
    Authentication,
    /// The transaction coordinator moves, starts or is busy with the transaction before.
    Coordinator,
    /// A partition has no leader, or another one than we knew.
    Leader,
    /// Too few copies of a partition are in step.
    NotEnoughReplicas,
    /// Producer and broker do not agree on what was written, or the producer gave up: its outcome is unknown.
    Producer,
    /// Another producer with our `transactional.id`.
    Fenced,
    /// Larger than the topic takes: opening reads its limit again, and what is too large is then set aside.
    TooLarge,
    /// The broker read a message and refused it.
    RefusedMessage,
    /// The topic is not there, or not known yet to the broker that was asked: opening looks.
    UnknownTopic,
    /// The progress topic ends before the place where we read.
    Truncated,
    /// Resources of this machine, or a quota.
    Resources,
    /// The broker's clock and the one of this machine differ more than a topic allows. It meets every message alike.
    Timestamp,
    /// No right on a topic.
    TopicAuthorization,
    /// No right on the `transactional.id`.
    TransactionAuthorization,
    /// No right on the cluster.
    ClusterAuthorization,
    /// No right on something that we should not have asked for.
    OtherAuthorization,
    /// The broker cannot do what we need.
    Unsupported,
    /// `transaction_timeout` is longer than the broker allows.
    TransactionTimeout,
    /// The settings of a topic that was to be made.
    TopicSettings,
    /// Our settings.
    Settings,
    /// The client could not be made.
    Client,
    /// Codes of calls that we do not make. Opening is always safe.
    Unexpected,
}

/// The cause of every code; nothing for one that this version does not know. Sources: `rdkafka.h` of librdkafka 2.12
/// and <https://kafka.apache.org/protocol#protocol_error_codes>.
// One table: a line per code would hide which of them belong together.
#[rustfmt::skip]
pub(super) fn cause_of(code: RDKafkaErrorCode) -> Option<Cause> {
    use RDKafkaErrorCode as C;
    Some(match code {
        C::OperationTimedOut | C::MessageTimedOut | C::TimedOutQueue | C::RequestTimedOut => Cause::Timeout,
        C::BrokerTransportFailure | C::AllBrokersDown | C::Resolve | C::UnknownBroker | C::NodeUpdate
        | C::BrokerDestroy | C::DestroyBroker | C::NetworkException | C::BrokerNotAvailable
        | C::RebootstrapRequired => Cause::Unreachable,
        C::SSL => Cause::Tls,
        C::Authentication | C::SaslAuthenticationFailed | C::UnsupportedSASLMechanism | C::IllegalSASLState
        | C::UnacceptableCredential | C::DelegationTokenNotFound | C::DelegationTokenExpired
        | C::PrincipalDeserializationFailure => Cause::Authentication,
        C::WaitingForCoordinator | C::CoordinatorLoadInProgress | C::CoordinatorNotAvailable | C::NotCoordinator
        | C::ConcurrentTransactions | C::TransactionCoordinatorFenced => Cause::Coordinator,
        C::LeaderNotAvailable | C::NotLeaderForPartition | C::ReplicaNotAvailable | C::StaleControllerEpoch
        | C::NotController | C::KafkaStorageError | C::FencedLeaderEpoch | C::UnknownLeaderEpoch
        | C::StaleBrokerEpoch | C::OffsetNotAvailable | C::PreferredLeaderNotAvailable
        | C::EligibleLeadersNotAvailable | C::ElectionNotNeeded | C::ReassignmentInProgress
        | C::NoReassignmentInProgress => Cause::Leader,
        C::ISRInsufficient | C::NotEnoughReplicas | C::NotEnoughReplicasAfterAppend => Cause::NotEnoughReplicas,
        C::Fatal | C::Fail | C::PurgeQueue | C::PurgeInflight | C::Inconsistent | C::GaplessGuarantee | C::State
        | C::Conflict | C::InProgress | C::PreviousInProgress | C::Outdated | C::Retry | C::Interrupted
        | C::WaitCache | C::Partial | C::BadMessage | C::BadCompression | C::Underflow | C::InvalidMessage
        | C::InvalidMessageSize | C::OutOfOrderSequenceNumber | C::DuplicateSequenceNumber
        | C::UnknownProducerId | C::InvalidTransactionalState | C::InvalidProducerIdMapping | C::OperationNotAttempted
        | C::Application | C::Unknown => Cause::Producer,
        // The broker gives a new epoch to the next producer, and also when it gave our transaction up for its age: who
        // of the two it was stands in the progress topic.
        C::Fenced | C::ProducerFenced | C::InvalidProducerEpoch => Cause::Fenced,
        C::MessageSizeTooLarge | C::MessageBatchTooLarge => Cause::TooLarge,
        C::InvalidRecord | C::InvalidDifferentRecord => Cause::RefusedMessage,
        C::InvalidTimestamp => Cause::Timestamp,
        C::UnknownTopic | C::UnknownPartition | C::UnknownTopicOrPartition | C::UnknownTopicId
        | C::ResourceNotFound => Cause::UnknownTopic,
        C::OffsetOutOfRange | C::AutoOffsetReset | C::LogTruncation | C::NoOffset => Cause::Truncated,
        C::CriticalSystemResource | C::FileSystem | C::QueueFull | C::ThrottlingQuotaExceeded => Cause::Resources,
        C::TopicAuthorizationFailed => Cause::TopicAuthorization,
        C::TransactionalIdAuthorizationFailed => Cause::TransactionAuthorization,
        C::ClusterAuthorizationFailed => Cause::ClusterAuthorization,
        C::GroupAuthorizationFailed | C::DelegationTokenAuthorizationFailed | C::DelegationTokenAuthDisabled
        | C::DelegationTokenOwnerMismatch | C::DelegationTokenRequestNotAllowed => Cause::OtherAuthorization,
        C::UnsupportedFeature | C::UnsupportedVersion | C::UnsupportedForMessageFormat
        | C::UnsupportedCompressionType | C::NotImplemented | C::SecurityDisabled => Cause::Unsupported,
        C::InvalidTransactionTimeout => Cause::TransactionTimeout,
        C::InvalidConfig | C::PolicyViolation | C::InvalidPartitions | C::InvalidReplicationFactor
        | C::InvalidReplicaAssignment | C::InvalidTopic => Cause::TopicSettings,
        C::InvalidArgument | C::InvalidRequiredAcks | C::NotConfigured | C::UnknownProtocol | C::InvalidType
        | C::ReadOnly | C::InvalidPrincipalType => Cause::Settings,
        C::NoError | C::Begin | C::End | C::EndAll | C::PartitionEOF | C::Noop | C::NoEnt | C::InvalidRequest
        | C::TopicAlreadyExists | C::TopicDeletionDisabled | C::DuplicateResource | C::LogDirNotFound
        | C::ListenerNotFound | C::FetchSessionIdNotFound | C::InvalidFetchSessionEpoch
        | C::KeySerialization | C::ValueSerialization | C::KeyDeserialization | C::ValueDeserialization
        | C::UnknownGroup | C::ExistingSubscription | C::AssignPartitions | C::RevokePartitions | C::PollExceeded
        | C::AssignmentLost | C::OffsetMetadataTooLarge | C::IllegalGeneration | C::InconsistentGroupProtocol
        | C::InvalidGroupId | C::UnknownMemberId | C::InvalidSessionTimeout | C::RebalanceInProgress
        | C::InvalidCommitOffsetSize | C::NonEmptyGroup | C::GroupIdNotFound | C::MemberIdRequired
        | C::GroupMaxSizeReached | C::FencedInstanceId | C::GroupSubscribedToTopic | C::UnstableOffsetCommit
        | C::FencedMemberEpoch | C::UnreleasedInstanceId | C::UnsupportedAssignor | C::StaleMemberEpoch
        | C::InconsistentVoterSet | C::InvalidUpdateVersion | C::FeatureUpdateFailed
        | C::UnknownSubscriptionId | C::TelemetryTooLarge => Cause::Unexpected,
        // The enum may grow, and so the compiler wants this arm. `fault::tests` holds that no code of today falls here.
        _ => return None,
    })
}

/// Whether one message may be at fault when its delivery fails so: what is known to be about the cluster, the connection, our
/// rights or the producer is not. A later broker, or a service that speaks Kafka's protocol, may refuse by any code.
pub(crate) fn may_blame_message(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    match cause_of(code) {
        None | Some(Cause::TooLarge | Cause::RefusedMessage) => true,
        Some(_) => matches!(code, C::InvalidMessage | C::InvalidMessageSize | C::PolicyViolation | C::Unknown),
    }
}

impl Cause {
    pub(super) fn remedy(self) -> Remedy {
        match self {
            Self::Fenced => Remedy::Fenced,
            Self::Timeout
            | Self::Unreachable
            | Self::Tls
            | Self::Authentication
            | Self::Coordinator
            | Self::Leader
            | Self::NotEnoughReplicas
            | Self::Producer
            | Self::TooLarge
            | Self::UnknownTopic
            | Self::Truncated
            | Self::Resources
            | Self::Client
            | Self::Unexpected => Remedy::Reopen,
            Self::RefusedMessage
            | Self::Timestamp
            | Self::TopicAuthorization
            | Self::TransactionAuthorization
            | Self::ClusterAuthorization
            | Self::OtherAuthorization
            | Self::Unsupported
            | Self::TransactionTimeout
            | Self::TopicSettings
            | Self::Settings => Remedy::Halt,
        }
    }

    /// Kind and stable code of the trouble.
    pub(super) fn told_as(self) -> (TroubleKind, &'static str) {
        use TroubleKind::{Config, Environment, Runtime};
        match self {
            Self::Timeout => (Environment, "sink.kafka.timeout"),
            Self::Unreachable => (Environment, "sink.kafka.unreachable"),
            Self::Tls => (Environment, "sink.kafka.tls"),
            Self::Authentication => (Environment, "sink.kafka.authentication"),
            Self::Coordinator => (Environment, "sink.kafka.coordinator"),
            Self::Leader => (Environment, "sink.kafka.leader"),
            Self::NotEnoughReplicas => (Environment, "sink.kafka.not_enough_replicas"),
            Self::Producer => (Environment, "sink.kafka.producer"),
            Self::Fenced => (Runtime, "sink.kafka.fenced"),
            Self::TooLarge => (Environment, "sink.kafka.broker_limit"),
            Self::RefusedMessage => (Environment, "sink.kafka.refused"),
            Self::Timestamp => (Environment, "sink.kafka.timestamp"),
            Self::UnknownTopic => (Environment, "sink.kafka.unknown_topic"),
            Self::Truncated => (Environment, "sink.kafka.truncated"),
            Self::Resources => (Environment, "sink.kafka.resources"),
            Self::TopicAuthorization => (Environment, "sink.kafka.topic_denied"),
            Self::TransactionAuthorization => (Environment, "sink.kafka.transaction_denied"),
            Self::ClusterAuthorization => (Environment, "sink.kafka.cluster_denied"),
            Self::OtherAuthorization => (Environment, "sink.kafka.denied"),
            Self::Unsupported => (Environment, "sink.kafka.unsupported"),
            Self::TransactionTimeout => (Config, "sink.kafka.transaction_timeout"),
            Self::TopicSettings => (Config, "sink.kafka.topic_settings"),
            Self::Settings => (Config, "sink.kafka.settings"),
            Self::Client => (Config, "sink.kafka.client"),
            Self::Unexpected => (Environment, "sink.kafka.unexpected"),
        }
    }

    /// What to do next; nothing where waiting is all.
    pub(super) fn advice(self, brokers: &str) -> Option<String> {
        let acls = format!("kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:NAME");
        Some(match self {
            Self::NotEnoughReplicas => format!(
                "bring brokers back until min.insync.replicas copies are in step: kafka-topics.sh --bootstrap-server \
                 {brokers} --describe --under-min-isr-partitions"
            ),
            Self::TopicAuthorization => format!(
                "allow the user to write to the topics of change events and dead letters, and to read and write the \
                 progress topic: {acls} --operation Describe --operation DescribeConfigs --operation Write --topic TOPIC, \
                 and for the progress topic also --operation Read"
            ),
            Self::TransactionAuthorization => format!(
                "allow the user the transactional ids of the pipeline: {acls} --operation Write --operation Describe \
                 --resource-pattern-type prefixed --transactional-id PIPELINE-"
            ),
            Self::ClusterAuthorization => format!(
                "allow the user what the message names. Brokers before 3.0 want IdempotentWrite for every producer of \
                 ours: {acls} --operation IdempotentWrite --cluster; making topics needs Create: {acls} --operation Create \
                 --topic TOPIC"
            ),
            Self::OtherAuthorization => {
                format!("allow the user what the message names: {acls} --operation OPERATION ...")
            }
            other => other.advice_in_words()?.to_owned(),
        })
    }

    /// The advice that names nothing of this cluster.
    fn advice_in_words(self) -> Option<&'static str> {
        Some(match self {
            Self::Timeout => {
                "look whether the brokers are well and the network is; request_timeout and transaction_timeout of \
                 [sink.kafka] say how long is waited"
            }
            Self::Unreachable => {
                "check brokers in [sink.kafka], the network, that the brokers run, and that the names in their \
                 advertised.listeners can be reached from here; a listener for TLS needs tls in the file"
            }
            Self::Tls => {
                "name the authority's certificate with tls.ca_file, use a host name that the broker's certificate has, \
                 and check certificate_file and key_file where the broker asks for them"
            }
            Self::Authentication => {
                "correct sasl.username, sasl.password or sasl.token_file, or sasl.mechanism: it must be one of the \
                 listener's sasl.enabled.mechanisms"
            }
            Self::Coordinator => {
                "if it does not pass: transactions need the topic __transaction_state, whose replication \
                 (transaction.state.log.replication.factor) must not exceed the number of brokers"
            }
            Self::Fenced => {
                "another producer with the same transactional.id began: one pipeline runs twice, or another program uses \
                 \"PIPELINE-LANE\" as its transactional.id"
            }
            Self::TooLarge => {
                "the topic's max.message.bytes is read again at the next opening, and what is larger goes to the dead \
                 letters"
            }
            Self::RefusedMessage => {
                "the topic's own rules refuse our messages: look at its validation of schemas, correct it and start again"
            }
            Self::Timestamp => {
                "set the clocks of this machine and of the brokers right, or raise message.timestamp.before.max.ms and \
                 message.timestamp.after.max.ms of the topic, and start again"
            }
            Self::Truncated => {
                "the progress topic lost records: look at its cleanup.policy, which must be compact, and at \
                 unclean.leader.election.enable"
            }
            Self::Resources => {
                "look at this machine's memory, disk and limits (ulimit), and at the client quotas of the brokers"
            }
            Self::Unsupported => {
                "Tailwater needs brokers that know transactions and zstd: Apache Kafka 2.1 or newer, or a service that \
                 speaks its protocol with transactions"
            }
            Self::TransactionTimeout => {
                "lower transaction_timeout in [sink.kafka], or raise transaction.max.timeout.ms of the brokers"
            }
            Self::TopicSettings => {
                "correct create_topics in [sink.kafka]: replication must not exceed the number of brokers, and config \
                 must hold settings of topics that the cluster's policy allows"
            }
            Self::Settings => "correct [sink.kafka] and [sink.kafka.librdkafka]",
            Self::Client => {
                "correct what the message names: a file of tls that cannot be read, or a setting that does not go with \
                 another one"
            }
            _ => return None,
        })
    }
}
