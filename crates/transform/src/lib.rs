//! What users do to change events on the way: keep some, select attributes, rename attributes. Pure functions.
//!
//! Transforms change images only, never the key of an event: the key is the identity that order is kept for. They copy
//! spans of typed JSON and build no tree.
//!
//! Deliberately absent: I/O, clocks, state between events, and any knowledge of sources and sinks.

mod keep;
mod path;
mod rename;
mod rewrite;
mod select;

pub use keep::{ChangeName, KeepChanges};
pub use path::{AttributePath, AttributePathFault, SEGMENTS_MAX};
pub use rename::{RenameAttributes, RenameFault};
pub use select::SelectAttributes;
