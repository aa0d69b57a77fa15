//! A change event as a record of DynamoDB Streams, in the form in which Lambda's event source mapping hands it out: what
//! a consumer that was a Lambda function already understands.
//!
//! Names and forms are from AWS's examples
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>,
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html>), from the API
//! reference (`Record`, `StreamRecord`) and from the schema of Powertools for AWS Lambda (`DynamoDBStreamEvent`):
//! `eventVersion` 1.1, the creation time as a number of seconds, `userIdentity` in small letters and only where time to
//! live removed the item. `tableName` comes from Kinesis' form of the same record; Lambda has it only inside the ARN.

use tailwater_model::{Change, ChangeEvent, Item, RemoveCause, StreamIdentity, ViewType, push_quoted};

/// What every record of a stream has in common, written once.
#[derive(Debug)]
pub(super) struct RecordFrame {
    /// From behind the event's name to the brace of `dynamodb`.
    before: String,
    /// Behind `SizeBytes`: the view type, and the brace that ends `dynamodb`.
    view_type: String,
    /// `eventSourceARN` and what follows.
    after: String,
}

/// Who removed an item whose time was over.
const TIME_TO_LIVE_IDENTITY: &str = r#","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"}"#;

/// What a record needs beside the frame and the items: a bound for reserving memory, nothing else.
const METADATA_BYTES: usize = 320;

impl RecordFrame {
    /// Without a view type, or with a stream name that is no ARN, the members that would tell them are absent: none of
    /// them is required (API reference, `Record`).
    pub(super) fn new(stream: &StreamIdentity, view_type: Option<ViewType>) -> Self {
        let mut before = String::from(r#"","eventVersion":"1.1","eventSource":"aws:dynamodb""#);
        if let Some(region) = region_of(&stream.stream_arn) {
            before.push_str(r#","awsRegion":"#);
            push_quoted(region, &mut before);
        }
        before.push_str(r#","dynamodb":{"ApproximateCreationDateTime":"#);
        let view_type = match view_type {
            Some(view_type) => format!(r#","StreamViewType":"{}"}}"#, view_type.as_str()),
            None => "}".into(),
        };
        let mut after = String::from(r#","eventSourceARN":"#);
        push_quoted(&stream.stream_arn, &mut after);
        after.push_str(r#","tableName":"#);
        push_quoted(&stream.table, &mut after);
        after.push('}');
        Self { before, view_type, after }
    }

    /// Appends the record. Key and images are the bytes that DynamoDB sent, or what a transform made of them.
    pub(super) fn push_record(&self, event: &ChangeEvent, out: &mut String) {
        let (new, old) = (event.change.new_image(), event.change.old_image());
        let items = [Some(&event.key), new, old].into_iter().flatten().map(|item| item.typed_json().len());
        let frame = self.before.len() + self.view_type.len() + self.after.len();
        out.reserve(METADATA_BYTES + frame + items.sum::<usize>());
        out.push_str(r#"{"eventID":"#);
        push_quoted(&event.source.event_id, out);
        out.push_str(r#","eventName":""#);
        out.push_str(event_name(&event.change));
        out.push_str(&self.before);
        push_seconds(event.source.created_at_ms, out);
        push_image(r#","Keys":"#, Some(&event.key), out);
        push_image(r#","NewImage":"#, new, out);
        push_image(r#","OldImage":"#, old, out);
        out.push_str(r#","SequenceNumber":""#);
        out.push_str(event.source.sequence_number.as_str());
        out.push_str(r#"","SizeBytes":"#);
        out.push_str(&event.source.size_bytes.to_string());
        out.push_str(&self.view_type);
        if matches!(event.change, Change::Remove { cause: RemoveCause::TimeToLive, .. }) {
            out.push_str(TIME_TO_LIVE_IDENTITY);
        }
        out.push_str(&self.after);
    }
}

/// The region in `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`. DynamoDB Local says `ddblocal`.
fn region_of(stream_arn: &str) -> Option<&str> {
    let mut parts = stream_arn.split(':');
    (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty())
}

/// DynamoDB's own name (API reference, `Record`, `eventName`).
fn event_name(change: &Change) -> &'static str {
    match change {
        Change::Insert { .. } => "INSERT",
        Change::Modify { .. } => "MODIFY",
        Change::Remove { .. } => "REMOVE",
    }
}

/// Whole seconds as DynamoDB gives them; where a source is finer, the milliseconds follow the point. No `f64`, so the
/// digits are exact.
fn push_seconds(ms: i64, out: &mut String) {
    let (seconds, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if ms < 0 {
        out.push('-');
    }
    out.push_str(&seconds.to_string());
    if rest > 0 {
        out.push_str(&format!(".{rest:03}"));
    }
}

fn push_image(name: &str, image: Option<&Item>, out: &mut String) {
    if let Some(item) = image {
        out.push_str(name);
        out.push_str(item.typed_json());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_the_arn_s() {
        let arn =
            |region: &str| format!("arn:aws-cn:dynamodb:{region}:000000000000:table/T/stream/2026-11-23T00:00:00.000");
        assert_eq!(region_of(&arn("cn-north-1")), Some("cn-north-1"));
        assert_eq!(region_of(&arn("ddblocal")), Some("ddblocal"));
        assert_eq!(region_of(&arn("")), None);
        assert_eq!(region_of("T/stream/1"), None);
        assert_eq!(region_of(""), None);
    }

    #[test]
    fn seconds_are_exact() {
        for (ms, expected) in [
            (1_480_452_540_000, "1480452540"),
            (1_480_452_540_007, "1480452540.007"),
            (0, "0"),
            (-1, "-0.001"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            let mut out = String::new();
            push_seconds(ms, &mut out);
            assert_eq!(out, expected);
        }
    }
}
