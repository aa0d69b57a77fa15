//! Which settings win, and what is refused before anything is connected to.

use aws_credential_types::provider::ProvideCredentials;

use super::*;
use crate::environment::tests::environment;

/// What is found with these variables alone, and no profile files but these.
async fn found_with(settings: &AwsSettings, variables: &[(&str, &str)]) -> Result<Found, Trouble> {
    let alone = [
        ("HOME", "/nowhere"),
        ("AWS_CONFIG_FILE", "/nowhere/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    find(settings, environment(&[&alone[..], variables].concat())?).await
}

fn settings(region: Option<&str>, endpoint_url: Option<&str>) -> AwsSettings {
    let own = |text: Option<&str>| text.map(str::to_owned);
    AwsSettings { region: own(region), endpoint_url: own(endpoint_url), ..AwsSettings::default() }
}

fn places(found: &Found, settings: &AwsSettings) -> [String; 2] {
    let places = clients(found, settings).places;
    [places.tables.to_string(), places.streams.to_string()]
}

#[tokio::test]
async fn an_endpoint_is_a_url() {
    for bad in [
        "",
        "foo",
        "127.0.0.1:8000",
        "http://",
        "http://[::1",
        "ftp://x",
        "http://x y",
        " http://x",
        "http://me:secret@x/a b",
    ] {
        let refused = connect(&settings(None, Some(bad))).await.err().map(|trouble| (trouble.kind, trouble.code));
        assert_eq!(refused, Some((TroubleKind::Config, "aws.bad_endpoint")), "{bad:?}");
    }
}

#[tokio::test]
async fn what_the_settings_say_wins_over_variables() {
    let settings = settings(Some("eu-west-1"), Some("http://127.0.0.1:9"));
    let variables =
        [("AWS_REGION", "us-west-2"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_USE_FIPS_ENDPOINT", "true")];
    let found = found_with(&settings, &variables).await.expect("fine");
    let expected = "region eu-west-1 at http://127.0.0.1:9 (from `endpoint_url`)";
    assert_eq!(places(&found, &settings), [expected, expected]);
}

#[tokio::test]
async fn an_empty_variable_hides_nothing() {
    let variables =
        [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_PROFILE", ""), ("AWS_ENDPOINT_URL", "")];
    let found = found_with(&settings(None, None), &variables).await.expect("fine");
    assert_eq!(places(&found, &settings(None, None))[0], "region eu-west-1 (from AWS_DEFAULT_REGION)");
    let nothing = found_with(&settings(None, None), &[("AWS_REGION", " ")]).await.err();
    assert_eq!(nothing.map(|trouble| trouble.code), Some("aws.no_region"));
}

#[tokio::test]
async fn endpoints_of_one_service_count_with_and_without_a_region() {
    let (tables, streams) = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_DYNAMODB_STREAMS");
    let none = settings(None, None);
    let both = [(tables, "http://127.0.0.1:1"), (streams, "http://127.0.0.1:2")];
    let found = found_with(&none, &both).await.expect("an emulator takes any region");
    assert_eq!(
        places(&found, &none),
        [
            format!("region us-east-1 at http://127.0.0.1:1 (from {tables})"),
            format!("region us-east-1 at http://127.0.0.1:2 (from {streams})"),
        ]
    );
    let general =
        [("AWS_ENDPOINT_URL", "http://127.0.0.1:3"), (streams, "http://127.0.0.1:2"), ("AWS_REGION", "local")];
    let found = found_with(&none, &general).await.expect("fine");
    assert_eq!(
        places(&found, &none),
        [
            "region local at http://127.0.0.1:3 (from AWS_ENDPOINT_URL)".to_owned(),
            format!("region local at http://127.0.0.1:2 (from {streams})"),
        ]
    );
    // The other service is AWS's own, which has regions.
    let one = found_with(&none, &both[..1]).await.err();
    assert_eq!(one.map(|trouble| trouble.code), Some("aws.no_region"));
}

#[tokio::test]
async fn a_region_that_is_none_is_told_with_who_names_it() {
    for (given, variable, named_by) in [(None, "eu west/1", "AWS_REGION"), (Some("eu-wést-1"), "eu-west-1", "`region`")]
    {
        let refused = found_with(&settings(given, None), &[("AWS_REGION", variable)]).await;
        let trouble = refused.err().expect("is refused");
        assert_eq!(trouble.code, "aws.bad_region");
        assert!(trouble.message.contains(named_by), "{trouble}");
    }
}

#[tokio::test]
async fn a_named_profile_signs_with_its_own_keys() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[prod]\naws_access_key_id = of-prod\naws_secret_access_key = s\n[none]\nregion = eu-west-2\n";
    std::fs::write(file.path(), text).expect("writes");
    let path = file.path().to_str().expect("text");
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", path),
        ("AWS_ACCESS_KEY_ID", "of-variable"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "eu-west-1"),
    ];
    for (profile, key) in [(Some("prod"), Some("of-prod")), (Some("none"), None), (None, Some("of-variable"))] {
        let settings = AwsSettings { profile: profile.map(str::to_owned), ..AwsSettings::default() };
        let found = found_with(&settings, &variables).await.expect("fine");
        let credentials = found.sdk.credentials_provider().expect("a chain").provide_credentials().await;
        let found = credentials.ok().map(|credentials| credentials.access_key_id().to_owned());
        assert_eq!(found.as_deref(), key, "{profile:?}");
    }
}
