//! Collects the findings of one file and knows where in the file they are.

use std::ops::Range;

use crate::configuration::interpolation::Surroundings;
use crate::output::{Finding, Severity};

/// Findings of one pipeline file, with what is needed to place and to resolve its values.
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// What references in values are resolved against.
    pub surroundings: &'a Surroundings<'a>,
    findings: Vec<Finding>,
    /// Paths of values that hold a stand-in.
    stood_in: Vec<String>,
}

/// Where a finding belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the key.
    pub path: String,
    /// Bytes in the file.
    pub span: Range<usize>,
}

impl<'a> Report<'a> {
    /// Nothing found yet.
    pub fn new(file: &'a str, text: &'a str, surroundings: &'a Surroundings<'a>) -> Self {
        Self { file, text, surroundings, findings: Vec::new(), stood_in: Vec::new() }
    }

    /// Adds what must be changed.
    pub fn fault(&mut self, place: &Place, code: &'static str, message: impl Into<String>, suggestion: Option<String>) {
        self.push(Severity::Fault, place, code, message.into(), suggestion);
    }

    /// Adds what should be changed.
    pub fn warn(&mut self, place: &Place, code: &'static str, message: impl Into<String>, suggestion: Option<String>) {
        self.push(Severity::Warning, place, code, message.into(), suggestion);
    }

    /// Notes that a value holds a stand-in: from here on nothing is found about it.
    pub fn stands_in(&mut self, place: &Place) {
        let message = "not looked at: what it refers to is not here";
        self.push(Severity::Fine, place, "config.stood_in", message.into(), None);
        self.stood_in.push(place.path.clone());
    }

    fn push(
        &mut self,
        severity: Severity,
        place: &Place,
        code: &'static str,
        message: String,
        suggestion: Option<String>,
    ) {
        if self.stood_in.contains(&place.path) {
            return;
        }
        let (line, column) = line_and_column(self.text, place.span.start);
        self.findings.push(Finding {
            severity,
            code,
            message,
            file: self.file.to_owned(),
            line: Some(line),
            column: Some(column),
            path: (!place.path.is_empty()).then(|| place.path.clone()),
            suggestion,
        });
    }

    /// Whether anything must be changed.
    pub fn has_faults(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }

    /// The findings in the order of the file.
    pub fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        self.findings
    }
}

/// Line and column of a byte, both from 1; columns count characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        for (at, place) in [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (2, 2)), (99, (2, 4))] {
            assert_eq!(line_and_column("ab\nä¢x", at), place, "{at}");
        }
    }
}
