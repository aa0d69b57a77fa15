//! The images: the official ones where a registry can be reached, else stand-ins built from what is on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Composition, dir, sources_dir};
use crate::servers::{self, ServerName};
use crate::{command, prerequisites, workspace};

/// What the stand-ins are built from.
const BASE_IMAGE: &str = "debian:bookworm-slim";
/// The release of [`BASE_IMAGE`].
const BASE_RELEASE: &str = "bookworm";
/// How long `docker pull` may take, in seconds. A registry that cannot be reached is known within one or a minute.
const PULL_WITHIN_S: &str = "600";
/// The services whose images are official ones.
const OFFICIAL: [&str; 4] = ["dynamodb", "table", "kafka", "postgres"];
/// The stand-ins, by their folders beside the override.
pub const STAND_INS: [&str; 5] = ["postgres", "kafka", "dynamodb", "aws-cli", "tailwater"];
/// The label of the stand-ins.
const LABEL: &str = "label=tailwater.tests=stand-in";

/// Pulls the official images; `false` when one of them cannot be had, with the reason told.
pub fn pull(composition: &Composition) -> bool {
    let mut pull = within(PULL_WITHIN_S, &composition.command());
    pull.arg("pull").args(OFFICIAL);
    match command::run_quietly(&mut pull) {
        Ok(_) => true,
        Err(error) => {
            let error = format!("{error:#}");
            tell!("{}", error.lines().last().unwrap_or_default().trim());
            false
        }
    }
}

/// Builds every stand-in.
pub fn build_stand_ins(composition: &Composition) -> Result<()> {
    need_base(composition)?;
    servers::install(&[ServerName::Dynamodb, ServerName::Kafka])?;
    tell!("building tailwater");
    let mut build = command::cargo();
    // As the tests of the whole workspace have it: any other build would compile dependencies again, with fewer features. The
    // program comes with the tests that run it.
    build.current_dir(workspace::root()).args(["test", "--workspace", "--no-run", "--test", "cli"]);
    command::run_shown(&mut build)?;
    for name in STAND_INS {
        gather(name).with_context(|| format!("cannot gather what the stand-in for {name} is built from"))?;
    }
    tell!("building the images (apt-get inside, a minute the first time): {}", STAND_INS.join(", "));
    let mut build = composition.command();
    command::run_quietly(build.args(["build", "--parallel"])).with_context(|| {
        "cannot build the stand-ins: their Dockerfiles are in tests/compose, and apt-get needs Debian's mirror"
            .to_owned()
    })?;
    // Of an earlier build; they have no name any more, and the label says that they are ours.
    command::run_quietly(composition.docker().args(["image", "prune", "--force", "--filter", LABEL])).map(|_| ())
}

/// Makes sure that the base image is there: pulled, or made from Debian's packages.
fn need_base(composition: &Composition) -> Result<()> {
    if command::run_quietly(composition.docker().args(["image", "inspect", BASE_IMAGE])).is_ok() {
        return Ok(());
    }
    let mut pull = within(PULL_WITHIN_S, &composition.docker());
    if command::run_quietly(pull.args(["pull", BASE_IMAGE])).is_ok() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{BASE_IMAGE} cannot be pulled, and only root can make it: run `sudo cargo x test --compose`");
    }
    prerequisites::need("debootstrap", &["debootstrap", "debian-archive-keyring"], || {
        command::is_on_path("debootstrap")
    })?;
    tell!("making {BASE_IMAGE} with debootstrap (half a minute, once)");
    let (root, archive) = (dir().join("base"), dir().join("base.tar"));
    clear(&root)?;
    let mut debootstrap = Command::new("debootstrap");
    command::run_quietly(debootstrap.args(["--variant=minbase", BASE_RELEASE]).arg(&root))?;
    for leftover in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        clear(&root.join(leftover))?;
    }
    command::run_quietly(
        Command::new("tar").arg("--directory").arg(&root).arg("--create").arg("--file").arg(&archive).arg("."),
    )?;
    command::run_quietly(composition.docker().arg("import").arg(&archive).arg(BASE_IMAGE))?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

/// Puts all that a stand-in is built from into `target/compose/images/<name>`.
fn gather(name: &str) -> Result<()> {
    let context = dir().join("images").join(name);
    clear(&context)?;
    let source = sources_dir()?.join(name);
    for file in files_of(&source)? {
        copy(&source.join(&file), &context.join(&file))?;
    }
    match name {
        "kafka" => gather_jars(ServerName::Kafka, &context),
        "dynamodb" => gather_jars(ServerName::Dynamodb, &context),
        "tailwater" => {
            // Nine tenths of the program are line tables, which nobody reads in a container.
            let program = workspace::target().join("debug/tailwater");
            let mut strip = Command::new("strip");
            strip.arg("-o").arg(context.join("tailwater")).arg(program);
            command::run_quietly(&mut strip).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn gather_jars(server: ServerName, context: &Path) -> Result<()> {
    let (from, to) = (servers::libs_dir(server), context.join("libs"));
    clear(&to)?;
    for file in files_of(&from)? {
        copy(&from.join(&file), &to.join(&file))?;
    }
    Ok(())
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    names.collect::<std::io::Result<_>>().with_context(|| format!("cannot read {}", dir.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Leaves an empty folder.
fn clear(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// The same command, ended when it takes longer.
fn within(seconds: &str, command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.arg(seconds).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        bounded.env(name, value.unwrap_or_default());
    }
    if let Some(dir) = command.get_current_dir() {
        bounded.current_dir(dir);
    }
    bounded
}
