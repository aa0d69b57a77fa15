//! Bearer tokens for Amazon MSK with IAM: a signed request to connect, which the broker sends on to AWS.
//!
//! The form is that of AWS's own signers (github.com/aws/aws-msk-iam-sasl-signer-python). The crate `aws-msk-iam-sasl-signer`
//! is not used: with it come a second TLS library, AWS-LC, and chrono.

use std::time::{Duration, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use rdkafka::client::OAuthToken;
use url::Url;

/// How long a token is good for; MSK takes no more.
const TOKEN_LIFETIME: Duration = Duration::from_secs(900);
/// How long finding credentials may take: librdkafka is not served meanwhile.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(20);
/// The service that the signature is for.
const SERVICE: &str = "kafka-cluster";
/// What the signed request asks for.
const ACTION: (&str, &str) = ("Action", "kafka-cluster:Connect");
/// Who asks; it is added after signing.
const USER_AGENT: (&str, &str) = ("User-Agent", concat!("tailwater/", env!("CARGO_PKG_VERSION")));
/// librdkafka only logs it; the broker knows us by the signature.
const PRINCIPAL: &str = "aws-iam";

/// A token signed with the credentials of AWS's default chain.
///
/// Blocks. Made on a thread of its own: librdkafka calls back on any thread, also on one where no future may be waited for.
///
/// # Errors
/// In words, for librdkafka to hand back as the reason of a failed login.
pub(crate) fn fetch_token(region: &str, now: Timestamp) -> Result<OAuthToken, String> {
    let fetched = std::thread::scope(|scope| scope.spawn(|| find_credentials(region)).join());
    let credentials = fetched.map_err(|_| "finding AWS credentials panicked".to_owned())??;
    sign_token(region, &credentials, now)
}

fn find_credentials(region: &str) -> Result<Credentials, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("finding AWS credentials cannot begin: {error}"))?;
    runtime.block_on(async {
        let found = tokio::time::timeout(CREDENTIALS_WITHIN, Box::pin(load(region.to_owned()))).await;
        found.unwrap_or_else(|_| Err(format!("no AWS credentials within {} s", CREDENTIALS_WITHIN.as_secs())))
    })
}

async fn load(region: String) -> Result<Credentials, String> {
    // The same TLS as everywhere else in Tailwater.
    let provider = Provider::Rustls(CryptoMode::Ring);
    let http_client = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client);
    let sdk = loader.region(Region::new(region)).load().await;
    let chain = sdk.credentials_provider().ok_or_else(|| "AWS's chain of credentials is empty".to_owned())?;
    chain.provide_credentials().await.map_err(|error| {
        // Its source says where was looked, and no secret.
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("no AWS credentials: {error}{source}")
    })
}

/// The signed request as text that fits where a bearer token is expected.
fn sign_token(region: &str, credentials: &Credentials, now: Timestamp) -> Result<OAuthToken, String> {
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let failed = |why: String| format!("a token for Amazon MSK cannot be signed: {why}");
    let mut url = Url::parse(&format!("https://kafka.{region}.amazonaws.com/"))
        .map_err(|error| failed(format!("the region {region} makes no address: {error}")))?;
    url.query_pairs_mut().append_pair(ACTION.0, ACTION.1);

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(TOKEN_LIFETIME);
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(UNIX_EPOCH + Duration::from_millis(now_ms))
        .settings(settings)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| failed(error.to_string()))?;
    let signed = sign(request, &parameters.into()).map_err(|error| failed(error.to_string()))?;
    let (instructions, _signature) = signed.into_parts();
    url.query_pairs_mut().extend_pairs(instructions.params()).append_pair(USER_AGENT.0, USER_AGENT.1);

    // The token is good for no longer than what signed it.
    let signed_until =
        i64::try_from(TOKEN_LIFETIME.as_millis()).unwrap_or(i64::MAX).saturating_add(now.as_millisecond());
    let credentials_until = credentials.expiry().and_then(|expiry| Timestamp::try_from(expiry).ok());
    let lifetime_ms = credentials_until.map_or(signed_until, |until| until.as_millisecond().min(signed_until));
    let token = BASE64URL_NOPAD.encode(url.as_str().as_bytes());
    Ok(OAuthToken { token, principal_name: PRINCIPAL.to_owned(), lifetime_ms })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// 2026-01-02T03:04:05.678Z.
    const NOW_MS: i64 = 1_767_323_045_678;

    fn now() -> Timestamp {
        Timestamp::from_millisecond(NOW_MS).expect("a time")
    }

    fn decoded(token: &OAuthToken) -> Url {
        let bytes = BASE64URL_NOPAD.decode(token.token.as_bytes()).expect("base64url without padding");
        Url::parse(std::str::from_utf8(&bytes).expect("text")).expect("a URL")
    }

    #[test]
    fn a_token_is_a_signed_request_to_connect() {
        let credentials = Credentials::new("AKIDEXAMPLE", "canary", Some("session".into()), None, "test");
        let token = sign_token("eu-west-1", &credentials, now()).expect("signs");
        let url = decoded(&token);
        assert_eq!((url.scheme(), url.host_str(), url.path()), ("https", Some("kafka.eu-west-1.amazonaws.com"), "/"));
        let pairs: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, value) in [
            ("Action", "kafka-cluster:Connect"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "AKIDEXAMPLE/20260102/eu-west-1/kafka-cluster/aws4_request"),
            ("X-Amz-Date", "20260102T030405Z"),
            ("X-Amz-Expires", "900"),
            ("X-Amz-Security-Token", "session"),
            ("X-Amz-SignedHeaders", "host"),
        ] {
            assert_eq!(pairs.get(name).map(String::as_str), Some(value), "{name} in {url}");
        }
        // Computed apart from this code, by the steps of AWS's description of Signature Version 4.
        let signature = "94320a62889e4e9407eafb5c643cc517c101263a3acb5e981f2bed52e71bea7c";
        assert_eq!(pairs.get("X-Amz-Signature").map(String::as_str), Some(signature), "{url}");
        assert!(pairs.get("User-Agent").is_some_and(|agent| agent.starts_with("tailwater/")));
        assert_eq!(token.lifetime_ms, NOW_MS + 900_000);
        assert!(!url.as_str().contains("canary"));
    }

    #[test]
    fn a_token_expires_with_the_credentials() {
        let expiry = UNIX_EPOCH + Duration::from_millis(NOW_MS.unsigned_abs() + 60_000);
        let credentials = Credentials::new("AKIDEXAMPLE", "canary", None, Some(expiry), "test");
        let token = sign_token("eu-west-1", &credentials, now()).expect("signs");
        assert_eq!(token.lifetime_ms, NOW_MS + 60_000);
        assert!(!decoded(&token).as_str().contains("X-Amz-Security-Token"));
    }

    #[test]
    fn a_region_that_is_none_is_told() {
        let credentials = Credentials::new("AKIDEXAMPLE", "canary", None, None, "test");
        let why = sign_token("eu west\u{0}/", &credentials, now()).err().expect("is refused");
        assert!(why.contains("region") && !why.contains("canary"), "{why}");
    }
}
