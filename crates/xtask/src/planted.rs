//! `cargo x planted`: proof that the worlds can find bugs. Each known bug is a patch; it is planted into a copy of the
//! checkout, and the worlds are run until one of them fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, workspace};

/// Where the patches are. The first line of each says in words what it breaks, the second may name the one profile of
/// worlds that meets it (`profile: kafka`); the name is the bug's.
const PATCHES: &str = "crates/simulation/planted";
/// What stands before the profile of a bug.
const PROFILE_MARK: &str = "profile: ";
/// What the program of the worlds prints before the number of seeds that a hunt took, in the middle of several hunts.
const FOUND_MARK: &str = "median seeds to find: ";

/// One planted bug.
struct Planted {
    name: String,
    words: String,
    /// The worlds that meet it; else all.
    profile: Option<String>,
    patch: PathBuf,
}

/// Plants the named bugs (all, if none is named) one after the other, and prints a table: bug, seeds until it was found.
/// Fails when one was not found.
pub fn run(names: &[String]) -> Result<()> {
    let bugs = bugs(names)?;
    let copy = copy_checkout()?;
    let mut rows = Vec::new();
    for bug in &bugs {
        tell!("\n=== {}: {}", bug.name, bug.words);
        apply(&copy, &bug.patch, false)?;
        let found = hunt(&copy, bug);
        // Also after a failure: the next bug is planted alone.
        apply(&copy, &bug.patch, true)?;
        rows.push((bug, found?));
    }
    tell!("\n| bug | what is broken | median seeds to find |\n|---|---|---|");
    for (Planted { name, words, .. }, found) in &rows {
        tell!("| {name} | {words} | {} |", found.as_deref().unwrap_or("not found"));
    }
    let missed = rows.iter().filter(|(_, found)| found.is_none()).count();
    ensure!(missed == 0, "{missed} of {} planted bugs were not found: the worlds are too weak for them", rows.len());
    Ok(())
}

fn bugs(names: &[String]) -> Result<Vec<Planted>> {
    let folder = workspace::root().join(PATCHES);
    let mut bugs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let patch = entry?.path();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&patch).with_context(|| format!("cannot read {}", patch.display()))?;
        let mut lines = text.lines();
        let words = lines.next().unwrap_or_default().to_owned();
        let profile = lines.next().and_then(|line| line.strip_prefix(PROFILE_MARK)).map(str::to_owned);
        bugs.push(Planted { name, words, profile, patch });
    }
    bugs.sort_by(|left, right| left.name.cmp(&right.name));
    if let Some(unknown) = names.iter().find(|name| bugs.iter().all(|bug| bug.name != **name)) {
        bail!("there is no planted bug {unknown:?}: look into {PATCHES}");
    }
    bugs.retain(|bug| names.is_empty() || names.contains(&bug.name));
    Ok(bugs)
}

/// A copy of everything that git knows or would know, as it is now. Times are kept, so that cargo builds only what a patch
/// touches.
fn copy_checkout() -> Result<PathBuf> {
    let root = workspace::root();
    let copy = root.join("target").join("planted");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = command::run_quietly(Command::new("git").args(listing).current_dir(&root))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root.join(file), copy.join(file));
        // Deleted and not committed yet.
        let Ok(metadata) = fs::metadata(&from) else { continue };
        fs::create_dir_all(to.parent().unwrap_or(&copy))?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::File::options().write(true).open(&to)?.set_modified(metadata.modified()?)?;
    }
    Ok(copy)
}

fn apply(copy: &Path, patch: &Path, reverse: bool) -> Result<()> {
    let mut git = Command::new("git");
    // The copy lies inside the checkout and is not to be taken for a part of it.
    git.current_dir(copy).env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy)).arg("apply");
    if reverse {
        git.arg("--reverse");
    }
    let fitted = command::run_quietly(git.arg(patch));
    fitted.map(drop).with_context(|| format!("{} does not fit the code any more: write it anew", patch.display()))
}

/// Builds the worlds over the planted bug and lets them hunt it; nothing when they did not find it.
fn hunt(copy: &Path, bug: &Planted) -> Result<Option<String>> {
    let target = workspace::root().join("target");
    let program =
        ["run", "--release", "--quiet", "-p", "tailwater-simulation", "--features", "worlds", "--bin", "worlds"];
    let mut cargo = command::cargo();
    // What no patch touches was built for `cargo x simulate` already.
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", target).env_remove("CARGO_MANIFEST_DIR");
    let mut found = None;
    cargo.args(program).args(["--", "hunt"]);
    if let Some(profile) = &bug.profile {
        cargo.args(["--profile", profile]);
    }
    command::run_watched(&mut cargo, |line| {
        found = line.strip_prefix(FOUND_MARK).map(str::to_owned).or(found.take());
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_can_be_planted() {
        for bug in bugs(&[]).expect("the bugs") {
            let mut git = Command::new("git");
            git.current_dir(workspace::root()).args(["apply", "--check"]).arg(&bug.patch);
            command::run_quietly(&mut git).unwrap_or_else(|error| panic!("{}: write it anew: {error:#}", bug.name));
        }
    }
}
