//! A secret in any string of a pipeline file, whole or damaged, is in no output of any command.

use crate::binary::output_of;

/// No valid name, path, word, duration or number; unlike anything that Tailwater prints.
const CANARY: &str = "CANARY!FINCH SISKIN";

/// A file that uses every string setting but those of sinks. `@` stands before each string to put the secret into.
const COMMON: &str = r#"
name = @"shop"
lanes = 1
[source]
table = @"orders"
stream_arn = @"arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026"
start = @"latest"
on_gap = @"stop"
[source.aws]
region = @"eu-west-1"
endpoint_url = @"https://dynamodb.example.org"
profile = @"shop"
role_arn = @"arn:aws:iam::1:role/reader"
external_id = @"7"
[source.poll]
interval_min = @"200ms"
interval_max = @"1s"
[[transform]]
keep = [@"insert", @"modify"]
[[transform]]
include = [@"a", @"b.c"]
[[transform]]
exclude = [@"b"]
[[transform]]
rename = { @"a" = @"z" }
[limits]
memory_bytes_max = @"128MiB"
group_bytes_max = @"4MiB"
group_delay_max = @"200ms"
grace_period = @"30s"
discovery_interval = @"30s"
"#;

/// Every string setting of Postgres.
const POSTGRES: &str = r#"
[sink.postgres]
url = @"postgres://db.example.org/shop?user=writer"
schema = @"public"
table = @"orders"
delete = @"soft"
tls = { mode = @"verify-full", ca_file = @"ca.pem" }
statement_timeout = @"30s"
lock_timeout = @"10s"
connect_timeout = @"10s"
"#;

/// The keys of Postgres that stand in place of a URL.
const POSTGRES_KEYS: &str = r#"
[sink.postgres]
host = @"db.example.org"
port = 5432
user = @"writer"
password = @"${env:EMPTY:-x}"
database = @"shop"
"#;

/// Characters that mean something in a URL, in TOML, in SQL or in a terminal, and some that mean nothing.
const SPECIAL: &str = "/#?@%:&=+;,!*'()[]{}<>|\\^`\"~$ \té日42";

/// Every string setting of Kafka, with a user name and a password.
const KAFKA: &str = r#"
[sink.kafka]
brokers = @"kafka-1.example.org:9093"
topic = @"{table}"
dead_letter_topic = @"{pipeline}-dead"
progress_topic = @"{pipeline}-progress"
format = @"json"
delete = @"event"
delivery = @"exactly-once"
on_repartition = @"stop"
transaction_timeout = @"60s"
request_timeout = @"30s"
create_topics = { partitions = 1, config = { "cleanup.policy" = @"compact" } }
tls = { ca_file = @"ca.pem", certificate_file = @"c.pem", key_file = @"k.pem", key_password = @"${env:EMPTY:-x}" }
[sink.kafka.sasl]
mechanism = @"PLAIN"
username = @"writer"
password = @"${env:EMPTY:-x}"
[sink.kafka.librdkafka]
@"client.id" = @"a"
"ssl.keystore.password" = @"${env:EMPTY:-x}"
"#;

/// The settings of Kafka that are there with a token only.
const KAFKA_TOKEN: &str = r#"
[sink.kafka]
brokers = @"kafka-1.example.org:9093"
tls = true
[sink.kafka.sasl]
mechanism = @"OAUTHBEARER"
token_file = @"token"
"#;

/// Ways to write, or to break, a string value. `%` stands for the secret.
const DAMAGES: [&str; 15] = [
    "\"%\"",
    "'%'",
    "\"%",
    "%\"",
    "%",
    "'%",
    "\"\"\"%",
    "\"%\" \"%\"",
    "\"%\" = \"%\"",
    "[\"%\"",
    "{ \"%\" = 1 }",
    "\"\\x%\"",
    "\"${%}\"",
    "\"${env:%}\"",
    "\"${%\"",
];

#[test]
fn no_output_holds_a_secret_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["ca.pem", "c.pem", "k.pem"] {
        let text = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        std::fs::write(folder.path().join(name), text).expect("writes");
    }
    let mut files = Vec::new();
    for (sink, more) in
        [("postgres", POSTGRES), ("postgres-keys", POSTGRES_KEYS), ("kafka", KAFKA), ("token", KAFKA_TOKEN)]
    {
        let whole = format!("{COMMON}{more}");
        let places = whole.matches('@').count();
        assert!(places > 25, "{places}");
        for (number, damage) in DAMAGES.iter().enumerate() {
            for place in 0..places {
                let name = format!("{number:02}-{place:02}-{sink}.toml");
                let text = with_string(&whole, place, &damage.replace('%', CANARY));
                std::fs::write(folder.path().join(&name), text).expect("writes");
                files.push(name);
            }
        }
        // The undamaged file is fine, so each fault below is the secret's.
        std::fs::write(folder.path().join("fine.toml"), with_string(&whole, usize::MAX, "")).expect("writes");
        let fine = output_of(folder.path(), &["validate", "fine.toml"], &[]);
        assert_eq!(fine.code, Some(0), "{}", fine.text);
    }
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    for command in [vec!["validate"], vec!["validate", "--json"], vec!["run"]] {
        let found = output_of(folder.path(), &[command.as_slice(), &files].concat(), &[("TAILWATER_LOG", "trace")]);
        assert_eq!(found.code, Some(2), "{}", found.text);
        assert_no_canary(&found.text);
    }
    // The first two and the one with an escape, which TOML knows, are well-formed: there a word such as a path may be
    // shown once somebody connects.
    let is_broken = |file: &&&str| !["00", "01", "11"].iter().any(|number| file.starts_with(number));
    let broken = files.iter().filter(is_broken);
    for file in broken.step_by(7) {
        let found = output_of(folder.path(), &["checkpoints", "show", file], &[("TAILWATER_LOG", "trace")]);
        assert_eq!(found.code, Some(2), "{file}: {}", found.text);
        assert_no_canary(&found.text);
    }
}

#[test]
fn no_output_holds_a_password_that_cannot_connect() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = "CANARY9f3e7";
    // Nothing listens on port 1.
    let file = "name = \"shop\"\n[source]\ntable = \"orders\"\n[source.aws]\nregion = \"x\"\n\
                endpoint_url = \"http://127.0.0.1:1\"\n[sink.postgres]\nurl = \"${env:PG_URL}\"\nconnect_timeout = \"1s\"\n";
    std::fs::write(folder.path().join("shop.toml"), file).expect("writes");
    let url = format!("postgres://writer:{password}@127.0.0.1:1/shop");
    for broken in [url.clone(), url.replace("postgres://", "postgres:/"), url.replace(":1/", ":port/")] {
        let found = output_of(
            folder.path(),
            &["checkpoints", "show", "shop.toml"],
            &[("PG_URL", &broken), ("TAILWATER_LOG", "trace")],
        );
        assert!(matches!(found.code, Some(2 | 3)), "{:?} {}", found.code, found.text);
        assert!(!found.text.contains(password), "{}", found.text);
    }
}

/// Also where another user of this machine could read it in a file.
#[cfg(unix)]
#[test]
fn a_secret_file_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let files = ["url", "key.pem", "token"].map(|name| folder.path().join(name));
    std::fs::write(&files[0], "postgres://writer:CANARY@127.0.0.1:1/shop").expect("writes");
    std::fs::write(&files[1], "-----BEGIN PRIVATE KEY-----").expect("writes");
    std::fs::write(&files[2], "CANARY").expect("writes");
    std::fs::write(folder.path().join("c.pem"), "-----BEGIN CERTIFICATE-----").expect("writes");
    let kafka = "name = \"orders\"\n[source]\ntable = \"orders\"\n[sink.kafka]\nbrokers = \"kafka.example.org\"\n\
                 tls = { certificate_file = \"c.pem\", key_file = \"key.pem\" }\n\
                 sasl = { mechanism = \"OAUTHBEARER\", token_file = \"token\" }\n";
    std::fs::write(folder.path().join("kafka.toml"), kafka).expect("writes");
    std::fs::write(folder.path().join("postgres.toml"), into_postgres("url = \"${file:url}\"")).expect("writes");
    let keyed = into_postgres("url = \"postgres://writer@127.0.0.1:1/shop?sslcert=c.pem&sslkey=key.pem\"");
    std::fs::write(folder.path().join("keyed.toml"), keyed.replace("name = \"shop\"", "name = \"keyed\""))
        .expect("writes");
    for (mode, warnings) in [(0o644, 4), (0o604, 4), (0o640, 0), (0o600, 0)] {
        for file in &files {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("set");
        }
        let found = output_of(folder.path(), &["validate", "postgres.toml", "kafka.toml", "keyed.toml"], &[]);
        assert_eq!(found.code, Some(0), "{}", found.text);
        assert_eq!(found.text.matches("[WARN] config.exposed_secret").count(), warnings, "{mode:o}: {}", found.text);
        assert!(!found.text.contains("CANARY"), "{}", found.text);
    }
}

/// A pipeline into Postgres, with these lines in its table. Nothing listens on port 1.
fn into_postgres(lines: &str) -> String {
    format!(
        "name = \"shop\"\n[source]\ntable = \"orders\"\n[source.aws]\nregion = \"x\"\n\
         endpoint_url = \"http://127.0.0.1:1\"\n[sink.postgres]\n{lines}\nconnect_timeout = \"1s\"\n"
    )
}

#[test]
fn a_password_may_hold_any_character_and_is_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, lines) in [
        ("url", "url = \"postgres://writer:${env:PG_SECRET}@127.0.0.1:1/shop\""),
        ("login", "url = \"postgres://${env:PG_LOGIN}@127.0.0.1:1/shop\""),
        ("query", "url = \"postgres://writer@127.0.0.1:1/shop?password=${env:PG_SECRET}\""),
        (
            "keys",
            "host = \"127.0.0.1\"\nport = 1\nuser = \"writer\"\ndatabase = \"shop\"\npassword = \"${env:PG_SECRET}\"",
        ),
    ] {
        std::fs::write(folder.path().join(format!("{name}.toml")), into_postgres(lines)).expect("writes");
    }
    std::fs::write(folder.path().join("whole.toml"), into_postgres("url = \"${env:PG_URL}\"")).expect("writes");
    let canary = "CANARY9f3e7";
    let alone =
        SPECIAL.chars().flat_map(|special| [format!("{special}{canary}"), format!("7{special}{canary}{special}")]);
    for secret in
        alone.chain([format!("{SPECIAL}{canary}{SPECIAL}"), format!("a@b/{canary}@c"), format!("%41{canary}%zz")])
    {
        let (login, url) = (format!("writer:{secret}"), format!("postgres://writer:{secret}@127.0.0.1:1/shop"));
        let variables = [("PG_SECRET", &*secret), ("PG_LOGIN", &*login), ("PG_URL", &*url), ("TAILWATER_LOG", "trace")];
        for (file, user) in [("url", "writer"), ("login", "${env:PG_LOGIN}"), ("query", "writer"), ("keys", "writer")] {
            let found = output_of(folder.path(), &["checkpoints", "show", &format!("{file}.toml")], &variables);
            assert_eq!(found.code, Some(3), "{file} {secret}: {}", found.text);
            assert!(found.text.contains(&format!("127.0.0.1:1/shop as {user}")), "{file} {secret}: {}", found.text);
            assert!(!found.text.contains(canary), "{file} {secret}: {}", found.text);
        }
        // Not percent-encoded: refused, or understood, and never shown.
        let found = output_of(folder.path(), &["checkpoints", "show", "whole.toml"], &variables);
        assert!(matches!(found.code, Some(2 | 3)), "{secret}: {}", found.text);
        assert!(!found.text.contains(canary), "{secret}: {}", found.text);
        assert!(found.code == Some(2) || found.text.contains("${env:PG_URL}"), "{secret}: {}", found.text);
    }
}

/// A secret that was put into another place than that of the password.
#[test]
fn a_secret_that_went_astray_is_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = "CANARY9f3e7";
    let place = |text: &str| ("url", format!("url = \"{text}\""));
    let keys = |host: &str, user: &str, database: &str| {
        (
            "host",
            format!(
                "host = \"{host}\"\nport = 1\nuser = \"{user}\"\ndatabase = \"{database}\"\npassword = \"${{env:PG_SECRET}}\""
            ),
        )
    };
    let by = "${env:PG_SECRET}";
    for (key, lines) in [
        place(&format!("postgres://writer@{by}@127.0.0.1:1/shop")),
        place(&format!("postgres://writer;{by}@127.0.0.1:1/shop")),
        place(&format!("postgres://{by}:writer@127.0.0.1:1/shop")),
        place(&format!("postgres://{by}@127.0.0.1:1/shop")),
        place(&format!("postgres://writer@{by}:1/shop")),
        place(&format!("postgres://writer@127.0.0.1:1/{by}")),
        place(&format!("postgres://127.0.0.1:1/shop?user={by}")),
        place(&format!("postgres://127.0.0.1:1/shop?user=writer&dbname={by}")),
        place("${env:PG_URL}"),
        keys(by, "writer", "shop"),
        keys("127.0.0.1", by, "shop"),
        keys("127.0.0.1", "writer", by),
    ] {
        std::fs::write(folder.path().join("shop.toml"), into_postgres(&lines)).expect("writes");
        for url in ["postgres://writer@CANARY9f3e7@127.0.0.1:1/shop", "postgres://CANARY9f3e7:writer@127.0.0.1:1/shop"]
        {
            let variables = [("PG_SECRET", secret), ("PG_URL", url), ("TAILWATER_LOG", "trace")];
            for command in [vec!["checkpoints", "show"], vec!["validate"]] {
                let found = output_of(folder.path(), &[command.as_slice(), &["shop.toml"]].concat(), &variables);
                assert!(matches!(found.code, Some(0 | 2 | 3)), "{key} {lines}: {}", found.text);
                assert!(!found.text.contains(secret), "{key} {lines}: {}", found.text);
            }
        }
    }
}

#[test]
fn no_output_holds_a_password_that_no_broker_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (canary, special) = ("CANARY9f3e7", format!("{SPECIAL}CANARY9f3e7{SPECIAL}"));
    for (mechanism, tls, password) in
        [("PLAIN", "false", canary), ("SCRAM-SHA-512", "true", canary), ("PLAIN", "false", &*special)]
    {
        // Nothing listens on port 1.
        let file = format!(
            "name = \"shop\"\n[source]\ntable = \"orders\"\n[sink.kafka]\nbrokers = \"127.0.0.1:1\"\n\
             request_timeout = \"1s\"\ntls = {tls}\n[sink.kafka.sasl]\nmechanism = \"{mechanism}\"\n\
             username = \"writer\"\npassword = \"${{env:KAFKA_PASSWORD}}\"\n\
             [sink.kafka.librdkafka]\ndebug = \"all\"\n\"ssl.keystore.password\" = \"${{env:KAFKA_PASSWORD}}\"\n"
        );
        std::fs::write(folder.path().join("shop.toml"), file).expect("writes");
        let variables = [("KAFKA_PASSWORD", password), ("TAILWATER_LOG", "trace")];
        let found = output_of(folder.path(), &["checkpoints", "show", "shop.toml"], &variables);
        assert_eq!(found.code, Some(3), "{}", found.text);
        assert!(!found.text.contains(canary), "{}", found.text);
    }
}

fn with_string(whole: &str, place: usize, string: &str) -> String {
    let mut out = String::new();
    for (number, part) in whole.split('@').enumerate() {
        match number.checked_sub(1) {
            Some(found) if found == place => {
                out.push_str(string);
                // What stood there goes: a string without escapes.
                out.push_str(part.splitn(3, '"').nth(2).unwrap_or_default());
            }
            _ => out.push_str(part),
        }
    }
    out
}

fn assert_no_canary(text: &str) {
    // As it is, in parts, URL-encoded and in base64.
    for part in ["CANARY", "FINCH", "SISKIN", "%46%49", "Q0FOQVJZ", "RklOQ0g"] {
        if let Some(at) = text.find(part) {
            let from = text[..at].rfind('\n').unwrap_or_default();
            panic!("a secret is shown: {}", text[from..].chars().take(400).collect::<String>());
        }
    }
}
