//! A stream for people: all its shards with their lineage and their ranges, and the other streams of its table. The reader
//! does not use this; it lists shards through the narrow trait.

use std::time::Duration;

use aws_sdk_dynamodbstreams::types::{Shard, StreamDescription as Answered};
use tailwater_model::{SequenceNumber, ShardId, Trouble, TroubleKind, ViewType};

use crate::api::ApiErrorKind;
use crate::ask_again::answered;
use crate::connect::DynamoDb;
use crate::date::DateSlot;

/// Most pages of shards that are asked for. A page has at most 100 shards (DynamoDB API reference, `DescribeStream`).
const SHARD_PAGES_MAX: usize = 1000;
/// Most pages of streams that are asked for. A table has one stream and those turned off in the last 24 hours.
const STREAM_PAGES_MAX: usize = 20;
/// Wait between two pages: `DescribeStream` may be called ten times in a second, and the reader needs some of them.
const PAGE_PAUSE: Duration = Duration::from_millis(200);

/// Answers without a date that show that a service tells none.
const DATELESS_PROVE: u32 = 3;

/// What a stream says of itself, without its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// DynamoDB's word for its state: `ENABLING`, `ENABLED`, `DISABLING`, `DISABLED`.
    pub status: String,
    /// What its records carry; nothing when the service names a view type that this version does not know.
    pub view_type: Option<ViewType>,
}

/// A stream with all its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its ARN.
    pub arn: String,
    /// DynamoDB's word for its state: `ENABLING`, `ENABLED`, `DISABLING`, `DISABLED`.
    pub status: String,
    /// What its records carry; nothing when the service names a view type that this version does not know.
    pub view_type: Option<ViewType>,
    /// When it was turned on, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// Its shards in the order of the listing, which means nothing.
    pub shards: Vec<DescribedShard>,
}

/// A shard as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedShard {
    /// The shard.
    pub shard: ShardId,
    /// Its parent, which may already be trimmed.
    pub parent: Option<ShardId>,
    /// The first sequence number that belongs to it.
    pub starting: Option<SequenceNumber>,
    /// The last one. Nothing while the shard is open; some emulators name the newest record of an open shard.
    pub ending: Option<SequenceNumber>,
}

impl DynamoDb {
    /// What a stream says of itself, asked for with one call; nothing when the service does not know the stream, of which one
    /// answer proves nothing. Needs `dynamodb:DescribeStream`.
    pub async fn stream_head(&self, table: &str, stream_arn: &str) -> Result<Option<StreamHead>, Trouble> {
        let ask = || self.streams.describe_stream().stream_arn(stream_arn).limit(1).send();
        let answer = match answered("DescribeStream", ask).await {
            Ok(answer) => answer,
            Err(gone) if gone.kind == ApiErrorKind::NotFound => return Ok(None),
            Err(sorted) => return Err(sorted.trouble("dynamodb:DescribeStream", table, &self.places.streams)),
        };
        let stream = answer.stream_description.unwrap_or_else(empty_description);
        Ok(Some(StreamHead { status: status(&stream), view_type: view_type(&stream) }))
    }

    /// Whether the answers about a stream tell the time: whoever reads it takes the time from nothing else. Where there is no answer
    /// nothing is known of that.
    ///
    /// # Errors
    /// Trouble `source.no_date`: they do not.
    pub async fn check_dates(&self, table: &str, stream_arn: &str) -> Result<(), Trouble> {
        for _ in 0..DATELESS_PROVE {
            let date = DateSlot::default();
            let answered = date.filled_by(self.stream_head(table, stream_arn)).await;
            if answered.is_err() || date.take().is_some() {
                return Ok(());
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        let message =
            format!("the answers about {stream_arn} in {} have no `Date` header that can be read", self.places.streams);
        Err(Trouble::new(TroubleKind::Environment, "source.no_date", message).advise(
            "lag, gaps and the end of a bounded run go by the service's time: use an endpoint that tells it, and let a proxy on the \
             way pass the header on",
        ))
    }

    /// Describes a stream of `table` with all its shards. Needs `dynamodb:DescribeStream`.
    pub async fn stream_description(&self, table: &str, stream_arn: &str) -> Result<StreamDescription, Trouble> {
        let mut stream: Option<StreamDescription> = None;
        let mut after: Option<String> = None;
        for _ in 0..SHARD_PAGES_MAX {
            let call = || self.streams.describe_stream().stream_arn(stream_arn);
            let ask = || call().set_exclusive_start_shard_id(after.clone()).send();
            let answer = answered("DescribeStream", ask).await;
            let answer =
                answer.map_err(|sorted| sorted.trouble("dynamodb:DescribeStream", table, &self.places.streams))?;
            let page = answer.stream_description.unwrap_or_else(empty_description);
            let described = stream.get_or_insert_with(|| StreamDescription {
                arn: stream_arn.to_owned(),
                status: status(&page),
                view_type: view_type(&page),
                created_at_ms: page.creation_request_date_time().and_then(|time| time.to_millis().ok()),
                shards: Vec::new(),
            });
            described.shards.extend(page.shards().iter().filter_map(described_shard));
            after = page.last_evaluated_shard_id;
            if after.is_none() {
                return stream.ok_or_else(|| too_many(table, "shards"));
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        Err(too_many(table, "shards"))
    }

    /// The ARNs of all streams of the table that can still be read, in the order of the listing. Needs
    /// `dynamodb:ListStreams`.
    pub async fn stream_arns(&self, table: &str) -> Result<Vec<String>, Trouble> {
        let mut arns = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..STREAM_PAGES_MAX {
            let call = || self.streams.list_streams().table_name(table);
            let ask = || call().set_exclusive_start_stream_arn(after.clone()).send();
            let page = answered("ListStreams", ask).await;
            let page = page.map_err(|sorted| sorted.trouble("dynamodb:ListStreams", table, &self.places.streams))?;
            arns.extend(page.streams().iter().filter_map(|stream| stream.stream_arn().map(ToOwned::to_owned)));
            after = page.last_evaluated_stream_arn;
            if after.is_none() {
                return Ok(arns);
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        Err(too_many(table, "streams"))
    }
}

fn empty_description() -> Answered {
    Answered::builder().build()
}

fn status(stream: &Answered) -> String {
    stream.stream_status().map_or("UNKNOWN", |status| status.as_str()).to_owned()
}

fn view_type(stream: &Answered) -> Option<ViewType> {
    stream.stream_view_type().and_then(|view| ViewType::parse(view.as_str()))
}

fn described_shard(shard: &Shard) -> Option<DescribedShard> {
    let number =
        |text: Option<&str>| text.and_then(|text| SequenceNumber::parse(bytestring::ByteString::from(text)).ok());
    let range = shard.sequence_number_range();
    Some(DescribedShard {
        shard: ShardId::new(shard.shard_id()?),
        parent: shard.parent_shard_id().map(ShardId::new),
        starting: number(range.and_then(|range| range.starting_sequence_number())),
        ending: number(range.and_then(|range| range.ending_sequence_number())),
    })
}

fn too_many(table: &str, what: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Environment,
        "aws.unavailable",
        format!("the listing of the {what} of table {table:?} does not end"),
    )
    .advise("try again; if it happens again, this is a bug of the endpoint")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodbstreams::types::SequenceNumberRange;

    #[test]
    fn a_shard_is_described_with_what_the_service_says_and_no_more() {
        let range = SequenceNumberRange::builder().starting_sequence_number("100").build();
        let shard = Shard::builder().shard_id("s2").parent_shard_id("s1").sequence_number_range(range).build();
        let described = described_shard(&shard).expect("has an id");
        assert_eq!((described.shard.as_str(), described.parent), ("s2", Some(ShardId::new("s1"))));
        assert_eq!(described.starting.as_ref().map(SequenceNumber::as_str), Some("100"));
        assert_eq!(described.ending, None);
        assert_eq!(described_shard(&Shard::builder().build()), None);
    }
}
