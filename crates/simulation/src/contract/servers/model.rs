//! The interleavings on the model, in virtual time.

use std::ops::AsyncFnOnce;
use std::time::Duration;

use tailwater_model::{Key, KeySchema};

use super::{Answer, Ask, LOCK_TIMEOUT, Server, Session};
use crate::contract::Write;
use crate::postgres::{
    Change, Command, Executing, Faults, MirrorRow, ModelServer, ModelSession, RowKey, RowValue, SessionTimes, SqlError,
};

/// Longer than anything that is waited for.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

super::every_interleaving!(stand);

fn stand(test: impl AsyncFnOnce(&ModelServer)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async { test(&ModelServer::new(1)).await });
}

pub(super) struct OnModel {
    server: ModelServer,
    session: ModelSession,
}

impl Server for ModelServer {
    type Session = OnModel;

    async fn connect(&self) -> OnModel {
        let times = SessionTimes { statement_timeout: STATEMENT_TIMEOUT, lock_timeout: LOCK_TIMEOUT };
        let within = STATEMENT_TIMEOUT * 2;
        let session = ModelSession::connect(self, "contract".into(), times, within, within).await;
        OnModel { server: self.clone(), session: session.expect("a session") }
    }
}

fn row_key(id: &str) -> RowKey {
    let schema: KeySchema = Write::key_schema();
    let item = crate::contract::put(1, id).image("");
    let key: Key = schema.read(&item).expect("a key");
    RowKey::Mirror { table: "rows".into(), key }
}

fn row(value: i64) -> RowValue {
    RowValue::Mirror(MirrorRow {
        document: "{}".into(),
        op: "insert".into(),
        sequence_number: value.to_string().into(),
        event_id: "event".into(),
        created_at_ms: 0,
        deleted: false,
    })
}

fn value(row: &RowValue) -> i64 {
    match row {
        RowValue::Mirror(row) => row.sequence_number.parse().expect("a number"),
        other => panic!("not a row of the table: {other:?}"),
    }
}

async fn upsert_newer(sql: &Executing, id: &str, newest: i64) -> Result<i64, SqlError> {
    let written = sql.upsert(&row_key(id), row(newest), |stored| (value(stored) < newest).then(|| row(newest))).await?;
    Ok(i64::from(written))
}

async fn run(sql: Executing, ask: Ask) -> Result<i64, SqlError> {
    match ask {
        Ask::Read(id) => Ok(sql.read(&row_key(id)).map_or(-1, |row| value(&row))),
        Ask::Insert(id, new) => sql.insert(&row_key(id), row(new)).await.map(|()| 1),
        Ask::Upsert(rows) => {
            for (id, new) in &rows {
                sql.upsert(&row_key(id), row(*new), |_| Some(row(*new))).await?;
            }
            Ok(rows.len() as i64)
        }
        Ask::UpsertNewer(id, new) => upsert_newer(&sql, id, new).await,
        Ask::Bump(id) => {
            let bumped = sql.change(&row_key(id), |stored| Change::Put(row(value(stored) + 1))).await?;
            if !bumped {
                return Ok(-1);
            }
            let newest = sql.lock(&row_key(id)).await?;
            Ok(newest.map_or(-1, |row| value(&row)))
        }
        Ask::RemoveAt(id, at) => {
            let fits = |stored: &RowValue| if value(stored) == at { Change::Remove } else { Change::Keep };
            sql.change(&row_key(id), fits).await.map(i64::from)
        }
        Ask::RemoveBehindGuard(guard, new, id) => {
            if upsert_newer(&sql, guard, new).await? == 0 {
                return Ok(0);
            }
            sql.change(&row_key(id), |_| Change::Remove).await.map(i64::from)
        }
        Ask::Begin | Ask::Commit | Ask::Savepoint | Ask::RollbackToSavepoint => panic!("not about rows"),
    }
}

impl Session for OnModel {
    async fn ask(&mut self, ask: Ask) -> Answer {
        let done = match ask {
            Ask::Begin => self.session.command(Command::Begin).await.map(|()| 0),
            Ask::Commit => self.session.command(Command::Commit).await.map(|()| 0),
            Ask::Savepoint => self.session.command(Command::Savepoint("here")).await.map(|()| 0),
            Ask::RollbackToSavepoint => self.session.command(Command::RollbackTo("here")).await.map(|()| 0),
            ask => self.session.run(!matches!(ask, Ask::Read(_)), move |sql| run(sql, ask)).await,
        };
        done.map_err(|fault| match fault {
            crate::postgres::SessionFault::Sql(error) => error.state.to_owned(),
            other => panic!("no answer: {other:?}"),
        })
    }

    async fn commit_late_and_die(mut self, takes: Duration) {
        self.server.set_faults(Faults { commit_late: 1.0, commit_late_by: takes..takes, ..Faults::default() });
        self.session.command(Command::Commit).await.expect_err("the connection breaks");
        self.server.heal();
    }
}
