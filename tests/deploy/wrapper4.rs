//! Mistakes of Wrapper4 and the like in a pod, each against a sidecar that counts the requests to quit.

use crate::harness::{
    Done, Run, assert_took, eventually, guests, kill,
    peer::{Peer, free_port},
    processes::Process,
    programs::child,
    role::{Role, in_both_roles},
};
use nix::libc::{SIGINT, SIGKILL, SIGTERM, SIGUSR1};
use std::{process::Command, thread, time::Duration};

/// wrapper as a Job runs it next to this sidecar.
fn beside(peer: &Peer, role: Role) -> Command {
    let mut run = role.wrapper().plugin("istio-quit");
    run.env("HOOK_ISTIO_QUIT_URL", peer.url("/quitquitquit"));
    run
}

/// Runs a command, sends the signals one by one, each when the command has printed one more `ready`, and returns how
/// it ended. The sidecar must have been asked exactly once.
#[track_caller]
fn job(role: Role, command: &[&str], signals: &[i32]) -> Done {
    let peer = Peer::with_status(200);
    let run = beside(&peer, role).with(command).running();
    for (count, signal) in signals.iter().enumerate() {
        eventually("ready", || run.stdout_so_far().matches("ready").count() > count);
        kill(role.pid(&run), *signal);
    }
    let done = run.done();
    assert_eq!(peer.requests().len(), 1, "{role:?} {command:?}: {done:?}");
    done
}

fn ends_with(code: i32, command: &[&str], signals: &[i32]) {
    in_both_roles(|role| assert_eq!(job(role, command, signals).code(), code, "{role:?} {command:?}"));
}

#[test]
fn a_failing_command_keeps_its_code_and_the_sidecar_quits() {
    ends_with(7, &["sh", "-c", "exit 7"], &[]);
}

#[test]
fn a_killed_command_is_137_and_the_sidecar_quits() {
    ends_with(137, &[child(), "die", "9"], &[]);
}

#[test]
fn a_command_that_cannot_be_started_is_127_or_126_and_the_sidecar_quits() {
    ends_with(127, &["nosuch"], &[]);
    ends_with(126, &["/etc/passwd"], &[]);
}

#[test]
fn sigterm_ends_the_command_with_143_and_the_sidecar_quits() {
    ends_with(143, &["sh", "-c", "echo ready; exec sleep 30"], &[SIGTERM]);
}

#[test]
fn a_command_that_exits_with_42_on_the_second_sigterm_is_42_and_the_sidecar_quits() {
    const SCRIPT: &str = "trap 'trap \"exit 42\" TERM; echo ready' TERM; echo ready; while :; do sleep 0.05; done";
    ends_with(42, &["sh", "-c", SCRIPT], &[SIGTERM, SIGTERM]);
}

#[test]
fn a_command_that_handles_sigint_or_sigusr1_is_believed_and_the_sidecar_quits() {
    for signal in [SIGINT, SIGUSR1] {
        let name = if signal == SIGINT { "INT" } else { "USR1" };
        let script = format!("trap 'exit 5' {name}; echo ready; while :; do sleep 0.05; done");
        ends_with(5, &["sh", "-c", &script], &[signal]);
    }
}

#[test]
fn three_orphans_that_die_while_the_command_runs_leave_no_zombie() {
    in_both_roles(|role| {
        let peer = Peer::with_status(200);
        let script = "for i in 1 2 3; do (sleep 60 >/dev/null 2>&1 &); done; echo ready; read x; exit 7";
        let mut run = beside(&peer, role).with(&["sh", "-c", script]);
        run.stdin(std::process::Stdio::piped());
        let mut run = run.running();
        run.until_stdout_has("ready\n");
        let wrapper = role.pid(&run);
        let orphans = || Process::children(wrapper).into_iter().filter(|it| it.name == "sleep");
        eventually("they are the wrapper's", || orphans().count() == 3);
        orphans().for_each(|orphan| kill(orphan.pid, SIGKILL));
        eventually("none is left", || orphans().count() == 0);
        drop(run.child.stdin.take());
        assert_eq!(run.done().code(), 7, "{role:?}");
        assert_eq!(peer.requests().len(), 1);
    });
}

#[test]
fn a_sidecar_that_accepts_and_never_answers_costs_no_more_than_the_timeout() {
    in_both_roles(|role| {
        let peer = Peer::start("127.0.0.1:0", |stream, _| {
            thread::sleep(Duration::from_secs(20));
            drop(stream);
        });
        let done = beside(&peer, role).with(&["--plugin-timeout", "1s", "sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), 7, "{role:?}");
        assert_took(&done, 0.7, 10.0);
    });
}

#[test]
fn without_a_sidecar_the_end_is_soon_and_a_success() {
    in_both_roles(|role| {
        let mut run = role.wrapper().with(&["--plugin-failure", "fail"]).plugin("istio-quit").with(&["true"]);
        let url = format!("http://localhost:{}/", free_port());
        run.env("HOOK_ISTIO_QUIT_URL", &url);
        run.env("HOOK_ISTIO_QUIT_STARTUP", "1");
        let done = run.done();
        assert_eq!(done.code(), 0, "{role:?}");
        let warning = format!("warning: istio-proxy is considered absent: connection refused by \"{url}\"");
        assert!(done.line().starts_with(&format!("wrapper: istio-quit: {warning}; ")), "{done:?}");
        assert_took(&done, 0.8, 10.0);
    });
}

#[test]
fn a_hook_that_panics_exits_or_loops_keeps_neither_the_code_nor_the_next_hook() {
    let hooks = [guests::hook("panic_in_function"), guests::program("exit"), guests::program("loop_forever")];
    in_both_roles(|role| {
        for hook in &hooks {
            let peer = Peer::with_status(200);
            let mut run = role.wrapper().plugin(hook).plugin("istio-quit").with(&["--plugin-timeout", "5s"]);
            run.env("HOOK_ISTIO_QUIT_URL", peer.url("/")).env("HOOK_EXIT", "0");
            let done = run.with(&["sh", "-c", "exit 7"]).done();
            assert_eq!((done.code(), peer.requests().len()), (7, 1), "{role:?} {hook:?}: {done:?}");
        }
    });
}
