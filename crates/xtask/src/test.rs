//! `cargo x test`: everything that must hold, from a fresh machine, in one command.

use std::num::NonZero;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::servers::ServerName;
use crate::{command, compose, counts, deny, interrupt, prerequisites, servers, simulate, tidy, workspace};

/// How long the demo of the smoke step runs.
const DEMO_FOR: &str = "10s";
/// The package of the tests that need real servers.
const SERVER_TESTS: &str = "tailwater-tests";
/// Tests of one program that run at once, beside one for each processor: mostly they wait for servers, or for time to pass.
const TESTS_BESIDE: usize = 6;
/// What turns the composition's tests on.
const COMPOSE_FEATURE: &str = "tailwater-tests/compose";

/// Where the tests find a Python with boto3.
const PYTHON_VARIABLE: &str = "TAILWATER_TEST_PYTHON";

/// How a step went.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

/// What is to be tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// What needs neither servers nor an optimized build.
    Quick,
    /// Everything that this machine can be asked for; all of it in CI.
    Full,
    /// The composition of `docker-compose.yml` alone.
    Compose,
}

/// The steps so far, with their times.
#[derive(Default)]
pub struct Report {
    steps: Vec<(&'static str, Outcome, Duration)>,
    tests: Counts,
}

/// What the `test result:` lines of a test run add up to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

/// Runs the steps in order, whatever fails, and ends with a table; fails when one of them failed.
pub fn run(scope: Scope) -> Result<()> {
    let mut report = Report::default();
    report.step("prerequisites", prerequisites::need_c_compiler);
    if scope == Scope::Compose {
        report.test_composition();
    } else {
        report.test_checkout(scope);
    }
    report.finish()
}

/// Whether this is CI, where nothing is left out.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

impl Report {
    fn test_checkout(&mut self, scope: Scope) {
        self.step("format", || command::run_shown(cargo().args(["fmt", "--all", "--check"])));
        self.step("tidy", tidy::run);
        self.step("clippy", || {
            // The composition's tests are a target that only this feature turns on.
            let all = ["clippy", "--workspace", "--all-targets", "--features", COMPOSE_FEATURE];
            command::run_shown(cargo().args(all).args(["--", "-D", "warnings"]))
        });
        if deny::find().is_some() || in_ci() {
            self.step("deny", deny::run);
        } else {
            self.skip("deny", "cargo-deny is not installed: cargo x deny");
        }
        if scope == Scope::Quick {
            self.test("tests", cargo().args(["test", "--workspace", "--no-fail-fast", "--exclude", SERVER_TESTS]));
            return;
        }
        self.with_servers(|report| {
            let mut python = None;
            report.step("boto3", || {
                python = Some(prerequisites::need_boto3()?);
                Ok(())
            });
            let mut tests = cargo();
            tests.args(["test", "--workspace", "--no-fail-fast"]);
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            tests.env("RUST_TEST_THREADS", (processors + TESTS_BESIDE).to_string());
            // Without it the tests that need it fail and say so.
            tests.envs(python.map(|python| (PYTHON_VARIABLE, python)));
            report.test("tests", &mut tests);
        });
        self.step("release build", || command::run_shown(cargo().args(["build", "--release"])));
        self.step("worlds", || simulate::run(&["day".to_owned()]));
        self.step("counts", || counts::run(false));
        self.step("demo", || {
            command::run_shown(cargo().args(["run", "--release", "--quiet", "--", "demo", "--for", DEMO_FOR]))
        });
        if in_ci() {
            self.test_composition();
        } else {
            self.skip("compose", "takes Docker and some minutes: cargo x test --compose");
        }
    }

    /// Brings the composition up in containers, tests it, and removes what was started.
    fn test_composition(&mut self) {
        let mut composition = None;
        self.step("compose images", || {
            composition = Some(compose::prepare()?);
            Ok(())
        });
        let Some(composition) = composition else { return };
        let is_up = self.step("compose up", || composition.up());
        if is_up {
            self.test("compose tests", &mut composition.tests());
        } else {
            self.skip("compose tests", "the composition is not up");
        }
        if matches!(self.steps.last(), Some((_, Outcome::Failed(_), _))) || !is_up {
            composition.tell_logs();
        }
        // Also after a failure or Ctrl-C: so not a step, which would not begin any more.
        tell!("\n=== removing the containers, their network and volumes");
        let began = Instant::now();
        let removed = composition.remove();
        // Stops the daemon when it was started here.
        drop(composition);
        let outcome = removed.map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed);
        self.steps.push(("compose down", outcome, began.elapsed()));
    }

    /// Runs one step and notes how it went; whether it passed.
    pub fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        if interrupt::asked_to_stop() {
            self.skip(name, "asked to stop");
            return false;
        }
        tell!("\n=== {name}");
        let began = Instant::now();
        let outcome = work().map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed);
        if let Outcome::Failed(why) = &outcome {
            tell!("{name} failed: {why}");
        }
        let passed = matches!(outcome, Outcome::Passed);
        self.steps.push((name, outcome, began.elapsed()));
        passed
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        self.steps.push((name, Outcome::Skipped(why), Duration::ZERO));
    }

    /// Starts the servers that nobody else provides, does the work, and stops those of them that were not running before.
    pub fn with_servers(&mut self, work: impl FnOnce(&mut Self)) {
        let (given, wanted): (Vec<_>, Vec<_>) =
            ServerName::ALL.into_iter().partition(|name| name.is_given_from_outside());
        let before = servers::running(&wanted);
        let ready = self.step("servers", || {
            for name in &given {
                tell!("{}", name.given_from());
            }
            // Some tests start a Kafka of their own, and all of them read it by tools that come with it.
            servers::install(&[ServerName::Kafka])?;
            servers::up(&wanted)
        });
        if ready {
            work(self);
        } else {
            self.skip("tests", "their servers are not ready");
        }
        // Also after a failure or Ctrl-C, and also what started before another server failed.
        let started: Vec<_> = servers::running(&wanted).into_iter().filter(|name| !before.contains(name)).collect();
        if !started.is_empty() {
            tell!("\n=== stopping the servers");
            if let Err(error) = servers::down(&started) {
                self.steps.push(("stop servers", Outcome::Failed(format!("{error:#}")), Duration::ZERO));
            }
        }
    }

    /// Runs cargo's tests and adds up what their closing lines say.
    fn test(&mut self, name: &'static str, test_command: &mut Command) {
        self.test_watched(name, test_command, |_| {});
    }

    /// The same, and shows each line of their output to `watch`.
    pub fn test_watched(&mut self, name: &'static str, test_command: &mut Command, mut watch: impl FnMut(&str) + Send) {
        let mut counts = Counts::default();
        self.step(name, || {
            let result = command::run_watched(test_command, |line| {
                counts.add(line);
                watch(line);
            });
            // A run that compiles and tests nothing must not look like a success.
            result.and_then(|()| {
                ensure!(counts.passed > 0, "not one test was run: look at the lines above for the reason");
                Ok(())
            })
        });
        self.tests.passed += counts.passed;
        self.tests.failed += counts.failed;
    }

    /// Tells how every step went; fails when one of them failed.
    pub fn finish(self) -> Result<()> {
        tell!("\n=== summary");
        let mut failures = 0_u32;
        for (name, outcome, took) in &self.steps {
            let told = match outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
                Outcome::Failed(why) => {
                    failures += 1;
                    format!("FAILED: {}", why.lines().next().unwrap_or_default())
                }
            };
            tell!("{name:<14} {:>8.1} s  {told}", took.as_secs_f64());
        }
        tell!("{} passed, {} failed", self.tests.passed, self.tests.failed);
        if interrupt::asked_to_stop() {
            bail!("stopped before the end: run `cargo x test` again");
        }
        ensure!(failures == 0, "{failures} of {} steps failed: their messages are above", self.steps.len());
        Ok(())
    }
}

impl Counts {
    /// Adds a line like `test result: ok. 12 passed; 0 failed; ...`; other lines count nothing.
    pub fn add(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else { return };
        self.passed += number_before(rest, " passed");
        self.failed += number_before(rest, " failed");
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let number = text.split(word).next().and_then(|before| before.split_whitespace().next_back());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// `cargo` in the checkout's root.
pub fn cargo() -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(workspace::root());
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let mut counts = Counts::default();
        counts.add("running 12 tests");
        counts.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(counts, Counts { passed: 15, failed: 2 });
    }

    #[test]
    fn a_failed_step_fails_the_run_and_the_next_one_still_runs() {
        let mut report = Report::default();
        let mut ran = false;
        assert!(!report.step("first", || bail!("broken")));
        assert!(report.step("second", || {
            ran = true;
            Ok(())
        }));
        assert!(ran && report.finish().is_err());
    }
}
