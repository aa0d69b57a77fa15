//! Finding and reading pipeline files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::output::Finding;

/// Longest pipeline file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Replaces each folder by the `*.toml` files in it, in the order of their names.
pub fn expand(paths: &[PathBuf], findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match toml_files(path) {
            Ok(found) if !found.is_empty() => files.extend(found),
            Ok(_) => findings.push(unreadable(path, "the folder holds no *.toml file")),
            Err(fault) => findings.push(unreadable(path, &fault.kind().to_string())),
        }
    }
    files.dedup();
    files
}

/// Also what links lead to, as in a volume of Kubernetes. A link that leads nowhere is named, so that its reading tells so.
/// What is hidden is no pipeline: editors and file systems keep their own files under such names.
fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let may_be_file = fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        if is_toml && !is_hidden && may_be_file {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file as text.
pub fn read(path: &Path, findings: &mut Vec<Finding>) -> Option<String> {
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let problem = match outcome {
        Err(fault) => fault.kind().to_string(),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => "longer than 1 MiB".into(),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(fault) => format!("not UTF-8 from byte {} on", fault.utf8_error().valid_up_to()),
        },
    };
    findings.push(unreadable(path, &problem));
    None
}

fn unreadable(path: &Path, problem: &str) -> Finding {
    let suggestion = Some("name pipeline files, or folders that hold them".into());
    Finding::of_file("config.unreadable", &path.display().to_string(), format!("cannot be read: {problem}"), suggestion)
}
