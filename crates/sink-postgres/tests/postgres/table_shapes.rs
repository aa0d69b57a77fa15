//! Tables that cannot be a mirror as they are: what is told of them, and that the advice helps.

use tailwater_model::{DeleteMode, Position, Sink, Trouble, TroubleKind};
use tailwater_sink_postgres::{PostgresSettings, claim};

use crate::ground::{after, batch, group, id_key, identity, in_database, put};

async fn refused(settings: &PostgresSettings) -> Trouble {
    claim(settings, &identity(1), &id_key()).await.map(drop).expect_err("the claim is refused")
}

/// The statements of a list of differences, in its order.
fn advised(trouble: &Trouble) -> Vec<String> {
    let statement = |line: &str| {
        let at = [": alter table ", ": drop rule "].into_iter().find_map(|begin| line.rfind(begin))?;
        Some(line[at + 2..].to_owned())
    };
    trouble.message.lines().filter_map(statement).collect()
}

#[tokio::test]
async fn the_advice_on_a_table_of_another_shape_makes_it_a_mirror() {
    const REST: &str = "_op text, _event_id text, _synced_at timestamptz";
    for table in [
        // Columns come before the key on them.
        "create table orders (note text)".to_owned(),
        // Types that nothing is cast to by itself.
        format!(
            "create table orders (\"Id\" integer, document text, _seq text, _source_ts text, _deleted numeric, {REST})"
        ),
        // A second primary key, and one that nothing fills.
        format!("create table orders (number serial primary key, \"Id\" text, {REST})"),
        format!("create table orders (\"No\" text, \"Id\" text, {REST}, primary key (\"No\", \"Id\"))"),
        "create table orders (note text not null, _deleted boolean generated always as (note = '') stored)".to_owned(),
        "create unlogged table orders (\"Id\" text primary key)".to_owned(),
        "create collation other (provider = icu, locale = 'und', deterministic = false); \
         create table orders (\"Id\" text collate other primary key)"
            .to_owned(),
        "create table orders (\"Id\" text primary key, document jsonb); \
         create rule \"No rows\" as on insert to orders do instead nothing"
            .to_owned(),
        "create table orders (\"Id\" text unique); create publication everything for all tables".to_owned(),
    ] {
        in_database(|database| async move {
            database.run(&table).await;
            let trouble = refused(&database.settings()).await;
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"), "{table}");
            for statement in advised(&trouble) {
                database.run(&statement).await;
            }
            let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
            for (from, to, value) in [(Position::Start, after(1), 1), (after(1), after(2), 2)] {
                let committed = lane.commit(group([batch(from, to, vec![put(value, "a", value)])])).await;
                assert_eq!(committed.expect("commits").figures(), (1, 0), "{table}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_rule_on_deletes_is_refused_only_where_rows_are_deleted() {
    in_database(|database| async move {
        drop(database.lane(&database.settings(), &id_key()).await);
        database.run("create rule stay as on delete to orders do instead nothing").await;
        drop(database.lane(&database.settings(), &id_key()).await);
        let hard = PostgresSettings { delete: DeleteMode::Hard, ..database.settings() };
        let trouble = refused(&hard).await;
        assert!(trouble.message.contains("drop rule stay on"), "{}", trouble.message);
        database.run("alter table orders disable rule stay").await;
        drop(database.lane(&hard, &id_key()).await);
    })
    .await;
}
