//! Taking a pipeline over: schema, table and all lanes in one transaction. Every error here is told at once, for at a
//! start somebody is looking; only the locks of an earlier owner are waited for.

use std::sync::{Arc, Mutex};

use sqlx::Row;
use tailwater_model::{DeadLetterRate, KeySchema, PipelineIdentity, Trouble, TroubleKind};
use tokio::time::Instant;
use tracing::warn;

use crate::connect::{Address, address};
use crate::lane::{LaneIdentity, PostgresLane, Shared};
use crate::migrate::{MigrateFault, migrate};
use crate::mirror_table::MirrorTable;
use crate::open::read_only_trouble;
use crate::session::{Session, SqlFault};
use crate::settings::PostgresSettings;
use crate::table_shape::{TableFault, prepare_table};

/// Oldest supported server: 13 has `gen_random_uuid`.
const SERVER_VERSION_MIN: i32 = 130_000;

/// What a wait for somebody else's locks ends with; the second one where `statement_timeout` is the shorter of the two.
const LOCKED_CODES: [&str; 2] = ["sink.postgres.lock_timeout", "sink.postgres.statement_timeout"];

/// The rows are taken in one order, so that two who claim cannot deadlock with one another.
const LANES_SQL: &str = "
insert into tailwater.lanes (pipeline, lane, epoch, owner)
select $1, lane, 1, $3::uuid from generate_series(0, $2 - 1) as lane
on conflict (pipeline, lane) do update set epoch = lanes.epoch + 1, owner = excluded.owner, claimed_at = now()";

const STREAM_SQL: &str = "
insert into tailwater.streams (pipeline, stream_arn, table_name, table_id) values ($1, $2, $3, $4)
on conflict do nothing";

/// Takes over all lanes of the pipeline: from now on no earlier process can write. Makes the schema `tailwater` and the
/// mirror table when they are missing, and compares the table when it is there. Index is lane.
///
/// # Errors
/// Trouble of kind `Config` for names, a table of another shape (`sink.postgres.table_shape`), another lane count
/// (`sink.lane_count`); of kind `Environment` for everything that the server refuses.
pub async fn claim(
    settings: &PostgresSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Vec<PostgresLane>, Trouble> {
    let address = address(settings)?;
    let table = MirrorTable::new(settings, keys)?;
    let lanes = lane_count(identity)?;
    let place = address.place.clone();
    let owner = take_when_free(&address, settings, &table, identity, lanes).await?;
    let shared = Arc::new(Shared {
        settings: settings.clone(),
        address,
        table,
        dead_letters: Mutex::new(DeadLetterRate::new(settings.dead_letters_per_minute_max)),
        started: Instant::now(),
    });
    let pipeline = Arc::new(identity.clone());
    let lane = |number| {
        let identity = LaneIdentity::new(Arc::clone(&pipeline), number, owner.clone(), &place);
        PostgresLane::new(identity, Arc::clone(&shared))
    };
    Ok((0..lanes).map(lane).collect())
}

/// Tries again while the rows are locked. An owner that was frozen or cut off inside its transaction keeps its locks until
/// the server ends that session: after one statement and one silence, each of which may last `statement_timeout`. So a
/// take-over needs nobody.
async fn take_when_free(
    address: &Address,
    settings: &PostgresSettings,
    table: &MirrorTable,
    identity: &PipelineIdentity,
    lanes: i32,
) -> Result<String, Trouble> {
    let place = &address.place;
    let deadline = Instant::now() + 2 * settings.statement_timeout + settings.lock_timeout;
    loop {
        let mut session = Box::pin(address.connect(settings, &identity.name, "claim"))
            .await
            .map_err(|fault| fault.trouble("connecting", place))?;
        let trouble = match Box::pin(take(&mut session, table, identity, lanes, place)).await {
            Ok(owner) => return Ok(owner),
            Err(fault) => fault.trouble(place),
        };
        if !LOCKED_CODES.contains(&trouble.code) {
            return Err(trouble);
        }
        if Instant::now() >= deadline {
            return Err(trouble.advise(
                "another session keeps the pipeline's rows locked: pg_blocking_pids and pg_stat_activity show it; end it \
                 and start again",
            ));
        }
        // Each try has waited for `lock_timeout` or `statement_timeout` already: no pause is needed.
        warn!(code = trouble.code, "{trouble}; an earlier owner holds the pipeline: trying again");
    }
}

fn lane_count(identity: &PipelineIdentity) -> Result<i32, Trouble> {
    i32::try_from(identity.lanes).ok().filter(|lanes| *lanes > 0).ok_or_else(|| {
        Trouble::new(TroubleKind::Config, "sink.lane_count", format!("{} lanes are not possible", identity.lanes))
            .advise("set lanes to 1 or more")
    })
}

enum ClaimFault {
    Sql(SqlFault),
    Migrate(MigrateFault),
    Told(Trouble),
}

impl ClaimFault {
    fn trouble(self, place: &str) -> Trouble {
        match self {
            Self::Sql(fault) => fault.trouble("claiming the pipeline", place),
            Self::Migrate(fault) => fault.trouble(place),
            Self::Told(trouble) => trouble,
        }
    }
}

impl From<SqlFault> for ClaimFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

impl From<sqlx::Error> for ClaimFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(SqlFault::Driver(error))
    }
}

impl From<TableFault> for ClaimFault {
    fn from(fault: TableFault) -> Self {
        match fault {
            TableFault::Sql(fault) => Self::Sql(fault),
            TableFault::Unfit(trouble) => Self::Told(trouble),
        }
    }
}

/// One transaction. Any error leaves by `?` and drops the connection, which rolls back.
async fn take(
    session: &mut Session,
    table: &MirrorTable,
    identity: &PipelineIdentity,
    lanes: i32,
    place: &str,
) -> Result<String, ClaimFault> {
    session.run("begin").await?;
    check_server(session, place).await?;
    migrate(session).await.map_err(ClaimFault::Migrate)?;
    let origin = format!(
        "Mirror of the DynamoDB table {}, kept by Tailwater's pipeline {}.",
        identity.stream.table, identity.name
    );
    prepare_table(session, table, &identity.name, &origin).await?;
    check_lane_count(session, identity).await?;
    let row = session.row(sqlx::query("select gen_random_uuid()::text")).await?;
    let owner: String = row.ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    session.execute(sqlx::query(LANES_SQL).bind(&identity.name).bind(lanes).bind(&owner)).await?;
    let stream = &identity.stream;
    let query = sqlx::query(STREAM_SQL)
        .bind(&identity.name)
        .bind(&stream.stream_arn)
        .bind(&stream.table)
        .bind(&stream.table_id);
    session.execute(query).await?;
    session.run("commit").await?;
    Ok(owner)
}

async fn check_server(session: &mut Session, place: &str) -> Result<(), ClaimFault> {
    if let Some(trouble) = read_only_trouble(session, place).await? {
        return Err(ClaimFault::Told(trouble));
    }
    let query = sqlx::query("select current_setting('server_version_num')::int4, current_setting('server_encoding')");
    let row = session.row(query).await?.ok_or(sqlx::Error::RowNotFound)?;
    let (version, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if version < SERVER_VERSION_MIN {
        let trouble = Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.version",
            format!(
                "Postgres at {place} has version {}, and at least {} is needed",
                version / 10_000,
                SERVER_VERSION_MIN / 10_000
            ),
        );
        return Err(ClaimFault::Told(trouble.advise("use a newer server")));
    }
    if encoding != "UTF8" {
        let trouble = Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.encoding",
            format!("the database at {place} has the encoding {encoding}, which cannot hold every text of DynamoDB"),
        );
        return Err(ClaimFault::Told(trouble.advise("create the database with encoding 'UTF8'")));
    }
    Ok(())
}

async fn check_lane_count(session: &mut Session, identity: &PipelineIdentity) -> Result<(), ClaimFault> {
    let query = sqlx::query("select count(*) from tailwater.lanes where pipeline = $1").bind(&identity.name);
    let stored: i64 = session.row(query).await?.ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    if stored == 0 || stored == i64::from(identity.lanes) {
        return Ok(());
    }
    let trouble = Trouble::new(
        TroubleKind::Config,
        "sink.lane_count",
        format!(
            "pipeline \"{}\" was started with {stored} lanes, and its file says {}: shards are dealt to lanes by this number",
            identity.name, identity.lanes
        ),
    );
    Err(ClaimFault::Told(trouble.advise(format!(
        "set lanes = {stored} to go on. Another number means to begin anew for now, from the oldest record of the stream: \
         stop the pipeline and delete its rows from tailwater.lanes, tailwater.streams and tailwater.shards"
    ))))
}
