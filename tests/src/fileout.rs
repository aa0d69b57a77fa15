//! Reads the file of a file sink.

use std::path::Path;

use anyhow::{Context, Result};

use crate::plain::Plain;

/// All lines as JSON; a line that is not whole is an error.
pub fn lines(path: &Path) -> Result<Vec<Plain>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(Plain::parse).collect()
}
