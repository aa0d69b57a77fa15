//! Endpoints: which one a service is asked at, who named it, and how it is told to people.

use std::fmt;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use tailwater_model::{Trouble, TroubleKind};
use url::Url;

use crate::environment::Environment;

/// The services that are asked, by the names that the SDK looks them up with; the last three for credentials.
pub(crate) const SERVICES: [&str; 5] = [TABLES, STREAMS, "STS", "SSO", "SSO OIDC"];
/// The service of tables.
pub(crate) const TABLES: &str = "DynamoDB";
/// The service of their streams.
pub(crate) const STREAMS: &str = "DynamoDB Streams";

/// Another endpoint than AWS's own.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// The variable or the key that names it.
    pub(crate) named_by: String,
}

/// Where a service is looked for, in words: the region, the endpoint, and who named them. Without credentials that somebody
/// may have put into the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    words: String,
    /// The proxy on the way, if there may be one.
    proxy: Option<String>,
}

/// The variable that names the endpoint of a service, or of all.
pub(crate) fn variable_of(service: Option<&str>) -> String {
    match service {
        None => "AWS_ENDPOINT_URL".into(),
        Some(service) => format!("AWS_ENDPOINT_URL_{}", service.to_uppercase().replace(' ', "_")),
    }
}

/// The endpoint of a service by the variables and the profile, as its client finds it.
///
/// # Errors
/// `aws.bad_endpoint`: it is no URL, of which the SDK makes a panic, or asks in vain.
pub(crate) fn configured(
    sdk: &SdkConfig,
    environment: &Environment,
    service: &str,
) -> Result<Option<Endpoint>, Trouble> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let found = sdk.service_config().and_then(|config| config.load_config(key.ok()?));
    let Some(url) = found else { return Ok(None) };
    let variables = [variable_of(Some(service)), variable_of(None)];
    let variable = environment.first(variables.iter().map(String::as_str));
    let named_by = variable.map_or("`endpoint_url` of the profile", |(name, _)| name).to_owned();
    check_endpoint(&named_by, &url)?;
    Ok(Some(Endpoint { url, named_by }))
}

/// Whether this is a URL that can be asked.
///
/// # Errors
/// `aws.bad_endpoint`: it is none.
pub(crate) fn check_endpoint(named_by: &str, url: &str) -> Result<(), Trouble> {
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

impl Place {
    /// The region and the endpoint of a service. `proxy` says which proxy may be on the way there.
    pub(crate) fn new((region, named_by): (&str, &str), endpoint: Option<&Endpoint>, proxy: Option<String>) -> Self {
        let words = match endpoint {
            None => format!("region {region} (from {named_by})"),
            Some(Endpoint { url, named_by }) => format!("region {region} at {} (from {named_by})", address(url)),
        };
        Self { words, proxy }
    }

    /// The same with the proxy on the way, for where nothing came back.
    pub(crate) fn with_way(&self) -> String {
        match &self.proxy {
            None => self.words.clone(),
            Some(proxy) => format!("{}, where {proxy}", self.words),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.words)
    }
}

/// Scheme, host and port of a URL, without the credentials that it may hold.
pub(crate) fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_names_region_and_endpoint_without_secrets() {
        let region = ("eu-west-1", "AWS_REGION");
        assert_eq!(Place::new(region, None, None).to_string(), "region eu-west-1 (from AWS_REGION)");
        let endpoint = Endpoint {
            url: "http://me:secret@127.0.0.1:28000/x?token=y".into(),
            named_by: "AWS_ENDPOINT_URL_DYNAMODB".into(),
        };
        let place = Place::new(region, Some(&endpoint), Some("HTTP_PROXY names http://proxy".into()));
        let words = "region eu-west-1 at http://127.0.0.1:28000 (from AWS_ENDPOINT_URL_DYNAMODB)";
        assert_eq!(place.to_string(), words);
        assert_eq!(place.with_way(), format!("{words}, where HTTP_PROXY names http://proxy"));
    }

    #[test]
    fn each_service_has_a_variable_of_its_own() {
        let names = [None, Some(TABLES), Some(STREAMS), Some("SSO OIDC")].map(variable_of);
        let of = "AWS_ENDPOINT_URL";
        assert_eq!(
            names,
            [of.to_owned(), format!("{of}_DYNAMODB"), format!("{of}_DYNAMODB_STREAMS"), format!("{of}_SSO_OIDC")]
        );
    }
}
