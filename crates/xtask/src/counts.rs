//! `cargo x counts`: the instructions of what every record, poll and commit goes through, held to the table
//! `bench/counts.toml`.
//!
//! Instruction counts by callgrind are the same on a busy machine. Each program runs a few times and many times its case;
//! the difference is the cost of one without start-up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{command, prerequisites, workspace};

/// The held counts.
const TABLE: &str = "bench/counts.toml";
/// What stands above them.
const TABLE_HEAD: &str = "\
# Instructions of the hottest paths, counted by callgrind on x86-64; `cargo x counts` fails when one is above its figure by
# more than the tolerance. After a change that is meant to cost more, or one that made something cheaper:
# `cargo x counts --accept`, and say why in the commit.
";
/// Room for another compiler, C library or processor.
const TOLERANCE_PERCENT: u64 = 3;
/// Counts depend on the machine's instructions: they are held on this one only.
const HELD_ON: &str = "x86_64";
/// How many times cheaper a page must be than by the SDK's own types and `serde_json::Value`.
const RATIO_MIN: f64 = 8.0;
/// Long copies are one string instruction on new processors, of which callgrind counts every byte; this has the C library
/// copy by vectors, as it does on others.
const COPY_BY_VECTORS: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000";
/// The two cases of that ratio.
const RATIO_OF: [&str; 2] = ["textbook: page of 1 KB records, SDK call", "page of 1 KB records, SDK call"];

/// Something that is counted.
struct Case {
    name: &'static str,
    /// What the figure is for one of.
    per: &'static str,
    program: &'static str,
    /// Before the number of times; [`PORT`] stands for that of the page server.
    arguments: &'static [&'static str],
    /// How often in the shorter and in the longer run.
    times: [u64; 2],
    /// How many of `per` happen each time.
    each: u64,
}

/// Stands for the port of the page server.
const PORT: &str = "PORT";
/// Records of the pages whose figures are per record: the most that a page has.
const RECORDS: u64 = 1_000;

const CASES: [Case; 15] = [
    page_case("decode and encode 1 KB records", &["decode", "1kb"]),
    page_case("decode and encode tiny records", &["decode", "tiny"]),
    page_case("decode and encode KEYS_ONLY records", &["decode", "keys-only"]),
    Case { per: "page", each: 1, ..page_case("decode and encode a page of 4 KB records", &["decode", "4kb"]) },
    Case { per: "page", each: 1, ..page_case("decode and encode a page of 400 KB records", &["decode", "fat"]) },
    Case {
        per: "page",
        each: 1,
        ..page_case("decode and encode a page of non-ASCII records", &["decode", "non-ascii"])
    },
    page_case(RATIO_OF[1], &["tailwater", PORT]),
    Case { times: [1, 3], ..page_case(RATIO_OF[0], &["textbook", PORT]) },
    Case { per: "call", times: [50, 450], each: 1, ..page_case("idle poll", &["idle", PORT]) },
    Case { per: "call", times: [50, 450], each: 1, ..page_case("textbook: idle poll", &["textbook-idle", PORT]) },
    step_case("reader: a page, 10 shards", "page", "reader_cost", &["10"]),
    Case { times: [10_000, 20_000], ..step_case("reader: a page, 10 000 shards", "page", "reader_cost", &["10000"]) },
    step_case("lane loop: a commit", "commit", "lane_cost", &[]),
    step_case("Kafka sink: a commit of one step", "commit", "kafka_commit_cost", &["0"]),
    step_case("Postgres sink: a commit of one step", "commit", "postgres_commit_cost", &["0"]),
];

const fn page_case(name: &'static str, arguments: &'static [&'static str]) -> Case {
    Case { name, per: "record", program: "page_cost", arguments, times: [2, 12], each: RECORDS }
}

const fn step_case(
    name: &'static str,
    per: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
) -> Case {
    Case { name, per, program, arguments, times: [100, 1_100], each: 1 }
}

/// The held counts, by the name of the case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    tolerance_percent: u64,
    instructions: BTreeMap<String, u64>,
}

/// How a count stands to what is held.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    Cheaper,
    Dearer,
    NotHeld,
}

/// Builds the programs, counts each case, prints a table, and fails when one costs more than what is held. With `accept`
/// the counts become what is held.
pub fn run(accept: bool) -> Result<()> {
    prerequisites::need("valgrind", &["valgrind"], || command::is_on_path("valgrind"))?;
    let root = workspace::root();
    build(&root)?;
    let programs = workspace::target().join("release/examples");
    let server = PageServer::start(&programs.join("page_cost"))?;
    let work = workspace::target().join("counts");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let path = root.join(TABLE);
    let held = if accept { None } else { Some(read(&path)?) };
    let tolerance = held.as_ref().map_or(TOLERANCE_PERCENT, |table| table.tolerance_percent);
    tell!("{:<48} {:>13}  {:<10} {:>13}", "", "instructions", "per", "held");
    let (mut counts, mut dearer) = (BTreeMap::new(), Vec::new());
    for case in &CASES {
        let count = count(case, &programs, &server.port, &work)?;
        let figure = held.as_ref().and_then(|table| table.instructions.get(case.name).copied());
        let verdict = judge(count, figure, tolerance);
        let remark = match verdict {
            Verdict::Held => "",
            Verdict::Cheaper => "cheaper: --accept holds the gain",
            Verdict::Dearer => "TOO MUCH",
            Verdict::NotHeld => "new",
        };
        let shown = figure.map_or("-".to_owned(), |figure| figure.to_string());
        tell!("{:<48} {count:>13}  {:<10} {shown:>13}  {remark}", case.name, case.per);
        if verdict == Verdict::Dearer || (verdict == Verdict::NotHeld && !accept) {
            dearer.push(case.name);
        }
        counts.insert(case.name.to_owned(), count);
    }
    check_ratio(&counts)?;
    if accept {
        std::fs::write(&path, written(&counts)).with_context(|| format!("cannot write {}", path.display()))?;
        tell!("accepted: {}", path.display());
        return Ok(());
    }
    if std::env::consts::ARCH != HELD_ON {
        tell!("not held: the figures are those of {HELD_ON}");
        return Ok(());
    }
    ensure!(
        dearer.is_empty(),
        "more instructions than {TABLE} holds ({tolerance} % are let pass), or not in it: {}. `valgrind --tool=callgrind \
         {}/PROGRAM` and `callgrind_annotate` show where; if it is meant: `cargo x counts --accept`",
        dearer.join("; "),
        programs.display()
    );
    Ok(())
}

fn build(root: &Path) -> Result<()> {
    tell!("building what is counted (release)");
    let mut build = command::cargo();
    build.args(["build", "--release", "--quiet"]).current_dir(root);
    let packages = [
        ("tailwater-source-dynamodb", "page_cost"),
        ("tailwater-source-dynamodb", "reader_cost"),
        ("tailwater-pipeline", "lane_cost"),
        ("tailwater-sink-kafka", "kafka_commit_cost"),
        ("tailwater-sink-postgres", "postgres_commit_cost"),
    ];
    for (package, example) in packages {
        build.args(["--package", package, "--example", example]);
    }
    command::run_shown(&mut build)
}

fn judge(count: u64, held: Option<u64>, tolerance_percent: u64) -> Verdict {
    let Some(held) = held else { return Verdict::NotHeld };
    let room = held * tolerance_percent / 100;
    if count > held + room {
        Verdict::Dearer
    } else if count + room < held {
        Verdict::Cheaper
    } else {
        Verdict::Held
    }
}

fn check_ratio(counts: &BTreeMap<String, u64>) -> Result<()> {
    let [textbook, ours] = RATIO_OF.map(|name| counts.get(name).copied().unwrap_or_default());
    ensure!(ours > 0, "the page was not counted");
    let ratio = textbook as f64 / ours as f64;
    tell!("textbook against tailwater: {ratio:.1}, held to at least {RATIO_MIN}");
    ensure!(ratio >= RATIO_MIN, "a page costs too much against the SDK's types and serde_json::Value");
    Ok(())
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}: `cargo x counts --accept` makes it", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a table of counts", path.display()))
}

/// The table as it stands in the file, in the order of the cases' names.
fn written(counts: &BTreeMap<String, u64>) -> String {
    let rows: String = counts.iter().map(|(name, count)| format!("\"{name}\" = {count}\n")).collect();
    format!("{TABLE_HEAD}tolerance_percent = {TOLERANCE_PERCENT}\n\n[instructions]\n{rows}")
}

/// The cost of one, by the difference of the two runs. They run side by side, which changes no count.
fn count(case: &Case, programs: &Path, port: &str, work: &Path) -> Result<u64> {
    let [few, many] = case.times;
    let (in_few, in_many) = std::thread::scope(|scope| {
        let in_few = scope.spawn(|| instructions(case, programs, port, few, work));
        let in_many = instructions(case, programs, port, many, work);
        (in_few.join(), in_many)
    });
    let Ok(in_few) = in_few else { bail!("counting {} broke down", case.name) };
    let difference = in_many?.checked_sub(in_few?);
    let difference = difference.context("more took fewer instructions: the measurement is broken")?;
    Ok(difference / ((many - few) * case.each))
}

fn instructions(case: &Case, programs: &Path, port: &str, times: u64, work: &Path) -> Result<u64> {
    let file = work.join(format!("callgrind.{}.{times}", case.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
    let arguments = case.arguments.iter().map(|argument| if *argument == PORT { port } else { argument });
    command::run_quietly(
        Command::new("valgrind")
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", file.display())])
            .arg(programs.join(case.program))
            .args(arguments)
            .arg(times.to_string())
            .env("GLIBC_TUNABLES", COPY_BY_VECTORS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_within_its_room() {
        for (count, held, verdict) in [
            (1_030, Some(1_000), Verdict::Held),
            (1_031, Some(1_000), Verdict::Dearer),
            (970, Some(1_000), Verdict::Held),
            (969, Some(1_000), Verdict::Cheaper),
            (1, None, Verdict::NotHeld),
        ] {
            assert_eq!(judge(count, held, 3), verdict, "{count} of {held:?}");
        }
    }

    #[test]
    fn the_table_in_the_checkout_holds_every_case_and_nothing_else() {
        let table = read(&workspace::root().join(TABLE)).expect("the table");
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        assert_eq!(table.instructions.keys().map(String::as_str).collect::<Vec<_>>(), names);
        assert_eq!(written(&table.instructions), std::fs::read_to_string(workspace::root().join(TABLE)).expect("text"));
    }

    #[test]
    fn the_ratio_is_held() {
        let counts = |textbook| BTreeMap::from([(RATIO_OF[0].to_owned(), textbook), (RATIO_OF[1].to_owned(), 100)]);
        assert!(check_ratio(&counts(800)).is_ok());
        assert!(check_ratio(&counts(799)).is_err());
        assert!(check_ratio(&BTreeMap::new()).is_err());
    }
}
