//! Runs the lanes of a pipeline as tasks and ends them together.

use std::sync::Arc;

use tailwater_model::{Finished, Sink, Source, Transform, Trouble, TroubleKind, panic_words};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{Instrument, warn};

use crate::dead_letter_log::DeadLetterLog;
use crate::group_size::GroupSize;
use crate::lane::{Lane, LaneSettings};
use crate::refusals::Refusals;
use crate::reopen_log::ReopenLog;
use crate::status::{LaneState, PipelineStatus};
use crate::stop::StopSignal;

/// How a pipeline ended without trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The stop signal was given.
    Stopped,
    /// The source has nothing more to give.
    Finished(Finished),
}

/// Runs every lane until all are finished, the stop signal is given, or one needs a person; then the others stop too.
///
/// A graceful stop commits what is in hand and takes at most the grace period; what is not durable by then is read
/// again at the next start. A lane that panics halts the pipeline: no task dies in silence.
pub async fn run_pipeline<S: Source + 'static, K: Sink + 'static>(
    lanes: Vec<(S, K)>,
    transforms: Vec<Box<dyn Transform>>,
    settings: LaneSettings,
    stop: StopSignal,
    status: Arc<PipelineStatus>,
) -> Result<Ended, Trouble> {
    let transforms = Arc::new(transforms);
    let stop = stop.child();
    let mut tasks = JoinSet::new();
    for (number, (source, sink)) in lanes.into_iter().enumerate() {
        let lane = Lane {
            number,
            source,
            sink,
            transforms: Arc::clone(&transforms),
            settings,
            group_size: GroupSize::new(settings.group_limits()),
            refusals: Refusals::default(),
            stop: stop.clone(),
            reopen_log: ReopenLog::default(),
            status: Arc::clone(&status),
            unanswered: Vec::new(),
            dead_letters: DeadLetterLog::default(),
        };
        let status = Arc::clone(&status);
        let running = async move {
            let ended = Box::pin(lane.run()).await;
            status.set_lane(number, LaneState::Ended);
            ended
        };
        // Its lines in the log name the pipeline.
        tasks.spawn(running.in_current_span());
    }
    let mut outcome = Ok(Ended::Stopped);
    let grace = async {
        stop.stopped().await;
        sleep(settings.grace_period).await;
    };
    tokio::select! { biased;
        () = join_lanes(&mut tasks, &stop, &mut outcome) => {}
        () = grace => {
            warn!("the grace period is over; what was not durable will be read again");
            tasks.shutdown().await;
        }
    }
    outcome
}

/// Waits for all lanes. The first trouble stops the others, and the gravest is the outcome, also when they do not stop in
/// time.
async fn join_lanes(
    tasks: &mut JoinSet<Result<Ended, Trouble>>,
    stop: &StopSignal,
    outcome: &mut Result<Ended, Trouble>,
) {
    let mut finished = None;
    while let Some(joined) = tasks.join_next().await {
        match joined.unwrap_or_else(|error| Err(panic_trouble(error))) {
            Ok(Ended::Finished(how)) => finished = Some(how),
            Ok(Ended::Stopped) => {}
            Err(trouble) => {
                stop.stop();
                if outcome.as_ref().err().is_none_or(|before| trouble.kind > before.kind) {
                    *outcome = Err(trouble);
                }
            }
        }
    }
    if let (Ok(_), Some(how), false) = (&outcome, finished, stop.is_stopping()) {
        *outcome = Ok(Ended::Finished(how));
    }
}

fn panic_trouble(error: JoinError) -> Trouble {
    // What the error says itself holds the panic's message.
    let what = error.try_into_panic().map_or("it was ended from outside", |payload| panic_words(&*payload));
    Trouble::new(TroubleKind::Runtime, "pipeline.panic", format!("a lane broke down: {what}"))
        .advise("this is a bug in Tailwater; nothing was lost: starting again goes on from the last commit")
}
