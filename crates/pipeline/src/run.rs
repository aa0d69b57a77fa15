//! The life of a pipeline: it is claimed and its lanes run; when another process takes it over, this one stands by and claims
//! it again when the other is gone; when its stream is over, it goes on with the one that follows.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Claimed, Ownership, Sink, Source, StreamIdentity, Transform, Trouble, TroubleKind};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::lane::LaneSettings;
use crate::ownership::{Signs, Watched, alive, is_lost, release, watch};
use crate::status::PipelineStatus;
use crate::stop::StopSignal;
use crate::supervise::{Ended, run_pipeline};

/// How long a stop waits for a claim that is under way, to hand over what it takes.
const CLAIM_ENDS_WITHIN: Duration = Duration::from_secs(5);

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
    /// [`follow`](Self::follow) has left behind, the next. The future may be dropped: what was chosen before stays chosen.
    fn choose(&mut self) -> impl Future<Output = Result<StreamIdentity, Trouble>> + Send;

    /// Claims the lanes for the chosen stream. Whoever had them loses them by this.
    fn claim(&mut self) -> impl Future<Output = Result<ClaimOf<Self>, Trouble>> + Send;

    /// Puts a reader of the chosen stream to each lane.
    fn read(&mut self, lanes: Vec<Self::Sink>) -> Vec<(Self::Source, Self::Sink)>;

    /// What changes the events on the way, in order.
    fn transforms(&self) -> Vec<Box<dyn Transform>>;

    /// What comes after lanes that ended so. Where another stream follows, the one that ended is left behind for good.
    fn follow(&mut self, outcome: Result<Ended, Trouble>, stop: &StopSignal) -> impl Future<Output = Following> + Send;

    /// Waits before a claim, or a look at an owner, that met this trouble is tried again, or gives the trouble back. Answers false when the process is
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
    let signs = Signs::new(settings.lease);
    let mut pipeline = Pipeline { assembly, chosen: None, settings, signs, stop, status };
    let Some(mut claimed) = pipeline.claim(None).await? else { return Ok(Ended::Stopped) };
    loop {
        let Claimed { lanes, mut ownership } = claimed;
        let outcome = pipeline.carry(lanes, &mut ownership).await;
        let mut is_ours = true;
        let mut next = match pipeline.follow(outcome, &mut ownership).await {
            Following::Stream => {
                pipeline.chosen = None;
                pipeline.claim_again(&mut ownership).await
            }
            Following::End(Err(trouble)) if trouble.kind == TroubleKind::ClaimLost => {
                warn!(code = trouble.code, "{trouble}; claiming it again");
                is_ours = false;
                pipeline.claim_again(&mut ownership).await
            }
            Following::End(outcome) => Next::End(outcome),
        };
        if let Next::End(Err(trouble)) = &next
            && is_lost(trouble)
        {
            is_ours = false;
            if pipeline.may_stand_by() {
                info!(code = trouble.code, "{trouble}; standing by");
                next = pipeline.stand_by(&mut ownership).await;
            }
        }
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
    /// Nothing: the pipeline ends so, or was lost meanwhile.
    End(Result<Ended, Trouble>),
}

struct Pipeline<A> {
    assembly: A,
    /// The stream that the assembly has chosen last, while it may be claimed for. Whoever takes over claims for it at once, and
    /// looks behind the claim whether it is still the one: looking before, too, would read all progress once more.
    chosen: Option<StreamIdentity>,
    settings: RunSettings,
    /// Of the owner that this process is.
    signs: Signs,
    stop: StopSignal,
    status: Arc<PipelineStatus>,
}

impl<A: Assembly> Pipeline<A> {
    /// Claims the pipeline for the stream that is to be read. Who has claimed shows life from then on, and so does the owner that
    /// this process was `before`, until it claims. Nothing when the process is asked to stop: what it has claimed by then is
    /// handed over.
    async fn claim(&mut self, mut before: Option<&mut A::Ownership>) -> Result<Option<ClaimOf<A>>, Trouble> {
        let stop = self.stop.clone();
        let stream = match self.chosen.take() {
            Some(stream) => stream,
            None => tokio::select! { biased;
                () = stop.stopped() => return Ok(None),
                chosen = alive(before.as_deref_mut(), &mut self.signs, self.assembly.choose()) => chosen??,
            },
        };
        let Some(Claimed { lanes, mut ownership }) = self.claim_once(before).await? else { return Ok(None) };
        // Whoever had the lanes until now may have gone over to another stream since ours was chosen; now nobody does.
        let again = tokio::select! { biased;
            () = stop.stopped() => Ok(None),
            again = alive(Some(&mut ownership), &mut self.signs, self.assembly.choose()) => match again {
                Ok(again) => again.map(Some),
                // That it is lost again is found by whoever carries, too.
                Err(_) => Ok(Some(stream.clone())),
            },
        };
        let claimed = match again {
            Ok(Some(again)) if again == stream => {
                self.chosen = Some(stream);
                return Ok(Some(Claimed { lanes, ownership }));
            }
            Ok(Some(again)) => {
                drop(lanes);
                let claimed = self.claim_once(Some(&mut ownership)).await;
                self.chosen = Some(again).filter(|_| matches!(claimed, Ok(Some(_))));
                claimed
            }
            Ok(None) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        if !matches!(claimed, Ok(Some(_))) {
            release(&mut ownership).await;
        }
        claimed
    }

    /// Makes one claim. The owner that this process was before shows life as long as that takes; that it is replaced by this very
    /// claim is no news. A claim may hold before it is answered: a stop lets it end, so that it can be handed over.
    async fn claim_once(&mut self, before: Option<&mut A::Ownership>) -> Result<Option<ClaimOf<A>>, Trouble> {
        let (stop, begun) = (self.stop.clone(), Instant::now());
        if stop.is_stopping() {
            return Ok(None);
        }
        let mut claim = pin!(ended(self.assembly.claim(), &stop));
        let claimed = match alive(before, &mut self.signs, claim.as_mut()).await {
            Ok(claimed) => claimed?,
            Err(_) => claim.await?,
        };
        self.signs.claimed(begun);
        Ok(claimed)
    }

    /// Tries to claim. Nothing where that failed for what may pass.
    async fn try_claim(&mut self, mut before: Option<&mut A::Ownership>) -> Option<Next<ClaimOf<A>>> {
        match self.claim(before.as_deref_mut()).await {
            Ok(Some(claimed)) => Some(Next::Claim(claimed)),
            Ok(None) => Some(Next::End(Ok(Ended::Stopped))),
            Err(trouble) if is_lost(&trouble) => Some(Next::End(Err(trouble))),
            Err(trouble) => self.bear(before, trouble).await,
        }
    }

    /// Waits, and shows life meanwhile where this process is an owner. Nothing where the trouble may pass.
    async fn bear(&mut self, owner: Option<&mut A::Ownership>, trouble: Trouble) -> Option<Next<ClaimOf<A>>> {
        let end = match alive(owner, &mut self.signs, self.assembly.bear(trouble, &self.stop)).await {
            Ok(Ok(true)) => return None,
            Ok(Ok(false)) => Ok(Ended::Stopped),
            Ok(Err(trouble)) | Err(trouble) => Err(trouble),
        };
        Some(Next::End(end))
    }

    /// Claims as long as the trouble in the way may pass, and nobody else has claimed meanwhile.
    async fn claim_again(&mut self, ownership: &mut A::Ownership) -> Next<ClaimOf<A>> {
        loop {
            if let Some(next) = self.try_claim(Some(&mut *ownership)).await {
                return next;
            }
        }
    }

    /// Waits for the owner to go, and claims the pipeline then. Whose claim fails looks again: another one may own it by then.
    async fn stand_by(&mut self, ownership: &mut A::Ownership) -> Next<ClaimOf<A>> {
        self.status.stands_by(true);
        let next = loop {
            let next = match watch(ownership, self.settings.lease, &self.stop, &self.status).await {
                Watched::Free => self.try_claim(None).await,
                Watched::Blind(trouble) => self.bear(None, trouble).await,
                Watched::Stopped => Some(Next::End(Ok(Ended::Stopped))),
            };
            if let Some(next) = next {
                break next;
            }
        };
        self.status.stands_by(false);
        next
    }

    /// Whether a process that was replaced waits. One that is about to end only ends.
    fn may_stand_by(&self) -> bool {
        self.settings.stands_by || self.stop.is_stopping()
    }

    /// Runs the lanes, and shows life meanwhile. Who learns so that another process has the pipeline stops its lanes.
    async fn carry(&mut self, lanes: Vec<A::Sink>, ownership: &mut A::Ownership) -> Result<Ended, Trouble> {
        let (lanes, transforms) = (self.assembly.read(lanes), self.assembly.transforms());
        let (stop, status) = (self.stop.child(), Arc::clone(&self.status));
        let mut running = pin!(run_pipeline(lanes, transforms, self.settings.lane, stop.clone(), status));
        let replaced = match alive(Some(ownership), &mut self.signs, running.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(replaced) => replaced,
        };
        stop.stop();
        match running.await {
            Err(graver) if graver.kind > replaced.kind => Err(graver),
            _ => Err(replaced),
        }
    }

    /// Looks for what comes next. An owner shows life as long as that takes.
    async fn follow(&mut self, outcome: Result<Ended, Trouble>, ownership: &mut A::Ownership) -> Following {
        let following = self.assembly.follow(outcome, &self.stop);
        let following = alive(Some(ownership), &mut self.signs, following).await;
        following.unwrap_or_else(|replaced| Following::End(Err(replaced)))
    }
}

/// What a claim ends with; nothing where the process is asked to stop and it does not end soon.
async fn ended<T>(claim: impl Future<Output = Result<T, Trouble>>, stop: &StopSignal) -> Result<Option<T>, Trouble> {
    let mut claim = pin!(claim);
    tokio::select! { biased;
        () = stop.stopped() => {}
        claimed = &mut claim => return claimed.map(Some),
    }
    timeout(CLAIM_ENDS_WITHIN, claim).await.map_or(Ok(None), |claimed| claimed.map(Some))
}
