//! Taking a pipeline over, and reading its progress for people.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{
    Checkpoints, Claimed, Fit, KeySchema, Misfit, PipelineIdentity, PreviousStream, Progress, StreamIdentity,
    TargetFacts, Trouble, TroubleKind, ViewType, least_read_until,
};

use crate::brokers::Brokers;
use crate::cluster::Cluster;
use crate::fault::{Fault, Remedy};
use crate::home::Home;
use crate::lane::{ByClaim, DirectLane, KafkaLane, Lane};
use crate::lane_count::check_lane_count;
use crate::ownership::{DirectOwnership, KafkaOwnership, OwnerSession};
use crate::progress::{ClaimMark, LaneProgress, StreamFacts, lost_partition, read_lanes};
use crate::session::{Claim, LaneSession, Shared, target_facts};
use crate::settings::KafkaSettings;
use crate::thread::{LaneThread, wait_for};
use crate::time::rfc_3339;
use crate::topics::{LOOK_PAUSE, LOOKS_MAX, MayMake, TopicFacts, TopicLook, partitions};

/// How often a claim is made that others come into, before it is told.
const CLAIM_ATTEMPTS_MAX: u32 = 10;
/// The longest wait until a claim is made again, in milliseconds: about what a claim takes, so that one of two gets through.
const CLAIM_PAUSE_MS_MAX: u64 = 2000;

/// Takes over the pipeline: from now on no earlier process can commit. Checks the topics, and makes those that may be
/// made. Index is lane.
///
/// The first lane decides: the number of the claim is counted up in its partition, under Kafka's fence. The other lanes
/// are taken when they are opened, and whoever finds a newer claim there stops. So of two processes that start at once
/// exactly one goes on.
///
/// # Errors
/// Trouble of kind `Config` for another lane count (`sink.lane_count`), topics that cannot hold what they are to, or a brake on
/// dead letters that the settings do not lift (`sink.dead_letter_rate`); of kind `DataAtRisk` where progress and topic do not
/// belong together (I11); of kind `Environment` for everything that the cluster refuses.
pub async fn claim(
    settings: &KafkaSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
    view_type: Option<ViewType>,
) -> Result<Claimed<KafkaLane, KafkaOwnership>, Trouble> {
    let shared = Shared::new(Brokers::new(settings), settings, identity, keys, view_type);
    let Claimed { lanes, ownership } = Box::pin(claim_lanes(Arc::new(shared), keys, ambient_chance())).await?;
    let ownership = KafkaOwnership::start(ownership)?;
    Ok(Claimed { lanes: lanes.into_iter().map(KafkaLane::new).collect(), ownership })
}

/// Whether the pipeline could be claimed, as far as that can be seen. Makes the topics that may be made, and takes nothing from
/// anybody; a refusal that may be lifted by a token stores what that is made of.
///
/// # Errors
/// As [`claim`].
pub async fn check_claim(
    settings: &KafkaSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
    view_type: Option<ViewType>,
) -> Result<(), Trouble> {
    let shared = Arc::new(Shared::new(Brokers::new(settings), settings, identity, keys, view_type));
    let look = shared.cluster.check_topics(identity.lanes, MayMake::AtClaim).await.map_err(told)?;
    let mut first = LaneThread::house(format!("{}-check", identity.name), LaneSession::new(Arc::clone(&shared), 0))?;
    let stored = read_stored(&shared, &mut first, look.progress_partitions).await?;
    bind(&shared, &mut first, keys, (&stored, look), &mut ambient_chance()).await.map(drop)
}

/// What is stored for each lane, of a progress topic that is this pipeline's and has as many lanes as it.
async fn read_stored<H: Home>(
    shared: &Shared<H::Cluster>,
    first: &mut H,
    partitions: u32,
) -> Result<Vec<LaneProgress>, Trouble> {
    let mut stored = first.read_lanes(partitions).await.map_err(told)?;
    // Whose it is comes first: nobody is to be told what to do with the progress of another pipeline.
    stored.iter().try_for_each(|lane| shared.check_pipeline(lane))?;
    if lost_partition(&stored).is_some() {
        // Partitions are read one after the other, while an owner may open its lanes. What is gone is gone at a second look.
        stored = first.read_lanes(partitions).await.map_err(told)?;
    }
    let lanes = shared.pipeline.lanes;
    check_lane_count(&shared.settings, lanes, &stored)?;
    stored.truncate(usize::try_from(lanes).unwrap_or(usize::MAX));
    shared.take_stock(&stored)?;
    Ok(stored)
}

/// Binds the progress to the topic, if the two belong together or a person has said that they do. Only then topics that are missing
/// beside progress are made. I11
async fn bind<H: Home>(
    shared: &Shared<H::Cluster>,
    first: &mut H,
    keys: &KeySchema,
    (stored, look): (&[LaneProgress], TopicLook),
    chance: &mut fastrand::Rng,
) -> Result<TopicFacts, Trouble> {
    let lost = lost_partition(stored);
    let (target, fit, look) = judge(shared, keys, (stored, look), lost).await?;
    let fit = match fit {
        Ok(fit) => fit,
        Err(misfit) => {
            let left = target.salt.clone();
            let salt = left.clone().unwrap_or_else(|| random_mark(chance));
            if left.is_none() {
                first.leave_salt(salt.clone()).await.map_err(told)?;
            }
            let refusal = target.refusal(misfit, &salt);
            return Err(match lost {
                Some(partition) => shared.refused_without(partition, refusal),
                None => refusal,
            });
        }
    };
    let look = if look.is_complete {
        look
    } else {
        shared.warn_of_lost_dead_letters(stored, &look);
        shared.cluster.check_topics(shared.pipeline.lanes, MayMake::All).await.map_err(told)?
    };
    shared.bind((&target.wanted.source, fit), stored, &look);
    Ok(look.facts)
}

/// What is found of the target, and whether the progress fits to it. That a topic reaches less far than it did is asked for again: a
/// leader that was replaced and has not heard of it tells older ends.
async fn judge<C: Cluster>(
    shared: &Shared<C>,
    keys: &KeySchema,
    (stored, mut look): (&[LaneProgress], TopicLook),
    lost: Option<usize>,
) -> Result<(TargetFacts, Result<Fit, Misfit>, TopicLook), Trouble> {
    let adopt = shared.settings.adopt.as_deref();
    let mut looks = 1;
    loop {
        let target = target_facts(&shared.settings, &shared.pipeline, keys, stored, &look);
        let fit = match lost {
            Some(_) => target.adopted(Misfit::ProgressGone, adopt),
            None => target.fit(adopt),
        };
        if fit != Err(Misfit::Replaced) || looks == LOOKS_MAX {
            return Ok((target, fit, look));
        }
        looks += 1;
        tokio::time::sleep(LOOK_PAUSE).await;
        look = shared.cluster.check_topics(shared.pipeline.lanes, MayMake::AtClaim).await.map_err(told)?;
    }
}

/// The same on a cluster that the caller answers for, a model of Kafka. No thread is started, and nothing is left to
/// chance but what `chance` gives: the mark of the owner, and the pauses between attempts. Two processes of one world
/// need two generators that differ. `settings` name the topics and the waits; what librdkafka would be told is not used.
///
/// # Errors
/// As [`claim`].
pub async fn claim_on<C: Cluster>(
    cluster: C,
    settings: &KafkaSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
    view_type: Option<ViewType>,
    chance: fastrand::Rng,
) -> Result<Claimed<DirectLane<C>, DirectOwnership<C>>, Trouble> {
    let shared = Shared::new(cluster, settings, identity, keys, view_type);
    let Claimed { lanes, ownership } = Box::pin(claim_lanes(Arc::new(shared), keys, chance)).await?;
    Ok(Claimed { lanes: lanes.into_iter().map(DirectLane::new).collect(), ownership: DirectOwnership::new(ownership) })
}

async fn claim_lanes<H: Home>(
    shared: Arc<Shared<H::Cluster>>,
    keys: &KeySchema,
    mut chance: fastrand::Rng,
) -> Result<Claimed<Lane<H>, OwnerSession<H::Cluster>>, Trouble> {
    let identity = &shared.pipeline;
    let look = shared.cluster.check_topics(identity.lanes, MayMake::AtClaim).await.map_err(told)?;
    let house = |number| {
        let session = LaneSession::new(Arc::clone(&shared), number);
        H::house(format!("{}-{number}", identity.name), session)
    };
    let mut first = house(0)?;
    let stored = read_stored(&shared, &mut first, look.progress_partitions).await?;
    let facts = bind(&shared, &mut first, keys, (&stored, look), &mut chance).await?;
    let previous_stream = previous_stream(&stored, &identity.stream);
    let owner = random_mark(&mut chance);
    let newest = stored.iter().filter_map(|lane| lane.session.as_ref()).map(|session| session.fact.claim).max();
    let claim = Claim::New { owner: owner.clone(), newest: newest.unwrap_or(0) };
    let (number, progress) = take(&mut first, facts, &claim, &mut chance).await?;
    let ownership = OwnerSession::new(Arc::clone(&shared), ClaimMark { number, owner: owner.clone() });
    let claim = Claim::Made { number, owner };
    let lane = |number, by_claim, home| {
        Lane::new(number, Arc::clone(&shared), Claim::clone(&claim), by_claim, home, previous_stream.clone())
    };
    let mut lanes = vec![lane(0, ByClaim::Opened(progress), first)];
    for number in 1..identity.lanes {
        lanes.push(lane(number, ByClaim::Looked(facts), house(number)?));
    }
    Ok(Claimed { lanes, ownership })
}

/// The stream of the table that was read last before this one, with how far it was read by all lanes.
fn previous_stream(stored: &[LaneProgress], stream: &StreamIdentity) -> Option<PreviousStream> {
    let (_, stream_arn) = stored.iter().flat_map(|lane| lane.other_streams(stream)).max()?;
    let facts = stream_facts(stored, stream_arn);
    let shards: Vec<_> = stored.iter().flat_map(|lane| lane.shards_of(stream_arn, facts)).collect();
    let table_id = stored.iter().find_map(|lane| lane.table_id_of(stream_arn));
    Some(PreviousStream {
        stream_arn: stream_arn.to_owned(),
        read_until: least_read_until(&shards),
        is_of_another_table: table_id.is_some_and(|table_id| table_id != stream.table_id),
    })
}

/// What is known of a stream, in whichever lane's partition it stands.
fn stream_facts(stored: &[LaneProgress], stream_arn: &str) -> StreamFacts {
    stored.iter().find_map(|lane| lane.stream_facts(stream_arn)).unwrap_or_default()
}

/// Opens the first lane by a new claim, and gives its number.
///
/// Between the fence and the record of the claim another producer may come: a second start at the same time, or the owner
/// so far, which the fence made open again and which finds no newer claim yet. Then the claim is made anew, or the newest
/// start would end and an older one go on.
async fn take(
    first: &mut impl Home,
    facts: TopicFacts,
    claim: &Claim,
    chance: &mut fastrand::Rng,
) -> Result<(u64, Progress), Trouble> {
    let mut attempts = 1;
    loop {
        match first.open(facts, claim).await {
            Ok(opened) => return Ok(opened),
            Err(fault) if fault.remedy == Remedy::Fenced && attempts < CLAIM_ATTEMPTS_MAX => {
                tracing::info!(attempts, "another process began while this one took the pipeline over: trying again");
                attempts += 1;
                tokio::time::sleep(pause(chance)).await;
            }
            Err(fault) => return Err(told(fault)),
        }
    }
}

/// The stored progress of a pipeline, for people; nothing when its progress topic is missing or holds none of it. Changes
/// nothing, and disturbs no running pipeline.
///
/// # Errors
/// What the cluster refuses, and a progress topic that holds something else.
pub async fn checkpoints(settings: &KafkaSettings, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
    let looked = settings.clone();
    let lanes = blocking(move || partitions(&looked, &looked.progress_topic)).await?;
    let (settings, pipeline) = (settings.clone(), pipeline.to_owned());
    blocking(move || wait_for(read_checkpoints(&Brokers::new(&settings), &settings, &pipeline, lanes))).await
}

/// The same on a cluster that the caller answers for, whose progress topic has so many lanes.
///
/// # Errors
/// As [`checkpoints`].
pub async fn checkpoints_on<C: Cluster>(
    cluster: &C,
    settings: &KafkaSettings,
    pipeline: &str,
    lanes: u32,
) -> Result<Option<Checkpoints>, Trouble> {
    read_checkpoints(cluster, settings, pipeline, lanes).await.map_err(told)
}

async fn read_checkpoints<C: Cluster>(
    cluster: &C,
    settings: &KafkaSettings,
    pipeline: &str,
    lanes: u32,
) -> Result<Option<Checkpoints>, Fault> {
    let stored = read_lanes(cluster, settings, lanes).await?;
    let is_of_pipeline = |lane: &LaneProgress| lane.session.as_ref().is_some_and(|mark| mark.fact.pipeline == pipeline);
    if !stored.iter().any(is_of_pipeline) {
        return Ok(None);
    }
    let facts = |stream_arn: &str| stream_facts(&stored, stream_arn);
    let mut shards: Vec<_> =
        (0..lanes).zip(&stored).flat_map(|(lane, stored)| stored.checkpoints(lane, facts, rfc_3339)).collect();
    shards.sort_by(|left, right| (&left.stream_arn, &left.shard).cmp(&(&right.stream_arn, &right.shard)));
    Ok(Some(Checkpoints {
        gaps: stored.iter().flat_map(LaneProgress::gaps).collect::<BTreeSet<_>>().len() as u64,
        gaps_until: stored.iter().filter_map(LaneProgress::gaps_until).max(),
        dead_letters: stored.iter().map(LaneProgress::dead_letter_count).sum(),
        shards,
    }))
}

/// At a start and in a command somebody is looking: every trouble is told at once.
fn told(fault: Fault) -> Trouble {
    fault.trouble
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R, Fault> + Send + 'static) -> Result<R, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Trouble::new(TroubleKind::Runtime, "sink.kafka.panic", format!("reading the progress broke down: {error}"))
            .advise("this is a bug in Tailwater; please report it")
    })?
    .map_err(told)
}

/// Where the chance of what ships comes from: two processes must not look the same.
#[expect(clippy::disallowed_methods, reason = "it tells processes apart; nothing that is carried depends on it")]
fn ambient_chance() -> fastrand::Rng {
    fastrand::Rng::new()
}

/// A random mark: two processes that claim must not look the same.
fn random_mark(chance: &mut fastrand::Rng) -> String {
    format!("{:032x}", chance.u128(..))
}

/// By chance: two processes that wait for the same time would meet again.
fn pause(chance: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(chance.u64(..CLAIM_PAUSE_MS_MAX))
}
