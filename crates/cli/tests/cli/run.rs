//! `run` against a simulated service: how it ends.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::binary::output_of;
use crate::service::Service;

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")];
/// Longest wait for something that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long records stay in the simulated stream.
const TRIM_AFTER: Duration = Duration::from_secs(4);

async fn wait_for<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(answer) = happened() {
            return answer;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// I8: whoever starts a bounded run learns by its exit code that changes are missing.
#[tokio::test]
async fn a_run_to_the_tip_that_recorded_gaps_ends_with_4() {
    let service = Service::start(&["--trim-after", &format!("{}s", TRIM_AFTER.as_secs())]);
    let folder = tempfile::tempdir().expect("a folder");
    let sink = "[sink.sqlite]\npath = \"shop.db\"\ntable = \"orders\"";
    service.pipeline(&folder.path().join("shop.toml"), "on_gap = \"continue\"\nstart = \"trim-horizon\"", sink);
    let run_to_tip = || output_of(folder.path(), &["run", "--until", "tip", "shop.toml"], &CREDENTIALS);
    service.put("carried", "");
    let first = run_to_tip();
    assert_eq!(first.code, Some(0), "{}", first.text);
    service.put("trimmed before it is read", "");
    sleep(TRIM_AFTER * 2).await;
    service.put("still there", "");
    let second = run_to_tip();
    assert_eq!(second.code, Some(4), "{}", second.text);
    assert_eq!(second.text.matches("[FAIL] source.gaps_recorded  shop\n").count(), 1, "{}", second.text);
    assert!(second.text.contains("reached the tip"), "{}", second.text);
}

/// Ends a process that is still there when a test fails.
struct Running(Child);

impl Running {
    fn signal(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id")).expect("not zero");
        kill_process(pid, Signal::TERM).expect("it is there");
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("ours")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_process_although_nobody_reads_what_it_writes() {
    let service = Service::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    service.pipeline(&folder.path().join("shop.toml"), "start = \"trim-horizon\"", "[sink.stdout]");
    // More than a pipe holds.
    (0..20).for_each(|number| service.put(&number.to_string(), &"x".repeat(10_000)));
    let process = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args(["run", "shop.toml"])
        .current_dir(folder.path())
        .env_clear()
        .envs(CREDENTIALS)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut running = Running(process);
    let stdout = running.0.stdout.take().expect("piped");
    wait_for("a full pipe", || (ioctl_fionread(&stdout).expect("a pipe") > 60_000).then_some(())).await;
    running.signal();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(running.ended(), None, "it commits what is in hand");
    running.signal();
    assert_eq!(wait_for("the end", || running.ended()).await.code(), Some(143));
}
