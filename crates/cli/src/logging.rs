//! What is said on stderr: log lines, and why a command failed. A thread of its own writes it, so that nothing waits for
//! whoever reads it.

mod queue;

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::arguments::LogFormat;
use queue::LogQueue;

/// The environment variable that holds the filter.
const FILTER_VARIABLE: &str = "TAILWATER_LOG";

/// The way to stderr. What was said is written when it is dropped, as far as somebody reads it.
pub struct Log {
    /// Nothing where the operating system refused the thread: then whoever says something writes it.
    queue: Option<LogQueue>,
}

impl Log {
    fn new() -> Self {
        let tell = |dropped| tracing::warn!("{dropped} log lines were dropped so far, because nobody read them");
        Self { queue: LogQueue::start(io::stderr(), tell).ok() }
    }

    /// Says this text, behind the lines that were logged before it.
    pub fn say(&self, text: &str) {
        let _ = match &self.queue {
            Some(queue) => queue.clone().write_all(text.as_bytes()),
            None => io::stderr().write_all(text.as_bytes()),
        };
    }

    fn writer(&self) -> BoxMakeWriter {
        match self.queue.clone() {
            Some(queue) => BoxMakeWriter::new(move || queue.clone()),
            None => BoxMakeWriter::new(io::stderr),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.iter().for_each(LogQueue::wait_until_written);
    }
}

/// Begins to log. A filter that cannot be understood is said and replaced by the default.
pub fn start(format: LogFormat, logs_progress: bool) -> Log {
    let log = Log::new();
    // The libraries below say at `info` what no user asked for, and `aws_config` says at `warn`, at length, what our own
    // message about credentials says in a line.
    let default = if logs_progress { "warn,aws_config=error,tailwater=info" } else { "warn,aws_config=error" };
    let asked = std::env::var_os(FILTER_VARIABLE).filter(|filter| !filter.is_empty());
    let parsed = asked.map(|filter| filter.to_str().and_then(parse));
    let refused = matches!(parsed, Some(None));
    let filter = parsed.flatten().unwrap_or_else(|| EnvFilter::new(default));
    let terminal = io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.writer());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Auto if !terminal => lines.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Auto | LogFormat::Pretty => lines.with_ansi(colours).with_target(false).init(),
    }
    if refused {
        tracing::warn!(
            default,
            "{FILTER_VARIABLE} is not a log filter; the default is used. Write a level (error, warn, info, debug, trace, off) or \
             TARGET=LEVEL, more than one with commas between"
        );
    }
    log
}

/// The filter. A word alone is taken for a level: as the name of a target, which it may be in the language of filters, it would
/// silence everything else.
fn parse(text: &str) -> Option<EnvFilter> {
    let is_clear = |part: &str| part.contains(['=', '[', ']', '}']) || LevelFilter::from_str(part.trim()).is_ok();
    if text.split(',').all(is_clear) { EnvFilter::try_new(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels() {
        for fine in
            ["debug", "INFO", "off", "info,tailwater=trace", "warn,tailwater_pipeline=debug", "[run{pipeline=a}]=debug"]
        {
            assert!(parse(fine).is_some(), "{fine}");
        }
        for unclear in ["verbose", "tailwater", "info,verbose", "tailwater=verbose", "debug;info"] {
            assert!(parse(unclear).is_none(), "{unclear}");
        }
    }
}
