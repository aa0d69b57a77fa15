//! What the reading of a stream is doing, for people: how far it is, and what each lane waits for.

use std::sync::Arc;

use tailwater_model::ServiceTime;
use tokio::time::Instant;

use super::Shared;
use crate::graph::ReadFront;

/// What one lane's reader is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneReading {
    /// It waits for the progress of another lane, which holds the parents of all that it could read.
    WaitingForLane(usize),
    /// The last pages had records.
    Reading,
    /// The last pages were empty, or there is nothing to read.
    Idle,
    /// Nothing is answered.
    Trouble {
        /// For so many seconds.
        seconds: u64,
        /// What the last answer was.
        why: String,
    },
}

/// How far a stream was read and is in the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The service's time, as far as it is known.
    pub now: Option<ServiceTime>,
    /// When the stream was first heard of in this process: a bounded run ends when everything older is in the sink.
    pub begun: Option<ServiceTime>,
    /// The shard that is furthest behind, of those with something to read, as far as is known.
    pub furthest_unread: Option<ReadFront>,
    /// The shard that is furthest behind of all. A shard whose pages are empty moves on with some delay.
    pub furthest_behind: Option<ReadFront>,
    /// The lanes by number.
    pub lanes: Vec<LaneReading>,
}

/// What a lane tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneNotes {
    /// Its last page had records.
    pub is_reading: bool,
    /// When the run of failures began, and the last of them.
    pub trouble: Option<(Instant, String)>,
}

/// Reads the status of a stream, also when its readers are gone.
#[derive(Clone)]
pub struct StatusReader(Arc<Shared>);

impl StatusReader {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// The status now.
    pub fn status(&self) -> SourceStatus {
        let shared = &self.0;
        let notes = shared.notes();
        let (mut status, waits) = shared.graph(|graph| {
            let waits: Vec<Option<usize>> = (0..notes.len()).map(|lane| graph.waits_for_lane(lane)).collect();
            let status = SourceStatus {
                now: None,
                begun: graph.begun(),
                furthest_unread: graph.furthest_unread(),
                furthest_behind: graph.furthest_behind(),
                lanes: Vec::new(),
            };
            (status, waits)
        });
        status.now = shared.now();
        status.lanes = notes.into_iter().zip(waits).map(|(notes, waits)| reading(notes, waits)).collect();
        status
    }
}

fn reading(notes: LaneNotes, waits_for: Option<usize>) -> LaneReading {
    match (notes, waits_for) {
        (LaneNotes { trouble: Some((since, why)), .. }, _) => {
            LaneReading::Trouble { seconds: since.elapsed().as_secs(), why }
        }
        (LaneNotes { is_reading: true, .. }, _) => LaneReading::Reading,
        (_, Some(lane)) => LaneReading::WaitingForLane(lane),
        _ => LaneReading::Idle,
    }
}
