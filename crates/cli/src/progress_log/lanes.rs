//! What the lanes of a pipeline are doing: numbers, one word, and what is wrong for longest.

use tailwater_pipeline::{LaneState, StatusSnapshot};
use tailwater_source_dynamodb::{LaneReading, SourceStatus};

/// A lane that opens for the first time is told when it takes longer than this many seconds.
const OPENING_TOLD_AFTER_SECONDS: u64 = 10;

/// How many lanes are in which state: each in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    pub opening: usize,
    pub waiting: usize,
    pub waiting_for_memory: usize,
    pub carrying: usize,
    pub committing: usize,
    pub idle: usize,
    pub in_trouble: usize,
    pub stopping: usize,
    pub reopening: usize,
    pub ended: usize,
    /// What keeps a lane from carrying, and for how many seconds: of all that what lasts longest.
    pub trouble: Option<(u64, String)>,
}

impl LaneCounts {
    /// Counts them by what the pipeline says of each lane and, of those that are open, by what its reader says.
    pub fn of(snapshot: &StatusSnapshot, source: Option<&SourceStatus>) -> Self {
        let mut counts = Self::default();
        for (number, state) in snapshot.lanes.iter().enumerate() {
            match state {
                LaneState::Opening { since } => {
                    counts.opening += 1;
                    let seconds = since.elapsed().as_secs();
                    if seconds >= OPENING_TOLD_AFTER_SECONDS {
                        counts.tell(seconds, format!("lane {number} is not open yet"));
                    }
                }
                LaneState::Committing { since } => {
                    counts.committing += 1;
                    counts
                        .tell(since.elapsed().as_secs(), format!("the sink does not answer a commit of lane {number}"));
                }
                LaneState::Reopening { since, trouble } => {
                    counts.reopening += 1;
                    let why = format!("lane {number} opens again: {}: {trouble}", trouble.code);
                    counts.tell(since.elapsed().as_secs(), why);
                }
                LaneState::Ended => counts.ended += 1,
                LaneState::Carrying => {
                    counts.count_open(number, source.and_then(|source| source.lanes.get(number)));
                }
            }
        }
        counts
    }

    fn count_open(&mut self, number: usize, reading: Option<&LaneReading>) {
        match reading {
            Some(LaneReading::WaitingForLane(_)) => self.waiting += 1,
            Some(LaneReading::WaitingForMemory { seconds }) => {
                self.waiting_for_memory += 1;
                self.tell(*seconds, format!("lane {number} waits for memory: `memory_bytes_max` is full"));
            }
            Some(LaneReading::Idle) => self.idle += 1,
            Some(LaneReading::Stopping) => self.stopping += 1,
            Some(LaneReading::Trouble { seconds, why }) => {
                self.in_trouble += 1;
                self.tell(*seconds, why.clone());
            }
            Some(LaneReading::Reading) | None => self.carrying += 1,
        }
    }

    fn tell(&mut self, seconds: u64, why: String) {
        if self.trouble.as_ref().is_none_or(|(longest, _)| *longest < seconds) {
            self.trouble = Some((seconds, why));
        }
    }

    /// All of them: the pipeline looks for the stream that follows, or ends.
    pub fn have_ended(&self) -> bool {
        self.ended > 0 && *self == Self { ended: self.ended, ..Self::default() }
    }

    /// One word for all lanes: what is wrong comes first.
    pub fn word(&self) -> &'static str {
        if self.in_trouble > 0 {
            "source in trouble"
        } else if self.reopening > 0 {
            "reopening"
        } else if self.committing > 0 {
            "committing"
        } else if self.stopping > 0 {
            "stopping at a gap"
        } else if self.waiting_for_memory > 0 {
            "waiting for memory"
        } else if self.waiting > 0 || self.opening > 0 {
            "opening"
        } else if self.carrying > 0 {
            "carrying"
        } else if self.idle > 0 {
            "idle"
        } else if self.have_ended() {
            "between two streams"
        } else {
            "claiming"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tailwater_model::{Counts, Trouble, TroubleKind};
    use tokio::time::{Instant, advance};

    use super::*;

    fn counted(states: Vec<LaneState>, readings: Vec<LaneReading>) -> LaneCounts {
        let snapshot = StatusSnapshot {
            counts: Counts::default(),
            commits: 0,
            reopenings: 0,
            gaps: 0,
            replaced: 0,
            standing_by: false,
            owner_lives_at: None,
            newest_created_at_ms: None,
            lanes: states,
        };
        let source = SourceStatus {
            now: None,
            begun: None,
            is_whole: true,
            furthest_unread: None,
            furthest_behind: None,
            lanes: readings,
        };
        LaneCounts::of(&snapshot, Some(&source))
    }

    #[test]
    fn stuck_is_told_from_idle() {
        let readings = vec![
            LaneReading::Idle,
            LaneReading::Reading,
            LaneReading::WaitingForLane(1),
            LaneReading::Trouble { seconds: 70, why: "GetRecords: expired".into() },
            LaneReading::WaitingForMemory { seconds: 40 },
            LaneReading::Stopping,
        ];
        let counts = counted(vec![LaneState::Carrying; readings.len()], readings);
        let expected = LaneCounts {
            waiting: 1,
            carrying: 1,
            idle: 1,
            in_trouble: 1,
            waiting_for_memory: 1,
            stopping: 1,
            trouble: Some((70, "GetRecords: expired".into())),
            ..LaneCounts::default()
        };
        assert_eq!(counts, expected);
        assert_eq!(counts.word(), "source in trouble");
        assert_eq!(LaneCounts { idle: 2, ended: 1, ..LaneCounts::default() }.word(), "idle");
        assert_eq!(LaneCounts { ended: 2, ..LaneCounts::default() }.word(), "between two streams");
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_a_lane_is_told_with_how_long_and_why() {
        let since = Instant::now();
        advance(Duration::from_secs(25)).await;
        let trouble = Trouble::new(TroubleKind::Runtime, "sink.postgres.connection", "the server went away");
        for (state, word, why) in [
            (LaneState::Opening { since }, "opening", "lane 1 is not open yet"),
            (LaneState::Committing { since }, "committing", "the sink does not answer a commit of lane 1"),
            (
                LaneState::Reopening { since, trouble },
                "reopening",
                "lane 1 opens again: sink.postgres.connection: the server went away",
            ),
        ] {
            // Its reader says what was before that.
            let counts = counted(vec![LaneState::Carrying, state], vec![LaneReading::Idle, LaneReading::Reading]);
            assert_eq!((counts.word(), &counts.trouble, counts.carrying), (word, &Some((25, why.to_owned())), 0));
        }
        let waits = LaneReading::WaitingForMemory { seconds: 12 };
        let counts = counted(vec![LaneState::Carrying; 2], vec![LaneReading::Reading, waits]);
        assert_eq!(counts.word(), "waiting for memory");
        assert_eq!(counts.trouble, Some((12, "lane 1 waits for memory: `memory_bytes_max` is full".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_is_no_trouble() {
        let counts = counted(vec![LaneState::Opening { since: Instant::now() }], vec![LaneReading::Idle]);
        assert_eq!((counts.word(), counts.trouble), ("opening", None));
        // Who waits for the locks of an earlier owner has no lanes yet.
        assert_eq!(counted(Vec::new(), Vec::new()).word(), "claiming");
    }
}
