//! Reads DynamoDB Streams: the pure shard graph, the reader, the page decoder, and the AWS SDK behind one narrow trait.
//!
//! Deliberately absent: any type of the AWS SDK in the public interface, and any knowledge of sinks.

mod api;

pub use api::{ApiError, ApiErrorKind, Decoded, IteratorStart, ListedShard, RecordPage};
pub use api::{ShardIterator, ShardListing, StreamApi};
