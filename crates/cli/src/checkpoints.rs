//! `tailwater checkpoints show`: the progress that the sink keeps, in words for people.

use serde_json::{Value, json};
use tailwater_model::{Checkpoints, ShardCheckpoint, Trouble, TroubleKind};

use crate::arguments::CheckpointsShowArguments;
use crate::configuration::{self, PipelineSpec, SinkSpec};
use crate::output::{self, CommandFailure};

/// Reads and prints. Changes nothing, and needs no DynamoDB.
pub async fn show(arguments: CheckpointsShowArguments) -> Result<(), CommandFailure> {
    let loaded = configuration::load(std::slice::from_ref(&arguments.file));
    if loaded.has_faults() {
        return Err(CommandFailure::Faults(loaded.findings));
    }
    let [spec] = loaded.specs.as_slice() else {
        let message = "`checkpoints show` takes one pipeline file, not a folder of several";
        return Err(Trouble::new(TroubleKind::Config, "command.one_file", message).into());
    };
    let Some(checkpoints) = Box::pin(read(spec)).await? else {
        let message = format!("no progress of the pipeline {} is stored in its sink", spec.name);
        let trouble = Trouble::new(TroubleKind::Environment, "sink.no_progress", message);
        return Err(trouble.advise(format!("start it: tailwater run {}", spec.file)).into());
    };
    let summary = summary(&spec.name, &checkpoints);
    let told = if arguments.json {
        output::answer_json("checkpoints", true, summary, &as_json(&spec.name, &checkpoints))
    } else {
        output::answer(&as_table(&checkpoints, &summary))
    };
    told.map_err(CommandFailure::from)
}

/// All stored progress of a pipeline; nothing when none is stored.
pub async fn read(spec: &PipelineSpec) -> Result<Option<Checkpoints>, Trouble> {
    match &spec.sink {
        SinkSpec::Kafka(settings) => Box::pin(tailwater_sink_kafka::checkpoints(settings, &spec.name)).await,
        SinkSpec::Postgres(settings) => Box::pin(tailwater_sink_postgres::checkpoints(settings, &spec.name)).await,
        SinkSpec::Sqlite(settings) => {
            Box::pin(tailwater_sink_local::sqlite_checkpoints(&settings.path, &spec.name)).await
        }
        SinkSpec::File(settings) => Box::pin(tailwater_sink_local::file_checkpoints(&settings.path, &spec.name)).await,
        SinkSpec::Stdout => {
            let message = "[sink.stdout] keeps its progress in memory only: nothing is stored";
            Err(Trouble::new(TroubleKind::Config, "sink.keeps_nothing", message)
                .advise("use [sink.file] or [sink.sqlite] to keep progress"))
        }
    }
}

fn summary(pipeline: &str, checkpoints: &Checkpoints) -> String {
    let (shards, gaps, dead_letters) = (checkpoints.shards.len(), checkpoints.gaps, checkpoints.dead_letters);
    let newest = checkpoints.gaps_until.map_or_else(String::new, |until| format!(" (of what was lost until {until})"));
    format!("pipeline {pipeline} · shards: {shards} · gaps: {gaps}{newest} · dead letters: {dead_letters}")
}

fn as_json(pipeline: &str, checkpoints: &Checkpoints) -> Value {
    let shards: Vec<_> = checkpoints.shards.iter().map(shard_json).collect();
    json!({
        "pipeline": pipeline,
        "shards": shards,
        "gaps": checkpoints.gaps,
        "gaps_until": checkpoints.gaps_until.map(|until| until.to_string()),
        "dead_letters": checkpoints.dead_letters,
    })
}

fn shard_json(row: &ShardCheckpoint) -> Value {
    json!({
        "stream_arn": row.stream_arn,
        "shard": row.shard.as_str(),
        "parent": row.parent.as_ref().map(|parent| parent.as_str()),
        "lane": row.lane,
        "position": row.position.to_string(),
        "read_until": row.read_until.map(|moment| moment.to_string()),
        "read": row.counts.read,
        "written": row.counts.written,
        "filtered": row.counts.filtered,
        "dead_lettered": row.counts.dead_lettered,
        "suppressed": row.counts.suppressed,
        "updated_at": row.updated_at,
    })
}

const HEADINGS: [&str; 10] =
    ["shard", "lane", "position", "read until", "read", "written", "filtered", "dead", "suppressed", "updated"];

/// One table per stream, the summary last.
fn as_table(checkpoints: &Checkpoints, summary: &str) -> String {
    let mut out = String::new();
    for rows in checkpoints.shards.chunk_by(|left, right| left.stream_arn == right.stream_arn) {
        out.push_str(&format!("stream {}\n", rows.first().map_or("", |row| &row.stream_arn)));
        let mut lines = vec![HEADINGS.map(String::from)];
        lines.extend(rows.iter().map(cells));
        push_aligned(&lines, &mut out);
        out.push('\n');
    }
    out.push_str(summary);
    out
}

fn cells(row: &ShardCheckpoint) -> [String; 10] {
    let counts = row.counts;
    [
        row.shard.to_string(),
        row.lane.to_string(),
        row.position.to_string(),
        row.read_until.map_or_else(|| "-".to_owned(), |moment| moment.to_string()),
        counts.read.to_string(),
        counts.written.to_string(),
        counts.filtered.to_string(),
        counts.dead_lettered.to_string(),
        counts.suppressed.to_string(),
        row.updated_at.clone(),
    ]
}

fn push_aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]], out: &mut String) {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for line in lines {
        let padded: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use tailwater_model::{Counts, Position, ServiceTime, ShardId};

    use super::*;

    #[test]
    fn every_stream_has_its_table() {
        let row = |stream: &str, shard: &str, position, read_until| ShardCheckpoint {
            stream_arn: stream.into(),
            shard: ShardId::new(shard),
            parent: None,
            lane: 3,
            position,
            read_until,
            counts: Counts { read: 12, written: 10, filtered: 2, ..Counts::default() },
            updated_at: "2026-11-23T10:00:00Z".into(),
        };
        let moment = Some(ServiceTime::from_ms(1_700_000_000_000));
        let checkpoints = Checkpoints {
            shards: vec![
                row("arn:old", "s1", Position::End, None),
                row("arn:new", "shardId-2", Position::Start, moment),
            ],
            gaps: 1,
            gaps_until: Some(ServiceTime::from_ms(1_700_000_000_000)),
            dead_letters: 0,
        };
        assert_eq!(
            as_table(&checkpoints, &summary("shop", &checkpoints)),
            "stream arn:old\n\
             shard  lane  position  read until  read  written  filtered  dead  suppressed  updated\n\
             s1     3     end       -           12    10       2         0     0           2026-11-23T10:00:00Z\n\n\
             stream arn:new\n\
             shard      lane  position  read until                read  written  filtered  dead  suppressed  updated\n\
             shardId-2  3     start     2023-11-14T22:13:20.000Z  12    10       2         0     0           \
             2026-11-23T10:00:00Z\n\n\
             pipeline shop · shards: 2 · gaps: 1 (of what was lost until 2023-11-14T22:13:20.000Z) · dead letters: 0"
        );
        let json = as_json("shop", &checkpoints);
        assert_eq!(json["shards"][0]["read_until"], Value::Null);
        assert_eq!(json["shards"][1]["read_until"], "2023-11-14T22:13:20.000Z");
    }
}
