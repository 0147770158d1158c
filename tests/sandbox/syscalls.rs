//! The operating system's layer of the sandbox: a debug build attempts escapes from inside a sandboxed process when it
//! is asked to, each with its twin in a process without a sandbox.

use crate::harness::{
    Run, Running, eventually, guests, peer::free_port, processes::Process, processes::status, wrapper,
};
use nix::libc;
use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command},
};

/// The results of the attempts, in their order.
fn escape(attempts: &str, options: &[&str], sandboxed: bool) -> Vec<String> {
    escape_from(guests::official("echo"), attempts, options, sandboxed)
}

/// The same in the process that runs a built-in hook.
fn escape_from_built_in(attempts: &str, sandboxed: bool) -> Vec<String> {
    escape_from("echo", attempts, &[], sandboxed)
}

fn escape_from(hook: impl AsRef<OsStr>, attempts: &str, options: &[&str], sandboxed: bool) -> Vec<String> {
    let done = attempting_in(hook, "TEST_ESCAPE", attempts, options, sandboxed).done();
    assert_eq!(done.code(), 7, "{done:?}");
    results(&done.stderr, attempts)
}

/// The same in the process that checks and compiles a hook.
fn escape_as_compiler(attempts: &str, sandboxed: bool) -> Vec<String> {
    let done = attempting("TEST_ESCAPE_COMPILER", attempts, &[], sandboxed).done();
    assert_eq!(done.code(), 7, "{done:?}");
    results(&done.stderr, attempts)
}

fn attempting(whose: &str, attempts: &str, options: &[&str], sandboxed: bool) -> Command {
    attempting_in(guests::official("echo"), whose, attempts, options, sandboxed)
}

fn attempting_in(hook: impl AsRef<OsStr>, whose: &str, attempts: &str, options: &[&str], sandboxed: bool) -> Command {
    let mut run = wrapper().with(options).plugin(hook).with(&["sh", "-c", "exit 7"]);
    run.env(whose, attempts);
    if !sandboxed {
        run.env("WRAPPER_TEST_NO_SANDBOX", "1");
    }
    run
}

#[track_caller]
fn results(log: &str, attempts: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("wrapper: escape "));
    let results: Vec<String> = lines.map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect();
    assert_eq!(results.len(), attempts.split(' ').count(), "{log}");
    results
}

fn refused(result: &str) -> bool {
    ["Operation not permitted", "Permission denied"].iter().any(|words| result.starts_with(words))
}

/// An attempt of a system call.
fn call(number: libc::c_long, arguments: &str) -> String {
    format!("call={number}:{arguments}")
}

/// A process of no importance.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The number of its processor clock (clock_getcpuclockid(3)).
    fn clock(&self) -> i32 {
        (!self.0.id().cast_signed() << 3) | 2
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// System calls with arguments that no hook needs, and those without which it would not work.
fn calls(victim: &Victim) -> (Vec<String>, Vec<String>) {
    let (pid, clock) = (victim.pid(), victim.clock());
    let mut refused = vec![
        // Memory that no limit counts as data, or that becomes executable.
        call(libc::SYS_mprotect, "0,0,5"),
        call(libc::SYS_madvise, "zeros,0,16"),
        // Other processes.
        call(libc::SYS_prlimit64, &format!("{pid},4,0,zeros")),
        call(libc::SYS_sched_getaffinity, &format!("{pid},4096,zeros")),
        call(libc::SYS_getpriority, &format!("0,{pid}")),
        call(libc::SYS_setpriority, &format!("0,{pid},19")),
        call(libc::SYS_clock_gettime, &format!("{clock},zeros")),
        call(libc::SYS_tgkill, &format!("{pid},{pid},0")),
        // One's own limits, and rights that are gone.
        call(libc::SYS_prlimit64, "0,4,zeros"),
        call(libc::SYS_prctl, "38,1"),
        call(libc::SYS_prctl, "4,1"),
        // Filters: one with a descriptor for all further calls, and any after the code is loaded.
        call(libc::SYS_seccomp, "1,8,filter"),
        call(libc::SYS_seccomp, "1,0,filter"),
        // A mutex with priority inheritance.
        call(libc::SYS_futex, "zeros,134"),
        // Sockets that are not TCP's: Unix, netlink, UDP, raw, MPTCP, and pairs.
        call(libc::SYS_socket, "1,1,0"),
        call(libc::SYS_socket, "16,3,0"),
        call(libc::SYS_socket, "2,2,0"),
        call(libc::SYS_socket, "2,3,1"),
        call(libc::SYS_socket, "2,1,262"),
        call(libc::SYS_socketpair, "1,1,0,zeros"),
        // Features of TCP beyond connecting, sending and receiving.
        call(libc::SYS_setsockopt, "tcp,1,9,zeros,4"),
        call(libc::SYS_getsockopt, "tcp,1,17,zeros,zeros"),
        call(libc::SYS_sendto, "tcp,zeros,1,536870912,loopback,16"),
        call(libc::SYS_sendto, "tcp,zeros,1,16384,loopback,16"),
        call(libc::SYS_recvmsg, "tcp,zeros,0"),
        call(libc::SYS_listen, "tcp,1"),
        call(libc::SYS_bind, "tcp,zeros,16"),
        // Descriptors: new ones, and flags that are shared.
        call(libc::SYS_pipe2, "zeros"),
        call(libc::SYS_fcntl, "tcp,4,0"),
        call(libc::SYS_fcntl, "tcp,8,0"),
        call(libc::SYS_ioctl, "tcp,21531,zeros"),
    ];
    let mut needed = vec![
        call(libc::SYS_madvise, "0,0,4"),
        call(libc::SYS_prlimit64, "0,4,0,zeros"),
        call(libc::SYS_sched_getaffinity, "0,4096,zeros"),
        call(libc::SYS_clock_gettime, "1,zeros"),
        call(libc::SYS_tgkill, "self,self,0"),
        call(libc::SYS_futex, "zeros,129"),
        call(libc::SYS_socket, "2,1,0"),
        call(libc::SYS_socket, "10,1,0"),
        call(libc::SYS_setsockopt, "tcp,6,1,zeros,4"),
        call(libc::SYS_getsockopt, "tcp,1,4,zeros,zeros"),
        call(libc::SYS_fcntl, "tcp,1030,0"),
    ];
    if cfg!(not(target_arch = "s390x")) {
        let own = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let map = |flags: i32| call(libc::SYS_mmap, &format!("0,4096,3,{flags},-1"));
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        refused.extend([map(shared), map(own | libc::MAP_GROWSDOWN), map(own | libc::MAP_LOCKED)]);
        needed.push(map(own));
    }
    (refused, needed)
}

#[test]
fn every_system_call_with_arguments_that_no_hook_needs_is_refused() {
    let victim = Victim::new();
    let (calls, needed) = calls(&victim);
    let attempts = calls.join(" ");
    for (call, result) in calls.iter().zip(escape(&attempts, &[], true)) {
        assert!(refused(&result), "{call}: {result}");
    }
    for (call, result) in calls.iter().zip(escape(&attempts, &[], false)) {
        assert!(!refused(&result), "{call}: {result}");
    }
    for (call, result) in needed.iter().zip(escape(&needed.join(" "), &[], true)) {
        assert_eq!(result, "succeeded", "{call}");
    }
    for (call, result) in calls.iter().zip(escape_from_built_in(&attempts, true)) {
        assert!(refused(&result), "built-in hook: {call}: {result}");
    }
    for (call, result) in needed.iter().zip(escape_from_built_in(&needed.join(" "), true)) {
        assert_eq!(result, "succeeded", "built-in hook: {call}");
    }
}

#[test]
fn the_compiler_has_no_network_no_clock_but_its_own_and_nothing_executable() {
    let victim = Victim::new();
    let (calls, _) = calls(&victim);
    // Two that only a runner needs, and must not have for ever.
    let more = ["code".to_owned(), call(libc::SYS_socket, "2,1,0"), call(libc::SYS_epoll_create1, "0")];
    let to_others = call(libc::SYS_sendmsg, "2,zeros,0");
    let calls: Vec<String> = calls.into_iter().chain(more).chain([to_others]).collect();
    let attempts = calls.join(" ");
    for (call, result) in calls.iter().zip(escape_as_compiler(&attempts, true)) {
        // Without sockets there is none whose options could be set.
        assert!(
            refused(&result) || call.contains("tcp") && result.starts_with("Bad file descriptor"),
            "{call}: {result}"
        );
    }
    for (call, result) in calls.iter().zip(escape_as_compiler(&attempts, false)) {
        assert!(!refused(&result), "{call}: {result}");
    }
}

#[test]
fn no_file_can_be_made_in_memory() {
    let attempt = call(libc::SYS_memfd_create, "zeros,0");
    let sandboxed =
        [escape(&attempt, &[], true), escape_from_built_in(&attempt, true), escape_as_compiler(&attempt, true)];
    for results in sandboxed {
        assert!(results[0].starts_with("Function not implemented"), "{results:?}");
    }
    for results in [escape(&attempt, &[], false), escape_as_compiler(&attempt, false)] {
        assert_eq!(results, ["succeeded"]);
    }
}

#[test]
fn udp_is_there_only_where_names_have_to_be_looked_up() {
    let attempts = [call(libc::SYS_socket, "2,2,0"), call(libc::SYS_socket, "10,2,0")].join(" ");
    let lookups = ["--allow-http", "http://example.com"];
    assert_eq!(escape(&attempts, &lookups, true), ["succeeded"; 2]);
    assert!(escape(&attempts, &[], true).iter().all(|result| refused(result)));
}

/// A run whose standard error is this descriptor.
fn logging_to(mut run: Command, log: OwnedFd) -> Command {
    run.stdout(std::process::Stdio::null());
    run.first(move || {
        nix::unistd::dup2_stderr(&log)?;
        Ok(())
    })
}

#[test]
fn a_log_file_is_appended_to_and_nothing_else() {
    let seals = libc::F_ADD_SEALS;
    let attempts = [
        // At the beginning, there without waiting, and at the position of a file that is otherwise appended to.
        call(libc::SYS_pwritev2, "2,iovec,1,0,0,0"),
        call(libc::SYS_pwritev2, "2,iovec,1,0,0,8"),
        call(libc::SYS_pwritev2, "2,iovec,1,-1,-1,32"),
        call(libc::SYS_fcntl, "2,0,0"),
        call(libc::SYS_fcntl, "2,1030,0"),
        call(libc::SYS_fcntl, &format!("2,{seals},0")),
        call(libc::SYS_read, "2,zeros,1"),
        call(libc::SYS_pread64, "2,zeros,1,0"),
        call(libc::SYS_lseek, "2,0,1"),
        call(libc::SYS_fstat, "2,zeros"),
        call(libc::SYS_mmap, "0,4096,1,2,2,0"),
    ]
    .join(" ");
    let log = |sandboxed| {
        let mut log = tempfile::tempfile().unwrap();
        log.write_all(b"earlier\n").unwrap();
        let run = attempting("TEST_ESCAPE", &attempts, &[], sandboxed);
        assert_eq!(logging_to(run, log.try_clone().unwrap().into()).done().code(), 7);
        let mut text = String::new();
        log.seek(SeekFrom::Start(0)).unwrap();
        log.read_to_string(&mut text).unwrap();
        text
    };
    let text = log(true);
    let results = results(&text, &attempts);
    assert!(results.iter().all(|result| refused(result)), "{results:?}");
    assert!(text.starts_with("earlier\n"), "{text}");
    assert!(!log(false).starts_with("earlier\n"));
}

#[test]
fn a_socket_for_the_log_is_written_to_and_nothing_else() {
    let attempts = [
        call(libc::SYS_shutdown, "2,0"),
        call(libc::SYS_connect, "2,zeros,16"),
        call(libc::SYS_setsockopt, "2,6,1,zeros,4"),
        call(libc::SYS_getsockopt, "2,1,4,zeros,zeros"),
        call(libc::SYS_getsockname, "2,zeros,zeros"),
        call(libc::SYS_sendto, "2,zeros,1,0"),
        call(libc::SYS_recvfrom, "2,zeros,1,64"),
    ]
    .join(" ");
    let log = |sandboxed| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let run = attempting("TEST_ESCAPE", &attempts, &[], sandboxed);
        assert_eq!(logging_to(run, theirs.into()).done().code(), 7);
        let mut bytes = Vec::new();
        ours.read_to_end(&mut bytes).unwrap();
        results(&String::from_utf8_lossy(&bytes).replace('\0', ""), &attempts)
    };
    let results = log(true);
    assert!(results.iter().all(|result| refused(result)), "{results:?}");
    let results = log(false);
    assert!(!results.iter().any(|result| refused(result)), "{results:?}");
}

#[test]
fn a_log_file_larger_than_any_machine_code_is_still_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let (log, hook) = (directory.path().join("log"), directory.path().join("hook.wasm"));
    fs::write(&hook, "no hook").unwrap();
    // A hole, which takes no space.
    const LENGTH: u64 = 1 << 30;
    File::create(&log).unwrap().set_len(LENGTH).unwrap();
    let file = OpenOptions::new().append(true).open(&log).unwrap();
    assert_eq!(logging_to(wrapper().plugin(&hook).with(&["true"]), file.into()).done().code(), 125);
    let mut file = File::open(&log).unwrap();
    file.seek(SeekFrom::Start(LENGTH)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert!(text.contains("not WebAssembly"), "{text}");
}

/// wrapper's one child that is in its sandbox, once it is: a compiler that has handed over its code is about to end.
#[track_caller]
fn sandboxed_child(running: &Running) -> i32 {
    let mut found = None;
    eventually("one process in its sandbox", || {
        let children = Process::children(running.pid()).into_iter().map(|child| child.pid);
        let mut sandboxed = children.filter(|pid| status(*pid, "Seccomp").as_deref() == Some("2"));
        found = sandboxed.next();
        found.is_some() && sandboxed.next().is_none()
    });
    found.unwrap()
}

/// A hook that runs until it is killed, in its sandbox and with its code loaded.
fn endless(options: &[&str]) -> (Running, i32) {
    let run = wrapper().with(options).with(&["--log", "debug", "--plugin-timeout", "5s"]);
    let mut running = run.plugin(guests::program("loop_forever")).with(&["true"]).running();
    running.until_stderr_has("code loaded");
    let runner = sandboxed_child(&running);
    (running, runner)
}

const CAPABILITIES: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn no_capability_is_left() {
    let (_running, runner) = endless(&[]);
    let compiling = attempting("TEST_ESCAPE_COMPILER", "pause=3000", &[], true).running();
    for pid in [runner, sandboxed_child(&compiling)] {
        let left = CAPABILITIES.map(|set| status(pid, set).unwrap());
        // Only who has the right to may take it from programs that it might execute, and needs it then.
        let bounding = if nix::unistd::geteuid().is_root() { "0000000000000000" } else { &left[3] };
        let none = "0000000000000000";
        assert_eq!(left.each_ref().map(String::as_str), [none, none, none, bounding, none]);
        assert_eq!(status(pid, "NoNewPrivs").as_deref(), Some("1"));
    }
}

/// A line of `/proc/PID/limits`: the limit now, and how far the process may raise it.
fn limits(pid: i32, name: &str) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn limits_are_hard() {
    let (_running, runner) = endless(&["--plugin-memory", "2MiB"]);
    let compiling = attempting("TEST_ESCAPE_COMPILER", "pause=3000", &[], true).running();
    let compiler = sandboxed_child(&compiling);
    const MIB: u64 = 1 << 20;
    for (pid, name, most) in [
        (runner, "Max stack size", 8 * MIB),
        (runner, "Max core file size", 0),
        (runner, "Max processes", 0),
        (runner, "Max open files", 64),
        (runner, "Max data size", 600 * MIB),
        (compiler, "Max stack size", 8 * MIB),
        (compiler, "Max core file size", 0),
        (compiler, "Max processes", 0),
        (compiler, "Max open files", 64),
        (compiler, "Max address space", 256 * MIB),
        (compiler, "Max file size", 128 * MIB),
        (compiler, "Max cpu time", 60),
    ] {
        let [soft, hard] = limits(pid, name);
        assert_eq!(soft, hard, "{name}");
        assert!(hard.parse::<u64>().is_ok_and(|hard| hard <= most), "{name}: {hard}");
    }
}

#[test]
fn the_containers_variables_are_wiped_from_memory() {
    const SECRET: &str = "correct-horse-battery-staple";
    let backwards: String = SECRET.chars().rev().collect();
    let attempt = format!("secret={backwards}");
    let found = |whose: &str, name: &str, sandboxed| {
        let mut run = attempting(whose, &attempt, &[], sandboxed);
        let done = {
            run.env(name, SECRET);
            run
        }
        .done();
        assert_eq!(done.code(), 7, "{done:?}");
        results(&done.stderr, &attempt)
    };
    for whose in ["TEST_ESCAPE", "TEST_ESCAPE_COMPILER"] {
        assert_eq!(found(whose, "DATABASE_PASSWORD", true), ["not found"], "{whose}");
        assert_eq!(found(whose, "DATABASE_PASSWORD", false), ["succeeded"], "{whose}");
    }
    // Files that the hook may read are there.
    assert_eq!(found("TEST_ESCAPE", "HOOK_ECHO_TOKEN", true), ["succeeded"]);
}

#[test]
fn files_programs_signals_and_new_code_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("created");
    let mut victim = Victim::new();
    let (file_name, pid) = (file.display(), victim.pid());
    let attempts = format!("open=/etc/passwd create={file_name} execute=/bin/true limit={pid} kill={pid} code");
    for result in escape(&attempts, &[], true).into_iter().chain(escape_from_built_in(&attempts, true)) {
        assert!(refused(&result), "{result}");
    }
    assert!(!file.exists());
    assert!(victim.0.try_wait().unwrap().is_none());
    for result in escape(&attempts, &[], false) {
        assert_eq!(result, "succeeded");
    }
    assert!(file.exists());
    victim.0.wait().unwrap();
}

#[test]
fn tcp_goes_to_the_allowed_ports_only() {
    let (allowed, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (allowed, other) = (allowed.local_addr().unwrap(), other.local_addr().unwrap());
    let _listening = (TcpListener::bind(allowed), TcpListener::bind(other));
    let rule = format!("http://localhost:{}", allowed.port());
    let attempts = format!("connect={allowed} connect={other}");
    let results = escape(&attempts, &["--allow-http", &rule], true);
    assert!(!refused(&results[0]) && refused(&results[1]), "{results:?}");
    let results = escape(&attempts, &["--allow-http", &rule], false);
    assert!(!refused(&results[1]), "{results:?}");
}

#[test]
fn the_commands_standard_input_is_not_there() {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"the command's").unwrap();
    input.rewind().unwrap();
    // Number 0 has become something of the runner's own, if anything, and may well be read.
    let position_after = |command: &str| {
        let mut run = wrapper().plugin("echo").with(&["sh", "-c", command]);
        run.env("TEST_ESCAPE", "stdin").stdin(input.try_clone().unwrap());
        results(&run.done().stderr, "stdin");
        (&input).stream_position().unwrap()
    };
    assert_eq!(position_after("exit 7"), 0);
    assert_eq!(position_after("exec head -c 3 >/dev/null"), 3);
}

#[test]
fn memory_is_bounded() {
    let results = escape("hoard", &["--plugin-memory", "1MiB"], true);
    assert_eq!(results, ["memory allocation failed because the memory allocator returned an error"]);
}

#[test]
fn a_panic_of_the_host_is_one_line_and_the_exit_code_is_kept() {
    let mut run = wrapper().plugin("echo").with(&["sh", "-c", "exit 7"]);
    run.env("TEST_ESCAPE", "panic").env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    let done = run.done();
    assert_eq!(done.code(), 7);
    assert!(
        done.line().starts_with("wrapper: internal error, please report it: injected (host/src/sandbox/escape.rs:"),
        "{done:?}"
    );
}

#[test]
fn a_crash_of_the_runner_is_one_line_and_the_next_hook_runs() {
    let mut run = wrapper().plugin("echo").plugin("echo").with(&["sh", "-c", "exit 7"]);
    run.env("TEST_ESCAPE", "crash");
    let done = run.done();
    assert_eq!(done.code(), 7);
    assert_eq!(done.lines(), ["wrapper: hook \"echo\": crashed: SIGABRT"; 2]);
}

#[test]
fn the_log_names_the_layers_of_the_sandbox() {
    let port = free_port().to_string();
    let rule = format!("http://localhost:{port}");
    let done = wrapper()
        .with(&["--log", "debug", "--allow-http", &rule])
        .plugin(guests::official("echo"))
        .with(&["true"])
        .done();
    assert!(done.stderr.contains("wrapper: sandbox (runner, code loaded): W^X"), "{done:?}");
    let built_in = wrapper().with(&["--log", "debug", "--plugin", "echo", "true"]).done().stderr;
    let [line] = built_in.lines().filter(|line| line.contains("sandbox (")).collect::<Vec<_>>().try_into().unwrap();
    assert!(line.starts_with("wrapper: sandbox (runner): ") && line.ends_with("seccomp, W^X"), "{line}");
    for process in ["compiler", "runner"] {
        let line = done
            .lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(&format!("wrapper: sandbox ({process}): ")).map(str::to_owned));
        let line = line.unwrap_or_else(|| panic!("{process:?} is missing: {done:?}"));
        for layer in ["no capabilities", "rlimits", "no_new_privs", "landlock", "seccomp"] {
            assert!(line.contains(layer), "{line}");
        }
    }
}
