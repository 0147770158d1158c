//! Running the built wrapper and inspecting the result.

pub mod cgroup;
mod clean_signals;
pub mod collector;
pub mod dependencies;
pub mod envoy;
pub mod guests;
pub mod heavy;
pub mod manifests;
pub mod memory;
pub mod names;
pub mod network;
pub mod peer;
pub mod podman;
pub mod processes;
pub mod programs;
pub mod pty;
pub mod role;
pub mod servers;
pub mod tls;
pub mod witness;

use nix::fcntl::{FcntlArg, fcntl};
use std::{
    env,
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Nothing here takes this long unless it hangs. Hooks are compiled at the lowest priority: what takes a second of CPU
/// takes more than a minute beside a dozen busy processes.
pub const HANGS: Duration = Duration::from_secs(300);

/// Polling interval while waiting for a condition.
pub const LOOK: Duration = Duration::from_millis(10);

/// wrapper, with none of the environment of whoever runs the tests but the path. It is the built one, or what
/// `WRAPPER_UNDER_TEST` says: an emulator and a binary for another CPU, see tests/platforms.
/// With `TEST_COMPILE` set, a debug build compiles built-in hooks as it does files.
pub fn wrapper() -> Command {
    let under_test = env::var("WRAPPER_UNDER_TEST").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wrapper").into());
    let mut words = under_test.split_whitespace();
    let mut command = Command::new(words.next().expect("WRAPPER_UNDER_TEST names a program"));
    command.args(words).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(env::vars_os().filter(|(name, _)| name == "TEST_COMPILE"));
    command.stdin(Stdio::null());
    command
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// The digest that the bytes of an official hook must have.
#[track_caller]
pub fn digest(hook: &str) -> String {
    let sums = std::fs::read_to_string(repository("hooks/dist/SHA256SUMS")).unwrap();
    let digest = sums.lines().find_map(|line| line.strip_suffix(&format!("  {hook}.wasm")));
    digest.unwrap_or_else(|| panic!("{hook} is not listed")).into()
}

/// The line of a hook that failed and says itself why.
pub fn failed(hook: &str, words: &str) -> String {
    format!("wrapper: hook \"{hook}\": failed: it reports: {words}")
}

/// The line of a hook that says what is wrong with its settings.
pub fn misconfigured(hook: &str, words: &str) -> String {
    format!("wrapper: hook \"{hook}\": misconfigured: it reports: {words}")
}

/// What a gate logs whose time is over, as [`without_time`] returns it.
pub fn not_ready(hook: &str, missing: &str) -> String {
    let setting = format!("HOOK_{}_TIMEOUT", hook.to_uppercase().replace('-', "_"));
    format!("not ready after … s: {missing}; {setting} gives it more time")
}

/// A line without the time that a gate has waited, if there is one.
pub fn without_time(line: &str) -> String {
    let parts = line.split_once("not ready after ").and_then(|(start, rest)| Some((start, rest.split_once(" s: ")?)));
    let Some((start, (time, rest))) = parts else { return line.into() };
    time.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
    format!("{start}not ready after … s: {rest}")
}

/// The line about a hook's settings that are known to be wrong before anything starts.
pub fn unfit(hook: &str, words: &str) -> String {
    format!("wrapper: hook \"{hook}\": misconfigured: {words}")
}

/// The name in a line about a hook's file: its own, and the path as the user wrote it.
pub fn with_source(hook: &Path) -> String {
    format!("{:?} ({})", hook.file_stem().unwrap(), hook.display())
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Done {
    /// The exit code; a death by signal fails the test.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed: {self:?}"))
    }

    /// The lines that wrapper wrote.
    pub fn lines(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("wrapper: ")).collect()
    }

    /// The only line on stderr.
    #[track_caller]
    pub fn line(&self) -> &str {
        match self.stderr.lines().collect::<Vec<_>>().as_slice() {
            [line] => line,
            lines => panic!("{} lines instead of one: {lines:#?}", lines.len()),
        }
    }
}

/// Shorthands for running commands.
pub trait Run {
    fn with(self, args: &[&str]) -> Self;
    fn plugin(self, hook: impl AsRef<OsStr>) -> Self;
    /// Runs it to its end and collects what it printed.
    fn done(self) -> Done;
    /// Starts it; it is killed if the test ends first.
    fn running(self) -> Running;
    /// Has the new process do this before it becomes the command: system calls and nothing else.
    fn first(self, prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self;
}

impl Run for Command {
    fn with(mut self, args: &[&str]) -> Self {
        self.args(args);
        self
    }

    fn plugin(mut self, hook: impl AsRef<OsStr>) -> Self {
        self.arg("--plugin").arg(hook);
        self
    }

    fn done(self) -> Done {
        self.running().done()
    }

    fn running(mut self) -> Running {
        let start = Instant::now();
        let mut child = self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the wrapper starts");
        // wrapper gives up a line of its log rather than wait long for who reads it: a burst has to fit into the pipe.
        let _ = fcntl(child.stderr.as_ref().unwrap(), FcntlArg::F_SETPIPE_SZ(1 << 20));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running { child, start, stdout: Some(stdout), stderr: Some(stderr) }
    }

    #[allow(unsafe_code)]
    fn first(mut self, prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        // SAFETY: what the tests do here are system calls, which are allowed after a fork.
        unsafe { self.pre_exec(prepare) };
        self
    }
}

/// A command that runs, its output being read.
pub struct Running {
    pub child: Child,
    start: Instant,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
}

/// The output so far.
pub struct Collected {
    text: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let text = std::sync::Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let sink = text.clone();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            sink.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    Collected { text, reader }
}

impl Collected {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn stdout_so_far(&self) -> String {
        self.stdout.as_ref().unwrap().so_far()
    }

    pub fn stderr_so_far(&self) -> String {
        self.stderr.as_ref().unwrap().so_far()
    }

    /// Waits until the command has printed this on stdout.
    #[track_caller]
    pub fn until_stdout_has(&mut self, text: &str) {
        let out = || self.stdout.as_ref().unwrap().so_far();
        eventually(&format!("stdout has {text:?}"), || out().contains(text));
    }

    #[track_caller]
    pub fn until_stderr_has(&mut self, text: &str) {
        let err = || self.stderr.as_ref().unwrap().so_far();
        eventually(&format!("stderr has {text:?}"), || err().contains(text));
    }

    pub fn signal(&self, signal: i32) {
        kill(self.pid(), signal);
    }

    /// Waits for its end alone, whoever still holds its stdout and stderr.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Waits until all that was printed is here, because nobody holds its stdout and stderr any more.
    #[track_caller]
    pub fn until_output_ends(&self) {
        let ended = |output: &Option<Collected>| output.as_ref().unwrap().reader.is_finished();
        eventually("the end of the output", || ended(&self.stdout) && ended(&self.stderr));
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn done(mut self) -> Done {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.start.elapsed() > HANGS {
                let _ = self.child.kill();
                panic!("hangs; stderr so far: {}", self.stderr_so_far());
            }
            thread::sleep(Duration::from_millis(1));
        };
        let elapsed = self.start.elapsed();
        let (stdout, stderr) = (self.stdout.take().unwrap(), self.stderr.take().unwrap());
        // An orphan may keep the pipe open for longer than wrapper lives; what it prints then is of no interest.
        let soon = Instant::now() + Duration::from_secs(5);
        while !(stdout.reader.is_finished() && stderr.reader.is_finished()) && Instant::now() < soon {
            thread::sleep(Duration::from_millis(1));
        }
        Done { status, stdout: stdout.so_far(), stderr: stderr.so_far(), elapsed }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends any signal, real-time ones included.
#[allow(unsafe_code)]
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes two numbers.
    unsafe { nix::libc::kill(pid, signal) };
}

/// Says that something could not be tested here, past the harness, which hides what a test that passes prints.
pub fn skipped(what: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {what}");
}

/// Looks until the condition holds, and fails the test if it does not within ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::sleep(LOOK);
    }
}

/// Tests these at the same time, because each takes all of a hook's time.
pub fn side_by_side<Case: Sync>(cases: &[Case], test: impl Fn(&Case) + Sync) {
    thread::scope(|threads| {
        for case in cases {
            threads.spawn(|| test(case));
        }
    });
}

/// Fails unless the time lies between the two bounds, in seconds. The upper one is generous: other tests run beside.
#[track_caller]
pub fn assert_took(done: &Done, at_least: f64, at_most: f64) {
    let took = done.elapsed.as_secs_f64();
    assert!(took >= at_least && took <= at_most, "took {took:.2} s, not {at_least} to {at_most} s: {done:?}");
}

/// A script, written by a process of its own: what a test beside may hold open for writing cannot be executed.
pub fn executable(path: &Path, text: &str) {
    let written =
        Command::new("sh").args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#]).arg(path).arg(text).status();
    assert!(written.unwrap().success());
}

/// wrapper where any user can execute it, wherever the repository is; gone with the first value.
pub fn wrapper_for_everyone() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("wrapper");
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // By a process of its own: a test beside that starts one now would hold a copy of our writing descriptor, and what
    // is open for writing cannot be executed.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wrapper")).arg(&program).status().unwrap();
    assert!(copied.success());
    (directory, program)
}
