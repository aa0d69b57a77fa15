//! What is told of the days.

use std::time::Duration;

use crate::lane::Outcome;
use crate::service::Calls;

/// Days between two that are told.
const TOLD_EVERY: u32 = 30;
/// Growth that fails, in hundredths of the second day: of rows and calls, which repeat, and of memory, which the allocator
/// has a word in.
const GROWTH_MAX: f64 = 1.1;
const GROWTH_OF_MEMORY_MAX: f64 = 1.25;

/// What was found at the end of a day.
#[derive(Clone, Copy)]
pub struct Day {
    number: u32,
    rows: usize,
    resident_mib: f64,
    reopening: Duration,
    calls: Calls,
}

impl Day {
    pub fn new(number: u32, rows: usize, reopening: Duration, calls: Calls) -> Outcome<Self> {
        Ok(Self { number, rows, resident_mib: resident_mib()?, reopening, calls })
    }

    fn described(&self) -> u64 {
        self.calls.listings + self.calls.children
    }

    fn reopening_ms(&self) -> f64 {
        self.reopening.as_secs_f64() * 1e3
    }
}

/// The days so far, as far as they are needed.
#[derive(Default)]
pub struct Table {
    second: Option<Day>,
    last: Option<Day>,
}

impl Table {
    pub fn begin() -> Self {
        println!(
            "  day    rows  resident_mib  reopen_ms  describe_stream  of_them_children  get_shard_iterator  get_records"
        );
        Self::default()
    }

    pub fn add(&mut self, day: Day, is_last: bool) {
        if day.number <= 2 || day.number.is_multiple_of(TOLD_EVERY) || is_last {
            let (rows, mib, ms, described) = (day.rows, day.resident_mib, day.reopening_ms(), day.described());
            let Calls { children, iterators, pages, .. } = day.calls;
            println!(
                "{:>5} {rows:>7} {mib:>13.1} {ms:>10.2} {described:>16} {children:>17} {iterators:>19} {pages:>12}",
                day.number
            );
        }
        if day.number == 2 {
            self.second = Some(day);
        }
        self.last = Some(day);
    }

    /// The last day against the second one.
    pub fn judge(&self) -> Outcome<()> {
        let (Some(second), Some(last)) = (self.second, self.last.filter(|last| last.number > 2)) else {
            return Err("to compare days takes three of them".into());
        };
        let ratios = [
            ("rows", last.rows as f64 / second.rows as f64, GROWTH_MAX),
            ("describe_stream", last.described() as f64 / second.described() as f64, GROWTH_MAX),
            ("resident_mib", last.resident_mib / second.resident_mib, GROWTH_OF_MEMORY_MAX),
            ("get_shard_iterator", last.calls.iterators as f64 / second.calls.iterators as f64, f64::INFINITY),
            ("reopen_ms", last.reopening_ms() / second.reopening_ms(), f64::INFINITY),
        ];
        let told: Vec<String> = ratios.iter().map(|(what, ratio, _)| format!("{what} {ratio:.3}")).collect();
        println!("day {} against day 2: {}", last.number, told.join("  "));
        let grown: Vec<&str> = ratios.iter().filter(|(_, ratio, max)| ratio > max).map(|(what, ..)| *what).collect();
        if grown.is_empty() { Ok(()) } else { Err(format!("grown: {}", grown.join(", ")).into()) }
    }
}

/// Memory that this process holds, as the kernel tells it (proc(5)).
fn resident_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}
