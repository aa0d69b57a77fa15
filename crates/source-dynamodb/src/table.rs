//! A table as its owner sees it: key, id, and its stream, which can be turned on and off.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    KeyType, ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
};
use aws_sdk_dynamodbstreams::types::StreamStatus;
use tailwater_model::{KeyAttribute, KeyKind, KeySchema, Trouble, TroubleKind, ViewType};
use tokio::time::Instant;

use crate::ask_again::answered;
use crate::connect::DynamoDb;
use crate::errors;

/// Longest wait for a table or its stream to take on a new state. AWS needs seconds, rarely a minute.
const STATE_WAIT_MAX: Duration = Duration::from_secs(300);
/// Time between two looks at that state.
const STATE_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Another one when the table was deleted and made again. For emulators that give no id it is made of the ARN and
    /// the time of creation.
    pub table_id: String,
    /// Its ARN.
    pub arn: String,
    /// Its primary key.
    pub key_schema: KeySchema,
    /// Its newest stream, turned on or off, as long as it can be read.
    pub stream: Option<TableStream>,
}

/// A table's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStream {
    /// Its ARN: another one each time that the stream is turned on.
    pub arn: String,
    /// What its records carry.
    pub view_type: ViewType,
    /// Whether changes still go into it. A stream that was turned off can be read for 24 hours.
    pub enabled: bool,
}

impl DynamoDb {
    /// Where the streams are, in words without credentials.
    pub fn place(&self) -> String {
        self.places.streams.to_string()
    }

    /// Asks what the table is. Needs `dynamodb:DescribeTable`, and for a stream that is turned off
    /// `dynamodb:DescribeStream`.
    pub async fn describe_table(&self, table: &str) -> Result<Table, Trouble> {
        let description = self.table_description(table).await?;
        let stream = self.newest_stream(table, &description).await?;
        Ok(Table {
            name: description.table_name().unwrap_or(table).to_owned(),
            table_id: table_id(&description),
            arn: description.table_arn().unwrap_or_default().to_owned(),
            key_schema: key_schema(table, &description)?,
            stream,
        })
    }

    /// Turns the stream on and waits until it can be read. A stream that is on with this view type is left alone; one
    /// that is on with another is trouble (`aws.stream_view_type`), because DynamoDB cannot change it in place.
    pub async fn enable_stream(&self, table: &str, view: ViewType) -> Result<TableStream, Trouble> {
        let deadline = Instant::now() + STATE_WAIT_MAX;
        let description = self.wait_until_active(table, deadline).await?;
        match self.newest_stream(table, &description).await? {
            Some(stream) if stream.enabled && stream.view_type != view => {
                return Err(other_view_type(table, stream.view_type, view));
            }
            Some(stream) if stream.enabled => {}
            _ => {
                let on = StreamSpecification::builder().stream_enabled(true).stream_view_type(sdk_view_type(view));
                self.update_stream(table, on).await?;
            }
        }
        loop {
            let description = self.table_description(table).await?;
            if let Some(stream) = self.newest_stream(table, &description).await?
                && stream.enabled
                && self.stream_is_ready(table, &stream.arn).await?
            {
                return Ok(stream);
            }
            self.wait_a_little(table, "its stream is on", deadline).await?;
        }
    }

    /// Turns the stream off and waits until the table says so. Does nothing when it is off.
    pub async fn disable_stream(&self, table: &str) -> Result<(), Trouble> {
        let deadline = Instant::now() + STATE_WAIT_MAX;
        if !stream_enabled(&self.wait_until_active(table, deadline).await?) {
            return Ok(());
        }
        self.update_stream(table, StreamSpecification::builder().stream_enabled(false)).await?;
        while stream_enabled(&self.wait_until_active(table, deadline).await?) {
            self.wait_a_little(table, "its stream is off", deadline).await?;
        }
        Ok(())
    }

    async fn update_stream(
        &self,
        table: &str,
        specification: aws_sdk_dynamodb::types::builders::StreamSpecificationBuilder,
    ) -> Result<(), Trouble> {
        let refused = |error: &dyn std::fmt::Display| {
            Trouble::new(TroubleKind::Runtime, "aws.refused", format!("the stream's settings are incomplete: {error}"))
        };
        let specification = specification.build().map_err(|error| refused(&error))?;
        let call = self.tables.update_table().table_name(table).stream_specification(specification);
        let answer = call.send().await;
        answer.map(drop).map_err(|error| {
            errors::sort("UpdateTable", &error).trouble("dynamodb:UpdateTable", table, &self.places.tables)
        })
    }

    async fn table_description(&self, table: &str) -> Result<TableDescription, Trouble> {
        let ask = || self.tables.describe_table().table_name(table).send();
        let answer = answered("DescribeTable", ask).await;
        let answer = answer.map_err(|sorted| sorted.trouble("dynamodb:DescribeTable", table, &self.places.tables))?;
        answer.table.ok_or_else(|| incomplete(table, "no description"))
    }

    async fn newest_stream(&self, table: &str, description: &TableDescription) -> Result<Option<TableStream>, Trouble> {
        let Some(arn) = description.latest_stream_arn() else { return Ok(None) };
        if let Some(on) = description.stream_specification().filter(|stream| stream.stream_enabled()) {
            let view = on.stream_view_type().and_then(|view| ViewType::parse(view.as_str()));
            let view_type = view.ok_or_else(|| incomplete(table, "a stream without a known view type"))?;
            return Ok(Some(TableStream { arn: arn.to_owned(), view_type, enabled: true }));
        }
        // Turned off: only the stream itself still knows its view type, for as long as it can be read.
        let view_type = self.stream_head(table, arn).await?.and_then(|head| head.view_type);
        Ok(view_type.map(|view_type| TableStream { arn: arn.to_owned(), view_type, enabled: false }))
    }

    async fn stream_is_ready(&self, table: &str, arn: &str) -> Result<bool, Trouble> {
        // The table may know its new stream a moment before the stream is there.
        let head = self.stream_head(table, arn).await?;
        Ok(head.is_some_and(|head| head.status == StreamStatus::Enabled.as_str()))
    }

    /// A table that is being created or changed refuses changes.
    async fn wait_until_active(&self, table: &str, deadline: Instant) -> Result<TableDescription, Trouble> {
        loop {
            let description = self.table_description(table).await?;
            if description.table_status() == Some(&TableStatus::Active) {
                return Ok(description);
            }
            self.wait_a_little(table, "it is ACTIVE", deadline).await?;
        }
    }

    async fn wait_a_little(&self, table: &str, what: &str, deadline: Instant) -> Result<(), Trouble> {
        if Instant::now() >= deadline {
            let waited = STATE_WAIT_MAX.as_secs();
            let message = format!("table {table:?} in {}: waited {waited} s until {what}", self.places.tables);
            return Err(Trouble::new(TroubleKind::Environment, "aws.table_busy", message)
                .advise("look at the table in the AWS console and try again"));
        }
        tokio::time::sleep(STATE_POLL_INTERVAL).await;
        Ok(())
    }
}

fn stream_enabled(description: &TableDescription) -> bool {
    description.stream_specification().is_some_and(|stream| stream.stream_enabled())
}

fn table_id(description: &TableDescription) -> String {
    let made = || {
        let created = description.creation_date_time().map_or(0.0, |time| time.as_secs_f64());
        format!("{}@{created:.3}", description.table_arn().unwrap_or_default())
    };
    description.table_id().map_or_else(made, str::to_owned)
}

fn key_schema(table: &str, description: &TableDescription) -> Result<KeySchema, Trouble> {
    let attribute = |key_type: KeyType| -> Result<Option<KeyAttribute>, Trouble> {
        let Some(element) = description.key_schema().iter().find(|element| *element.key_type() == key_type) else {
            return Ok(None);
        };
        let name = element.attribute_name();
        let definition =
            description.attribute_definitions().iter().find(|definition| definition.attribute_name() == name);
        let kind = match definition.map(|definition| definition.attribute_type()) {
            Some(ScalarAttributeType::S) => KeyKind::S,
            Some(ScalarAttributeType::N) => KeyKind::N,
            Some(ScalarAttributeType::B) => KeyKind::B,
            _ => return Err(incomplete(table, "a key attribute without a known type")),
        };
        Ok(Some(KeyAttribute { name: name.to_owned(), kind }))
    };
    let partition = attribute(KeyType::Hash)?.ok_or_else(|| incomplete(table, "no partition key"))?;
    Ok(KeySchema { partition, sort: attribute(KeyType::Range)? })
}

fn sdk_view_type(view: ViewType) -> StreamViewType {
    match view {
        ViewType::KeysOnly => StreamViewType::KeysOnly,
        ViewType::NewImage => StreamViewType::NewImage,
        ViewType::OldImage => StreamViewType::OldImage,
        ViewType::NewAndOldImages => StreamViewType::NewAndOldImages,
    }
}

fn incomplete(table: &str, what: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Environment,
        "aws.unavailable",
        format!("DynamoDB's answer about table {table:?} has {what}"),
    )
}

fn other_view_type(table: &str, is: ViewType, wanted: ViewType) -> Trouble {
    let (is, wanted) = (is.as_str(), wanted.as_str());
    Trouble::new(
        TroubleKind::Config,
        "aws.stream_view_type",
        format!("the stream of table {table:?} is on with view type {is}, not {wanted}"),
    )
    .advise(format!(
        "a view type cannot be changed in place: disable the stream, then enable it with {wanted}. That makes a new \
         stream with another ARN; let every reader finish the old one first, which can be read for 24 hours"
    ))
}
