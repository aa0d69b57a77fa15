//! Lines that wait for the thread that writes them.
//!
//! Not `tracing-appender`: at the end it may say on stdout that its queue is full, and that is where records and answers go.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes that wait for the thread (I6). It has as many in hand.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Longest wait for the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The end that lines are put into. Whoever does so never waits: a line that finds no room is dropped.
#[derive(Clone)]
pub struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread has lines in hand.
    is_writing: bool,
    /// Lines that found no room, since the start.
    dropped: u64,
}

impl LogQueue {
    /// Starts the thread. It calls `tell` with the number of all lines that were dropped, once it got rid of others.
    pub fn start(out: impl Write + Send + 'static, tell: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let of_thread = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || of_thread.write_to(out, tell)).map(|_| queue)
    }

    /// Waits until all lines are written, but not for long: at the end nobody may read them.
    pub fn wait_until_written(&self) {
        let is_left = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.lock(), FLUSH_MAX, is_left));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs as long as the process.
    fn write_to(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let mut told = 0;
        loop {
            let waiting = self.0.changed.wait_while(self.lock(), |state| state.waiting.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            let lines = mem::take(&mut state.waiting);
            state.is_writing = true;
            drop(state);
            // A reader that went away is no fault of ours, and nobody is left to be told of another one.
            let _ = out.write_all(&lines);
            let dropped = self.lock().dropped;
            // What is told may be dropped, too: then it is one more, and told again.
            if dropped > told {
                told = dropped;
                tell(dropped);
            }
            self.lock().is_writing = false;
            self.0.changed.notify_all();
        }
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.waiting.len() + line.len() <= WAITING_BYTES_MAX {
            state.waiting.extend_from_slice(line);
        } else {
            state.dropped += 1;
        }
        drop(state);
        self.0.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that stands still while somebody holds the first lock, and what it has read.
    #[derive(Clone, Default)]
    struct Reader {
        held: Arc<Mutex<()>>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.held.lock());
            self.read.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_put_in_is_written_in_order() {
        let reader = Reader::default();
        let mut queue = LogQueue::start(reader.clone(), |_| panic!("nothing is dropped")).expect("a thread");
        for line in ["one\n", "two\n", "three\n"] {
            queue.write_all(line.as_bytes()).expect("never refused");
        }
        queue.wait_until_written();
        assert_eq!(*reader.read.lock().expect("not poisoned"), b"one\ntwo\nthree\n");
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stands_still_and_what_is_dropped_is_told() {
        const LINES: usize = 64;
        let line = vec![b'x'; WAITING_BYTES_MAX / 16];
        let (reader, told) = (Reader::default(), Arc::new(Mutex::new(Vec::new())));
        let tell = Arc::clone(&told);
        let tell = move |dropped| tell.lock().expect("not poisoned").push(dropped);
        let mut queue = LogQueue::start(reader.clone(), tell).expect("a thread");
        let held = reader.held.lock().expect("not poisoned");
        for _ in 0..LINES {
            queue.write_all(&line).expect("never refused");
        }
        queue.wait_until_written();
        assert!(told.lock().expect("not poisoned").is_empty(), "there is no room yet");
        drop(held);
        queue.wait_until_written();
        let written = reader.read.lock().expect("not poisoned").len() / line.len();
        let dropped = LINES - written;
        // Sixteen wait, and at most as many are in hand.
        assert!((16..=32).contains(&written), "{written} lines written");
        assert_eq!(*told.lock().expect("not poisoned"), [dropped as u64]);
    }
}
