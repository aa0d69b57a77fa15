//! How to reach AWS, typed on the command line; shared by the commands that take a table's name in place of a file.

use std::time::Duration;

use clap::Args;
use tailwater_source_dynamodb::AwsSettings;

use crate::configuration::parse_duration;

/// Where the table is. What is left out comes from the environment, as for every AWS tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct AwsArguments {
    /// The region, for example eu-west-1
    #[arg(long)]
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for example http://127.0.0.1:8000 for DynamoDB Local
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long)]
    pub profile: Option<String>,
}

impl AwsArguments {
    /// The same for the source.
    pub fn settings(&self) -> AwsSettings {
        AwsSettings {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            profile: self.profile.clone(),
            ..AwsSettings::default()
        }
    }
}

/// Reads a duration as people write it: `10s`, `5m`, `1h 30m`. A number alone is refused: nobody knows its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "expected a duration above zero, such as 10s, 5m or 1h 30m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "10", "0s", "-3s", "soon", "1y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
