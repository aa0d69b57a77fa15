//! One lane: the shipping reader, and a naive sink that stores each step by itself.

use std::collections::BTreeMap;

use tailwater_model::{
    Batch, Delivery, Failure, FirstListing, Position, Progress, ShardId, ShardProgress, Source, Step,
};
use tokio::time::Instant;

use crate::Reader;

/// What may fail.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct Lane {
    reader: Reader,
    rows: BTreeMap<ShardId, ShardProgress>,
    first_listing: Option<FirstListing>,
}

impl Lane {
    pub fn new(reader: Reader) -> Self {
        Self { reader, rows: BTreeMap::new(), first_listing: None }
    }

    /// Reads what is stored and opens the reader there.
    pub async fn open(&mut self) -> Outcome<()> {
        let shards = self.rows.values().cloned().collect();
        let progress = Progress { shards, first_listing: self.first_listing, ..Progress::default() };
        Ok(self.reader.open(&progress).await.map_err(told)?)
    }

    /// Stores what comes until `end`.
    pub async fn carry_until(mut self, end: Instant) -> Outcome<Self> {
        let ended = tokio::time::sleep_until(end);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return Ok(self),
                delivery = self.reader.next() => match delivery.map_err(told)? {
                    Delivery::Batch(batch) => self.store(batch)?,
                    Delivery::FirstListing(listing) => {
                        self.first_listing = Some(listing);
                        self.reader.committed(&[], Some(listing));
                    }
                    Delivery::Finished(why) => return Err(format!("nothing more comes: {why:?}").into()),
                },
            }
        }
    }

    fn store(&mut self, batch: Batch) -> Outcome<()> {
        let Batch { shard, step, read_until, gap, .. } = batch;
        if let Some(gap) = gap {
            return Err(format!("a gap that is none: {}", gap.detail).into());
        }
        let stored = self.rows.get_mut(&shard);
        match (&step, stored) {
            (Step::Register { parent, position }, None) => {
                let (parent, position) = (parent.clone(), position.clone());
                self.rows.insert(shard.clone(), ShardProgress { shard: shard.clone(), parent, position, read_until });
            }
            (Step::Advance(advance), Some(row)) if row.position == advance.from => {
                row.position = advance.to.clone();
                row.read_until = read_until.or(row.read_until);
            }
            (Step::Forget, Some(row)) if row.position == Position::End => drop(self.rows.remove(&shard)),
            (_, stored) => return Err(format!("{step:?} of {shard} does not fit {stored:?}").into()),
        }
        self.reader.committed(&[(shard, step)], None);
        Ok(())
    }

    /// Shards that are stored.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

fn told(failure: Failure) -> String {
    let (Failure::Halt(trouble) | Failure::Reopen(trouble)) = failure;
    trouble.to_string()
}
