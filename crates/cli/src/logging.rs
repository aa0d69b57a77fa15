//! Log lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// The environment variable that holds the filter.
const FILTER_VARIABLE: &str = "TAILWATER_LOG";

/// Begins to log. A filter that cannot be understood is said and replaced by the default.
pub fn start(format: LogFormat, logs_progress: bool) {
    // The libraries below say at `info` what no user asked for, and `aws_config` says at `warn`, at length, what our own
    // message about credentials says in a line.
    let default = if logs_progress { "warn,aws_config=error,tailwater=info" } else { "warn,aws_config=error" };
    let asked = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let refused = matches!(parsed, Some(Err(_)));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(default));
    let terminal = std::io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Auto if !terminal => lines.json().flatten_event(true).init(),
        LogFormat::Auto | LogFormat::Pretty => lines.with_ansi(colours).with_target(false).init(),
    }
    if refused {
        tracing::warn!(default, "{FILTER_VARIABLE} is not a log filter; the default is used");
    }
}
