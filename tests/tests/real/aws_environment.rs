//! What stands in the environment and in the profile files: it is read as by every AWS tool, it never wins over what was said
//! on purpose, and nothing in it ends in a panic.

use std::time::Duration;

use anyhow::{Result, ensure};
use tailwater_tests::endpoints::{kafka_authority, kafka_tls_bootstrap};
use tailwater_tests::process::{Outcome, Tailwater};
use tailwater_tests::recorder::Recorder;
use tailwater_tests::simulated::Simulated;

/// One command on a busy machine, with what the SDK tries a second time.
const WITHIN: Duration = Duration::from_secs(60);
/// An address where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";
/// A name that no machine has (RFC 6761).
const ONLY_BY_PROXY: &str = "dynamodb.invalid:8000";
const PROFILES: &str = "[prod]\naws_access_key_id = of-prod\naws_secret_access_key = s\n";

async fn scene() -> Result<Simulated> {
    Simulated::start(&["--faults", "none"]).await
}

/// `tailwater stream describe` of the scene's table, with more variables and options.
async fn describe(scene: &Simulated, variables: &[(&str, &str)], options: &[&str]) -> Result<Outcome> {
    let mut environment = scene.environment.clone();
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments = [&["stream", "describe", scene.table.name.as_str()][..], options].concat();
    Tailwater::run(scene.dir(), &arguments, &environment, WITHIN).await
}

/// `Tailwater::run` looks for the marks of a panic.
#[tokio::test]
async fn no_value_of_a_variable_ends_in_a_panic() -> Result<()> {
    let scene = scene().await?;
    let url = scene.pipeline.endpoint.clone();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EXECUTION_ENV",
        "AWS_RETRY_MODE",
        "AWS_SDK_UA_APP_ID",
        "AWS_CA_BUNDLE",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
    ] {
        let refused = describe(&scene, &[(name, "canary\n\u{e9}")], &["--endpoint-url", &url]).await?;
        let refused = refused.must_exit_with(2)?.must_say(&[name, "→"])?;
        ensure!(!refused.stderr.contains("canary\n"), "{}", refused.said());
        // An empty one is not given.
        let is_needed = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(&name);
        let empty = describe(&scene, &[(name, "")], &["--endpoint-url", &url]).await?;
        empty.must_exit_with(if is_needed { 3 } else { 0 })?;
    }
    // What only some values of theirs are wrong for.
    for (name, value) in [
        ("AWS_MAX_ATTEMPTS", "many"),
        ("AWS_RETRY_MODE", "never"),
        ("AWS_DEFAULTS_MODE", "no"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "no"),
        ("AWS_USE_FIPS_ENDPOINT", "perhaps"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "perhaps"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "no"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "-1"),
        ("AWS_AUTH_SCHEME_PREFERENCE", ",,"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv9"),
        ("AWS_SDK_UA_APP_ID", "a b"),
    ] {
        describe(&scene, &[(name, value)], &["--endpoint-url", &url]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_profile_that_is_named_signs_and_one_that_is_not_there_is_told() -> Result<()> {
    let scene = scene().await?;
    let recorder = Recorder::before(&scene.pipeline.endpoint).await?;
    std::fs::create_dir(scene.dir().join(".aws"))?;
    std::fs::write(scene.dir().join(".aws/credentials"), PROFILES)?;
    // Other keys stand in the environment.
    for (options, key) in [(&["--profile", "prod"][..], "of-prod"), (&[][..], "tests")] {
        let at = [&["--endpoint-url", recorder.url.as_str()][..], options].concat();
        describe(&scene, &[], &at).await?.must_exit_with(0)?;
        let keys = recorder.take().keys;
        ensure!(keys.iter().map(String::as_str).eq([key]), "{options:?} signed with {keys:?}");
    }
    let unknown = ["\"pord\"", "does not exist", "there are prod", "→"];
    let refused = describe(&scene, &[], &["--profile", "pord"]).await?.must_exit_with(2)?.must_say(&unknown)?;
    ensure!(!refused.stderr.contains("region"), "{}", refused.said());
    describe(&scene, &[("AWS_PROFILE", "pord")], &[]).await?.must_exit_with(2)?.must_say(&unknown)?;
    Ok(())
}

#[tokio::test]
async fn endpoints_come_from_variables_and_an_error_names_them() -> Result<()> {
    let scene = scene().await?;
    let url = scene.pipeline.endpoint.as_str();
    let (tables, streams) = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_DYNAMODB_STREAMS");
    for region in [&[][..], &[("AWS_REGION", "eu-west-1")]] {
        for endpoints in [
            &[("AWS_ENDPOINT_URL", url)][..],
            &[(tables, url), (streams, url)],
            &[("AWS_ENDPOINT_URL", NOBODY), (tables, url), (streams, url)],
        ] {
            describe(&scene, &[endpoints, region].concat(), &[]).await?.must_exit_with(0)?;
        }
        let nobody = describe(&scene, &[&[(tables, url), (streams, NOBODY)][..], region].concat(), &[]).await?;
        nobody.must_exit_with(3)?.must_say(&["127.0.0.1:9", streams])?;
        let nobody = describe(&scene, &[&[("AWS_ENDPOINT_URL", NOBODY)][..], region].concat(), &[]).await?;
        nobody.must_exit_with(3)?.must_say(&["127.0.0.1:9", "(from AWS_ENDPOINT_URL)"])?;
    }
    // The flag wins.
    describe(&scene, &[("AWS_ENDPOINT_URL", NOBODY)], &["--endpoint-url", url]).await?.must_exit_with(0)?;
    Ok(())
}

#[tokio::test]
async fn proxies_are_used() -> Result<()> {
    let scene = scene().await?;
    let recorder = Recorder::before(&scene.pipeline.endpoint).await?;
    let (proxy, endpoint) = (recorder.url.as_str(), format!("http://{ONLY_BY_PROXY}"));
    let at = ["--endpoint-url", endpoint.as_str()];
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        describe(&scene, &[(name, proxy)], &at).await?.must_exit_with(0)?;
        let hosts = recorder.take().by_proxy;
        ensure!(hosts.contains(ONLY_BY_PROXY), "{name}: {hosts:?}");
    }
    let direct = describe(&scene, &[("HTTP_PROXY", proxy), ("NO_PROXY", "*.invalid")], &at).await?;
    direct.must_exit_with(3)?.must_say(&[ONLY_BY_PROXY, "HTTP_PROXY"])?;
    let direct = describe(&scene, &[("HTTP_PROXY", NOBODY)], &["--endpoint-url", &scene.pipeline.endpoint]).await?;
    direct.must_exit_with(0)?;
    ensure!(recorder.take().by_proxy.is_empty(), "it was asked all the same");
    // The recorder makes no tunnels.
    let tunnel = describe(&scene, &[("HTTPS_PROXY", proxy), ("AWS_REGION", "eu-west-1")], &[]).await?;
    tunnel.must_exit_with(3)?.must_say(&["region eu-west-1 (from AWS_REGION)", "HTTPS_PROXY"])?;
    let hosts = recorder.take().by_proxy;
    ensure!(hosts.contains("dynamodb.eu-west-1.amazonaws.com:443"), "{hosts:?}");
    Ok(())
}

/// Kafka's listener for TLS is no DynamoDB, but its certificate is what this is about.
#[tokio::test]
async fn authorities_of_ones_own_are_trusted() -> Result<()> {
    let scene = scene().await?;
    let (authority, endpoint) = (kafka_authority(), format!("https://{}", kafka_tls_bootstrap()));
    let at = ["--endpoint-url", endpoint.as_str()];
    let unknown = describe(&scene, &[], &at).await?.must_exit_with(3)?;
    ensure!(unknown.stderr.contains("certificate"), "{}", unknown.said());
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let trusted = describe(&scene, &[(name, &authority)], &at).await?.must_exit_with(3)?;
        ensure!(!trusted.stderr.contains("certificate"), "{}", trusted.said());
    }
    Ok(())
}
