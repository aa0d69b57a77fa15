//! The pages of a replay, rendered once from a seed.

/// What the records of a replay look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Both images, about 1 KB a record.
    OneKilobyte,
    /// Both images, about 4 KB a record.
    FourKilobytes,
    /// A new image near the largest item, 400 KB (DynamoDB developer guide, "Quotas").
    Fat,
    /// A new image with one short attribute.
    Tiny,
    /// No images.
    KeysOnly,
    /// Both images, about 1 KB a record, their text outside ASCII.
    NonAscii,
}

/// Most bytes and most records of a page (DynamoDB API reference, `GetRecords`).
const PAGE_BYTES_MAX: usize = 1_000_000;
const PAGE_RECORDS_MAX: u64 = 1_000;
/// Sequence numbers begin here: 21 digits, the fewest.
const SEQUENCE_FIRST: u128 = 100_000_000_000_000_000_000;
/// The creation time of every record, in seconds since 1970.
const CREATED_AT_S: u64 = 1_795_500_000;

impl Profile {
    /// The stream's view type, as DynamoDB writes it.
    pub fn view_type(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::Fat | Self::Tiny => "NEW_IMAGE",
            Self::OneKilobyte | Self::FourKilobytes | Self::NonAscii => "NEW_AND_OLD_IMAGES",
        }
    }

    /// Characters of the text in each image.
    fn text_length(self) -> usize {
        match self {
            Self::OneKilobyte => 300,
            Self::FourKilobytes => 1_800,
            Self::Fat => 390_000,
            Self::Tiny => 5,
            Self::KeysOnly => 0,
            Self::NonAscii => 120,
        }
    }
}

/// The records of one page, as they stand between the brackets of an answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: String,
    pub(super) count: u64,
}

/// The sequence number of a record by its page and its place there.
pub(super) fn sequence(page: u64, index: u64) -> u128 {
    SEQUENCE_FIRST + u128::from(page) * u128::from(PAGE_RECORDS_MAX) + u128::from(index)
}

/// The page of a sequence number and the record's place there; nothing for what [`sequence`] never gave.
pub(super) fn place(sequence: &str) -> Option<(u64, u64)> {
    let after_first = u64::try_from(sequence.parse::<u128>().ok()?.checked_sub(SEQUENCE_FIRST)?).ok()?;
    Some((after_first / PAGE_RECORDS_MAX, after_first % PAGE_RECORDS_MAX))
}

/// A page as full as the service's limits allow.
pub(super) fn render(profile: Profile, page: u64, rng: &mut fastrand::Rng) -> Page {
    let (mut records, mut count) = (String::new(), 0);
    while count < PAGE_RECORDS_MAX {
        let record = record(profile, sequence(page, count), rng);
        if records.len() + record.len() >= PAGE_BYTES_MAX {
            break;
        }
        if count > 0 {
            records.push(',');
        }
        records.push_str(&record);
        count += 1;
    }
    Page { records, count }
}

fn record(profile: Profile, sequence: u128, rng: &mut fastrand::Rng) -> String {
    let key = format!(r#""Id":{{"S":"{:016x}"}}"#, rng.u64(..));
    let new = image(profile, &key, rng);
    let images = match profile.view_type() {
        "KEYS_ONLY" => String::new(),
        "NEW_IMAGE" => format!(r#","NewImage":{new}"#),
        _ => format!(r#","NewImage":{new},"OldImage":{}"#, image(profile, &key, rng)),
    };
    format!(
        r#"{{"eventID":"{:032x}","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":{CREATED_AT_S},"Keys":{{{key}}}{images},"SequenceNumber":"{sequence}","SizeBytes":{},"StreamViewType":"{}"}}}}"#,
        rng.u128(..),
        key.len() + images.len(),
        profile.view_type()
    )
}

fn image(profile: Profile, key: &str, rng: &mut fastrand::Rng) -> String {
    let text: String = (0..profile.text_length())
        .map(|_| if profile == Profile::NonAscii { rng.char('а'..='я') } else { rng.alphanumeric() })
        .collect();
    format!(r#"{{{key},"text":{{"S":"{text}"}},"count":{{"N":"{}"}},"open":{{"BOOL":{}}}}}"#, rng.u32(..), rng.bool())
}
