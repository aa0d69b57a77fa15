//! What an error of Kafka means: what to do about it, and the words for the person who reads it.

mod cause;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;
use tailwater_model::{Failure, Trouble, TroubleKind};

pub(crate) use cause::may_blame_message;
use cause::{Cause, cause_of};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// It may pass, or its outcome is unknown: throw the producer away and open the lane anew.
    Reopen,
    /// Another producer with our `transactional.id` came after us: open, and look there who owns the lane.
    Fenced,
    /// It will not pass: a person is needed.
    Halt,
}

/// Sorts every error that librdkafka has a code for.
pub(crate) fn remedy(code: RDKafkaErrorCode) -> Remedy {
    cause_of(code).map_or(UNKNOWN, Cause::remedy)
}

/// The remedy for codes that a later librdkafka or a later broker brings. Nothing was committed that we do not find
/// again by opening (I7), so opening is safe whatever the error is, and it waits longer from time to time.
const UNKNOWN: Remedy = Remedy::Reopen;

/// What is told of an address that the settings do not name.
const ADVERTISED: &str = "; that is an address that the brokers there advertise (advertised.listeners)";

/// Whether a problem, which begins with the connection's name (`HOST:PORT/ID`), is that of an address that only the brokers
/// themselves have told. One of the settings has `bootstrap` for its id.
fn is_only_advertised(brokers: &str, reason: &str) -> bool {
    let name = reason.split(": ").next().unwrap_or_default();
    let Some((address, id)) = name.rsplit_once('/') else { return false };
    let address = address.rsplit('/').next().unwrap_or_default();
    id.parse::<i32>().is_ok() && !brokers.split(',').any(|broker| broker.trim().ends_with(address))
}

/// What failed, with its remedy.
#[derive(Debug)]
pub struct Fault {
    pub(crate) remedy: Remedy,
    pub(crate) trouble: Trouble,
}

impl Fault {
    /// The fault for an error of `doing` ("committing to lane 3 of pipeline x"). `last_problem` is what the client last
    /// told about its connections: librdkafka answers a call with a timeout while the reason is known only there.
    pub fn of(
        doing: &str,
        brokers: &str,
        error: &KafkaError,
        last_problem: Option<(RDKafkaErrorCode, String)>,
    ) -> Self {
        let told = Told::of(error);
        let remedy = told.remedy();
        let mut cause = told.cause;
        let mut message = format!("{doing} failed on Kafka at {brokers}: {}", told.words);
        if let (Some(Cause::Timeout | Cause::Unreachable), Some((code, reason))) = (cause, last_problem)
            && let Some(better @ (Cause::Authentication | Cause::Tls | Cause::Unreachable)) = cause_of(code)
        {
            cause = Some(better);
            let advertised = if is_only_advertised(brokers, &reason) { ADVERTISED } else { "" };
            message = format!("{message}; the connection's last problem: {reason}{advertised}");
        }
        let (kind, code) = cause.map_or((TroubleKind::Environment, "sink.kafka.unknown"), Cause::told_as);
        let trouble = Trouble::new(kind, code, message);
        let trouble = match cause.and_then(|cause| cause.advice(brokers)) {
            Some(advice) => trouble.advise(advice),
            None => trouble,
        };
        Self { remedy, trouble }
    }

    /// Trouble of our own finding that opening again heals.
    pub(crate) fn reopen(trouble: Trouble) -> Self {
        Self { remedy: Remedy::Reopen, trouble }
    }

    /// The fault for a delivery that failed. Where a message may be at fault, opening again shows whether it is.
    pub(crate) fn of_delivery(code: RDKafkaErrorCode, fault: Self) -> Self {
        if may_blame_message(code) { Self { remedy: Remedy::Reopen, ..fault } } else { fault }
    }

    /// What crosses the trait. A fenced lane opens again: there it finds out who owns it now.
    pub(crate) fn into_failure(self) -> Failure {
        match self.remedy {
            Remedy::Reopen | Remedy::Fenced => Failure::Reopen(self.trouble),
            Remedy::Halt => Failure::Halt(self.trouble),
        }
    }
}

/// What we found out ourselves is told as it is, and needs a person.
impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self { remedy: Remedy::Halt, trouble }
    }
}

/// What rdkafka's error says.
struct Told {
    cause: Option<Cause>,
    words: String,
}

impl Told {
    fn remedy(&self) -> Remedy {
        self.cause.map_or(UNKNOWN, Cause::remedy)
    }

    fn of(error: &KafkaError) -> Self {
        let cause = match error {
            // These carry a code, though not each is told by `rdkafka_error_code`.
            KafkaError::AdminOp(code)
            | KafkaError::ConsumerCommit(code)
            | KafkaError::ConsumerQueueClose(code)
            | KafkaError::Flush(code)
            | KafkaError::Global(code)
            | KafkaError::GroupListFetch(code)
            | KafkaError::MessageConsumption(code)
            | KafkaError::MessageConsumptionFatal(code)
            | KafkaError::MessageProduction(code)
            | KafkaError::MetadataFetch(code)
            | KafkaError::MockCluster(code)
            | KafkaError::OffsetFetch(code)
            | KafkaError::Rebalance(code)
            | KafkaError::SetPartitionOffset(code)
            | KafkaError::StoreOffset(code) => cause_of(*code),
            KafkaError::Transaction(error) => cause_of(error.code()),
            KafkaError::ClientConfig(..) | KafkaError::AdminOpCreation(_) | KafkaError::Nul(_) => Some(Cause::Settings),
            // The same settings have worked at the start, or this is the start: then it is told and not repeated.
            KafkaError::ClientCreation(_) => Some(Cause::Client),
            KafkaError::NoMessageReceived => Some(Cause::Timeout),
            KafkaError::Canceled
            | KafkaError::PartitionEOF(_)
            | KafkaError::PauseResume(_)
            | KafkaError::Seek(_)
            | KafkaError::Subscription(_) => Some(Cause::Unexpected),
            // The enum may grow.
            _ => None,
        };
        Self { cause, words: words(error) }
    }
}

/// What the error says, without the values of properties: they may be secrets, and librdkafka quotes them.
fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, property, _) => {
            format!("librdkafka has no property \"{property}\"")
        }
        KafkaError::ClientConfig(_, _, property, _) => {
            format!("librdkafka does not take the value of the property \"{property}\"")
        }
        KafkaError::Transaction(error) => format!("{} ({})", error.string(), error.name()),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
