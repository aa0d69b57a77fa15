//! What one would take in place of the decoder: `serde_json` into a typed structure, and the SDK's own deserializer.
#![expect(clippy::disallowed_types, reason = "what everybody takes, and the SDK too: it is what is measured against")]

use std::collections::HashMap;

use aws_sdk_dynamodbstreams::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer, Layer};
use serde::Deserialize;

/// A page as a structure of its own types, with every value in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "filled and dropped: the filling is what is measured")]
pub struct TypedPage {
    pub records: Vec<TypedRecord>,
    next_shard_iterator: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "filled and dropped: the filling is what is measured")]
pub struct TypedRecord {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: String,
    event_version: String,
    event_source: String,
    aws_region: String,
    dynamodb: TypedChange,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "filled and dropped: the filling is what is measured")]
struct TypedChange {
    approximate_creation_date_time: f64,
    keys: HashMap<String, TypedValue>,
    new_image: Option<HashMap<String, TypedValue>>,
    old_image: Option<HashMap<String, TypedValue>>,
    sequence_number: String,
    size_bytes: i64,
    stream_view_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "filled and dropped: the filling is what is measured")]
enum TypedValue {
    S(String),
    N(String),
    B(String),
    Bool(bool),
    Null(bool),
    M(HashMap<String, Self>),
    L(Vec<Self>),
    Ss(Vec<String>),
    Ns(Vec<String>),
    Bs(Vec<String>),
}

/// The deserializer that the SDK's own call of `GetRecords` would use.
pub struct SdkDeserializer {
    operation: FrozenLayer,
    config: ConfigBag,
}

impl SdkDeserializer {
    /// Takes it out of the operation.
    pub fn new() -> Option<Self> {
        Some(Self { operation: GetRecords::new().config()?, config: ConfigBag::of_layers(vec![Layer::new("decode")]) })
    }

    /// The page as the SDK's types; nothing when it is none.
    pub fn read(&self, body: &[u8]) -> Option<GetRecordsOutput> {
        let deserializer = self.operation.load::<SharedResponseDeserializer>()?;
        let response = HttpResponse::new(StatusCode::try_from(200).ok()?, SdkBody::from(body));
        let output = deserializer.deserialize_nonstreaming_with_config(&response, &self.config).ok()?;
        output.downcast::<GetRecordsOutput>().ok()
    }
}
