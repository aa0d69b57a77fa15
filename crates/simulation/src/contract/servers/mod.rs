//! A real server and the model of it below the sink: the same interleaving of statements, the same observations.
//!
//! Each interleaving is written once over [`Server`]. What it must come to was measured on PostgreSQL 17, and stands here
//! as plain values: a model that is kinder or harsher fails, and so does a server that has changed its manners.

mod interleavings;
mod model;
mod postgres;

use std::future::Future;
use std::time::Duration;

/// What a statement asks, about rows with a text for a key and a number for a value.
#[derive(Clone, Debug)]
enum Ask {
    Begin,
    Commit,
    Savepoint,
    RollbackToSavepoint,
    /// The value; -1 when the row is not there.
    Read(&'static str),
    Insert(&'static str, i64),
    /// One statement; an existing row takes the new value.
    Upsert(Vec<(&'static str, i64)>),
    /// An upsert of one row, where the stored value is smaller.
    UpsertNewer(&'static str, i64),
    /// Adds one and gives the new value; -1 when the row is not there.
    Bump(&'static str),
    /// Removes the row where it has this value.
    RemoveAt(&'static str, i64),
    /// [`Self::UpsertNewer`] of the first row, and where it wrote, the removal of the second; in one statement.
    RemoveBehindGuard(&'static str, i64, &'static str),
}

/// The value or the number of rows, or the SQLSTATE.
type Answer = Result<i64, String>;

/// A session of a server.
trait Session {
    async fn ask(&mut self, ask: Ask) -> Answer;

    /// Sends `COMMIT`, whose work takes so long, and dies at once.
    async fn commit_late_and_die(self, takes: Duration);
}

/// A server with an empty table.
trait Server {
    type Session: Session;

    /// `lock_timeout` of the new session is [`LOCK_TIMEOUT`].
    async fn connect(&self) -> Self::Session;
}

/// The longest wait for a lock: longer than a circle of waits takes to be found (PostgreSQL, `deadlock_timeout`: 1 s).
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// One test for each interleaving on one server.
macro_rules! every_interleaving {
    ($stand:path: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $stand(async |server| super::interleavings::$name(server).await);
            }
        )*
    };
    ($stand:path) => {
        $crate::contract::servers::every_interleaving! { $stand:
            a_commit_after_an_error_answers_well_and_keeps_nothing,
            a_late_commit_is_not_read_and_is_waited_for,
            opposite_orders_deadlock_and_one_order_does_not,
            one_statement_cannot_upsert_a_row_twice,
            a_removal_in_the_statement_of_its_guard_resurrects_the_row,
            a_guarded_upsert_goes_by_the_newest_value,
            an_update_looks_again_at_the_row_that_it_waited_for,
            a_row_that_came_after_the_statement_began_is_not_seen,
            a_wait_for_a_lock_ends_in_time,
            a_savepoint_takes_back_rows_and_their_locks,
            an_insert_waits_for_the_one_before_it,
            a_session_that_dies_is_rolled_back,
        }
    };
}
use every_interleaving;

/// Waits until the other side stands in its wait, real or modelled.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Both at once.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    tokio::join!(one, other)
}
