//! A finding: one thing that a check has to say, and how a list of them is printed.

use std::fmt;

use serde::Serialize;

use crate::output::{Style, printable};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Checked and fine.
    Fine,
    /// Works, but should be changed.
    Warning,
    /// Must be changed.
    Fault,
}

/// One thing that a check has to say. Holds no text of the file but names of keys that look like keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable dotted code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file, as it was named on the command line.
    pub file: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Path of the key, for example `source.poll.interval_min`.
    pub path: Option<String>,
    /// What to do.
    pub suggestion: Option<String>,
}

impl Finding {
    /// A fault of a file as a whole.
    pub fn of_file(code: &'static str, file: &str, message: impl Into<String>, suggestion: Option<String>) -> Self {
        Self {
            severity: Severity::Fault,
            code,
            message: message.into(),
            file: file.to_owned(),
            line: None,
            column: None,
            path: None,
            suggestion,
        }
    }
}

/// Counts for the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    passed: usize,
    warnings: usize,
    failed: usize,
}

impl Summary {
    /// Counts the findings; `passed` is how many files are fine.
    pub fn of(findings: &[Finding], passed: usize) -> Self {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        Self { passed, warnings: count(Severity::Warning), failed: count(Severity::Fault) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.warnings == 1 { "" } else { "s" };
        write!(out, "{} passed · {} warning{plural} · {} failed", self.passed, self.warnings, self.failed)
    }
}

/// What one finding or trouble prints.
pub(super) struct Entry<'a> {
    pub(super) severity: Severity,
    pub(super) code: &'a str,
    pub(super) place: &'a str,
    pub(super) message: &'a str,
    pub(super) suggestion: Option<&'a str>,
}

/// Appends an entry: the mark with code and place, the message, the suggestion.
pub(super) fn push_entry(entry: &Entry<'_>, style: Style, out: &mut String) {
    out.push_str(style.mark(entry.severity));
    for part in [entry.code, entry.place].into_iter().filter(|part| !part.is_empty()) {
        out.push_str(if part == entry.code { " " } else { "  " });
        out.push_str(&printable(part));
    }
    out.push('\n');
    let suggestion = entry.suggestion.map(|text| format!("→ {text}"));
    for line in entry.message.lines().chain(suggestion.iter().flat_map(|text| text.lines())) {
        out.push_str("  ");
        out.push_str(&printable(line));
        out.push('\n');
    }
}

/// Appends all findings, a summary and what to do next.
pub fn push_report(findings: &[Finding], summary: &Summary, style: Style, out: &mut String) {
    for finding in findings {
        let position = match (finding.line, finding.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", finding.file),
            _ => finding.file.clone(),
        };
        let place = match &finding.path {
            Some(path) => format!("{position}  {path}"),
            None => position,
        };
        let Finding { severity, code, message, suggestion, .. } = finding;
        let entry = Entry { severity: *severity, code, place: &place, message, suggestion: suggestion.as_deref() };
        push_entry(&entry, style, out);
    }
    out.push_str(&format!("Summary: {summary}\n"));
    out.push_str(match (summary.failed, summary.warnings) {
        (0, 0) => "Ready to run.\n",
        (0, _) => "Ready to run; look at the warnings.\n",
        _ => "Correct the file and validate again.\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_place_message_suggestion_and_summary() {
        let finding = Finding {
            severity: Severity::Fault,
            code: "config.unknown_key",
            message: "not a key of [source]".into(),
            file: "a\u{1b}[31m.toml".into(),
            line: Some(14),
            column: Some(1),
            path: Some("source.pol_interval".into()),
            suggestion: Some("did you mean `poll`?".into()),
        };
        let warning = Finding { severity: Severity::Warning, ..Finding::of_file("a.b", "b.toml", "hm", None) };
        let findings = [finding, warning];
        let mut out = String::new();
        push_report(&findings, &Summary::of(&findings, 2), Style::PLAIN, &mut out);
        assert_eq!(
            out,
            "[FAIL] config.unknown_key  a\\u{1b}[31m.toml:14:1  source.pol_interval\n  not a key of [source]\n  \
             → did you mean `poll`?\n[WARN] a.b  b.toml\n  hm\nSummary: 2 passed · 1 warning · 1 failed\n\
             Correct the file and validate again.\n"
        );
    }
}
