//! Pipeline files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Waits as in a file that says nothing about them.
pub const DEFAULT_PACE: &str = "";
/// The shortest waits that a file can ask for.
pub const FASTEST_PACE: &str = "[source.poll]\ninterval_min = \"10ms\"\n[limits]\ngroup_delay_max = \"1ms\"\n";
/// Pages that are not full are followed at once, so that it is not the wait between polls that is measured.
pub const BACKLOG_PACE: &str = "[source.poll]\ninterval_min = \"10ms\"\n";

/// Writes a pipeline's file. `lanes` is left to the default where the sink has only one.
pub fn write(folder: &Path, name: &str, endpoint: &str, lanes: Option<u32>, sink: &str, pace: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.toml"));
    let lanes = lanes.map_or(String::new(), |lanes| format!("lanes = {lanes}\n"));
    let text = format!(
        "name = \"{name}\"\n{lanes}[source]\ntable = \"Replay\"\n[source.aws]\nregion = \"us-east-1\"\n\
         endpoint_url = \"{endpoint}\"\n{sink}\n{pace}"
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
