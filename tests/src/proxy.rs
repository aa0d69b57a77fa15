//! A TCP proxy in front of PostgreSQL that understands just enough of its protocol to break a commit at a chosen place.
//!
//! It counts the client's messages from each `BEGIN` on. A fault is armed for the next transaction and fires once.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// `SSLRequest` (PostgreSQL documentation, "Message Formats"): answered with "no" here, so that messages stay readable.
const SSL_REQUEST: u32 = 80_877_103;
/// `GSSENCRequest`, answered in the same way.
const GSS_REQUEST: u32 = 80_877_104;
/// More than any message of these tests; a larger length means that the framing is lost.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// The table that is written to where an owner shows life.
const OF_OWNERS: &str = "tailwater.owners";
/// Characters of a message that a report shows.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// What to do to the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cut instead of passing on the client's message of this number; `BEGIN` is number 0.
    CutBefore(usize),
    /// Pass on the client's message of this number, then cut before any answer to it.
    CutAfter(usize),
    /// Pass on `COMMIT`, wait for its answer, and cut instead of passing the answer on.
    LoseCommitAnswer,
    /// Pass the answer to `COMMIT` on after this time.
    DelayCommitAnswer(Duration),
    /// Cut the client at its `COMMIT`; the server gets the `COMMIT` after this time.
    DeliverCommitLate(Duration),
}

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Data passes.
    Up,
    /// Connections are closed, new ones too, at once.
    Down,
    /// Connections stay open and nothing passes in either direction.
    Silent,
}

/// A running proxy. It ends when dropped.
pub struct Proxy {
    /// The loopback port that it listens on.
    pub port: u16,
    line: watch::Sender<Line>,
    armed: Arc<Mutex<Armed>>,
    accepting: JoinHandle<()>,
}

/// The fault that waits for its transaction, and what became of it.
#[derive(Default)]
struct Armed {
    fault: Option<Fault>,
    outcome: Option<Hit>,
}

/// What an armed fault met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// It fired at this message.
    Fired(String),
    /// The transaction ended before the message of that number.
    Beyond,
}

/// What a connection does to the server's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Pass,
    CutAtNext,
    DelayNext(Duration),
}

impl Proxy {
    /// Listens on a free loopback port and connects to the server at `address`.
    pub async fn start(address: (String, u16)) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a port for the proxy")?;
        let port = listener.local_addr()?.port();
        let (line, line_state) = watch::channel(Line::Up);
        let armed = Arc::new(Mutex::new(Armed::default()));
        let shared = Arc::clone(&armed);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *line_state.borrow() == Line::Down {
                    continue;
                }
                let (address, armed, mut line) = (address.clone(), Arc::clone(&shared), line_state.clone());
                tokio::spawn(async move {
                    let carried = carry(client, address, armed, line.clone());
                    tokio::select! {
                        biased;
                        _ = line.wait_for(|line| *line == Line::Down) => {}
                        // An error is a connection that one side has closed: the other is closed by the drop.
                        _ = carried => {}
                    }
                });
            }
        });
        Ok(Self { port, line, armed, accepting })
    }

    /// Changes how the line is.
    pub fn set_line(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Arms a fault for the next transaction that begins.
    pub fn arm(&self, fault: Fault) {
        *lock(&self.armed) = Armed { fault: Some(fault), outcome: None };
    }

    /// What the armed fault met, once it is decided.
    pub fn hit(&self) -> Option<Hit> {
        lock(&self.armed).outcome.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.send_replace(Line::Down);
        self.accepting.abort();
    }
}

/// Nobody panics while holding it; if so, the test fails anyway and the state is still whole.
fn lock(armed: &Mutex<Armed>) -> MutexGuard<'_, Armed> {
    armed.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry(
    client: TcpStream,
    address: (String, u16),
    armed: Arc<Mutex<Armed>>,
    line: watch::Receiver<Line>,
) -> io::Result<()> {
    let server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_read, mut client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let mut requests = Requests { client: client_read, server: server_write, line: line.clone() };
    requests.pass_startup(&mut client_write).await?;
    let (answers, answers_state) = watch::channel(Answers::Pass);
    let held = tokio::select! {
        biased;
        ended = requests.pass(&armed, &answers) => ended?,
        ended = pass_answers(server_read, client_write, answers_state, line) => return ended,
    };
    if let Some(Held { message, delay }) = held {
        // The writing half went with the answers: now the client sees its connection closed, and the server does not.
        drop(requests.client);
        tokio::time::sleep(delay).await;
        requests.server.write_all(&message).await?;
    }
    Ok(())
}

/// The client's side of one connection.
struct Requests {
    client: OwnedReadHalf,
    server: OwnedWriteHalf,
    line: watch::Receiver<Line>,
}

/// A `COMMIT` that the server is to get when its client is gone, and after how long.
struct Held {
    message: Vec<u8>,
    delay: Duration,
}

/// What is to be done with one message.
enum Verdict {
    Pass,
    PassThenCut,
    Cut,
    Late(Duration),
}

impl Requests {
    /// Passes on the untyped messages at the beginning, refusing encryption.
    async fn pass_startup(&mut self, client_write: &mut OwnedWriteHalf) -> io::Result<()> {
        loop {
            let length = self.client.read_u32().await?;
            let mut body = vec![0; body_length(length)?];
            self.client.read_exact(&mut body).await?;
            let code = body.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
            if [SSL_REQUEST, GSS_REQUEST].contains(&code) {
                client_write.write_all(b"N").await?;
                continue;
            }
            self.server.write_all(&[&length.to_be_bytes(), body.as_slice()].concat()).await?;
            return Ok(());
        }
    }

    /// Passes messages on until a fault cuts the connection. A message that is to be late comes back.
    async fn pass(&mut self, armed: &Mutex<Armed>, answers: &watch::Sender<Answers>) -> io::Result<Option<Held>> {
        // The number of the next message in its transaction, while one is under way that a fault waits for.
        let mut place = None;
        loop {
            let kind = self.client.read_u8().await?;
            let length = self.client.read_u32().await?;
            let mut body = vec![0; body_length(length)?];
            self.client.read_exact(&mut body).await?;
            let message = [&[kind], length.to_be_bytes().as_slice(), &body].concat();
            // A closed channel means that the proxy is gone; the connection goes with it.
            let _ = self.line.wait_for(|line| *line != Line::Silent).await;
            match judge(armed, &mut place, kind, &body, answers) {
                Verdict::Pass => self.server.write_all(&message).await?,
                Verdict::PassThenCut => {
                    self.server.write_all(&message).await?;
                    return Ok(None);
                }
                Verdict::Cut => return Ok(None),
                Verdict::Late(delay) => return Ok(Some(Held { message, delay })),
            }
        }
    }
}

/// Decides about one message of the client.
fn judge(
    armed: &Mutex<Armed>,
    place: &mut Option<usize>,
    kind: u8,
    body: &[u8],
    answers: &watch::Sender<Answers>,
) -> Verdict {
    let mut armed = lock(armed);
    let Some(fault) = armed.fault else {
        *place = None;
        return Verdict::Pass;
    };
    if is_query(kind, body, "BEGIN") {
        *place = Some(0);
    }
    // An owner shows life on a connection of its own: that is no commit of a lane.
    if contains(body, OF_OWNERS) {
        *place = None;
    }
    let Some(now) = *place else {
        return Verdict::Pass;
    };
    *place = Some(now + 1);
    let commit = is_query(kind, body, "COMMIT");
    let verdict = match fault {
        Fault::CutBefore(number) if number == now => Some(Verdict::Cut),
        Fault::CutAfter(number) if number == now => Some(Verdict::PassThenCut),
        Fault::LoseCommitAnswer if commit => {
            answers.send_replace(Answers::CutAtNext);
            Some(Verdict::Pass)
        }
        Fault::DelayCommitAnswer(delay) if commit => {
            answers.send_replace(Answers::DelayNext(delay));
            Some(Verdict::Pass)
        }
        Fault::DeliverCommitLate(delay) if commit => Some(Verdict::Late(delay)),
        _ => None,
    };
    if verdict.is_some() || commit {
        let shown: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARACTERS_MAX).collect();
        let fired = format!("message {now} {} {shown:?}", char::from(kind));
        let outcome = if verdict.is_some() { Hit::Fired(fired) } else { Hit::Beyond };
        *armed = Armed { fault: None, outcome: Some(outcome) };
        *place = None;
    }
    verdict.unwrap_or(Verdict::Pass)
}

fn contains(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Whether this is a simple query that begins with this word, or one that is parsed to be executed.
fn is_query(kind: u8, body: &[u8], word: &str) -> bool {
    let text = match kind {
        b'Q' => body,
        // The name of the statement comes first, ended by a zero byte.
        b'P' => body.iter().position(|byte| *byte == 0).map_or(body, |end| &body[end + 1..]),
        _ => return false,
    };
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

async fn pass_answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    answers: watch::Receiver<Answers>,
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut delayed = false;
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let _ = line.wait_for(|line| *line != Line::Silent).await;
        let answer = *answers.borrow();
        match answer {
            Answers::Pass => {}
            Answers::CutAtNext => return Ok(()),
            Answers::DelayNext(delay) if !delayed => {
                delayed = true;
                tokio::time::sleep(delay).await;
            }
            Answers::DelayNext(_) => {}
        }
        client.write_all(&buffer[..length]).await?;
    }
}

/// The length field counts itself.
fn body_length(length: u32) -> io::Result<usize> {
    let body = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
    body.filter(|body| *body <= MESSAGE_BYTES_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")))
}
