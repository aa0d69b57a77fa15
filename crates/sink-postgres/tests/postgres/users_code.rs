//! What users put on and around the mirror table works as it does in `psql`, and sees what the sink sets.

use std::sync::Arc;

use tailwater_model::{DeleteMode, Failure, Position, RemoveCause, Sink};
use tailwater_sink_postgres::{PostgresSettings, claim};

use crate::ground::{Database, after, batch, group, id, id_key, identity, in_database, put, remove, settings};

/// A trigger that keeps what holds while the sink writes.
pub const LOOK: &str = "
create table public.looks (pid int, name text, value text);
create function public.look() returns trigger language plpgsql security definer as $$ begin
insert into public.looks select pg_backend_pid(), name, current_setting(name) from unnest(array['search_path', 'TimeZone',
    'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'plan_cache_mode', 'row_security',
    'client_min_messages', 'transaction_isolation']) as name;
return null; end $$;
create constraint trigger look after insert or update on public.orders deferrable initially deferred
for each row execute function public.look()";

/// What holds at the end of a transaction too, when deferred triggers run.
pub async fn settings_hold(database: &Database, search_path: &str) {
    for (name, value) in [
        ("search_path", search_path),
        ("TimeZone", "UTC"),
        ("statement_timeout", "20s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "20s"),
        ("plan_cache_mode", "force_generic_plan"),
        ("row_security", "off"),
        ("client_min_messages", "error"),
        ("transaction_isolation", "read committed"),
    ] {
        let seen = database.texts(&format!("select distinct value from public.looks where name = '{name}'")).await;
        assert_eq!(seen, [value], "{name}");
    }
}

async fn carry_one(database: &Database, settings: &PostgresSettings) {
    let mut lane = database.ready_lane(settings, &id_key()).await;
    lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
}

#[tokio::test]
async fn what_the_sink_sets_holds_whatever_role_and_database_say() {
    in_database(|database| async move {
        database.lane(&database.settings(), &id_key()).await;
        database.run(LOOK).await;
        let name = database.name();
        for setting in [
            "row_security = on",
            "statement_timeout = '2s'",
            "client_min_messages = debug5",
            "search_path = \"$user\", public, elsewhere",
            "default_transaction_isolation = serializable",
            "timezone = 'Asia/Tokyo'",
        ] {
            database.run(&format!("alter database {name} set {setting}")).await;
        }
        carry_one(&database, &database.settings()).await;
        settings_hold(&database, "\"$user\", public, elsewhere, \"public\"").await;
    })
    .await;
}

/// Unqualified names in a trigger, in a check, in a generated column, in an index and in a default, and a table that a
/// trigger makes: as everybody writes them.
#[tokio::test]
async fn triggers_and_expressions_find_their_names() {
    in_database(|database| async move {
        let settings = PostgresSettings { schema: "shop".into(), ..database.settings() };
        database.run(&format!("alter database {} set search_path = public", database.name())).await;
        database.lane(&settings, &id_key()).await;
        database
            .run(
                "set search_path to shop, public;
                create table outbox (id text, at int default 1);
                create function public.amount(d jsonb) returns numeric language sql immutable as $$ select (d ->> 'v')::numeric $$;
                create function public.fine(d jsonb) returns boolean language plpgsql immutable as $$ begin
                return amount(d) < 100; end $$;
                alter table orders add column amount numeric generated always as (public.amount(document)) stored,
                    add constraint fine check (public.fine(document));
                create index on orders (public.amount(document));
                create function tell() returns trigger language plpgsql as $$ begin
                insert into outbox values (new.\"Id\");
                create table if not exists made_here (id text);
                insert into made_here values (new.\"Id\");
                return new; end $$;
                create trigger tell after insert on orders for each row execute function tell();
                reset search_path",
            )
            .await;
        carry_one(&database, &settings).await;
        assert_eq!(database.text("select id from shop.outbox").await, "a");
        assert_eq!(database.text("select amount::text from shop.orders").await, "1");
        // Where `psql` makes it: in the first schema of the role's path.
        assert_eq!(database.text("select id from public.made_here").await, "a");
    })
    .await;
}

#[tokio::test]
async fn a_path_of_the_roles_own_is_kept() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database.lane(&database.settings(), &id_key()).await;
        database
            .run(&format!(
                "create schema tools; create function tools.twice(n int) returns int language sql as 'select n * 2';
                create function public.twist() returns trigger language plpgsql as
                    $$ begin new.\"_op\" := twice(21)::text; return new; end $$;
                create trigger twist before insert on public.orders for each row execute function public.twist();
                grant usage on schema tailwater, public, tools to {role};
                grant all on all tables in schema tailwater, public to {role};
                alter role {role} set search_path = tools, pg_catalog"
            ))
            .await;
        database.run(LOOK).await;
        carry_one(&database, &settings(&url)).await;
        assert_eq!(database.text("select _op from public.orders").await, "42");
        // The system's own functions come first, where this crate looks for them.
        settings_hold(&database, "pg_catalog, tools, pg_catalog, \"public\"").await;
    })
    .await;
}

/// On old servers everybody may make functions in `public`; the sink's role must not run them.
#[tokio::test]
async fn a_function_that_looks_like_one_of_the_systems_is_not_called() {
    in_database(|database| async move {
        database
            .run(
                "create function public.trap() returns void language plpgsql as $$ begin raise exception 'trapped'; end $$;
                create function public.unnest(text[]) returns setof text language sql as 'select public.trap()::text';
                create function public.unnest(int8[]) returns setof int8 language sql as 'select public.trap()::text::int8';
                create function public.array_agg(text) returns text[] language sql as 'select array[public.trap()::text]';
                create function public.to_jsonb(text) returns jsonb language sql as 'select public.trap()::text::jsonb';
                create function public.scaled(int8, interval) returns interval language sql
                    as 'select public.trap()::text::interval';
                create operator public.* (leftarg = int8, rightarg = interval, function = public.scaled)",
            )
            .await;
        let settings = PostgresSettings { delete: DeleteMode::Hard, ..database.settings() };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        let gone = remove(2, &id("a"), None, RemoveCause::Request);
        lane.commit(group([batch(after(1), after(2), vec![gone])])).await.expect("commits");
        lane.open().await.expect("opens");
        tailwater_sink_postgres::checkpoints(&settings, "orders to postgres").await.expect("lists").expect("is there");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_policy_hides_is_an_error_and_not_nothing() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database.lane(&database.settings(), &id_key()).await;
        database
            .run(&format!(
                "grant usage on schema tailwater, public to {role};
                grant all on all tables in schema tailwater, public to {role};
                insert into orders (\"Id\", document) values ('a', '{{}}');
                alter role {role} set row_security = on"
            ))
            .await;
        let settings = PostgresSettings { delete: DeleteMode::Hard, ..settings(&url) };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        database
            .run("alter table orders enable row level security; create policy none on orders using (false) with check (true)")
            .await;
        let gone = remove(1, &id("a"), None, RemoveCause::Request);
        let answer = lane.commit(group([batch(Position::Start, after(1), vec![gone])])).await;
        let Err(Failure::Halt(trouble)) = answer else { panic!("{answer:?}") };
        assert_eq!(trouble.code, "sink.postgres.denied", "{trouble:?}");
        assert!(trouble.advice.is_some_and(|advice| advice.contains("bypassrls")));
        assert_eq!(database.count("orders").await, "1");
        // A start looks whether there are rows.
        let refused = claim(&settings, &identity(1), &id_key()).await.map(drop).expect_err("rows are hidden");
        assert_eq!(refused.code, "sink.postgres.denied", "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_a_trigger_does_not_find_is_told_as_the_triggers() {
    in_database(|database: Arc<Database>| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database
            .run(
                "create function tell() returns trigger language plpgsql as
                    $$ begin insert into outbox values (1); return new; end $$;
                create trigger tell after insert on orders for each row execute function tell()",
            )
            .await;
        let answer = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await;
        let Err(Failure::Halt(trouble)) = answer else { panic!("{answer:?}") };
        assert_eq!(trouble.code, "sink.postgres.object_missing");
        assert!(trouble.message.contains("\"outbox\""), "{}", trouble.message);
        assert!(trouble.advice.as_ref().is_some_and(|advice| advice.contains("trigger")), "{trouble:?}");
    })
    .await;
}

/// A trigger's message may quote an item, whatever code it comes under; the server's own names what was broken.
#[tokio::test]
async fn what_a_trigger_says_is_not_passed_on() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run("alter table orders add constraint never check (document ->> 'v' <> '13')").await;
        let commit = group([batch(Position::Start, after(1), vec![put(1, "a", 13)])]);
        assert_eq!(lane.commit(commit).await.expect("commits").dead_lettered, 1);
        let error = database.text("select error from tailwater.dead_letters").await;
        assert!(error.contains("check constraint \"never\""), "{error}");
        for (state, number) in [("23514", 2), ("22023", 3), ("P0001", 4)] {
            database
                .run(&format!(
                    "delete from tailwater.dead_letters;
                    create or replace function tell() returns trigger language plpgsql as $$ begin
                    raise exception 'hunter2 is in %', new.document using errcode = '{state}', constraint = 'c'; end $$;
                    create or replace trigger tell before insert on orders for each row execute function tell()"
                ))
                .await;
            let step = batch(after(number - 1), after(number), vec![put(number, "a", 1)]);
            assert_eq!(lane.commit(group([step])).await.expect("commits").dead_lettered, 1, "{state}");
            let error = database.text("select error from tailwater.dead_letters").await;
            assert!(error.contains("a trigger or function") && error.contains(state), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for state in ["40001", "42P01", "57014"] {
            database
                .run(&format!(
                    "create or replace function tell() returns trigger language plpgsql as $$ begin
                    raise exception 'hunter2 is in %', new.document using errcode = '{state}'; end $$"
                ))
                .await;
            lane.open().await.expect("opens");
            let answer = lane.commit(group([batch(after(4), after(5), vec![put(5, "a", 1)])])).await;
            let told = format!("{:?}", answer.expect_err("is refused"));
            assert!(told.contains(state) && !told.contains("hunter2"), "{told}");
        }
    })
    .await;
}
