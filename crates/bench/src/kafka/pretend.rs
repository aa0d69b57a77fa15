//! librdkafka's broker that only pretends, as a process that producers can be pointed at.
//!
//! It names no broker as the controller, and a client that wants one, to ask for the settings of topics, waits in vain. So
//! this process stands in between and corrects what the broker says about the cluster; all else goes through as it is.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rdkafka::mocking::MockCluster;

use super::topics::PARTITIONS;

/// Arguments of `pretend-broker`.
#[derive(Args)]
pub struct PretendBrokerArguments {
    /// Topics that there are
    topics: Vec<String>,
}

/// The request whose answer is corrected, and the first of its versions whose answer has the form that is read here;
/// librdkafka asks in a newer one (<https://kafka.apache.org/protocol#The_Messages_Metadata>).
const METADATA: (i16, i16) = (3, 9);
/// Bytes that are passed on at once.
const PIECE_BYTES: usize = 256 << 10;

/// Correlation ids of requests whose answers are to be corrected.
type Expected = Mutex<BTreeSet<i32>>;

/// Serves on a free port, which it prints, until the standard input ends.
pub fn serve(arguments: &PretendBrokerArguments) -> Result<()> {
    let cluster = MockCluster::new(1).context("a broker that pretends")?;
    for topic in &arguments.topics {
        cluster.create_topic(topic, PARTITIONS, 1)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (address, broker) = (listener.local_addr()?, cluster.bootstrap_servers());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // A client that is gone again is no trouble of ours.
            let _gone = client.map_err(Into::into).and_then(|client| stand_between(client, &broker, address.port()));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Passes on what client and broker have to say until one of them ends.
fn stand_between(client: TcpStream, broker: &str, port: u16) -> Result<()> {
    let broker = TcpStream::connect(broker)?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ends = [client.try_clone()?, broker.try_clone()?];
    let expected = Arc::new(Expected::default());
    let (mut asking, mut asked) = (client.try_clone()?, broker.try_clone()?);
    let noted = Arc::clone(&expected);
    std::thread::spawn(move || {
        let _ended = pass_requests(&mut asking, &mut asked, &noted);
        let _closed = ends.map(|end| end.shutdown(Shutdown::Both));
    });
    std::thread::spawn(move || {
        let (mut answering, mut answered) = (broker, client);
        let _ended = pass_answers(&mut answering, &mut answered, &expected, port);
        let _closed = [answering, answered].map(|end| end.shutdown(Shutdown::Both));
    });
    Ok(())
}

/// A request begins with its length, its key, its version and its correlation id.
fn pass_requests(from: &mut TcpStream, to: &mut TcpStream, expected: &Expected) -> Result<()> {
    loop {
        let mut head = [0; 12];
        from.read_exact(&mut head)?;
        let [l0, l1, l2, l3, k0, k1, v0, v1, id @ ..] = head;
        let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        if key == METADATA.0 && version >= METADATA.1 {
            expected.lock().unwrap_or_else(PoisonError::into_inner).insert(i32::from_be_bytes(id));
        }
        to.write_all(&head)?;
        let length = usize::try_from(i32::from_be_bytes([l0, l1, l2, l3]))?;
        pass_rest(from, to, length.checked_sub(head.len() - 4).context("a request is too short")?)?;
    }
}

/// An answer begins with its length and the correlation id of its request.
fn pass_answers(from: &mut TcpStream, to: &mut TcpStream, expected: &Expected, port: u16) -> Result<()> {
    loop {
        let mut head = [0; 8];
        from.read_exact(&mut head)?;
        let [l0, l1, l2, l3, id @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes([l0, l1, l2, l3]))?;
        let rest = length.checked_sub(id.len()).context("an answer is too short")?;
        let is_expected = expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&i32::from_be_bytes(id));
        to.write_all(&head)?;
        if is_expected {
            let mut answer = vec![0; rest];
            from.read_exact(&mut answer)?;
            correct(&mut answer, port).context("an answer about the cluster is not understood")?;
            to.write_all(&answer)?;
        } else {
            pass_rest(from, to, rest)?;
        }
    }
}

fn pass_rest(from: &mut TcpStream, to: &mut TcpStream, mut left: usize) -> Result<()> {
    let mut piece = vec![0; left.min(PIECE_BYTES)];
    while left > 0 {
        let length = from.read(&mut piece[..left.min(PIECE_BYTES)])?;
        ensure!(length > 0, "it ended inside a frame");
        to.write_all(&piece[..length])?;
        left -= length;
    }
    Ok(())
}

/// In an answer about the cluster, behind its correlation id: all brokers are at our port, and the first is the controller.
fn correct(answer: &mut [u8], port: u16) -> Option<()> {
    let mut at = 0;
    // And the time for which the client is throttled.
    no_tags(answer, &mut at)?;
    at += 4;
    let brokers = number(answer, &mut at)?.checked_sub(1)?;
    let mut controller = None;
    for _ in 0..brokers {
        let id: [u8; 4] = answer.get(at..at + 4)?.try_into().ok()?;
        controller.get_or_insert(id);
        at += 4;
        // The host, the port, the rack.
        skip_text(answer, &mut at)?;
        answer.get_mut(at..at + 4)?.copy_from_slice(&u32::from(port).to_be_bytes());
        at += 4;
        skip_text(answer, &mut at)?;
        no_tags(answer, &mut at)?;
    }
    // The name of the cluster.
    skip_text(answer, &mut at)?;
    answer.get_mut(at..at + 4)?.copy_from_slice(&controller?);
    Some(())
}

/// Goes behind a text: one more than its length is told, or 0 for none.
fn skip_text(answer: &[u8], at: &mut usize) -> Option<()> {
    *at += number(answer, at)?.saturating_sub(1);
    Some(())
}

/// Goes behind the number of tags, which the broker that pretends never has any of.
fn no_tags(answer: &[u8], at: &mut usize) -> Option<()> {
    (number(answer, at)? == 0).then_some(())
}

/// A number in groups of seven bits, the last group first.
fn number(answer: &[u8], at: &mut usize) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = *answer.get(*at)?;
        *at += 1;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_and_the_controller_are_corrected() {
        let parts = |port: [u8; 4], controller: [u8; 4]| -> Vec<u8> {
            let broker: [&[u8]; 5] = [&[0, 0, 0, 1], &[4], b"abc", &port, &[0, 0]];
            let name: [&[u8]; 3] = [&[3], b"xy", &controller];
            [&[0, 0, 0, 0, 9, 2][..], &broker.concat(), &name.concat(), b"topics"].concat()
        };
        let mut answer = parts([0, 0, 0x23, 0x84], [0; 4]);
        assert_eq!(correct(&mut answer, 258), Some(()));
        assert_eq!(answer, parts([0, 0, 1, 2], [0, 0, 0, 1]));
        assert_eq!(correct(&mut [0, 0, 0, 0, 9, 2, 0], 258), None);
    }
}
