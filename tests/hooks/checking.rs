//! Each hook is validated in a process of its own with a time limit of its own: one that takes too long or crashes
//! keeps the command from starting and affects no other; signals are handled meanwhile; and the command cannot replace
//! a hook's code.

use crate::harness::{
    Run, assert_took, digest, eventually, guests, heavy, kill,
    peer::Peer,
    processes::{Process, status},
    role::in_both_roles,
    skipped, wrapper, wrapper_for_everyone,
};
use nix::libc::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM};
use std::{os::unix::process::CommandExt, path::Path, process::Command};

/// A wrapper with a hook that is slow to check, which has a second when it runs, and time for others.
fn slow_and_others(slow: &Path) -> Command {
    let mut run = wrapper().with(&["--plugin-timeout", "30s", "--plugin", &format!("slow={}", slow.display())]);
    run.env("HOOK_SLOW_TIMEOUT", "1s");
    run
}

#[test]
fn a_hook_that_takes_too_long_to_check_keeps_no_other_from_running() {
    let slow = heavy::slow_to_check();
    let sidecar = Peer::with_status(200);
    let mut run = slow_and_others(&slow).plugin(guests::official("istio-quit")).with(&["echo", "started"]);
    run.env("HOOK_ISTIO_QUIT_URL", sidecar.url("/quitquitquit"));
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
    assert!(done.stderr.contains("could not be checked: timed out after 10s"), "{done:?}");
    assert_eq!(sidecar.requests().len(), 1, "{done:?}");
    assert_took(&done, 10.0, 60.0);
}

#[test]
fn a_signal_is_heard_while_a_hook_is_checked() {
    let slow = heavy::slow_to_check();
    in_both_roles(|role| {
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
            let run = role.wrapper().with(&["--before", slow.to_str().unwrap(), "echo", "started"]).running();
            let wrapper = role.pid(&run);
            eventually("the check has begun", || !Process::children(wrapper).is_empty());
            kill(wrapper, signal);
            let done = run.done();
            assert_eq!((done.code(), done.stdout.as_str()), (128 + signal, ""), "{role:?}: {done:?}");
            assert_took(&done, 0.0, 8.0);
        }
    });
}

#[test]
fn a_verdict_that_came_in_time_counts_though_another_hook_took_all_of_it() {
    let slow = heavy::slow_to_check();
    let hook = guests::program("nap");
    let core = guests::bytes(b"\0asm\x01\0\0\0");
    let done = slow_and_others(&slow).plugin(&hook).plugin(&*core).with(&["true"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert_eq!(done.stderr.matches("could not be checked").count(), 1, "{done:?}");
    assert!(done.stderr.contains("nap: slept") && done.stderr.contains("core module"), "{done:?}");
    assert_eq!(done.stderr.matches("core module").count(), 1, "it is not run: {done:?}");
}

#[test]
fn a_check_that_is_stopped_or_killed_does_not_stop_wrapper_and_the_hook_runs_after_all() {
    let slow = heavy::slow_to_check();
    for (signal, words) in [(SIGKILL, "its process was killed by SIGKILL"), (SIGSTOP, "timed out after 10s")] {
        let run = wrapper().with(&["--plugin-timeout", "1s"]).plugin(&*slow).with(&["echo", "started"]).running();
        eventually("the check has begun", || !Process::children(run.pid()).is_empty());
        kill(Process::children(run.pid())[0].pid, signal);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
        assert!(done.stderr.contains(words), "{done:?}");
        assert!(done.stderr.contains("timed-out after 1s"), "it was not tried again: {done:?}");
    }
}

#[test]
fn what_checks_compiles_and_runs_a_hook_is_the_first_to_die_and_cannot_be_traced() {
    let slow = heavy::slow_to_check();
    let run = wrapper().plugin(&*slow).with(&["true"]).running();
    let mut checker = 0;
    eventually("the check is confined", || {
        checker = Process::children(run.pid()).first().map_or(0, |process| process.pid);
        status(checker, "Seccomp").is_some_and(|mode| mode == "2")
    });
    let score = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(checker), "1000\n");
    assert_eq!(score(run.pid()), score(std::process::id() as i32));
    // The files in /proc of a process that cannot be traced belong to root (proc(5)).
    let owner = |pid: i32| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}/fd")).unwrap());
    assert_eq!(owner(checker), 0);
    kill(run.pid(), SIGTERM);
}

/// Opens every file in memory that wrapper and its processes hold, as the same user, and writes into it.
const ATTACK: &str = r"
import os, sys, time
wrapper = os.getppid()
opened = written = 0

def children():
    with open(f'/proc/{wrapper}/task/{wrapper}/children') as file:
        return file.read().split()

end = time.monotonic() + 1.0
while time.monotonic() < end:
    ours = [str(wrapper)] + children()
    for pid in ours:
        if pid == str(os.getpid()):
            continue
        try:
            files = os.listdir(f'/proc/{pid}/fd')
        except OSError:
            continue
        for file in files:
            path = f'/proc/{pid}/fd/{file}'
            try:
                if 'memfd' not in os.readlink(path):
                    continue
                with open(path, 'r+b', buffering=0) as memory:
                    opened += 1
                    memory.write(b'\x7fELF')
                written += 1
            except OSError:
                pass
print('opened' if opened else 'none', 'written', written)
";

#[test]
fn a_command_of_the_same_user_cannot_write_where_hooks_and_their_code_are_kept() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("another user's processes: only root can make them");
    }
    let (_directory, program) = wrapper_for_everyone();
    let hook = guests::program("large");
    let readable = tempfile::tempdir().unwrap();
    std::fs::set_permissions(&readable, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = readable.path().join("large.wasm");
    std::fs::copy(hook, &file).unwrap();
    let mut run = Command::new(program);
    run.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").uid(54_321).gid(54_321);
    let done = run.plugin(&file).with(&["python3", "-c", ATTACK]).done();
    assert_eq!((done.code(), done.stdout.as_str()), (0, "opened written 0\n"), "{done:?}");
}

#[test]
fn a_built_in_hook_whose_digest_is_compared_is_checked_like_a_file() {
    let sum = digest("echo");
    let done = wrapper().with(&["--plugin", "echo", "--plugin-sha256", &sum, "sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(done.line().contains("exited with 7"), "{done:?}");
}
