//! Shard iterators: opaque text that names a place, whoever reads on from it, and when it was given out.

use data_encoding::BASE64URL_NOPAD;

/// What an iterator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The stream's and the shard's number.
    pub(super) stream: usize,
    pub(super) shard: usize,
    /// Records before it.
    pub(super) index: usize,
    pub(super) issued_at_ms: i64,
    /// Marks the iterators that come from one `GetShardIterator`: one reader.
    pub(super) reader: u64,
    /// Empty pages of it in a row so far.
    pub(super) empty_pages: u32,
}

impl Place {
    /// The text of the iterator. It ends in a checksum, so that no other text is taken for one.
    pub(super) fn token(self) -> String {
        let Self { stream, shard, index, issued_at_ms, reader, empty_pages } = self;
        let plain = format!("{stream}.{shard}.{index}.{issued_at_ms}.{reader}.{empty_pages}");
        let checked = format!("{plain}.{:08x}", crc32fast::hash(plain.as_bytes()));
        BASE64URL_NOPAD.encode(checked.as_bytes())
    }

    /// Reads what [`Self::token`] wrote; nothing for every other text.
    pub(super) fn read(token: &str) -> Option<Self> {
        let checked = String::from_utf8(BASE64URL_NOPAD.decode(token.as_bytes()).ok()?).ok()?;
        let (plain, checksum) = checked.rsplit_once('.')?;
        if checksum != format!("{:08x}", crc32fast::hash(plain.as_bytes())) {
            return None;
        }
        let mut parts = plain.split('.');
        Some(Self {
            stream: parts.next()?.parse().ok()?,
            shard: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
            issued_at_ms: parts.next()?.parse().ok()?,
            reader: parts.next()?.parse().ok()?,
            empty_pages: parts.next()?.parse().ok()?,
        })
    }
}
