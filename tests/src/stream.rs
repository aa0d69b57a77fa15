//! The stream as the AWS SDK reads it: the list of events that the sink must have seen.

use anyhow::{Context, Result};
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use aws_sdk_dynamodbstreams::{Client, Config};

use crate::endpoints;
use crate::table::{PARTITION_KEY, SORT_KEY};

/// Two empty pages in a row are the end: DynamoDB Local answers what it has.
const EMPTY_PAGES_MAX: usize = 2;

/// One record, reduced to what the checks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// DynamoDB's id of the record.
    pub event_id: String,
    /// `INSERT`, `MODIFY` or `REMOVE`, as the SDK gives it.
    pub name: String,
    /// The item's key.
    pub key: (String, String),
}

/// A client of DynamoDB Local's streams.
pub fn client() -> Client {
    let config = Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoints::dynamodb_url())
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"));
    Client::from_conf(config.build())
}

/// All records of a stream from its beginning, in order. The table must have string keys.
pub async fn read(stream_arn: &str) -> Result<Vec<StreamEvent>> {
    let client = client();
    let mut events = Vec::new();
    let description = client.describe_stream().stream_arn(stream_arn).send().await.context("DescribeStream")?;
    for shard in description.stream_description.and_then(|stream| stream.shards).unwrap_or_default() {
        let shard_id = shard.shard_id.context("a shard without an id")?;
        let request = client.get_shard_iterator().stream_arn(stream_arn).shard_id(shard_id);
        let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
        let mut iterator = answer.context("GetShardIterator")?.shard_iterator;
        let mut empty_pages = 0;
        while let Some(at) = iterator.filter(|_| empty_pages < EMPTY_PAGES_MAX) {
            let page = client.get_records().shard_iterator(at).send().await.context("GetRecords")?;
            let records = page.records.unwrap_or_default();
            empty_pages = if records.is_empty() { empty_pages + 1 } else { 0 };
            for record in records {
                events.push(event_of(record)?);
            }
            iterator = page.next_shard_iterator;
        }
    }
    Ok(events)
}

fn event_of(record: Record) -> Result<StreamEvent> {
    let keys = record.dynamodb.and_then(|inner| inner.keys).context("a record without keys")?;
    let text = |name: &str| match keys.get(name) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        other => anyhow::bail!("key {name} is {other:?}"),
    };
    Ok(StreamEvent {
        event_id: record.event_id.context("a record without an id")?,
        name: record.event_name.context("a record without a name")?.as_str().to_owned(),
        key: (text(PARTITION_KEY)?, text(SORT_KEY)?),
    })
}
