//! What an error of Postgres means: one function over SQLSTATE, and the words for the person who reads it.

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;
use tailwater_model::{Failure, Rejected, Trouble, TroubleKind};

use crate::session::SqlFault;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// It may pass: open the lane again.
    Reopen,
    /// It may pass, or a row is at fault: open the lane again, and find the row when it comes again and again.
    Suspect,
    /// It may pass, or it is too much at once: open the lane again, and write less at once when it comes again and again.
    Shrink,
    /// It will not pass: a person is needed.
    Halt,
    /// A row is at fault: find it and put it aside.
    RefuseRow,
}

/// What an error has to do with the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame<'a> {
    /// The values of some row are at fault.
    Row,
    /// Perhaps they are. The SQLSTATE.
    Unknown(&'a str),
    /// Perhaps the rows are too many for one statement. The SQLSTATE.
    Amount(&'a str),
    /// It says nothing of any row.
    NoRow,
}

#[derive(Clone, Copy, Debug)]
struct Meaning {
    recovery: Recovery,
    code: &'static str,
    advice: Option<&'static str>,
}

const fn reopen(code: &'static str) -> Meaning {
    Meaning { recovery: Recovery::Reopen, code, advice: None }
}

const fn halt(code: &'static str, advice: &'static str) -> Meaning {
    Meaning { recovery: Recovery::Halt, code, advice: Some(advice) }
}

/// Whoever sees it cannot know yet whether it passes.
const fn suspect(code: &'static str) -> Meaning {
    let advice = "when it comes again and again, the rows that it is about go to the dead letters";
    Meaning { recovery: Recovery::Suspect, code, advice: Some(advice) }
}

const USERS_CODE_ADVICE: &str = "a trigger or function on the mirror table looks for it: write the name with its schema there, or \
                                 give the role a search_path that has it (alter role … set search_path)";

/// The driver prepares user and password by RFC 4013 (SASLprep), and knows no other way. Connecting gives no other error of this
/// kind.
const SASLPREP_ADVICE: &str = "choose one without control characters (a tab is one), without emoji and other characters that came \
                               after Unicode 3.2, and without left-to-right letters beside right-to-left ones; psql sends what \
                               it cannot prepare as it is, which this driver does not";

const REFUSED_ROW: Meaning = Meaning { recovery: Recovery::RefuseRow, code: "sink.postgres.refused", advice: None };

/// PostgreSQL, appendix A "Error Codes". Single codes come before the classes that they belong to.
fn meaning_of(state: &str) -> Meaning {
    match state {
        "25006" => Meaning {
            advice: Some(
                "the server is a standby or set to read-only; the lane goes on when the URL leads to a primary",
            ),
            ..reopen("sink.postgres.read_only")
        },
        "55P03" => reopen("sink.postgres.lock_timeout"),
        "57014" => Meaning {
            recovery: Recovery::Shrink,
            code: "sink.postgres.statement_timeout",
            advice: Some(
                "when it comes again and again, fewer rows are written at once; where a single row takes so long, look at the \
                 triggers and indexes of the table, or raise statement_timeout",
            ),
        },
        "42501" => halt(
            "sink.postgres.denied",
            "grant the role the right that the message names, and start again; row security must not hide rows of the mirror \
             from it (alter role … bypassrls)",
        ),
        "42P01" | "42703" | "3F000" | "42883" => halt(
            "sink.postgres.object_missing",
            "a schema, table, column or function was dropped or renamed while the pipeline ran: restore it and start again",
        ),
        "3D000" => halt("sink.postgres.database_missing", "create the database or correct the URL"),
        "26000" | "42P05" => halt(
            "sink.postgres.pooler",
            "what stands between changed the server's session within a transaction: use a pooler that gives one to each \
             transaction, or connect to the server itself",
        ),
        // Program limits: an index row that is too large (54000) comes from a key that is too long.
        "54000" => REFUSED_ROW,
        // A check option of a view, and what PL/pgSQL raises in a trigger that a user put on the table: RAISE, SELECT INTO
        // STRICT that finds none or many, ASSERT. It looked at a row and did not like it.
        "44000" | "P0001" | "P0002" | "P0003" | "P0004" => REFUSED_ROW,
        // An object that another session has, a disk with damaged pages, and a server behind a foreign table.
        "55006" => reopen("sink.postgres.object_state"),
        "XX001" | "XX002" => reopen("sink.postgres.server_error"),
        "HV00N" => reopen("sink.postgres.connection"),
        _ => meaning_of_class(state.get(..2).unwrap_or_default()),
    }
}

fn meaning_of_class(class: &str) -> Meaning {
    match class {
        "08" => Meaning {
            advice: Some(
                "a pooler that stands between has to keep one session of the server for a whole transaction, and says more in its log",
            ),
            ..reopen("sink.postgres.connection")
        },
        "22" | "23" => REFUSED_ROW,
        "25" => reopen("sink.postgres.transaction_state"),
        "28" => halt("sink.postgres.login", "correct the user or the password in the URL, or the server's pg_hba.conf"),
        "40" => reopen("sink.postgres.conflict"),
        "42" => halt(
            "sink.postgres.statement",
            "the table is not as it was at the start: compare it with the message, correct it and start again",
        ),
        "53" => reopen("sink.postgres.resources"),
        "55" => suspect("sink.postgres.object_state"),
        "57" => reopen("sink.postgres.unavailable"),
        "58" => reopen("sink.postgres.server_error"),
        "XX" => suspect("sink.postgres.server_error"),
        // Unknown errors are met by what is always safe: nothing was committed by us, so open and look. But whoever writes a
        // trigger chooses its code freely, so what does not pass is about a row.
        _ => suspect("sink.postgres.unknown"),
    }
}

impl SqlFault {
    /// SQLSTATE and primary message of a server's answer.
    fn coded(&self) -> Option<(&str, &str)> {
        match self {
            Self::Coded { state, message } => Some((state, message)),
            _ => self.answer().map(|answer| {
                let is_raised = answer.routine() == Some(RAISE_ROUTINE);
                (answer.code(), if is_raised { RAISED } else { answer.message() })
            }),
        }
    }

    /// Whether the server met it within a function. Beside those it says where it was when it read JSON, and which row it had in
    /// hand when it waited.
    fn is_in_users_code(&self) -> bool {
        let place = self.answer().and_then(PgDatabaseError::r#where);
        place.is_some_and(|place| !["JSON", "while "].iter().any(|of_server| place.starts_with(of_server)))
    }

    fn answer(&self) -> Option<&PgDatabaseError> {
        match self {
            Self::Driver(Error::Database(error)) => error.try_downcast_ref(),
            _ => None,
        }
    }

    fn meaning(&self) -> Meaning {
        match (self.coded(), self) {
            (Some((state, _)), _) => {
                let meaning = meaning_of(state);
                if meaning.code == "sink.postgres.object_missing" && self.is_in_users_code() {
                    return Meaning { advice: Some(USERS_CODE_ADVICE), ..meaning };
                }
                meaning
            }
            (None, Self::Driver(Error::Configuration(_))) => halt("sink.postgres.password", SASLPREP_ADVICE),
            (None, Self::Driver(Error::Protocol(_))) => Meaning {
                advice: Some("what answers there does not speak as PostgreSQL does: check host and port"),
                ..reopen("sink.postgres.connection")
            },
            (None, Self::Driver(Error::Tls(_))) => tls_meaning(),
            (None, Self::Driver(Error::Io(error))) if is_certificate_fault(error) => tls_meaning(),
            (None, Self::Driver(Error::Io(_)) | Self::NoAnswer(_)) => Meaning {
                advice: Some("check the host and the port of the URL, the network, and that the server runs"),
                ..reopen("sink.postgres.connection")
            },
            (None, Self::Swallowed { .. }) => Meaning { code: "sink.postgres.swallowed", ..REFUSED_ROW },
            (None, Self::NotSet(_)) => halt(
                "sink.postgres.settings",
                "what stands between Tailwater and the server must pass `set_config` on: connect to the server itself",
            ),
            (None, Self::Driver(_) | Self::Coded { .. }) => reopen("sink.postgres.unknown"),
        }
    }

    /// What it has to do with the rows of a group.
    pub(crate) fn blame(&self) -> Blame<'_> {
        match (self.meaning().recovery, self.coded()) {
            (Recovery::RefuseRow, _) => Blame::Row,
            (Recovery::Suspect, Some((state, _))) => Blame::Unknown(state),
            (Recovery::Shrink, Some((state, _))) => Blame::Amount(state),
            (Recovery::Suspect | Recovery::Shrink, None) | (Recovery::Reopen | Recovery::Halt, _) => Blame::NoRow,
        }
    }

    /// Its SQLSTATE, where it may come from what the table is and has nothing to do with values: not supported (0A), not in a fit
    /// state (55), broken within the server (XX), foreign (HV). What a trigger raises is about the row that it looked at.
    pub(crate) fn state_beside_values(&self) -> Option<&str> {
        let is_raised = self.answer().is_some_and(|answer| answer.routine() == Some(RAISE_ROUTINE));
        let (state, _) = self.coded().filter(|_| !is_raised && self.meaning().recovery == Recovery::Suspect)?;
        ["0A", "55", "XX", "HV"].iter().any(|class| state.starts_with(class)).then_some(state)
    }

    /// Whether a row of a table of Tailwater's own has a number already that its sequence gave once more.
    pub(crate) fn is_of_sequence_behind(&self) -> bool {
        self.answer().is_some_and(|answer| {
            let numbered = ["dead_letters_pkey", "gaps_pkey"].map(Some).contains(&answer.constraint());
            answer.code() == "23505" && answer.schema() == Some("tailwater") && numbered
        })
    }

    /// The trouble where every row that comes to the table is refused with this.
    pub(crate) fn of_table(&self, table: &str, place: &str) -> Trouble {
        Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.table_refuses",
            format!("the table {table} on Postgres at {place} refuses every row: {}", self.words()),
        )
        .advise("it says nothing of the rows' values: look at the table's rules, triggers, indexes and publications, and start again")
    }

    /// Why a row was refused, without any of its values.
    pub(crate) fn rejected(&self) -> Rejected {
        if let Self::Swallowed { .. } = self {
            let message = "Postgres took the change without an error and left the table as it was: a trigger of the table \
                           answers null or the old row for it";
            return Rejected { code: self.meaning().code, message: message.into() };
        }
        Rejected { code: REFUSED_ROW.code, message: format!("Postgres refused the row: {}", self.words()) }
    }

    /// Whether the message is one that a user wrote, which may quote anything: not what the server itself says, with the
    /// names of what it does not find.
    fn is_raised_by_user(&self) -> bool {
        // What is missing, and what is waited for in vain: the server says these in words of its own, wherever it was.
        const OF_SERVER: [&str; 8] = ["42501", "42P01", "42703", "42883", "3F000", "55P03", "40P01", "57014"];
        let Some(answer) = self.answer() else { return false };
        // What `raise` of PL/pgSQL is in the server; other languages are known by having a place.
        answer.routine() == Some(RAISE_ROUTINE) || self.is_in_users_code() && !OF_SERVER.contains(&answer.code())
    }

    /// What the error says, without values of rows.
    fn words(&self) -> String {
        match (self.coded(), self) {
            (Some((state, message)), _) => {
                let shown =
                    if self.is_raised_by_user() { RAISED.to_owned() } else { message_without_values(state, message) };
                format!("{shown} (SQLSTATE {state})")
            }
            (None, Self::Driver(Error::Io(error))) => error.to_string(),
            (None, Self::Driver(Error::Tls(error))) => format!("TLS: {error}"),
            (None, Self::Driver(Error::Configuration(error))) => {
                // The driver tells the character.
                let what = if error.to_string().contains("username") { "`user`" } else { "`password`" };
                format!("{what} has characters that a login by SCRAM-SHA-256 cannot take here")
            }
            (None, fault) => fault.to_string(),
        }
    }

    /// The trouble for a command that ends with this error.
    pub(crate) fn trouble(&self, doing: &str, place: &str) -> Trouble {
        let meaning = self.meaning();
        let kind =
            if meaning.code == "sink.postgres.password" { TroubleKind::Config } else { TroubleKind::Environment };
        let trouble =
            Trouble::new(kind, meaning.code, format!("{doing} failed on Postgres at {place}: {}", self.words()));
        match meaning.advice {
            Some(advice) => trouble.advise(advice),
            None => trouble,
        }
    }

    /// Whether a table, or the schema of it, is not there.
    pub(crate) fn is_of_missing_table(&self) -> bool {
        self.coded().is_some_and(|(state, _)| matches!(state, "42P01" | "3F000"))
    }

    /// The failure for a lane that meets this error while it runs.
    pub(crate) fn failure(&self, doing: &str, place: &str) -> Failure {
        let trouble = self.trouble(doing, place);
        match self.meaning().recovery {
            Recovery::Reopen | Recovery::Suspect | Recovery::Shrink => Failure::Reopen(trouble),
            // A refused row is met by putting it aside. Where that is impossible, repeating would be endless.
            Recovery::Halt | Recovery::RefuseRow => Failure::Halt(trouble),
        }
    }
}

/// A certificate that is wrong now may be exchanged in a minute: a running lane tries again, a start stops.
fn tls_meaning() -> Meaning {
    Meaning {
        advice: Some(
            "name the authority's certificate with tls.ca_file and use a host name that the server's certificate has; \
             tls.mode = \"insecure-require\" encrypts without verifying, \"insecure-disable\" uses no TLS",
        ),
        ..reopen("sink.postgres.tls")
    }
}

/// rustls tells a refused certificate as an I/O error.
fn is_certificate_fault(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && error.to_string().contains("certificate")
}

/// Where PL/pgSQL's RAISE reports from, with whatever SQLSTATE and message its author wrote (PostgreSQL, `pl_exec.c`).
const RAISE_ROUTINE: &str = "exec_stmt_raise";
/// In place of a message that a user wrote.
const RAISED: &str = "an exception raised by a trigger or function";

/// The primary message of the server. Never its detail, hint or context, which quote rows. Messages about data quote
/// values themselves, after a colon or in quotation marks, and a trigger's message can hold anything.
fn message_without_values(state: &str, message: &str) -> String {
    match state.get(..2) {
        Some("22") => {
            let end = message.find([':', '"', '\'', '«', '„', '“']).unwrap_or(message.len());
            message.get(..end).unwrap_or_default().trim_end().to_owned()
        }
        // PL/pgSQL, and functions in other languages: their messages are their authors'.
        Some("P0" | "38" | "39") => RAISED.to_owned(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_states_have_their_recovery() {
        use Recovery::{Halt, RefuseRow, Reopen, Shrink, Suspect};
        for (states, recovery) in [
            ("40001 40P01 08006 08P01 57P01 57P02 57P03 25006 53100 53200 53300 55P03", Reopen),
            ("25P02 25P03 55006 58030 XX001 HV00N", Reopen),
            ("XX000 0A000 09000 21000 38000 54001 55000 P0000 HV000 MY001 nonsense", Suspect),
            ("57014", Shrink),
            ("42501 42P01 42703 42P10 42804 3F000 3D000 28P01 28000 26000", Halt),
            ("22021 22P05 22P02 22003 54000 23505 23514 23503 44000 P0001 P0002 P0003 P0004", RefuseRow),
        ] {
            for state in states.split(' ') {
                assert_eq!(meaning_of(state).recovery, recovery, "{state}");
            }
        }
    }

    #[test]
    fn a_coded_answer_is_sorted_by_its_state_and_quotes_no_value() {
        let fault = |state: &str, message: &str| SqlFault::Coded { state: state.into(), message: message.into() };
        assert!(matches!(fault("40P01", "deadlock detected").failure("a", "b"), Failure::Reopen(_)));
        assert!(matches!(fault("42501", "permission denied").failure("a", "b"), Failure::Halt(_)));
        let refused = fault("22P02", "invalid input syntax: \"hunter2\"");
        assert!(refused.blame() == Blame::Row && !refused.rejected().message.contains("hunter2"));
    }

    #[test]
    fn every_halt_says_what_to_do() {
        for state in ["42501", "42P01", "3F000", "3D000", "28P01", "42804", "26000"] {
            assert!(meaning_of(state).advice.is_some(), "{state}");
        }
    }
}
