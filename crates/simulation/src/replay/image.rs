//! What the records of a replay look like.

use super::page::{Slot, Template};

/// The kinds of records that a replay can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Both images, about 1 KB a record: ten attributes of most types, with escapes.
    OneKilobyte,
    /// The same with longer text, about 4 KB a record.
    FourKilobytes,
    /// An insert with an item near the largest, 400 KB (DynamoDB developer guide, "Quotas").
    Fat,
    /// A new image with one number.
    Tiny,
    /// No images.
    KeysOnly,
    /// Both images, about 1 KB a record, most of it text outside ASCII.
    NonAscii,
    /// All the kinds that one stream can hold, and inserts, changes and removals.
    Mixed,
    /// As one kilobyte, but of few items: their ranks follow Zipf's law with exponent 1 over [`HOT_KEYS`] keys a shard.
    HotKeys,
}

/// Keys of each shard of [`Profile::HotKeys`].
pub const HOT_KEYS: u32 = 10_000;
/// One record in so many of [`Profile::Mixed`] is fat: about one a page.
const FAT_RARITY: u32 = 400;
const FAT_TEXT: usize = 390_000;
const LONG_TEXT: usize = 1_400;
const LOCAL_TEXT: usize = 160;

/// How much is in an image beside its key.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    Number,
    Order,
    LongOrder,
    LocalOrder,
    Fat,
}

impl Profile {
    /// Every kind with its name on command lines.
    pub const ALL: [(&'static str, Self); 8] = [
        ("1k", Self::OneKilobyte),
        ("4k", Self::FourKilobytes),
        ("fat", Self::Fat),
        ("tiny", Self::Tiny),
        ("keys-only", Self::KeysOnly),
        ("non-ascii", Self::NonAscii),
        ("mixed", Self::Mixed),
        ("hot-keys", Self::HotKeys),
    ];

    /// The stream's view type, as DynamoDB writes it.
    pub fn view_type(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::Fat | Self::Tiny => "NEW_IMAGE",
            _ => "NEW_AND_OLD_IMAGES",
        }
    }
}

/// Writes records of one profile.
pub(super) struct RecordWriter {
    profile: Profile,
    /// Records say when they arrived and when they were served.
    clocked: bool,
    rng: fastrand::Rng,
    /// Sums of the weights of the hot keys up to each rank.
    weights: Vec<f64>,
}

impl RecordWriter {
    pub(super) fn new(profile: Profile, clocked: bool, seed: u64) -> Self {
        let ranks = if profile == Profile::HotKeys { HOT_KEYS } else { 0 };
        let weights = (1..=ranks).scan(0.0, |sum, rank| {
            *sum += 1.0 / f64::from(rank);
            Some(*sum)
        });
        Self { profile, clocked, rng: fastrand::Rng::with_seed(seed), weights: weights.collect() }
    }

    /// Appends one record in the order of the fields in the API reference's sample response of `GetRecords`.
    pub(super) fn record(&mut self, out: &mut Template) {
        let (body, event, [has_new, has_old]) = self.shape();
        let key = self.key();
        out.text(r#"{"awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":"#);
        out.slot(Slot::CreatedSecond);
        out.text(r#","Keys":{"#);
        push_key(&key, out);
        out.text("}");
        let before = out.len();
        for (name, _) in [("NewImage", has_new), ("OldImage", has_old)].into_iter().filter(|(_, has)| *has) {
            out.text(&format!(r#","{name}":{{"#));
            push_key(&key, out);
            self.attributes(body, name == "NewImage", out);
            out.text("}");
        }
        let size = key.len() + out.len() - before;
        out.text(r#","SequenceNumber":""#);
        out.slot(Slot::Sequence);
        let view = self.profile.view_type();
        out.text(&format!(
            r#"","SizeBytes":{size},"StreamViewType":"{view}"}},"eventID":"{:05x}"#,
            self.rng.u32(..1 << 20)
        ));
        out.slot(Slot::Shard);
        out.slot(Slot::Sequence);
        out.text(&format!(r#"","eventName":"{event}","eventSource":"aws:dynamodb","eventVersion":"1.1"}}"#));
    }

    /// What the next record is, and whether it has a new and an old image.
    fn shape(&mut self) -> (Body, &'static str, [bool; 2]) {
        match self.profile {
            Profile::OneKilobyte | Profile::HotKeys => (Body::Order, "MODIFY", [true, true]),
            Profile::FourKilobytes => (Body::LongOrder, "MODIFY", [true, true]),
            Profile::Fat => (Body::Fat, "INSERT", [true, false]),
            Profile::Tiny => (Body::Number, "MODIFY", [true, false]),
            Profile::KeysOnly => (Body::Number, "MODIFY", [false, false]),
            Profile::NonAscii => (Body::LocalOrder, "MODIFY", [true, true]),
            Profile::Mixed if self.rng.u32(..FAT_RARITY) == 0 => (Body::Fat, "INSERT", [true, false]),
            Profile::Mixed => {
                let body = [Body::Number, Body::Order, Body::LongOrder, Body::LocalOrder][self.rng.usize(..4)];
                match self.rng.u8(..4) {
                    0 => (body, "INSERT", [true, false]),
                    1 => (body, "REMOVE", [false, true]),
                    _ => (body, "MODIFY", [true, true]),
                }
            }
        }
    }

    fn key(&mut self) -> String {
        let Some(all) = self.weights.last() else { return format!("{:016x}", self.rng.u64(..)) };
        let point = self.rng.f64() * all;
        format!("{:016x}", self.weights.partition_point(|sum| *sum <= point))
    }

    fn attributes(&mut self, body: Body, is_new: bool, out: &mut Template) {
        let rng = &mut self.rng;
        out.text(&format!(r#","version":{{"N":"{}"}}"#, rng.u32(..)));
        if self.clocked && is_new {
            out.text(r#","at_ms":{"N":""#);
            out.slot(Slot::ArrivedMillisecond);
            out.text(r#""},"served_us":{"N":""#);
            out.slot(Slot::ServedMicrosecond);
            out.text(r#""}"#);
        }
        if body == Body::Number {
            return;
        }
        out.text(&format!(
            r#","status":{{"S":"{}"}},"customer":{{"S":"Zoë \"Z\" Müller, Straße {}"}},"total":{{"N":"{}.{:02}"}},"paid":{{"BOOL":{}}},"note":{{"NULL":true}},"lines":{{"L":[{{"M":{{"sku":{{"S":"A-{}"}},"quantity":{{"N":"2"}}}}}},{{"M":{{"sku":{{"S":"B-7"}},"quantity":{{"N":"11"}}}}}}]}},"tags":{{"SS":["gift","new","vip"]}}"#,
            if is_new { "PAID" } else { "NEW" },
            rng.u16(..),
            rng.u16(..),
            rng.u8(..100),
            rng.bool(),
            rng.u16(..),
        ));
        let text: String = match body {
            Body::Number | Body::Order => return,
            Body::LongOrder => (0..LONG_TEXT).map(|_| rng.alphanumeric()).collect(),
            Body::Fat => (0..FAT_TEXT).map(|_| rng.alphanumeric()).collect(),
            Body::LocalOrder => (0..LOCAL_TEXT).map(|_| rng.char('а'..='я')).collect(),
        };
        out.text(&format!(r#","text":{{"S":"{text}"}}"#));
    }
}

/// Shards have no keys in common, as in a real stream.
fn push_key(key: &str, out: &mut Template) {
    out.text(r#""Id":{"S":""#);
    out.slot(Slot::Shard);
    out.text(&format!(r#"-{key}"}}"#));
}
