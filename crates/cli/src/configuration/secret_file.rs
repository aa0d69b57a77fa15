//! Files that hold secrets.

use std::fs::Metadata;
use std::path::Path;

use crate::configuration::report::{Place, Report};

/// Warns of a file with a secret that everybody on this machine may read.
pub fn warn_of_exposed(path: &Path, place: &Place, report: &mut Report<'_>) {
    if !std::fs::metadata(path).is_ok_and(|metadata| is_exposed(&metadata)) {
        return;
    }
    let path = path.display();
    let message = format!("everybody on this machine may read the file {path}");
    report.warn(place, "config.exposed_secret", message, Some(format!("leave it to its user: chmod o= {path}")));
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    const READABLE_BY_OTHERS: u32 = 0o004;
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & READABLE_BY_OTHERS != 0
}

#[cfg(not(unix))]
fn is_exposed(_metadata: &Metadata) -> bool {
    false
}
