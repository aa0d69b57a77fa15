//! Rules about the lines of a file, whatever is in it.

use std::path::Path;

use super::{Finding, Severity};

/// Past this many lines a `.rs` file is told to be split.
const FILE_LINES_WARN: usize = 400;
/// The most lines that a `.rs` file may have.
const FILE_LINES_MAX: usize = 600;

/// What unfinished work looks like, taken apart so that this file does not find itself.
const UNFINISHED: &[&str] =
    &[concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
/// What the paths of a developer's machine start with, taken apart likewise.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Holds one file's lines to the rules that go with its kind.
pub(super) fn check(path: &Path, content: &str) -> Vec<Finding> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let mut findings = Vec::new();
    if extension == "rs" {
        check_size(path, content, &mut findings);
        if !content.starts_with("//!") {
            let to_do = "start the file with a `//!` line that says what it is for";
            findings.push(Finding::error(path, 1, "the module has no doc comment at its start", to_do));
        }
    }
    // Not `lines()`, which would hide a carriage return.
    for (index, line) in content.split('\n').enumerate() {
        let number = index + 1;
        if matches!(extension, "rs" | "toml" | "md") {
            if line.contains('\t') {
                findings.push(Finding::error(path, number, "a tab", "indent with spaces"));
            }
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(Finding::error(path, number, "white space at the line's end", "remove it"));
            }
        }
        if extension == "rs" {
            for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
                let to_do = "finish it, or leave it out and say so in the project's tracker";
                findings.push(Finding::error(path, number, format!("`{word}` marks unfinished work"), to_do));
            }
        }
        for start in MACHINE_PATHS.iter().filter(|start| holds_path(line, start)) {
            let to_do = "write it relative to the checkout, or find it at run time";
            findings.push(Finding::error(path, number, format!("a path of one machine ({start}...)"), to_do));
        }
    }
    findings
}

fn check_size(path: &Path, content: &str, findings: &mut Vec<Finding>) {
    let lines = content.lines().count();
    if lines > FILE_LINES_WARN {
        let severity = if lines > FILE_LINES_MAX { Severity::Error } else { Severity::Warning };
        let limit = if lines > FILE_LINES_MAX { FILE_LINES_MAX } else { FILE_LINES_WARN };
        let what = format!("the file has {lines} lines of at most {limit}");
        findings.push(Finding { severity, ..Finding::error(path, 1, what, "split it along a seam that has a name") });
    }
}

/// Whether an absolute path with this start is in the line; `docs/work/` and an address's path are none.
fn holds_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~' | '*' | '>'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, content: &str) -> Vec<String> {
        check(Path::new(name), content).iter().map(ToString::to_string).collect()
    }

    fn only(name: &str, content: &str, wanted: &str) {
        let found = findings(name, content);
        assert!(found.len() == 1 && found[0].contains(wanted), "{found:?}");
    }

    #[test]
    fn a_good_file_has_no_findings() {
        assert!(findings("a.rs", "//! What it is.\n\nfn a() {}\n").is_empty());
    }

    #[test]
    fn sizes() {
        let lines = |count: usize| format!("//! Doc.\n{}", "\n".repeat(count - 1));
        assert!(findings("a.rs", &lines(400)).is_empty());
        only("a.rs", &lines(401), "a.rs:1: warning: the file has 401 lines of at most 400");
        only("a.rs", &lines(601), "a.rs:1: the file has 601 lines of at most 600");
        assert!(findings("a.md", &lines(601)).is_empty());
    }

    #[test]
    fn module_docs() {
        only("tests/a.rs", "fn a() {}\n", "a.rs:1: the module has no doc comment");
        only("a.rs", "", "the module has no doc comment");
    }

    #[test]
    fn white_space() {
        only("a.rs", "//! Doc.\nfn a() {} \n", "a.rs:2: white space");
        only("a.toml", "a = 1\n\tb = 2\n", "a.toml:2: a tab");
        only("a.md", "one\r\n", "white space");
        assert!(findings("Makefile", "a:\n\tb\n").is_empty());
    }

    #[test]
    fn unfinished_work() {
        for word in UNFINISHED {
            only("a.rs", &format!("//! Doc.\n    {word}\n"), "a.rs:2: `");
        }
    }

    #[test]
    fn paths_of_one_machine() {
        for start in MACHINE_PATHS {
            only("a.txt", &format!("see {start}somebody\n"), "a.txt:1: a path of one machine");
            only("a.txt", &format!("{start}somebody\n"), "a path of one machine");
            assert!(findings("a.txt", &format!("https://example.com{start}\n")).is_empty());
        }
    }
}
