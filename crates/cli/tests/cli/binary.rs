//! Running the binary as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the binary gave.
pub struct Found {
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Everything that it printed: stdout, then stderr.
    pub text: String,
    /// What it printed on stdout.
    pub stdout: String,
}

/// Runs `tailwater` in a folder, with no AWS settings of this machine and no terminal.
pub fn output_of(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Found {
    let output = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    Found { code: output.status.code(), text: format!("{stdout}{stderr}"), stdout }
}

/// The same with this standard output; what it printed is what it said on stderr.
pub fn output_into(stdout: impl Into<Stdio>, folder: &Path, arguments: &[&str]) -> Found {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
    command.args(arguments).current_dir(folder).env_clear().stdout(stdout).stderr(Stdio::piped());
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    Found { code: output.status.code(), text, stdout: String::new() }
}

/// A folder of the repository.
pub fn pipeline_folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
