//! Whether the reader is a terminal that takes glyphs and colours.

use crate::output::Severity;

/// How findings look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    rich: bool,
}

impl Style {
    /// Words instead of glyphs, no colour.
    #[cfg(test)]
    pub const PLAIN: Self = Self { rich: false };

    /// Glyphs and colours on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
    pub fn of(terminal: bool) -> Self {
        Self { rich: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// Stands before a finding.
    pub fn mark(self, severity: Severity) -> &'static str {
        match (severity, self.rich) {
            (Severity::Fine, true) => "\u{1b}[32m✓\u{1b}[0m",
            (Severity::Warning, true) => "\u{1b}[33m⚠\u{1b}[0m",
            (Severity::Fault, true) => "\u{1b}[31m✗\u{1b}[0m",
            (Severity::Fine, false) => "[OK]",
            (Severity::Warning, false) => "[WARN]",
            (Severity::Fault, false) => "[FAIL]",
        }
    }
}
