//! The life of a pipeline: it is claimed and its lanes run; when another process takes it over, this one stands by and claims
//! it again when the other is gone; when its stream is over, it goes on with the one that follows.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Claimed, Ownership, Sink, Source, StreamIdentity, Transform, Trouble, TroubleKind};
use tracing::{info, warn};

use crate::lane::LaneSettings;
use crate::ownership::{release, show_life, stand_by};
use crate::status::PipelineStatus;
use crate::stop::StopSignal;
use crate::supervise::{Ended, run_pipeline};

/// What the claim of an [`Assembly`] gives.
pub type ClaimOf<A> = Claimed<<A as Assembly>::Sink, <A as Assembly>::Ownership>;

/// How a pipeline is put together, as often as that is needed.
pub trait Assembly: Send {
    /// Reads a lane.
    type Source: Source + 'static;
    /// Writes a lane.
    type Sink: Sink + 'static;
    /// Tells who owns the pipeline.
    type Ownership: Ownership;

    /// Chooses the stream that is to be read now: the one that progress belongs to, or the newest; and after one that
    /// [`follow`](Self::follow) has left behind, the next.
    fn choose(&mut self) -> impl Future<Output = Result<StreamIdentity, Trouble>> + Send;

    /// Claims the lanes for the chosen stream. Whoever had them loses them by this.
    fn claim(&mut self) -> impl Future<Output = Result<ClaimOf<Self>, Trouble>> + Send;

    /// Puts a reader of the chosen stream to each lane.
    fn read(&mut self, lanes: Vec<Self::Sink>) -> Vec<(Self::Source, Self::Sink)>;

    /// What changes the events on the way, in order.
    fn transforms(&self) -> Vec<Box<dyn Transform>>;

    /// What comes after lanes that ended so. Where another stream follows, the one that ended is left behind for good.
    fn follow(&mut self, outcome: Result<Ended, Trouble>, stop: &StopSignal) -> impl Future<Output = Following> + Send;

    /// Waits before a claim that met this trouble is tried again, or gives the trouble back. Answers false when the process is
    /// asked to stop.
    fn bear(&mut self, trouble: Trouble, stop: &StopSignal) -> impl Future<Output = Result<bool, Trouble>> + Send;
}

/// What comes after the lanes of a stream have ended.
#[derive(Debug)]
pub enum Following {
    /// Nothing: the pipeline ends so.
    End(Result<Ended, Trouble>),
    /// Another stream, which is to be chosen.
    Stream,
}

/// How a pipeline is run.
#[derive(Clone, Copy, Debug)]
pub struct RunSettings {
    /// Bounds of its lanes.
    pub lane: LaneSettings,
    /// An owner that shows no life for so long is taken for dead.
    pub lease: Duration,
    /// Whether a process that was replaced waits. A bounded run does not: whoever replaced it carries what it would have.
    pub stands_by: bool,
}

/// Claims the pipeline and runs it until the stop signal is given, the source has nothing more to give, or a person is
/// needed. However it ends, it hands over to whoever stands by, unless it was replaced.
///
/// # Errors
/// The trouble of the first claim as it is; of later ones what [`Assembly::bear`] gives back; and that of the lanes.
pub async fn run<A: Assembly>(
    assembly: A,
    settings: RunSettings,
    stop: StopSignal,
    status: Arc<PipelineStatus>,
) -> Result<Ended, Trouble> {
    let mut pipeline = Pipeline { assembly, chosen: None, settings, stop, status };
    let stop = pipeline.stop.clone();
    let mut claimed = tokio::select! { biased;
        () = stop.stopped() => return Ok(Ended::Stopped),
        claimed = pipeline.claim() => claimed?,
    };
    loop {
        let Claimed { lanes, mut ownership } = claimed;
        let outcome = pipeline.carry(lanes, &mut ownership).await;
        let mut is_ours = true;
        let next = match pipeline.follow(outcome, &mut ownership).await {
            Following::Stream => {
                pipeline.chosen = None;
                pipeline.claim_again().await
            }
            Following::End(Err(trouble)) if pipeline.stands_by(&trouble) => {
                info!(code = trouble.code, "{trouble}; standing by");
                is_ours = false;
                pipeline.stand_by(&mut ownership).await
            }
            Following::End(Err(trouble)) if trouble.kind == TroubleKind::ClaimLost => {
                warn!(code = trouble.code, "{trouble}; claiming it again");
                is_ours = false;
                pipeline.claim_again().await
            }
            Following::End(outcome) => {
                is_ours = outcome.as_ref().err().is_none_or(|trouble| trouble.kind != TroubleKind::Replaced);
                Next::End(outcome)
            }
        };
        match next {
            Next::Claim(next) => claimed = next,
            Next::End(outcome) => {
                // However it ends. Who was replaced has nothing to hand over.
                if is_ours {
                    release(&mut ownership).await;
                }
                return outcome;
            }
        }
    }
}

/// What comes after a claim.
enum Next<C> {
    /// Another one.
    Claim(C),
    /// Nothing: the pipeline ends so.
    End(Result<Ended, Trouble>),
}

struct Pipeline<A> {
    assembly: A,
    /// The stream that the assembly has chosen last, while it may be claimed for. Whoever takes over claims for it at once, and
    /// looks behind the claim whether it is still the one: looking before, too, would read all progress once more.
    chosen: Option<StreamIdentity>,
    settings: RunSettings,
    stop: StopSignal,
    status: Arc<PipelineStatus>,
}

impl<A: Assembly> Pipeline<A> {
    async fn claim(&mut self) -> Result<ClaimOf<A>, Trouble> {
        let before = match self.chosen.take() {
            Some(chosen) => chosen,
            None => self.assembly.choose().await?,
        };
        let mut claimed = self.assembly.claim().await?;
        // Whoever had the lanes until now may have gone over to another stream since ours was chosen; now nobody does.
        let chosen = match self.assembly.choose().await {
            Ok(chosen) => chosen,
            Err(trouble) => {
                release(&mut claimed.ownership).await;
                return Err(trouble);
            }
        };
        if chosen != before {
            drop(claimed);
            claimed = self.assembly.claim().await?;
        }
        self.chosen = Some(chosen);
        Ok(claimed)
    }

    /// Claims once. Nothing where that failed for what may pass.
    async fn try_claim(&mut self) -> Option<Next<ClaimOf<A>>> {
        let stop = self.stop.clone();
        let claimed = tokio::select! { biased;
            () = stop.stopped() => return Some(Next::End(Ok(Ended::Stopped))),
            claimed = self.claim() => claimed,
        };
        let trouble = match claimed {
            Ok(claimed) => return Some(Next::Claim(claimed)),
            Err(trouble) => trouble,
        };
        match self.assembly.bear(trouble, &stop).await {
            Ok(true) => None,
            Ok(false) => Some(Next::End(Ok(Ended::Stopped))),
            Err(trouble) => Some(Next::End(Err(trouble))),
        }
    }

    /// Claims as long as the trouble in the way may pass.
    async fn claim_again(&mut self) -> Next<ClaimOf<A>> {
        loop {
            if let Some(next) = self.try_claim().await {
                return next;
            }
        }
    }

    /// Waits for the owner to go, and claims the pipeline then. Whose claim fails looks again: another one may own it by then.
    async fn stand_by(&mut self, ownership: &mut A::Ownership) -> Next<ClaimOf<A>> {
        self.status.stands_by(true);
        let next = loop {
            if !stand_by(ownership, self.settings.lease, &self.stop).await {
                break Next::End(Ok(Ended::Stopped));
            }
            if let Some(next) = self.try_claim().await {
                break next;
            }
        };
        self.status.stands_by(false);
        next
    }

    /// Whether a process with this trouble waits. One that is about to end only ends.
    fn stands_by(&self, trouble: &Trouble) -> bool {
        trouble.kind == TroubleKind::Replaced && (self.settings.stands_by || self.stop.is_stopping())
    }

    /// Runs the lanes, and shows life meanwhile. Who learns so that another process has the pipeline stops its lanes.
    async fn carry(&mut self, lanes: Vec<A::Sink>, ownership: &mut A::Ownership) -> Result<Ended, Trouble> {
        let (lanes, transforms) = (self.assembly.read(lanes), self.assembly.transforms());
        let (stop, status) = (self.stop.child(), Arc::clone(&self.status));
        let mut running = pin!(run_pipeline(lanes, transforms, self.settings.lane, stop.clone(), status));
        let replaced = tokio::select! { biased;
            outcome = &mut running => return outcome,
            replaced = show_life(ownership, self.settings.lease) => replaced,
        };
        stop.stop();
        match running.await {
            Err(graver) if graver.kind > replaced.kind => Err(graver),
            _ => Err(replaced),
        }
    }

    /// Looks for what comes next. An owner shows life as long as that takes.
    async fn follow(&mut self, outcome: Result<Ended, Trouble>, ownership: &mut A::Ownership) -> Following {
        tokio::select! { biased;
            following = self.assembly.follow(outcome, &self.stop) => following,
            replaced = show_life(ownership, self.settings.lease) => Following::End(Err(replaced)),
        }
    }
}
