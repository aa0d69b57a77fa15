//! A failure as lines of the log, where these are JSON. Written whatever the filter of the log lets through.

use jiff::Timestamp;
use serde_json::{Value, json};
use tailwater_model::Trouble;

use super::{CommandFailure, Finding, Severity, kind_name};
use crate::clock::now_ms;

/// One line for each trouble or finding.
pub(super) fn of(failure: &CommandFailure) -> String {
    let time = Timestamp::from_millisecond(now_ms()).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    let lines: Vec<Value> = match failure {
        CommandFailure::Forced(_) | CommandFailure::Told(_) => Vec::new(),
        CommandFailure::Faults(findings) => findings.iter().map(|finding| of_finding(&time, finding)).collect(),
        CommandFailure::Troubles(troubles) => {
            troubles.iter().map(|(pipeline, trouble)| of_trouble(&time, pipeline.as_deref(), trouble)).collect()
        }
    };
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn of_trouble(time: &str, pipeline: Option<&str>, trouble: &Trouble) -> Value {
    json!({
        "timestamp": time,
        "level": "ERROR",
        "message": trouble.message,
        "pipeline": pipeline,
        "kind": kind_name(trouble.kind),
        "code": trouble.code,
        "suggestion": trouble.advice,
    })
}

fn of_finding(time: &str, finding: &Finding) -> Value {
    json!({
        "timestamp": time,
        "level": if finding.severity == Severity::Fault { "ERROR" } else { "WARN" },
        "message": finding.message,
        "code": finding.code,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "suggestion": finding.suggestion,
    })
}

#[cfg(test)]
mod tests {
    use tailwater_model::TroubleKind;

    use super::*;

    #[test]
    fn every_line_is_an_object() {
        let trouble = Trouble::new(TroubleKind::Environment, "a.b", "two\nlines").advise("do");
        let finding = Finding::of_file("c.d", "x.toml", "wrong", None);
        let failures = [
            CommandFailure::Troubles(vec![(Some("orders".into()), trouble.clone()), (None, trouble)]),
            CommandFailure::Faults(vec![finding]),
        ];
        let text: String = failures.iter().map(of).collect();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["pipeline"], &lines[0]["kind"]), (&json!("orders"), &json!("environment")));
        assert_eq!((&lines[1]["message"], &lines[1]["suggestion"]), (&json!("two\nlines"), &json!("do")));
        assert_eq!((&lines[2]["level"], &lines[2]["file"]), (&json!("ERROR"), &json!("x.toml")));
    }
}
