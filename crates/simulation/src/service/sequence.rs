//! Sequence numbers: 21 to 40 digits (DynamoDB API reference, `StreamRecord`), growing within a shard with large gaps and
//! along a lineage, where their lengths change too: as text they sort wrongly.

use bytestring::ByteString;
use tailwater_model::SequenceNumber;

/// Digits of the part that grows within a shard.
const NUMBER_DIGITS: usize = 19;
/// Most digits of the part that a shard has to itself: with [`NUMBER_DIGITS`] forty.
const STEM_MAX: u128 = 10_u128.pow(21) - 1;
/// The first shards' stems have two to five digits.
const STEM_FIRST: std::ops::RangeInclusive<u128> = 10..=99_999;
/// The first number that a shard's own part has no room for.
const NUMBERS: u64 = 10_u64.pow(19);
/// The largest step from one record to the next.
const STEP_MAX: u64 = 1_000_000;

/// A sequence number in two parts. Compared like the number that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence {
    stem: u128,
    number: u64,
}

impl Sequence {
    /// Where a shard without a parent begins.
    pub(super) fn first(rng: &mut fastrand::Rng) -> Self {
        Self { stem: rng.u128(STEM_FIRST), number: rng.u64(..STEP_MAX) }.near_more_digits()
    }

    /// One shard in four begins shortly before its numbers get one digit more.
    fn near_more_digits(self) -> Self {
        if !self.number.is_multiple_of(4) || self.stem >= STEM_MAX / 10 {
            return self;
        }
        let stem = 10_u128.pow(self.stem.ilog10() + 1) - 1;
        Self { stem, number: NUMBERS - STEP_MAX * 2 - self.number }
    }

    /// Where a child begins: above everything of its parent, and now and then with more digits.
    pub(super) fn of_child(self, rng: &mut fastrand::Rng) -> Self {
        let grown = self.stem.saturating_mul(rng.u128(1..=9)).saturating_add(rng.u128(1..=9));
        let stem = if grown > STEM_MAX { (self.stem + 1).min(STEM_MAX) } else { grown };
        Self { stem, number: rng.u64(..STEP_MAX) }.near_more_digits()
    }

    /// A later place in the same shard.
    pub(super) fn later(self, rng: &mut fastrand::Rng) -> Self {
        let number = self.number + rng.u64(1..=STEP_MAX);
        match number.checked_sub(NUMBERS) {
            None => Self { number, ..self },
            Some(number) => Self { stem: self.stem + 1, number },
        }
    }

    /// The place before this one.
    pub(super) fn before(self) -> Self {
        Self { number: self.number.saturating_sub(1), ..self }
    }

    pub(super) fn text(self) -> String {
        format!("{}{:0NUMBER_DIGITS$}", self.stem, self.number)
    }

    /// The engine's own type; nothing if a number had more than forty digits, which none has.
    pub(super) fn to_number(self) -> Option<SequenceNumber> {
        SequenceNumber::parse(ByteString::from(self.text())).ok()
    }

    /// Reads what [`Self::text`] writes; nothing for every other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_number =
            (NUMBER_DIGITS + 1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let (stem, number) = is_number.then(|| text.split_at(text.len() - NUMBER_DIGITS))?;
        Some(Self { stem: stem.parse().ok()?, number: number.parse().ok()? })
    }
}
