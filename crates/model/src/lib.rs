//! The words of Tailwater and the contract between its parts: change events, items, positions, batches, and the
//! `Source`, `Transform` and `Sink` traits. The bottom of every arrow.
//!
//! Deliberately absent: I/O, clocks, randomness, tokio, and every type of an outside system.

mod accounting;
mod batch;
mod binding;
mod brake;
mod committed;
mod conceal;
mod contract;
mod creation_time;
mod cursor;
mod descent;
mod event;
mod event_json;
mod fold;
mod item;
mod key;
mod lenient;
mod number;
mod ownership;
mod panic_words;
mod plain_json;
mod position;
mod scan;
mod service_time;

pub use batch::{Batch, Counts, DeadLetter, Delivery, Finished, Gap, GapCause, Group, Step};
pub use binding::{Binding, Fit, Misfit, TargetFacts, TargetState};
pub use brake::{Brake, TooManyDeadLetters};
pub use committed::{Committed, DeadLetterReason};
pub use conceal::{conceal_event, conceal_letter};
pub use contract::{Checkpoints, Failure, PipelineIdentity, Progress, Sink, Source, StreamIdentity};
pub use contract::{
    FirstListing, PreviousStream, ShardCheckpoint, ShardProgress, Transform, Trouble, TroubleKind, least_read_until,
};
pub use creation_time::{CreationTime, rfc_3339};
pub use cursor::{JsonCursor, Malformed};
pub use descent::NESTING_DEPTH_MAX;
pub use event::{Change, ChangeEvent, Images, Rejected, RemoveCause, SourceInfo, ViewType};
pub use event_json::{push_event_key, push_plain_change};
pub use fold::{DeleteMode, Folded, fold_by_key};
pub use item::{Attribute, Attributes, Item, Text, Value};
pub use key::{Key, KeyAttribute, KeyFault, KeyKind, KeySchema, KeyValue};
pub use lenient::{lenient_elements, lenient_members, lenient_string, value_extent};
pub use number::{Number, NumberFault};
pub use ownership::{Claimed, Owner, Ownership, Unshared};
pub use panic_words::panic_words;
pub use plain_json::{push_plain_item, push_plain_key, push_quoted};
pub use position::{Advance, Position, PositionFault, SequenceNumber, SequenceNumberFault, ShardId};
pub use service_time::ServiceTime;
