//! One run of one program beside the server of the replay.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::contestants::{Contestant, Kind, Places};
use crate::command;

/// Shards of the replay, all open from the start.
const SHARDS: u64 = 4;
/// What the records of the replay look like: about 1 KB, both images.
const PROFILE: &str = "1k";

/// What one run took.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) records: u64,
    /// From its start to its end.
    pub(super) seconds: f64,
    /// User and system.
    pub(super) cpu_seconds: f64,
    pub(super) peak_kib: u64,
}

impl Measured {
    /// CPU time of one record in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.records as f64
    }
}

/// `tailwater simulate --replay`, for as long as this value lives.
pub(super) struct ReplayServer {
    process: Child,
    pub(super) url: String,
}

impl ReplayServer {
    pub(super) fn start(places: &Places, pages_per_shard: u64) -> Result<Self> {
        let mut server = Command::new(&places.tailwater);
        server.args(["simulate", "--listen", "127.0.0.1:0", "--replay", PROFILE]);
        server.args(["--shards", &SHARDS.to_string(), "--shard-pages", &pages_per_shard.to_string()]);
        let mut process = server
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", places.tailwater.display()))?;
        let stdout = process.stdout.take().context("a piped output is there once")?;
        // From here on the process ends with this value, whatever happens.
        let mut server = Self { process, url: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the replay did not say where it listens")?;
        server.url = url_in(&line).with_context(|| format!("no address in {line:?}"))?;
        Ok(server)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn url_in(line: &str) -> Option<String> {
    let rest = line.get(line.find("http://")?..)?;
    let end = rest.find(|c: char| c == ';' || c.is_whitespace()).unwrap_or(rest.len());
    rest.get(..end).map(str::to_owned)
}

/// Runs the program to its end under GNU time.
pub(super) fn run(program: Command, contestant: &Contestant, replay: &ReplayServer) -> Result<Measured> {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["--format", "%e %U %S %M", "--quiet"]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        timed.env(name, value.unwrap_or_default());
    }
    timed.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_REGION", "us-east-1");
    timed.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_ENDPOINT_URL", &replay.url);
    timed.stdin(Stdio::null()).stderr(Stdio::piped());
    // Lines of JSON are not for us; the peers print one line.
    timed.stdout(if contestant.kind == Kind::Tailwater { Stdio::null() } else { Stdio::piped() });
    let output = timed.spawn().context("cannot start GNU time")?.wait_with_output()?;
    let (told, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "it ended with {}:\n{}", output.status, command::last_lines(&told));
    let said = match contestant.kind {
        Kind::Tailwater => carried(&told),
        Kind::Peer => printed.lines().find_map(|line| Some((line.strip_prefix("records ")?.parse().ok()?, None))),
    };
    let said = said.with_context(|| format!("it did not say how many records:\n{}", command::last_lines(&told)))?;
    ensure!(said.0 > 0, "it read nothing");
    times(told.lines().last().unwrap_or_default(), said).context("GNU time said something else")
}

fn times(line: &str, (records, seconds): (u64, Option<f64>)) -> Option<Measured> {
    let mut numbers = line.split(' ');
    let elapsed = numbers.next()?.parse().ok()?;
    let (user, system): (f64, f64) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let peak_kib = numbers.next()?.parse().ok()?;
    Some(Measured { records, seconds: seconds.unwrap_or(elapsed), cpu_seconds: user + system, peak_kib })
}

/// From Tailwater's log: the records of the summary, and the time from the first line to the end of the last shard. A
/// bounded run looks some seconds longer whether more is to come, and that is no part of carrying.
fn carried(log: &str) -> Option<(u64, Option<f64>)> {
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let at = |line: &Value| line.get("timestamp")?.as_str()?.parse::<Timestamp>().ok();
    let is = |line: &&Value, message: &str| line.get("message").and_then(Value::as_str) == Some(message);
    let records = lines.iter().rfind(|line| is(line, "ended"))?.get("read")?.as_u64()?;
    let drained = lines.iter().rfind(|line| is(line, "shard drained")).and_then(at)?;
    Some((records, Some(drained.duration_since(at(lines.first()?)?).as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_read() {
        assert_eq!(url_in("at http://127.0.0.1:99; any").as_deref(), Some("http://127.0.0.1:99"));
        let log = r#"{"timestamp":"2026-11-24T12:00:00.5Z","message":"lane open"}
            {"timestamp":"2026-11-24T12:00:02Z","message":"shard drained"}
            {"timestamp":"2026-11-24T12:00:07Z","message":"ended","read":7}"#;
        assert_eq!(carried(log), Some((7, Some(1.5))));
        assert_eq!(carried("{}"), None);
        let measured = times("9.05 4.5 0.5 1024", (1_000_000, None)).expect("times");
        assert_eq!((measured.seconds, measured.cpu_us(), measured.peak_kib), (9.05, 5.0, 1024));
        assert!(times("Command exited", (1, None)).is_none());
    }
}
