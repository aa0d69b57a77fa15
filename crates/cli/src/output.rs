//! What people and scripts read: findings and troubles in one style, and the JSON envelope.
//!
//! Answers go to stdout, logs and failures to stderr. With `--json` stdout holds exactly one JSON object. Nothing here
//! ever shows a line of a pipeline file: it might hold a secret.

mod finding;
mod json_lines;
mod style;
mod terminal;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use tailwater_model::{Trouble, TroubleKind};

use crate::arguments::LogFormat;
use crate::logging::Log;

pub use self::finding::{Finding, Severity, Summary, push_report};
pub use self::style::Style;
pub use self::terminal::printable;

/// Code of the trouble that means: nobody reads the output any more.
const READER_GONE: &str = "output.reader_gone";

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

impl CommandFailure {
    /// Whoever read stdout has seen enough: no fault of ours, and nobody to tell it to.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Troubles(troubles) if troubles.iter().all(|(_, trouble)| trouble.code == READER_GONE))
    }
}

/// How failures are told.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// The command's name in the JSON envelope.
    pub command: &'static str,
    /// Stdout is for a program to read.
    pub json: bool,
    /// Lines on stderr are for a program to read.
    pub log_format: LogFormat,
}

/// Writes lines to stdout, without what could steer a terminal.
///
/// # Errors
/// They could not be written. That the reader is gone ends a command without a word.
pub fn answer(text: &str) -> Result<(), Trouble> {
    answer_styled(&terminal::printable_lines(text))
}

/// The same for text with colours, of which what comes from outside was made [`printable`] before.
///
/// # Errors
/// As [`answer`].
pub fn answer_styled(text: &str) -> Result<(), Trouble> {
    write_whole(&mut io::stdout().lock(), &format!("{text}\n"))
}

/// How many columns the terminal has that stdout leads to; nothing where it leads elsewhere.
pub fn columns() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.into())
}

/// In one piece: whoever reads the first line may leave after it.
fn write_whole(out: &mut impl Write, text: &str) -> Result<(), Trouble> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|fault| match fault.kind() {
        ErrorKind::BrokenPipe => {
            Trouble::new(TroubleKind::Runtime, READER_GONE, "the program that read the output has ended")
        }
        _ => Trouble::new(TroubleKind::Environment, "output.write", format!("the output cannot be written: {fault}"))
            .advise("see that what the standard output leads to has room and can be written to"),
    })
}

/// Writes the envelope with the answer of a command to stdout.
///
/// # Errors
/// As [`answer`].
pub fn answer_json(command: &str, ok: bool, summary: String, result: &impl Serialize) -> Result<(), Trouble> {
    print_envelope(&Envelope { command, ok, summary, result: Some(result), error: None })
}

/// Tells why a command failed and gives the exit code for it.
pub fn report_failure(telling: Telling, failure: &CommandFailure, log: &Log) -> ExitCode {
    if failure.is_reader_gone() {
        return ExitCode::SUCCESS;
    }
    let is_told = telling.json && tell_on_stdout(telling.command, failure).is_ok();
    if !is_told {
        let text = match telling.log_format {
            LogFormat::Json => json_lines::of(failure),
            LogFormat::Auto | LogFormat::Pretty => text_of(failure),
        };
        log.say(&text);
    }
    ExitCode::from(exit_code(failure))
}

/// The envelope of a failure, where it has one.
fn tell_on_stdout(command: &str, failure: &CommandFailure) -> Result<(), Trouble> {
    match failure {
        CommandFailure::Forced(_) | CommandFailure::Told(_) => Ok(()),
        CommandFailure::Faults(findings) => {
            answer_json(command, false, Summary::of(findings, 0).to_string(), &FindingsJson { findings })
        }
        CommandFailure::Troubles(troubles) => {
            // The one that decides the exit code.
            let Some((pipeline, trouble)) = troubles.iter().max_by_key(|(_, trouble)| trouble.kind) else {
                return Ok(());
            };
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
            })
        }
    }
}

/// A failure for people.
fn text_of(failure: &CommandFailure) -> String {
    let style = Style::of(io::stderr().is_terminal());
    let mut text = String::new();
    match failure {
        CommandFailure::Forced(_) | CommandFailure::Told(_) => {}
        CommandFailure::Faults(findings) => push_report(findings, &Summary::of(findings, 0), style, &mut text),
        CommandFailure::Troubles(troubles) => {
            for (pipeline, trouble) in troubles {
                push_trouble(pipeline.as_deref(), trouble, style, &mut text);
            }
        }
    }
    text
}

/// What `validate --json` gives as its result.
#[derive(Serialize)]
pub struct FindingsJson<'a> {
    /// All findings.
    pub findings: &'a [Finding],
}

fn print_envelope<T: Serialize>(envelope: &Envelope<'_, T>) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(envelope).map_err(|fault| {
        Trouble::new(TroubleKind::Runtime, "output.encode", format!("the answer cannot be written as JSON: {fault}"))
    })?;
    answer_styled(&terminal::printable_json(&text))
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

    /// Takes nothing more.
    struct Full(ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_a_failure_unless_its_reader_is_gone() {
        for (fault, is_gone, code) in [(ErrorKind::StorageFull, false, 3), (ErrorKind::BrokenPipe, true, 1)] {
            let trouble = write_whole(&mut Full(fault), "x").expect_err("nothing is taken");
            let failure = CommandFailure::from(trouble);
            assert_eq!((failure.is_reader_gone(), exit_code(&failure)), (is_gone, code));
        }
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
