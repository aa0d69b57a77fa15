//! The system of `docker-compose.yml`, used as README.md says and killed under load.
//!
//! `cargo x test --compose` brings it up, points these tests to its published ports, and removes it afterwards.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use sqlx::{Connection, PgConnection};
use tailwater_tests::counted::{Counted, CountedWriter, writes};
use tailwater_tests::kafka::history::{self, Deletes};
use tailwater_tests::kafka::reader::{self, Isolation, Message};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::plain::Plain;
use tailwater_tests::stream::{self, StreamEvent};
use tailwater_tests::table::{Item, PARTITION_KEY, SourceTable, key};
use tailwater_tests::{compare, endpoints};
use tokio::process::Command;

/// Holds the words of the command that steers the composition.
const COMMAND_VARIABLE: &str = "TAILWATER_TEST_COMPOSE";
/// The DynamoDB table, the Postgres table and the Kafka topic.
const ORDERS: &str = "orders";
/// A start of everything: two Java servers and their healthchecks on a busy machine.
const COMMAND_WITHIN: Duration = Duration::from_secs(180);
/// From the start of Tailwater until its healthcheck has passed; after a kill it first waits for an old transaction.
const HEALTHY_WITHIN: Duration = Duration::from_secs(150);
/// From a write until its row and its message are there.
const CARRIED_WITHIN: Duration = Duration::from_secs(60);
/// Between two calls of the load.
const WRITE_PAUSE: Duration = Duration::from_millis(10);
/// Load before a kill, and between a kill and the next start.
const LOAD_FOR: Duration = Duration::from_secs(2);
/// Fewer writes than these show nothing; there are some thousands.
const WRITES_MIN: usize = 1000;
/// Any number: another seed writes other items.
const SEED: u64 = 11;
/// The services that are killed together, round by round.
const KILLS: [&[&str]; 4] = [&["tailwater"], &["postgres"], &["kafka"], &["tailwater", "postgres", "kafka"]];
/// The services that are there without Tailwater, and all that go on running.
const SERVERS: [&str; 3] = ["dynamodb", "kafka", "postgres"];
const ALL: [&str; 4] = ["dynamodb", "kafka", "postgres", "tailwater"];
/// The heading of README.md under which the commands stand.
const README_HEADING: &str = "## With Docker";

/// A command of the composition, for example `up --detach`.
async fn compose(arguments: &[&str]) -> Result<String> {
    let words = std::env::var(COMMAND_VARIABLE)
        .with_context(|| format!("{COMMAND_VARIABLE} is not set: run `cargo x test --compose`"))?;
    let words: Vec<_> = words.split_whitespace().collect();
    let (program, first) = words.split_first().context("no command")?;
    run(Command::new(program).args(first).args(arguments)).await
}

/// Runs to the end and returns the standard output.
async fn run(command: &mut Command) -> Result<String> {
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let output = tokio::time::timeout(COMMAND_WITHIN, command.output()).await;
    let output = output.with_context(|| format!("{shown} takes longer than {COMMAND_WITHIN:?}"))??;
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    ensure!(output.status.success(), "{shown}: {}\n{stdout}{stderr}", output.status);
    Ok(stdout)
}

/// A fact about the newest container of a service, as `docker inspect --format` gives it.
async fn inspect(service: &str, format: &str) -> Result<String> {
    let ids = compose(&["ps", "--all", "--quiet", service]).await?;
    let id = ids.split_whitespace().next().with_context(|| format!("no container of {service}"))?;
    Ok(run(Command::new("docker").args(["inspect", "--format", format, id])).await?.trim().to_owned())
}

/// Waits until these services' healthchecks say that they are well.
async fn become_healthy(services: &[&str]) -> Result<()> {
    for service in services {
        wait_until(&format!("{service} is healthy"), HEALTHY_WITHIN, || async {
            let state = inspect(service, "{{.State.Status}} {{.State.Health.Status}}").await?;
            Ok(Look::when(state == "running healthy", state))
        })
        .await?;
    }
    Ok(())
}

/// A line of progress: these tests take minutes.
#[expect(clippy::print_stdout, reason = "whoever waits for minutes wants to see what for")]
fn tell(line: &str) {
    println!("{line}");
}

/// Everything that the pipelines were given and that they made of it.
struct Carried {
    stream: Vec<StreamEvent>,
    messages: Vec<Message>,
    /// The rows that are not marked deleted.
    documents: Vec<Plain>,
    /// The sums of read and of written events, and the number of gaps and dead letters, as the pipeline keeps them.
    accounts: (i64, i64, i64),
}

impl Carried {
    async fn now(table: &SourceTable) -> Result<Self> {
        let mut database =
            PgConnection::connect(&endpoints::postgres_url()).await.context("the composition's Postgres")?;
        let rows = "select document::text from orders where not _deleted";
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut database).await?;
        let accounts = "select sum(read)::bigint, sum(written)::bigint, (select count(*) from tailwater.gaps)
            + (select count(*) from tailwater.dead_letters) from tailwater.shards";
        let accounts = sqlx::query_as(accounts).fetch_one(&mut database).await?;
        database.close().await?;
        Ok(Self {
            stream: stream::read(&table.stream_arn().await?.context("the table has no stream")?).await?,
            messages: reader::read(&endpoints::kafka_bootstrap(), ORDERS, Isolation::ReadCommitted).await?,
            documents: rows.iter().map(|row| Plain::parse(row)).collect::<Result<_>>()?,
            accounts,
        })
    }

    /// Each event once in Kafka and in order, and once in the accounts of Postgres, whose rows are the table's items.
    fn check(&self, items: &[Item]) -> Result<()> {
        history::exactly_once(&self.messages, &self.stream, Deletes::EventAndTombstone).context("Kafka")?;
        history::check_final(&self.messages, items).context("Kafka")?;
        compare::check_documents(items, self.documents.clone()).context("Postgres")?;
        let events = i64::try_from(self.stream.len())?;
        ensure!(self.accounts == (events, events, 0), "{:?} are read, written and lost of {events}", self.accounts);
        Ok(())
    }
}

/// Waits until both sinks have got something more, under load: a better sign than a healthcheck, and a sooner one.
async fn both_carry_on(table: &SourceTable) -> Result<()> {
    let before = Carried::now(table).await?;
    wait_until("both pipelines carry on", HEALTHY_WITHIN, || async {
        let now = Carried::now(table).await?;
        let (read, messages) = (now.accounts.0 - before.accounts.0, now.messages.len() - before.messages.len());
        Ok(Look::when(read > 0 && messages > 0, format!("{read} more events in Postgres, {messages} more messages")))
    })
    .await
}

/// Waits until both sinks hold what the table holds, which nobody writes to any more; then holds them to exactly once.
async fn check_exactly_once(table: &SourceTable) -> Result<Carried> {
    let items = table.scan().await?;
    wait_until("both sinks have caught up", CARRIED_WITHIN, || async {
        let carried = Carried::now(table).await?;
        let expected = history::messages_expected(&carried.stream, Deletes::EventAndTombstone);
        let (events, messages) = (carried.stream.len(), carried.messages.len());
        let read = carried.accounts.0;
        let is_complete = usize::try_from(read).is_ok_and(|read| read >= events) && messages >= expected;
        Ok(Look::when(is_complete, format!("{read} of {events} events in Postgres, {messages} of {expected} messages")))
    })
    .await?;
    let carried = Carried::now(table).await?;
    carried.check(&items)?;
    Ok(carried)
}

/// The commands of README.md's section, one each, with continued lines joined.
fn commands_of_the_readme() -> Result<Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once(README_HEADING).context("README.md has no such section")?;
    let (_, block) = section.split_once("```sh\n").context("the section has no commands")?;
    let (block, _) = block.split_once("```").context("the commands do not end")?;
    Ok(block.replace("\\\n", " ").lines().map(str::to_owned).filter(|line| !line.trim().is_empty()).collect())
}

/// `docker compose up` was done by who brought the composition up. The other lines are run as they stand: the `aws` of the
/// composition's own image writes an item, `psql` and `kcat` show it.
#[tokio::test]
async fn the_commands_of_the_readme_show_the_row_and_the_message() -> Result<()> {
    become_healthy(&ALL).await?;
    let commands = commands_of_the_readme()?;
    let line_of = |program: &str| {
        let line = commands.iter().find(|line| line.split_whitespace().next() == Some(program));
        line.with_context(|| format!("no line of {program} in {commands:?}"))
    };
    ensure!(line_of("docker")?.contains("compose up"), "{commands:?}");
    let image = inspect("table", "{{.Config.Image}}").await?;
    let script = format!("{}\n{}", line_of("export")?, line_of("aws")?);
    let arguments = ["run", "--rm", "--network", "host", "--entrypoint", "/bin/sh", &image, "-ec", &script];
    run(Command::new("docker").args(arguments)).await?;
    for (program, texts) in [("psql", ["order-1", "paid"]), ("kcat", ["\"Id\":\"order-1\"", "paid"])] {
        let line = line_of(program)?;
        wait_until(&format!("`{line}` shows the item"), CARRIED_WITHIN, || async {
            let shown = run(Command::new("sh").args(["-ec", line])).await?;
            Ok(Look::when(texts.iter().all(|text| shown.contains(text)), shown))
        })
        .await?;
    }
    Ok(())
}

/// A kill of any container under load, then `up` again: nothing is lost, nothing is doubled. Then all containers are
/// removed, and the volumes alone bring everything back.
#[tokio::test]
async fn kills_and_a_new_start_lose_and_double_nothing() -> Result<()> {
    become_healthy(&ALL).await?;
    let table = SourceTable::existing(ORDERS);
    let writer = CountedWriter::start(&table, Counted::new(SEED), WRITE_PAUSE);
    for services in KILLS {
        tell(&format!("under load: kill -9 of {}, then up", services.join(", ")));
        tokio::time::sleep(LOAD_FOR).await;
        compose(&[&["kill", "-s", "KILL"], services].concat()).await?;
        for service in services {
            let state = inspect(service, "{{.State.Status}} {{.State.ExitCode}}").await?;
            ensure!(state == "exited 137", "{service} is {state} after the kill");
        }
        tokio::time::sleep(LOAD_FOR).await;
        compose(&["up", "--detach"]).await?;
        become_healthy(&SERVERS).await?;
        both_carry_on(&table).await?;
    }
    tokio::time::sleep(LOAD_FOR).await;
    tell("the load ends; holding both sinks to exactly once");
    let counted = writer.stop().await?;
    let count = writes(counted.ledger());
    ensure!(count > WRITES_MIN, "only {count} writes: the test shows too little");
    let mut carried = check_exactly_once(&table).await?;
    carried.messages.retain(is_counted);
    history::check_ledger(&carried.messages, counted.ledger())?;

    tell(&format!("{count} writes, each once in Kafka and in Postgres; down, up on the old volumes, one more write"));
    compose(&["down"]).await?;
    compose(&["up", "--detach"]).await?;
    become_healthy(&ALL).await?;
    let mut item = key("after the removal", "2026-11-23");
    item.insert("status".to_owned(), AttributeValue::S("paid".to_owned()));
    table.put(item).await?;
    let after = check_exactly_once(&table).await?;
    let Some(last) = after.stream.last() else { bail!("an empty stream") };
    assert_eq!(last.key.0, "after the removal");
    Ok(())
}

/// Whether a message is of an item of the load.
fn is_counted(message: &Message) -> bool {
    let id = message.key_json().ok().and_then(|key| key.get(PARTITION_KEY).and_then(Plain::text).map(str::to_owned));
    id.is_some_and(|id| id.starts_with("counted-"))
}
