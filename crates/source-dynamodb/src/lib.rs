//! Reads DynamoDB Streams: the pure shard graph, the reader, the page decoder, and the AWS SDK behind one narrow trait.
//!
//! Deliberately absent: any type of the AWS SDK in the public interface, and any knowledge of sinks.

mod api;
mod ask_again;
mod client;
mod connect;
mod credentials;
mod date;
mod describe;
mod deserializer;
mod endpoint;
mod environment;
mod errors;
mod graph;
mod http_client;
mod page;
mod page_text;
mod profiles;
mod reader;
mod record;
mod settings;
mod table;
mod tolerant;

pub use api::{ApiError, ApiErrorKind, Dated, Decoded, IteratorStart, ListedShard, RecordPage};
pub use api::{ShardIterator, ShardListing, StreamApi};
pub use connect::{AwsSettings, DynamoDb, connect, connect_emulator};
pub use describe::{DescribedShard, StreamDescription, StreamHead};
pub use errors::api_error;
pub use graph::ReadFront;
pub use page::{PAGE_BYTES_MAX, PageFault, RawPage, decode_page};
pub use page_text::page_text;
pub use reader::{LaneReader, LaneReading, STREAM_GONE, SourceStatus, StatusReader, open_stream};
pub use settings::{OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN};
pub use table::{Table, TableStream};
