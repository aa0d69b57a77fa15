//! The change event: what happened to one item, and where that was read.

use bytestring::ByteString;

use crate::item::Item;
use crate::position::{SequenceNumber, ShardId};

/// One change of one item, in the form that every source gives and every sink takes.
#[derive(Clone, Debug)]
pub struct ChangeEvent {
    /// The item's primary key. Transforms never touch it: it is the identity that order is kept for.
    pub key: Item,
    /// What happened.
    pub change: Change,
    /// Where the record stands in its stream.
    pub source: SourceInfo,
}

/// What happened to the item. An image is absent when the stream's view type does not carry it.
#[derive(Clone, Debug)]
pub enum Change {
    /// The item came into being.
    Insert {
        /// The new image.
        new: Option<Item>,
    },
    /// The item changed.
    Modify {
        /// The item before.
        old: Option<Item>,
        /// The item after.
        new: Option<Item>,
    },
    /// The item went away.
    Remove {
        /// The item before.
        old: Option<Item>,
        /// Who removed it.
        cause: RemoveCause,
    },
}

/// Who removed an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveCause {
    /// A request of the application.
    Request,
    /// DynamoDB's time to live. In a global table only the region that expired the item says so.
    TimeToLive,
}

impl Change {
    /// The name that users write in `keep` and read in outputs: `insert`, `modify`, `remove` or `ttl`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Modify { .. } => "modify",
            Self::Remove { cause: RemoveCause::Request, .. } => "remove",
            Self::Remove { cause: RemoveCause::TimeToLive, .. } => "ttl",
        }
    }

    /// The item after the change, when there is one and the view type carries it.
    pub fn new_image(&self) -> Option<&Item> {
        match self {
            Self::Insert { new } | Self::Modify { new, .. } => new.as_ref(),
            Self::Remove { .. } => None,
        }
    }

    /// The item before the change, when there was one and the view type carries it.
    pub fn old_image(&self) -> Option<&Item> {
        match self {
            Self::Insert { .. } => None,
            Self::Modify { old, .. } | Self::Remove { old, .. } => old.as_ref(),
        }
    }

    /// Both images, as far as they are there.
    pub fn images(&self) -> impl Iterator<Item = &Item> {
        self.old_image().into_iter().chain(self.new_image())
    }

    /// Both images, to be replaced by a transform.
    pub fn images_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        let (old, new) = match self {
            Self::Insert { new } => (None, new.as_mut()),
            Self::Modify { old, new } => (old.as_mut(), new.as_mut()),
            Self::Remove { old, .. } => (old.as_mut(), None),
        };
        old.into_iter().chain(new)
    }
}

/// Where a change event comes from.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// The shard it was read from.
    pub shard: ShardId,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// DynamoDB's globally unique id of the record.
    pub event_id: ByteString,
    /// `ApproximateCreationDateTime` in milliseconds since 1970. DynamoDB rounds down to the second (DynamoDB Local to
    /// the minute): good for display and lag, never for order.
    pub created_at_ms: i64,
    /// `SizeBytes` of the record as DynamoDB counts it.
    pub size_bytes: u64,
}

/// A record that a transform or a sink cannot take. It goes to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Stable dotted code, for example `transform.name_collision`.
    pub code: &'static str,
    /// What is wrong with the record, without any value of the item.
    pub message: String,
}

/// What a stream's records carry (DynamoDB API reference, `StreamViewType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewType {
    /// Only the key.
    KeysOnly,
    /// The item after the change.
    NewImage,
    /// The item before the change.
    OldImage,
    /// Both.
    NewAndOldImages,
}

/// Which images somebody needs, or a view type carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The item before the change.
    pub old: bool,
    /// The item after the change.
    pub new: bool,
}

impl ViewType {
    /// All four.
    pub const ALL: [Self; 4] = [Self::KeysOnly, Self::NewImage, Self::OldImage, Self::NewAndOldImages];

    /// DynamoDB's own name, for example `NEW_AND_OLD_IMAGES`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    /// The view type of DynamoDB's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.as_str() == name)
    }

    /// The images that its records carry.
    pub fn images(self) -> Images {
        match self {
            Self::KeysOnly => Images { old: false, new: false },
            Self::NewImage => Images { old: false, new: true },
            Self::OldImage => Images { old: true, new: false },
            Self::NewAndOldImages => Images { old: true, new: true },
        }
    }
}

impl ChangeEvent {
    /// The event as one line of JSON for the dead letters, with both images in typed JSON as they are now. Characters
    /// that a database cannot hold stand escaped, so the text itself can be stored anywhere.
    pub fn record_json(&self) -> String {
        let image = |image: Option<&Item>| image.map_or("null".into(), |item| item.typed_json().to_owned());
        let source = &self.source;
        format!(
            r#"{{"eventID":{},"change":"{}","shardId":{},"SequenceNumber":"{}","createdAtMs":{},"Keys":{},"NewImage":{},"OldImage":{}}}"#,
            serde_json::Value::from(&*source.event_id),
            self.change.name(),
            serde_json::Value::from(source.shard.as_str()),
            source.sequence_number,
            source.created_at_ms,
            self.key.typed_json(),
            image(self.change.new_image()),
            image(self.change.old_image()),
        )
    }
}
