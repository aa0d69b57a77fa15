//! Where the real servers listen, and the variables that point the tests elsewhere.
//!
//! `tests/src/endpoints.rs` has its own copy of these defaults (no crate depends on this one): change both together.

/// The address that every server is used at. DynamoDB Local cannot be told to listen there only: it takes every address.
pub const LOOPBACK: &str = "127.0.0.1";
/// PostgreSQL's TCP port.
pub const POSTGRES_PORT: u16 = 25_432;
/// DynamoDB Local's HTTP port.
pub const DYNAMODB_PORT: u16 = 28_000;
/// Kafka's client port.
pub const KAFKA_PORT: u16 = 29_092;
/// The port of Kafka's controller, which only the broker itself talks to.
pub const KAFKA_CONTROLLER_PORT: u16 = 29_093;

/// Kafka's client port with TLS.
pub const KAFKA_TLS_PORT: u16 = 29_094;
/// Kafka's client port with TLS and a login.
pub const KAFKA_LOGIN_PORT: u16 = 29_095;

/// PostgreSQL as the tests reach it: a superuser with a password, over TCP.
pub const POSTGRES_URL: &str = "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater";
/// DynamoDB Local as an AWS client reaches it.
pub const DYNAMODB_URL: &str = "http://127.0.0.1:28000";
/// Kafka as a client's bootstrap server.
pub const KAFKA_BOOTSTRAP: &str = "127.0.0.1:29092";

/// The user that Kafka knows for PLAIN and SCRAM; also the password.
pub const KAFKA_USER: &str = "tailwater";

/// Set, it is the PostgreSQL the tests use, and `cargo x test` starts none.
pub const POSTGRES_VARIABLE: &str = "TAILWATER_TEST_POSTGRES";
/// Set, it is the DynamoDB endpoint the tests use, and `cargo x test` starts none.
pub const DYNAMODB_VARIABLE: &str = "TAILWATER_TEST_DYNAMODB";
/// Set, it is the Kafka the tests use, and `cargo x test` starts none.
pub const KAFKA_VARIABLE: &str = "TAILWATER_TEST_KAFKA";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_agree_with_the_ports() {
        assert!(POSTGRES_URL.contains(&format!("@{LOOPBACK}:{POSTGRES_PORT}/")));
        assert_eq!(DYNAMODB_URL, format!("http://{LOOPBACK}:{DYNAMODB_PORT}"));
        assert_eq!(KAFKA_BOOTSTRAP, format!("{LOOPBACK}:{KAFKA_PORT}"));
    }
}
