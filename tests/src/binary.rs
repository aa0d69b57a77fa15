//! Finds the `tailwater` program that belongs to this test's build.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The program beside the test's own executable: `target/<profile>/deps/<test>` has it two floors up.
///
/// Cargo builds no binaries of other packages for a test, so a missing one is answered with the command that builds it.
pub fn tailwater() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this test's executable is unknown")?;
    let profile_dir = own.ancestors().nth(2).context("this test's executable is not in target/<profile>/deps")?;
    let path = profile_dir.join("tailwater");
    ensure!(path.is_file(), "{} is missing: run `cargo build -p tailwater-cli` first", path.display());
    Ok(path)
}
