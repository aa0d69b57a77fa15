//! The live view: a transform that changes nothing, tells in a few words what passes, and never slows the pipeline down.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tailwater_model::{ChangeEvent, KeySchema, Rejected, Transform};
use tokio::sync::mpsc;

use crate::image_diff::{bounded, differences, key_text};

/// Lines that may wait to be printed.
const LINES_WAITING_MAX: usize = 6;

/// Longest line, in characters.
const LINE_CHARACTERS_MAX: usize = 132;

/// The end that stands in the pipeline. What the channel has no room for is counted and not shown.
pub struct LiveView {
    keys: KeySchema,
    /// Longest line.
    characters_max: usize,
    lines: mpsc::Sender<String>,
    not_shown: Arc<AtomicU64>,
}

/// The end at the terminal.
pub struct LiveLines {
    lines: mpsc::Receiver<String>,
    not_shown: Arc<AtomicU64>,
}

/// Both ends of a live view. Its lines fit into so many columns.
pub fn live_view(keys: KeySchema, columns: Option<usize>) -> (LiveView, LiveLines) {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    let not_shown = Arc::new(AtomicU64::new(0));
    let characters_max = columns.unwrap_or(LINE_CHARACTERS_MAX).min(LINE_CHARACTERS_MAX);
    let view = LiveView { keys, characters_max, lines: sender, not_shown: Arc::clone(&not_shown) };
    (view, LiveLines { lines: receiver, not_shown })
}

impl Transform for LiveView {
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        // The room is taken first: a line that nobody will see is not worth writing.
        match self.lines.try_reserve() {
            Ok(room) => room.send(bounded(&line(&event, &self.keys), self.characters_max)),
            Err(_) => {
                self.not_shown.fetch_add(1, Relaxed);
            }
        }
        out.push(event);
        Ok(())
    }

    fn follow(&self, _path: &mut [String]) -> bool {
        true
    }
}

impl LiveLines {
    /// The lines that wait, and how many changes were left out since the last call. Called at an even pace, it bounds
    /// what is printed in a second.
    pub fn take(&mut self) -> (Vec<String>, u64) {
        let lines = std::iter::from_fn(|| self.lines.try_recv().ok()).take(LINES_WAITING_MAX).collect();
        (lines, self.not_shown.swap(0, Relaxed))
    }
}

fn line(event: &ChangeEvent, keys: &KeySchema) -> String {
    let mut line =
        format!("{} {:<6} {} ", clock(event.source.created_at_ms), event.change.name(), key_text(&event.key, keys));
    let mut found: Vec<String> = differences(event).iter().map(ToString::to_string).collect();
    // The line ends somewhere: as many attributes as possible come before that.
    found.sort_by_key(|difference| difference.chars().count());
    for (index, difference) in found.iter().enumerate() {
        let _infallible = write!(line, "{} {difference}", if index == 0 { "" } else { "," });
    }
    line
}

/// The line with its change in colour: green for what comes, yellow for what changes, red for what goes.
pub fn painted(line: &str) -> String {
    let colours = [(" insert ", "32"), (" modify ", "33"), (" remove ", "31"), (" ttl    ", "31")];
    match colours.into_iter().find(|(change, _)| line.contains(change)) {
        Some((change, colour)) => line.replacen(change, &format!("\u{1b}[{colour}m{change}\u{1b}[0m"), 1),
        None => line.to_owned(),
    }
}

/// The local time of day.
pub fn clock(created_at_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(created_at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{Change, Item, KeyAttribute, KeyKind, SequenceNumber, ShardId, SourceInfo};

    fn keys() -> KeySchema {
        KeySchema { partition: KeyAttribute { name: "order_no".into(), kind: KeyKind::N }, sort: None }
    }

    fn event(number: usize) -> ChangeEvent {
        let item = |status: &str| {
            let json = format!(r#"{{"order_no":{{"N":"{number}"}},"status":{{"S":"{status}"}}}}"#);
            Some(Item::parse(json.into()).expect("valid"))
        };
        ChangeEvent {
            key: Item::parse(format!(r#"{{"order_no":{{"N":"{number}"}}}}"#).into()).expect("valid"),
            change: Change::Modify { old: item("NEW"), new: item("PAID") },
            source: SourceInfo {
                shard: ShardId::new("s"),
                sequence_number: SequenceNumber::parse("1".into()).expect("digits"),
                event_id: "e".into(),
                created_at_ms: 0,
                size_bytes: 0,
            },
        }
    }

    #[test]
    fn what_is_not_shown_is_counted_and_everything_passes() {
        let (view, mut lines) = live_view(keys(), None);
        let mut passed = Vec::new();
        for number in 0..100 {
            view.apply(event(number), &mut passed).expect("changes nothing");
        }
        assert_eq!(passed.len(), 100);
        let (shown, not_shown) = lines.take();
        assert_eq!((shown.len(), not_shown), (LINES_WAITING_MAX, 100 - LINES_WAITING_MAX as u64));
        assert!(shown[0].ends_with("modify 0  status NEW → PAID"), "{}", shown[0]);
        assert_eq!(lines.take(), (Vec::new(), 0));
        assert!(painted(&shown[0]).contains("\u{1b}[33m modify \u{1b}[0m"), "{}", painted(&shown[0]));
    }

    #[test]
    fn a_line_fits_into_the_terminal() {
        for (columns, longest) in [(20, 20), (1000, LINE_CHARACTERS_MAX)] {
            let (view, mut lines) = live_view(keys(), Some(columns));
            let mut long = event(1);
            let status = "x".repeat(20);
            let attributes: String = (0..9).map(|number| format!(r#","a{number}":{{"S":"{status}"}}"#)).collect();
            let item = format!(r#"{{"order_no":{{"N":"1"}}{attributes}}}"#);
            long.change = Change::Insert { new: Item::parse(item.into()).ok() };
            view.apply(long, &mut Vec::new()).expect("changes nothing");
            let (shown, _) = lines.take();
            assert_eq!(shown[0].chars().count(), longest, "{}", shown[0]);
        }
    }

    #[test]
    fn nobody_watching_stops_nothing() {
        let (view, lines) = live_view(keys(), None);
        drop(lines);
        let mut passed = Vec::new();
        assert_eq!(view.apply(event(1), &mut passed), Ok(()));
        assert_eq!(passed.len(), 1);
    }
}
