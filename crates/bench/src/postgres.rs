//! To a Postgres mirror, beside bare `UNNEST` statements that write the same rows.

use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::clock::now_us;
use crate::files;
use crate::local::carried;
use crate::measure::Bench;
use crate::pipeline::{Pipeline, Taken};
use crate::server::{LANES, ReplayServer, SHARDS_OF_LANES as SHARDS, ServeArguments};

/// Rows of one transaction, as many as in a group of a pipeline that says nothing about it.
const ROWS_PER_TRANSACTION: usize = 1_000;
/// A server process hands its counts over when it ends.
const COUNTS_WITHIN: Duration = Duration::from_secs(2);

/// What `tailwater` writes for a key of one text column.
const UPSERT: &str = "insert into bare (\"Id\", document, _op, _seq, _event_id, _source_ts, _synced_at, _deleted) \
     select id, document::jsonb, op, seq::numeric(40,0), event_id, \
     timestamptz 'epoch' + created_at_ms * interval '1 millisecond', now(), deleted \
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::bool[]) \
     as change (id, document, op, seq, event_id, created_at_ms, deleted) \
     on conflict (\"Id\") do update set document = excluded.document, _op = excluded._op, _seq = excluded._seq, \
     _event_id = excluded._event_id, _source_ts = excluded._source_ts, _synced_at = excluded._synced_at, \
     _deleted = excluded._deleted";
/// The rows of one connection in the order of the stream: of every so-manyth lineage.
const ROWS: &str = "select \"Id\", document::text, _op, _seq::text, _event_id, \
     (extract(epoch from _source_ts) * 1000)::int8, _deleted from public.mirror \
     where left(\"Id\", 6)::int8 % $2 = $1 order by _seq";

/// The columns of the rows of one transaction.
#[derive(Default)]
struct Columns {
    ids: Vec<String>,
    documents: Vec<String>,
    ops: Vec<String>,
    numbers: Vec<String>,
    event_ids: Vec<String>,
    created_at_ms: Vec<i64>,
    deleted: Vec<bool>,
}

/// Records of a kilobyte, each of another item, in turn with the bare statements on as many connections: of one lane, and
/// of several with enough shards for each.
pub fn mirror(bench: &mut Bench) -> Result<()> {
    for (case, lanes, shards, shard_pages) in [("1k, 1 lane", 1, 1, 200), ("1k, 4 lanes", LANES, SHARDS, 12)] {
        bench.case(case, |bench| {
            let pages = bench.pick(shard_pages, 2);
            let database = bench.runtime.block_on(Database::create(&bench.postgres))?;
            let both = || {
                let (records, taken) =
                    carry(bench, &database, lanes, &ServeArguments::finite("1k", shards, pages, pages))?;
                anyhow::Ok((records, taken, bench.runtime.block_on(database.write_bare(lanes))?))
            };
            let measured = both();
            bench.runtime.block_on(database.remove())?;
            let (records, taken, bare_s) = measured?;
            let mut figures = carried(records, taken.wall_s, taken.cpu_s);
            figures.extend([("bare_records_per_s", records / bare_s), ("wall_ratio", bare_s / taken.wall_s)]);
            Ok(figures)
        })?;
    }
    Ok(())
}

/// One shard whose records are of few keys, beside one whose records are of as many keys: a group has one row per key.
pub fn hot_keys(bench: &mut Bench) -> Result<()> {
    for (case, profile) in [("all keys once", "1k"), ("Zipf 1.0, 10000 keys", "hot-keys")] {
        bench.case(case, |bench| {
            let pages = bench.pick(200, 4);
            let database = bench.runtime.block_on(Database::create(&bench.postgres))?;
            let carried_rows = carry(bench, &database, 1, &ServeArguments::finite(profile, 1, pages, pages));
            let rows = bench.runtime.block_on(database.rows_written());
            bench.runtime.block_on(database.remove())?;
            let ((records, taken), rows) = (carried_rows?, rows?);
            let mut figures = carried(records, taken.wall_s, taken.cpu_s);
            figures.extend([("rows_written", rows), ("records_per_row", records / rows)]);
            Ok(figures)
        })?;
    }
    Ok(())
}

fn carry(bench: &Bench, database: &Database, lanes: u32, replay: &ServeArguments) -> Result<(f64, Taken)> {
    let mut server = ReplayServer::start(replay)?;
    let sink = format!("[sink.postgres]\nurl = \"{}\"\nschema = \"public\"\ntable = \"mirror\"", database.url);
    let file =
        files::write(bench.work.path(), "bench-postgres", &server.endpoint, Some(lanes), &sink, files::BACKLOG_PACE)?;
    let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
    let taken = pipeline.until_drained(replay.shards)?;
    drop(pipeline);
    Ok(((replay.shards * server.served()?.records_per_shard) as f64, taken))
}

/// A database of one run.
struct Database {
    name: String,
    admin_url: String,
    url: String,
}

impl Database {
    async fn create(admin_url: &str) -> Result<Self> {
        let name = format!("tailwater_bench_{}", now_us());
        let mut admin = PgConnection::connect(admin_url).await.context("PostgreSQL does not answer: cargo x up")?;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
        // So that neither of the two that are compared finds the log of earlier writes in its way.
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        admin.close().await?;
        let (server, _) = admin_url.rsplit_once('/').context("a URL that ends with a database")?;
        Ok(Self { url: format!("{server}/{name}"), admin_url: admin_url.into(), name })
    }

    async fn remove(&self) -> Result<()> {
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        let drop = AssertSqlSafe(format!("drop database {} with (force)", self.name));
        sqlx::raw_sql(drop).execute(&mut admin).await?;
        Ok(admin.close().await?)
    }

    async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect_with(&PgConnectOptions::from_str(&self.url)?).await?)
    }

    /// Rows that were inserted into the mirror or updated in it.
    async fn rows_written(&self) -> Result<f64> {
        tokio::time::sleep(COUNTS_WITHIN).await;
        let sql = "select n_tup_ins + n_tup_upd from pg_stat_user_tables where relname = 'mirror'";
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.connect().await?).await?;
        Ok(rows as f64)
    }

    /// Writes the rows of the mirror into a table of the same shape, on so many connections. Seconds.
    async fn write_bare(&self, connections: u32) -> Result<f64> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql("create table bare (like mirror including all); checkpoint").execute(&mut connection).await?;
        let mut loads = Vec::new();
        for number in 0..connections {
            loads.push((self.connect().await?, rows(&mut connection, number, connections).await?));
        }
        let began = Instant::now();
        let tasks = loads.into_iter().map(|(connection, load)| tokio::spawn(write_all(connection, load)));
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

/// The rows of one connection by transactions, each in the order of keys as the sink has them.
async fn rows(connection: &mut PgConnection, number: u32, of: u32) -> Result<Vec<Columns>> {
    let mut rows = sqlx::query(ROWS).bind(i64::from(number)).bind(i64::from(of)).fetch_all(connection).await?;
    let mut transactions = Vec::new();
    for rows in rows.chunks_mut(ROWS_PER_TRANSACTION) {
        rows.sort_by_cached_key(|row| row.get::<String, _>(0));
        let mut columns = Columns::default();
        for row in rows {
            columns.ids.push(row.get(0));
            // Compact, and not in the order that jsonb would bring it into: as it comes from a stream.
            let document: Value = serde_json::from_str(row.get(1))?;
            columns.documents.push(document.to_string());
            columns.ops.push(row.get(2));
            columns.numbers.push(row.get(3));
            columns.event_ids.push(row.get(4));
            columns.created_at_ms.push(row.get(5));
            columns.deleted.push(row.get(6));
        }
        transactions.push(columns);
    }
    Ok(transactions)
}

async fn write_all(mut connection: PgConnection, transactions: Vec<Columns>) -> Result<()> {
    for columns in &transactions {
        let mut transaction = connection.begin().await?;
        sqlx::query(UPSERT)
            .bind(&columns.ids)
            .bind(&columns.documents)
            .bind(&columns.ops)
            .bind(&columns.numbers)
            .bind(&columns.event_ids)
            .bind(&columns.created_at_ms)
            .bind(&columns.deleted)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(connection.close().await?)
}
