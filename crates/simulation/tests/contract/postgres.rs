//! The contract on a real PostgreSQL: a database for each test.

use std::collections::BTreeMap;
use std::ops::AsyncFnOnce;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tailwater_model::{Change, ChangeEvent, DeleteMode, Group, Item, PipelineIdentity, Sink};
use tailwater_simulation::contract::{
    ClaimResult, Ground, Held, Interruption, LossyGround, Manner, Refusal, Staying, Stored, TableGround, WilfulGround,
    Write, shard_of,
};
use tailwater_sink_postgres::{PostgresLane, PostgresOwnership, PostgresSettings, TlsSettings, checkpoints, claim};
use tokio::time::{sleep, timeout};

use crate::in_real_time;

/// Where the server is, unless `TAILWATER_TEST_POSTGRES` names another: a superuser's URL.
const SERVER: &str = "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater";

/// A commit that is held back by so many seconds; zero holds nothing. And a rule of the user's. Names are qualified, since a
/// role named as a schema would look there first.
const RULES: &str = "
create table public.hold (seconds float8);
insert into public.hold values (0);
create function public.hold() returns trigger language plpgsql as $$
begin perform pg_sleep(seconds) from public.hold where seconds > 0; return null; end $$;
create constraint trigger hold after insert on public.orders deferrable initially deferred
for each row execute function public.hold();
create function public.will() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.document ->> 'text' = 'kept' then return null; end if;
        return old;
    end if;
    if tg_op = 'UPDATE' and new.document ->> 'text' = 'old' then return old; end if;
    if new.document ->> 'text' = 'odd' then raise exception 'odd' using errcode = 'MY001'; end if;
    if new.document ->> 'text' = 'lost' then return null; end if;
    return new;
end $$;
create trigger will before insert or update or delete on public.orders for each row execute function public.will();
alter table public.orders add constraint never check (document ->> 'text' <> 'never')";

/// How long a commit is held, and when its client gives up: the statements are done by then.
const HELD_SECONDS: f64 = 0.8;
const GIVEN_UP_AFTER: Duration = Duration::from_millis(500);

tailwater_simulation::contract_cases!(stand);
tailwater_simulation::wilful_contract_cases!(stand);
tailwater_simulation::belonging_contract_cases!(stand);
tailwater_simulation::table_contract_cases!(stand);

/// A fresh database with the rules of the user, which goes when the test ends.
pub struct PostgresGround {
    pub url: String,
    eyes: PgConnection,
    has_rules: bool,
    delete: DeleteMode,
    dead_letters_per_minute_max: u32,
    table: String,
    adopt: Option<String>,
    interruptions: u32,
}

pub fn server_url() -> String {
    std::env::var("TAILWATER_TEST_POSTGRES").unwrap_or_else(|_| SERVER.to_owned())
}

pub fn stand(test: impl AsyncFnOnce(&mut PostgresGround)) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("tailwater_contract_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let drop_it = format!("drop database if exists {name} with (force)");
    in_real_time(async {
        run_at_server(&drop_it).await;
        run_at_server(&format!("create database {name}")).await;
    });
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        in_real_time(async {
            let (base, _) =
                server_url().rsplit_once('/').map(|(base, name)| (base.to_owned(), name.to_owned())).expect("a URL");
            let url = format!("{base}/{name}");
            let eyes = PgConnection::connect(&url).await.expect("the test's database");
            test(&mut PostgresGround {
                url,
                eyes,
                has_rules: false,
                delete: DeleteMode::Hard,
                dead_letters_per_minute_max: 100,
                table: "orders".into(),
                adopt: None,
                interruptions: 0,
            })
            .await;
        });
    }));
    in_real_time(async { run_at_server(&drop_it).await });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn run_at_server(sql: &str) {
    let mut connection =
        PgConnection::connect(&server_url()).await.unwrap_or_else(|error| panic!("the test server: {error}"));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

impl PostgresGround {
    pub async fn run(&mut self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.eyes).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            url: self.url.clone().into(),
            schema: "public".into(),
            table: self.table.clone(),
            delete: self.delete,
            tls: TlsSettings::default(),
            statement_timeout: Duration::from_secs(20),
            lock_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            dead_letters_per_minute_max: self.dead_letters_per_minute_max,
            adopt: self.adopt.clone(),
        }
    }

    /// Ends the sessions of lanes, and waits until they are gone.
    async fn end_sessions(&mut self) {
        self.run(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    }
}

impl WilfulGround for PostgresGround {
    fn refusals(&self) -> &'static [Refusal] {
        &[Refusal::Known, Refusal::Unknown, Refusal::Silent]
    }

    async fn refused_image(&mut self, write: &Write, how: Refusal) -> Item {
        write.image(refused_text(how))
    }

    async fn staying_image(&mut self, write: &Write, how: Staying) -> Option<Item> {
        Some(write.image(match how {
            Staying::Replaced => "old",
            Staying::Removed => "kept",
        }))
    }

    fn keep_removed(&mut self) {
        self.delete = DeleteMode::Soft;
    }

    fn allow_dead_letters(&mut self, per_minute_max: u32) {
        self.dead_letters_per_minute_max = per_minute_max;
    }
}

fn refused_text(how: Refusal) -> &'static str {
    match how {
        Refusal::Known => "never",
        Refusal::Unknown => "odd",
        Refusal::Silent => "lost",
    }
}

impl LossyGround for PostgresGround {
    async fn lose_progress(&mut self) {
        self.run("drop schema tailwater cascade").await;
    }

    async fn lose_target(&mut self) {
        self.run("drop table public.orders").await;
    }

    async fn make_target(&mut self) {
        self.run(
            "create table public.orders (\"Id\" text primary key, document jsonb, _op text, _seq numeric(40,0), \
             _event_id text, _source_ts timestamptz, _synced_at timestamptz, _deleted boolean)",
        )
        .await;
    }

    fn name_another_target(&mut self) {
        self.table = "others".into();
    }

    fn adopt(&mut self, token: &str) {
        self.adopt = Some(token.to_owned());
    }
}

impl TableGround for PostgresGround {
    async fn empty_target(&mut self) {
        self.run("truncate public.orders").await;
    }

    async fn lose_shards(&mut self) {
        self.run("truncate tailwater.shards, tailwater.streams").await;
    }
}

impl Ground for PostgresGround {
    type Lane = PostgresLane;
    type Ownership = PostgresOwnership;

    fn manner(&self) -> Manner {
        Manner::Mirror
    }

    async fn claim(&mut self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let claimed = Box::pin(claim(&self.settings(), identity, &Write::key_schema())).await?;
        if !self.has_rules {
            self.run(RULES).await;
            self.has_rules = true;
        }
        Ok(claimed)
    }

    async fn held(&mut self) -> Held {
        let rows: Vec<(String, String)> = sqlx::query_as("select \"Id\", _event_id from orders where not _deleted")
            .fetch_all(&mut self.eyes)
            .await
            .expect("the rows");
        rows.into_iter().map(|(key, id)| (key, vec![id])).collect()
    }

    async fn stored(&mut self, pipeline: &str) -> Stored {
        let stored = Box::pin(checkpoints(&self.settings(), pipeline)).await.expect("readable").expect("was run");
        let counts: BTreeMap<_, _> =
            stored.shards.iter().map(|row| (row.shard.as_str().to_owned(), row.counts)).collect();
        Stored { counts, gaps: stored.gaps, gaps_until: stored.gaps_until, dead_letters: stored.dead_letters }
    }

    async fn refused(&mut self, write: &Write) -> ChangeEvent {
        write.event_of(&shard_of(0, 1, 0), Change::Insert { new: Some(write.image("never")) })
    }

    fn interruptions(&self) -> &'static [Interruption] {
        &[Interruption::Dropped, Interruption::BrokenBefore, Interruption::Killed, Interruption::Late]
    }

    async fn interrupt(&mut self, lane: &mut PostgresLane, group: Group, how: Interruption) {
        match how {
            Interruption::Dropped => {
                // At another place each time: a commit takes some milliseconds.
                self.interruptions += 1;
                let given_up = Duration::from_millis(u64::from(1 + self.interruptions * 2 % 7));
                drop(timeout(given_up, lane.commit(group)).await);
            }
            Interruption::BrokenBefore => {
                self.end_sessions().await;
                lane.commit(group).await.expect_err("the connection is broken");
            }
            Interruption::Killed => {
                self.run(&format!("update public.hold set seconds = {HELD_SECONDS}")).await;
                let ((), answer) = tokio::join!(
                    async {
                        sleep(GIVEN_UP_AFTER).await;
                        self.end_sessions().await;
                    },
                    lane.commit(group)
                );
                answer.expect_err("the session was ended");
                self.run("update public.hold set seconds = 0").await;
            }
            Interruption::Late => {
                self.run(&format!("update public.hold set seconds = {HELD_SECONDS}")).await;
                assert!(timeout(GIVEN_UP_AFTER, lane.commit(group)).await.is_err(), "the commit is held");
                self.run("update public.hold set seconds = 0").await;
            }
            Interruption::AnswerLost => panic!("not possible here"),
        }
    }
}
