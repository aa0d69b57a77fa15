//! Opening a SQLite database, and what its errors mean for a lane.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tailwater_model::{Failure, TooManyDeadLetters, Trouble, TroubleKind};

use crate::private_file::make_private;

/// Longest wait for the write lock of another connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading and writing; the file is made when it is missing.
    Create,
    /// Reading and writing a file that must be there.
    Existing,
    /// Reading only.
    Read,
}

/// Opens the database. Commits survive a power failure: WAL with `synchronous = FULL` syncs the log at each commit
/// (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
pub(crate) async fn connect(path: &Path, access: Access) -> Result<SqliteConnection, Fault> {
    if access == Access::Create {
        // SQLite gives the files of its log the rights of the database.
        make_private(path);
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
    let options = match access {
        Access::Create | Access::Existing => options
            .create_if_missing(access == Access::Create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full),
        // Without a log no writer has the file open, so it can be read as it is: reading it in WAL mode would leave the
        // files of a log behind, and would fail in a directory that this user may not write. A writer that starts at
        // this very moment does not touch the file before its first checkpoint.
        Access::Read => options.read_only(true).immutable(!log_path(path).exists()),
    };
    Ok(options.connect().await?)
}

/// Why no database can be kept at this path; nothing when one can. SQLite takes some names for databases in memory, and others for
/// URIs that may say so, too (<https://www.sqlite.org/inmemorydb.html>).
pub fn database_path_fault(path: &Path) -> Option<Trouble> {
    let name = path.to_string_lossy();
    (name == ":memory:" || name.starts_with("file:")).then(|| {
        let message =
            "SQLite takes this name for a database in memory, or for a URI, and progress has to outlive the process";
        Trouble::new(TroubleKind::Config, "sink.sqlite.path", message)
            .advise("name a file, for example \"./orders.db\"")
    })
}

/// Closes a connection, whatever came of the work on it: one that is only dropped leaves its log behind where the process ends.
pub(crate) async fn closed<T>(connection: SqliteConnection, done: Result<T, Fault>) -> Result<T, Fault> {
    let closed = connection.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// Whether there is no file yet and a directory for one: nothing to look at before it is made.
pub(crate) fn may_be_made(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    !path.exists() && parent.is_dir()
}

/// SQLite's write-ahead log: gone after the last connection was closed, there while one is open or after a crash.
fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Begins a transaction that holds the write lock from its first moment, so that what it reads stays true until it
/// commits. Dropping it without a commit rolls back.
pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Transaction<'_, Sqlite>, Fault> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// Why work on a database did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database said so.
    Database(sqlx::Error),
    /// The rules of the mirror table answer a row with this result code, which may pass. What they say with it may quote an item.
    Row(i32),
    /// We said so.
    Failure(Failure),
    /// The store would take too many dead letters.
    TooManyDeadLetters(TooManyDeadLetters),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Fault {
    /// A person is needed.
    pub(crate) fn halt(trouble: Trouble) -> Self {
        Self::Failure(Failure::Halt(trouble))
    }

    /// What the lane does about it. Everything that may heal by itself is a reason to open again.
    pub(crate) fn into_failure(self, path: &Path) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            Self::Row(code) => Failure::Reopen(row_trouble(code, path)),
            Self::TooManyDeadLetters(exceeded) => Failure::Halt(exceeded.trouble("the dead letters")),
            Self::Database(error) => {
                let trouble = database_trouble(&error, path);
                if trouble.kind == TroubleKind::DataAtRisk { Failure::Halt(trouble) } else { Failure::Reopen(trouble) }
            }
        }
    }

    /// What to tell at start, when nothing runs yet that could open again.
    pub(crate) fn into_trouble(self, path: &Path) -> Trouble {
        match self.into_failure(path) {
            Failure::Reopen(trouble) | Failure::Halt(trouble) => trouble,
        }
    }
}

fn row_trouble(code: i32, path: &Path) -> Trouble {
    let message = format!(
        "a row cannot be written to the mirror table in the SQLite database {}: result code {code}",
        path.display()
    );
    Trouble::new(TroubleKind::Runtime, "sink.sqlite.error", message).advise(
        "look at the table's triggers, indexes and generated columns; when it comes again and again, the record goes to the dead \
         letters",
    )
}

/// Result codes: <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn database_trouble(error: &sqlx::Error, path: &Path) -> Trouble {
    let extended = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    let place = path.display();
    let told = |kind, code, advice: &str| {
        Trouble::new(kind, code, format!("the SQLite database {place}: {error}")).advise(advice)
    };
    use TroubleKind::{DataAtRisk, Environment, Runtime};
    match extended.map(|code| code & 0xff) {
        Some(5 | 6) => {
            told(Environment, "sink.sqlite.busy", "find the program that holds its write lock for long, and end it")
        }
        Some(3 | 8 | 14 | 23) => told(
            Environment,
            "sink.sqlite.access",
            "see that the directory exists and that this user may write the file and beside it (-wal, -shm)",
        ),
        Some(13) => told(Environment, "sink.sqlite.disk_full", "make room on the disk"),
        Some(10) if path.is_dir() => told(Environment, "sink.sqlite.access", "that is a directory: name a file in it"),
        Some(10) => told(Environment, "sink.sqlite.io", "look into the system's log for faults of the disk"),
        Some(11) => {
            told(DataAtRisk, "sink.sqlite.corrupt", "restore the file from a backup, or move it away to begin anew")
        }
        Some(26) => told(DataAtRisk, "sink.sqlite.not_a_database", "name another path: this file is something else"),
        _ => Trouble::new(Runtime, "sink.sqlite.error", format!("the SQLite database {place}: {error}")),
    }
}

/// The lane has no session: it was never opened, or its last commit failed or was cancelled.
pub(crate) fn not_open() -> Failure {
    Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.not_open", "the lane must be opened before it can commit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::AssertSqlSafe;

    /// The failure of the last statement on a connection of its own.
    async fn failure(path: &Path, statements: &[&str]) -> Failure {
        let mut connection = connect(path, Access::Existing).await.expect("opens");
        for statement in statements {
            let executed = sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&mut connection).await;
            if let Err(error) = executed {
                return Fault::from(error).into_failure(path);
            }
        }
        panic!("{statements:?} should fail");
    }

    #[tokio::test]
    async fn what_may_heal_opens_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("database");
        let mut holder = connect(&path, Access::Create).await.expect("opens");
        sqlx::raw_sql("create table t (x)").execute(&mut holder).await.expect("made");
        let held = begin(&mut holder).await.expect("begins");
        let big = "insert into t values (randomblob(1000000))";
        for (statements, code) in [
            (["pragma busy_timeout = 1", "begin immediate"], "sink.sqlite.busy"),
            (["pragma query_only = 1", "delete from t"], "sink.sqlite.access"),
            (["select 1", "select nonsense"], "sink.sqlite.error"),
        ] {
            let failure = failure(&path, &statements).await;
            assert_eq!((matches!(failure, Failure::Reopen(_)), failure.trouble().code), (true, code));
            assert!(failure.trouble().message.contains("database"), "{failure}");
        }
        drop(held);
        let failure = failure(&path, &["pragma max_page_count = 1", big]).await;
        assert_eq!((matches!(failure, Failure::Reopen(_)), failure.trouble().code), (true, "sink.sqlite.disk_full"));
    }

    #[tokio::test]
    async fn a_damaged_database_needs_a_person() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("database");
        let mut connection = connect(&path, Access::Create).await.expect("opens");
        let fill = "create table t (x); insert into t values (randomblob(100000))";
        sqlx::raw_sql(fill).execute(&mut connection).await.expect("made");
        connection.close().await.expect("closed");
        let mut bytes = std::fs::read(&path).expect("readable");
        // Behind the first page, so that the damage is met by a query and not on opening.
        bytes[4096..].fill(0x55);
        std::fs::write(&path, bytes).expect("written");
        let failure = failure(&path, &["select * from t"]).await;
        assert_eq!((matches!(failure, Failure::Halt(_)), failure.trouble().code), (true, "sink.sqlite.corrupt"));
    }
}
