//! The transforms of a batch: what becomes of its records, what dead letters show, and what is counted.

use allocation_counter::measure;
use bytestring::ByteString;
use tailwater_model::{
    Advance, Change, Counts, Item, JsonCursor, Position, Rejected, SequenceNumber, ShardId, SourceInfo, Step,
    lenient_members,
};

use super::*;

/// Refuses every event. Had it not, the first name would have become the second.
struct Refuse(&'static str, &'static str);

/// Hides one attribute of the top level.
struct Hide(&'static str);

impl Transform for Refuse {
    fn apply(&self, _event: ChangeEvent, _out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        Err(Rejected { code: "test.refused", message: "refused".into() })
    }

    fn follow(&self, path: &mut [String]) -> bool {
        path.iter_mut().take(1).filter(|name| *name == self.0).for_each(|name| *name = self.1.into());
        true
    }
}

impl Transform for Hide {
    fn apply(&self, mut event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        for image in event.change.images_mut() {
            let members = lenient_members(image.typed_json()).expect("an object");
            let stays = members.iter().filter(|(name, _)| name.trim_matches('"') != self.0);
            let stays: Vec<_> = stays.map(|(name, value)| format!("{name}:{value}")).collect();
            let json = format!("{{{}}}", stays.join(",")).into_boxed_str();
            *image = Item::parse(json.into()).expect("typed JSON");
        }
        out.push(event);
        Ok(())
    }

    fn follow(&self, path: &mut [String]) -> bool {
        path.first().is_some_and(|name| name != self.0)
    }
}

const IMAGE: &str = r#"{"id":{"S":"7"},"old_hash":{"S":"secret 1"},"hash":{"S":"secret 2"},"m":{"M":{"a":{"N":"1"}}}}"#;

fn event(sequence_number: usize) -> ChangeEvent {
    ChangeEvent {
        key: Item::parse(r#"{"id":{"S":"7"}}"#.into()).expect("typed JSON"),
        change: Change::Insert { new: Some(Item::parse(IMAGE.into()).expect("typed JSON")) },
        source: SourceInfo {
            shard: ShardId::new("shard"),
            sequence_number: SequenceNumber::parse(sequence_number.to_string().into()).expect("digits"),
            event_id: "e".into(),
            created_at_ms: 1,
            size_bytes: 1,
        },
    }
}

/// A batch of so many events and of dead letters of the source, after the transforms.
fn transformed(events: usize, dead_letters: Vec<DeadLetter>, transforms: Vec<Box<dyn Transform>>) -> Batch {
    let limits = GroupLimits { events_max: 10, bytes_max: 1 << 20, delay_max: Duration::ZERO };
    let mut collecting = Collecting::new(limits, Arc::new(transforms));
    let read = (events + dead_letters.len()) as u64;
    collecting.push(Batch {
        shard: ShardId::new("shard"),
        read_until: None,
        step: Step::Advance(Advance { from: Position::Start, to: Position::End }),
        events: (1..=events).map(event).collect(),
        dead_letters,
        gap: None,
        counts: Counts { read, ..Counts::default() },
        bytes: 0,
    });
    collecting.take().batches.pop().expect("the batch")
}

fn refused_records(transforms: Vec<Box<dyn Transform>>) -> Vec<String> {
    let batch = transformed(1, Vec::new(), transforms);
    assert!(batch.events.is_empty());
    batch.dead_letters.into_iter().map(|letter| letter.record).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_is_what_the_transforms_before_left() {
    let records = refused_records(vec![Box::new(Hide("hash")), Box::new(Refuse("", ""))]);
    let expected =
        r#""NewImage":{"id":{"S":"7"},"old_hash":{"S":"secret 1"},"m":{"M":{"a":{"N":"1"}}}},"OldImage":null}"#;
    assert!(records[0].ends_with(expected), "{records:?}");
    assert!(records[0].contains(r#""SequenceNumber":"1""#) && records[0].contains(r#""Keys":{"id":{"S":"7"}}"#));
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_does_not_show_what_would_have_been_hidden() {
    let refuse = || Box::new(Refuse("old_hash", "hash"));
    let records = refused_records(vec![refuse(), Box::new(Hide("hash"))]);
    assert!(records[0].contains(r#""NewImage":{"id":{"S":"7"},"m":{"M":{"a":{"N":"1"}}}}"#), "{records:?}");
    // The key is what the record is found again by.
    let records = refused_records(vec![refuse(), Box::new(Hide("id"))]);
    assert!(records[0].contains(r#""Keys":{"id":{"S":"7"}}"#) && records[0].contains(r#""NewImage":{"old_hash""#));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_source_did_not_understand_does_not_show_it_either() {
    let record = r#"{"eventID":"e","dynamodb":{"Keys":{"hash":{"S":"key"}},"NewImage":{"a":{"ZZ":"odd"},"hash":{"S":"secret"},"m":{"M":{"x":{"N":"1"}},"N":"secret"}},"Oldimage":{"\u0068ash":{"S":"secret"}},"OldImage":{"hash":"\ud800 secret","l":{"L":[]}}},"userIdentity":{"hash":"is none"}}"#;
    let letter = DeadLetter {
        shard: ShardId::new("shard"),
        sequence_number: SequenceNumber::parse("2".into()).expect("digits"),
        event_id: "e".into(),
        code: "source.malformed_record",
        error: "malformed".into(),
        record: record.into(),
    };
    let batch = transformed(0, vec![letter.clone()], vec![Box::new(Hide("hash"))]);
    let expected = r#"{"eventID":"e","dynamodb":{"Keys":{"hash":{"S":"key"}},"NewImage":{"a":{"ZZ":"odd"}},"Oldimage":{},"OldImage":{"l":{"L":[]}}},"userIdentity":{"hash":"is none"}}"#;
    assert_eq!(batch.dead_letters[0].record, expected);
    assert_eq!(transformed(0, vec![letter], Vec::new()).dead_letters[0].record, record, "no rule, nothing to hide");
}

/// Makes as many events of a record as its number says, of which the third is refused further on.
struct Multiply;

/// Refuses the third event of a record.
struct RefuseThird;

impl Transform for Multiply {
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        let events: i64 = event.source.sequence_number.as_str().parse().expect("a number");
        out.extend((1..events).map(|number| {
            let mut event = event.clone();
            event.source.created_at_ms = number;
            event
        }));
        Ok(())
    }

    fn follow(&self, _path: &mut [String]) -> bool {
        true
    }
}

impl Transform for RefuseThird {
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        if event.source.created_at_ms == 3 {
            return Err(Rejected { code: "test.third", message: "the third".into() });
        }
        out.push(event);
        Ok(())
    }

    fn follow(&self, _path: &mut [String]) -> bool {
        true
    }
}

/// I9: whatever number of events it became, a record counts once.
#[tokio::test(start_paused = true)]
async fn a_record_counts_once_whatever_number_of_events_it_became() {
    let batch = transformed(5, Vec::new(), vec![Box::new(Multiply), Box::new(RefuseThird)]);
    let carried: Vec<_> = batch.events.iter().map(|event| event.source.sequence_number.to_string()).collect();
    assert_eq!(carried, ["2", "3", "3", "4", "4", "5", "5", "5"]);
    assert_eq!(batch.dead_letters.len(), 2);
    assert_eq!(batch.counts, Counts { read: 5, written: 2, filtered: 1, dead_lettered: 2, suppressed: 0 });
    assert!(batch.counts.balance());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_source_did_not_understand_counts_without_any_transform() {
    let letter = DeadLetter::of_event(&event(9), Rejected { code: "test.odd", message: "odd".into() });
    let batch = transformed(2, vec![letter], Vec::new());
    assert_eq!(batch.counts, Counts { read: 3, written: 2, dead_lettered: 1, ..Counts::default() });
}

/// Events whose items are slices of one page, as a source gives them, in a batch that says what it holds.
fn batch_of_a_page(image: &str, records: usize) -> Batch {
    let lines: Vec<_> = (1..=records).map(|number| format!(r#"{{"id":{{"N":"{number}"}}}}{image}"#)).collect();
    let page = ByteString::from(lines.concat().into_boxed_str());
    let mut cursor = JsonCursor::new(&page);
    let mut events = Vec::with_capacity(records);
    for number in 1..=records {
        let key = cursor.item(&page).expect("a key");
        let change = Change::Insert { new: Some(cursor.item(&page).expect("an image")) };
        let mut event = ChangeEvent { key, change, ..event(number) };
        event.source.event_id = page.slice_ref(page.get(..8).expect("a text"));
        events.push(event);
    }
    Batch {
        shard: ShardId::new("shard"),
        read_until: None,
        step: Step::Advance(Advance { from: Position::Start, to: Position::End }),
        dead_letters: Vec::new(),
        gap: None,
        counts: Counts { read: records as u64, ..Counts::default() },
        bytes: page.len() + records * size_of::<ChangeEvent>(),
        events,
    }
}

/// Bytes that a group of one batch holds, and what it says of that.
fn held_and_counted(image: &str, transforms: Vec<Box<dyn Transform>>) -> (f64, f64) {
    let limits = GroupLimits { events_max: 10, bytes_max: 1 << 20, delay_max: Duration::ZERO };
    let mut collecting = Collecting::new(limits, Arc::new(transforms));
    let mut group = Group::default();
    let held = measure(|| {
        collecting.push(batch_of_a_page(image, 1_000));
        group = collecting.take();
    });
    assert_eq!(group.counts().read, 1_000);
    (held.bytes_current as f64, group.bytes() as f64)
}

#[tokio::test(start_paused = true)]
async fn a_group_counts_what_it_holds_whatever_the_transforms_did() {
    let more = format!(r#""b":{{"S":"{}"}}"#, "x".repeat(1_000));
    let image = format!(r#"{{"hash":{{"S":"h"}},{more}}}"#);
    let nothing: fn() -> Vec<Box<dyn Transform>> = Vec::new;
    for (what, image, transforms) in [
        ("no transform", &*image, nothing()),
        ("nothing to hide", &image, vec![Box::new(Hide("other")) as _]),
        ("copies of nearly all", &image, vec![Box::new(Hide("hash")) as _]),
        ("copies of copies", &image, vec![Box::new(Hide("hash")) as _, Box::new(Hide("nothing")) as _]),
        ("refused", &image, vec![Box::new(Refuse("", "")) as _]),
        ("small items refused", r#"{"hash":{"S":"h"}}"#, vec![Box::new(Refuse("", "")) as _]),
    ] {
        let (held, counted) = held_and_counted(image, transforms);
        let factor = held / counted;
        assert!((1.0 / 1.3..1.3).contains(&factor), "{what}: {held} bytes are held, {counted} counted");
    }
}

/// Registrations and moments hold no bytes: they are bounded by their number.
#[test]
fn a_group_of_batches_without_records_ends() {
    let limits = GroupLimits { events_max: 1, bytes_max: 1, delay_max: Duration::ZERO };
    let mut collecting = Collecting::new(limits, Arc::new(Vec::new()));
    let mut batches = 0;
    while collecting.has_room() {
        collecting.push(Batch {
            shard: ShardId::new(&format!("shard-{batches}")),
            read_until: None,
            step: Step::Register { parent: None, position: Position::Start },
            events: Vec::new(),
            dead_letters: Vec::new(),
            gap: None,
            counts: Counts::default(),
            bytes: 0,
        });
        batches += 1;
    }
    assert_eq!(batches, GROUP_BATCHES_MAX);
}
