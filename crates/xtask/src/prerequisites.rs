//! Programs that a fresh machine may lack: installed when we may, else said in one line with the command that does.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::command;

/// DynamoDB Local 3 and Kafka 4 both need at least this Java.
const JAVA_MAJOR_MIN: u32 = 17;

/// Makes sure that a C compiler, `make` and Perl are there: SQLite, a TLS library and librdkafka are built from C, and
/// librdkafka's OpenSSL is configured by a Perl script.
pub fn need_c_compiler() -> Result<()> {
    need("a C compiler", &["build-essential"], || command::is_on_path("cc") && command::is_on_path("make"))?;
    need("Perl with its modules", &["perl"], perl_is_whole)
}

/// Every Debian has a Perl without most of its modules; `Configure` of OpenSSL asks for these.
fn perl_is_whole() -> bool {
    let mut perl = Command::new("perl");
    perl.args(["-MFindBin", "-MFile::Compare", "-MIPC::Cmd", "-e", "1"]);
    perl.output().is_ok_and(|output| output.status.success())
}

/// Makes sure that a Java of at least [`JAVA_MAJOR_MIN`] and Maven are there.
pub fn need_java_and_maven() -> Result<()> {
    let what = format!("Java {JAVA_MAJOR_MIN} or newer");
    need(&what, &["default-jre-headless"], || java_major().is_some_and(|major| major >= JAVA_MAJOR_MIN))?;
    need("Maven", &["maven"], || command::is_on_path("mvn"))
}

/// Makes sure that there are a Java that runs sources, and Maven.
pub fn need_java_compiler_and_maven() -> Result<()> {
    need_java_and_maven()?;
    need("a Java compiler", &["default-jdk-headless"], || command::is_on_path("javac"))
}

/// Makes sure that openssl's command is there: it makes the test server's certificate.
pub fn need_openssl() -> Result<()> {
    need("openssl", &["openssl"], || command::is_on_path("openssl"))
}

/// Makes sure that PgBouncer is there: the pooler that the Postgres sink is tested behind. Debian puts it where only an
/// administrator's search path leads.
pub fn need_pgbouncer() -> Result<()> {
    let is_there = || command::is_on_path("pgbouncer") || Path::new("/usr/sbin/pgbouncer").is_file();
    need("PgBouncer", &["pgbouncer"], is_there)
}

/// Makes sure that kcat is there: the Kafka consumer, not ours, that the tests believe.
pub fn need_kcat() -> Result<()> {
    need("kcat", &["kcat"], || command::is_on_path("kcat"))
}

/// Makes sure that there is a Python with boto3, the AWS client that most scripts use: the simulated service is tested with
/// it. Gives its interpreter.
pub fn need_boto3() -> Result<&'static str> {
    need("Python with boto3", &["python3-boto3"], || python_with_boto3().is_some())?;
    python_with_boto3().context("boto3 was there a moment ago")
}

/// A Python that somebody put before the system's does not see what the system has installed.
fn python_with_boto3() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let imported = Command::new(python).args(["-c", "import boto3"]).output();
        imported.is_ok_and(|output| output.status.success())
    })
}

/// Makes sure that `is_there` holds, by installing Debian's `packages` when it does not.
pub fn need(what: &str, packages: &[&str], is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !command::is_on_path("apt-get") {
        bail!("{what} is missing: install it with your system's packages (Debian calls it `{names}`), then run again");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{what} is missing: run `sudo apt-get install -y {names}`, then run again");
    }
    tell!("installing {what}: apt-get install -y {names}");
    apt_install(packages)
        .with_context(|| format!("{what} is missing and could not be installed: see to it by hand, then run again"))?;
    if !is_there() {
        bail!(
            "{what} is still missing after `apt-get install -y {names}`: install a newer one by hand, then run again"
        );
    }
    Ok(())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    static LISTS_ARE_FRESH: OnceLock<()> = OnceLock::new();
    if LISTS_ARE_FRESH.get().is_none() {
        // A fresh container has no package lists at all.
        command::run_quietly(apt_get().arg("update"))?;
        LISTS_ARE_FRESH.get_or_init(|| ());
    }
    command::run_quietly(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages)).map(|_| ())
}

fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

fn java_major() -> Option<u32> {
    let output = Command::new("java").arg("-version").output().ok()?;
    parse_java_major(&String::from_utf8_lossy(&output.stderr))
}

/// The 17 of `openjdk version "17.0.15" 2025-04-15`.
fn parse_java_major(version_text: &str) -> Option<u32> {
    let quoted = version_text.split('"').nth(1)?;
    quoted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_are_read() {
        assert_eq!(parse_java_major("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(parse_java_major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(parse_java_major("java version \"1.8.0_292\""), Some(1));
        assert_eq!(parse_java_major("sh: java: not found"), None);
    }

    #[test]
    fn what_is_there_needs_nothing() {
        assert!(need("a shell", &["dash"], || command::is_on_path("sh")).is_ok());
    }
}
