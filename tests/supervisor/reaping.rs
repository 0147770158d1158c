//! Orphans are adopted and reaped, as PID 1 and elsewhere, and do not delay the exit.

use crate::harness::{
    Run, assert_took, eventually, guests, kill,
    processes::{Process, is_alive},
    role::{Role, in_both_roles},
};
use nix::libc::{SIGKILL, SIGTERM};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ORPHANS: usize = 100;

/// Leaves orphans behind, and stays.
const FORKS_TWICE: &str = "for i in $(seq 100); do (sleep 60 >/dev/null 2>&1 &); done; echo ready; read x";

/// Becomes the parent of orphans as PID 1, and reaps none.
const FORKS_TWICE_AS_INIT: &str =
    "for i in $(seq 100); do (sleep 60 >/dev/null 2>&1 &); done; echo ready; exec sleep 60";

fn sleepers(parent: i32) -> Vec<Process> {
    Process::children(parent).into_iter().filter(|process| process.name == "sleep").collect()
}

#[test]
fn orphans_come_to_the_wrapper_and_leave_no_zombie() {
    in_both_roles(|role| {
        // Its input stays open and empty, so that the command stays.
        let mut run = role.wrapper().with(&["sh", "-c", FORKS_TWICE]);
        run.stdin(Stdio::piped());
        let mut run = run.running();
        run.until_stdout_has("ready\n");
        let wrapper = role.pid(&run);
        eventually("all orphans are the wrapper's", || sleepers(wrapper).len() == ORPHANS);
        let orphans = sleepers(wrapper);
        let ended = Instant::now();
        orphans.iter().for_each(|orphan| kill(orphan.pid, SIGKILL));
        eventually("only the command is left", || Process::children(wrapper).len() == 1);
        assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
        drop(run.child.stdin.take());
        assert_eq!(run.done().code(), 1);
    });
}

#[test]
fn without_the_wrapper_orphans_go_elsewhere_or_stay_zombies() {
    in_both_roles(|role| {
        let script = if role == Role::Init { FORKS_TWICE_AS_INIT } else { FORKS_TWICE };
        let mut twin = role.program(Command::new("sh")).with(&["-c", script]);
        twin.stdin(Stdio::piped()).process_group(0);
        let mut twin = twin.running();
        twin.until_stdout_has("ready\n");
        let parent = role.pid(&twin);
        match role {
            Role::Process => {
                let group = Process::find(parent).unwrap().group;
                let mut orphans = Vec::new();
                eventually("all orphans", || {
                    let sleepers = Process::all().into_iter().filter(|it| it.group == group && it.name == "sleep");
                    orphans = sleepers.collect();
                    orphans.len() == ORPHANS
                });
                orphans.iter().for_each(|orphan| kill(orphan.pid, SIGKILL));
                assert!(orphans.iter().all(|orphan| orphan.parent != parent));
            }
            Role::Init => {
                eventually("all orphans are its own", || sleepers(parent).len() == ORPHANS);
                sleepers(parent).iter().for_each(|orphan| kill(orphan.pid, SIGKILL));
                eventually("zombies", || sleepers(parent).iter().filter(|it| it.state == 'Z').count() == ORPHANS);
            }
        }
    });
}

/// Runs a script that prints the process ID of an orphan it leaves, and returns how it ended. The orphan is killed.
fn leaving_an_orphan(role: Role, script: &str) -> (i32, f64) {
    let mut run = role.wrapper().plugin("echo").with(&["sh", "-c", script]).running();
    let start = Instant::now();
    let code = run.exit_code().unwrap();
    let elapsed = start.elapsed().as_secs_f64();
    run.until_stderr_has(&format!("exited with {code}"));
    if role == Role::Process {
        run.until_stdout_has("\n");
        let orphan = run.stdout_so_far().trim().parse().unwrap();
        assert!(is_alive(orphan), "the orphan was killed");
        kill(orphan, SIGKILL);
    }
    (code, elapsed)
}

#[test]
fn an_orphan_that_outlives_the_command_is_not_waited_for_even_if_it_keeps_stdout_open() {
    in_both_roles(|role| {
        for script in ["(sleep 60 >/dev/null 2>&1 & echo $!); exit 3", "(sleep 60 & echo $!); exit 3"] {
            let (code, elapsed) = leaving_an_orphan(role, script);
            assert_eq!(code, 3, "{role:?} {script}");
            assert!(elapsed < 5.0, "{role:?} {script}: {elapsed}");
        }
    });
}

#[test]
fn a_command_that_becomes_a_daemon_has_ended_well_and_the_hook_runs() {
    in_both_roles(|role| {
        let (code, elapsed) = leaving_an_orphan(role, "setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $!; exit 0");
        assert_eq!(code, 0, "{role:?}");
        assert!(elapsed < 5.0, "{role:?}: {elapsed}");
    });
}

#[test]
fn an_orphan_that_dies_during_a_hook_is_reaped_and_changes_nothing() {
    let hook = guests::program("nap");
    in_both_roles(|role| {
        let mut run = role.wrapper().plugin(&hook).with(&["sh", "-c", "(sleep 60 >/dev/null 2>&1 &); exit 7"]);
        run.env("HOOK_SLEEP_MS", "3000");
        let mut run = run.running();
        run.until_stderr_has("sleeping\n");
        let wrapper = role.pid(&run);
        eventually("the orphan is the wrapper's", || sleepers(wrapper).len() == 1);
        kill(sleepers(wrapper)[0].pid, SIGKILL);
        eventually("it is reaped", || sleepers(wrapper).is_empty());
        assert!(!run.stderr_so_far().contains("slept"), "the hook ended too early for this test");
        let done = run.done();
        assert_eq!(done.code(), 7);
        assert_eq!(done.lines(), ["wrapper: nap: sleeping", "wrapper: nap: slept"]);
    });
}

#[test]
fn as_pid_1_nothing_outlives_the_wrapper() {
    in_both_roles(|role| {
        if role == Role::Process {
            return;
        }
        let mut run = role.wrapper().with(&["sh", "-c", FORKS_TWICE_AS_INIT]).running();
        run.until_stdout_has("ready\n");
        let wrapper = role.pid(&run);
        eventually("all orphans are the wrapper's", || sleepers(wrapper).len() >= ORPHANS);
        let orphans = sleepers(wrapper);
        kill(wrapper, SIGTERM);
        let done = run.done();
        assert_eq!(done.code(), 143);
        assert_took(&done, 0.0, 20.0);
        eventually("all orphans are gone", || !orphans.iter().any(|orphan| is_alive(orphan.pid)));
    });
}
