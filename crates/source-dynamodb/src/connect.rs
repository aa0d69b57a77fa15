//! Connecting: credentials, region and endpoint by AWS's own rules, with explicit limits on every wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
use tailwater_model::{Trouble, TroubleKind};
use url::Url;

use crate::credentials::Renewed;
use crate::deserializer::PageInterceptor;

/// Longest wait for a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the first byte of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest duration of one attempt with its whole body (a page has about 1 MB). It takes the place of the SDK's watch on
/// bodies that stall, which costs 3 % of an idle poll.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The SDK tries once more for a hiccup; waiting for longer troubles is the reader's, or retries would multiply. With the
/// longest attempt and the longest delay that bounds the whole call to a minute, and a timer for that would be one more
/// cost of each idle poll.
const ATTEMPTS_MAX: u32 = 2;
/// The SDK waits a random part of this before its second attempt.
const RETRY_DELAY_MAX: Duration = Duration::from_millis(200);
/// Emulators take any region, but a request cannot be signed without one.
const EMULATOR_REGION: &str = "us-east-1";
/// Names our sessions in the logs of AWS (CloudTrail) when a role is assumed.
const ROLE_SESSION_NAME: &str = "tailwater";

/// The services that are asked, by the names that the SDK looks them up with.
const SERVICES: [&str; 2] = ["DynamoDB", "DynamoDB Streams"];

/// How to reach AWS. What is not set comes from the environment, the profile files or the machine's role, by the
/// rules of every AWS tool.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// The region, for example `eu-west-1`.
    pub region: Option<String>,
    /// Another endpoint than AWS's own: DynamoDB Local, an emulator, a VPC endpoint.
    pub endpoint_url: Option<String>,
    /// A profile of the AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume with the credentials found.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
}

/// DynamoDB and its streams, connected. Clones share connections and credentials.
#[derive(Clone)]
pub struct DynamoDb {
    pub(crate) tables: aws_sdk_dynamodb::Client,
    pub(crate) streams: aws_sdk_dynamodbstreams::Client,
    /// Where we look, for messages: the region and the endpoint.
    pub(crate) place: Arc<str>,
    /// Records by unknown event name, of all pages so far.
    pub(crate) unknown_event_names: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// Resolves region, endpoint and the chain of credentials. Nothing is asked of DynamoDB yet, so wrong credentials show
/// at the first call.
///
/// Fails with `aws.no_region` when neither the settings nor the environment name a region and no endpoint is given, and with
/// `aws.bad_endpoint` when an endpoint is no URL: the SDK would panic or ask in vain.
pub async fn connect(settings: &AwsSettings) -> Result<DynamoDb, Trouble> {
    if let Some(url) = &settings.endpoint_url {
        check_endpoint("`endpoint_url`", url)?;
    }
    let sdk = Box::pin(sdk_config(settings)).await?;
    for service in SERVICES {
        if let Some(url) = endpoint_of(&sdk, service) {
            check_endpoint("AWS_ENDPOINT_URL, a variable like it, or `endpoint_url` of a profile", &url)?;
        }
    }
    Ok(clients(&sdk, settings))
}

/// The endpoint of a service by the variables and the profile, as its client finds it.
fn endpoint_of(sdk: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    sdk.service_config()?.load_config(key.ok()?)
}

fn check_endpoint(named_by: &str, url: &str) -> Result<(), Trouble> {
    // The parser of URLs passes over spaces, and the SDK does not.
    let has_space = url.contains(char::is_whitespace);
    let is_url = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_url && !has_space {
        return Ok(());
    }
    let message = format!("the endpoint that {named_by} names is no http or https URL");
    Err(Trouble::new(TroubleKind::Config, "aws.bad_endpoint", message)
        .advise("for example http://127.0.0.1:8000 for DynamoDB Local; leave it out for AWS's own"))
}

/// Connects to an emulator that takes any credentials, without looking for any: the embedded server of the demo.
pub fn connect_emulator(endpoint_url: &str) -> DynamoDb {
    let any = Credentials::new("local", "local", None, None, "emulator");
    let sdk = SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(http_client())
        .region(Region::from_static(EMULATOR_REGION))
        .credentials_provider(SharedCredentialsProvider::new(any))
        .retry_config(retries())
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    clients(&sdk, &AwsSettings { endpoint_url: Some(endpoint_url.to_owned()), ..AwsSettings::default() })
}

fn clients(sdk: &SdkConfig, settings: &AwsSettings) -> DynamoDb {
    let mut tables = aws_sdk_dynamodb::config::Builder::from(sdk);
    let mut streams = aws_sdk_dynamodbstreams::config::Builder::from(sdk);
    if let Some(url) = &settings.endpoint_url {
        // For these two services only: a role is still assumed at AWS's own endpoint.
        tables = tables.endpoint_url(url);
        streams = streams.endpoint_url(url);
    }
    DynamoDb {
        tables: aws_sdk_dynamodb::Client::from_conf(tables.build()),
        streams: aws_sdk_dynamodbstreams::Client::from_conf(streams.interceptor(PageInterceptor).build()),
        place: place(sdk, settings).into(),
        unknown_event_names: Arc::default(),
    }
}

/// Pinned: a newer SDK must not change time limits or retries behind our back.
fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// TLS by rustls with ring. The SDK's default brings AWS-LC, which takes longer to build than all of our own crates.
fn http_client() -> SharedHttpClient {
    let provider = Provider::Rustls(CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX).with_initial_backoff(RETRY_DELAY_MAX)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

async fn sdk_config(settings: &AwsSettings) -> Result<SdkConfig, Trouble> {
    let http = http_client();
    let mut sdk = loader(settings, http.clone()).load().await;
    // An empty variable is one that is not set.
    if sdk.region().is_none_or(|region| region.as_ref().is_empty()) {
        if sdk.endpoint_url().is_none() && settings.endpoint_url.is_none() {
            return Err(no_region());
        }
        // An emulator takes any.
        sdk = sdk.into_builder().region(Region::from_static(EMULATOR_REGION)).build();
    }
    // The region stays, whatever the files say later.
    let region = sdk.region().map(ToString::to_string);
    let settings = AwsSettings { region, ..settings.clone() };
    let clock = sdk.time_source().unwrap_or_default();
    let chain = Renewed::new(move || credentials_chain(settings.clone(), http.clone()), clock);
    Ok(sdk.into_builder().credentials_provider(SharedCredentialsProvider::new(chain)).build())
}

fn loader(settings: &AwsSettings, http: SharedHttpClient) -> ConfigLoader {
    let mut loader = aws_config::defaults(behavior_version()).http_client(http);
    loader = loader.retry_config(retries()).timeout_config(timeouts());
    loader = loader.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    } else if settings.endpoint_url.is_some() {
        loader = loader.region(region_of_emulator(settings.profile.as_deref()));
    }
    loader
}

/// AWS's own chain as the environment and the files are now, and the role that is assumed with what it finds.
async fn credentials_chain(settings: AwsSettings, http: SharedHttpClient) -> Option<SharedCredentialsProvider> {
    let sdk = Box::pin(loader(&settings, http).load()).await;
    let Some(role) = &settings.role_arn else { return sdk.credentials_provider() };
    let mut provider = AssumeRoleProvider::builder(role).session_name(ROLE_SESSION_NAME).configure(&sdk);
    if let Some(external_id) = &settings.external_id {
        provider = provider.external_id(external_id);
    }
    Some(SharedCredentialsProvider::new(provider.build().await))
}

/// Like AWS's own chain, but with a last resort, and without asking the metadata service of a machine that is perhaps
/// not in AWS at all.
fn region_of_emulator(profile: Option<&str>) -> RegionProviderChain {
    let mut files = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        files = files.profile_name(profile);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(files.build())
        .or_else(Region::from_static(EMULATOR_REGION))
}

fn no_region() -> Trouble {
    Trouble::new(TroubleKind::Config, "aws.no_region", "no AWS region is configured").advise(
        "set `region` in the source's settings, or AWS_REGION, or a region in the profile; \
         for an emulator set `endpoint_url`",
    )
}

/// The region and the endpoint in words, without credentials that somebody may have put into the URL.
fn place(sdk: &SdkConfig, settings: &AwsSettings) -> String {
    let region = sdk.region().map_or("no region", |region| region.as_ref());
    match settings.endpoint_url.as_deref().or(sdk.endpoint_url()) {
        None => format!("region {region}"),
        Some(url) => {
            let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
            let (authority, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("region {region} at {scheme}://{host}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdk(region: &'static str) -> SdkConfig {
        SdkConfig::builder().region(Region::from_static(region)).build()
    }

    #[test]
    fn the_place_names_region_and_endpoint_without_secrets() {
        let mut settings = AwsSettings::default();
        assert_eq!(place(&sdk("eu-west-1"), &settings), "region eu-west-1");
        settings.endpoint_url = Some("http://me:secret@127.0.0.1:28000/x?token=y".into());
        assert_eq!(place(&sdk("local"), &settings), "region local at http://127.0.0.1:28000");
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
            let settings = AwsSettings { endpoint_url: Some(bad.into()), ..AwsSettings::default() };
            let refused = connect(&settings).await.err().map(|trouble| (trouble.kind, trouble.code));
            assert_eq!(refused, Some((TroubleKind::Config, "aws.bad_endpoint")), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_needs_no_region() {
        let settings = AwsSettings { endpoint_url: Some("http://127.0.0.1:9".into()), ..AwsSettings::default() };
        let connected = connect(&settings).await.unwrap_or_else(|trouble| panic!("{trouble}"));
        assert!(connected.place.contains("at http://127.0.0.1:9"), "{}", connected.place);
    }
}
