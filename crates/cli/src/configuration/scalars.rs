//! Durations and sizes as people write them, with their bounds.

use std::time::Duration;

use bytesize::ByteSize;

/// The default of a setting and the range that is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<T> {
    /// Taken when the file is silent.
    pub default: T,
    /// Least value that is accepted.
    pub min: T,
    /// Greatest value that is accepted.
    pub max: T,
}

/// Reads a duration such as `500ms`, `30s` or `1h 30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let duration: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(duration).ok()
}

/// Reads a size such as `16MiB` or `64kB`. A number without a unit is no size.
pub fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    usize::try_from(text.parse::<ByteSize>().ok()?.as_u64()).ok()
}

/// A duration as it would be written in a pipeline file.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".into(),
        _ if milliseconds.is_multiple_of(3_600_000) => format!("{}h", milliseconds / 3_600_000),
        _ if milliseconds.is_multiple_of(60_000) => format!("{}m", milliseconds / 60_000),
        _ if milliseconds.is_multiple_of(1_000) => format!("{}s", milliseconds / 1_000),
        _ => format!("{milliseconds}ms"),
    }
}

/// A size as it would be written in a pipeline file.
pub fn show_bytes(bytes: usize) -> String {
    const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    UNITS
        .into_iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, milliseconds) in
            [("500ms", 500), ("1s", 1_000), (" 1.5s ", 1_500), ("2m", 120_000), ("1h 30m", 5_400_000), ("PT5S", 5_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "-1s", "soon", "1 month", "9999999999999999999h", "1s1"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, bytes) in [("1B", 1), ("64kB", 64_000), ("16MiB", 16 << 20), ("1.5 KiB", 1_536)] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "5", "-1MiB", "MiB", "1QiB", "lots"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for milliseconds in [0, 1, 999, 1_000, 61_000, 120_000, 7_200_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [1, 1_000, 1 << 10, 3 << 20, 5 << 30] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Some(bytes));
        }
    }
}
