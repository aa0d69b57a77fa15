//! `GetShardIterator` and `GetRecords`.

use super::error::{self, ServiceError};
use super::iterator::Place;
use super::manners::{Manners, Probability, count, hit};
use super::record::Record;
use super::sequence::Sequence;
use super::shard::Shard;
use super::{RATE_WINDOW_MS, Service};

/// Most records of a page that may be asked for (DynamoDB API reference, `GetRecords`).
const LIMIT_MAX: u32 = 1000;
/// Most empty pages in a row: fifty were observed.
pub const EMPTY_PAGES_MAX: u32 = 50;

/// `ShardIteratorType` of the DynamoDB API reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IteratorType {
    /// The oldest record that is left.
    TrimHorizon,
    /// After the newest record; AWS may give slightly older ones.
    Latest,
    /// At this record.
    AtSequenceNumber,
    /// After this record.
    AfterSequenceNumber,
}

/// What `GetShardIterator` is asked.
#[derive(Clone, Debug)]
pub struct GetShardIterator {
    /// The stream.
    pub stream_arn: String,
    /// The shard.
    pub shard: String,
    /// Where to begin.
    pub kind: IteratorType,
    /// For the two that begin at a record.
    pub sequence_number: Option<String>,
}

impl IteratorType {
    /// By DynamoDB's word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "TRIM_HORIZON" => Some(Self::TrimHorizon),
            "LATEST" => Some(Self::Latest),
            "AT_SEQUENCE_NUMBER" => Some(Self::AtSequenceNumber),
            "AFTER_SEQUENCE_NUMBER" => Some(Self::AfterSequenceNumber),
            _ => None,
        }
    }
}

impl Service {
    /// Gives an iterator.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for a stream or a shard that is not there, `TrimmedDataAccessException` for a place that
    /// was trimmed, `ValidationException` for a request that makes no sense, and whatever the manners hold ready.
    pub fn get_shard_iterator(&mut self, now_ms: i64, request: &GetShardIterator) -> Result<String, ServiceError> {
        self.advance(now_ms);
        self.stumble()?;
        let stream = self.readable_stream(now_ms, &request.stream_arn)?;
        self.stumble_by(
            |manners| ("not_found_once", manners.not_found_once),
            || error::not_found("Requested resource not found"),
        )?;
        let at = self.streams[stream].shard_number(&request.shard);
        let at = at.filter(|at| !self.streams[stream].shards[*at].gone);
        let Some(at) = at else {
            let message = format!("Requested resource not found: Shard: {} not found", request.shard);
            return Err(error::not_found(message));
        };
        let shard = &self.streams[stream].shards[at];
        let index = match (request.kind, &request.sequence_number) {
            (IteratorType::TrimHorizon, None) => shard.trimmed,
            (IteratorType::Latest, None) => {
                let newest = shard.visible(now_ms);
                newest.saturating_sub(self.manners.latest_slack_records).max(shard.trimmed)
            }
            (IteratorType::TrimHorizon | IteratorType::Latest, Some(_)) => {
                return Err(error::validation("SequenceNumber is not allowed for this ShardIteratorType"));
            }
            (_, None) => return Err(error::validation("SequenceNumber is required for this ShardIteratorType")),
            (kind, Some(number)) => index_of(shard, kind, number, self.manners.foreign_sequence_accepted)?,
        };
        self.readers += 1;
        let issued_at_ms = self.issue_time(now_ms);
        Ok(Place { stream, shard: at, index, issued_at_ms, reader: self.readers, empty_pages: 0 }.token())
    }

    /// Lets all iterators expire that were given out until now.
    pub fn expire_iterators(&mut self, now_ms: i64) {
        self.iterators_end_ms = now_ms;
    }

    /// The time that stands in an iterator which is given out now: after all that have expired.
    fn issue_time(&self, now_ms: i64) -> i64 {
        now_ms.max(self.iterators_end_ms.saturating_add(1))
    }

    /// Reads a page: the body of the answer as the service writes it.
    ///
    /// # Errors
    /// `ExpiredIteratorException`, `TrimmedDataAccessException`, `ResourceNotFoundException`, `LimitExceededException` for
    /// the third reader of a shard, `ValidationException` for what is no iterator, and whatever the manners hold ready.
    pub fn get_records(&mut self, now_ms: i64, iterator: &str, limit: Option<u32>) -> Result<String, ServiceError> {
        self.advance(now_ms);
        self.stumble()?;
        self.stumble_by(|manners| ("limit_exceeded", manners.limit_exceeded), error::limit_exceeded)?;
        self.stumble_by(
            |manners| ("throughput_exceeded", manners.throughput_exceeded),
            || {
                ServiceError::new(
                    400,
                    "ProvisionedThroughputExceededException",
                    "The level of configured throughput was exceeded",
                )
            },
        )?;
        self.stumble_by(|manners| ("expired_early", manners.expired_early), error::expired_iterator)?;
        self.stumble_by(
            |manners| ("iterator_forgotten", manners.iterator_forgotten),
            || error::validation("Invalid ShardIterator"),
        )?;
        self.stumble_by(
            |manners| ("not_found_once", manners.not_found_once),
            || error::not_found("Requested resource not found"),
        )?;
        let limit = match limit.unwrap_or(LIMIT_MAX) {
            limit @ 1..=LIMIT_MAX => limit as usize,
            limit => return Err(error::validation(format!("Limit {limit} is not between 1 and {LIMIT_MAX}"))),
        };
        let place = Place::read(iterator).ok_or_else(|| error::validation("Invalid ShardIterator"))?;
        let is_old = now_ms - place.issued_at_ms > self.manners.iterator_life_ms;
        if is_old || place.issued_at_ms <= self.iterators_end_ms {
            return Err(error::expired_iterator());
        }
        let issued_at_ms = self.issue_time(now_ms);
        let Self { rng, hits, manners, streams, .. } = self;
        let shard = streams.get_mut(place.stream).and_then(|stream| stream.shards.get_mut(place.shard));
        let shard =
            shard.filter(|shard| !shard.gone).ok_or_else(|| error::not_found("Requested resource not found"))?;
        if place.index < shard.trimmed {
            return Err(error::trimmed());
        }
        hold_readers(shard, place.reader, manners.readers_max, now_ms).inspect_err(|_| count("readers_max", hits))?;
        Ok(page(shard, Place { issued_at_ms, ..place }, limit, now_ms, manners, rng, hits))
    }

    /// The faults that any call may meet.
    pub(super) fn stumble(&mut self) -> Result<(), ServiceError> {
        let refused = |status, code, message: &str| ServiceError::new(status, code, message);
        self.stumble_by(|manners| ("throttled", manners.throttled), error::throttled)?;
        self.stumble_by(
            |manners| ("internal_error", manners.internal_error),
            || refused(500, "InternalServerError", "The request processing has failed because of an internal error."),
        )?;
        self.stumble_by(
            |manners| ("unavailable", manners.unavailable),
            || refused(503, "ServiceUnavailable", "The service is temporarily unavailable."),
        )?;
        self.stumble_by(
            |manners| ("expired_token", manners.expired_token),
            || refused(400, "ExpiredTokenException", "The security token included in the request is expired"),
        )?;
        self.stumble_by(
            |manners| ("unrecognized_client", manners.unrecognized_client),
            || refused(400, "UnrecognizedClientException", "The security token included in the request is invalid."),
        )?;
        self.stumble_by(
            |manners| ("access_denied", manners.access_denied),
            || refused(400, "AccessDeniedException", "User is not authorized to perform this action"),
        )?;
        self.stumble_by(
            |manners| ("unknown_code", manners.unknown_code),
            || refused(400, "SomethingNewException", "A word that nobody knows yet"),
        )
    }

    /// Fails by chance.
    pub(super) fn stumble_by(
        &mut self,
        knob: impl FnOnce(&Manners) -> (&'static str, Probability),
        error: impl FnOnce() -> ServiceError,
    ) -> Result<(), ServiceError> {
        let (name, chance) = knob(&self.manners);
        if hit(name, chance, &mut self.rng, &mut self.hits) { Err(error()) } else { Ok(()) }
    }
}

fn index_of(shard: &Shard, kind: IteratorType, number: &str, foreign_accepted: bool) -> Result<usize, ServiceError> {
    let sequence = Sequence::parse(number);
    let sequence = sequence.ok_or_else(|| error::validation(format!("Invalid SequenceNumber: {number}")))?;
    if !shard.covers(sequence) && !foreign_accepted {
        return Err(error::validation("The SequenceNumber does not belong to this shard"));
    }
    let after = shard.index_after(sequence);
    let at = shard.index_after(sequence.before());
    let index = if kind == IteratorType::AtSequenceNumber { at } else { after };
    // The record itself must still be there, also to read on after it.
    if at < shard.trimmed { Err(error::trimmed()) } else { Ok(index) }
}

/// Refuses the third reader of a shard (DynamoDB API reference: no more than two at once).
fn hold_readers(shard: &mut Shard, reader: u64, readers_max: Option<usize>, now_ms: i64) -> Result<(), ServiceError> {
    let Some(readers_max) = readers_max else { return Ok(()) };
    shard.readers.retain(|(other, at_ms)| *other != reader && at_ms + RATE_WINDOW_MS > now_ms);
    if shard.readers.len() >= readers_max {
        return Err(error::limit_exceeded());
    }
    shard.readers.push((reader, now_ms));
    Ok(())
}

/// `place` with the time that the next iterator shall bear.
fn page(
    shard: &mut Shard,
    place: Place,
    limit: usize,
    now_ms: i64,
    manners: &Manners,
    rng: &mut fastrand::Rng,
    hits: &mut std::collections::BTreeMap<&'static str, u64>,
) -> String {
    let visible = shard.visible(now_ms);
    let mut there = shard.records.get(place.index..visible).unwrap_or_default();
    there = &there[..there.len().min(limit).min(manners.page_records_max.max(1))];
    let mut bytes = 0;
    let fitting = there.iter().take_while(|record| {
        bytes += record.json.len();
        bytes <= manners.page_bytes_max
    });
    there = &there[..fitting.count().max(1).min(there.len())];
    if place.empty_pages < EMPTY_PAGES_MAX && hit("page_empty", manners.page_empty, rng, hits) {
        return body(&[], Some(Place { empty_pages: place.empty_pages + 1, ..place }));
    }
    if there.len() > 1 && hit("page_short", manners.page_short, rng, hits) {
        there = &there[..rng.usize(1..there.len())];
    }
    let index = place.index + there.len();
    let is_end = !shard.is_open() && index == shard.records.len();
    let is_apart = is_end && !there.is_empty() && hit("end_apart", manners.end_apart, rng, hits);
    let next = (!is_end || is_apart).then_some(Place { index, empty_pages: 0, ..place });
    let has_before = place.index > shard.trimmed;
    let repeated = usize::from(has_before && hit("record_repeated", manners.record_repeated, rng, hits));
    body(shard.records.get(place.index - repeated..index).unwrap_or_default(), next)
}

fn body(records: &[Record], next: Option<Place>) -> String {
    let bytes: usize = records.iter().map(|record| record.json.len() + 1).sum();
    let mut body = String::with_capacity(bytes + 200);
    body.push('{');
    if let Some(next) = next {
        body.push_str(r#""NextShardIterator":""#);
        body.push_str(&next.token());
        body.push_str(r#"","#);
    }
    body.push_str(r#""Records":["#);
    for (number, record) in records.iter().enumerate() {
        if number > 0 {
            body.push(',');
        }
        body.push_str(&record.json);
    }
    body.push_str("]}");
    body
}
