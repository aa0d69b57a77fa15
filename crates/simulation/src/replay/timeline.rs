//! When the records of a replay arrive, and with them when its shards begin and end.

use super::page::Page;

/// The creation time of records that were always there, in microseconds since 1970.
const LONG_AGO_US: i64 = 1_700_000_000_000_000;
const MICROSECONDS: u128 = 1_000_000;

/// The clock by which the records of every lineage arrive. Pages are counted through all shards of a lineage.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Records before each of the rendered pages, and of all of them.
    before: Vec<u64>,
    lineages: u64,
    /// Records a second of each lineage; nothing when all were always there.
    rate: Option<u32>,
    started_at_us: i64,
}

impl Timeline {
    pub(super) fn new(pages: &[Page], lineages: u64, rate: Option<u32>, started_at_us: i64) -> Self {
        let mut before = vec![0];
        for page in pages {
            before.push(before.last().map_or(0, |sum| sum + page.count()));
        }
        Self { before, lineages, rate, started_at_us }
    }

    /// Rendered pages: what a lineage has before it has the same ones again.
    pub(super) fn pages(&self) -> u64 {
        self.before.len() as u64 - 1
    }

    /// Records of all rendered pages.
    pub(super) fn records(&self) -> u64 {
        self.before.last().copied().unwrap_or_default()
    }

    /// Records of the lineage before the page.
    pub(super) fn records_before(&self, page: u64) -> u64 {
        (page / self.pages()).saturating_mul(self.records()) + self.before[(page % self.pages()) as usize]
    }

    /// Records of the lineage that have arrived.
    pub(super) fn arrived(&self, lineage: u64, now_us: i64) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let elapsed = now_us.saturating_sub(self.began_us(lineage, rate)).max(0).unsigned_abs();
        (u128::from(elapsed) * u128::from(rate) / MICROSECONDS) as u64
    }

    /// When a record arrives that has so many others before it.
    pub(super) fn arrival_us(&self, lineage: u64, ordinal: u64) -> i64 {
        match self.rate {
            None | Some(0) => LONG_AGO_US,
            Some(rate) => {
                let after = ((u128::from(ordinal) + 1) * MICROSECONDS).div_ceil(u128::from(rate));
                self.began_us(lineage, rate).saturating_add(i64::try_from(after).unwrap_or(i64::MAX))
            }
        }
    }

    /// The page with the next record that will arrive, and its place there.
    pub(super) fn tip(&self, lineage: u64, now_us: i64) -> (u64, u64) {
        let arrived = self.arrived(lineage, now_us);
        let (pass, rest) = (arrived / self.records(), arrived % self.records());
        let page = self.before.partition_point(|before| *before <= rest) - 1;
        (pass.saturating_mul(self.pages()).saturating_add(page as u64), rest - self.before[page])
    }

    /// Lineages begin one after the other within the time between two records: their records do not all arrive at once.
    fn began_us(&self, lineage: u64, rate: u32) -> i64 {
        let between = u128::from(rate.max(1)) * u128::from(self.lineages.max(1));
        self.started_at_us.saturating_add((u128::from(lineage) * MICROSECONDS / between) as i64)
    }
}
