//! `cargo x planted`: proof that known bugs are found. Each is a patch; it is planted into a copy of the checkout, and the worlds are
//! run until one of them fails, or the test that its patch names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::test::Counts;
use crate::{command, workspace};

/// Where the patches are. The first line of each says in words what it breaks. The second may name the one profile of
/// worlds that meets it (`profile: kafka`), or, where no world can, the test that finds it, as `cargo test` is told
/// (`test: -p tailwater-sink-postgres --lib brake`). The name of the file is the bug's.
const PATCHES: &str = "crates/simulation/planted";
/// What stands before the profile of a bug.
const PROFILE_MARK: &str = "profile: ";
/// What stands before the test that finds a bug.
const TEST_MARK: &str = "test: ";
/// What the program of the worlds prints before the number of seeds that a hunt took, in the middle of several hunts.
const FOUND_MARK: &str = "median seeds to find: ";

/// One planted bug.
struct Planted {
    name: String,
    words: String,
    finder: Finder,
    patch: PathBuf,
}

/// Who is to find a bug.
enum Finder {
    /// The worlds of this profile, or all of them in turn.
    Worlds(Option<String>),
    /// This test.
    Test(String),
}

/// Plants the named bugs (all, if none is named) one after the other, and prints a table: bug, how it was found.
/// Fails when one was not found.
pub fn run(names: &[String]) -> Result<()> {
    let bugs = bugs(names)?;
    let copy = copy_checkout()?;
    let mut rows = Vec::new();
    for bug in &bugs {
        tell!("\n=== {}: {}", bug.name, bug.words);
        rows.push((bug, find(&copy, bug)?));
    }
    tell!("\n| bug | what is broken | median seeds to find |\n|---|---|---|");
    for (Planted { name, words, .. }, found) in &rows {
        tell!("| {name} | {words} | {} |", found.as_deref().unwrap_or("not found"));
    }
    let missed = rows.iter().filter(|(_, found)| found.is_none()).count();
    ensure!(
        missed == 0,
        "{missed} of {} planted bugs were not found: worlds or tests are too weak for them",
        rows.len()
    );
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
        let second = lines.next().unwrap_or_default();
        let finder = match second.strip_prefix(TEST_MARK) {
            Some(test) => Finder::Test(test.to_owned()),
            None => Finder::Worlds(second.strip_prefix(PROFILE_MARK).map(str::to_owned)),
        };
        bugs.push(Planted { name, words, finder, patch });
    }
    bugs.sort_by(|left, right| left.name.cmp(&right.name));
    if let Some(unknown) = names.iter().find(|name| bugs.iter().all(|bug| bug.name != **name)) {
        bail!("there is no planted bug {unknown:?}: look into {PATCHES}");
    }
    bugs.retain(|bug| names.is_empty() || names.contains(&bug.name));
    Ok(bugs)
}

/// A copy of everything that git knows or would know, as it is now. A file that the last copy has too keeps its time there, so that
/// cargo builds only what has changed. The times of the checkout would not do: what was built last may have had a bug.
fn copy_checkout() -> Result<PathBuf> {
    let root = workspace::root();
    let [copy, last] = ["planted", "planted-before"].map(|name| root.join("target").join(name));
    if last.exists() {
        fs::remove_dir_all(&last).with_context(|| format!("cannot remove {}", last.display()))?;
    }
    if copy.exists() {
        fs::rename(&copy, &last).with_context(|| format!("cannot rename {}", copy.display()))?;
    }
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = command::run_quietly(Command::new("git").args(listing).current_dir(&root))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, was, to) = (root.join(file), last.join(file), copy.join(file));
        // Deleted and not committed yet.
        let Ok(text) = fs::read(&from) else { continue };
        fs::create_dir_all(to.parent().unwrap_or(&copy))?;
        let copied = match fs::read(&was) {
            Ok(old) if old == text => fs::rename(&was, &to),
            _ => fs::copy(&from, &to).map(drop),
        };
        copied.with_context(|| format!("cannot copy {}", from.display()))?;
    }
    if last.exists() {
        fs::remove_dir_all(&last).with_context(|| format!("cannot remove {}", last.display()))?;
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

/// Plants the bug and looks for it. Says how it was found; nothing when it was not.
fn find(copy: &Path, bug: &Planted) -> Result<Option<String>> {
    if let Finder::Test(test) = &bug.finder {
        // A test that fails without the bug finds nothing by failing with it.
        let why = "the test does not pass without the bug either: see above; one of servers needs `cargo x up`";
        ensure!(passes(copy, test)?, why);
    }
    apply(copy, &bug.patch, false)?;
    let found = match &bug.finder {
        Finder::Worlds(profile) => hunt(copy, profile.as_deref()),
        Finder::Test(test) => passes(copy, test).map(|passes| {
            let name = test.split_whitespace().next_back().unwrap_or_default();
            (!passes).then(|| format!("by the test `{name}`"))
        }),
    };
    // Also after a failure: the next bug is planted alone.
    apply(copy, &bug.patch, true)?;
    found
}

/// Builds the worlds over the planted bug and lets them hunt it; nothing when they did not find it.
fn hunt(copy: &Path, profile: Option<&str>) -> Result<Option<String>> {
    let program =
        ["run", "--release", "--quiet", "-p", "tailwater-simulation", "--features", "worlds", "--bin", "worlds"];
    let mut cargo = cargo_in(copy);
    let mut found = None;
    cargo.args(program).args(["--", "hunt"]);
    if let Some(profile) = profile {
        cargo.args(["--profile", profile]);
    }
    command::run_watched(&mut cargo, |line| {
        found = line.strip_prefix(FOUND_MARK).map(str::to_owned).or(found.take());
    })?;
    Ok(found)
}

/// Whether the test passes in the copy. That it does not build, does not come to its end or is not there is an error.
fn passes(copy: &Path, test: &str) -> Result<bool> {
    command::run_shown(cargo_in(copy).args(["test", "--quiet", "--no-run"]).args(test.split_whitespace()))?;
    let mut counts = Counts::default();
    let ran = command::run_watched(cargo_in(copy).args(["test", "--quiet"]).args(test.split_whitespace()), |line| {
        counts.add(line);
    });
    if counts.failed > 0 {
        return Ok(false);
    }
    ran?;
    ensure!(counts.passed > 0, "there is no test {test:?}: correct the patch that names it");
    Ok(true)
}

/// `cargo` in the copy, which builds in a folder of its own: in the checkout's it would leave crates with a bug, and these count as
/// fresh there, because cargo tells crates of a workspace apart by their folders inside it.
fn cargo_in(copy: &Path) -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", copy.with_file_name("planted-build"));
    cargo.env_remove("CARGO_MANIFEST_DIR");
    cargo
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
