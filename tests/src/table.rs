//! A DynamoDB table of one test: made with a unique name, written through the AWS SDK, deleted when the test ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use aws_sdk_dynamodb::{Client, Config};

use crate::endpoints;
use crate::patience::{Look, wait_until};

/// The table's partition key.
pub const PARTITION_KEY: &str = "Id";
/// The table's sort key.
pub const SORT_KEY: &str = "Fecha";
/// DynamoDB Local changes a table at once; a busy machine is given some time.
const CHANGE_WITHIN: Duration = Duration::from_secs(20);

/// An item as the SDK gives it, in a stable order.
pub type Item = BTreeMap<String, AttributeValue>;

/// One test's table. It is deleted with its last clone.
#[derive(Clone)]
pub struct SourceTable {
    /// Its unique name.
    pub name: String,
    /// A client for any call the test likes to make.
    pub client: Client,
    /// Nothing for a table that the test does not delete.
    _deletion: Option<Arc<Deletion>>,
}

/// Deletes a table when it is dropped.
struct Deletion {
    table: String,
}

/// A client of DynamoDB Local, which takes any credentials.
pub fn client() -> Client {
    client_of(&endpoints::dynamodb_url())
}

/// A client of another emulator.
fn client_of(url: &str) -> Client {
    let config = Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"));
    Client::from_conf(config.build())
}

/// A name that no other test, process or run uses.
#[expect(clippy::disallowed_methods, reason = "the name must differ from run to run, and nothing depends on it")]
pub fn unique_name(stem: &str) -> String {
    let mut random = fastrand::Rng::new();
    format!("{stem}_{}_{:08x}", std::process::id(), random.u32(..))
}

impl SourceTable {
    /// Makes a table with the string keys `Id` and `Fecha` and a stream, or no stream.
    pub async fn create(view: Option<StreamViewType>) -> Result<Self> {
        Self::create_with_keys(view, [ScalarAttributeType::S, ScalarAttributeType::S]).await
    }

    /// The same with keys of other types.
    pub async fn create_with_keys(view: Option<StreamViewType>, keys: [ScalarAttributeType; 2]) -> Result<Self> {
        let name = unique_name("tests");
        let deletion = Arc::new(Deletion { table: name.clone() });
        let table = Self { name, client: client(), _deletion: Some(deletion) };
        table.make(view, keys).await?;
        Ok(table)
    }

    /// A table with string keys that is there already, and stays there.
    pub fn existing(name: &str) -> Self {
        Self { name: name.to_owned(), client: client(), _deletion: None }
    }

    /// A table with string keys and both images in its stream, on an emulator that ends with the test.
    pub async fn create_at(url: &str) -> Result<Self> {
        let table = Self { name: unique_name("tests"), client: client_of(url), _deletion: None };
        table.make(Some(StreamViewType::NewAndOldImages), [ScalarAttributeType::S, ScalarAttributeType::S]).await?;
        Ok(table)
    }

    /// Deletes the table and makes an empty one of the same name, with string keys.
    pub async fn make_again(&self, view: StreamViewType) -> Result<()> {
        self.make_again_with_keys(view, [ScalarAttributeType::S, ScalarAttributeType::S]).await
    }

    /// The same with keys of other types.
    pub async fn make_again_with_keys(&self, view: StreamViewType, keys: [ScalarAttributeType; 2]) -> Result<()> {
        self.delete_table().await?;
        self.make(Some(view), keys).await
    }

    /// Deletes the table.
    pub async fn delete_table(&self) -> Result<()> {
        self.client.delete_table().table_name(&self.name).send().await.context("DeleteTable")?;
        Ok(())
    }

    /// Makes the table, which is not there, with string keys.
    pub async fn make_anew(&self, view: StreamViewType) -> Result<()> {
        self.make(Some(view), [ScalarAttributeType::S, ScalarAttributeType::S]).await
    }

    /// The same without a stream.
    pub async fn make_without_stream(&self) -> Result<()> {
        self.make(None, [ScalarAttributeType::S, ScalarAttributeType::S]).await
    }

    async fn make(&self, view: Option<StreamViewType>, [partition, sort]: [ScalarAttributeType; 2]) -> Result<()> {
        let attribute = |name, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        let element = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let mut request = self
            .client
            .create_table()
            .table_name(&self.name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute(PARTITION_KEY, partition)?)
            .attribute_definitions(attribute(SORT_KEY, sort)?)
            .key_schema(element(PARTITION_KEY, KeyType::Hash)?)
            .key_schema(element(SORT_KEY, KeyType::Range)?);
        if let Some(view) = view {
            request = request.stream_specification(stream_on(view)?);
        }
        request.send().await.context("no table was made: is DynamoDB Local there (`cargo x up`)?")?;
        Ok(())
    }

    /// Writes a whole item.
    pub async fn put(&self, item: Item) -> Result<()> {
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item.into_iter().collect()));
        put.send().await.context("PutItem")?;
        Ok(())
    }

    /// Deletes an item.
    pub async fn delete(&self, key: Item) -> Result<()> {
        let delete = self.client.delete_item().table_name(&self.name).set_key(Some(key.into_iter().collect()));
        delete.send().await.context("DeleteItem")?;
        Ok(())
    }

    /// All items, read consistently.
    pub async fn scan(&self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let scan = self.client.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(start);
            let page = scan.send().await.context("Scan")?;
            items.extend(page.items.unwrap_or_default().into_iter().map(|item| item.into_iter().collect()));
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// Deletes items once the time in this attribute has passed.
    pub async fn expire_by(&self, attribute: &str) -> Result<()> {
        let specification = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build()?;
        let update = self.client.update_time_to_live().table_name(&self.name);
        update.time_to_live_specification(specification).send().await.context("UpdateTimeToLive")?;
        Ok(())
    }

    /// Turns the stream off and on: the table has a new stream ARN from then on. Returns the old and the new one.
    pub async fn replace_stream(&self, view: StreamViewType) -> Result<[String; 2]> {
        let old = self.stream_arn().await?.context("the table had no stream")?;
        self.set_stream(StreamSpecification::builder().stream_enabled(false).build()?).await?;
        self.set_stream(stream_on(view)?).await?;
        let new = self.stream_arn().await?.context("the table has no stream")?;
        if old == new {
            bail!("turning the stream off and on gave no new ARN: {new}");
        }
        Ok([old, new])
    }

    /// Turns the stream off: its records stay readable.
    pub async fn close_stream(&self) -> Result<()> {
        self.set_stream(StreamSpecification::builder().stream_enabled(false).build()?).await
    }

    async fn set_stream(&self, specification: StreamSpecification) -> Result<()> {
        let enabled = specification.stream_enabled;
        let update = self.client.update_table().table_name(&self.name).stream_specification(specification);
        update.send().await.context("UpdateTable")?;
        wait_until("the stream is switched", CHANGE_WITHIN, || async {
            let table = self.client.describe_table().table_name(&self.name).send().await?.table.context("no table")?;
            let now = table.stream_specification.is_some_and(|stream| stream.stream_enabled);
            Ok(Look::when(now == enabled, format!("enabled = {now}")))
        })
        .await
    }

    /// The ARN of the newest stream.
    pub async fn stream_arn(&self) -> Result<Option<String>> {
        let answer = self.client.describe_table().table_name(&self.name).send().await.context("DescribeTable")?;
        Ok(answer.table.and_then(|table| table.latest_stream_arn))
    }
}

fn stream_on(view: StreamViewType) -> Result<StreamSpecification> {
    Ok(StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build()?)
}

/// The key of an item with string keys.
pub fn key(id: &str, fecha: &str) -> Item {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    Item::from([(PARTITION_KEY.to_owned(), text(id)), (SORT_KEY.to_owned(), text(fecha))])
}

impl Drop for Deletion {
    /// Deletes the table from a thread of its own: the test's runtime may be ending.
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.table);
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // A connection belongs to the runtime that made it, so this one has its own client.
            runtime.block_on(async { client().delete_table().table_name(name).send().await.map(drop) })?;
            anyhow::Ok(())
        });
        // What stays behind in the in-memory server is gone with it; a failing test has better things to say.
        let _ = deleting.join();
    }
}
