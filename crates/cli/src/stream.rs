//! `tailwater stream enable|disable|describe TABLE`: a table's stream, turned on and off, and shown with its shards.

mod shard_tree;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use tailwater_model::{Trouble, TroubleKind, ViewType};
use tailwater_source_dynamodb::{DescribedShard, DynamoDb, StreamDescription, connect};

use crate::aws_arguments::AwsArguments;
use crate::output;
use crate::streams::{NOT_FOUND, no_stream};

/// The commands under `stream`.
#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// Turn the stream on and print its ARN
    Enable(EnableArguments),
    /// Turn the stream off, which ends every consumer of it; what is in it can be read for 24 hours more
    Disable(DisableArguments),
    /// Show the stream with its shards as a tree, their states and their ranges
    Describe(DescribeArguments),
}

/// Arguments of `stream enable`.
#[derive(Debug, Args)]
pub struct EnableArguments {
    /// What to do it with.
    #[command(flatten)]
    pub table: TableArguments,
    /// What the stream's records carry
    #[arg(long, value_enum, default_value_t = View::NewAndOldImages)]
    pub view: View,
}

/// Arguments of `stream disable`.
#[derive(Debug, Args)]
pub struct DisableArguments {
    /// What to do it with.
    #[command(flatten)]
    pub table: TableArguments,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// The table, and how to answer.
#[derive(Debug, Args)]
pub struct TableArguments {
    /// The table's name
    pub table: String,
    /// How to reach AWS.
    #[command(flatten)]
    pub aws: AwsArguments,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `stream describe`.
#[derive(Debug, Args)]
pub struct DescribeArguments {
    /// What to do it with.
    #[command(flatten)]
    pub table: TableArguments,
    /// Show the table's older streams too, which can be read for 24 hours after they were turned off (asks for ListStreams)
    #[arg(long)]
    pub older: bool,
}

/// A view type, typed as DynamoDB writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum View {
    /// Only the key.
    KeysOnly,
    /// The item after the change.
    NewImage,
    /// The item before the change.
    OldImage,
    /// Both; needed by `delete = "soft"` mirrors and audits.
    NewAndOldImages,
}

impl From<View> for ViewType {
    fn from(view: View) -> Self {
        match view {
            View::KeysOnly => Self::KeysOnly,
            View::NewImage => Self::NewImage,
            View::OldImage => Self::OldImage,
            View::NewAndOldImages => Self::NewAndOldImages,
        }
    }
}

impl StreamCommand {
    /// Whether stdout is for a program to read.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Enable(arguments) => arguments.table.json,
            Self::Disable(arguments) => arguments.table.json,
            Self::Describe(arguments) => arguments.table.json,
        }
    }
}

/// What a command found out, for people and for programs.
struct Answer {
    text: String,
    summary: String,
    result: Value,
}

/// Runs one of the commands and prints its answer.
pub async fn run(command: StreamCommand) -> Result<(), Trouble> {
    let json = command.wants_json();
    let answer = match command {
        StreamCommand::Enable(arguments) => {
            let dynamodb = Box::pin(connect(&arguments.table.aws.settings())).await?;
            Box::pin(enable(&dynamodb, &arguments.table.table, arguments.view.into())).await?
        }
        StreamCommand::Disable(arguments) => {
            let dynamodb = Box::pin(connect(&arguments.table.aws.settings())).await?;
            Box::pin(disable(&dynamodb, &arguments)).await?
        }
        StreamCommand::Describe(arguments) => {
            let DescribeArguments { table: TableArguments { table, aws, .. }, older } = &arguments;
            let dynamodb = Box::pin(connect(&aws.settings())).await?;
            let answer = Box::pin(describe(&dynamodb, table, *older)).await?;
            answer.ok_or_else(|| no_stream(table, &aws.settings()))?
        }
    };
    if json {
        output::answer_json("stream", true, answer.summary, &answer.result)
    } else {
        output::answer(answer.text.trim_end())
    }
}

async fn enable(dynamodb: &DynamoDb, table: &str, view: ViewType) -> Result<Answer, Trouble> {
    let before = dynamodb.describe_table(table).await?.stream;
    let stream = dynamodb.enable_stream(table, view).await?;
    let was_on = before.is_some_and(|before| before.enabled && before.arn == stream.arn);
    let view = stream.view_type.as_str();
    let summary = format!("the stream of {table} {}", if was_on { "was on already" } else { "is on" });
    Ok(Answer {
        text: format!("{summary}\n  arn        {}\n  view type  {view}\n", stream.arn),
        summary,
        result: json!({"table": table, "stream_arn": stream.arn, "view_type": view, "changed": !was_on}),
    })
}

async fn disable(dynamodb: &DynamoDb, arguments: &DisableArguments) -> Result<Answer, Trouble> {
    let table = &arguments.table.table;
    let before = dynamodb.describe_table(table).await?.stream.filter(|stream| stream.enabled);
    if let Some(stream) = before.as_ref().filter(|_| !arguments.yes) {
        confirm(table, &stream.arn, arguments.table.json)?;
    }
    dynamodb.disable_stream(table).await?;
    let summary = match &before {
        Some(stream) => format!("the stream of {table} is off; {} can be read for 24 hours more", stream.arn),
        None => format!("the stream of {table} was off already"),
    };
    Ok(Answer {
        text: format!("{summary}\n"),
        summary,
        result: json!({"table": table, "changed": before.is_some(), "stream_arn": before.map(|stream| stream.arn)}),
    })
}

/// Asks whoever sits at the terminal. A script says it with a flag.
fn confirm(table: &str, stream_arn: &str, json: bool) -> Result<(), Trouble> {
    let refused = |message: String| Trouble::new(TroubleKind::Config, "stream.not_confirmed", message);
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if json || !stdin.is_terminal() || !stderr.is_terminal() {
        let message = format!("turning the stream of {table} off ends every consumer of it, Lambda triggers, too");
        return Err(refused(message).advise("add --yes where that is meant"));
    }
    let question = format!(
        "This turns {} off and ends every consumer of it, Lambda triggers, too. Go on? [y/N] ",
        output::printable(stream_arn)
    );
    let mut answer = String::new();
    let read = stderr.write_all(question.as_bytes()).and_then(|()| stdin.read_line(&mut answer));
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(refused(format!("the stream of {table} stays on")))
}

/// The stream that the table names; and the older ones where they are asked for, which takes one more right. Nothing where there is
/// none of these.
async fn describe(dynamodb: &DynamoDb, table: &str, with_older: bool) -> Result<Option<Answer>, Trouble> {
    let current = dynamodb.describe_table(table).await?.stream;
    let mut arns: Vec<String> = current.iter().map(|current| current.arn.clone()).collect();
    if with_older {
        let mut older = dynamodb.stream_arns(table).await?;
        older.retain(|arn| !arns.contains(arn));
        // By age: their ARNs end with the time of their birth.
        older.sort_unstable_by(|left, right| right.cmp(left));
        arns.extend(older);
    }
    let mut streams = Vec::new();
    for arn in arns {
        match dynamodb.stream_description(table, &arn).await {
            // It has expired meanwhile, and the listing of streams may lag.
            Err(trouble) if trouble.code == NOT_FOUND => {}
            described => streams.push(described?),
        }
    }
    if streams.is_empty() {
        return Ok(None);
    }
    let (older, newest): (Vec<_>, Vec<_>) =
        streams.iter().partition(|stream| current.as_ref().is_none_or(|current| current.arn != stream.arn));
    Ok(Some(Answer {
        text: describe_text(table, &newest, &older),
        summary: summary(table, newest.first().copied()),
        result: json!({
            "table": table,
            "stream": newest.first().map(|stream| stream_json(stream)),
            "older_streams": with_older.then(|| older.iter().map(|stream| stream_json(stream)).collect::<Vec<_>>()),
        }),
    }))
}

fn summary(table: &str, stream: Option<&StreamDescription>) -> String {
    match stream {
        None => format!("{table} has no stream"),
        Some(stream) => {
            let (shards, open) = (stream.shards.len(), open_shards(&stream.shards));
            let plural = if shards == 1 { "" } else { "s" };
            format!("{table}: stream {}, {shards} shard{plural}, {open} open", stream.status)
        }
    }
}

fn describe_text(table: &str, newest: &[&StreamDescription], older: &[&StreamDescription]) -> String {
    let mut text = summary(table, newest.first().copied());
    text.push('\n');
    if newest.is_empty() {
        let _infallible = writeln!(text, "→ turn it on with `tailwater stream enable {table}`");
    }
    for stream in newest {
        text.push_str(&stream_text(stream));
    }
    if !older.is_empty() {
        text.push_str("\nolder streams of this table, readable until 24 hours after they were turned off\n");
    }
    for stream in older {
        text.push_str(&stream_text(stream));
    }
    text
}

fn stream_text(stream: &StreamDescription) -> String {
    let view = stream.view_type.map_or("unknown", ViewType::as_str);
    let since = created_at(stream).unwrap_or_else(|| "unknown".into());
    let tree = shard_tree::tree_text(&stream.shards);
    format!(
        "  arn        {}\n  view type  {view}\n  status     {}, turned on {since}\n{tree}",
        stream.arn, stream.status
    )
}

fn created_at(stream: &StreamDescription) -> Option<String> {
    let moment = Timestamp::from_millisecond(stream.created_at_ms?).ok()?;
    Some(moment.to_string())
}

fn open_shards(shards: &[DescribedShard]) -> usize {
    shards.iter().filter(|shard| shard.ending.is_none()).count()
}

fn stream_json(stream: &StreamDescription) -> Value {
    let shards: Vec<Value> = shard_tree::shard_tree(&stream.shards)
        .iter()
        .map(|line| {
            let shard = line.shard;
            json!({
                "shard": shard.shard.as_str(),
                "parent": shard.parent.as_ref().map(|parent| parent.as_str()),
                "state": if shard.ending.is_none() { "open" } else { "closed" },
                "starting_sequence_number": shard.starting.as_ref().map(|number| number.as_str()),
                "ending_sequence_number": shard.ending.as_ref().map(|number| number.as_str()),
            })
        })
        .collect();
    json!({
        "arn": stream.arn,
        "status": stream.status,
        "view_type": stream.view_type.map(ViewType::as_str),
        "created_at": created_at(stream),
        "shards": shards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{SequenceNumber, ShardId};

    fn stream(arn: &str) -> StreamDescription {
        let number = |text: &str| SequenceNumber::parse(text.to_owned().into()).ok();
        let shard = |id: &str, parent: Option<&str>, ending: Option<&str>| DescribedShard {
            shard: ShardId::new(id),
            parent: parent.map(ShardId::new),
            starting: number("1"),
            ending: ending.and_then(number),
        };
        StreamDescription {
            arn: arn.into(),
            status: "ENABLED".into(),
            view_type: Some(ViewType::NewImage),
            created_at_ms: Some(1_700_000_000_000),
            shards: vec![shard("b", Some("a"), None), shard("a", None, Some("9"))],
        }
    }

    #[test]
    fn a_description_reads_from_the_stream_to_its_shards() {
        let expected = "\
orders: stream ENABLED, 2 shards, 1 open
  arn        arn:1
  view type  NEW_IMAGE
  status     ENABLED, turned on 2023-11-14T22:13:20Z
a     closed  1 … 9
└─ b  open    1 …
";
        assert_eq!(describe_text("orders", &[&stream("arn:1")], &[]), expected);
        let older = describe_text("orders", &[&stream("arn:1")], &[&stream("arn:0")]);
        assert!(older.contains("older streams") && older.contains("arn:0"), "{older}");
    }

    #[test]
    fn a_table_without_a_stream_is_told_with_the_next_step() {
        assert_eq!(
            describe_text("orders", &[], &[]),
            "orders has no stream\n→ turn it on with `tailwater stream enable orders`\n"
        );
    }

    #[test]
    fn the_json_has_parents_before_children() {
        let json = stream_json(&stream("arn:1"));
        assert_eq!(json["shards"][0]["shard"], "a");
        assert_eq!(
            json["shards"][1],
            json!({"shard": "b", "parent": "a", "state": "open",
            "starting_sequence_number": "1", "ending_sequence_number": null})
        );
    }
}
