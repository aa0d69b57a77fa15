//! `[source]`.

use tailwater_source_dynamodb::{AwsSettings, OnGap, StartAt};
use url::{Host, Url};

use crate::configuration::limits::{POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, VISIBLE_WITHIN};
use crate::configuration::report::Report;
use crate::configuration::section::{Section, Text};
use crate::configuration::spec::SourceSpec;

const STARTS: [(&str, StartAt); 2] = [("trim-horizon", StartAt::TrimHorizon), ("latest", StartAt::Latest)];
const GAP_POLICIES: [(&str, OnGap); 2] = [("stop", OnGap::Stop), ("continue", OnGap::Continue)];

/// Reads `[source]`. Nothing when the table is missing.
pub fn read(mut section: Section<'_>, report: &mut Report<'_>) -> Option<SourceSpec> {
    let table = section.required_text("table", "give the name of the DynamoDB table: table = \"orders\"", report);
    let table = table.filter(|table| is_table_name(table, report));
    let stream_arn = section.text("stream_arn", report);
    if let (Some(table), Some(arn)) = (&table, &stream_arn) {
        check_stream_arn(&table.value.text, arn, report);
    }
    let start = section.choice("start", &STARTS, report).unwrap_or(StartAt::TrimHorizon);
    let on_gap = section.choice("on_gap", &GAP_POLICIES, report).unwrap_or(OnGap::Stop);
    let aws = read_aws(section.section("aws", report), report);
    let mut poll = section.section("poll", report);
    let poll_interval_min = poll.duration("interval_min", POLL_INTERVAL_MIN, report);
    let poll_interval_max = poll.duration("interval_max", POLL_INTERVAL_MAX, report);
    let visible_within = poll.duration("visible_within", VISIBLE_WITHIN, report);
    if poll_interval_min > poll_interval_max {
        report.fault(
            &poll.place_of("interval_min"),
            "config.conflict",
            "`interval_min` is longer than `interval_max`",
            Some("lower `interval_min` or raise `interval_max`".into()),
        );
    }
    poll.finish(report);
    section.finish(report);
    Some(SourceSpec {
        table: table?.value.text,
        stream_arn: stream_arn.map(|arn| arn.value.text),
        start,
        on_gap,
        aws,
        poll_interval_min,
        poll_interval_max,
        visible_within,
    })
}

/// DynamoDB Developer Guide, "Naming rules": 3 to 255 characters.
fn is_table_name(table: &Text, report: &mut Report<'_>) -> bool {
    let name = &table.value.text;
    let fine = (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if !fine {
        let message = "not a table name: 3 to 255 letters, digits, `_`, `-` and `.`";
        report.fault(
            &table.place,
            "config.bad_value",
            message,
            Some("give the name, not the ARN, of the table".into()),
        );
    }
    fine
}

fn check_stream_arn(table: &str, arn: &Text, report: &mut Report<'_>) {
    let text = &arn.value.text;
    if !text.starts_with("arn:") || !text.contains(":table/") || !text.contains("/stream/") {
        let message = "not the ARN of a stream: arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/TIME";
        let suggestion = "leave it out to read the stream that is on now".to_owned();
        report.fault(&arn.place, "config.bad_value", message, Some(suggestion));
    } else if !text.contains(&format!(":table/{table}/stream/")) {
        let message = "the ARN is that of a stream of another table than `source.table`";
        report.fault(&arn.place, "config.conflict", message, Some("progress belongs to one table".into()));
    }
}

fn read_aws(mut section: Section<'_>, report: &mut Report<'_>) -> AwsSettings {
    let mut text = |key: &'static str| section.text(key, report);
    let (region, endpoint_url, profile) = (text("region"), text("endpoint_url"), text("profile"));
    let (role_arn, external_id) = (text("role_arn"), text("external_id"));
    for value in [&region, &profile, &role_arn, &external_id].into_iter().flatten() {
        if value.value.text.is_empty() {
            report.fault(&value.place, "config.bad_value", "empty", Some("leave it out to use AWS's default".into()));
        }
    }
    if let Some(endpoint) = &endpoint_url {
        check_endpoint(endpoint, report);
    }
    if let (None, Some(external_id)) = (&role_arn, &external_id) {
        let message = "`external_id` means nothing without `role_arn`";
        report.fault(&external_id.place, "config.conflict", message, Some("add the `role_arn` to assume".into()));
    }
    section.finish(report);
    let own = |text: Option<Text>| text.map(|text| text.value.text);
    AwsSettings {
        region: own(region),
        endpoint_url: own(endpoint_url),
        profile: own(profile),
        role_arn: own(role_arn),
        external_id: own(external_id),
    }
}

fn check_endpoint(endpoint: &Text, report: &mut Report<'_>) {
    let text = &endpoint.value.text;
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // The parser passes over spaces, and the SDK does not.
    let url = url.filter(|_| !text.contains(char::is_whitespace));
    let Some(url) = url else {
        let suggestion = "for example \"http://127.0.0.1:8000\" for DynamoDB Local".to_owned();
        report.fault(&endpoint.place, "config.bad_value", "not an http or https URL", Some(suggestion));
        return;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        let message = "items travel unencrypted to an http endpoint on another host";
        report.warn(&endpoint.place, "config.plain_http", message, Some("use https where the endpoint has it".into()));
    }
}
