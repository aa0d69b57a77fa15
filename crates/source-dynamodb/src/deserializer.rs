//! The SDK's own deserializer of `GetRecords` builds a tree of maps, which costs more than everything else together.
//! This one takes its place by means of an interceptor: signing, endpoints, retries and time limits stay the SDK's, and the
//! page stays the bytes that arrived.
//!
//! It works because the SDK loads the deserializer from its config bag after the interceptors ran. Once installed it
//! stays for the later attempts of the same call, so it must understand errors too. The decoded page does not fit into
//! the SDK's output type and leaves through a slot that belongs to the call. Its body goes there too, piece by piece, and the
//! SDK gets an empty one: it would gather it first, which is one more copy of a megabyte. The interceptor belongs to the
//! client and finds the slot with the task that makes the call: one that comes with each call would bring a layer of
//! configuration, which every look into it then costs (4 % of an idle poll).

use std::fmt;
use std::future::Future;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodbstreams::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, Error, Output,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use bytestring::ByteString;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tailwater_model::{ServiceTime, ShardId};

use crate::date;
use crate::errors::{bare_code, bounded};
use crate::page::{PAGE_BYTES_MAX, PageFault};
use crate::page_text::PageText;

/// How a page becomes what the caller wants.
pub(crate) type Decode<T> = fn(ByteString, &ShardId) -> Result<T, PageFault>;

tokio::task_local! {
    /// Who gets the answer to the call that is being made.
    static CALL: Arc<dyn Answered>;
}

/// Gets the answer to each attempt of a call.
trait Answered: Send + Sync {
    /// A body begins, perhaps of so many bytes.
    fn begin(&self, bytes: usize);
    /// Of which this is the next piece.
    fn push(&self, piece: &[u8]);
    /// All of it was pushed.
    fn end(&self, response: &HttpResponse) -> Result<Output, OrchestratorError<Error>>;
}

/// Has the answers to those calls of its client that are made [for a slot](PageSlot::filled_by) read into it, and leaves
/// all others alone.
#[derive(Debug)]
pub(crate) struct PageInterceptor;

/// The slot of a call as the SDK takes it.
struct OfCall(Arc<dyn Answered>);

/// One call's place for its page.
pub(crate) struct PageSlot<T>(Arc<Slot<T>>);

struct Slot<T> {
    shard: ShardId,
    decode: Decode<T>,
    body: Mutex<Body>,
    /// The page of the attempt that succeeded, with the date of its answer.
    page: Mutex<Option<(T, Option<ServiceTime>)>>,
}

/// What has arrived of an attempt's answer.
#[derive(Default)]
struct Body {
    text: PageText,
    crc32: crc32fast::Hasher,
}

impl<T: Send + 'static> PageSlot<T> {
    pub(crate) fn new(shard: &ShardId, decode: Decode<T>) -> Self {
        let (body, page) = (Mutex::default(), Mutex::new(None));
        Self(Arc::new(Slot { shard: shard.clone(), decode, body, page }))
    }

    /// Makes the call whose answer is the page.
    pub(crate) async fn filled_by<F: Future>(&self, call: F) -> F::Output {
        CALL.scope(Arc::<Slot<T>>::clone(&self.0), call).await
    }

    /// The page of the attempt that succeeded, and the date of its answer where that told one.
    pub(crate) fn take(&self) -> Option<(T, Option<ServiceTime>)> {
        self.0.page.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Slot<T> {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the type only: a page holds users' data.
impl fmt::Debug for OfCall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PageSlot")
    }
}

#[dyn_dispatch_hint]
impl Intercept for PageInterceptor {
    fn name(&self) -> &'static str {
        "page-deserializer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let Ok(slot) = CALL.try_with(Arc::clone) else {
            date::note(response.headers());
            return Ok(());
        };
        let announced = response.headers().get("content-length").and_then(|length| length.parse().ok());
        slot.begin(announced.unwrap_or_default());
        // The body is still on the wire: this bounds what will be read of it (I6).
        let body = Limited::new(response.take_body(), PAGE_BYTES_MAX);
        let gatherer = Arc::clone(&slot);
        let gathered = body.map_frame(move |frame| {
            frame.map_data(|piece| {
                gatherer.push(&piece);
                Bytes::new()
            })
        });
        *response.body_mut() = SdkBody::from_body_1_x(gathered);
        config.interceptor_state().store_put(SharedResponseDeserializer::new(OfCall(slot)));
        Ok(())
    }
}

impl DeserializeResponse for OfCall {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        self.0.end(response)
    }
}

impl<T: Send + 'static> Answered for Slot<T> {
    fn begin(&self, bytes: usize) {
        *self.body() = Body { text: PageText::with_room(bytes), ..Body::default() };
    }

    fn push(&self, piece: &[u8]) {
        let mut body = self.body();
        body.crc32.update(piece);
        body.text.push(piece);
    }

    fn end(&self, response: &HttpResponse) -> Result<Output, OrchestratorError<Error>> {
        // Response errors are what the SDK retries, and what our caller knows as transient.
        let broken = |fault: PageFault| OrchestratorError::response(fault.into());
        let Body { text, crc32 } = take(&mut *self.body());
        check_crc32(response, crc32.finalize()).map_err(broken)?;
        if !response.status().is_success() {
            let error = GetRecordsError::generic(error_metadata(response, &text.end().unwrap_or_default()));
            return Err(OrchestratorError::operation(Error::erase(error)));
        }
        let page = text.end().and_then(|text| (self.decode)(text, &self.shard)).map_err(broken)?;
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Some((page, date::of(response.headers())));
        Ok(Output::erase(GetRecordsOutput::builder().build()))
    }
}

/// DynamoDB sends a checksum of each body, and the SDK for Rust does not look at it.
fn check_crc32(response: &HttpResponse, found: u32) -> Result<(), PageFault> {
    let Some(sent) = response.headers().get("x-amz-crc32").and_then(|text| text.trim().parse().ok()) else {
        return Ok(());
    };
    if sent == found { Ok(()) } else { Err(PageFault::Checksum { sent, found }) }
}

/// Code and message of an error answer (AWS JSON 1.0 protocol): the code in a header or in `__type`.
fn error_metadata(response: &HttpResponse, body: &str) -> ErrorMetadata {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| parsed.get(name).and_then(Value::as_str);
    let code = response.headers().get("x-amzn-errortype").or_else(|| text("__type")).or_else(|| text("code"));
    let message = text("message").or_else(|| text("Message"));
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = code.map(bare_code).filter(|code| !code.is_empty()) {
        metadata = metadata.code(code);
    }
    if let Some(message) = message {
        metadata = metadata.message(bounded(message));
    }
    metadata.build()
}
