//! Making topics and reading their settings.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;

use super::plan::TopicPlan;
use crate::client_config::admin_config;
use crate::context::KafkaContext;
use crate::fault::Fault;
use crate::settings::KafkaSettings;

/// What is told when nobody can look at a topic's settings for us.
pub(super) const UNREAD_BY_TOKEN: &str = "the topic's settings cannot be read with a bearer token: its cleanup policy is not \
     checked, and Kafka's default is taken for max.message.bytes";

/// The code of a call that nobody answered.
const TIMED_OUT: &str = "sink.kafka.timeout";
/// How long a broker may take to name the others.
const METADATA_WITHIN: Duration = Duration::from_secs(5);
/// How long a broker may take to accept a connection that only shows whether it is there.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// Most brokers that are tried so.
const BROKERS_TRIED_MAX: usize = 10;

/// A client for administration. It blocks: to be used on a thread for that.
pub(super) struct Admin<'a> {
    settings: &'a KafkaSettings,
    handle: &'a Handle,
    client: AdminClient<KafkaContext>,
}

/// Settings of a topic, as the brokers apply them.
pub(super) type TopicConfig = BTreeMap<String, String>;

impl<'a> Admin<'a> {
    /// Nothing with a bearer token: rdkafka's client for administration serves no events, so it never gets one.
    pub(super) fn new(settings: &'a KafkaSettings, handle: &'a Handle) -> Result<Option<Self>, Fault> {
        if settings.has_bearer_token() {
            return Ok(None);
        }
        let client: AdminClient<KafkaContext> = admin_config(settings)?
            .create_with_context(KafkaContext::new(settings))
            .map_err(|error| Fault::of("making a client", &settings.brokers, &error, None))?;
        Ok(Some(Self { settings, handle, client }))
    }

    fn options(&self) -> AdminOptions {
        let timeout = self.settings.request_timeout;
        AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
    }

    /// The fault of an error. This client serves no events, and so is never told why there is no connection: where nobody has
    /// answered, the brokers are tried.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let brokers = &self.settings.brokers;
        let fault = Fault::of(doing, brokers, error, None);
        let problem = if fault.trouble.code == TIMED_OUT { self.unanswered() } else { None };
        if problem.is_some() { Fault::of(doing, brokers, error, problem) } else { fault }
    }

    /// The first broker of the cluster that nobody can connect to, in the words of librdkafka.
    fn unanswered(&self) -> Option<(RDKafkaErrorCode, String)> {
        let metadata = self.client.inner().fetch_metadata(None, METADATA_WITHIN).ok()?;
        first_unanswered(metadata.brokers().iter().map(|broker| (broker.id(), broker.host(), broker.port())))
    }

    /// Makes the topic. That somebody else has just made it is as good: it is looked at afterwards.
    pub(super) fn make(&self, plan: &TopicPlan<'_>) -> Result<(), Fault> {
        let (partitions, replication) = (plan.partitions_or_default(), plan.replication_or_default());
        let doing = format!(
            "making the topic \"{}\" of {} with {partitions} partitions and {} replicas",
            plan.name,
            plan.purpose.words(),
            plan.replication.map_or("the broker's default of".to_owned(), |replicas| replicas.to_string())
        );
        let mut topic = NewTopic::new(plan.name, partitions, TopicReplication::Fixed(replication));
        topic.config.extend(&plan.config);
        let made = self.handle.block_on(self.client.create_topics([&topic], &self.options()));
        let results = made.map_err(|error| self.fault(&doing, &error))?;
        for result in results {
            match result {
                Ok(_) => tracing::info!(topic = plan.name, partitions, "made the topic of {}", plan.purpose.words()),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(self.denied_making(plan, &doing, code)),
            }
        }
        Ok(())
    }

    /// Who may not make a topic can have it made.
    fn denied_making(&self, plan: &TopicPlan<'_>, doing: &str, code: RDKafkaErrorCode) -> Fault {
        let mut fault = self.fault(doing, &KafkaError::AdminOp(code));
        if let RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed = code {
            let brokers = &self.settings.brokers;
            fault.trouble.advice = Some(format!(
                "allow the user to make it: kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:NAME \
                 --operation Create --operation Describe --topic {}; or have it made: {}",
                plan.name,
                super::rules::create_line(self.settings, plan, None)
            ));
        }
        fault
    }

    /// The settings of a topic; nothing where they must not or cannot be read, which is told.
    pub(super) fn config_of(&self, plan: &TopicPlan<'_>) -> Result<Option<TopicConfig>, Fault> {
        let resource = ResourceSpecifier::Topic(plan.name);
        let described = self.handle.block_on(self.client.describe_configs([&resource], &self.options()));
        let code = match described {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(resource)) => return Ok(Some(config(resource))),
                Some(Err(code)) => code,
                None => RDKafkaErrorCode::NoEnt,
            },
            Err(KafkaError::AdminOp(code)) => code,
            Err(error) => return Err(self.fault(&describing(plan), &error)),
        };
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::UnsupportedVersion => {
                tracing::warn!(
                    topic = plan.name,
                    "{} is not possible ({code}): its cleanup policy is not checked, and Kafka's default is taken for \
                     max.message.bytes; the right DescribeConfigs on the topic allows it",
                    describing(plan)
                );
                Ok(None)
            }
            code => Err(self.fault(&describing(plan), &KafkaError::AdminOp(code))),
        }
    }
}

/// The first of these brokers (id, host and port) that nobody can connect to.
pub(super) fn first_unanswered<'a>(
    brokers: impl Iterator<Item = (i32, &'a str, i32)>,
) -> Option<(RDKafkaErrorCode, String)> {
    brokers.take(BROKERS_TRIED_MAX).find_map(|(id, host, port)| {
        let why = connect(host, u16::try_from(port).ok()?).err()?;
        let words = format!("{host}:{port}/{id}: nobody answers there: {why}");
        Some((RDKafkaErrorCode::BrokerTransportFailure, words))
    })
}

/// Connects, and closes the connection. Blocks.
fn connect(host: &str, port: u16) -> io::Result<()> {
    let mut outcome = Err(io::Error::other("the name has no address"));
    for address in (host, port).to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, CONNECTED_WITHIN).map(drop);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn describing(plan: &TopicPlan<'_>) -> String {
    format!("reading the settings of the topic \"{}\"", plan.name)
}

fn config(resource: ConfigResource) -> TopicConfig {
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}
