//! Where a shard has been read to: sequence numbers, positions, and the step between two positions.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use thiserror::Error;

/// Most digits of a sequence number. DynamoDB gives 21 to 40 (API reference, `StreamRecord`); servers that are built on Kinesis
/// give its numbers, of 56 by now and of 129 at most (Kinesis API reference, `Record`).
const SEQUENCE_NUMBER_DIGITS_MAX: usize = 129;

/// The id of a shard, as DynamoDB gave it. Opaque: what its text seems to say (a creation time) is never relied on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// Takes the id as it came.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lane of this shard among `lanes` (at least one): a stable hash, the same on every machine and in every
    /// version, because the lane is stored in the sink.
    pub fn lane(&self, lanes: u32) -> u32 {
        crc32fast::hash(self.0.as_bytes()) % lanes.max(1)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The place of a record in its shard. Opaque text that is only compared for equality: as strings sequence numbers of
/// different lengths sort wrongly, and across shards they are not comparable at all, so there is no `Ord`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(ByteString);

/// Text that is not a sequence number.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a sequence number has 1 to {SEQUENCE_NUMBER_DIGITS_MAX} digits and nothing else")]
pub struct SequenceNumberFault;

impl SequenceNumber {
    /// Accepts 1 to 129 decimal digits. The service gives 21 to 40; emulators give fewer, or more.
    pub fn parse(text: ByteString) -> Result<Self, SequenceNumberFault> {
        let digits = (1..=SEQUENCE_NUMBER_DIGITS_MAX).contains(&text.len());
        if digits && text.bytes().all(|byte| byte.is_ascii_digit()) { Ok(Self(text)) } else { Err(SequenceNumberFault) }
    }

    /// The digits as they came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that does not keep the page alive which this number was read from.
    pub fn detached(&self) -> Self {
        Self(ByteString::from(String::from(&*self.0)))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How far a shard has been carried. The end of a shard is a position like any other, so "drained" is ordinary progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// Nothing yet: reading begins at the trim horizon.
    Start,
    /// Everything up to and with this record.
    After(SequenceNumber),
    /// Everything: the shard is drained.
    End,
}

/// A stored position that cannot be understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the stored position {0:?} is none of \"start\", \"after:<digits>\", \"end\"")]
pub struct PositionFault(String);

impl Position {
    /// Reads the form that [`fmt::Display`] writes, which is the form that sinks store.
    pub fn parse(text: &str) -> Result<Self, PositionFault> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => text
                .strip_prefix("after:")
                .and_then(|digits| SequenceNumber::parse(digits.into()).ok())
                .map(Self::After)
                .ok_or_else(|| PositionFault(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => out.write_str("start"),
            Self::After(number) => write!(out, "after:{number}"),
            Self::End => out.write_str("end"),
        }
    }
}

/// The step that a batch stands for. It applies only where the stored position equals `from` (I2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Where the shard must stand.
    pub from: Position,
    /// Where it stands afterwards.
    pub to: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_their_stored_form() {
        let number = SequenceNumber::parse("111000000000012345678".into()).expect("digits");
        for position in [Position::Start, Position::After(number), Position::End] {
            assert_eq!(Position::parse(&position.to_string()), Ok(position));
        }
        assert!(Position::parse("after:12x").is_err());
        assert!(Position::parse("").is_err());
    }

    #[test]
    fn sequence_numbers_are_digits_within_bounds() {
        for digits in [1, 21, 40, 56, 129] {
            assert!(SequenceNumber::parse("9".repeat(digits).into()).is_ok(), "{digits}");
        }
        for bad in ["", "-1", "1.0", "１２", &"9".repeat(130)] {
            assert_eq!(SequenceNumber::parse(bad.into()), Err(SequenceNumberFault), "{bad}");
        }
    }

    #[test]
    fn lanes_are_stable() {
        // Stored in users' databases: these values may never change.
        let shard = ShardId::new("shardId-00000001734567890123-0a1b2c3d");
        assert_eq!(shard.lane(1), 0);
        assert_eq!(shard.lane(7), crc32fast::hash(shard.as_str().as_bytes()) % 7);
        assert_eq!(ShardId::new("123456789").lane(1000), 0xCBF4_3926 % 1000);
    }
}
