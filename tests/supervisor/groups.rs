//! The command has a process group of its own: what it sends to its group reaches no other process, and wrapper's
//! helper processes are in no group that the command could kill.

use crate::harness::{
    Done, Run, assert_took, eventually, guests, kill,
    processes::{Process, command_of, is_alive},
    programs::child,
    role::{Role, in_both_roles},
    skipped, wrapper,
};
use nix::libc::{SIGKILL, SIGTERM};
use std::{os::unix::process::CommandExt, process::Command};

/// Runs it in a group of its own: without the promise it would take the tests along.
fn run_apart(mut run: Command) -> Done {
    run.process_group(0);
    run.done()
}

#[test]
fn a_command_that_kills_its_own_group_dies_alone_and_the_hook_runs() {
    in_both_roles(|role| {
        let done = run_apart(role.wrapper().with(&["--plugin", "echo", "sh", "-c", "kill -9 0"]));
        assert_eq!(done.code(), 137, "{role:?}: {done:?}");
        assert!(done.line().contains("was killed by signal 9"), "{done:?}");
    });
}

/// PID 1 of a container leads group 1. A command in it that signals its group calls kill(-1), which means everybody but
/// itself.
#[test]
fn a_command_that_asks_for_its_group_by_number_in_a_container_kills_itself() {
    const KILLS: &str = "import os, signal; os.fork(); os.killpg(os.getpgrp(), signal.SIGKILL); print('survived')";
    let script = ["-pf", "--mount-proc", "--kill-child", "setsid"];
    let mut run = Command::new("unshare").with(&script);
    run.arg(env!("CARGO_BIN_EXE_wrapper")).args(["--", "python3", "-c", KILLS]);
    if !Command::new("unshare").args(["-pf", "--mount-proc", "true"]).output().is_ok_and(|it| it.status.success()) {
        return skipped("a PID namespace cannot be made here");
    }
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (137, ""), "{done:?}");
}

#[test]
fn a_worker_that_kills_its_group_when_the_command_has_gone_does_not_hit_the_hook() {
    let hook = guests::program("nap");
    in_both_roles(|role| {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("hook runs");
        let script =
            format!("(until [ -e '{0}' ]; do sleep 0.02; done; echo killing; kill -9 0) & exit 7", mark.display());
        let mut run = role.wrapper().plugin(&hook).with(&["sh", "-c", &script]);
        run.env("HOOK_SLEEP_MS", "4000").process_group(0);
        let run = run.running();
        eventually("the hook sleeps", || run.stderr_so_far().contains("sleeping"));
        std::fs::write(&mark, "").unwrap();
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "killing\n"), "{role:?}: {done:?}");
        assert_eq!(done.lines(), ["wrapper: nap: sleeping", "wrapper: nap: slept"], "{role:?}");
    });
}

#[test]
fn a_shell_reaches_its_jobs_by_its_own_number() {
    const SCRIPT: &str = r#"trap 'trap - TERM; kill -- -$$' EXIT
        "$0" report job 15 0 >"$1" &
        until grep -q ready "$1"; do sleep 0.02; done"#;
    in_both_roles(|role| {
        let received = tempfile::NamedTempFile::new().unwrap();
        let mut run = role.wrapper().with(&["bash", "-c", SCRIPT, child(), received.path().to_str().unwrap()]);
        run.process_group(0);
        assert_eq!(run.done().code(), 143, "{role:?}");
        // As PID 1 wrapper takes the namespace with it, and the job may not have printed more.
        if role == Role::Process {
            eventually("the job has it", || std::fs::read_to_string(received.path()).unwrap().contains("job 15\n"));
        }
    });
}

#[test]
fn what_a_script_sends_to_its_own_group_is_no_wish_to_stop() {
    in_both_roles(|role| {
        let script = "trap '' TERM; kill 0; sleep 1.2; exit 4";
        let done = run_apart(role.wrapper().with(&["--stop-timeout", "300ms", "sh", "-c", script]));
        assert_eq!((done.code(), done.stderr.as_str()), (4, ""), "{role:?}");
        assert_took(&done, 1.2, 20.0);
    });
}

/// A command that has left the group that it was given, for its child's.
const LEAVES: &str = "import os, sys
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], [sys.argv[1], 'report', 'child', '64', '0'])
while True:
    try:
        os.setpgid(0, child)
        break
    except OSError:
        pass
os.execv(sys.argv[1], [sys.argv[1], 'report', 'command', '64', '42'])";

#[test]
fn with_kill_group_a_command_that_has_left_its_group_is_reached_all_the_same() {
    in_both_roles(|role| {
        for (options, signal, code) in
            [(&["--kill-group"][..], 64, 42), (&["--kill-group", "--stop-timeout=300ms"], SIGTERM, 137)]
        {
            let mut run = role.wrapper().with(options).with(&["python3", "-c", LEAVES, child()]).running();
            run.until_stdout_has("command ready\n");
            let grandchild = Process::children(command_of(role.pid(&run)).pid)[0].pid;
            kill(role.pid(&run), signal);
            assert_eq!(run.done().code(), code, "{role:?} {options:?}");
            kill(grandchild, SIGKILL);
        }
    });
}

#[test]
fn the_command_and_each_process_of_wrappers_own_have_groups_of_their_own() {
    let hook = guests::program("nap");
    let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "sleep 60 & exit 0"]);
    run.env("HOOK_SLEEP_MS", "20000");
    let mut run = run.running();
    run.until_stderr_has("sleeping");
    let ours = Process::find(run.pid()).unwrap().group;
    let children = Process::children(run.pid());
    assert!(children.len() >= 2, "the orphan and the hook: {children:?}");
    let mut groups: Vec<i32> = children.iter().map(|process| process.group).chain([ours]).collect();
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), children.len() + 1, "{children:?}");
    children.iter().filter(|process| process.name == "sleep").for_each(|sleep| kill(sleep.pid, SIGKILL));
    assert!(is_alive(run.pid()));
}

#[test]
fn a_group_that_is_killed_from_outside_takes_the_command_and_not_wrapper() {
    in_both_roles(|role| {
        let mut run = role.wrapper().with(&["--plugin", "echo", child(), "report", "c", "64", "42"]).running();
        run.until_stdout_has("c ready\n");
        let command = command_of(role.pid(&run));
        assert_eq!(command.group, command.pid);
        kill(-command.group, SIGKILL);
        let done = run.done();
        assert_eq!(done.code(), 137);
        assert!(done.line().contains("was killed by signal 9"), "{done:?}");
    });
}
