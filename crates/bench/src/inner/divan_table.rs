//! The tables that divan prints; it has no form for programs.

use crate::measure::Figures;

/// What was read of some tables so far.
#[derive(Debug, Default)]
pub struct DivanTable {
    pub rows: Vec<DivanRow>,
    /// The names above the next row: the table's own, and those of its groups.
    path: Vec<String>,
}

/// A benchmark.
#[derive(Debug, PartialEq)]
pub struct DivanRow {
    /// Its table, groups and name.
    pub path: String,
    /// Medians: the time, and rates where they are counted.
    pub figures: Figures,
}

impl DivanTable {
    /// Takes the next line. Those of no table say nothing.
    pub fn read(&mut self, line: &str) {
        // From the end, because the branches of the tree are drawn with the same line: iterations, samples, mean, median.
        let Some(median) = line.rsplit('│').nth(3).map(str::trim) else { return };
        if median == "median" {
            self.path = first_word(line).into_iter().collect();
        } else if let Some((branches, rest)) = line.split_once("─ ") {
            self.path.truncate(1 + branches.chars().count() / 3);
            self.path.extend(first_word(rest));
            if let Some(ns) = scaled(median, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]) {
                self.rows.push(DivanRow { path: self.path.join("/"), figures: vec![("median_us", ns / 1e3)] });
            }
        } else if let Some(row) = self.rows.last_mut() {
            let bytes = [("B/s", 1.0), ("KB/s", 1e3), ("MB/s", 1e6), ("GB/s", 1e9)];
            let items = [("item/s", 1.0), ("Kitem/s", 1e3), ("Mitem/s", 1e6), ("Gitem/s", 1e9)];
            row.figures.extend(scaled(median, &bytes).map(|rate| ("mb_per_s", rate / 1e6)));
            row.figures.extend(scaled(median, &items).map(|rate| ("items_per_s", rate)));
        }
    }
}

fn first_word(text: &str) -> Option<String> {
    text.split_whitespace().next().map(str::to_owned)
}

/// A number with one of these units, in the first of them.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Timer precision: 17 ns
decode               fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ aws_sdk                         │               │               │               │         │
│  ├─ 1kb            15.17 ms      │ 18.4 ms       │ 15.5 ms       │ 15.6 ms       │ 100     │ 100
│  │                 74.96 MB/s    │ 61.8 MB/s     │ 73.16 MB/s    │ 72.9 MB/s     │         │
│  │                 65.9 Kitem/s  │ 54.34 Kitem/s │ 64.5 Kitem/s  │ 64.1 Kitem/s  │         │
│  ╰─ tiny           259.7 µs      │ 353.3 µs      │ 263.5 µs      │ 268.9 µs      │ 100     │ 100
│                    max alloc:    │               │               │               │         │
│                      4           │ 4             │ 4             │ 4             │         │
╰─ keep              57.58 ns      │ 113 ns        │ 57.5 ns       │ 59.47 ns      │ 100     │ 100
";

    #[test]
    fn medians_are_read_with_their_rates() {
        let mut table = DivanTable::default();
        OUTPUT.lines().for_each(|line| table.read(line));
        let row = |path: &str, figures: &[(&'static str, f64)]| DivanRow { path: path.into(), figures: figures.into() };
        let expected = [
            row("decode/aws_sdk/1kb", &[("median_us", 15_500.0), ("mb_per_s", 73.16), ("items_per_s", 64_500.0)]),
            row("decode/aws_sdk/tiny", &[("median_us", 263.5)]),
            row("decode/keep", &[("median_us", 0.0575)]),
        ];
        assert_eq!(table.rows, expected);
    }
}
