//! `tailwater run`: checks all files, connects all pipelines, and runs them until they end or are asked to stop.

use tailwater_model::{Trouble, TroubleKind};
use tailwater_pipeline::{Ended, StopSignal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument, error_span, info, warn};

use crate::arguments::{RunArguments, Until};
use crate::assemble::{ConnectedPipeline, PipelineView, connect_source};
use crate::configuration::{self, PipelineSpec};
use crate::output::CommandFailure;
use crate::progress_log::{PROGRESS_INTERVAL, ProgressLog};
use crate::signals::StopRequests;

type Troubles = Vec<(Option<String>, Trouble)>;

/// Runs the pipelines. When one needs a person the others are stopped too: until there is a health endpoint, the end of
/// the process is the only way in which a supervisor learns of it (I8).
pub async fn run(arguments: RunArguments) -> Result<(), CommandFailure> {
    let loaded = configuration::load(&arguments.paths);
    if loaded.has_faults() {
        return Err(CommandFailure::Faults(loaded.findings));
    }
    for finding in &loaded.findings {
        let path = finding.path.as_deref().unwrap_or_default();
        warn!(file = finding.file, line = finding.line, path, code = finding.code, "{}", finding.message);
    }
    let mut requests = StopRequests::listen()?;
    let until_tip = arguments.until == Some(Until::Tip);
    let connected = tokio::select! { biased;
        _ = requests.next() => {
            info!("asked to stop before anything was read");
            return Ok(());
        }
        connected = Box::pin(connect_all(loaded.specs)) => connected.map_err(CommandFailure::Troubles)?,
    };
    let troubles = Box::pin(carry_all(connected, until_tip, &mut requests)).await?;
    if troubles.is_empty() { Ok(()) } else { Err(CommandFailure::Troubles(troubles)) }
}

/// Connects to every source, and looks at every sink, before the first lane is claimed: a start that cannot succeed takes
/// nothing from a process that runs already. Where there is one pipeline, its claim looks itself, and takes all or nothing.
///
/// Gives those that can run, and the troubles of those whose streams are over: that is no trouble of the others.
async fn connect_all(specs: Vec<PipelineSpec>) -> Result<(Vec<ConnectedPipeline>, Troubles), Troubles> {
    let (mut connected, mut over, mut troubles) = (Vec::new(), Troubles::new(), Troubles::new());
    for spec in specs {
        let name = spec.name.clone();
        match Box::pin(connect_source(spec)).await {
            Ok(pipeline) => connected.push(pipeline),
            Err(trouble) if trouble.kind == TroubleKind::StreamEnded => over.push((Some(name), trouble)),
            Err(trouble) => troubles.push((Some(name), trouble)),
        }
    }
    if troubles.is_empty() && connected.len() > 1 {
        for pipeline in &connected {
            if let Err(trouble) = Box::pin(pipeline.check_sink()).await {
                troubles.push((Some(pipeline.name().to_owned()), trouble));
            }
        }
    }
    if troubles.is_empty() {
        Ok((connected, over))
    } else {
        troubles.extend(over);
        Err(troubles)
    }
}

/// Runs until all pipelines have ended, and gives the troubles of those that failed, or ran to the tip and met gaps, beside those
/// of pipelines that were over.
async fn carry_all(
    (pipelines, over): (Vec<ConnectedPipeline>, Troubles),
    bounded: bool,
    requests: &mut StopRequests,
) -> Result<Troubles, CommandFailure> {
    let stop = StopSignal::new();
    let mut logs = Vec::new();
    let mut tasks = JoinSet::new();
    // They are told at the end, too, which may come in a year.
    for (pipeline, trouble) in over.iter().filter(|_| !pipelines.is_empty()) {
        warn!(pipeline, code = trouble.code, "{trouble}; the other pipelines of this process run");
    }
    for (index, pipeline) in pipelines.into_iter().enumerate() {
        let view = PipelineView::default();
        // Its lines in the log name it, also those of its lanes: a process may have many.
        let span = error_span!("run", pipeline = pipeline.name());
        info!(pipeline = pipeline.name(), source = pipeline.source(), sink = pipeline.target(), "starting");
        logs.push(ProgressLog::new(pipeline.name().to_owned(), view.clone()));
        let stop = stop.clone();
        let running = async move { (index, Box::pin(pipeline.run(bounded, stop, view)).await) };
        tasks.spawn(running.instrument(span));
    }
    let mut running: Vec<bool> = logs.iter().map(|_| true).collect();
    let mut troubles = over;
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when there is nothing to tell.
    ticks.tick().await;
    loop {
        tokio::select! { biased;
            code = requests.next() => {
                if stop.is_stopping() {
                    return Err(CommandFailure::Forced(code));
                }
                info!("stopping: what is in hand is committed; a second signal ends at once");
                stop.stop();
            }
            ended = tasks.join_next() => match ended {
                None => return Ok(troubles),
                Some(Ok((index, outcome))) => {
                    running[index] = false;
                    logs[index].summary(&outcome);
                    let is_at_risk = outcome.as_ref().is_err_and(|trouble| trouble.kind == TroubleKind::DataAtRisk);
                    if bounded && !is_at_risk {
                        troubles.extend(logs[index].gaps_met());
                    }
                    note_trouble(&logs[index], outcome, &stop, &mut troubles);
                }
                Some(Err(fault)) => {
                    let message = format!("a pipeline ended without an answer: {fault}");
                    let trouble = Trouble::new(TroubleKind::Runtime, "process.task_failed", message);
                    troubles.push((None, trouble.advise("this is a bug in Tailwater; please report it")));
                    stop.stop();
                }
            },
            _ = ticks.tick() => {
                for (log, _) in logs.iter_mut().zip(&running).filter(|(_, running)| **running) {
                    log.line();
                }
            }
        }
    }
}

fn note_trouble(log: &ProgressLog, outcome: Result<Ended, Trouble>, stop: &StopSignal, troubles: &mut Troubles) {
    if let Err(trouble) = outcome {
        // A stream that is over is no trouble of the others.
        if trouble.kind == TroubleKind::StreamEnded {
            troubles.push((Some(log.pipeline().to_owned()), trouble));
            return;
        }
        if !stop.is_stopping() {
            warn!(pipeline = log.pipeline(), code = trouble.code, "failed; all pipelines of this process stop with it");
        }
        stop.stop();
        troubles.push((Some(log.pipeline().to_owned()), trouble));
    }
}
