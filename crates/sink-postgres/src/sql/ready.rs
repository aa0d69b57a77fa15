//! Makes a database ready for a pipeline: server, schema and mirror table.

use sqlx::Row;
use tailwater_model::{PipelineIdentity, Trouble, TroubleKind};

use crate::migrate::{MigrateFault, migrate};
use crate::mirror_table::MirrorTable;
use crate::session::{Session, SqlFault};
use crate::statements::Unready;
use crate::table_shape::{TableFault, make_table};

/// Oldest supported server: 13 has `gen_random_uuid`.
const SERVER_VERSION_MIN: i32 = 130_000;

impl From<sqlx::Error> for Unready {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(SqlFault::Driver(error))
    }
}

impl From<TableFault> for Unready {
    fn from(fault: TableFault) -> Self {
        match fault {
            TableFault::Sql(fault) => Self::Sql(fault),
            TableFault::Unfit(trouble) => Self::Told(trouble),
        }
    }
}

pub(super) async fn prepare(session: &mut Session, place: &str) -> Result<(), Unready> {
    check_server(session, place).await?;
    migrate(session).await.map_err(|fault: MigrateFault| Unready::Told(fault.trouble(place)))
}

pub(super) async fn make_target(
    session: &mut Session,
    table: &MirrorTable,
    identity: &PipelineIdentity,
) -> Result<(), Unready> {
    let origin = format!(
        "Mirror of the DynamoDB table {}, kept by Tailwater's pipeline {}.",
        identity.stream.table, identity.name
    );
    Ok(make_table(session, table, &origin).await?)
}

async fn check_server(session: &mut Session, place: &str) -> Result<(), Unready> {
    let look = "select current_setting('server_version_num')::int4, current_setting('server_encoding')";
    let row = session.ask(look).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
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
        return Err(Unready::Told(trouble.advise("use a newer server")));
    }
    if encoding != "UTF8" {
        let trouble = Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.encoding",
            format!("the database at {place} has the encoding {encoding}, which cannot hold every text of DynamoDB"),
        );
        return Err(Unready::Told(trouble.advise("create the database with encoding 'UTF8'")));
    }
    Ok(())
}
