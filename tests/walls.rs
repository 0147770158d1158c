//! With WebAssembly taken away the operating system still refuses: attempts that a debug build makes from inside a
//! runner when it is asked to, each with its twin in a runner without a jail.

use crate::support::{Run, peer::free_port, repository, wrapper};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::{net::TcpListener, os::unix::process::CommandExt, process::Command};

/// What the attempts came to, in their order.
fn breach(attempts: &str, options: &[&str], jailed: bool) -> Vec<String> {
    let mut run = wrapper().with(options).plugin("echo").with(&["sh", "-c", "exit 7"]);
    run.env("TEST_BREACH", attempts);
    if !jailed {
        run.env("WRAPPER_TEST_NO_JAIL", "1");
    }
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    let told = done.lines().into_iter().filter_map(|line| line.strip_prefix("wrapper: breach "));
    let told: Vec<String> = told.map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect();
    assert_eq!(told.len(), attempts.split(' ').count(), "{done:?}");
    told
}

fn refused(result: &str) -> bool {
    ["Operation not permitted", "Permission denied"].iter().any(|words| result.starts_with(words))
}

#[test]
fn files_programs_signals_and_new_code_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("created");
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let (file_name, pid) = (file.display(), victim.id());
    let attempts = format!("open=/etc/passwd create={file_name} execute=/bin/true limit={pid} kill={pid} code");
    for result in breach(&attempts, &[], true) {
        assert!(refused(&result), "{result}");
    }
    assert!(!file.exists());
    assert!(victim.try_wait().unwrap().is_none());
    for result in breach(&attempts, &[], false) {
        assert_eq!(result, "succeeded");
    }
    assert!(file.exists());
    victim.wait().unwrap();
}

#[test]
fn tcp_goes_to_the_allowed_ports_only() {
    let (allowed, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (allowed, other) = (allowed.local_addr().unwrap(), other.local_addr().unwrap());
    let _listening = (TcpListener::bind(allowed), TcpListener::bind(other));
    let rule = format!("http://localhost:{}", allowed.port());
    let attempts = format!("connect={allowed} connect={other}");
    let results = breach(&attempts, &["--allow-http", &rule], true);
    assert!(!refused(&results[0]) && refused(&results[1]), "{results:?}");
    let results = breach(&attempts, &["--allow-http", &rule], false);
    assert!(!refused(&results[1]), "{results:?}");
}

#[test]
fn the_commands_standard_input_is_not_there() {
    let mut run = wrapper().plugin("echo").with(&["true"]);
    run.env("TEST_BREACH", "stdin");
    let done = run.done();
    // Number 0 has become one of the event loop's own descriptors, if anything.
    assert!(done.stderr.contains("breach stdin: ") && !done.stderr.contains("succeeded"), "{done:?}");
}

#[test]
fn memory_is_bounded() {
    let results = breach("hoard", &["--plugin-memory", "1MiB"], true);
    assert_eq!(results, ["memory allocation failed because the memory allocator returned an error"]);
}

#[test]
fn a_panic_of_the_host_is_one_line_and_the_exit_code_is_kept() {
    let mut run = wrapper().plugin("echo").with(&["sh", "-c", "exit 7"]);
    run.env("TEST_BREACH", "panic").env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    let done = run.done();
    assert_eq!(done.code(), 7);
    assert!(done.line().starts_with("wrapper: internal error: injected (host/src/hook/breach.rs:"), "{done:?}");
}

#[test]
fn a_crash_of_the_runner_is_one_line_and_the_next_hook_runs() {
    let mut run = wrapper().plugin("echo").plugin("echo").with(&["sh", "-c", "exit 7"]);
    run.env("TEST_BREACH", "crash");
    let done = run.done();
    assert_eq!(done.code(), 7);
    assert_eq!(done.lines(), ["wrapper: hook \"echo\": crashed: SIGABRT"; 2]);
}

#[test]
fn the_log_says_which_walls_stand() {
    let port = free_port().to_string();
    let rule = format!("http://localhost:{port}");
    let done = wrapper()
        .with(&["--log", "debug", "--allow-http", &rule])
        .plugin(repository("hooks/dist/echo.wasm"))
        .with(&["true"])
        .done();
    for walls in ["walls of the compiler: ", "walls of the runner: "] {
        let line = done
            .lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(&format!("wrapper: {walls}")).map(str::to_owned));
        let line = line.unwrap_or_else(|| panic!("{walls:?} is missing: {done:?}"));
        for wall in ["limits and no_new_privs", "landlock", "seccomp"] {
            assert!(line.contains(wall), "{line}");
        }
    }
}

#[test]
#[allow(unsafe_code)]
fn where_executable_memory_is_forbidden_hooks_are_interpreted() {
    // As SELinux without execmem, or a strict profile: memory that was written cannot be executed.
    let executable = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64),
        libc::PROT_EXEC as u64,
    );
    let rules = [(libc::SYS_mprotect, vec![SeccompRule::new(vec![executable.unwrap()]).unwrap()])].into();
    let refuse = SeccompAction::Errno(libc::EACCES as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    let mut run = wrapper().with(&["--log", "debug"]).plugin("echo").with(&["sh", "-c", "exit 7"]);
    // SAFETY: the filter is made; installing it takes two system calls.
    unsafe { run.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other)) };
    let done = run.done();
    assert_eq!(done.code(), 7);
    assert!(done.stderr.contains("executable memory is forbidden here, the hook is interpreted"), "{done:?}");
    assert!(done.stderr.contains("Echo demo plugin: \"sh\" exited with 7"), "{done:?}");

    let done = wrapper().with(&["--log", "debug"]).plugin("echo").with(&["sh", "-c", "exit 7"]).done();
    assert!(!done.stderr.contains("interpreted"), "{done:?}");
}
