//! The contract on SQLite: a file in a directory of its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::AsyncFnOnce;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tailwater_model::{Change, ChangeEvent, DeleteMode, Group, Item, PipelineIdentity, Sink};
use tailwater_simulation::contract::{
    ClaimResult, Ground, Held, Interruption, LossyGround, Manner, Refusal, Staying, Stored, TableGround, WilfulGround,
    Write, shard_of,
};
use tailwater_sink_local::{SqliteLane, SqliteOwnership, SqliteSettings, claim_sqlite, sqlite_checkpoints};
use tempfile::TempDir;

use crate::in_real_time;

/// How often a commit is polled at most before it is dropped.
const POLLS_MAX: u32 = 12;

tailwater_simulation::contract_cases!(stand);
tailwater_simulation::wilful_contract_cases!(stand);
tailwater_simulation::belonging_contract_cases!(stand);
tailwater_simulation::table_contract_cases!(stand);

struct SqliteGround {
    settings: SqliteSettings,
    interruptions: u32,
    _directory: TempDir,
}

fn stand(test: impl AsyncFnOnce(&mut SqliteGround)) {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = SqliteSettings {
        path: directory.path().join("mirror.sqlite"),
        table: "orders".into(),
        delete: DeleteMode::Hard,
        dead_letters_per_minute_max: 100,
        adopt: None,
    };
    let mut ground = SqliteGround { settings, interruptions: 0, _directory: directory };
    in_real_time(async { test(&mut ground).await });
}

impl SqliteGround {
    async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.settings.path).connect().await.expect("the database opens")
    }

    async fn make_triggers(&self) {
        let mut connection = self.connect().await;
        for trigger in TRIGGERS {
            sqlx::query(trigger).execute(&mut connection).await.expect("made");
        }
    }
}

/// A user's triggers: one that says no, one that fails by itself, and two that drop rows or keep them without a word.
const TRIGGERS: [&str; 4] = [
    "create trigger if not exists never before insert on orders when new.document like '%never%' \
     begin select raise(abort, 'never'); end",
    "create trigger if not exists odd before insert on orders when new.document like '%odd%' \
     begin select json('{'); end",
    "create trigger if not exists lost before insert on orders when new.document like '%lost%' \
     begin select raise(ignore); end",
    "create trigger if not exists kept before delete on orders when old.document like '%kept%' \
     begin select raise(ignore); end",
];

impl WilfulGround for SqliteGround {
    fn refusals(&self) -> &'static [Refusal] {
        &[Refusal::Known, Refusal::Unknown, Refusal::Silent]
    }

    async fn refused_image(&mut self, write: &Write, how: Refusal) -> Item {
        self.make_triggers().await;
        write.image(match how {
            Refusal::Known => "never",
            Refusal::Unknown => "odd",
            Refusal::Silent => "lost",
        })
    }

    /// A trigger of SQLite cannot answer the old row.
    async fn staying_image(&mut self, write: &Write, how: Staying) -> Option<Item> {
        self.make_triggers().await;
        (how == Staying::Removed).then(|| write.image("kept"))
    }

    fn keep_removed(&mut self) {
        self.settings.delete = DeleteMode::Soft;
    }

    fn allow_dead_letters(&mut self, per_minute_max: u32) {
        self.settings.dead_letters_per_minute_max = per_minute_max;
    }
}

impl LossyGround for SqliteGround {
    async fn lose_progress(&mut self) {
        let mut connection = self.connect().await;
        let names: Vec<(String,)> =
            sqlx::query_as("select name from sqlite_schema where type = 'table' and name like 'tailwater%'")
                .fetch_all(&mut connection)
                .await
                .expect("readable");
        for (name,) in names {
            let dropped = sqlx::query(AssertSqlSafe(format!("drop table {name}"))).execute(&mut connection).await;
            dropped.expect("dropped");
        }
    }

    async fn lose_target(&mut self) {
        sqlx::query("drop table orders").execute(&mut self.connect().await).await.expect("dropped");
    }

    async fn make_target(&mut self) {
        sqlx::query(
            "create table orders (\"Id\" TEXT not null, document TEXT not null, _op TEXT not null, _seq TEXT not null, \
             _event_id TEXT not null, _source_ts TEXT not null, _synced_at TEXT not null, _deleted INTEGER not null, \
             primary key (\"Id\")) strict",
        )
        .execute(&mut self.connect().await)
        .await
        .expect("made");
    }

    fn name_another_target(&mut self) {
        self.settings.table = "others".into();
    }

    fn adopt(&mut self, token: &str) {
        self.settings.adopt = Some(token.to_owned());
    }
}

impl TableGround for SqliteGround {
    async fn empty_target(&mut self) {
        sqlx::query("delete from orders").execute(&mut self.connect().await).await.expect("emptied");
    }

    async fn lose_shards(&mut self) {
        let lost = "delete from tailwater_shards; delete from tailwater_streams";
        sqlx::raw_sql(lost).execute(&mut self.connect().await).await.expect("lost");
    }
}

impl Ground for SqliteGround {
    type Lane = SqliteLane;
    type Ownership = SqliteOwnership;

    fn manner(&self) -> Manner {
        Manner::Mirror
    }

    async fn claim(&mut self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        claim_sqlite(&self.settings, identity, &Write::key_schema()).await
    }

    async fn held(&mut self) -> Held {
        let rows: Vec<(String, String)> = sqlx::query_as("select \"Id\", _event_id from orders where not _deleted")
            .fetch_all(&mut self.connect().await)
            .await
            .expect("the table is there");
        rows.into_iter().map(|(key, id)| (key, vec![id])).collect()
    }

    async fn stored(&mut self, pipeline: &str) -> Stored {
        let stored = sqlite_checkpoints(&self.settings.path, pipeline).await.expect("readable").expect("was run");
        let counts: BTreeMap<_, _> =
            stored.shards.iter().map(|row| (row.shard.as_str().to_owned(), row.counts)).collect();
        Stored { counts, gaps: stored.gaps, gaps_until: stored.gaps_until, dead_letters: stored.dead_letters }
    }

    async fn refused(&mut self, write: &Write) -> ChangeEvent {
        // What KEYS_ONLY gives: a mirror cannot be written from it.
        write.event_of(&shard_of(0, 1, 0), Change::Insert { new: None })
    }

    fn interruptions(&self) -> &'static [Interruption] {
        &[Interruption::Dropped]
    }

    async fn interrupt(&mut self, lane: &mut SqliteLane, group: Group, how: Interruption) {
        assert_eq!(how, Interruption::Dropped);
        self.interruptions += 1;
        let polls = 1 + self.interruptions * 5 % POLLS_MAX;
        drop_after(lane.commit(group), polls).await;
    }
}

/// Polls a future so often and drops it; the work of other threads goes on between the polls.
pub async fn drop_after<F: Future>(future: F, polls: u32) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if matches!(polled, Poll::Ready(_)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
