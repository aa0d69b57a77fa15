//! A sink that prints. Progress is kept by the `stdout` sink, which also knows the form of the JSON lines; the other
//! forms are written here.

use std::io::{self, ErrorKind, Write};
use std::sync::PoisonError;

use jiff::tz::TimeZone;
use tailwater_model::{Committed, Counts, Failure, Group, KeySchema, Progress, Sink, Trouble, TroubleKind};
use tailwater_pipeline::StopSignal;
use tailwater_sink_local::StdoutLane;

use super::raw_tap::RawRecords;
use super::readable;

/// Code of the trouble that means: nobody reads the output any more. The `stdout` sink's own.
pub const STDOUT_CLOSED: &str = "sink.stdout.closed";

/// How records are printed.
#[derive(Clone)]
pub enum Form {
    /// For people.
    Readable(KeySchema),
    /// One plain JSON object per change.
    Json,
    /// As the service sent them.
    Raw(RawRecords),
}

/// The sink of `tail`.
pub struct PrintingSink {
    memory: StdoutLane,
    form: Form,
    remaining: Option<u64>,
    stop: StopSignal,
}

impl PrintingSink {
    /// Prints at most `number` records and then gives the stop signal.
    pub fn new(memory: StdoutLane, form: Form, number: Option<u64>, stop: StopSignal) -> Self {
        Self { memory, form, remaining: number, stop }
    }

    /// Drops the events beyond the number asked for. Their steps stand, but nothing is read after them.
    fn take_remaining(&mut self, group: &mut Group) {
        let Some(remaining) = &mut self.remaining else { return };
        for batch in &mut group.batches {
            let taken = usize::try_from(*remaining).unwrap_or(usize::MAX).min(batch.events.len());
            // There are no transforms: each event is a record.
            let dropped = (batch.events.len() - taken) as u64;
            batch.counts.filtered += dropped;
            batch.counts.written = batch.counts.written.saturating_sub(dropped);
            batch.events.truncate(taken);
            *remaining -= taken as u64;
        }
        if *remaining == 0 {
            self.stop.stop();
        }
    }
}

impl Sink for PrintingSink {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.memory.open().await
    }

    async fn commit(&mut self, mut group: Group) -> Result<Committed, Failure> {
        self.take_remaining(&mut group);
        // What is refused is printed with the rest, and not told besides.
        let printed = Committed::of(group.counts(), []);
        match &self.form {
            Form::Json => {
                let committed = self.memory.commit(group).await?;
                return Ok(Committed { reasons: Box::default(), ..committed });
            }
            Form::Readable(keys) => print(&readable_text(&group, keys))?,
            Form::Raw(records) => print(&raw_text(&group, records))?,
        }
        // What is printed is accounted for by this answer, and must not be printed again by the keeper of progress.
        for batch in &mut group.batches {
            batch.counts = Counts::default();
            batch.events.clear();
            batch.dead_letters.clear();
            batch.gap = None;
        }
        self.memory.commit(group).await?;
        Ok(printed)
    }
}

fn readable_text(group: &Group, keys: &KeySchema) -> String {
    let zone = TimeZone::system();
    let mut text = String::new();
    for batch in &group.batches {
        batch.events.iter().for_each(|event| readable::push_change(event, keys, &zone, &mut text));
        batch.dead_letters.iter().for_each(|letter| readable::push_dead_letter(letter, &mut text));
        batch.gap.iter().for_each(|gap| readable::push_gap(gap, &mut text));
    }
    text
}

/// The records' own texts. A gap has none: it is told on stderr.
fn raw_text(group: &Group, records: &RawRecords) -> String {
    let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for batch in &group.batches {
        let events = batch.events.iter().map(|event| &event.source.sequence_number);
        let letters = batch.dead_letters.iter().map(|letter| &letter.sequence_number);
        for number in events.chain(letters) {
            if let Some(record) = records.remove(&(batch.shard.clone(), number.to_string())) {
                text.push_str(&record);
                text.push('\n');
            }
        }
        if let Some(gap) = &batch.gap {
            tracing::warn!(cause = gap.cause.as_str(), "gap in {}", gap.words());
        }
    }
    text
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|fault| {
        let (code, kind) = match fault.kind() {
            ErrorKind::BrokenPipe => (STDOUT_CLOSED, TroubleKind::Runtime),
            _ => ("sink.stdout.write", TroubleKind::Environment),
        };
        Failure::Halt(Trouble::new(kind, code, format!("writing to the standard output failed: {fault}")))
    })
}
