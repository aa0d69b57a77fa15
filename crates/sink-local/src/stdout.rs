//! The `stdout` sink: JSON lines for eyes and pipes. Progress is kept in memory only: it is lost when the process ends,
//! and each run starts where `start` says. After trouble with a half-written group lines can come twice.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use tailwater_model::{
    Claimed, Committed, Failure, FirstListing, Group, KeySchema, PipelineIdentity, Position, Progress, ServiceTime,
};
use tailwater_model::{ShardId, ShardProgress, Sink, Step, Trouble, TroubleKind, Unshared};

use crate::accounting::set_refused_aside;
use crate::blocking::BlockingResource;
use crate::database::not_open;
use crate::json_lines::JsonLines;

/// Makes the lanes. Nothing is claimed from anybody: progress is the process's own.
pub fn claim_stdout(identity: &PipelineIdentity, keys: &KeySchema) -> Claimed<StdoutLane, Unshared> {
    let lane = |_| StdoutLane::new(Box::new(io::stdout()), identity, keys);
    Claimed { lanes: (0..identity.lanes).map(lane).collect(), ownership: Unshared }
}

/// One lane that writes to the standard output.
pub struct StdoutLane {
    writer: BlockingResource<Box<dyn Write + Send>>,
    table: String,
    keys: Arc<KeySchema>,
    open: bool,
    shards: BTreeMap<ShardId, Place>,
    first_listing: Option<FirstListing>,
}

/// Where a shard stands.
#[derive(Clone, Debug)]
struct Place {
    parent: Option<ShardId>,
    position: Position,
    read_until: Option<ServiceTime>,
}

/// Where shards stand after a group; nothing for one that is forgotten.
type Moved = BTreeMap<ShardId, Option<Place>>;

impl StdoutLane {
    fn new(writer: Box<dyn Write + Send>, identity: &PipelineIdentity, keys: &KeySchema) -> Self {
        Self {
            writer: BlockingResource::new(writer),
            table: identity.stream.table.clone(),
            keys: Arc::new(keys.clone()),
            open: false,
            shards: BTreeMap::new(),
            first_listing: None,
        }
    }

    /// The lines of a group in the order of its batches.
    fn encode(&self, group: &mut Group) -> String {
        let mut lines = JsonLines::of(group, &self.table, &self.keys);
        for batch in &mut group.batches {
            set_refused_aside(batch, |event| lines.push_change(event));
            batch.dead_letters.iter().for_each(|letter| lines.push_dead_letter(letter));
            batch.gap.iter().for_each(|gap| lines.push_gap(gap));
        }
        lines.into_text()
    }

    fn remember(&mut self, moved: Moved, first_listing: Option<FirstListing>) {
        for (shard, place) in moved {
            match place {
                Some(place) => self.shards.insert(shard, place),
                None => self.shards.remove(&shard),
            };
        }
        self.first_listing = first_listing.or(self.first_listing);
    }
}

impl Sink for StdoutLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        // Waits for the writing of a commit that was cancelled.
        self.writer.run(|_| ()).await.map_err(|_| writing_panicked())?;
        self.open = true;
        let shards = self.shards.iter().map(|(shard, Place { parent, position, read_until })| ShardProgress {
            shard: shard.clone(),
            parent: parent.clone(),
            position: position.clone(),
            read_until: *read_until,
        });
        Ok(Progress { shards: shards.collect(), first_listing: self.first_listing, previous_stream: None })
    }

    async fn commit(&mut self, mut group: Group) -> Result<Committed, Failure> {
        // Set again only at the end: an error or a dropped future leaves a lane that must be opened (I7).
        if !std::mem::take(&mut self.open) {
            return Err(not_open());
        }
        let moved = moved(&self.shards, &group)?;
        let lines = self.encode(&mut group);
        if !lines.is_empty() {
            let written = self.writer.run(move |writer| {
                writer.write_all(lines.as_bytes())?;
                writer.flush()
            });
            written.await.map_err(|_| writing_panicked())?.map_err(|error| write_failure(&error))?;
        }
        // I1: the steps count as stored only now.
        self.remember(moved, group.first_listing);
        self.open = true;
        Ok(Committed::of_group(&group))
    }
}

/// Where the steps of the group lead to, if every step fits (I2).
fn moved(shards: &BTreeMap<ShardId, Place>, group: &Group) -> Result<Moved, Failure> {
    let mut moved = Moved::new();
    for batch in &group.batches {
        let before = moved.get(&batch.shard).map_or_else(|| shards.get(&batch.shard), Option::as_ref);
        let place = match (&batch.step, before) {
            (Step::Register { parent, position }, None) => {
                Some(Place { parent: parent.clone(), position: position.clone(), read_until: batch.read_until })
            }
            (Step::Advance(advance), Some(place)) if place.position == advance.from => Some(Place {
                parent: place.parent.clone(),
                position: advance.to.clone(),
                read_until: batch.read_until.or(place.read_until),
            }),
            (Step::Forget, Some(place)) if place.position == Position::End => None,
            _ => {
                let message = format!("shard {} does not stand where the step begins", batch.shard);
                return Err(Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.step_refused", message)));
            }
        };
        moved.insert(batch.shard.clone(), place);
    }
    Ok(moved)
}

fn write_failure(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        let message = "the program that read the standard output has ended";
        return Failure::Halt(Trouble::new(TroubleKind::Runtime, "sink.stdout.closed", message));
    }
    let message = format!("writing to the standard output failed: {error}");
    let trouble = Trouble::new(TroubleKind::Environment, "sink.stdout.write", message);
    Failure::Halt(trouble.advise("see that what the standard output leads to has room and can be written to"))
}

fn writing_panicked() -> Failure {
    let message = "writing to the standard output panicked: please report this";
    Failure::Halt(Trouble::new(TroubleKind::Runtime, "sink.stdout.panic", message))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use tailwater_model::{Advance, Batch, Change, ChangeEvent, Counts, Gap, GapCause, Item, KeyAttribute, KeyKind};
    use tailwater_model::{SequenceNumber, SourceInfo, StreamIdentity};

    /// Takes what is written, or answers with an error.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<(String, Option<ErrorKind>)>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut page = self.0.lock().expect("no panic");
            match page.1 {
                Some(kind) => Err(kind.into()),
                None => {
                    page.0.push_str(std::str::from_utf8(bytes).expect("UTF-8"));
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lane() -> (StdoutLane, Page) {
        let stream = StreamIdentity { table: "T".into(), table_id: "1".into(), stream_arn: "arn".into() };
        let identity = PipelineIdentity { name: "p".into(), lanes: 1, stream };
        let keys = KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyKind::N }, sort: None };
        let page = Page::default();
        (StdoutLane::new(Box::new(page.clone()), &identity, &keys), page)
    }

    fn group(step: Step, key: &str) -> Group {
        let source = SourceInfo {
            shard: ShardId::new("s"),
            sequence_number: SequenceNumber::parse("7".into()).expect("digits"),
            event_id: "e".into(),
            created_at_ms: 0,
            size_bytes: 1,
        };
        let change = Change::Modify { old: None, new: None };
        let event = ChangeEvent { key: Item::parse(key.to_owned().into()).expect("valid"), change, source };
        let gap = Gap {
            shard: None,
            cause: GapCause::Away,
            after: Position::Start,
            since: Some(ServiceTime::EPOCH),
            until: ServiceTime::from_ms(1000),
            detail: "\"away\"".into(),
            stop: false,
        };
        let counts = Counts { read: 1, written: 1, ..Counts::default() };
        let (shard, read_until, dead_letters) = (ShardId::new("s"), Some(ServiceTime::EPOCH), Vec::new());
        let batch =
            Batch { shard, step, read_until, events: vec![event], dead_letters, gap: Some(gap), counts, bytes: 1 };
        Group { batches: vec![batch], first_listing: Some(FirstListing::stored(ServiceTime::EPOCH)) }
    }

    fn register() -> Step {
        Step::Register { parent: None, position: Position::Start }
    }

    fn drained() -> Step {
        Step::Advance(Advance { from: Position::Start, to: Position::End })
    }

    #[tokio::test]
    async fn events_gaps_and_dead_letters_are_lines() {
        let (mut lane, page) = lane();
        assert_eq!(lane.open().await.expect("opens"), Progress::default());
        let committed = lane.commit(group(register(), r#"{"id":{"N":"1.0"}}"#)).await.expect("fits");
        assert_eq!(committed.figures(), (1, 0));
        let committed = lane.commit(group(drained(), r#"{"id":{"S":"x"}}"#)).await.expect("fits");
        assert_eq!(committed.figures(), (0, 1));
        let gap = r#"{"gap":"away","after":"start","since":"1970-01-01T00:00:00.000Z","until":"1970-01-01T00:00:01.000Z","detail":"\"away\""}"#;
        let lines = [
            r#"{"change":"modify","table":"T","key":{"id":1},"event_id":"e","sequence_number":"7","shard":"s","created_at":"1970-01-01T00:00:00.000Z"}"#,
            gap,
            r#"{"dead_letter":"sink.key_mismatch","error":"key attribute \"id\" is not a valid value of type N","event_id":"e","sequence_number":"7","shard":"s","record":"{\"eventID\":\"e\",\"change\":\"modify\",\"shardId\":\"s\",\"SequenceNumber\":\"7\",\"createdAtMs\":0,\"Keys\":{\"id\":{\"S\":\"x\"}},\"NewImage\":null,\"OldImage\":null}"}"#,
            gap,
        ];
        assert_eq!(page.0.lock().expect("no panic").0, lines.map(|line| format!("{line}\n")).concat());
        let progress = lane.open().await.expect("opens");
        assert_eq!(progress.shards[0].position, Position::End);
        assert_eq!(
            (progress.shards[0].read_until, progress.known_since()),
            (Some(ServiceTime::EPOCH), Some(ServiceTime::EPOCH))
        );
    }

    #[tokio::test]
    async fn a_drained_shard_is_forgotten_and_no_other() {
        let (mut lane, _) = lane();
        lane.open().await.expect("opens");
        let key = r#"{"id":{"N":"1"}}"#;
        lane.commit(group(register(), key)).await.expect("fits");
        let refused = lane.commit(group(Step::Forget, key)).await.expect_err("it is not drained");
        assert_eq!(refused.trouble().code, "sink.step_refused");
        lane.open().await.expect("opens");
        let mut last = group(drained(), key);
        last.batches.extend(group(Step::Forget, key).batches);
        lane.commit(last).await.expect("fits");
        assert_eq!(lane.open().await.expect("opens").shards, []);
    }

    #[tokio::test]
    async fn a_step_that_does_not_fit_writes_nothing() {
        let (mut lane, page) = lane();
        lane.open().await.expect("opens");
        let refused = lane.commit(group(drained(), r#"{"id":{"N":"1"}}"#)).await.expect_err("no such shard");
        assert_eq!(refused.trouble().code, "sink.step_refused");
        let unopened = lane.commit(group(register(), r#"{"id":{"N":"1"}}"#)).await.expect_err("not open");
        assert_eq!(unopened.trouble().code, "sink.not_open");
        lane.open().await.expect("opens");
        let mut twice = group(register(), r#"{"id":{"N":"1"}}"#);
        twice.batches.extend(group(register(), r#"{"id":{"N":"1"}}"#).batches);
        assert!(lane.commit(twice).await.is_err());
        assert_eq!(page.0.lock().expect("no panic").0, "");
        assert_eq!(lane.open().await.expect("opens").shards, []);
    }

    #[tokio::test]
    async fn a_closed_pipe_halts_and_other_trouble_is_borne_for_a_while() {
        let (mut lane, page) = lane();
        for (kind, halts, code) in [
            (ErrorKind::StorageFull, TroubleKind::Environment, "sink.stdout.write"),
            (ErrorKind::BrokenPipe, TroubleKind::Runtime, "sink.stdout.closed"),
        ] {
            page.0.lock().expect("no panic").1 = Some(kind);
            lane.open().await.expect("opens");
            let failure = lane.commit(group(register(), r#"{"id":{"N":"1"}}"#)).await.expect_err("cannot write");
            let Failure::Halt(trouble) = failure else { panic!("{failure:?}") };
            assert_eq!((trouble.kind, trouble.code), (halts, code));
            assert_eq!(lane.open().await.expect("opens").shards, [], "the step is not stored");
        }
    }
}
