//! Java programs from Maven: the jars that a pom names, copied beside the program's data once per version of the pom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, prerequisites, workspace};

/// Makes sure that `dir/libs` holds the jars of the pom `tests/<folder>/pom.xml`.
pub fn install(folder: &str, dir: &Path) -> Result<()> {
    prerequisites::need_java_and_maven()?;
    let pom_path = workspace::root().join("tests").join(folder).join("pom.xml");
    let pom = fs::read_to_string(&pom_path).with_context(|| format!("cannot read {}", pom_path.display()))?;
    let stamp_path = dir.join("libs.pom.xml");
    if fs::read_to_string(&stamp_path).is_ok_and(|stamp| stamp == pom) && libs(dir).is_dir() {
        return Ok(());
    }
    tell!("{folder}: fetching its jars (mvn dependency:copy-dependencies)");
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    remove_dir_if_there(&libs(dir))?;
    let mut mvn = Command::new("mvn");
    mvn.args(["--batch-mode", "--no-transfer-progress", "--file"]).arg(&pom_path);
    mvn.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    mvn.arg(format!("-DoutputDirectory={}", libs(dir).display()));
    command::run_quietly(&mut mvn).with_context(|| {
        format!(
            "cannot fetch the jars of {}: check the network and Maven's settings, then run again",
            pom_path.display()
        )
    })?;
    // Last: without the stamp, a copy that broke off half-way is made again.
    fs::write(&stamp_path, pom).with_context(|| format!("cannot write {}", stamp_path.display()))
}

/// The folder of the jars and native libraries.
pub fn libs(dir: &Path) -> PathBuf {
    dir.join("libs")
}

/// `java` with all the jars on its class path and a heap of at most `heap_mib_max` MiB.
pub fn java(dir: &Path, heap_mib_max: u32) -> Command {
    let mut java = Command::new("java");
    java.current_dir(dir).arg(format!("-Xmx{heap_mib_max}m")).arg("-cp").arg(libs(dir).join("*"));
    java
}

fn remove_dir_if_there(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
