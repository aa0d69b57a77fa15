//! `ListStreams` and `DescribeStream`, with everything that a listing may get wrong.

use std::collections::VecDeque;

use tailwater_model::ViewType;

use super::error::{self, ServiceError};
use super::manners::{Manners, count, hit};
use super::shard::Shard;
use super::stream::{Stream, StreamStatus};
use super::{RATE_WINDOW_MS, Service};

/// Most of one page (DynamoDB API reference, `ListStreams` and `DescribeStream`).
const LIMIT_MAX: u32 = 100;

/// What `ListStreams` is asked.
#[derive(Clone, Debug, Default)]
pub struct ListStreams {
    /// Only the streams of this table.
    pub table: Option<String>,
    /// Most streams of the answer, 1 to 100.
    pub limit: Option<u32>,
    /// The ARN after which the page begins.
    pub exclusive_start: Option<String>,
}

/// What `ListStreams` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamList {
    /// The streams, on and off, oldest first.
    pub streams: Vec<ListedStream>,
    /// Where the next page begins, when there is one.
    pub last_evaluated: Option<String>,
}

/// One stream of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedStream {
    /// Its ARN.
    pub arn: String,
    /// Its table.
    pub table: String,
    /// The end of its ARN.
    pub label: String,
}

/// What `DescribeStream` is asked.
#[derive(Clone, Debug, Default)]
pub struct DescribeStream {
    /// The stream.
    pub stream_arn: String,
    /// Most shards of the answer, 1 to 100.
    pub limit: Option<u32>,
    /// The shard after which the page begins.
    pub exclusive_start: Option<String>,
    /// Only the children of this shard (`ShardFilter` of type `CHILD_SHARDS`).
    pub children_of: Option<String>,
}

/// What `DescribeStream` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAnswer {
    /// The stream.
    pub arn: String,
    /// The end of its ARN.
    pub label: String,
    /// Its table.
    pub table: String,
    /// The attributes of the table's key, partition key first.
    pub key_attributes: Vec<String>,
    /// Its status.
    pub status: StreamStatus,
    /// What its records carry.
    pub view: ViewType,
    /// When it was turned on, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// The shards of this page.
    pub shards: Vec<ShardAnswer>,
    /// Where the next page begins, when there is one.
    pub last_evaluated: Option<String>,
}

/// One shard of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAnswer {
    /// Its id.
    pub id: String,
    /// Its parent's id, also when the parent is long gone.
    pub parent: Option<String>,
    /// Its first sequence number, there from its birth on.
    pub starting: Option<String>,
    /// Its last sequence number, when it is closed.
    pub ending: Option<String>,
}

impl Service {
    /// Lists the streams of a table, or all.
    ///
    /// # Errors
    /// `ValidationException` for a limit that is none, and whatever the manners hold ready.
    pub fn list_streams(&mut self, now_ms: i64, request: &ListStreams) -> Result<StreamList, ServiceError> {
        self.advance(now_ms);
        self.stumble()?;
        hold_rate(&mut self.list_calls, self.manners.list_per_second, now_ms)
            .inspect_err(|_| count("list_per_second", &mut self.hits))?;
        let limit = limit_of(request.limit)?;
        let of_table = |stream: &&Stream| request.table.as_ref().is_none_or(|table| stream.names.table == *table);
        let mut rest = self.streams.iter().filter(|stream| !stream.is_gone(now_ms)).filter(of_table).peekable();
        if let Some(start) = &request.exclusive_start {
            while rest.next_if(|stream| stream.names.arn != *start).is_some() {}
            rest.next();
        }
        let streams: Vec<ListedStream> = rest
            .by_ref()
            .take(limit)
            .map(|stream| ListedStream {
                arn: stream.names.arn.clone(),
                table: stream.names.table.clone(),
                label: stream.label().to_owned(),
            })
            .collect();
        let last_evaluated = streams.last().filter(|_| rest.peek().is_some()).map(|last| last.arn.clone());
        Ok(StreamList { streams, last_evaluated })
    }

    /// Describes a stream with one page of its shards.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for a stream that is not there (any more), `ValidationException` for an ARN or a limit
    /// that is none, `ThrottlingException` beyond the rate, and whatever the manners hold ready.
    pub fn describe_stream(&mut self, now_ms: i64, request: &DescribeStream) -> Result<StreamAnswer, ServiceError> {
        self.advance(now_ms);
        self.stumble()?;
        self.stumble_by(|manners| ("limit_exceeded", manners.limit_exceeded), error::limit_exceeded)?;
        hold_rate(&mut self.describe_calls, self.manners.describe_per_second, now_ms)
            .inspect_err(|_| count("describe_per_second", &mut self.hits))?;
        let limit = limit_of(request.limit)?.min(self.manners.listing_page_max.max(1));
        let number = self.readable_stream(now_ms, &request.stream_arn)?;
        let (shards, last_evaluated) = match &request.children_of {
            Some(parent) => (self.children(number, parent, now_ms), None),
            None => self.page_of_shards(number, request.exclusive_start.as_deref(), limit, now_ms),
        };
        let is_listing = request.children_of.is_none();
        let status = if is_listing { self.listed_status(number, now_ms) } else { self.streams[number].status(now_ms) };
        let stream = &self.streams[number];
        Ok(StreamAnswer {
            arn: stream.names.arn.clone(),
            label: stream.label().to_owned(),
            table: stream.names.table.clone(),
            key_attributes: stream.names.key_attributes.clone(),
            status,
            view: stream.view,
            created_at_ms: stream.created_at_ms,
            shards,
            last_evaluated,
        })
    }

    /// The status that a page of a listing tells: the true one, or once that the stream is off.
    fn listed_status(&mut self, number: usize, now_ms: i64) -> StreamStatus {
        let Self { rng, hits, manners, streams, .. } = self;
        if manners.open_with_ending {
            count("open_with_ending", hits);
        }
        let stream = &mut streams[number];
        let may_lie = stream.disabled_at_ms.is_none() && !stream.was_called_disabled;
        stream.was_called_disabled = may_lie && hit("disabled_once", manners.disabled_once, rng, hits);
        if stream.was_called_disabled { StreamStatus::Disabled } else { stream.status(now_ms) }
    }

    pub(super) fn readable_stream(&self, now_ms: i64, arn: &str) -> Result<usize, ServiceError> {
        if !(arn.starts_with("arn:") && arn.contains(":table/") && arn.contains("/stream/")) {
            return Err(error::validation(format!("Invalid StreamArn: {arn}")));
        }
        let number = self.stream_number(arn).filter(|number| !self.streams[*number].is_gone(now_ms));
        number.ok_or_else(|| error::not_found(format!("Requested resource not found: Stream: {arn} not found")))
    }

    fn children(&mut self, number: usize, parent: &str, now_ms: i64) -> Vec<ShardAnswer> {
        let stream = &self.streams[number];
        let Some(parent_at) = stream.shard_number(parent) else { return Vec::new() };
        let ignored = self.manners.shard_filter_ignored;
        if ignored {
            count("shard_filter_ignored", &mut self.hits);
        }
        let wanted = stream.shards.iter().enumerate().filter(|(at, shard)| {
            let is_wanted = if ignored { *at == parent_at } else { shard.parent == Some(parent_at) };
            is_wanted && is_listed(shard, now_ms)
        });
        wanted.map(|(_, shard)| answer(stream, shard, &self.manners, now_ms)).collect()
    }

    /// A page of the listing. Its order is that of the ids, or another one that stays: that is what pages are cut from.
    fn page_of_shards(
        &mut self,
        number: usize,
        start: Option<&str>,
        limit: usize,
        now_ms: i64,
    ) -> (Vec<ShardAnswer>, Option<String>) {
        let Self { rng, hits, manners, streams, .. } = self;
        let stream = &mut streams[number];
        if stream.status(now_ms) == StreamStatus::Enabling
            // Observed on AWS: an empty answer, not an error.
            || start.is_some_and(|start| stream.shard_number(start).is_none())
        {
            return (Vec::new(), None);
        }
        if start.is_none() {
            // Drawn for every page, it would cut nearly every long listing, which no consumer survives.
            let is_empty = !stream.was_listed_empty && hit("listing_empty", manners.listing_empty, rng, hits);
            stream.was_listed_empty = is_empty;
            if is_empty {
                return (Vec::new(), None);
            }
        }
        let shuffled = manners.listing_shuffled;
        let rank = |id: &str| (if shuffled { crc32fast::hash(id.as_bytes()) } else { 0 }, id.to_owned());
        let shards = &mut stream.shards;
        let mut rest: Vec<usize> = (0..shards.len()).filter(|at| is_listed(&shards[*at], now_ms)).collect();
        rest.sort_by_cached_key(|at| rank(&shards[*at].id));
        if shuffled {
            count("listing_shuffled", hits);
        }
        if let Some(start) = start {
            let start_rank = rank(start);
            rest.retain(|at| rank(&shards[*at].id) > start_rank);
            if hit("listing_page_empty", manners.listing_page_empty, rng, hits) && !rest.is_empty() {
                return (Vec::new(), Some(start.to_owned()));
            }
        }
        let more = rest.len() > limit;
        rest.truncate(limit);
        let last_evaluated = rest.last().filter(|_| more).map(|last| shards[*last].id.clone());
        rest.retain(|at| {
            let shard = &mut shards[*at];
            shard.was_unlisted = !shard.was_unlisted && hit("shard_unlisted", manners.shard_unlisted, rng, hits);
            !shard.was_unlisted
        });
        let repeated = start.filter(|_| hit("shard_listed_twice", manners.shard_listed_twice, rng, hits));
        rest.extend(repeated.and_then(|id| stream.shard_number(id)));
        let told = |at: &usize| answer(stream, &stream.shards[*at], manners, now_ms);
        (rest.iter().map(told).collect(), last_evaluated)
    }
}

fn is_listed(shard: &Shard, now_ms: i64) -> bool {
    !shard.gone && shard.listed_from_ms <= now_ms
}

fn answer(stream: &Stream, shard: &Shard, manners: &Manners, now_ms: i64) -> ShardAnswer {
    let parent = shard.parent.and_then(|at| stream.shards.get(at));
    let is_idle = shard.is_open() && shard.records.is_empty();
    let ending = shard.ending.filter(|_| shard.closed_listed_from_ms <= now_ms);
    let ending = ending.or_else(|| manners.open_with_ending.then(|| shard.newest()));
    ShardAnswer {
        id: shard.id.clone(),
        parent: parent.map(|parent| parent.id.clone()),
        starting: (!(is_idle && manners.idle_without_starting)).then(|| shard.starting.text()),
        ending: ending.map(super::sequence::Sequence::text),
    }
}

fn limit_of(limit: Option<u32>) -> Result<usize, ServiceError> {
    match limit.unwrap_or(LIMIT_MAX) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        limit => Err(error::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value \
             between 1 and {LIMIT_MAX}"
        ))),
    }
}

/// Counts a call, and refuses it beyond the rate.
fn hold_rate(calls: &mut VecDeque<i64>, per_second: Option<usize>, now_ms: i64) -> Result<(), ServiceError> {
    let Some(per_second) = per_second else { return Ok(()) };
    while calls.front().is_some_and(|at_ms| at_ms + RATE_WINDOW_MS <= now_ms) {
        calls.pop_front();
    }
    if calls.len() >= per_second {
        return Err(error::throttled());
    }
    calls.push_back(now_ms);
    Ok(())
}
