//! PostgreSQL as Debian packages it, with a password over TCP and a certificate for TLS.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{ANSWER_WITHIN, Server, certificate};
use crate::{command, endpoints, prerequisites};

/// The superuser's name; also its password and the database's name.
const ROLE: &str = "tailwater";
/// Tests run side by side, each with several connections.
const CONNECTIONS_MAX: u32 = 100;
/// Where Debian puts one folder per installed major version.
const DEBIAN_VERSIONS_DIR: &str = "/usr/lib/postgresql";

/// PostgreSQL.
pub struct Postgres;

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn port(&self) -> u16 {
        endpoints::POSTGRES_PORT
    }

    fn endpoint(&self) -> &'static str {
        endpoints::POSTGRES_URL
    }

    fn variable(&self) -> &'static str {
        endpoints::POSTGRES_VARIABLE
    }

    fn install(&self, _dir: &Path) -> Result<()> {
        prerequisites::need("PostgreSQL", &["postgresql"], || bin_dir().is_some())?;
        prerequisites::need_pgbouncer()?;
        prerequisites::need_openssl()
    }

    fn prepare(&self, dir: &Path) -> Result<Command> {
        let user = server_user()?;
        let data = data_dir(dir, user.as_ref())?;
        if !data.join("PG_VERSION").is_file() {
            make_data_dir(dir, &data, user.as_ref())?;
        }
        let certificate = certificate::make(&dir.join("tls"))?;
        give_file(&certificate.chain, &data.join("server.crt"), user.as_ref())?;
        give_file(&certificate.key, &data.join("server.key"), user.as_ref())?;
        let mut postgres = program("postgres", user.as_ref())?;
        postgres.current_dir(&data).arg("-D").arg(&data);
        let settings = [
            format!("port={}", self.port()),
            format!("listen_addresses={}", endpoints::LOOPBACK),
            // The folder's path may be longer than a socket's name can be, and TCP is what the tests use.
            "unix_socket_directories=".to_owned(),
            format!("max_connections={CONNECTIONS_MAX}"),
            "ssl=on".to_owned(),
            "ssl_cert_file=server.crt".to_owned(),
            "ssl_key_file=server.key".to_owned(),
        ];
        for setting in settings {
            postgres.args(["-c", &setting]);
        }
        Ok(postgres)
    }

    /// Runs a query over TCP with the password.
    fn check(&self, _dir: &Path) -> Result<()> {
        query(endpoints::POSTGRES_URL, "select 1").map(|_| ())
    }

    /// The role's database is made once the server can be asked for it.
    fn finish(&self, _dir: &Path) -> Result<()> {
        let there = query(&maintenance_url(), &format!("select count(*) from pg_database where datname = '{ROLE}'"))?;
        if there.trim() == "0" {
            query(&maintenance_url(), &format!("create database {ROLE}"))?;
        }
        Ok(())
    }

    fn accepts(&self, _dir: &Path) -> Result<()> {
        query(&maintenance_url(), "select 1").map(|_| ())
    }

    /// "Fast shutdown": sessions are ended and data is written; the polite signal would wait for every session to leave.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

/// The account that runs the server when we are root, since PostgreSQL refuses to run as root.
struct ServerUser {
    uid: u32,
    gid: u32,
}

/// `None` when we are not root: then the server runs as we do.
fn server_user() -> Result<Option<ServerUser>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id_of = |flag: &str| -> Result<u32> {
        let text = command::run_quietly(Command::new("id").args([flag, "postgres"])).context(
            "the account `postgres` is missing: install Debian's postgresql package, or run as another user",
        )?;
        text.trim().parse().with_context(|| format!("`id {flag} postgres` gave {text:?} and not a number"))
    };
    Ok(Some(ServerUser { uid: id_of("-u")?, gid: id_of("-g")? }))
}

/// `target/servers/postgres/data`, or a folder in `/var/tmp` when the server's account may not enter the checkout.
fn data_dir(dir: &Path, user: Option<&ServerUser>) -> Result<PathBuf> {
    let usual = dir.join("data");
    let Some(user) = user else {
        return Ok(usual);
    };
    let mut enter = Command::new("test");
    let enters = enter.arg("-x").arg(dir).current_dir("/").uid(user.uid).gid(user.gid).status();
    if enters.context("cannot start `test` (Debian's coreutils)")?.success() {
        return Ok(usual);
    }
    // The inode tells checkouts apart, also one that was made anew at the same path.
    let inode = fs::metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?.ino();
    let elsewhere = PathBuf::from(format!("/var/tmp/tailwater-servers-postgres-{inode}"));
    tell!("postgres: its account cannot enter {}: its data is in {}", dir.display(), elsewhere.display());
    Ok(elsewhere)
}

/// Runs `initdb` into a new folder, so that a run that broke off leaves nothing that looks finished.
fn make_data_dir(dir: &Path, data: &Path, user: Option<&ServerUser>) -> Result<()> {
    if data.exists() {
        fs::remove_dir_all(data).with_context(|| format!("cannot remove the unfinished {}", data.display()))?;
    }
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    fs::set_permissions(data, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close {} to others", data.display()))?;
    if let Some(user) = user {
        give(data, user)?;
    }
    let password_path = data.with_extension("password");
    fs::write(&password_path, ROLE).with_context(|| format!("cannot write {}", password_path.display()))?;
    let mut initdb = program("initdb", user)?;
    initdb.current_dir(data).args(["--username", ROLE, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
    // Sorting by bytes: the same order on every machine.
    initdb.args(["--locale", "C", "--pgdata"]).arg(data).arg(format!("--pwfile={}", password_path.display()));
    command::run_quietly(&mut initdb)
        .with_context(|| format!("cannot make PostgreSQL's data folder; its folder is {}", dir.display()))?;
    fs::remove_file(&password_path).with_context(|| format!("cannot remove {}", password_path.display()))
}

/// Copies a file for the server alone: PostgreSQL refuses a key that others can read.
fn give_file(from: &Path, to: &Path, user: Option<&ServerUser>) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {} to others", to.display()))?;
    user.map_or(Ok(()), |user| give(to, user))
}

fn give(path: &Path, user: &ServerUser) -> Result<()> {
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("cannot give {} to the account postgres", path.display()))
}

/// One of PostgreSQL's programs, run as the server's account.
fn program(name: &str, user: Option<&ServerUser>) -> Result<Command> {
    let path = bin_dir().context("PostgreSQL's programs are missing: install Debian's postgresql package")?.join(name);
    let mut command = Command::new(path);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    Ok(command)
}

/// The folder with `initdb`, `postgres` and `psql`: the newest of Debian's, or else the search path's.
fn bin_dir() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_VERSIONS_DIR).into_iter().flatten().filter_map(|entry| {
        let major: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let dir = Path::new(DEBIAN_VERSIONS_DIR).join(major.to_string()).join("bin");
        has_programs(&dir).then_some((major, dir))
    });
    versions.max_by_key(|(major, _)| *major).map(|(_, dir)| dir).or_else(|| {
        std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(|dir| has_programs(dir)))
    })
}

fn has_programs(dir: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|name| dir.join(name).is_file())
}

fn maintenance_url() -> String {
    // `postgres` is the database that every server has.
    let (base, _) = endpoints::POSTGRES_URL.rsplit_once('/').unwrap_or((endpoints::POSTGRES_URL, ""));
    format!("{base}/postgres")
}

fn query(url: &str, sql: &str) -> Result<String> {
    let Some(bin_dir) = bin_dir() else {
        bail!("psql is missing: install Debian's postgresql package");
    };
    let mut psql = Command::new(bin_dir.join("psql"));
    psql.env("PGCONNECT_TIMEOUT", ANSWER_WITHIN.as_secs().to_string());
    // A person's own ~/.psqlrc must not change what is printed.
    let answer = command::run_quietly(psql.args(["--no-psqlrc", "--quiet", "-At", "-c", sql, url]))?;
    ensure!(!sql.starts_with("select") || !answer.trim().is_empty(), "PostgreSQL gives no answer to `{sql}`");
    Ok(answer)
}
