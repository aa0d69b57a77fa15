//! Pages of `GetRecords` in AWS's compact form, one per profile: as full as the service makes them, the same each time.

use std::fmt;

/// Most records and most bytes of a page (DynamoDB API reference, `GetRecords`). The service counts item data and not
/// JSON; taken as bytes of JSON, pages are a little smaller than they could be.
const PAGE_RECORDS_MAX: usize = 1_000;
const PAGE_BYTES_MAX: usize = 1_000_000;
/// Length of a filling text, so that a record's images have about the size of the profile's name.
const FOUR_KILOBYTES_TEXT: usize = 1_650;
const FAT_TEXT: usize = 390_000;

/// What the records of a page look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Both images with ten attributes each: escapes, text outside ASCII, numbers, a list of maps, a set; 1.1 KB a record.
    OneKilobyte,
    /// The same and a long text in each image; about 4 KB a record.
    FourKilobytes,
    /// A new image near the largest item, 400 KB (DynamoDB developer guide, "Quotas").
    Fat,
    /// A new image with one short attribute.
    Tiny,
    /// No images.
    KeysOnly,
    /// Both images, their texts Cyrillic; about 1 KB a record.
    NonAscii,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OneKilobyte, Self::FourKilobytes, Self::Fat, Self::Tiny, Self::KeysOnly, Self::NonAscii];

    /// As it is asked for on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneKilobyte => "1kb",
            Self::FourKilobytes => "4kb",
            Self::Fat => "fat",
            Self::Tiny => "tiny",
            Self::KeysOnly => "keys-only",
            Self::NonAscii => "non-ascii",
        }
    }

    fn view_type(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::Fat | Self::Tiny => "NEW_IMAGE",
            Self::OneKilobyte | Self::FourKilobytes | Self::NonAscii => "NEW_AND_OLD_IMAGES",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One page: the text of an answer, and how many records it has.
pub fn page(profile: Profile) -> (String, usize) {
    let mut body = String::from(r#"{"NextShardIterator":"next","Records":["#);
    let mut records = 0;
    while records < PAGE_RECORDS_MAX {
        let record = record(profile, records);
        // Not the 1 KB profile: its page is the full 1 000 records that all figures per page are told for.
        if profile != Profile::OneKilobyte && body.len() + record.len() > PAGE_BYTES_MAX {
            break;
        }
        if records > 0 {
            body.push(',');
        }
        body.push_str(&record);
        records += 1;
    }
    body.push_str("]}");
    (body, records)
}

fn record(profile: Profile, number: usize) -> String {
    let keys = format!(
        r#""Id":{{"S":"ORDER#{number:08}"}},"Fecha":{{"S":"2026-11-23T10:{:02}:{:02}Z"}}"#,
        number / 60 % 60,
        number % 60
    );
    let images = match profile.view_type() {
        "KEYS_ONLY" => String::new(),
        "NEW_IMAGE" => format!(r#""NewImage":{},"#, image(profile, &keys, number, "PAID")),
        _ => format!(
            r#""NewImage":{},"OldImage":{},"#,
            image(profile, &keys, number, "PAID"),
            image(profile, &keys, number, "NEW")
        ),
    };
    format!(
        r#"{{"awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":1795364321,"Keys":{{{keys}}},{images}"SequenceNumber":"1110000000000{number:08}","SizeBytes":812,"StreamViewType":"{}"}},"eventID":"c4ca4238a0b923820dcc{number:012}","eventName":"MODIFY","eventSource":"aws:dynamodb","eventVersion":"1.1"}}"#,
        profile.view_type()
    )
}

fn image(profile: Profile, keys: &str, number: usize, status: &str) -> String {
    match profile {
        Profile::OneKilobyte | Profile::KeysOnly => order(keys, number, status, ""),
        Profile::FourKilobytes => {
            order(keys, number, status, &format!(r#","text":{{"S":"{}"}}"#, words(FOUR_KILOBYTES_TEXT)))
        }
        Profile::Fat => format!(r#"{{{keys},"text":{{"S":"{}"}}}}"#, words(FAT_TEXT)),
        Profile::Tiny => format!(r#"{{{keys},"n":{{"N":"{number}"}}}}"#),
        Profile::NonAscii => format!(
            r#"{{{keys},"покупатель":{{"S":"Анна Сергеевна Иванова, улица Ленина {number}, Новосибирск, Россия"}},"примечание":{{"S":"позвонить до доставки, домофон не работает"}},"status":{{"S":"{status}"}}}}"#
        ),
    }
}

/// An order with ten attributes, and `more` behind them.
fn order(keys: &str, number: usize, status: &str, more: &str) -> String {
    format!(
        r#"{{{keys},"status":{{"S":"{status}"}},"customer":{{"S":"Zoë \"Z\" Müller, Straße {number}"}},"total":{{"N":"{}.{:02}"}},"paid":{{"BOOL":{}}},"note":{{"NULL":true}},"lines":{{"L":[{{"M":{{"sku":{{"S":"A-{number}"}},"quantity":{{"N":"2"}}}}}},{{"M":{{"sku":{{"S":"B-7"}},"quantity":{{"N":"11"}}}}}}]}},"tags":{{"SS":["gift","new","vip"]}},"version":{{"N":"{number}"}}{more}}}"#,
        number * 7,
        number % 100,
        number.is_multiple_of(2),
    )
}

/// A text of this many bytes with an escape in every 64.
fn words(bytes: usize) -> String {
    let sentence = "the river rises in the hills, turns the wheel and goes on down\\n";
    sentence.chars().cycle().take(bytes / sentence.len() * sentence.len()).collect()
}
