//! The profiles of the AWS configuration files: the one that is used is there.

use std::borrow::Cow;
use std::error::Error as _;

use aws_config::profile::ProfileSet;
use aws_types::os_shim_internal::Fs;
use tailwater_model::{Trouble, TroubleKind};

use crate::connect::AwsSettings;
use crate::environment::Environment;
use crate::errors::bounded;

/// The profile where none is named. It need not be there.
const DEFAULT: &str = "default";
/// Most names of profiles that a message tells.
const TOLD_MAX: usize = 20;
/// Most profiles that may build on one another; who builds on himself ends here.
const CHAIN_MAX: usize = 16;

/// Reads the profiles and selects the one that `settings` name, or AWS_PROFILE.
///
/// # Errors
/// `aws.unknown_profile`: it is not there. `aws.profile_files`: the files cannot be understood. `aws.profile_credentials`: it
/// has no credentials of its own, and takes those of the variables, which do not count beside a profile that is named.
pub(crate) async fn load(settings: &AwsSettings, environment: &Environment) -> Result<ProfileSet, Trouble> {
    let named = settings.profile.clone().map(Cow::Owned);
    let loaded = aws_config::profile::load(&Fs::real(), &environment.to_sdk(), &Default::default(), named).await;
    let profiles = loaded.map_err(|error| {
        let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let message = bounded(&format!("the AWS profile files cannot be understood: {error}{why}"));
        Trouble::new(TroubleKind::Config, "aws.profile_files", message)
            .advise("correct the file; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other ones")
    })?;
    let selected = profiles.selected_profile();
    let need_not_be_there = settings.profile.is_none() && selected == DEFAULT;
    if profiles.get_profile(selected).is_none() && !need_not_be_there {
        return Err(unknown(settings, &profiles));
    }
    if settings.profile.is_some() && draws_on_variables(&profiles) {
        return Err(draws_on_what_does_not_count(selected));
    }
    Ok(profiles)
}

fn unknown(settings: &AwsSettings, profiles: &ProfileSet) -> Trouble {
    let mut names: Vec<&str> = profiles.profiles().collect();
    names.sort_unstable();
    let more = if names.len() > TOLD_MAX { ", …" } else { "" };
    names.truncate(TOLD_MAX);
    let there =
        if names.is_empty() { "there is none at all".into() } else { format!("there are {}{more}", names.join(", ")) };
    let from = if settings.profile.is_some() { "" } else { " that AWS_PROFILE names" };
    let message = bounded(&format!("the AWS profile {:?}{from} does not exist: {there}", profiles.selected_profile()));
    Trouble::new(TroubleKind::Config, "aws.unknown_profile", message)
        .advise("correct its name, or add it to ~/.aws/config (AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files)")
}

/// Whether the first credentials of the selected profile are those of the variables.
fn draws_on_variables(profiles: &ProfileSet) -> bool {
    let mut profile = profiles.get_profile(profiles.selected_profile());
    for _ in 0..CHAIN_MAX {
        let Some(current) = profile else { return false };
        if current.get("credential_source").is_some_and(|source| source.eq_ignore_ascii_case("environment")) {
            return true;
        }
        profile = current.get("source_profile").and_then(|name| profiles.get_profile(name));
    }
    false
}

fn draws_on_what_does_not_count(profile: &str) -> Trouble {
    let message = format!(
        "the AWS profile {profile:?} takes its credentials from the environment (`credential_source = Environment`), and where \
         a profile is named, those of the environment do not count"
    );
    Trouble::new(TroubleKind::Config, "aws.profile_credentials", message).advise(
        "name the role itself with `role_arn` in [source.aws] in place of the profile, or a profile with credentials of its own",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    const FILE: &str = "\
[profile prod]
region = eu-west-1
[profile dev]
region = eu-west-2
[profile role]
role_arn = arn:aws:iam::1:role/x
credential_source = Environment
[profile on-role]
role_arn = arn:aws:iam::1:role/y
source_profile = role
[profile loop]
source_profile = loop
";

    async fn load_from(text: &str, profile: Option<&str>, variable: &str) -> Result<ProfileSet, Trouble> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("writes");
        let path = file.path().to_str().expect("text");
        // In place of the user's own.
        let none = "/nowhere/credentials";
        let variables = [("AWS_CONFIG_FILE", path), ("AWS_SHARED_CREDENTIALS_FILE", none), ("AWS_PROFILE", variable)];
        let settings = AwsSettings { profile: profile.map(str::to_owned), ..AwsSettings::default() };
        load(&settings, &environment(&variables).expect("fine")).await
    }

    #[tokio::test]
    async fn a_profile_that_is_not_there_is_told_with_those_that_are() {
        for (profile, variable, said) in [
            (Some("pord"), "prod", "\"pord\" does not exist: there are dev, loop, on-role, prod, role"),
            (None, "pord", "\"pord\" that AWS_PROFILE names does not exist: there are dev"),
            (Some("default"), "", "\"default\" does not exist"),
        ] {
            let trouble = load_from(FILE, profile, variable).await.map(drop).expect_err("is not there");
            assert_eq!(trouble.code, "aws.unknown_profile");
            assert!(trouble.message.contains(said), "{}", trouble.message);
        }
        let none = load_from("", Some("prod"), "").await.map(drop).expect_err("is not there");
        assert!(none.message.contains("there is none at all"), "{}", none.message);
    }

    #[tokio::test]
    async fn a_profile_that_is_there_is_selected() {
        for (profile, variable, selected) in
            [(Some("prod"), "dev", "prod"), (None, "dev", "dev"), (None, "", "default"), (Some("loop"), "", "loop")]
        {
            let profiles = load_from(FILE, profile, variable).await.expect("is there");
            assert_eq!(profiles.selected_profile(), selected);
        }
    }

    #[tokio::test]
    async fn a_named_profile_without_credentials_of_its_own_is_refused() {
        for profile in ["role", "on-role"] {
            let trouble = load_from(FILE, Some(profile), "").await.map(drop).expect_err("is refused");
            assert_eq!(trouble.code, "aws.profile_credentials");
            // By AWS_PROFILE it is as AWS's tools have it.
            assert!(load_from(FILE, None, profile).await.is_ok());
        }
    }

    #[tokio::test]
    async fn what_a_named_profile_says_is_not_replaced() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let all = environment(&variables).expect("fine");
        let settings = AwsSettings { profile: Some("prod".into()), ..AwsSettings::default() };
        let left = all.beside(&settings, &load_from(FILE, Some("prod"), "").await.expect("is there"));
        let is_left = variables.map(|(name, _)| left.get(name).is_some());
        assert_eq!(is_left, [false, false, true, true], "it names a region and no endpoint");
        let left = all.beside(&AwsSettings::default(), &load_from(FILE, None, "prod").await.expect("is there"));
        assert!(variables.iter().all(|(name, _)| left.get(name).is_some()), "a variable names the profile");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_understood_is_told() {
        let trouble = load_from("[profile x\nregion", None, "").await.map(drop).expect_err("is refused");
        assert_eq!(trouble.code, "aws.profile_files");
        assert!(trouble.message.contains("line 1") && !trouble.message.contains('\n'), "{}", trouble.message);
    }
}
