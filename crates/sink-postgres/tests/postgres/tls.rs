//! TLS against the test server, which has a certificate that no public authority signed.

use std::path::{Path, PathBuf};

use sqlx::{Connection, PgConnection};
use tailwater_model::{Trouble, TroubleKind};
use tailwater_sink_postgres::{PostgresSettings, TlsMode, TlsSettings, claim};

use crate::ground::{Database, id_key, identity, in_database};

/// Where `cargo x up` leaves the authority's certificate, unless `TAILWATER_TEST_POSTGRES_CA` names another file.
const AUTHORITY: &str = "../../target/servers/postgres/tls/ca.crt";

/// The file to trust. A server that was started by other means is asked for its own certificate.
async fn authority(database: &Database, dir: &Path) -> PathBuf {
    if let Some(named) = std::env::var_os("TAILWATER_TEST_POSTGRES_CA") {
        return named.into();
    }
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join(AUTHORITY);
    if usual.exists() {
        return usual;
    }
    let own = dir.join("server.crt");
    let pem = database.text("select pg_read_file(current_setting('ssl_cert_file'))").await;
    std::fs::write(&own, pem).expect("writes the certificate");
    own
}

async fn answer(database: &Database, mode: Option<TlsMode>, ca_file: Option<&Path>) -> Result<(), Trouble> {
    let tls = TlsSettings { mode, ca_file: ca_file.map(Path::to_owned) };
    let settings = PostgresSettings { tls, ..database.settings() };
    claim(&settings, &identity(1), &id_key()).await.map(drop)
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_needs_a_ca_file() {
    in_database(|database| async move {
        assert_eq!(database.text("show ssl").await, "on", "the test server must speak TLS");
        let dir = tempfile::tempdir().expect("a folder");
        let authority = authority(&database, dir.path()).await;

        let refused = answer(&database, Some(TlsMode::VerifyFull), None).await.expect_err("is not trusted");
        assert_eq!((refused.kind, refused.code), (TroubleKind::Environment, "sink.postgres.tls"), "{refused:?}");
        assert!(refused.message.contains("certificate"), "{}", refused.message);
        assert!(refused.advice.as_ref().is_some_and(|advice| advice.contains("tls.ca_file")), "{refused:?}");

        answer(&database, Some(TlsMode::VerifyFull), Some(&authority)).await.expect("is trusted");
        answer(&database, None, Some(&authority)).await.expect("a ca_file asks for verification");
        answer(&database, Some(TlsMode::InsecureRequire), None).await.expect("verifies nothing");
        answer(&database, Some(TlsMode::InsecureDisable), None).await.expect("uses no TLS");
        answer(&database, None, None).await.expect("this server is local");

        let missing = dir.path().join("missing.pem");
        let refused = answer(&database, None, Some(&missing)).await.expect_err("the file is not there");
        assert_eq!((refused.kind, refused.code), (TroubleKind::Config, "sink.postgres.ca_file"), "{refused:?}");
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").expect("writes");
        let refused = answer(&database, None, Some(&empty)).await.expect_err("the file holds nothing");
        assert_eq!((refused.kind, refused.code), (TroubleKind::Config, "sink.postgres.ca_file"), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn each_mode_is_what_the_server_sees() {
    in_database(|database| async move {
        for (mode, encrypted) in [(TlsMode::InsecureRequire, "true"), (TlsMode::InsecureDisable, "false")] {
            let tls = TlsSettings { mode: Some(mode), ca_file: None };
            let settings = PostgresSettings { tls, ..database.settings() };
            let mut lane = database.lane(&settings, &id_key()).await;
            tailwater_model::Sink::open(&mut lane).await.expect("opens");
            let seen = "select ssl::text from pg_stat_ssl join pg_stat_activity using (pid) \
                        where application_name like 'tailwater/%/0' and datname = current_database()";
            assert_eq!(database.text(seen).await, encrypted, "{mode:?}");
        }
        let connection = PgConnection::connect(&database.url).await.expect("connects");
        connection.close().await.expect("closes");
    })
    .await;
}
