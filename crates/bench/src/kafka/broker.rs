//! The broker that is produced to: a real one, or one that only pretends.

use anyhow::Result;

use super::topics::Topics;
use crate::helper::Helper;
use crate::measure::Bench;

/// Which kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Real,
    /// librdkafka's own, in a process of its own. It keeps little, so it takes little of the processors that it shares with
    /// the producers.
    Pretended,
}

/// A broker with the topics of one run.
pub struct Broker {
    pub address: String,
    pretended: Option<Helper>,
}

impl Broker {
    pub fn start(bench: &Bench, kind: Kind, topics: &Topics) -> Result<Self> {
        match kind {
            Kind::Real => {
                bench.runtime.block_on(topics.make(&bench.kafka))?;
                Ok(Self { address: bench.kafka.clone(), pretended: None })
            }
            Kind::Pretended => {
                let names = topics.all().map(str::to_owned);
                let arguments: Vec<String> = ["pretend-broker".to_owned()].into_iter().chain(names).collect();
                let mut helper = Helper::start(&arguments)?;
                Ok(Self { address: helper.line()?, pretended: Some(helper) })
            }
        }
    }

    /// Removes the topics of the run.
    pub fn end(self, bench: &Bench, topics: &Topics) -> Result<()> {
        if self.pretended.is_some() { Ok(()) } else { bench.runtime.block_on(topics.remove(&self.address)) }
    }
}
