//! `cargo x tidy`: the rules of the house that neither the compiler nor clippy holds.

mod codes;
mod edges;
mod source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, workspace};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Severity {
    /// Told, and let pass.
    Warning,
    /// Fails the command.
    Error,
}

/// One broken rule at one place.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    severity: Severity,
    /// Relative to the workspace's root.
    path: PathBuf,
    /// From 1; 1 for what concerns the whole file.
    line: usize,
    what: String,
    to_do: String,
}

impl Finding {
    fn error(path: &Path, line: usize, what: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: path.to_owned(), line, what: what.into(), to_do: to_do.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{}:{}: {word}{}: {}", self.path.display(), self.line, self.what, self.to_do)
    }
}

/// Checks the whole checkout, prints what it finds, and fails when one finding is an error.
pub fn run() -> Result<()> {
    let findings = check_checkout(&workspace::root())?;
    for finding in &findings {
        tell!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        bail!("{errors} rules are broken: each line above says what to do");
    }
    tell!("tidy: {} warnings, no errors", findings.len());
    Ok(())
}

fn check_checkout(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = edges::check(root)?;
    for path in files_of_the_checkout(root)? {
        let full_path = root.join(&path);
        if !full_path.is_file() {
            continue; // deleted, and the deletion is not committed yet
        }
        let bytes = std::fs::read(&full_path).with_context(|| format!("cannot read {}", full_path.display()))?;
        // What is not text (an image, a page with broken bytes) has no lines to hold rules against.
        let Ok(content) = String::from_utf8(bytes) else { continue };
        findings.extend(text::check(&path, &content));
        if path.extension().is_some_and(|extension| extension == "rs") {
            findings.extend(source::check(&path, &content));
            findings.extend(codes::check(&path, &content));
        }
    }
    Ok(findings)
}

/// The files that git knows or would add, relative to the root; what it ignores is not ours to hold rules against.
fn files_of_the_checkout(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names =
        command::run_quietly(&mut git).context("tidy asks git for the list of files: run it in a git checkout")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        let findings = check_checkout(&workspace::root()).expect("the checkout can be read");
        let errors: Vec<String> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| format!("{finding}\n"))
            .collect();
        assert!(errors.is_empty(), "\n{}", errors.concat());
    }

    #[test]
    fn a_finding_reads_as_place_what_and_what_to_do() {
        let finding = Finding::error(Path::new("a/b.rs"), 7, "it is wrong", "make it right");
        assert_eq!(finding.to_string(), "a/b.rs:7: it is wrong: make it right");
    }
}
