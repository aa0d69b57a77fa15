//! `brokers`.

use std::net::Ipv6Addr;

use crate::configuration::report::{Place, Report};
use crate::configuration::section::Section;

/// The port of Kafka's own examples, and librdkafka's default.
const PORT_DEFAULT: u16 = 9092;

/// Some brokers of the cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Brokers {
    /// `HOST:PORT,HOST:PORT`.
    pub list: String,
    /// Where they stand in the file.
    pub place: Place,
}

/// Reads the list. Nothing when it is faulty.
pub fn read(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Brokers> {
    let advice = "name some brokers of the cluster: brokers = \"kafka-1.example.org:9092,kafka-2.example.org:9092\"";
    let text = section.required_text("brokers", advice, report)?;
    let mut brokers = Vec::new();
    for (index, broker) in text.value.text.split(',').enumerate() {
        match parse(broker.trim()) {
            Ok(broker) => brokers.push(broker),
            Err(Malformed { what, suggestion }) => {
                let message = format!("broker {} of the list {what}", index + 1);
                report.fault(&text.place, "config.bad_value", message, Some(suggestion.to_owned()));
            }
        }
    }
    let complete = brokers.len() == text.value.text.split(',').count();
    let list: Vec<_> = brokers.iter().map(|broker| format!("{}:{}", broker.host, broker.port)).collect();
    complete.then(|| Brokers { list: list.join(","), place: text.place })
}

struct Broker<'a> {
    /// With the brackets of an IPv6 address.
    host: &'a str,
    port: u16,
}

#[derive(Debug)]
struct Malformed {
    what: &'static str,
    suggestion: &'static str,
}

fn parse(text: &str) -> Result<Broker<'_>, Malformed> {
    if text.contains("://") {
        let suggestion = "write HOST:PORT alone; encryption is the key `tls`, user and password are the key `sasl`";
        return Err(Malformed { what: "has a scheme", suggestion });
    }
    let malformed = Malformed {
        what: "is not HOST:PORT",
        suggestion: "for example \"kafka-1.example.org:9092,kafka-2.example.org:9092\"",
    };
    // The colons of an IPv6 address are inside its brackets.
    let host_end = text.rfind(']').map_or_else(|| text.find(':').unwrap_or(text.len()), |bracket| bracket + 1);
    let (host, port) = text.split_at(host_end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(PORT_DEFAULT),
        // `parse` alone would take a sign, too.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0)
        }
        _ => None,
    };
    match port {
        Some(port) if is_host(host) => Ok(Broker { host, port }),
        _ => Err(malformed),
    }
}

fn is_host(host: &str) -> bool {
    match bracketed(host) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(fits)
        }
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, host, port) in [
            ("kafka", "kafka", 9092),
            ("kafka-1.example.org:9093", "kafka-1.example.org", 9093),
            ("127.0.0.1:29092", "127.0.0.1", 29092),
            ("localhost", "localhost", 9092),
            ("[::1]:9092", "[::1]", 9092),
            ("[2001:db8::1]", "[2001:db8::1]", 9092),
        ] {
            let broker = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert_eq!((broker.host, broker.port), (host, port), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":9092",
            "kafka:",
            "kafka:0",
            "kafka:65536",
            "kafka:+1",
            "kafka:9092:9093",
            "a b:1",
            "u:p@kafka:1",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]9092",
            "kafka/topic",
        ] {
            assert!(parse(text).is_err_and(|fault| fault.what == "is not HOST:PORT"), "{text}");
        }
        for text in ["kafka://kafka:9092", "PLAINTEXT://kafka:9092", "SASL_SSL://kafka:9092"] {
            assert!(parse(text).is_err_and(|fault| fault.what == "has a scheme"), "{text}");
        }
    }
}
