//! What people and scripts read: findings and troubles in one style, and the JSON envelope.
//!
//! Answers go to stdout, logs and failures to stderr. With `--json` stdout holds exactly one JSON object. Nothing here
//! ever shows a line of a pipeline file: it might hold a secret.

mod finding;
mod style;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use tailwater_model::{Trouble, TroubleKind};

use crate::logging::Log;

pub use self::finding::{Finding, Severity, Summary, push_report};
pub use self::style::Style;

/// Why a command did not succeed.
pub enum CommandFailure {
    /// Troubles by the name of their pipeline, where there is one. At least one.
    Troubles(Vec<(Option<String>, Trouble)>),
    /// Pipeline files with faults.
    Faults(Vec<Finding>),
    /// The answer itself, which was given already, says what is wrong.
    Told(TroubleKind),
    /// A second signal: 128 plus its number.
    Forced(u8),
}

impl From<Trouble> for CommandFailure {
    fn from(trouble: Trouble) -> Self {
        Self::Troubles(vec![(None, trouble)])
    }
}

/// The one JSON object that a command with `--json` prints.
#[derive(Serialize)]
struct Envelope<'a, T> {
    command: &'a str,
    ok: bool,
    summary: String,
    result: Option<T>,
    error: Option<TroubleJson<'a>>,
}

#[derive(Serialize)]
struct TroubleJson<'a> {
    kind: &'static str,
    code: &'a str,
    pipeline: Option<&'a str>,
    message: &'a str,
    suggestion: Option<&'a str>,
}

/// Writes a line to stdout. A reader that went away is no fault of ours.
pub fn answer(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes the envelope with the answer of a command to stdout.
pub fn answer_json(command: &str, ok: bool, summary: String, result: &impl Serialize) {
    print_envelope(&Envelope { command, ok, summary, result: Some(result), error: None });
}

/// Tells why a command failed and gives the exit code for it.
pub fn report_failure(command: &str, json: bool, failure: &CommandFailure, log: &Log) -> ExitCode {
    match failure {
        CommandFailure::Forced(_) | CommandFailure::Told(_) => {}
        CommandFailure::Faults(findings) if json => {
            answer_json(command, false, Summary::of(findings, 0).to_string(), &FindingsJson { findings });
        }
        CommandFailure::Faults(findings) => {
            let style = Style::of(std::io::stderr().is_terminal());
            let mut text = String::new();
            push_report(findings, &Summary::of(findings, 0), style, &mut text);
            log.say(&text);
        }
        CommandFailure::Troubles(troubles) if json => {
            // The one that decides the exit code.
            let gravest = troubles.iter().max_by_key(|(_, trouble)| trouble.kind);
            let Some((pipeline, trouble)) = gravest else { return ExitCode::FAILURE };
            print_envelope(&Envelope::<()> {
                command,
                ok: false,
                summary: "failed".into(),
                result: None,
                error: Some(TroubleJson {
                    kind: kind_name(trouble.kind),
                    code: trouble.code,
                    pipeline: pipeline.as_deref(),
                    message: &trouble.message,
                    suggestion: trouble.advice.as_deref(),
                }),
            });
        }
        CommandFailure::Troubles(troubles) => {
            let style = Style::of(std::io::stderr().is_terminal());
            let mut text = String::new();
            for (pipeline, trouble) in troubles {
                push_trouble(pipeline.as_deref(), trouble, style, &mut text);
            }
            log.say(&text);
        }
    }
    ExitCode::from(exit_code(failure))
}

/// What `validate --json` gives as its result.
#[derive(Serialize)]
pub struct FindingsJson<'a> {
    /// All findings.
    pub findings: &'a [Finding],
}

fn print_envelope<T: Serialize>(envelope: &Envelope<'_, T>) {
    if let Ok(text) = serde_json::to_string_pretty(envelope) {
        answer(&text);
    }
}

fn push_trouble(pipeline: Option<&str>, trouble: &Trouble, style: Style, out: &mut String) {
    finding::push_entry(
        &finding::Entry {
            severity: Severity::Fault,
            code: trouble.code,
            place: pipeline.unwrap_or_default(),
            message: &trouble.message,
            suggestion: trouble.advice.as_deref(),
        },
        style,
        out,
    );
}

/// The exit code: the gravest kind decides.
fn exit_code(failure: &CommandFailure) -> u8 {
    match failure {
        CommandFailure::Forced(code) => *code,
        CommandFailure::Told(kind) => kind_code(*kind),
        CommandFailure::Faults(_) => kind_code(TroubleKind::Config),
        CommandFailure::Troubles(troubles) => {
            let kinds = troubles.iter().map(|(_, trouble)| trouble.kind);
            kind_code(kinds.max().unwrap_or(TroubleKind::Runtime))
        }
    }
}

fn kind_code(kind: TroubleKind) -> u8 {
    match kind {
        TroubleKind::Runtime | TroubleKind::Replaced | TroubleKind::ClaimLost => 1,
        TroubleKind::Config => 2,
        TroubleKind::Environment => 3,
        TroubleKind::DataAtRisk => 4,
        TroubleKind::StreamEnded => 5,
    }
}

fn kind_name(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Runtime => "runtime",
        TroubleKind::Replaced => "replaced",
        TroubleKind::ClaimLost => "claim_lost",
        TroubleKind::Config => "config",
        TroubleKind::Environment => "environment",
        TroubleKind::DataAtRisk => "data_at_risk",
        TroubleKind::StreamEnded => "stream_ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_reads_like_a_finding() {
        let trouble = Trouble::new(TroubleKind::Environment, "aws.access_denied", "GetRecords was denied\ncaller: me")
            .advise("attach the policy");
        let mut text = String::new();
        push_trouble(Some("orders"), &trouble, Style::PLAIN, &mut text);
        assert_eq!(
            text,
            "[FAIL] aws.access_denied  orders\n  GetRecords was denied\n  caller: me\n  → attach the policy\n"
        );
    }

    #[test]
    fn the_gravest_trouble_decides_the_exit_code() {
        let troubles = |kinds: &[TroubleKind]| {
            CommandFailure::Troubles(kinds.iter().map(|kind| (None, Trouble::new(*kind, "a.b", "c"))).collect())
        };
        use TroubleKind::{Config, DataAtRisk, Environment, Runtime, StreamEnded};
        for (kinds, code) in [
            (vec![Runtime], 1),
            (vec![Config], 2),
            (vec![Environment], 3),
            (vec![Environment, DataAtRisk, Runtime], 4),
            (vec![Environment, Runtime], 1),
            (vec![Config, Environment], 3),
            (vec![StreamEnded], 5),
            (vec![StreamEnded, DataAtRisk], 4),
            (vec![Environment, StreamEnded], 3),
        ] {
            assert_eq!(exit_code(&troubles(&kinds)), code, "{kinds:?}");
        }
    }
}
