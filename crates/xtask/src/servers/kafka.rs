//! Apache Kafka: one process that is broker and controller (KRaft). It listens without any security for most tests, and
//! with TLS and logins for those of connections.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{ANSWER_WITHIN, Server, certificate, jars};
use crate::{command, endpoints, prerequisites};

/// The heap's bound in MiB; a broker of tests needs little.
const HEAP_MIB_MAX: u32 = 512;
/// The cluster's id: any 16 bytes in base64. Fixed, so that formatting twice is the same as once.
const CLUSTER_ID: &str = "dGFpbHdhdGVyLXRlc3RzIQ";
/// The mechanisms whose users are in Kafka's own storage, made when that is formatted.
const SCRAM_MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
/// Beside the data folder: what it was formatted with.
const FORMAT_FILE: &str = "data.format";
/// The request key of Metadata in Kafka's protocol.
const METADATA_REQUEST: i16 = 3;
/// The oldest Metadata version whose answer names the controller; its encoding has no compact forms.
const METADATA_VERSION: i16 = 1;
/// An id that the answer must carry back.
const CORRELATION_ID: i32 = 20_092;
/// An answer about no topics is some 50 bytes; anything past this is not Kafka.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Apache Kafka.
pub struct Kafka;

impl Server for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn port(&self) -> u16 {
        endpoints::KAFKA_PORT
    }

    fn endpoint(&self) -> &'static str {
        endpoints::KAFKA_BOOTSTRAP
    }

    fn variable(&self) -> &'static str {
        endpoints::KAFKA_VARIABLE
    }

    fn install(&self, dir: &Path) -> Result<()> {
        prerequisites::need_openssl()?;
        prerequisites::need_kcat()?;
        jars::install("servers/kafka", dir)
    }

    fn prepare(&self, dir: &Path) -> Result<Command> {
        let properties_path = dir.join("server.properties");
        let properties = server_properties(&dir.join("data"), &make_key_store(&dir.join("tls"))?);
        fs::write(&properties_path, properties)
            .with_context(|| format!("cannot write {}", properties_path.display()))?;
        format_data(dir, &properties_path)?;
        let mut broker = broker_java(dir);
        broker.arg("kafka.Kafka").arg(properties_path);
        Ok(broker)
    }

    /// Asks for the cluster's metadata: ready is a broker that knows itself and its controller.
    fn check(&self, _dir: &Path) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).context("it does not listen")?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).context("cannot set a time limit")?;
        stream.write_all(&metadata_request()).context("it does not take a request")?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).context("it does not answer a request")?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        ensure!(length <= ANSWER_BYTES_MAX, "it answers with {length} bytes: that is not Kafka");
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).context("its answer breaks off")?;
        check_metadata(&answer)
    }
}

fn broker_java(dir: &Path) -> Command {
    let mut java = jars::java(dir, HEAP_MIB_MAX);
    // Without a configuration file log4j prints errors only.
    java.arg("-Dorg.apache.logging.log4j.level=INFO");
    java
}

/// The broker's certificate with its key in one file, as Kafka wants them.
fn make_key_store(dir: &Path) -> Result<PathBuf> {
    let certificate = certificate::make(dir)?;
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let (key, chain) = (read(&certificate.key)?, read(&certificate.chain)?);
    let key_store = dir.join("server.pem");
    fs::write(&key_store, key + &chain).with_context(|| format!("cannot write {}", key_store.display()))?;
    Ok(key_store)
}

/// Makes the data folder with its users; one that was formatted otherwise is made anew.
fn format_data(dir: &Path, properties: &Path) -> Result<()> {
    let user = endpoints::KAFKA_USER;
    let users = SCRAM_MECHANISMS.map(|mechanism| format!("{mechanism}=[name={user},password={user}]"));
    let mut arguments = vec!["format", "--ignore-formatted", "--cluster-id", CLUSTER_ID];
    arguments.extend(users.iter().flat_map(|user| ["--add-scram", user]));
    let (stamp_path, stamp) = (dir.join(FORMAT_FILE), arguments.join("\n"));
    let data = dir.join("data");
    if data.is_dir() && fs::read_to_string(&stamp_path).is_ok_and(|found| found == stamp) {
        return Ok(());
    }
    if data.is_dir() {
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    let mut format = broker_java(dir);
    format.arg("kafka.tools.StorageTool").args(&arguments).arg("--config").arg(properties);
    command::run_quietly(&mut format).context("cannot format Kafka's data folder")?;
    // Last: without the stamp, a folder that was left half-way is made again.
    fs::write(&stamp_path, stamp).with_context(|| format!("cannot write {}", stamp_path.display()))
}

fn server_properties(data: &Path, key_store: &Path) -> String {
    let (host, port, controller) = (endpoints::LOOPBACK, endpoints::KAFKA_PORT, endpoints::KAFKA_CONTROLLER_PORT);
    let (tls, login) = (endpoints::KAFKA_TLS_PORT, endpoints::KAFKA_LOGIN_PORT);
    let listeners = format!("PLAINTEXT://{host}:{port},SSL://{host}:{tls},SASL_SSL://{host}:{login}");
    let protocols = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT";
    let (data, key_store) = (data.display(), key_store.display());
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{host}:{controller}\n\
         listeners={listeners},CONTROLLER://{host}:{controller}\n\
         advertised.listeners={listeners}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map={protocols}\nlog.dirs={data}\n\
         ssl.keystore.type=PEM\nssl.keystore.location={key_store}\n\
         {}\
         # One broker can hold only one copy.\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         # Fewer files, and groups that do not wait for members that never come.\n\
         offsets.topic.num.partitions=4\ntransaction.state.log.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n",
        login_properties()
    )
}

/// Who may log in, and how. Bearer tokens are taken unsigned: Kafka's validator for tests is the default.
fn login_properties() -> String {
    let (user, modules) = (endpoints::KAFKA_USER, "org.apache.kafka.common.security");
    let mut lines = format!("sasl.enabled.mechanisms=PLAIN,OAUTHBEARER,{}\n", SCRAM_MECHANISMS.join(","));
    let mut module = |mechanism: &str, module: &str| {
        let mechanism = mechanism.to_lowercase();
        lines += &format!("listener.name.sasl_ssl.{mechanism}.sasl.jaas.config={modules}.{module};\n");
    };
    module("PLAIN", &format!("plain.PlainLoginModule required user_{user}=\"{user}\""));
    module("OAUTHBEARER", "oauthbearer.OAuthBearerLoginModule required");
    SCRAM_MECHANISMS.iter().for_each(|mechanism| module(mechanism, "scram.ScramLoginModule required"));
    lines
}

/// A Metadata request about no topics, behind its length.
fn metadata_request() -> Vec<u8> {
    let client_id = b"xtask";
    let mut body = Vec::new();
    body.extend(METADATA_REQUEST.to_be_bytes());
    body.extend(METADATA_VERSION.to_be_bytes());
    body.extend(CORRELATION_ID.to_be_bytes());
    body.extend([0, 5]);
    body.extend(client_id);
    // An empty array of topics; a null one would mean all of them.
    body.extend(0_i32.to_be_bytes());
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().to_vec(), body].concat()
}

/// Holds a Metadata answer to its correlation id, at least one broker, and a controller.
fn check_metadata(answer: &[u8]) -> Result<()> {
    let mut rest = answer;
    ensure!(take_i32(&mut rest)? == CORRELATION_ID, "it answers some other request: that is not Kafka");
    let brokers = take_i32(&mut rest)?;
    if brokers < 1 {
        bail!("no broker has joined the cluster yet");
    }
    for _ in 0..brokers {
        take_i32(&mut rest)?; // node id
        skip_string(&mut rest)?; // host
        take_i32(&mut rest)?; // port
        skip_string(&mut rest)?; // rack
    }
    ensure!(take_i32(&mut rest)? >= 0, "the cluster has no controller yet");
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).context("its answer is too short: that is not Kafka")?;
    *rest = tail;
    Ok(head)
}

fn take_i32(rest: &mut &[u8]) -> Result<i32> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().context("four bytes are four bytes")?;
    Ok(i32::from_be_bytes(bytes))
}

/// Skips a string behind its 16-bit length; -1 stands for null.
fn skip_string(rest: &mut &[u8]) -> Result<()> {
    let length: [u8; 2] = take(rest, 2)?.try_into().context("two bytes are two bytes")?;
    take(rest, usize::try_from(i16::from_be_bytes(length)).unwrap_or(0)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as a broker gives it: one broker (1, "h", 9, no rack), then the controller's id, then no topics.
    fn answer(brokers: i32, controller: i32) -> Vec<u8> {
        let mut bytes = [CORRELATION_ID.to_be_bytes(), brokers.to_be_bytes()].concat();
        if brokers == 1 {
            bytes.extend([0, 0, 0, 1, 0, 1, b'h', 0, 0, 0, 9, 0xff, 0xff]);
        }
        bytes.extend(controller.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_broker_with_a_controller_is_ready() {
        assert!(check_metadata(&answer(1, 1)).is_ok());
    }

    #[test]
    fn anything_less_is_not() {
        assert!(check_metadata(&answer(0, 1)).is_err());
        assert!(check_metadata(&answer(1, -1)).is_err());
        assert!(check_metadata(&answer(1, 1)[..12]).is_err());
        assert!(check_metadata(b"HTTP/1.1 400 Bad Request").is_err());
    }
}
