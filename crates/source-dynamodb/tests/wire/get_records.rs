//! The replaced deserializer inside the SDK's retries: what each sequence of answers comes to.

use std::time::Duration;

use crate::server::{self, Answer, ScriptedServer};
use tailwater_model::ShardId;
use tailwater_source_dynamodb::{
    ApiError, ApiErrorKind, Dated, PAGE_BYTES_MAX, RecordPage, ShardIterator, StreamApi, connect_emulator,
};

const PAGE: &str = r#"{"Records":[{"eventID":"e1","eventName":"REMOVE","dynamodb":{"ApproximateCreationDateTime":1734567890,"Keys":{"Id":{"S":"7"}},"SequenceNumber":"111","SizeBytes":3,"StreamViewType":"KEYS_ONLY"}}],"NextShardIterator":"next"}"#;

/// Asks once for a page of a server with this script.
async fn ask(script: &[Answer]) -> (Result<Dated<RecordPage>, ApiError>, usize) {
    let server = ScriptedServer::start(script.to_vec()).await;
    let api = connect_emulator(&server.url);
    let result = api.get_records(&ShardId::new("shardId-1"), &ShardIterator("iterator".into())).await;
    (result, server.served())
}

#[tokio::test]
async fn answers_that_pass_end_in_the_page() {
    for (name, script) in [
        ("200", vec![Answer::ok(PAGE)]),
        ("500, 200", vec![Answer::error(500, "InternalServerError"), Answer::ok(PAGE)]),
        ("throttled, 200", vec![Answer::error(400, "ThrottlingException"), Answer::ok(PAGE)]),
        ("truncated, 200", vec![Answer::truncated(PAGE), Answer::ok(PAGE)]),
        ("malformed 200, 200", vec![Answer::text(200, "{\"Records\":[{]}"), Answer::ok(PAGE)]),
        ("wrong CRC, 200", vec![Answer::wrong_crc(PAGE), Answer::ok(PAGE)]),
    ] {
        let (result, served) = ask(&script).await;
        let page = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(server::now().since(page.date) < Duration::from_secs(10), "{name}: {}", page.date);
        let page = page.answer;
        assert_eq!(page.records.len(), 1, "{name}");
        assert_eq!(page.next, Some(ShardIterator("next".into())), "{name}");
        assert_eq!(served, script.len(), "{name}");
    }
}

#[tokio::test]
async fn answers_that_stay_keep_their_meaning() {
    let html = "<html>503</html>";
    for (name, script, kind) in [
        ("expired", vec![Answer::error(400, "ExpiredIteratorException")], ApiErrorKind::IteratorExpired),
        // The deserializer of the first attempt is still installed in the second.
        (
            "truncated, expired",
            vec![Answer::truncated(PAGE), Answer::error(400, "ExpiredIteratorException")],
            ApiErrorKind::IteratorExpired,
        ),
        (
            "malformed 200, trimmed",
            vec![Answer::text(200, "{}"), Answer::error(400, "TrimmedDataAccessException")],
            ApiErrorKind::Trimmed,
        ),
        ("gone", vec![Answer::error(400, "ResourceNotFoundException")], ApiErrorKind::NotFound),
        ("denied", vec![Answer::error(400, "AccessDeniedException")], ApiErrorKind::Denied),
        ("token", vec![Answer::error(400, "UnrecognizedClientException")], ApiErrorKind::Credentials),
        ("unknown", vec![Answer::error(400, "NeverHeardOf")], ApiErrorKind::Transient),
        ("throttled twice", vec![Answer::error(400, "LimitExceededException"); 2], ApiErrorKind::Throttled),
        ("503 as HTML twice", vec![Answer::text(503, html); 2], ApiErrorKind::Transient),
        ("malformed 200 twice", vec![Answer::text(200, html); 2], ApiErrorKind::Malformed),
        ("an empty object twice", vec![Answer::text(200, "{}"); 2], ApiErrorKind::Malformed),
        ("truncated twice", vec![Answer::truncated(PAGE); 2], ApiErrorKind::Transient),
        ("wrong CRC twice", vec![Answer::wrong_crc(PAGE); 2], ApiErrorKind::Malformed),
        ("oversized twice", vec![Answer::oversized(PAGE_BYTES_MAX + 1); 2], ApiErrorKind::Malformed),
    ] {
        let (result, served) = ask(&script).await;
        let error = result.err().unwrap_or_else(|| panic!("{name}: a page"));
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert_eq!(served, script.len(), "{name}");
        assert!(error.message.starts_with("GetRecords: ") && error.message.len() < 1100, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_within_a_minute() {
    let script = [Answer::stalled(PAGE), Answer::ok(PAGE)];
    let asked = tokio::time::timeout(Duration::from_secs(60), ask(&script)).await;
    let (result, served) = asked.expect("the call did not end");
    let page = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((page.answer.records.len(), served), (1, 2));
}

#[tokio::test]
async fn error_messages_name_code_status_and_request() {
    let (result, _) = ask(&[Answer::error(400, "ExpiredIteratorException")]).await;
    let message = result.err().map(|error| error.message);
    assert_eq!(
        message.as_deref(),
        Some("GetRecords: ExpiredIteratorException (HTTP 400, request REQUEST-7): as scripted")
    );
}

#[tokio::test]
async fn an_unreachable_service_is_transient() {
    // Port 9 (discard) is closed on any sane machine.
    let api = connect_emulator("http://127.0.0.1:9");
    let error = api.get_records(&ShardId::new("s"), &ShardIterator("i".into())).await.expect_err("nobody there");
    assert_eq!(error.kind, ApiErrorKind::Transient, "{error}");
    let trouble = api.describe_table("orders").await.expect_err("nobody there");
    assert_eq!(trouble.code, "aws.unreachable", "{trouble}");
    assert!(trouble.message.contains("http://127.0.0.1:9"), "{trouble}");
}
