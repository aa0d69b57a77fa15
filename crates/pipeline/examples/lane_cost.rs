//! Carries N empty batches, each in a group of its own, from a source that has them ready to a sink in memory: what is left
//! is the lane loop's own bookkeeping of a commit. `cargo x counts` counts the instructions.
//!
//! Usage: `lane_cost TIMES`.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{
    Advance, Batch, Committed, Counts, Delivery, Failure, Finished, FirstListing, Group, Position, Progress,
    SequenceNumber, ShardId, ShardProgress, Sink, Source, Step, Trouble, TroubleKind,
};
use tailwater_pipeline::{LaneSettings, PipelineStatus, StopSignal, run_pipeline};

/// Every batch is a group: the loop commits as soon as one event's worth has come.
const SETTINGS: LaneSettings = LaneSettings {
    group_events_max: usize::MAX,
    group_bytes_max: 1,
    group_delay_max: Duration::from_secs(1),
    reopen_delay_min: Duration::from_secs(1),
    reopen_delay_max: Duration::from_secs(1),
    grace_period: Duration::from_secs(1),
    seed: 1,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let times = std::env::args().nth(1).ok_or("usage: lane_cost TIMES")?.parse()?;
    let (shard, status) = (ShardId::new("shardId-1"), Arc::new(PipelineStatus::new()));
    let lane = (Counting { shard: shard.clone(), given: 0, times }, Remembering { shard, position: Position::Start });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = run_pipeline(vec![lane], Vec::new(), SETTINGS, StopSignal::new(), Arc::clone(&status));
    runtime.block_on(Box::pin(run))?;
    let commits = status.snapshot().commits;
    if commits == times { Ok(()) } else { Err(format!("{commits} commits in place of {times}").into()) }
}

/// Gives one step after the other.
struct Counting {
    shard: ShardId,
    given: u64,
    times: u64,
}

fn position(number: u64) -> Position {
    if number == 0 {
        return Position::Start;
    }
    SequenceNumber::parse(format!("{number:021}").into()).map_or(Position::Start, Position::After)
}

impl Source for Counting {
    async fn open(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Delivery, Failure> {
        if self.given == self.times {
            return Ok(Delivery::Finished(Finished::Tip));
        }
        let from = position(self.given);
        self.given += 1;
        Ok(Delivery::Batch(Batch {
            shard: self.shard.clone(),
            step: Step::Advance(Advance { from, to: position(self.given) }),
            read_until: None,
            events: Vec::new(),
            dead_letters: Vec::new(),
            gap: None,
            counts: Counts::default(),
            bytes: 1,
        }))
    }

    fn committed(&mut self, _: &[(ShardId, Step)], _: Option<FirstListing>) {}

    fn grew(&mut self, _: &ShardId, _: usize) {}

    fn close(&mut self) {}
}

/// Keeps the position of the one shard.
struct Remembering {
    shard: ShardId,
    position: Position,
}

impl Sink for Remembering {
    async fn open(&mut self) -> Result<Progress, Failure> {
        let (shard, position) = (self.shard.clone(), self.position.clone());
        let shard = ShardProgress { shard, parent: None, position, read_until: None };
        Ok(Progress { shards: vec![shard], ..Progress::default() })
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        for batch in group.batches {
            // I2
            match batch.step {
                Step::Advance(advance) if advance.from == self.position => self.position = advance.to,
                _ => {
                    let message = "a step that does not fit";
                    return Err(Failure::Halt(Trouble::new(TroubleKind::Runtime, "lane_cost.step", message)));
                }
            }
        }
        Ok(Committed::default())
    }
}
