//! The contract on the model of Kafka, in virtual time.

use std::collections::BTreeMap;
use std::ops::AsyncFnOnce;
use std::time::Duration;

use fastrand::Rng;
use rdkafka::error::RDKafkaErrorCode;
use tailwater_model::{Change, ChangeEvent, Failure, Group, Item, PipelineIdentity, Position, Sink, ViewType};
use tailwater_simulation::contract::{
    ClaimResult, Ground, Held, Interruption, LossyGround, Manner, Refusal, ScatteredGround, Stored, WilfulGround,
    Write, advance, after, group, pipeline, put, register, shard_of,
};
use tailwater_simulation::kafka::{Faults, ModelCluster};
use tailwater_sink_kafka::{DirectLane, DirectOwnership, KafkaSettings, checkpoints_on, claim_on};
use tokio::time::{sleep, timeout};

use crate::in_paused_time;
use crate::kafka::{TOO_LARGE_BYTES, settings};

/// A text that a rule of the topic does not like.
const RULED_OUT: &str = "ruled out";
/// Partitions of the topic of change events.
const PARTITIONS: usize = 2;
/// What a request takes at most.
const LATENCY_MAX: Duration = Duration::from_millis(5);
/// What is late comes so much later: after everybody has given up, and before the transaction is too old.
const LATE: Duration = Duration::from_secs(15);
/// A cluster is out of reach for so long: longer than a commit may take.
const OUTAGE: Duration = Duration::from_secs(30);

tailwater_simulation::contract_cases!(stand);
tailwater_simulation::wilful_contract_cases!(stand);
tailwater_simulation::belonging_contract_cases!(stand);
tailwater_simulation::scattered_contract_cases!(stand);

struct ModelGround {
    settings: KafkaSettings,
    cluster: ModelCluster,
    chance: Rng,
    lanes: u32,
}

fn stand(test: impl AsyncFnOnce(&mut ModelGround)) {
    in_paused_time(async {
        let settings = settings("model");
        let cluster = ModelCluster::new(1, &settings, PARTITIONS);
        cluster.refuse_messages(&settings.topic, Some((RULED_OUT, RDKafkaErrorCode::InvalidRecord)));
        let ground = &mut ModelGround { settings, cluster, chance: Rng::with_seed(2), lanes: 0 };
        ground.heal();
        test(ground).await;
    });
}

impl ModelGround {
    /// Answers take their time, and so do the markers that make a commit visible.
    fn heal(&self) {
        self.cluster.heal();
        self.cluster.set_faults(kind());
    }
}

fn kind() -> Faults {
    let latency = Duration::from_micros(100)..LATENCY_MAX;
    Faults { latency: latency.clone(), markers_take: latency, ..Faults::default() }
}

impl WilfulGround for ModelGround {
    fn refusals(&self) -> &'static [Refusal] {
        &[Refusal::Known, Refusal::Unknown]
    }

    async fn refused_image(&mut self, write: &Write, how: Refusal) -> Item {
        match how {
            Refusal::Known | Refusal::Silent => write.image(&"x".repeat(TOO_LARGE_BYTES)),
            Refusal::Unknown => write.image(RULED_OUT),
        }
    }

    /// A log keeps everything.
    fn keep_removed(&mut self) {}

    fn allow_dead_letters(&mut self, per_minute_max: u32) {
        self.settings.dead_letters_per_minute_max = per_minute_max;
    }
}

impl LossyGround for ModelGround {
    async fn lose_progress(&mut self) {
        sleep(LATENCY_MAX).await;
        self.cluster.remove_topic(&self.settings.progress_topic);
    }

    async fn lose_target(&mut self) {
        // The markers of what is committed are still to come.
        sleep(LATENCY_MAX).await;
        self.cluster.remove_topic(&self.settings.topic);
    }

    async fn make_target(&mut self) {
        self.cluster.make_topic(&self.settings.topic, PARTITIONS, false);
    }

    fn name_another_target(&mut self) {
        self.settings.topic.push_str("-others");
        self.cluster = self.cluster.with(&self.settings);
    }

    fn adopt(&mut self, token: &str) {
        self.settings.adopt = Some(token.to_owned());
    }
}

impl ScatteredGround for ModelGround {
    async fn lose_lane(&mut self, lane: u32) {
        sleep(LATENCY_MAX).await;
        self.cluster.purge(&self.settings.progress_topic, lane as usize);
    }

    async fn make_progress(&mut self, lanes: u32) {
        self.cluster.make_topic(&self.settings.progress_topic, lanes as usize, true);
    }
}

impl Ground for ModelGround {
    type Lane = DirectLane<ModelCluster>;
    type Ownership = DirectOwnership<ModelCluster>;

    fn manner(&self) -> Manner {
        Manner::Log
    }

    async fn claim(&mut self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let (keys, view_type) = (Write::key_schema(), Some(ViewType::NewAndOldImages));
        let claimed =
            claim_on(self.cluster.clone(), &self.settings, identity, &keys, view_type, self.chance.fork()).await?;
        self.lanes = identity.lanes;
        Ok(claimed)
    }

    async fn held(&mut self) -> Held {
        // A reader of committed messages finds them when their markers are there.
        sleep(LATENCY_MAX).await;
        let mut held = Held::new();
        for landed in self.cluster.committed(&self.settings.topic) {
            if landed.record.value.is_some() {
                let key: serde_json::Value = serde_json::from_slice(&landed.record.key).expect("a key is JSON");
                let event_id = landed.record.headers.iter().find(|(name, _)| name == "__event_id").expect("an id");
                let event_id = String::from_utf8(event_id.1.clone()).expect("a text");
                held.entry(key["Id"].as_str().expect("a text").to_owned()).or_default().push(event_id);
            }
        }
        held
    }

    async fn stored(&mut self, pipeline: &str) -> Stored {
        sleep(LATENCY_MAX).await;
        let stored = checkpoints_on(&self.cluster, &self.settings, pipeline, self.lanes).await;
        let stored = stored.expect("readable").expect("was run");
        let counts: BTreeMap<_, _> =
            stored.shards.iter().map(|row| (row.shard.as_str().to_owned(), row.counts)).collect();
        Stored { counts, gaps: stored.gaps, gaps_until: stored.gaps_until, dead_letters: stored.dead_letters }
    }

    async fn refused(&mut self, write: &Write) -> ChangeEvent {
        let image = write.image(&"x".repeat(TOO_LARGE_BYTES));
        write.event_of(&shard_of(0, 1, 0), Change::Insert { new: Some(image) })
    }

    fn interruptions(&self) -> &'static [Interruption] {
        &[
            Interruption::Dropped,
            Interruption::BrokenBefore,
            Interruption::Killed,
            Interruption::AnswerLost,
            Interruption::Late,
        ]
    }

    async fn interrupt(&mut self, lane: &mut Self::Lane, group: Group, how: Interruption) {
        let faults = match how {
            // At another place each time: a commit is some requests.
            Interruption::Dropped => {
                let given_up = Duration::from_micros(self.chance.u64(0..30_000));
                return drop(timeout(given_up, lane.commit(group)).await);
            }
            Interruption::BrokenBefore => {
                self.cluster.cut_off_for(OUTAGE);
                kind()
            }
            Interruption::Killed => Faults { end_lost: 1.0, ..kind() },
            Interruption::AnswerLost => Faults { end_answer_lost: 1.0, ..kind() },
            Interruption::Late => Faults { end_late: 1.0, late_by: LATE..LATE, ..kind() },
        };
        self.cluster.set_faults(faults);
        // The first process may be gone when the commit lands.
        let answer = timeout(self.settings.request_timeout / 2, lane.commit(group)).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{how:?}: it has no answer: {answer:?}");
        if how == Interruption::Late {
            sleep(LATE).await;
        }
        self.heal();
    }
}

/// A leader that was deposed and has not heard of it tells older ends for a while. That is no topic that was made again.
#[test]
fn older_ends_of_an_old_leader_are_waited_out() {
    stand(async |ground| {
        let identity = pipeline("contract", 1, "a");
        let mut lane = ground.claim(&identity).await.expect("claims").lanes.remove(0);
        lane.open().await.expect("opens");
        let shard = shard_of(0, 1, 0);
        let writes: Vec<_> = (1..=20).map(|number| put(number, &number.to_string())).collect();
        let step = advance(&shard, Position::Start, after(20), &writes);
        lane.commit(group([register(&shard, None), step])).await.expect("commits");
        lane.commit(Group::default()).await.expect("it is still ours");
        let deposed_by = Duration::from_secs(8);
        let old_leader = || Faults { deposed: 1.0, deposed_by: deposed_by..deposed_by, ..kind() };
        ground.cluster.set_faults(old_leader());
        lane.open().await.expect("opens again");
        ground.heal();
        ground.cluster.set_faults(old_leader());
        ground.claim(&identity).await.map(drop).expect("is claimed again");
        assert_eq!(ground.cluster.hits().get("deposed"), Some(&2));
    });
}

/// Neither finds the other one in its own progress.
#[test]
fn two_pipelines_of_one_name_with_two_progress_topics_are_told() {
    stand(async |ground| {
        let identity = pipeline("contract", 1, "a");
        let one = ground.claim(&identity).await.expect("claims").lanes.remove(0);
        ground.settings.progress_topic.push_str("-others");
        ground.cluster = ground.cluster.with(&ground.settings);
        let other = ground.claim(&identity).await.expect("finds an empty topic").lanes.remove(0);
        let mut lanes = [one, other];
        for lane in &mut lanes {
            lane.open().await.expect("opens");
        }
        for _round in 0..20 {
            for lane in &mut lanes {
                match lane.commit(Group::default()).await {
                    Ok(_) => {}
                    Err(Failure::Halt(trouble)) => return assert_eq!(trouble.code, "sink.kafka.same_name"),
                    Err(Failure::Reopen(_)) => drop(lane.open().await.expect("opens again")),
                }
            }
        }
        panic!("they shut each other out for ever");
    });
}
