//! The simulated DynamoDB of the binary, for what no emulator does: shards rotate, records are trimmed, calls fail.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::binary;
use crate::pipeline::{Pipeline, file_sink};
use crate::process::{Environment, Outcome, Tailwater, environment};
use crate::table::SourceTable;

/// The longest bounded run here: shards have to be idle for a while, and their children to be listed.
pub const RUN_WITHIN: Duration = Duration::from_secs(600);

/// A service with a table, and a pipeline from it into a file.
pub struct Simulated {
    /// The source.
    pub table: SourceTable,
    /// The pipeline into `out.jsonl`.
    pub pipeline: Pipeline,
    /// What the process finds in its environment.
    pub environment: Environment,
    address: String,
    _process: Child,
    dir: TempDir,
}

impl Simulated {
    /// `tailwater simulate` with these arguments.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let mut process = Command::new(binary::tailwater()?)
            .args(["simulate", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("tailwater simulate does not start")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut line).await?;
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once(';')).context("no address")?.0;
        let (address, url) = (address.to_owned(), format!("http://{address}"));
        let dir = tempfile::tempdir()?;
        let table = SourceTable::create_at(&url).await?;
        let mut pipeline = Pipeline::new(&table.name, file_sink(&dir.path().join("out.jsonl")));
        pipeline.endpoint = url;
        pipeline.lanes = 1;
        Ok(Self { table, pipeline, environment: environment(dir.path()), address, _process: process, dir })
    }

    /// The test's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets the next calls of this operation fail.
    pub async fn fail(&self, operation: &str, error: &str, times: u32) -> Result<()> {
        self.ask(&format!("fail?operation={operation}&error={error}&times={times}")).await
    }

    /// Lets the streams go that were turned off.
    pub async fn forget_streams(&self) -> Result<()> {
        self.ask("forget").await
    }

    /// Asks the service as a tester does.
    async fn ask(&self, what: &str) -> Result<()> {
        let address = &self.address;
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "POST /_tailwater/{what} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    }

    /// Starts `tailwater run FILE`.
    pub fn run(&self) -> Result<Tailwater> {
        self.command(&["run"], &[])
    }

    /// `tailwater run FILE --until tip`.
    pub async fn run_to_tip(&self) -> Result<Outcome> {
        self.command(&["run"], &["--until", "tip"])?.ends(RUN_WITHIN).await
    }

    /// `tailwater checkpoints show FILE`.
    pub async fn checkpoints(&self) -> Result<Outcome> {
        self.command(&["checkpoints", "show"], &[])?.ends(RUN_WITHIN).await
    }

    fn command(&self, words: &[&str], flags: &[&str]) -> Result<Tailwater> {
        let path = self.pipeline.write(self.dir())?;
        let path = path.to_str().context("a path that is no text")?;
        Tailwater::start(self.dir(), &[words, &[path], flags].concat(), &self.environment)
    }

    /// The lines of the file, one for each change.
    pub fn written(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.dir().join("out.jsonl")).unwrap_or_default();
        Ok(text.lines().map(ToOwned::to_owned).collect())
    }
}
