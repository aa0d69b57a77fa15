//! Decoding a page of records: the body of a `GetRecords` answer, read once from front to back. What comes out are
//! slices of the page.
//!
//! AWS writes JSON in a compact form, and that form is read fast. Any other JSON goes through [`crate::tolerant`].

use bytestring::ByteString;
use tailwater_model::{JsonCursor, Malformed, ShardId};
use thiserror::Error;

use crate::api::{Decoded, RecordPage, ShardIterator};
use crate::record::read_record;
use crate::tolerant;

/// Largest body that is accepted, in bytes (I6). The service ends a page at 1 MB of item data; its JSON with escapes
/// and base64 can be several times that.
pub const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most records that room is made for at once: what the service puts into a page.
const RECORDS_EXPECTED_MAX: usize = 1000;

/// A body that is no page of records. Never skipped: the page is asked for again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PageFault {
    /// The body is too large to be a page.
    #[error("the page has more than {PAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// The body is not text.
    #[error("the page is not UTF-8 after byte {valid_up_to}")]
    NotUtf8 {
        /// Bytes before the first that is wrong.
        valid_up_to: usize,
    },
    /// The body is not what it was when the service sent it.
    #[error("the page's CRC-32 is {found}, but the service sent {sent}")]
    Checksum {
        /// The header `x-amz-crc32`.
        sent: u32,
        /// What the body has.
        found: u32,
    },
    /// The body is not JSON, or not a page, or holds a record without a place that it could be kept aside with.
    #[error(
        "not a page of records: {0}; nothing is skipped, it is asked for again: does a proxy or an emulator change the answers?"
    )]
    Malformed(String),
}

/// A page with its records as they came, for `tail --raw`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawPage {
    /// The records in stream order, each one line of JSON.
    pub records: Vec<ByteString>,
    /// Where to read next; nothing at the end of a closed shard.
    pub next: Option<ShardIterator>,
}

/// Decodes a page. A record that cannot become a change event becomes a dead letter; a page that cannot be understood
/// is a fault, and asking again is the only answer to it (I5).
pub fn decode_page(page: ByteString, shard: &ShardId) -> Result<RecordPage, PageFault> {
    match decode_compact(&page, shard) {
        Ok(decoded) => Ok(decoded),
        Err(fault) => {
            tracing::debug!(%shard, %fault, "the page is not in compact form, reading it tolerantly");
            tolerant::decode_page(&page, shard)
        }
    }
}

/// Takes a page apart into its records without looking into them.
pub fn split_page(page: ByteString) -> Result<RawPage, PageFault> {
    let mut records = Vec::new();
    let next = read_envelope(&page, |cursor| {
        records.push(page.slice_ref(cursor.skip_value()?));
        Ok(())
    });
    match next {
        Ok(next) => Ok(RawPage { records, next }),
        Err(_) => tolerant::split_page(&page),
    }
}

fn decode_compact(page: &ByteString, shard: &ShardId) -> Result<RecordPage, Malformed> {
    let mut decoded = RecordPage { bytes: page.len(), ..RecordPage::default() };
    decoded.next = read_envelope(page, |cursor| {
        let from = cursor.at();
        let record = read_record(cursor, page, shard, &mut decoded.unknown_event_names)?;
        if decoded.records.is_empty() {
            // The records of a page are mostly alike: one allocation for all of them.
            decoded.records.reserve((page.len() / (cursor.at() - from).max(1)).min(RECORDS_EXPECTED_MAX));
        }
        decoded.records.push(record);
        Ok(())
    })?;
    decoded.memory_bytes = memory_of(&decoded.records, page.len());
    Ok(decoded)
}

/// Memory that records hold, in bytes: `shared` is the text that they are slices of.
pub(crate) fn memory_of(records: &Vec<Decoded>, shared: usize) -> usize {
    let own = |record: &Decoded| match record {
        Decoded::Event(_) => 0,
        Decoded::DeadLetter(letter) => letter.memory_bytes(),
    };
    if records.is_empty() {
        return 0;
    }
    shared + records.capacity() * size_of::<Decoded>() + records.iter().map(own).sum::<usize>()
}

/// Reads the outermost object. An answer without any field that we know is no page: taken for one, it would be the end
/// of the shard.
fn read_envelope<'a>(
    page: &'a str,
    mut record: impl FnMut(&mut JsonCursor<'a>) -> Result<(), Malformed>,
) -> Result<Option<ShardIterator>, Malformed> {
    let mut cursor = JsonCursor::new(page);
    let mut next = None;
    let mut known = false;
    read_members(&mut cursor, |cursor| {
        if cursor.take("\"Records\":") {
            known = true;
            read_records(cursor, &mut record)?;
        } else if cursor.take("\"NextShardIterator\":") {
            known = true;
            if !cursor.take("null") {
                next = Some(ShardIterator(unescaped(cursor.string()?)));
            }
        } else {
            skip_member(cursor)?;
        }
        Ok(())
    })?;
    if cursor.peek().is_some() {
        return cursor.expected("the end of the page");
    }
    if !known {
        return cursor.expected("Records or NextShardIterator");
    }
    Ok(next)
}

fn read_records<'a>(
    cursor: &mut JsonCursor<'a>,
    record: &mut impl FnMut(&mut JsonCursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if cursor.take("null") {
        return Ok(());
    }
    cursor.expect("[")?;
    if cursor.take("]") {
        return Ok(());
    }
    loop {
        record(cursor)?;
        if !cursor.comma_or("]")? {
            return Ok(());
        }
    }
}

/// Reads an object. `member` reads a name, its colon and its value: it compares what comes with the names that it knows,
/// which costs less than finding the name's end first.
#[inline(always)]
pub(crate) fn read_members<'a>(
    cursor: &mut JsonCursor<'a>,
    mut member: impl FnMut(&mut JsonCursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    cursor.expect("{")?;
    if cursor.take("}") {
        return Ok(());
    }
    loop {
        member(cursor)?;
        if !cursor.comma_or("}")? {
            return Ok(());
        }
    }
}

/// A member that nobody knows. A name with escapes is left to the tolerant reader: skipped as unknown it could hide
/// records.
pub(crate) fn skip_member(cursor: &mut JsonCursor<'_>) -> Result<(), Malformed> {
    cursor.plain_string()?;
    cursor.expect(":")?;
    cursor.skip_value().map(drop)
}

/// The text of a string body that was read by the cursor.
pub(crate) fn unescaped(body: &str) -> String {
    let quoted = || serde_json::from_str(&format!("\"{body}\"")).unwrap_or_else(|_| body.to_owned());
    if body.contains('\\') { quoted() } else { body.to_owned() }
}
