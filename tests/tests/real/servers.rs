//! The real servers answer in their own protocols. Everything else here would fail with less clear words.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, PgConnection};
use tailwater_tests::{endpoints, table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than a server needs that is up.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn postgres_answers() -> Result<()> {
    let mut connection =
        PgConnection::connect(&endpoints::postgres_url()).await.context("start it with `cargo x up`")?;
    let version: i32 =
        sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut connection).await?;
    ensure!(version >= 150_000, "PostgreSQL 15 is the oldest that is tested, this is {version}");
    Ok(())
}

#[tokio::test]
async fn dynamodb_answers() -> Result<()> {
    table::client().list_tables().send().await.context("start it with `cargo x up`")?;
    Ok(())
}

/// Asks for the supported API versions (Kafka protocol guide, `ApiVersions` request version 0).
#[tokio::test]
async fn kafka_answers() -> Result<()> {
    const CORRELATION_ID: i32 = 0x7a11;
    let address = endpoints::kafka_bootstrap();
    let mut request = Vec::new();
    request.extend(18_i16.to_be_bytes());
    request.extend(0_i16.to_be_bytes());
    request.extend(CORRELATION_ID.to_be_bytes());
    request.extend((-1_i16).to_be_bytes()); // no client id
    let ask = async {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(&u32::try_from(request.len()).unwrap_or_default().to_be_bytes()).await?;
        stream.write_all(&request).await?;
        let _length = stream.read_u32().await?;
        Ok::<_, std::io::Error>((stream.read_i32().await?, stream.read_i16().await?))
    };
    let answer = tokio::time::timeout(ANSWER_WITHIN, ask)
        .await?
        .with_context(|| format!("no Kafka at {address}: start it with `cargo x up`"))?;
    ensure!(answer == (CORRELATION_ID, 0), "not Kafka's answer: {answer:?}");
    Ok(())
}
