//! TLS and logins on the listeners that `cargo x up kafka` opens for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use tailwater_model::{Sink, Trouble, TroubleKind};
use tailwater_sink_kafka::{Credentials, KafkaSettings, SaslSettings, TlsSettings, checkpoints};
use tokio::time::Instant;

use crate::ground::{SHARD, Scene, group, registration};

/// Where `cargo x up` leaves the authority's certificate, unless `TAILWATER_TEST_KAFKA_CA` names another file.
const AUTHORITY: &str = "../../target/servers/kafka/tls/ca.crt";
/// The user that the broker knows; also the password.
const USER: &str = "tailwater";
/// What must never be told.
const CANARY: &str = "canary-5b1f";
/// How long a start waits for an answer here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// What must not be taken for bad luck on a busy machine: a start that fails was told so by the broker, or waited once.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);

fn given(variable: &str, usual: &str) -> String {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| usual.to_owned())
}

fn tls_brokers() -> String {
    given("TAILWATER_TEST_KAFKA_TLS", "127.0.0.1:29094")
}

fn login_brokers() -> String {
    given("TAILWATER_TEST_KAFKA_LOGIN", "127.0.0.1:29095")
}

fn trusting(ca_file: impl Into<PathBuf>) -> Option<TlsSettings> {
    Some(TlsSettings { ca_file: Some(ca_file.into()), ..TlsSettings::default() })
}

/// TLS that trusts the test authority.
fn trusted() -> Option<TlsSettings> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join(AUTHORITY);
    trusting(given("TAILWATER_TEST_KAFKA_CA", usual.to_str().expect("UTF-8")))
}

fn login(password: &str) -> Credentials {
    Credentials { username: USER.into(), password: password.into() }
}

/// A token that nobody signed, as Kafka's validator for tests takes it.
fn token(lifetime_s: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the broker judges a token by its own clock")]
    let now = Timestamp::now().as_second();
    let header = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
    let claims = format!(r#"{{"sub":"{CANARY}","iat":{},"exp":{}}}"#, now - 3600, now + lifetime_s);
    format!("{header}.{}.", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

/// A pipeline whose topics are there: they were made over the listener without security.
async fn scene() -> Scene {
    let scene = Scene::new(1);
    scene.claim().await;
    scene
}

fn secured(scene: &Scene, brokers: String, tls: Option<TlsSettings>, sasl: Option<SaslSettings>) -> Scene {
    let settings = KafkaSettings { brokers, tls, sasl, request_timeout: REQUEST_TIMEOUT, ..scene.settings.clone() };
    Scene { settings, ..scene.clone() }
}

/// Goes through everything that a pipeline does: topics, progress and a transaction that registers this shard.
async fn works(scene: &Scene, shard: &str) {
    let mut lane = scene.try_claim().await.unwrap_or_else(|trouble| panic!("{trouble:?}")).remove(0);
    lane.open().await.unwrap_or_else(|failure| panic!("{:?}", failure.trouble()));
    lane.commit(group([registration(shard)])).await.unwrap_or_else(|failure| panic!("{:?}", failure.trouble()));
}

/// The trouble of a start, which comes soon and holds no secret. The program reads the progress before it claims: that tells the
/// same.
async fn refused(scene: &Scene) -> Trouble {
    let began = Instant::now();
    let trouble = scene.try_claim().await.expect_err("is refused");
    assert!(began.elapsed() < REFUSED_WITHIN, "{:?}: {trouble:?}", began.elapsed());
    let read = checkpoints(&scene.settings, &scene.identity.name).await.expect_err("is refused");
    assert_eq!((read.kind, read.code), (trouble.kind, trouble.code), "{read:?}");
    assert!(!format!("{read:?}").contains(CANARY), "{read:?}");
    assert!(trouble.advice.is_some(), "{trouble:?}");
    for shown in [format!("{trouble:?}"), format!("{:?}", scene.settings)] {
        assert!(!shown.contains(CANARY), "{shown}");
    }
    trouble
}

#[track_caller]
fn is(trouble: &Trouble, code: &str, says: &str) {
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, code), "{trouble:?}");
    assert!(trouble.message.contains(says), "{says}: {trouble:?}");
}

#[tokio::test]
async fn a_trusted_certificate_is_enough_for_tls() {
    let scene = scene().await;
    works(&secured(&scene, tls_brokers(), trusted(), None), SHARD).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let scene = scene().await;
    // The system's authorities do not know ours.
    let by_system = refused(&secured(&scene, tls_brokers(), Some(TlsSettings::default()), None)).await;
    is(&by_system, "sink.kafka.tls", "certificate");
    assert!(by_system.advice.is_some_and(|advice| advice.contains("tls.ca_file")));

    // Another authority of the same name.
    let dir = tempfile::tempdir().expect("a folder");
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", "ca.key", "-out", "ca.crt"]);
    openssl.args(["-subj", "/CN=Tailwater test authority"]).current_dir(dir.path());
    assert!(openssl.output().expect("openssl is installed").status.success());
    let by_other = refused(&secured(&scene, tls_brokers(), trusting(dir.path().join("ca.crt")), None)).await;
    is(&by_other, "sink.kafka.tls", "certificate");
}

#[tokio::test]
async fn a_name_that_the_certificate_does_not_have_is_refused() {
    let scene = scene().await;
    // An old spelling of 127.0.0.1: the same broker, by a name that nobody has vouched for.
    let brokers = tls_brokers().replace("127.0.0.1", "127.1");
    is(&refused(&secured(&scene, brokers, trusted(), None)).await, "sink.kafka.tls", "certificate");
}

#[tokio::test]
async fn the_wrong_kind_of_listener_is_told_in_time() {
    let scene = scene().await;
    // Plain text to TLS, and TLS to plain text.
    let plain = refused(&secured(&scene, tls_brokers(), None, None)).await;
    is(&plain, "sink.kafka.unreachable", "closed by peer");
    assert!(plain.advice.is_some_and(|advice| advice.contains("a listener for TLS needs tls")));
    let encrypted = refused(&secured(&scene, crate::ground::brokers(), trusted(), None)).await;
    assert!(encrypted.message.contains("SSL"), "{encrypted:?}");
}

#[tokio::test]
async fn every_mechanism_with_a_password_logs_in_with_the_right_one_only() {
    let scene = scene().await;
    let mechanisms = [SaslSettings::Plain, SaslSettings::ScramSha256, SaslSettings::ScramSha512];
    for (number, mechanism) in mechanisms.into_iter().enumerate() {
        let right = secured(&scene, login_brokers(), trusted(), Some(mechanism(login(USER))));
        works(&right, &format!("{SHARD}-{number}")).await;
        let wrong = refused(&secured(&scene, login_brokers(), trusted(), Some(mechanism(login(CANARY))))).await;
        is(&wrong, "sink.kafka.authentication", "uthentication");
        assert!(wrong.advice.is_some_and(|advice| advice.contains("sasl.password")));
    }
}

#[tokio::test]
async fn a_bearer_token_logs_in_until_it_expires() {
    let scene = scene().await;
    let dir = tempfile::tempdir().expect("a folder");
    let token_file = dir.path().join("token");
    let bearer = SaslSettings::OAuthBearer { token_file: token_file.clone() };
    let scene = secured(&scene, login_brokers(), trusted(), Some(bearer));

    let missing = refused(&scene).await;
    is(&missing, "sink.kafka.authentication", token_file.to_str().expect("UTF-8"));
    std::fs::write(&token_file, CANARY).expect("writes");
    is(&refused(&scene).await, "sink.kafka.authentication", "does not hold a JWT");
    std::fs::write(&token_file, token(-60)).expect("writes");
    is(&refused(&scene).await, "sink.kafka.authentication", "has expired");
    std::fs::write(&token_file, token(600)).expect("writes");
    works(&scene, SHARD).await;
}

#[tokio::test]
async fn a_running_lane_reads_the_next_token_before_the_old_one_expires() {
    let scene = scene().await;
    let dir = tempfile::tempdir().expect("a folder");
    let token_file = dir.path().join("token");
    let bearer = SaslSettings::OAuthBearer { token_file: token_file.clone() };
    let scene = secured(&scene, login_brokers(), trusted(), Some(bearer));
    std::fs::write(&token_file, token(6)).expect("writes");
    let mut lane = scene.try_claim().await.unwrap_or_else(|trouble| panic!("{trouble:?}")).remove(0);
    lane.open().await.unwrap_or_else(|failure| panic!("{:?}", failure.trouble()));

    // Whoever reads the file takes from the pipe, and finds it closed: so it is seen that the idle lane asks.
    std::fs::remove_file(&token_file).expect("removed");
    assert!(Command::new("mkfifo").arg(&token_file).status().expect("coreutils are installed").success());
    let next = token(600);
    let pipe = token_file.clone();
    let handed_over = tokio::task::spawn_blocking(move || std::fs::write(pipe, next));
    let handed_over = tokio::time::timeout(Duration::from_secs(10), handed_over).await;
    handed_over.expect("the idle lane asks for a token in time").expect("no panic").expect("writes");
    lane.commit(group([registration(SHARD)])).await.unwrap_or_else(|failure| panic!("{:?}", failure.trouble()));
}
