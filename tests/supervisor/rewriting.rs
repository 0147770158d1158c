//! `--rewrite-signal`: the command gets another signal, or none. What asks wrapper itself to stop stays the same.

use crate::harness::{
    Run, Running, assert_took, eventually, guests, kill,
    processes::{Process, command_of},
    programs::child,
    role::{Role, in_both_roles},
    wrapper,
};
use nix::libc::{SIGHUP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};

/// The last signal of a command that reports those that it gets.
const LAST: i32 = 64;

/// wrapper with such a command, which exits with 42.
fn reporting(role: Role, options: &[&str]) -> Running {
    let mut run = role.wrapper().with(options).with(&["--", child(), "report", "c", "64", "42"]).running();
    run.until_stdout_has("c ready\n");
    run
}

/// The signals that the command gets for these, which are sent to wrapper one by one, each read before the next.
#[track_caller]
fn received(role: Role, options: &[&str], signals: &[i32]) -> Vec<i32> {
    let run = reporting(role, options);
    let wrapper = role.pid(&run);
    let count = || run.stdout_so_far().lines().count();
    for signal in signals {
        let before = count();
        kill(wrapper, *signal);
        // One that is always forwarded shows that the other, a lower number, has been read or was dropped.
        kill(wrapper, 63);
        eventually("it is read", || run.stdout_so_far().lines().skip(before).any(|line| line == "c 63"));
    }
    kill(wrapper, LAST);
    let done = run.done();
    assert_eq!(done.code(), 42, "{done:?}");
    let numbers = done.stdout.lines().filter_map(|line| line.strip_prefix("c ")?.parse().ok());
    numbers.filter(|number| ![63, LAST].contains(number)).collect()
}

#[test]
fn the_command_gets_the_other_signal_or_none() {
    in_both_roles(|role| {
        for (rewrite, expected) in [
            ("TERM=QUIT", [3, 10, 1]),
            ("SIGTERM=SIGQUIT", [3, 10, 1]),
            ("15=3", [3, 10, 1]),
            ("term=rtmin+1", [35, 10, 1]),
            ("TERM=USR1,USR1=HUP, HUP = 15", [10, 1, 15]),
        ] {
            let signals = [SIGTERM, SIGUSR1, SIGHUP];
            assert_eq!(received(role, &["--rewrite-signal", rewrite], &signals), expected, "{role:?} {rewrite}");
        }
        for dropped in ["USR1=0", "USR1="] {
            let options = ["--rewrite-signal", dropped, "--rewrite-signal", "USR2=TERM"];
            assert_eq!(received(role, &options, &[SIGUSR1, SIGUSR2, SIGHUP]), [15, 1], "{role:?} {dropped}");
        }
    });
}

#[test]
fn the_variable_has_several_separated_by_commas() {
    let mut run = wrapper().with(&["--", child(), "report", "c", "1", "42"]);
    run.env("WRAPPER_REWRITE_SIGNAL", "TERM=QUIT, USR1=HUP");
    let mut run = run.running();
    run.until_stdout_has("c ready\n");
    run.signal(SIGTERM);
    run.until_stdout_has("c 3\n");
    run.signal(SIGUSR1);
    assert_eq!(run.done().code(), 42);
}

#[test]
fn a_dropped_stop_signal_still_starts_stop_timeout() {
    in_both_roles(|role| {
        let run = reporting(role, &["--rewrite-signal", "TERM=0", "--stop-timeout", "500ms"]);
        kill(role.pid(&run), SIGTERM);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (137, "c ready\n"), "{role:?}");
    });
}

#[test]
fn a_rewritten_stop_signal_before_the_command_keeps_it_from_starting_and_another_is_delivered_rewritten() {
    let gate = guests::program("nap");
    let waiting = |milliseconds: &str| {
        let options = ["--before", gate.to_str().unwrap(), "--plugin-timeout", "30s", "--rewrite-signal"];
        let mut run = wrapper().with(&options).with(&["TERM=0,USR1=TERM,USR2=0", "--plugin", "echo", "sleep", "60"]);
        run.env("HOOK_SLEEP_MS", milliseconds);
        let mut run = run.running();
        run.until_stderr_has("sleeping\n");
        run
    };
    let run = waiting("25000");
    run.signal(SIGTERM);
    let done = run.done();
    assert!(done.code() == 143 && done.stderr.contains("was not started: a stop signal arrived first"), "{done:?}");
    assert_took(&done, 0.0, 15.0);
    // USR1 does not become a stop signal of wrapper.
    let run = waiting("1000");
    run.signal(SIGUSR2);
    run.signal(SIGUSR1);
    let done = run.done();
    assert!(done.code() == 143 && done.stderr.contains("was killed by signal 15"), "{done:?}");
}

#[test]
fn at_its_time_limit_the_command_gets_what_it_gets_for_sigterm() {
    for (rewrite, out) in [("TERM=QUIT", "c ready\nc 3\nc 18\n"), ("TERM=0", "c ready\nc 18\n")] {
        let options = ["--timeout", "1500ms", "--stop-timeout", "500ms", "--rewrite-signal", rewrite];
        let done = reporting(Role::Process, &options).done();
        assert_eq!((done.code(), done.stdout.as_str()), (124, out), "{rewrite}");
    }
}

#[test]
fn a_signal_that_becomes_one_that_stops_does_not_end_wrapper() {
    for (rewrite, signal, got) in [("USR1=TSTP", SIGUSR1, 20), ("TSTP=USR1", SIGTSTP, 10), ("USR1=STOP", SIGUSR1, 0)] {
        let run = reporting(Role::Process, &["--rewrite-signal", rewrite]);
        run.signal(signal);
        let is_stopped = |pid| Process::find(pid).unwrap().state == 'T';
        let command = command_of(run.pid()).pid;
        if got == 0 {
            eventually("it is stopped", || is_stopped(command));
        } else {
            eventually("it is reported", || run.stdout_so_far().contains(&format!("c {got}\n")));
        }
        assert!(!is_stopped(run.pid()), "{rewrite}");
        run.signal(nix::libc::SIGCONT);
        run.signal(LAST);
        assert_eq!(run.done().code(), 42, "{rewrite}");
    }
}
