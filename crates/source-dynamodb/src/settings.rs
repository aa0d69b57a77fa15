//! What a pipeline chooses about reading: where to start, what to do about gaps, how fast to poll, how much to hold.

use std::time::Duration;

use tailwater_model::PreviousStream;

/// Where a pipeline without progress begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest record that the stream still has (at most 24 hours old).
    TrimHorizon,
    /// With what is written from now on. Concerns only the shards of the very first complete listing: closed ones are
    /// left out, open ones are first read from `LATEST`; a reopen before their first committed record reads them from
    /// the trim horizon, which may deliver older records and never loses any. Children always begin at the trim horizon.
    /// "Now" is over when all these shards are stored and a second complete listing came: what is written after that is
    /// carried.
    Latest,
}

/// What to do when records were, or may have been, trimmed before they were read. A durable gap record in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap {
    /// Stop the pipeline, and stop it again at each start until this setting is changed. Once only for a shard that is listed
    /// after its children were read without it, because it was said not to exist: the next start goes on behind that gap.
    Stop,
    /// Record the gap and go on behind it.
    Continue,
}

/// Records are mostly read some hundred milliseconds after their write, and up to ten seconds after it (observed). Now and
/// then a shard stands still for minutes.
pub const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// How a stream is read.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Where a pipeline without progress begins.
    pub start: StartAt,
    /// What to do about loss.
    pub on_gap: OnGap,
    /// Finish once everything that was created before the first answer of the service is in the sink, in place of following
    /// the stream for ever.
    pub until_tip: bool,
    /// The stream that was read before this one, where the sink does not know it.
    pub follows: Option<PreviousStream>,
    /// Wait of a shard after a page with records that was not full.
    pub poll_interval_min: Duration,
    /// Longest wait of a shard while its pages stay empty.
    pub poll_interval_max: Duration,
    /// Records can be read this long after their write at the latest, as far as the end of a bounded run is concerned, and
    /// how far an idle shard was read. At most a quarter of an hour: gap rule 5 has an hour of room.
    pub visible_within: Duration,
    /// Requests of one lane that may be under way at once; at least one is used.
    pub fetch_slots: usize,
    /// Bytes of pages that all lanes of the stream together may hold: being fetched, waiting, or handed out and not yet
    /// durable.
    pub memory_bytes_max: usize,
    /// Time between two complete listings of the shards while nothing asks for one earlier.
    pub discovery_interval: Duration,
    /// Seed of all jitter: the same seed and the same answers give the same run.
    pub seed: u64,
}
