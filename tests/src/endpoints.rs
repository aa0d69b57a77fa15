//! The one place that knows where the real servers are.
//!
//! The defaults are the ports that `cargo x up` uses (`crates/xtask/src/endpoints.rs`: change both together). Variables
//! point the tests at servers that were started by other means.

/// PostgreSQL, as a superuser: the tests make their own roles and databases there.
pub fn postgres_url() -> String {
    variable_or("TAILWATER_TEST_POSTGRES", "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater")
}

/// DynamoDB Local.
pub fn dynamodb_url() -> String {
    variable_or("TAILWATER_TEST_DYNAMODB", "http://127.0.0.1:28000")
}

/// Kafka's bootstrap address as `host:port`.
pub fn kafka_bootstrap() -> String {
    variable_or("TAILWATER_TEST_KAFKA", "127.0.0.1:29092")
}

/// Kafka's bootstrap address for TLS, whose authority's certificate is `target/servers/kafka/tls/ca.crt`.
pub fn kafka_tls_bootstrap() -> String {
    variable_or("TAILWATER_TEST_KAFKA_TLS", "127.0.0.1:29094")
}

/// The certificate of that authority.
pub fn kafka_authority() -> String {
    variable_or("TAILWATER_TEST_KAFKA_CA", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers/kafka/tls/ca.crt"))
}

/// Kafka's bootstrap address for TLS with a login: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 as `tailwater` with the password
/// `tailwater`, or OAUTHBEARER with a token that nobody has signed.
pub fn kafka_login_bootstrap() -> String {
    variable_or("TAILWATER_TEST_KAFKA_LOGIN", "127.0.0.1:29095")
}

fn variable_or(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}
