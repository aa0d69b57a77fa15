//! What was written against what was read: each change once, and each item's in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::client::Client;
use super::writer::TABLE;

/// Takes down what is written and what is read.
#[derive(Default)]
pub(super) struct Checker {
    written: BTreeMap<(u64, u64), Instant>,
    /// Versions by item, as they came.
    read: BTreeMap<u64, Vec<u64>>,
    different: BTreeSet<(u64, u64)>,
    /// From each first reading back to its writing.
    delays: Vec<Duration>,
    /// Lines that are no change that was written.
    strange: u64,
    last_read: Option<Instant>,
}

/// What came of one reader.
pub(super) struct Figures {
    name: &'static str,
    written: u64,
    read: u64,
    missing: u64,
    twice: u64,
    out_of_order: u64,
    strange: u64,
    seconds: f64,
    /// The median, 99 of 100, and the longest.
    delays: [Duration; 3],
    cpu_seconds: Option<f64>,
    shards: usize,
    generations: usize,
    unkind: String,
}

impl Checker {
    /// A change that is about to be written.
    pub(super) fn written(&mut self, item: u64, version: u64) {
        self.written.insert((item, version), Instant::now());
    }

    /// A line of a reader: `item-ID VERSION`.
    pub(super) fn read(&mut self, line: &str) {
        let now = Instant::now();
        self.last_read = Some(now);
        let parsed = line
            .split_once(' ')
            .and_then(|(id, version)| Some((id.strip_prefix("item-")?.parse().ok()?, version.trim().parse().ok()?)));
        let Some((change, written)) = parsed.and_then(|change| Some((change, self.written.get(&change)?))) else {
            self.strange += 1;
            return;
        };
        if self.different.insert(change) {
            self.delays.push(now.duration_since(*written));
        }
        self.read.entry(change.0).or_default().push(change.1);
    }

    /// How many changes were read at least once.
    pub(super) fn different(&self) -> u64 {
        self.different.len() as u64
    }

    /// Time since the last line; since the first write, when none came.
    pub(super) fn quiet_for(&self) -> Duration {
        let since = self.last_read.or_else(|| self.written.values().min().copied());
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Sums up, with what the service tells about itself.
    pub(super) fn figures(
        &mut self,
        name: &'static str,
        seconds: f64,
        cpu_seconds: Option<f64>,
        client: &mut Client,
    ) -> Result<Figures> {
        let truth = client.ask(&format!("truth?table={TABLE}"))?;
        let unkind = client.ask("unkind")?;
        self.delays.sort_unstable();
        let delay = |share: f64| {
            let at = (self.delays.len() as f64 * share) as usize;
            self.delays.get(at.min(self.delays.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let read = self.read.values().map(|versions| versions.len() as u64).sum();
        Ok(Figures {
            name,
            written: self.written.len() as u64,
            read,
            missing: self.written.len() as u64 - self.different(),
            twice: read - self.different(),
            out_of_order: self.read.values().map(|versions| steps_back(versions)).sum(),
            strange: self.strange,
            seconds,
            delays: [delay(0.5), delay(0.99), delay(1.0)],
            cpu_seconds,
            shards: truth["shards"].as_array().map_or(0, Vec::len),
            generations: generations(truth["shards"].as_array().map(Vec::as_slice).unwrap_or_default()),
            unkind: unkind.to_string(),
        })
    }
}

/// How often a version follows a later one.
fn steps_back(versions: &[u64]) -> u64 {
    versions.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64
}

/// The length of the longest line of descent. Children come after their parents.
fn generations(shards: &[Value]) -> usize {
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in shards {
        let parent = shard["parent"].as_str().and_then(|parent| depths.get(parent)).copied().unwrap_or_default();
        depths.insert(shard["shard"].as_str().unwrap_or_default(), parent + 1);
    }
    depths.into_values().max().unwrap_or_default()
}

impl Figures {
    /// Whether every change was read once and in order.
    pub(super) fn is_whole(&self) -> bool {
        self.written == self.read && self.missing + self.twice + self.out_of_order + self.strange == 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, longest] = self.delays.map(|delay| delay.as_secs_f64());
        write!(
            out,
            "{:<6} {} written, {} read: {} missing, {} twice, {} out of order, {} strange; {} shards in {} generations; \
             {:.0} s; from write to reader {median:.1} s (median), {most:.1} s (99%), {longest:.1} s (longest); the service \
             took {:.1} s CPU and was unkind: {}",
            self.name,
            self.written,
            self.read,
            self.missing,
            self.twice,
            self.out_of_order,
            self.strange,
            self.shards,
            self.generations,
            self.seconds,
            self.cpu_seconds.unwrap_or_default(),
            self.unkind
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_held_against_what_was_written() {
        let mut checker = Checker::default();
        for version in 1..=4 {
            checker.written(7, version);
        }
        for line in ["item-7 1", "item-7 3", "item-7 2", "item-7 2", "item-8 1", "nonsense"] {
            checker.read(line);
        }
        assert_eq!((checker.different(), checker.strange), (3, 2));
        assert_eq!(checker.read[&7], [1, 3, 2, 2]);
        assert_eq!(steps_back(&checker.read[&7]), 1);
    }

    #[test]
    fn generations_are_counted_along_the_lineage() {
        let shard = |id: &str, parent: Option<&str>| serde_json::json!({"shard": id, "parent": parent});
        let shards = [shard("a", None), shard("b", Some("a")), shard("c", None), shard("d", Some("b"))];
        assert_eq!(generations(&shards), 3);
        assert_eq!(generations(&[]), 0);
    }
}
