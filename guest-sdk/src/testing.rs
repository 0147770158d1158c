//! Tests of a hook as ordinary Rust: `cargo test`, without WebAssembly and without wrapper.
//!
//! A [`Job`] is the context that the hook gets, a [`Server`] the peer of its requests. This module exists on every
//! target but WebAssembly.
//!
//! ```
//! use wrapper_hook::{Context, Result, http, log, testing::{Job, Level, Server}};
//!
//! fn run(cx: &Context) -> Result {
//!     let url = cx.var("HOOK_URL").ok_or("HOOK_URL is not set")?;
//!     let verdict = if cx.succeeded() { "success" } else { "failure" };
//!     http::post(&url).body(verdict).send()?.ok()?;
//!     log::info("sent");
//!     Ok(())
//! }
//!
//! let server = Server::answering(200, "thanks");
//! let report = Job::killed(9).var("HOOK_URL", &server.url("/jobs")).run(run);
//! assert_eq!(report.result, Ok(()));
//! assert_eq!(report.log, [(Level::Info, "sent".into())]);
//! assert_eq!(server.requests()[0].line, "POST /jobs HTTP/1.1");
//! assert_eq!(server.requests()[0].body, "failure");
//!
//! let report = Job::exited(0).run(run);
//! assert_eq!(report.result.unwrap_err().text(), "HOOK_URL is not set");
//! ```
//!
//! # Time
//!
//! No test waits: the hook has a clock of its own, which [`sleep`](crate::sleep) advances at once, and which otherwise
//! stands still. [`Context::uptime`] and [`Context::time_left`] follow it. A request takes no time on this clock, unless
//! it times out: then it takes its timeout, for which the test does wait, because the [`Server`] is a real one.
//!
//! ```
//! # use core::time::Duration;
//! # use wrapper_hook::{Context, Result, http, sleep, testing::{Job, Server}};
//! fn run(cx: &Context) -> Result {
//!     let url = cx.var("HOOK_URL").ok_or("HOOK_URL is not set")?;
//!     while http::get(&url).send()?.status() == 503 && cx.time_left() > Duration::from_secs(2) {
//!         sleep(Duration::from_secs(2));
//!     }
//!     Ok(())
//! }
//!
//! let server = Server::answering_in_turn([(503, ""), (503, ""), (200, "")]);
//! let report = Job::exited(0).var("HOOK_URL", &server.url("/")).run(run);
//! assert_eq!(server.requests().len(), 3);
//! assert_eq!(report.slept, Duration::from_secs(4));
//! ```
#![allow(clippy::print_stderr, clippy::expect_used, clippy::panic)]

mod probe;
mod server;

pub use server::{Received, Server};

use crate::{Cause, Context, CpuTime, Result, milliseconds};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{cell::RefCell, time::Duration};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    thread_local,
    time::{SystemTime, UNIX_EPOCH},
};

/// The context and the variables of a hook.
///
/// By default the command is `true` and ran for a second, wrapper has been running for a minute, and the hook has ten
/// seconds.
#[derive(Clone, Debug)]
pub struct Job {
    phase: host::Phase,
    outcome: Option<host::Outcome>,
    exit_code: u8,
    succeeded: bool,
    cause: Option<host::Cause>,
    peak_memory: Option<u64>,
    cpu_time: Option<CpuTime>,
    leftovers: Option<u32>,
    command: Vec<String>,
    elapsed: Duration,
    uptime: Duration,
    time_left: Duration,
    stop_signal: Option<u8>,
    name: String,
    position: (u32, u32),
    variables: Vec<(String, String)>,
}

/// The result and the log of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The value that it returned.
    pub result: Result,
    /// The lines that it logged with [`log`](crate::log).
    pub log: Vec<(Level, String)>,
    /// The sum of its [sleeps](crate::sleep).
    pub slept: Duration,
}

pub use host::Level;

impl Job {
    fn new(outcome: Option<host::Outcome>) -> Self {
        Self {
            phase: if outcome.is_some() { host::Phase::After } else { host::Phase::Before },
            exit_code: match &outcome {
                None => 0,
                Some(host::Outcome::Exited(status)) => *status,
                Some(host::Outcome::Killed(killed)) => killed.signal.saturating_add(128),
                Some(host::Outcome::NotStarted(not_started)) => not_started.exit_code,
                Some(host::Outcome::Other(_)) => 1,
            },
            succeeded: matches!(outcome, Some(host::Outcome::Exited(0))),
            cause: None,
            peak_memory: None,
            cpu_time: None,
            leftovers: None,
            outcome,
            command: ["true".to_owned()].into(),
            elapsed: Duration::from_secs(1),
            uptime: Duration::from_secs(60),
            time_left: Duration::from_secs(10),
            stop_signal: None,
            name: "test".to_owned(),
            position: (1, 1),
            variables: Vec::new(),
        }
    }

    /// A hook before the command.
    pub fn about_to_start() -> Self {
        Self::new(None)
    }

    /// A hook after the command exited with this status.
    pub fn exited(status: u8) -> Self {
        Self::new(Some(host::Outcome::Exited(status)))
    }

    /// A hook after the command was killed by this signal.
    pub fn killed(signal: u8) -> Self {
        Self::new(Some(host::Outcome::Killed(host::Killed { signal, core_dumped: false })))
    }

    /// A hook after the command could not be started.
    pub fn not_started(reason: &str, exit_code: u8) -> Self {
        let reason = reason.to_owned();
        Self::new(Some(host::Outcome::NotStarted(host::NotStarted { reason, exit_code })))
    }

    /// Sets the command and its arguments.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().copied().map(ToOwned::to_owned).collect();
        self
    }

    /// Sets the run time of the command.
    pub fn elapsed(mut self, elapsed: Duration) -> Self {
        self.elapsed = elapsed;
        self
    }

    /// Sets how long wrapper has been running when the hook starts.
    pub fn uptime(mut self, uptime: Duration) -> Self {
        self.uptime = uptime;
        self
    }

    /// Sets how long the hook may run.
    pub fn time_left(mut self, time_left: Duration) -> Self {
        self.time_left = time_left;
        self
    }

    /// Sets the container's exit code where it is not that of the outcome.
    pub fn exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// Sets whether the outcome counts as success where it does not by itself.
    pub fn succeeded(mut self, succeeded: bool) -> Self {
        self.succeeded = succeeded;
        self
    }

    /// Sets why the command ended.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(match cause {
            Cause::OutOfMemory => host::Cause::OutOfMemory,
            Cause::TimedOut => host::Cause::TimedOut,
            Cause::Other(text) => host::Cause::Other(text),
        });
        self
    }

    /// Sets the most memory that the command used, in bytes.
    pub fn peak_memory(mut self, bytes: u64) -> Self {
        self.peak_memory = Some(bytes);
        self
    }

    /// Sets the processor time of the command.
    pub fn cpu_time(mut self, user: Duration, system: Duration) -> Self {
        self.cpu_time = Some(CpuTime { user, system });
        self
    }

    /// Sets the number of processes that the command left behind.
    pub fn leftover_count(mut self, count: u32) -> Self {
        self.leftovers = Some(count);
        self
    }

    /// Sets the signal that wrapper got to stop the container.
    pub fn stop_signal(mut self, signal: u8) -> Self {
        self.stop_signal = Some(signal);
        self
    }

    /// Sets the name of the hook.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Sets the position of the hook, counted from 1, and the number of hooks in its phase.
    pub fn position(mut self, number: u32, count: u32) -> Self {
        self.position = (number, count);
        self
    }

    /// Sets a variable.
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the hook on this thread.
    pub fn run(self, hook: impl FnOnce(&Context) -> Result) -> Report {
        let running = Running { job: self, passed: Duration::ZERO, slept: Duration::ZERO, log: Vec::new() };
        let before = RUNNING.replace(Some(running));
        let result = hook(Context::get());
        let Running { log, slept, .. } = RUNNING.replace(before).expect("it is there until here");
        Report { result, log, slept }
    }
}

struct Running {
    job: Job,
    /// Time on the hook's clock.
    passed: Duration,
    slept: Duration,
    log: Vec<(Level, String)>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// The functions of the world `hook`, implemented by the job that runs on this thread.
pub(crate) mod host {
    pub use super::probe::probe;
    use super::*;
    pub use crate::bindings::wrapper::hook::{
        context::{Cause, CpuTime, Killed, NotStarted, Outcome, Phase, Position},
        logging::Level,
        probe::Failure,
    };

    fn with<T>(access: impl FnOnce(&mut Running) -> T) -> T {
        let outside = "a hook's functions can be called only while Job::run runs it, on the same thread";
        RUNNING.with_borrow_mut(|running| access(running.as_mut().expect(outside)))
    }

    pub fn get_phase() -> Phase {
        with(|running| running.job.phase.clone())
    }

    pub fn get_command() -> Vec<String> {
        with(|running| running.job.command.clone())
    }

    pub fn get_outcome() -> Option<Outcome> {
        with(|running| running.job.outcome.clone())
    }

    pub fn get_cause() -> Option<Cause> {
        with(|running| running.job.cause.clone())
    }

    pub fn get_exit_code() -> Option<u8> {
        with(|running| running.job.outcome.as_ref().map(|_| running.job.exit_code))
    }

    pub fn get_succeeded() -> Option<bool> {
        with(|running| running.job.outcome.as_ref().map(|_| running.job.succeeded))
    }

    pub fn get_peak_memory() -> Option<u64> {
        with(|running| running.job.peak_memory)
    }

    pub fn get_cpu_time() -> Option<CpuTime> {
        let crate::CpuTime { user, system } = with(|running| running.job.cpu_time)?;
        Some(CpuTime { user: nanoseconds(user), system: nanoseconds(system) })
    }

    pub fn get_leftover_count() -> Option<u32> {
        with(|running| running.job.leftovers)
    }

    pub fn get_stop_signal() -> Option<u8> {
        with(|running| running.job.stop_signal)
    }

    pub fn get_started_at() -> Option<u64> {
        let elapsed = get_elapsed()?;
        Some(nanoseconds(now()).saturating_sub(elapsed))
    }

    pub fn get_elapsed() -> Option<u64> {
        let ran = matches!(get_outcome(), Some(Outcome::Exited(_) | Outcome::Killed(_)));
        ran.then(|| with(|running| nanoseconds(running.job.elapsed)))
    }

    pub fn get_uptime() -> u64 {
        with(|running| nanoseconds(running.job.uptime.saturating_add(running.passed)))
    }

    pub fn get_time_left() -> u64 {
        with(|running| nanoseconds(running.job.time_left.saturating_sub(running.passed)))
    }

    pub fn get_name() -> String {
        with(|running| running.job.name.clone())
    }

    pub fn get_position() -> Position {
        let (number, count) = with(|running| running.job.position);
        Position { number, count }
    }

    pub fn get_environment() -> Vec<(String, String)> {
        with(|running| {
            let job = &running.job;
            let cause = job.cause.as_ref().map(|cause| match cause {
                Cause::OutOfMemory => "out-of-memory".to_owned(),
                Cause::TimedOut => "timed-out".to_owned(),
                Cause::Other(text) => text.clone(),
            });
            let cpu_time = job.cpu_time.map(|time| milliseconds(time.user.saturating_add(time.system)));
            // Those of the context that a hook may read instead of calling a function.
            let of_context = [
                ("WRAPPER_CAUSE", cause),
                ("WRAPPER_PEAK_MEMORY", job.peak_memory.map(|bytes| bytes.to_string())),
                ("WRAPPER_CPU_MS", cpu_time.map(|time| time.to_string())),
                ("WRAPPER_LEFTOVERS", job.leftovers.map(|count| count.to_string())),
            ];
            let of_context = of_context.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            job.variables.iter().cloned().chain(of_context).collect()
        })
    }

    pub fn log(level: Level, message: &str) {
        with(|running| running.log.push((level, message.to_owned())));
    }

    pub fn sleep(time: Duration) {
        with(|running| {
            running.passed = running.passed.saturating_add(time);
            running.slept = running.slept.saturating_add(time);
        });
    }

    /// The time on the clock of the hook, if one runs on this thread: requests can be sent without.
    pub fn passed() -> Option<Duration> {
        RUNNING.with_borrow(|running| running.as_ref().map(|running| running.passed))
    }

    /// Sets the clock to a time, unless it is past that.
    pub fn pass_until(time: Duration) {
        RUNNING.with_borrow_mut(|running| {
            if let Some(running) = running {
                running.passed = running.passed.max(time);
            }
        });
    }

    pub fn now() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    pub fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    pub fn nanoseconds(time: Duration) -> u64 {
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http, sleep, text};
    use std::{net::TcpListener, time::Instant};

    #[test]
    fn sleep_advances_the_clock_of_the_hook_and_takes_no_time() {
        const HOUR: Duration = Duration::from_secs(3600);
        let began = Instant::now();
        let report = Job::exited(0).uptime(HOUR).time_left(HOUR).run(|cx| {
            assert_eq!((cx.uptime(), cx.time_left()), (HOUR, HOUR));
            sleep(HOUR / 2);
            assert_eq!((cx.uptime(), cx.time_left()), (HOUR * 3 / 2, HOUR / 2));
            sleep(HOUR);
            assert_eq!((cx.elapsed(), cx.time_left()), (Some(Duration::from_secs(1)), Duration::ZERO));
            Ok(())
        });
        assert_eq!(report.slept, HOUR * 3 / 2);
        assert!(began.elapsed() < HOUR / 2);
    }

    #[test]
    fn a_request_takes_its_timeout_on_the_clock_only_if_it_times_out() {
        const TIMEOUT: Duration = Duration::from_millis(100);
        let server = Server::answering(200, "");
        // Its connections are never accepted.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = text!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let report = Job::exited(0).uptime(Duration::ZERO).run(|cx| {
            http::get(&server.url("/")).send()?.ok()?;
            assert_eq!(cx.uptime(), Duration::ZERO);
            // Both at the same time take it once.
            let pending = [http::get(&silent).timeout(TIMEOUT).start(), http::get(&silent).timeout(TIMEOUT).start()];
            let errors = pending.map(|pending| pending.wait().unwrap_err().kind);
            assert_eq!((errors, cx.uptime()), ([http::ErrorKind::Timeout; 2], TIMEOUT));
            // Waiting for one that takes longer is waiting.
            let pending = http::get(&silent).start();
            assert!(!pending.is_ready_within(TIMEOUT));
            assert_eq!(cx.uptime(), TIMEOUT * 2);
            let pending = http::get(&server.url("/")).start();
            assert!(pending.is_ready_within(Duration::from_secs(60)));
            assert_eq!((pending.wait()?.status(), cx.uptime()), (200, TIMEOUT * 2));
            Ok(())
        });
        assert_eq!(report.slept, Duration::ZERO);
    }
}
