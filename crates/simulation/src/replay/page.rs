//! The pages of a replay: rendered once, with places of fixed width for what differs at each serving.

use std::ops::Range;

use super::image::RecordWriter;

/// Most bytes and most records of a page (DynamoDB API reference, `GetRecords`).
pub(super) const PAGE_BYTES_MAX: usize = 1_000_000;
pub(super) const PAGE_RECORDS_MAX: u64 = 1_000;
/// Sequence numbers begin here: 21 digits, the fewest.
const SEQUENCE_FIRST: u128 = 100_000_000_000_000_000_000;

/// A place in a page that is written at each serving, in decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The number of the shard's lineage.
    Shard,
    /// The record's sequence number.
    Sequence,
    /// When the record arrived, in seconds since 1970.
    CreatedSecond,
    /// The same in milliseconds.
    ArrivedMillisecond,
    /// When the page was served, in microseconds since 1970.
    ServedMicrosecond,
}

impl Slot {
    const fn width(self) -> usize {
        match self {
            Self::Shard => 6,
            Self::Sequence => 21,
            Self::CreatedSecond => 10,
            Self::ArrivedMillisecond => 13,
            Self::ServedMicrosecond => 16,
        }
    }
}

/// What is written into the places of one record.
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub(super) lineage: u64,
    pub(super) sequence: u128,
    pub(super) arrived_us: i64,
    pub(super) served_us: i64,
}

/// Text with open places.
#[derive(Debug, Default)]
pub(super) struct Template {
    text: Vec<u8>,
    slots: Vec<(usize, Slot)>,
}

impl Template {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    pub(super) fn slot(&mut self, slot: Slot) {
        self.slots.push((self.text.len(), slot));
        self.text.resize(self.text.len() + slot.width(), b'0');
    }
}

/// The records of one page, with a comma between them.
#[derive(Debug, Default)]
pub(super) struct Page {
    template: Template,
    /// Where each record's text and slots begin, and where those of the last one end.
    begins: Vec<(usize, usize)>,
}

impl Page {
    /// A page as full as the service's limits allow.
    pub(super) fn render(writer: &mut RecordWriter) -> Self {
        let mut page = Self { begins: vec![(0, 0)], ..Self::default() };
        while page.count() < PAGE_RECORDS_MAX {
            let (text_end, slots_end) = (page.template.len(), page.template.slots.len());
            if page.count() > 0 {
                page.template.text(",");
            }
            writer.record(&mut page.template);
            if page.template.len() >= PAGE_BYTES_MAX {
                page.template.text.truncate(text_end);
                page.template.slots.truncate(slots_end);
                break;
            }
            page.begins.push((page.template.len(), page.template.slots.len()));
        }
        page
    }

    pub(super) fn count(&self) -> u64 {
        self.begins.len() as u64 - 1
    }

    /// As many of the records from the first on as have so many bytes together, and how many they have.
    pub(super) fn fitting(&self, records: Range<u64>, bytes_max: usize) -> (Range<u64>, usize) {
        let first = records.start.min(self.count());
        let last = records.end.clamp(first, self.count());
        let begins = &self.begins[first as usize..=last as usize];
        let bytes_to = |begin: &(usize, usize)| begin.0 - begins[0].0;
        // The first begin is no record's end.
        let count = begins.partition_point(|begin| bytes_to(begin) <= bytes_max) - 1;
        (first..first + count as u64, bytes_to(&begins[count]))
    }

    /// Appends some of the records with what `values` says of each. Answers how many.
    pub(super) fn serve(&self, records: Range<u64>, values: impl Fn(u64) -> Values, out: &mut Vec<u8>) -> u64 {
        let range = records.start.min(self.count())..records.end.min(self.count());
        let begin = |index: u64| self.begins.get(index as usize).copied().unwrap_or_default();
        // The comma before the first record belongs to the records before it.
        let text_begin = begin(range.start).0 + usize::from(range.start > 0);
        let text_end = begin(range.end).0;
        if range.is_empty() {
            return 0;
        }
        let base = out.len();
        out.extend_from_slice(&self.template.text[text_begin..text_end]);
        for index in range.clone() {
            let digits = Digits::of(values(index));
            for (offset, slot) in &self.template.slots[begin(index).1..begin(index + 1).1] {
                let place = base + offset - text_begin;
                out[place..place + slot.width()].copy_from_slice(digits.of_slot(*slot));
            }
        }
        range.end - range.start
    }
}

/// The digits of one record's places.
struct Digits {
    shard: [u8; Slot::Shard.width()],
    sequence: [u8; Slot::Sequence.width()],
    arrived_ms: [u8; Slot::ArrivedMillisecond.width()],
    served_us: [u8; Slot::ServedMicrosecond.width()],
}

impl Digits {
    fn of(values: Values) -> Self {
        // In two halves: dividing 128 bits by ten for each digit would cost more than all the rest of a page.
        let half = 10_u128.pow(11);
        let mut sequence = [0; Slot::Sequence.width()];
        sequence[..10].copy_from_slice(&digits::<10>((values.sequence / half) as u64));
        sequence[10..].copy_from_slice(&digits::<11>((values.sequence % half) as u64));
        Self {
            shard: digits(values.lineage),
            sequence,
            arrived_ms: digits((values.arrived_us / 1_000).unsigned_abs()),
            served_us: digits(values.served_us.unsigned_abs()),
        }
    }

    fn of_slot(&self, slot: Slot) -> &[u8] {
        match slot {
            Slot::Shard => &self.shard,
            Slot::Sequence => &self.sequence,
            Slot::CreatedSecond => &self.arrived_ms[..Slot::CreatedSecond.width()],
            Slot::ArrivedMillisecond => &self.arrived_ms,
            Slot::ServedMicrosecond => &self.served_us,
        }
    }
}

fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// The sequence number of a record by its page, counted through all shards of a lineage, and its place there.
pub(super) fn sequence(page: u64, index: u64) -> u128 {
    SEQUENCE_FIRST + u128::from(page) * u128::from(PAGE_RECORDS_MAX) + u128::from(index)
}

/// The page of a sequence number and the record's place there; nothing for what [`sequence`] never gave.
pub(super) fn place(sequence: &str) -> Option<(u64, u64)> {
    let after_first = u64::try_from(sequence.parse::<u128>().ok()?.checked_sub(SEQUENCE_FIRST)?).ok()?;
    Some((after_first / PAGE_RECORDS_MAX, after_first % PAGE_RECORDS_MAX))
}
