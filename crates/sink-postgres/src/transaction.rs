//! What holds in every transaction, whatever the role, the database or a pooler's connection to the server is set to.
//!
//! It is said in each transaction and for it alone: behind a pooler two transactions of one connection may meet two sessions
//! of the server, and what one of them is left with would be somebody else's.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::identifier::{Identifier, Literal};
use crate::session::SqlFault;
use crate::settings::PostgresSettings;

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each statement must see what was committed before it began: the fence waits for locks.
    Write,
    /// One snapshot for all statements; works on a standby too.
    Read,
}

impl Mode {
    fn sql(self) -> &'static str {
        match self {
            Self::Write => "begin isolation level read committed",
            Self::Read => "begin isolation level repeatable read read only",
        }
    }
}

/// The statements that a transaction begins with.
#[derive(Debug)]
pub(crate) struct TransactionSettings {
    settings: Vec<(&'static str, Wanted)>,
    select: String,
}

/// The value of a setting.
#[derive(Debug)]
enum Wanted {
    /// Exactly this.
    Is(&'static str),
    /// A time-out of so many milliseconds, which the server shows in a unit that it chooses.
    Milliseconds(u128),
    /// What this expression gives.
    Computed(String),
}

impl TransactionSettings {
    pub(crate) fn new(settings: &PostgresSettings) -> Self {
        let statement_timeout = settings.statement_timeout.as_millis().max(1);
        let settings = vec![
            ("search_path", Wanted::Computed(search_path(&settings.schema))),
            ("TimeZone", Wanted::Is("UTC")),
            ("statement_timeout", Wanted::Milliseconds(statement_timeout)),
            ("lock_timeout", Wanted::Milliseconds(settings.lock_timeout.as_millis().max(1))),
            // Between two statements we only compute: whoever is silent this long is gone, and lets go of its locks.
            ("idle_in_transaction_session_timeout", Wanted::Milliseconds(statement_timeout)),
            // Arrays are planned as ten elements, so keys are looked up in the index and never by a scan of the table.
            ("plan_cache_mode", Wanted::Is("force_generic_plan")),
            // A row that a policy hides would be left as it is in silence; so it is an error.
            ("row_security", Wanted::Is("off")),
            // A trigger's warning may quote an item, and the driver writes what it is sent to the log.
            ("client_min_messages", Wanted::Is("error")),
        ];
        let calls: Vec<String> = settings.iter().map(|(name, wanted)| call(name, wanted)).collect();
        // What another client of a pooler left in the session is undone first.
        let select = format!("set local search_path to default; select {}", calls.join(", "));
        Self { settings, select }
    }

    /// The statements; the last of them gives a row for [`check`](Self::check).
    pub(crate) fn begin(&self, mode: Mode) -> String {
        format!("{}; {}", mode.sql(), self.select)
    }

    /// Whether everything is set as it was asked for.
    pub(crate) fn check(&self, row: &PgRow) -> Result<(), SqlFault> {
        for (at, (name, wanted)) in self.settings.iter().enumerate() {
            let holds: Option<&str> = row.try_get(at)?;
            if !wanted.is_met_by(holds.unwrap_or_default()) {
                return Err(SqlFault::NotSet(name));
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn is_met_by(&self, holds: &str) -> bool {
        match self {
            Self::Is(wanted) => holds == *wanted,
            Self::Milliseconds(_) => !["", "0"].contains(&holds),
            Self::Computed(_) => !holds.is_empty(),
        }
    }
}

fn call(name: &str, wanted: &Wanted) -> String {
    let value = match wanted {
        Wanted::Is(value) => format!("'{value}'"),
        Wanted::Milliseconds(value) => format!("'{value}'"),
        Wanted::Computed(expression) => expression.clone(),
    };
    format!("pg_catalog.set_config('{name}', {value}, true)")
}

/// The names that a trigger, a default or an expression of the user finds: those of the role, as in `psql`, and those of the
/// mirror table's schema. `pg_catalog` comes before all of them by itself, where tables are not made, unless the role's own
/// path has it elsewhere: then it is put first, for the statements of this crate need it there.
fn search_path(schema: &str) -> String {
    let mirror = Identifier::parse(schema).map(|schema| Literal(&schema.to_string()).to_string());
    format!(
        "pg_catalog.concat_ws(', ', \
         case when 'pg_catalog' = any (pg_catalog.current_schemas(false)) then 'pg_catalog' end, \
         nullif(pg_catalog.current_setting('search_path'), ''), {})",
        mirror.unwrap_or_else(|_| "null".into())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_noticed() {
        for (wanted, holds, met) in [
            (Wanted::Is("off"), "off", true),
            (Wanted::Is("off"), "on", false),
            (Wanted::Milliseconds(30_000), "30s", true),
            (Wanted::Milliseconds(30_000), "0", false),
            (Wanted::Computed(String::new()), "\"$user\", public, \"shop\"", true),
            (Wanted::Computed(String::new()), "", false),
        ] {
            assert_eq!(wanted.is_met_by(holds), met, "{wanted:?} {holds}");
        }
    }
}
