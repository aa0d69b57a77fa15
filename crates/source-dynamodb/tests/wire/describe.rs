//! What is asked of a stream before it is read, and how a service is borne that has no answer for the moment.

use std::time::Duration;

use tailwater_model::ViewType;
use tailwater_source_dynamodb::connect_emulator;
use tokio::time::Instant;

use crate::server::{Answer, ScriptedServer};

/// A listing that would go on.
const PAGE: &str = r#"{"StreamDescription":{"StreamArn":"arn","StreamStatus":"DISABLED","StreamViewType":"NEW_IMAGE","Shards":[{"ShardId":"one"}],"LastEvaluatedShardId":"one"}}"#;
const LAST_PAGE: &str = r#"{"StreamDescription":{"StreamArn":"arn","StreamStatus":"DISABLED","StreamViewType":"NEW_IMAGE","Shards":[{"ShardId":"two"}]}}"#;

fn throttled() -> Answer {
    Answer::error(400, "LimitExceededException")
}

/// Thousands of shards make no difference to whether a stream exists.
#[tokio::test]
async fn whether_a_stream_exists_takes_one_answer() {
    for (name, script, found) in [
        ("found", vec![Answer::ok(PAGE)], true),
        ("not found", vec![Answer::error(400, "ResourceNotFoundException")], false),
        ("throttled, found", vec![throttled(), throttled(), Answer::ok(PAGE)], true),
        (
            "away, not found",
            [vec![Answer::error(500, "InternalServerError"); 2], vec![Answer::error(400, "ResourceNotFoundException")]]
                .concat(),
            false,
        ),
    ] {
        let server = ScriptedServer::start(script.clone()).await;
        let head = connect_emulator(&server.url)
            .stream_head("orders", "arn")
            .await
            .unwrap_or_else(|no| panic!("{name}: {no}"));
        assert_eq!(head.and_then(|head| head.view_type), found.then_some(ViewType::NewImage), "{name}");
        assert_eq!(server.served(), script.len(), "{name}");
    }
}

#[tokio::test]
async fn a_listing_goes_on_at_the_page_that_was_throttled() {
    let script = vec![Answer::ok(PAGE), throttled(), throttled(), Answer::ok(LAST_PAGE)];
    let server = ScriptedServer::start(script).await;
    let stream = connect_emulator(&server.url).stream_description("orders", "arn").await.expect("a description");
    let shards: Vec<&str> = stream.shards.iter().map(|shard| shard.shard.as_str()).collect();
    assert_eq!((shards, server.served()), (vec!["one", "two"], 4));
}

/// Rights do not come by waiting, and an address where nobody answers may be wrong.
#[tokio::test]
async fn what_does_not_pass_is_told_at_once() {
    let asked_at = Instant::now();
    let server = ScriptedServer::start(vec![Answer::error(400, "AccessDeniedException")]).await;
    let denied = connect_emulator(&server.url).stream_head("orders", "arn").await.expect_err("no rights");
    assert_eq!((denied.code, server.served()), ("aws.access_denied", 1));
    let nobody = connect_emulator("http://127.0.0.1:9").stream_head("orders", "arn").await.expect_err("nobody there");
    assert_eq!(nobody.code, "aws.unreachable");
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
}

/// It would be read for ever, and nothing of it carried.
#[tokio::test]
async fn a_service_that_tells_no_time_is_refused_after_some_answers() {
    for (name, script, refused) in [
        ("never", vec![Answer::undated(PAGE); 3], Some("source.no_date")),
        ("not once", vec![Answer::undated(PAGE), Answer::ok(PAGE)], None),
        ("of a stream that is not there", vec![Answer::error(400, "ResourceNotFoundException")], None),
        ("no right", vec![Answer::error(400, "AccessDeniedException")], None),
    ] {
        let server = ScriptedServer::start(script.clone()).await;
        let checked = connect_emulator(&server.url).check_dates("orders", "arn").await;
        assert_eq!(checked.err().map(|trouble| trouble.code), refused, "{name}");
        assert_eq!(server.served(), script.len(), "{name}");
    }
}
