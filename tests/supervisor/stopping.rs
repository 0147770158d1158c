//! Stopping: how long wrapper waits after SIGTERM, which processes get the signal, and which hooks still run.

use crate::harness::{
    Done, LOOK, Run, Running, assert_took, eventually, guests, kill,
    processes::{Process, command_of, is_alive},
    programs::child,
    role::{Role, in_both_roles},
    wrapper,
};
use nix::libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1};
use std::time::Instant;

/// Runs a shell script with options, waits until it prints `ready`, sends SIGTERM, and says how long the end took.
fn asked_to_stop(role: Role, options: &[&str], script: &str) -> Done {
    let mut run = role.wrapper().with(options).with(&["sh", "-c", script, child()]).running();
    run.until_stdout_has("ready\n");
    let signalled = Instant::now();
    kill(role.pid(&run), SIGTERM);
    run.exit_code();
    let elapsed = signalled.elapsed();
    Done { elapsed, ..run.done() }
}

const IGNORES: &str = "trap '' TERM; echo ready; exec sleep 30";

const NEEDS_2_S: &str = "trap 'sleep 2; exit 42' TERM; echo ready; while :; do sleep 0.05; done";

#[test]
fn with_stop_timeout_a_command_that_ignores_sigterm_is_killed_and_the_hooks_run() {
    in_both_roles(|role| {
        let done = asked_to_stop(role, &["--plugin", "echo", "--stop-timeout", "500ms"], IGNORES);
        assert_eq!(done.code(), 137, "{role:?}");
        let lines = done.lines();
        assert_eq!(lines[0], "wrapper: the command did not exit within --stop-timeout; killing it");
        assert!(lines.len() == 2 && lines[1].contains("was killed by signal 9"), "{lines:?}");
        assert_took(&done, 0.5, 8.0);
    });
}

#[test]
fn a_command_that_ends_just_within_stop_timeout_is_not_killed_and_just_over_it_is() {
    in_both_roles(|role| {
        let done = asked_to_stop(role, &["--stop-timeout", "20s"], NEEDS_2_S);
        assert_eq!((done.code(), done.stderr.as_str()), (42, ""), "{role:?}");
        assert_took(&done, 2.0, 15.0);
        let done = asked_to_stop(role, &["--stop-timeout", "200ms"], NEEDS_2_S);
        assert_eq!(done.code(), 137, "{role:?}");
        assert_took(&done, 0.2, 8.0);
    });
}

#[test]
fn every_signal_that_asks_to_stop_starts_stop_timeout_and_others_do_not() {
    in_both_roles(|role| {
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
            let script = r#"exec "$0" report c 64 42"#;
            let mut run = role.wrapper().with(&["--stop-timeout", "300ms", "sh", "-c", script, child()]).running();
            run.until_stdout_has("c ready\n");
            kill(role.pid(&run), SIGUSR1);
            run.until_stdout_has("c 10\n");
            let signalled = Instant::now();
            kill(role.pid(&run), signal);
            let done = run.done();
            assert_eq!(done.code(), 137, "{role:?} {signal}: {done:?}");
            assert!(signalled.elapsed().as_millis() >= 300, "{role:?} {signal}");
        }
    });
}

#[test]
fn stop_timeout_counts_from_the_first_sigterm_and_not_before() {
    let run = wrapper().with(&["--stop-timeout", "100ms", "sh", "-c", "sleep 0.5; exit 7"]);
    assert_eq!(run.done().code(), 7);
    let mut run = wrapper().with(&["--stop-timeout", "600ms", "sh", "-c", IGNORES]).running();
    run.until_stdout_has("ready\n");
    let signalled = Instant::now();
    // More of them do not put it off.
    while !run.has_ended() {
        run.signal(SIGTERM);
        std::thread::sleep(LOOK);
        assert!(signalled.elapsed().as_secs() < 5);
    }
    assert!(signalled.elapsed().as_millis() >= 600);
    assert_eq!(run.done().code(), 137);
}

/// A command and its child, each reporting its signals. The command ends at SIGUSR1, the child at the last signal of
/// all, which it reads after any other.
fn family(role: Role, options: &[&str]) -> (Running, i32, i32) {
    const SCRIPT: &str = r#""$0" report grandchild 64 0 & exec "$0" report child 10 42"#;
    let mut run = role.wrapper().with(options).with(&["sh", "-c", SCRIPT, child()]).running();
    run.until_stdout_has("grandchild ready\n");
    eventually("the command is ready", || run.stdout_so_far().lines().any(|line| line == "child ready"));
    let wrapper = role.pid(&run);
    let command = command_of(wrapper).pid;
    let grandchild = Process::children(command)[0].pid;
    (run, wrapper, grandchild)
}

#[test]
fn with_kill_group_a_signal_reaches_the_grandchild_and_without_it_does_not() {
    in_both_roles(|role| {
        for (options, reached) in [(&["--kill-group"][..], true), (&[], false)] {
            let (mut run, wrapper, grandchild) = family(role, options);
            kill(wrapper, SIGTERM);
            let has_it = |name: &str| run.stdout_so_far().lines().any(|line| line == format!("{name} 15"));
            eventually("the command has it", || has_it("child"));
            if reached {
                eventually("its child has it", || has_it("grandchild"));
            }
            kill(grandchild, 64);
            run.until_stdout_has("grandchild 64\n");
            let out = run.stdout_so_far();
            assert_eq!(out.contains("grandchild 15\n"), reached, "{role:?} {options:?}: {out}");
            kill(wrapper, SIGUSR1);
            assert_eq!(run.done().code(), 42);
        }
    });
}

#[test]
fn with_kill_group_the_stop_timeout_kills_all_of_the_group() {
    let (run, wrapper, grandchild) = family(Role::Process, &["--kill-group", "--stop-timeout", "300ms"]);
    kill(wrapper, SIGTERM);
    assert_eq!(run.done().code(), 137);
    eventually("the grandchild is gone", || !is_alive(grandchild));
}

/// wrapper while its hook sleeps that long.
fn in_its_hook(role: Role, options: &[&str], milliseconds: u32) -> Running {
    let hook = guests::program("nap");
    let mut run = role.wrapper().plugin(&hook).with(options).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_SLEEP_MS", milliseconds.to_string());
    let mut run = run.running();
    run.until_stderr_has("sleeping\n");
    run
}

#[test]
fn a_stop_signal_during_a_hook_lets_it_finish() {
    in_both_roles(|role| {
        for signal in [SIGTERM, SIGINT] {
            let run = in_its_hook(role, &[], 700);
            kill(role.pid(&run), signal);
            let done = run.done();
            assert_eq!(done.code(), 7, "{role:?}");
            assert_eq!(done.lines(), ["wrapper: nap: sleeping", "wrapper: nap: slept"]);
            assert_took(&done, 0.7, 10.0);
        }
    });
}

#[test]
fn a_second_stop_signal_ends_the_hook_at_once_and_skips_the_rest_and_the_code_is_kept() {
    in_both_roles(|role| {
        for second in [SIGTERM, SIGINT] {
            let run = in_its_hook(role, &["--plugin", "echo", "--plugin-timeout", "30s"], 25_000);
            kill(role.pid(&run), SIGTERM);
            // A second signal within a tenth of a second counts as the same request.
            let wrapper = role.pid(&run);
            eventually("the hook is ended", || {
                kill(wrapper, second);
                run.stderr_so_far().contains("ended-early")
            });
            let done = run.done();
            assert_eq!(done.code(), 7, "{role:?}");
            let lines = done.lines();
            assert!(lines.len() == 2 && lines[1].ends_with("ended-early: wrapper was asked to stop"), "{lines:?}");
            assert_took(&done, 0.0, 10.0);
        }
    });
}

#[test]
fn two_stop_signals_at_once_are_one_wish_and_the_hook_finishes() {
    in_both_roles(|role| {
        let run = in_its_hook(role, &[], 700);
        let wrapper = role.pid(&run);
        // Both are there when it goes on.
        kill(wrapper, SIGSTOP);
        kill(wrapper, SIGTERM);
        kill(wrapper, SIGINT);
        kill(wrapper, SIGCONT);
        let done = run.done();
        assert_eq!((done.code(), done.lines()), (7, vec!["wrapper: nap: sleeping", "wrapper: nap: slept"]), "{role:?}");
    });
}

#[test]
fn a_stop_signal_before_the_command_ends_what_comes_before_it_and_the_command_is_not_started() {
    in_both_roles(|role| {
        let hook = guests::program("nap");
        let options = ["--before", hook.to_str().unwrap(), "--plugin", "echo", "--plugin-timeout", "30s"];
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
            let mut run = role.wrapper().with(&options).with(&["echo", "started"]);
            run.env("HOOK_SLEEP_MS", "25000");
            let mut run = run.running();
            run.until_stderr_has("sleeping\n");
            kill(role.pid(&run), signal);
            let done = run.done();
            assert_eq!((done.code(), done.stdout.as_str()), (128 + signal, ""), "{done:?}");
            assert!(done.stderr.contains("was not started: a stop signal arrived first"), "{done:?}");
            assert_took(&done, 0.0, 10.0);
        }
    });
}
