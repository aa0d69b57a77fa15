//! `cargo x bench`: what carrying one page costs, in instructions, against the way that a careful team writes first; then
//! whole pipelines.
//!
//! Instruction counts by callgrind are the same on a busy machine. Each way reads the page a few times and many times;
//! the difference is the cost of a page without start-up.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{bench_end_to_end, command, prerequisites, workspace};

/// The name of the benchmark that counts instructions.
const PAGE: &str = "page";

/// Pages read in the shorter and in the longer run.
const PAGES: [u64; 2] = [2, 12];
/// Records of the page that `page_cost` serves.
const RECORDS: u64 = 1_000;
/// How many times cheaper than the textbook way the page must be.
const RATIO_MIN: f64 = 7.0;

/// Runs the named benchmarks, or all; `quick` for seconds each, which only shows that they work.
pub fn run(names: &[String], quick: bool) -> Result<()> {
    let whole: Vec<&String> = names.iter().filter(|name| *name != PAGE).collect();
    if names.is_empty() || whole.len() < names.len() {
        count_page()?;
    }
    if names.is_empty() || !whole.is_empty() { bench_end_to_end::run(&whole, quick) } else { Ok(()) }
}

/// Builds the program that reads the page, counts both ways, prints a table, and fails when the ratio is not held.
fn count_page() -> Result<()> {
    prerequisites::need("valgrind", &["valgrind"], || command::is_on_path("valgrind"))?;
    let root = workspace::root();
    tell!("building page_cost (release)");
    let build = ["build", "--release", "--package", "tailwater-source-dynamodb", "--example", "page_cost"];
    command::run_shown(command::cargo().args(build).current_dir(&root))?;
    let program = root.join("target/release/examples/page_cost");
    let server = PageServer::start(&program)?;
    let work = root.join("target/bench");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let count = |way: &str| instructions_per_page(&program, way, &server.port, &work);
    let (ours, textbook) = (count("tailwater")?, count("textbook")?);
    let ratio = textbook as f64 / ours as f64;
    tell!("one page of {RECORDS} records (1.1 KB each, NEW_AND_OLD_IMAGES), SDK call, decoding and plain JSON:");
    tell!("{:<40} {:>16} {:>20}", "", "Minstr per page", "instr per record");
    for (name, cost) in [("tailwater", ours), ("textbook (SDK types, serde_json::Value)", textbook)] {
        tell!("{name:<40} {:>16.2} {:>20}", cost as f64 / 1e6, cost / RECORDS);
    }
    tell!("ratio {ratio:.1}, held to at least {RATIO_MIN}");
    ensure!(
        ratio >= RATIO_MIN,
        "a page costs too much: profile with `valgrind --tool=callgrind {}`",
        program.display()
    );
    Ok(())
}

fn instructions_per_page(program: &Path, way: &str, port: &str, work: &Path) -> Result<u64> {
    let [few, many] = PAGES;
    let difference =
        instructions(program, way, port, many, work)?.checked_sub(instructions(program, way, port, few, work)?);
    Ok(difference.context("more pages took fewer instructions: the measurement is broken")? / (many - few))
}

fn instructions(program: &Path, way: &str, port: &str, pages: u64, work: &Path) -> Result<u64> {
    tell!("counting {way}, {pages} pages");
    let file: PathBuf = work.join(format!("callgrind.{way}.{pages}"));
    command::run_quietly(
        Command::new("valgrind")
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", file.display())])
            .arg(program)
            .args([way, port, &pages.to_string()])
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local"),
    )?;
    let profile = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let total = profile.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
    total.and_then(|number| number.trim().parse().ok()).context("the callgrind file has no total")
}

/// The program that serves the page, for as long as this value lives.
struct PageServer {
    process: Child,
    port: String,
}

impl PageServer {
    fn start(program: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = process.stdout.take().context("a piped output is there once")?;
        // From here on the process ends with this value, whatever happens.
        let mut server = Self { process, port: String::new() };
        BufReader::new(stdout).read_line(&mut server.port).context("the page server did not print its port")?;
        server.port.truncate(server.port.trim_end().len());
        Ok(server)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}
