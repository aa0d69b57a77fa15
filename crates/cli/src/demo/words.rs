//! What the demo says: the greeting with what to try, the line of progress, and the summary. Pure.

use std::fmt::Write as _;
use std::path::Path;

use tailwater_pipeline::{LaneState, StatusSnapshot};

use super::comparison::Comparison;
use super::server::Lineage;
use super::shop::TABLE;

/// What is running, where, and what to try next.
pub fn greeting(endpoint: &str, mirror: &Path, splits: bool) -> String {
    let shards = if splits { "; its shards rotate and split every few seconds" } else { "" };
    let file = shell_word(&mirror.display().to_string());
    let item = r#"{"customer": {"S": "you"}, "order_no": {"N": "1"}, "status": {"S": "MINE"}}"#;
    format!(
        "tailwater demo: everything runs inside this process
  DynamoDB  {endpoint}  table {TABLE}, stream NEW_AND_OLD_IMAGES{shards}
  SQLite    {file}  table {TABLE}, one row per item
try in another terminal
  export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  aws dynamodb put-item --endpoint-url {endpoint} --table-name {TABLE} --item '{item}'
  sqlite3 {file} \"select json_extract(document, '$.status') as status, count(*) from {TABLE} group by 1\"
  tailwater tail {TABLE} --endpoint-url {endpoint} --from trim-horizon
Ctrl-C to stop
"
    )
}

/// Single quotes around a word that a shell would take apart.
fn shell_word(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+:@%".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What happens after the last write, and how long it may take.
pub fn catching_up(asked: bool, splits: bool) -> String {
    let why = if asked { "asked to stop" } else { "time is over" };
    let late = "\n  up to a minute: of a shard that has closed the children may be listed that late, as on AWS";
    format!("{why}: the mirror catches up{}", if splits { late } else { "" })
}

/// One line about how it goes. `written` counts the shop's writes; what others wrote is carried too.
pub fn progress(
    written: u64,
    not_shown: u64,
    lineage: Option<Lineage>,
    status: &StatusSnapshot,
    now_ms: i64,
) -> String {
    let carried = carried(status);
    let mut line = format!("  written {written} · carried {carried}");
    if carried < written {
        let lag_ms = status.newest_created_at_ms.map_or(0, |newest| (now_ms - newest).max(0));
        let _infallible = write!(line, " · {} behind, about {} s", written - carried, lag_ms / 1000);
    }
    if let Some(Lineage { open, closed }) = lineage {
        let _infallible = write!(line, " · {open} shards open, {closed} closed");
    }
    if not_shown > 0 {
        let _infallible = write!(line, " · {not_shown} changes not shown");
    }
    for lane in &status.lanes {
        let _infallible = match lane {
            LaneState::Reopening { trouble, .. } => write!(line, " · opening again: {trouble}"),
            LaneState::Committing { since } => {
                write!(line, " · the sink has not answered for {} s", since.elapsed().as_secs())
            }
            LaneState::Opening { .. } | LaneState::Carrying | LaneState::Ended => Ok(()),
        };
    }
    line
}

fn carried(status: &StatusSnapshot) -> u64 {
    status.counts.written + status.counts.dead_lettered
}

/// What was done, and whether the mirror equals the table.
pub fn summary(
    written: u64,
    status: &StatusSnapshot,
    lineage: Option<Lineage>,
    comparison: &Comparison,
    fate: &str,
) -> String {
    let Comparison { items, rows, differing, differences } = comparison;
    let dead_letters = status.counts.dead_lettered;
    let mut text = format!(
        "
  written  {written} by the shop
  carried  {} changes in {} commits, {dead_letters} of them to the dead letters
  table    {items} items
  mirror   {rows} rows, {fate}
",
        carried(status),
        status.commits
    );
    if let Some(Lineage { open, closed }) = lineage {
        let _infallible = writeln!(text, "  lineage  {closed} shards rotated or split, {open} are open");
    }
    if comparison.equal() {
        text.push_str("  equal    yes: every item was compared with its row\n");
    } else {
        let _infallible = writeln!(text, "  equal    NO: {differing} differences");
    }
    for difference in differences {
        let _infallible = writeln!(text, "           {difference}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{Counts, Trouble, TroubleKind};
    use tokio::time::Instant;

    fn status(written: u64) -> StatusSnapshot {
        StatusSnapshot {
            counts: Counts { read: written, written, ..Counts::default() },
            commits: 3,
            reopenings: 0,
            gaps: 0,
            replaced: 0,
            standing_by: false,
            owner_lives_at: None,
            newest_created_at_ms: Some(5_000),
            lanes: vec![LaneState::Carrying],
        }
    }

    #[test]
    fn progress_tells_what_is_behind_and_what_is_wrong() {
        assert_eq!(progress(10, 0, None, &status(10), 9_000), "  written 10 · carried 10");
        let mut slow = status(7);
        assert_eq!(
            progress(10, 4, Some(Lineage { open: 2, closed: 1 }), &slow, 8_500),
            "  written 10 · carried 7 · 3 behind, about 3 s · 2 shards open, 1 closed · 4 changes not shown"
        );
        let (since, trouble) = (Instant::now(), Trouble::new(TroubleKind::Runtime, "a.b", "the disk is full"));
        slow.lanes = vec![LaneState::Reopening { since, trouble }];
        assert!(progress(10, 0, None, &slow, 0).ends_with("opening again: the disk is full"));
        slow.lanes = vec![LaneState::Committing { since }];
        assert!(progress(10, 0, None, &slow, 0).ends_with("the sink has not answered for 0 s"));
    }

    #[test]
    fn the_summary_says_equal_or_not() {
        let equal = Comparison { items: 2, rows: 2, ..Comparison::default() };
        assert!(summary(9, &status(9), None, &equal, "kept").contains("equal    yes"));
        let other = Comparison { items: 2, rows: 1, differing: 1, differences: vec!["missing: ada".into()] };
        let told = summary(9, &status(9), Some(Lineage { open: 1, closed: 4 }), &other, "kept");
        assert!(told.contains("equal    NO: 1 differences") && told.ends_with("missing: ada\n"), "{told}");
    }

    #[test]
    fn commands_can_be_pasted() {
        let told = greeting("http://127.0.0.1:1", Path::new("/tmp/it's mine/x.sqlite"), true);
        assert!(told.contains(r"sqlite3 '/tmp/it'\''s mine/x.sqlite' "), "{told}");
        // boto3 and version 1 of the command line read the second variable alone.
        assert!(told.contains(" AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1\n"), "{told}");
        assert!(greeting("http://127.0.0.1:1", Path::new("/tmp/x.sqlite"), false).contains("sqlite3 /tmp/x.sqlite "));
    }
}
