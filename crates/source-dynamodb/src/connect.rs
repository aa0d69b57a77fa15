//! Connecting: credentials, region and endpoint by AWS's own rules, with explicit limits on every wait. What the settings say
//! wins over the profile, and what a profile says that they name wins over the environment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tailwater_model::{Trouble, TroubleKind};

use crate::credentials::Renewed;
use crate::deserializer::PageInterceptor;
use crate::endpoint::{Endpoint, Place, SERVICES, STREAMS, TABLES, check_endpoint, configured};
use crate::environment::{Environment, REGION};
use crate::http_client::{emulator_client, http_client, proxy_words};
use crate::profiles;

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
/// Who names the region of an emulator.
const EMULATOR_REGION_FROM: &str = "the default for an endpoint of one's own";
/// Longest region in bytes: it is a part of host names.
const REGION_BYTES_MAX: usize = 63;

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
    /// Where we look, for messages.
    pub(crate) places: Arc<Places>,
    /// Records by unknown event name, of all pages so far.
    pub(crate) unknown_event_names: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// Where the two services are looked for.
pub(crate) struct Places {
    pub(crate) tables: Place,
    pub(crate) streams: Place,
}

/// What is known before the clients are made.
struct Found {
    sdk: SdkConfig,
    /// Who named the region.
    region_from: String,
    tables: Option<Endpoint>,
    streams: Option<Endpoint>,
    environment: Environment,
}

/// Resolves region, endpoint and the chain of credentials. Nothing is asked of DynamoDB yet, so wrong credentials show
/// at the first call.
///
/// Fails with `aws.no_region` when neither the settings nor the environment name a region and not both services have an
/// endpoint; with `aws.unknown_profile` and its like (`profiles::load`); and with `aws.bad_variable`, `aws.bad_region` or
/// `aws.bad_endpoint` where the SDK would panic or ask in vain.
pub async fn connect(settings: &AwsSettings) -> Result<DynamoDb, Trouble> {
    let found = Box::pin(find(settings, Environment::of_process()?)).await?;
    Ok(clients(&found, settings))
}

/// Connects to an emulator that takes any credentials, without looking for any: the embedded server of the demo.
pub fn connect_emulator(endpoint_url: &str) -> DynamoDb {
    let any = Credentials::new("local", "local", None, None, "emulator");
    let sdk = SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(emulator_client())
        .region(Region::from_static(EMULATOR_REGION))
        .credentials_provider(SharedCredentialsProvider::new(any))
        .retry_config(retries())
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    let settings = AwsSettings { endpoint_url: Some(endpoint_url.to_owned()), ..AwsSettings::default() };
    let environment = Environment::nothing();
    let region_from = EMULATOR_REGION_FROM.to_owned();
    clients(&Found { sdk, region_from, tables: None, streams: None, environment }, &settings)
}

fn clients(found: &Found, settings: &AwsSettings) -> DynamoDb {
    let mut tables = aws_sdk_dynamodb::config::Builder::from(&found.sdk);
    let mut streams = aws_sdk_dynamodbstreams::config::Builder::from(&found.sdk);
    if let Some(url) = &settings.endpoint_url {
        // For these two services only: a role is still assumed at AWS's own endpoint. Nor may a variable ask for another kind
        // of AWS's endpoints beside it.
        tables = tables.endpoint_url(url).use_fips(false).use_dual_stack(false);
        streams = streams.endpoint_url(url).use_fips(false).use_dual_stack(false);
    }
    let places = Places {
        tables: place(found, settings, found.tables.as_ref()),
        streams: place(found, settings, found.streams.as_ref()),
    };
    DynamoDb {
        tables: aws_sdk_dynamodb::Client::from_conf(tables.build()),
        streams: aws_sdk_dynamodbstreams::Client::from_conf(streams.interceptor(PageInterceptor).build()),
        places: Arc::new(places),
        unknown_event_names: Arc::default(),
    }
}

/// Where a service is looked for: the settings win.
fn place(found: &Found, settings: &AwsSettings, configured: Option<&Endpoint>) -> Place {
    let ours = settings.endpoint_url.clone().map(|url| Endpoint { url, named_by: "`endpoint_url`".into() });
    let endpoint = ours.as_ref().or(configured);
    let proxy = proxy_words(&found.environment, endpoint.map(|endpoint| endpoint.url.as_str()));
    let region = found.sdk.region().map_or("unknown", |region| region.as_ref());
    Place::new((region, found.region_from.as_str()), endpoint, proxy)
}

/// Pinned: a newer SDK must not change time limits or retries behind our back.
fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
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

/// Everything that settings, profiles and variables say, checked.
async fn find(settings: &AwsSettings, environment: Environment) -> Result<Found, Trouble> {
    if let Some(url) = &settings.endpoint_url {
        check_endpoint("`endpoint_url`", url)?;
    }
    let profiles = profiles::load(settings, &environment).await?;
    let environment = environment.beside(settings, &profiles);
    let http = http_client(&environment)?;
    let sdk = Box::pin(loader(settings, &environment.without_machine(), &http).load()).await;
    let tables = configured(&sdk, &environment, TABLES)?;
    let streams = configured(&sdk, &environment, STREAMS)?;
    for service in SERVICES {
        configured(&sdk, &environment, service)?;
    }
    let has_endpoints = settings.endpoint_url.is_some() || (tables.is_some() && streams.is_some());
    let (region, region_from) = match region_of(&sdk) {
        Some(region) => (region, region_from(settings, &environment)),
        // An emulator takes any.
        None if has_endpoints => (Region::from_static(EMULATOR_REGION), EMULATOR_REGION_FROM.to_owned()),
        None => {
            let sdk = Box::pin(loader(settings, &environment, &http).load()).await;
            (region_of(&sdk).ok_or_else(no_region)?, "this machine".to_owned())
        }
    };
    check_region(&region, &region_from)?;
    // It stays, whatever the files say later.
    let fixed = AwsSettings { region: Some(region.to_string()), ..settings.clone() };
    let clock = sdk.time_source().unwrap_or_default();
    let chain_environment = environment.clone();
    let chain = Renewed::new(move || credentials_chain(fixed.clone(), chain_environment.clone(), http.clone()), clock);
    let sdk = sdk.into_builder().region(region).credentials_provider(SharedCredentialsProvider::new(chain)).build();
    Ok(Found { sdk, region_from, tables, streams, environment })
}

fn loader(settings: &AwsSettings, environment: &Environment, http: &SharedHttpClient) -> ConfigLoader {
    let mut loader = aws_config::defaults(behavior_version()).env(environment.to_sdk()).http_client(http.clone());
    loader = loader.retry_config(retries()).timeout_config(timeouts());
    loader = loader.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    loader
}

/// AWS's own chain as the files are now, and the role that is assumed with what it finds.
async fn credentials_chain(
    settings: AwsSettings,
    environment: Environment,
    http: SharedHttpClient,
) -> Option<SharedCredentialsProvider> {
    let sdk = Box::pin(loader(&settings, &environment, &http).load()).await;
    let Some(role) = &settings.role_arn else { return sdk.credentials_provider() };
    let mut provider = AssumeRoleProvider::builder(role).session_name(ROLE_SESSION_NAME).configure(&sdk);
    if let Some(external_id) = &settings.external_id {
        provider = provider.external_id(external_id);
    }
    Some(SharedCredentialsProvider::new(provider.build().await))
}

fn region_of(sdk: &SdkConfig) -> Option<Region> {
    sdk.region().filter(|region| !region.as_ref().is_empty()).cloned()
}

/// Who names the region that was found without asking the machine.
fn region_from(settings: &AwsSettings, environment: &Environment) -> String {
    match (&settings.region, environment.first(REGION)) {
        (Some(_), _) => "`region`".into(),
        (None, Some((variable, _))) => variable.into(),
        (None, None) => "the profile".into(),
    }
}

/// The SDK makes host names and signatures of it.
fn check_region(region: &Region, named_by: &str) -> Result<(), Trouble> {
    let name = region.as_ref();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() <= REGION_BYTES_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    let message = format!("the AWS region that {named_by} names is none: letters, digits and `-` make one");
    Err(Trouble::new(TroubleKind::Config, "aws.bad_region", message).advise("for example eu-west-1"))
}

fn no_region() -> Trouble {
    Trouble::new(TroubleKind::Config, "aws.no_region", "no AWS region is configured").advise(
        "set `region` in the source's settings, or AWS_REGION, or a region in the profile; \
         for an emulator set `endpoint_url`",
    )
}

#[cfg(test)]
mod tests;
