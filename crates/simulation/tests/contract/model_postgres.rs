//! The contract on the model of PostgreSQL, in virtual time.

use std::collections::BTreeMap;
use std::ops::AsyncFnOnce;
use std::time::Duration;

use fastrand::Rng;
use tailwater_model::{
    Change, ChangeEvent, Counts, DeleteMode, Group, Item, KeyValue, PipelineIdentity, ServiceTime, Sink,
};
use tailwater_simulation::contract::{
    ClaimResult, Ground, Held, Interruption, LossyGround, Manner, Refusal, Staying, Stored, TableGround, WilfulGround,
    Write, shard_of,
};
use tailwater_simulation::postgres::{Faults, ModelServer, ModelTable, StoredCounts, Trigger, TriggerAnswer};
use tailwater_sink_postgres::{MirrorLane, MirrorOwnership, PostgresSettings, TlsSettings, claim_on};
use tokio::time::{sleep, timeout};

use crate::in_paused_time;

/// What a statement takes at most.
const LATENCY_MAX: Duration = Duration::from_millis(5);
/// What is late comes so much later: after its client has given up, and before anybody who waits for its locks does.
const LATE: Duration = Duration::from_secs(3);
/// A client's patience.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

tailwater_simulation::contract_cases!(stand);
tailwater_simulation::wilful_contract_cases!(stand);
tailwater_simulation::belonging_contract_cases!(stand);
tailwater_simulation::table_contract_cases!(stand);

struct ModelGround {
    settings: PostgresSettings,
    server: ModelServer,
    chance: Rng,
}

fn stand(test: impl AsyncFnOnce(&mut ModelGround)) {
    in_paused_time(async {
        let settings = PostgresSettings {
            url: "postgres://the-model/contract".into(),
            schema: "public".into(),
            table: "orders".into(),
            delete: DeleteMode::Hard,
            tls: TlsSettings::default(),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            dead_letters_per_minute_max: 1_000,
            adopt: None,
        };
        let ground = &mut ModelGround { settings, server: ModelServer::new(1), chance: Rng::with_seed(2) };
        ground.server.set_faults(kind());
        test(ground).await;
    });
}

/// Answers take their time, and the user has rules.
fn kind() -> Faults {
    let trigger = |text: &str, answer| Trigger { text: format!("\"{text}\""), answer };
    Faults {
        latency: Duration::from_micros(100)..LATENCY_MAX,
        refused_text: Some("never".into()),
        triggers: vec![
            trigger("odd", TriggerAnswer::Raises("MY001")),
            trigger("lost", TriggerAnswer::Null),
            trigger("old", TriggerAnswer::OldRow),
            trigger("kept", TriggerAnswer::NullForDelete),
        ],
        ..Faults::default()
    }
}

fn counts(stored: StoredCounts) -> Counts {
    let figure = |figure: i64| u64::try_from(figure).expect("not negative");
    Counts {
        read: figure(stored.read),
        written: figure(stored.written),
        filtered: figure(stored.filtered),
        dead_lettered: figure(stored.dead_lettered),
        suppressed: figure(stored.suppressed),
    }
}

impl WilfulGround for ModelGround {
    fn refusals(&self) -> &'static [Refusal] {
        &[Refusal::Known, Refusal::Unknown, Refusal::Silent]
    }

    async fn refused_image(&mut self, write: &Write, how: Refusal) -> Item {
        write.image(match how {
            Refusal::Known => "never",
            Refusal::Unknown => "odd",
            Refusal::Silent => "lost",
        })
    }

    async fn staying_image(&mut self, write: &Write, how: Staying) -> Option<Item> {
        Some(write.image(match how {
            Staying::Replaced => "old",
            Staying::Removed => "kept",
        }))
    }

    fn keep_removed(&mut self) {
        self.settings.delete = DeleteMode::Soft;
    }

    fn allow_dead_letters(&mut self, per_minute_max: u32) {
        self.settings.dead_letters_per_minute_max = per_minute_max;
    }
}

impl LossyGround for ModelGround {
    async fn lose_progress(&mut self) {
        self.server.drop_progress();
    }

    async fn lose_target(&mut self) {
        self.server.drop_tables();
    }

    async fn make_target(&mut self) {
        self.server.make_tables();
    }

    fn name_another_target(&mut self) {
        self.settings.table = "others".into();
    }

    fn adopt(&mut self, token: &str) {
        self.settings.adopt = Some(token.to_owned());
    }
}

impl TableGround for ModelGround {
    async fn empty_target(&mut self) {
        self.server.empty_tables();
    }

    async fn lose_shards(&mut self) {
        self.server.drop_shards();
    }
}

impl Ground for ModelGround {
    type Lane = MirrorLane<ModelTable>;
    type Ownership = MirrorOwnership<ModelTable>;

    fn manner(&self) -> Manner {
        Manner::Mirror
    }

    async fn claim(&mut self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let keys = Write::key_schema();
        claim_on(ModelTable::new(&self.server, &self.settings, &keys), &self.settings, identity, &keys).await
    }

    async fn held(&mut self) -> Held {
        let text = |value: Option<&KeyValue>| match value {
            Some(KeyValue::S(text)) => text.clone(),
            other => panic!("a key of another kind: {other:?}"),
        };
        let rows = self.server.mirror_rows().into_iter().filter(|look| !look.row.deleted);
        rows.map(|look| (text(look.key.values().first()), vec![look.row.event_id.to_string()])).collect()
    }

    async fn stored(&mut self, pipeline: &str) -> Stored {
        let shards = self.server.shards().into_iter().filter(|look| look.pipeline == pipeline);
        let of_pipeline = |of: &str| of == pipeline;
        Stored {
            counts: shards.map(|look| (look.shard, counts(look.row.counts))).collect::<BTreeMap<_, _>>(),
            gaps_until: self
                .server
                .gaps()
                .iter()
                .filter(|look| of_pipeline(&look.pipeline))
                .map(|look| ServiceTime::from_ms(look.row.until_ms))
                .max(),
            gaps: self.server.gaps().iter().filter(|look| of_pipeline(&look.pipeline)).count() as u64,
            dead_letters: self.server.dead_letters().iter().filter(|row| of_pipeline(&row.pipeline)).count() as u64,
        }
    }

    async fn refused(&mut self, write: &Write) -> ChangeEvent {
        write.event_of(&shard_of(0, 1, 0), Change::Insert { new: Some(write.image("never")) })
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
            // At another place each time: a commit is some statements.
            Interruption::Dropped => {
                let given_up = Duration::from_micros(self.chance.u64(0..40_000));
                return drop(timeout(given_up, lane.commit(group)).await);
            }
            Interruption::BrokenBefore => {
                self.server.kill_connections(None);
                kind()
            }
            Interruption::Killed => Faults { commit_lost: 1.0, ..kind() },
            Interruption::AnswerLost => Faults { commit_reply_lost: 1.0, ..kind() },
            Interruption::Late => Faults { commit_late: 1.0, commit_late_by: LATE..LATE, ..kind() },
        };
        self.server.set_faults(faults);
        let answer = timeout(GIVEN_UP_AFTER, lane.commit(group)).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{how:?}: it has no answer: {answer:?}");
        self.server.set_faults(kind());
        if how == Interruption::BrokenBefore {
            sleep(LATENCY_MAX).await;
        }
    }
}
