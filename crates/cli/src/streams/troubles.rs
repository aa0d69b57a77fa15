//! What is told of streams and tables that are off, gone, or not as needed.

use tailwater_model::{KeySchema, Trouble, TroubleKind, ViewType};
use tailwater_source_dynamodb::{AwsSettings, STREAM_GONE, Table};

use super::LastRead;
use crate::configuration::PipelineSpec;

/// Named or listed, and not there: it has expired, or is not there yet. The table is.
pub(super) fn not_there(table: &Table, arn: &str) -> Trouble {
    let message = format!("the stream {arn} of the table {} is not there", table.name);
    Trouble::new(TroubleKind::Environment, STREAM_GONE, message)
}

/// The table has none, as far as is known, and how to turn one on.
pub fn no_stream(table: &str, aws: &AwsSettings) -> Trouble {
    Trouble::new(TroubleKind::Environment, "source.no_stream", format!("the table {table} has no stream"))
        .advise(format!("tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{}", aws_flags(aws)))
}

/// What is said of a stream that can be read no longer, where nothing follows it: as far as is stored it was read to its end, or
/// not.
pub(super) fn stream_went(table: &str, last: &LastRead, trouble: Trouble) -> Trouble {
    let arn = &last.stream.stream_arn;
    let rest = if last.is_at_end {
        "every shard of it that is on record was read to its end"
    } else {
        "what was not read of it is lost"
    };
    let message = format!(
        "the table {table} has no stream, and the one that was read, {arn}, is gone: {rest}; the next stream begins with a gap \
         on record"
    );
    Trouble { message, ..trouble }
}

/// The table was deleted and made again, with another key: what was written for the old one has no place for its items.
pub fn table_replaced(spec: &PipelineSpec, keys: &KeySchema, now: &KeySchema) -> Trouble {
    let name = |keys: &KeySchema| keys.attributes().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ");
    let (table, old, new) = (&spec.source.table, name(keys), name(now));
    let message = format!("the table {table} was made again with another key: it was ({old}) and is ({new})");
    Trouble::new(TroubleKind::DataAtRisk, "source.table_replaced", message).advise(
        "everything of the old table's stream is carried; give the new table a pipeline of another name and another target",
    )
}

/// The table was deleted while a process read its stream, and everything in that was carried.
pub fn deleted(spec: &PipelineSpec) -> Trouble {
    let table = &spec.source.table;
    let message = format!("the table {table} was deleted and everything in its stream was carried");
    Trouble::new(TroubleKind::StreamEnded, "source.table_deleted", message).advise(
        "where a table of that name is made again with the same key, the pipeline goes on with its stream, from the beginning",
    )
}

/// The table was deleted long ago, and its stream went after it.
pub(super) fn deleted_long_ago(spec: &PipelineSpec, last: &LastRead) -> Trouble {
    let (table, arn) = (&spec.source.table, &last.stream.stream_arn);
    let message = format!(
        "the table {table} does not exist, and its stream {arn} is gone: every shard of it that is on record was read to its end"
    );
    Trouble { message, ..deleted(spec) }
}

/// The file names a stream that is not there.
pub(super) fn no_such_stream(arn: &str, spec: &PipelineSpec) -> Trouble {
    let message = format!("the stream that the file names does not exist (any more): {arn}");
    let (table, flags) = (&spec.source.table, aws_flags(&spec.source.aws));
    Trouble::new(TroubleKind::Environment, STREAM_GONE, message).advise(format!(
        "leave `stream_arn` out, or name one that is there: tailwater stream describe {table} --older{flags}"
    ))
}

/// The file names a stream that was read to its end, as far as is stored, and has gone since.
pub(super) fn named_went(arn: &str, spec: &PipelineSpec) -> Trouble {
    let message = format!(
        "the stream that the file names is gone: {arn}; every shard of it that is on record was read to its end"
    );
    Trouble { message, ..turned_off(spec) }
}

/// The stream was turned off, everything in it was carried, and there is no other one.
pub fn turned_off(spec: &PipelineSpec) -> Trouble {
    let (table, flags) = (&spec.source.table, aws_flags(&spec.source.aws));
    if let Some(arn) = &spec.source.stream_arn {
        let message = format!("the stream {arn} was turned off and everything in it was carried");
        return Trouble::new(TroubleKind::StreamEnded, "source.stream_off", message).advise(
            "no other one is read while the file names this one; without `stream_arn` the table's next stream is",
        );
    }
    Trouble::new(
        TroubleKind::StreamEnded,
        "source.stream_off",
        format!("the stream of {table} was turned off and everything in it was carried; the table has no other stream"),
    )
    .advise(format!(
        "turn it on again and start the pipeline: it goes on with the new stream from its beginning, and what was written \
         in between is a gap\ntailwater stream enable {table} --view NEW_AND_OLD_IMAGES{flags}"
    ))
}

/// The sink needs images that the records do not have.
pub(super) fn wrong_view_type(table: &str, view: ViewType, spec: &PipelineSpec) -> Trouble {
    let (sink, flags) = (spec.sink.name(), aws_flags(&spec.source.aws));
    Trouble::new(
        TroubleKind::Environment,
        "source.view_type",
        format!("the stream of {table} is {}, but [sink.{sink}] mirrors items and needs the new image", view.as_str()),
    )
    .advise(format!(
        "a view type cannot be changed in place; turn the stream off and on, which makes a new one:\n\
         tailwater stream disable {table}{flags}\n\
         tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{flags}"
    ))
}

/// The flags with which another command reaches the same table.
fn aws_flags(aws: &AwsSettings) -> String {
    [("region", &aws.region), ("endpoint-url", &aws.endpoint_url), ("profile", &aws.profile)]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|value| format!(" --{flag} {value}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use tailwater_model::PreviousStream;

    use super::*;

    #[test]
    fn the_advice_reaches_the_same_table() {
        let aws = AwsSettings { endpoint_url: Some("http://127.0.0.1:8000".into()), ..AwsSettings::default() };
        assert_eq!(
            no_stream("orders", &aws).advice.as_deref(),
            Some("tailwater stream enable orders --view NEW_AND_OLD_IMAGES --endpoint-url http://127.0.0.1:8000")
        );
    }

    #[test]
    fn a_stream_that_went_is_named_with_what_is_lost_and_the_way_on() {
        let stream = PreviousStream { stream_arn: "arn:old".into(), read_until: None, is_of_another_table: false };
        let went = |is_at_end| {
            let last = LastRead { stream: stream.clone(), is_at_end };
            stream_went("orders", &last, no_stream("orders", &AwsSettings::default()))
        };
        let trouble = went(false);
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "source.no_stream"));
        assert_eq!(
            trouble.message,
            "the table orders has no stream, and the one that was read, arn:old, is gone: what was not read of it is lost; the \
             next stream begins with a gap on record"
        );
        let advice = trouble.advice.expect("a next step");
        assert_eq!(advice, "tailwater stream enable orders --view NEW_AND_OLD_IMAGES");
        assert!(
            went(true).message.contains("arn:old, is gone: every shard of it that is on record was read to its end")
        );
    }
}
