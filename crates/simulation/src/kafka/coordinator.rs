//! What the transaction coordinator knows of one transactional id: its producer's number and epoch, and its transaction.
//! Pure: the time is an argument.
//!
//! The answers are those of Kafka's `TransactionCoordinator` (4.1) to clients without an epoch for each transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::broker::Place;
use super::log::{Epoch, ProducerId};

/// A transactional id.
#[derive(Clone, Debug)]
pub(crate) struct TransactionalId {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: Epoch,
    timeout: Duration,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// No transaction since the producer came.
    Empty,
    Ongoing {
        since: Instant,
        places: BTreeSet<Place>,
    },
    /// Decided; the markers are on their way to the partitions.
    Ending {
        commits: bool,
        markers: BTreeMap<Place, Instant>,
    },
    Ended {
        commits: bool,
    },
}

/// What an end of a transaction leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is decided now.
    Now(BTreeSet<Place>),
    /// It had been: the one who asks did not hear of it.
    Before,
}

impl TransactionalId {
    pub(crate) fn new(producer: ProducerId) -> Self {
        Self { producer, epoch: -1, timeout: Duration::MAX, stage: Stage::Empty }
    }

    /// A new producer comes (`InitProducerId`). An open transaction of an older one is given up first, and the older one
    /// is fenced at once: the partitions where that has to be marked. While markers are on their way the new one has to
    /// ask again (KIP-98, "Handling an InitPidRequest").
    ///
    /// # Errors
    /// `CONCURRENT_TRANSACTIONS`, with the partitions of the transaction that is to be given up.
    pub(crate) fn init(&mut self, timeout: Duration) -> Result<(ProducerId, Epoch), BTreeSet<Place>> {
        match &mut self.stage {
            Stage::Ending { .. } => Err(BTreeSet::new()),
            Stage::Ongoing { places, .. } => {
                self.epoch += 1;
                Err(std::mem::take(places))
            }
            Stage::Empty | Stage::Ended { .. } => {
                self.epoch += 1;
                self.timeout = timeout;
                self.stage = Stage::Empty;
                Ok((self.producer, self.epoch))
            }
        }
    }

    /// The producer itself wants a new epoch, for it lost messages on their way (KIP-360).
    pub(crate) fn bump(&mut self, epoch: Epoch) -> Result<Epoch, RDKafkaErrorCode> {
        self.check(epoch)?;
        if matches!(self.stage, Stage::Ending { .. } | Stage::Ongoing { .. }) {
            return Err(RDKafkaErrorCode::ConcurrentTransactions);
        }
        self.epoch += 1;
        Ok(self.epoch)
    }

    /// Only the newest producer may go on.
    fn check(&self, epoch: Epoch) -> Result<(), RDKafkaErrorCode> {
        if epoch == self.epoch { Ok(()) } else { Err(RDKafkaErrorCode::ProducerFenced) }
    }

    /// Partitions that the transaction is to write to. The first ones begin it.
    pub(crate) fn add(&mut self, epoch: Epoch, added: &[Place], now: Instant) -> Result<(), RDKafkaErrorCode> {
        self.check(epoch)?;
        match &mut self.stage {
            Stage::Ending { .. } => return Err(RDKafkaErrorCode::ConcurrentTransactions),
            Stage::Ongoing { places, .. } => places.extend(added.iter().cloned()),
            Stage::Empty | Stage::Ended { .. } => {
                self.stage = Stage::Ongoing { since: now, places: added.iter().cloned().collect() };
            }
        }
        Ok(())
    }

    /// A partition's leader asks whether a message may be written (KIP-890, part 1).
    pub(crate) fn verify(&self, epoch: Epoch, place: &Place) -> Result<(), RDKafkaErrorCode> {
        if epoch != self.epoch {
            return Err(RDKafkaErrorCode::InvalidProducerEpoch);
        }
        match &self.stage {
            Stage::Ongoing { places, .. } if places.contains(place) => Ok(()),
            _ => Err(RDKafkaErrorCode::InvalidTransactionalState),
        }
    }

    /// The producer ends its transaction (`EndTxn`). Nothing tells which of its transactions is meant: one that comes
    /// late ends whatever is open then (KIP-890, "Motivation").
    pub(crate) fn end(&self, epoch: Epoch, commits: bool) -> Result<Decision, RDKafkaErrorCode> {
        self.check(epoch)?;
        match &self.stage {
            Stage::Ongoing { places, .. } => Ok(Decision::Now(places.clone())),
            Stage::Ended { commits: before } if *before == commits => Ok(Decision::Before),
            Stage::Ending { commits: before, .. } if *before == commits => {
                Err(RDKafkaErrorCode::ConcurrentTransactions)
            }
            Stage::Empty | Stage::Ended { .. } | Stage::Ending { .. } => {
                Err(RDKafkaErrorCode::InvalidTransactionalState)
            }
        }
    }

    /// The end is decided; each partition learns of it at its time.
    pub(crate) fn decide(&mut self, commits: bool, markers: BTreeMap<Place, Instant>) {
        self.stage = Stage::Ending { commits, markers };
    }

    /// When the broker gives the open transaction up, and its partitions.
    pub(crate) fn expires(&self) -> Option<(Instant, &BTreeSet<Place>)> {
        let Stage::Ongoing { since, places } = &self.stage else { return None };
        Some((since.checked_add(self.timeout)?, places))
    }

    /// The open transaction is too old: its producer is fenced (`TransactionCoordinator.abortTimedOutTransactions`).
    pub(crate) fn fence(&mut self) {
        self.epoch += 1;
    }

    /// Takes out the markers that arrive by now. With the last one the transaction has ended.
    pub(crate) fn arrived(&mut self, now: Instant) -> (bool, Vec<Place>) {
        let Stage::Ending { commits, markers } = &mut self.stage else { return (false, Vec::new()) };
        let commits = *commits;
        let arrived: Vec<Place> =
            markers.iter().filter(|(_, at)| **at <= now).map(|(place, _)| place.clone()).collect();
        markers.retain(|_, at| *at > now);
        if markers.is_empty() {
            self.stage = Stage::Ended { commits };
        }
        (commits, arrived)
    }
}
