//! The variables that AWS's tools read: taken once, and checked before the SDK sees them. It panics on some values that a
//! variable can have, and takes an empty one for given.

use std::collections::BTreeMap;
use std::ffi::OsString;

use aws_config::profile::ProfileSet;
use aws_types::os_shim_internal::Env;
use tailwater_model::{Trouble, TroubleKind};

use crate::connect::AwsSettings;
use crate::endpoint::{SERVICES, check_endpoint, variable_of};

/// What the names of AWS's own variables begin with.
const OF_AWS: &str = "AWS_";
/// Names of other variables that the SDK, or our way to AWS, goes by.
const OTHERS: [&str; 12] = [
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SECRET_ACCESS_KEY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// What AWS's tools would take in place of a profile's own credentials.
const CREDENTIALS: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "SECRET_ACCESS_KEY",
];
/// The variables of the region; the first one wins.
pub(crate) const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// These go into headers of requests.
const IN_HEADERS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_REGION",
    "AWS_SESSION_TOKEN",
];
/// Where the SDK looks for credentials and the region of a machine.
const MACHINE_ENDPOINTS: [&str; 2] = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// The variables that count, by name: none is empty, and none has a value that the SDK cannot bear. Has no `Debug`: some are
/// secrets.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// `aws.bad_variable` and `aws.bad_endpoint`, with the variable's name and never its value.
    pub(crate) fn of_process() -> Result<Self, Trouble> {
        Self::of(std::env::vars_os())
    }

    /// Without any variable.
    pub(crate) fn nothing() -> Self {
        Self { variables: BTreeMap::new() }
    }

    /// Of all these variables those that count.
    pub(crate) fn of(all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Trouble> {
        let mut variables = BTreeMap::new();
        for (name, value) in all {
            let Ok(name) = name.into_string() else { continue };
            if !name.starts_with(OF_AWS) && !OTHERS.contains(&name.as_str()) {
                continue;
            }
            let value = value.into_string().map_err(|_| bad_variable(&name, "is no UTF-8"))?;
            // An empty variable is one that is not set.
            if !value.trim().is_empty() {
                check(&name, &value)?;
                variables.insert(name, value);
            }
        }
        Ok(Self { variables })
    }

    /// A variable that is set, and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The first of these that is set, with its name.
    pub(crate) fn first<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<(&'n str, &str)> {
        names.into_iter().find_map(|name| self.get(name).map(|value| (name, value)))
    }

    /// What is left beside the profile that `settings` name, which wins: its own credentials, region and endpoints are
    /// not replaced by those of a variable.
    pub(crate) fn beside(&self, settings: &AwsSettings, profiles: &ProfileSet) -> Self {
        let named = settings.profile.as_deref().and_then(|name| profiles.get_profile(name));
        let Some(profile) = named else { return self.clone() };
        let has = |key: &str| profile.get(key).is_some();
        let (has_region, has_endpoints) = (has("region"), has("endpoint_url") || has("services"));
        let is_left = |name: &str| {
            let is_replaced = CREDENTIALS.contains(&name)
                || (has_region && REGION.contains(&name))
                || (has_endpoints && name.starts_with(variable_of(None).as_str()));
            !is_replaced
        };
        let left = self.variables.iter().filter(|(name, _)| is_left(name));
        Self { variables: left.map(|(name, value)| (name.clone(), value.clone())).collect() }
    }

    /// The same without the metadata service of the machine, which is perhaps not in AWS at all.
    pub(crate) fn without_machine(&self) -> Self {
        let mut left = self.clone();
        left.variables.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        left
    }

    /// The same for the SDK, which then sees no other variable.
    pub(crate) fn to_sdk(&self) -> Env {
        let pairs: Vec<_> = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Env::from_slice(&pairs)
    }
}

/// Trouble with a variable. Never holds its value, which may be a secret.
pub(crate) fn bad_variable(name: &str, what: &str) -> Trouble {
    Trouble::new(TroubleKind::Config, "aws.bad_variable", format!("the environment variable {name} {what}"))
        .advise(format!("correct {name}, or unset it"))
}

/// Whether a text may stand in a header of HTTP.
pub(crate) fn fits_a_header(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn check(name: &str, value: &str) -> Result<(), Trouble> {
    if value.chars().any(char::is_control) {
        let what = "holds a line break or another control character; a secret that was made with `echo` ends with one";
        return Err(bad_variable(name, what));
    }
    if IN_HEADERS.contains(&name) && !fits_a_header(value) {
        return Err(bad_variable(name, "holds a character that no header of HTTP can have"));
    }
    let names_endpoint = name == variable_of(None)
        || SERVICES.iter().any(|service| name == variable_of(Some(service)))
        || MACHINE_ENDPOINTS.contains(&name);
    if names_endpoint { check_endpoint(name, value) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    /// These variables, and no other ones.
    pub(crate) fn environment(variables: &[(&str, &str)]) -> Result<Environment, Trouble> {
        Environment::of(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn an_empty_variable_is_not_given() {
        let given = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", " ")];
        let environment = environment(&given).expect("fine");
        assert_eq!(environment.first(REGION), Some(("AWS_DEFAULT_REGION", "eu-west-1")));
        assert_eq!(environment.get("AWS_ENDPOINT_URL"), None);
        assert!(environment.to_sdk().get("AWS_REGION").is_err());
    }

    #[test]
    fn a_value_that_the_sdk_cannot_bear_is_told_by_name_alone() {
        for (name, value, code) in [
            ("AWS_ACCESS_KEY_ID", "canary\n", "aws.bad_variable"),
            ("AWS_ACCESS_KEY_ID", "canaryé", "aws.bad_variable"),
            ("AWS_SECRET_ACCESS_KEY", "canary\r\n", "aws.bad_variable"),
            ("AWS_SESSION_TOKEN", "canary\u{7f}", "aws.bad_variable"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary→", "aws.bad_variable"),
            ("AWS_EXECUTION_ENV", "canary\u{e9}", "aws.bad_variable"),
            ("AWS_PROFILE", "can\tary", "aws.bad_variable"),
            ("AWS_ENDPOINT_URL", "canary", "aws.bad_endpoint"),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "canary:8000", "aws.bad_endpoint"),
            ("AWS_ENDPOINT_URL_STS", "http://", "aws.bad_endpoint"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "canary", "aws.bad_endpoint"),
        ] {
            let trouble = environment(&[(name, value)]).err().unwrap_or_else(|| panic!("{name}={value:?} was taken"));
            assert_eq!((trouble.code, trouble.kind), (code, TroubleKind::Config), "{name}={value:?}");
            let told = format!("{trouble:?}");
            assert!(told.contains(name) && !told.contains("canary"), "{told}");
        }
        let no_text = OsString::from_vec(vec![0xff]);
        assert!(Environment::of([("AWS_REGION".into(), no_text.clone())]).is_err());
        // What nobody here reads is nobody's business.
        assert!(Environment::of([("LS_COLORS".into(), no_text)]).is_ok());
        assert!(environment(&[("AWS_ENDPOINT_URL_S3", "canary"), ("AWS_CONFIG_FILE", "/srv/é/config")]).is_ok());
    }
}
