//! A time limit for the command: `--timeout` stops it, hooks run, and the exit code is 124. `--grace-period` warns at
//! the start if what may follow a stop signal takes too long.

use crate::harness::{
    Done, Run, assert_took, eventually, guests, kill,
    processes::{Process, command_of, is_alive},
    programs::child,
    role::in_both_roles,
    wrapper,
};
use nix::libc::{SIGSTOP, SIGTERM, SIGUSR1};
use std::time::Instant;

const IGNORES: &str = "trap '' TERM; exec sleep 30";

const STOPPING: &str = "wrapper: the command did not exit within --timeout; stopping it";

#[test]
fn a_command_over_its_time_limit_is_sent_sigterm_and_the_exit_code_is_124_whatever_its_own() {
    in_both_roles(|role| {
        for (script, own) in [
            ("exec sleep 30", "was killed by signal 15"),
            ("trap 'exit 7' TERM; while :; do sleep 0.05; done", "exited with 7"),
            ("trap 'exit 0' TERM; while :; do sleep 0.05; done", "exited with 0"),
        ] {
            let run = role.wrapper().with(&["--timeout", "2s", "--plugin", "echo", "sh", "-c", script]);
            let done = run.done();
            assert_eq!(done.code(), 124, "{role:?} {script}: {done:?}");
            let lines = done.lines();
            assert_eq!(lines[0], STOPPING);
            assert!(lines.len() == 2 && lines[1].contains(own), "{lines:?}");
            assert_took(&done, 2.0, 20.0);
        }
    });
}

#[test]
fn a_command_that_exits_within_its_time_limit_is_left_alone() {
    in_both_roles(|role| {
        let done = role.wrapper().with(&["--timeout", "20s", "sh", "-c", "sleep 0.5; exit 7"]).done();
        assert_eq!((done.code(), done.stderr.as_str()), (7, ""), "{role:?}");
    });
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_stop_timeout_and_the_exit_code_is_124_too() {
    in_both_roles(|role| {
        let options = ["--timeout", "2s", "--stop-timeout", "300ms"];
        let done = role.wrapper().with(&options).with(&["sh", "-c", IGNORES]).done();
        assert_eq!(done.code(), 124, "{role:?}");
        assert_eq!(done.lines(), [STOPPING, "wrapper: the command did not exit within --stop-timeout; killing it"]);
        assert_took(&done, 2.3, 20.0);
    });
}

#[test]
fn without_stop_timeout_it_is_killed_ten_seconds_later() {
    let done = wrapper().with(&["--timeout", "2s", "sh", "-c", IGNORES]).done();
    assert_eq!(done.code(), 124);
    let killing = "wrapper: the command did not exit within --stop-timeout (default: 10s); killing it";
    assert_eq!(done.lines(), [STOPPING, killing]);
    assert_took(&done, 12.0, 25.0);
}

#[test]
fn the_time_limit_does_not_put_off_the_kill_that_a_stop_signal_has_started() {
    let options = ["--timeout", "5s", "--stop-timeout", "6s"];
    let mut run = wrapper().with(&options).with(&["sh", "-c", "trap '' TERM; echo ready; exec sleep 30"]).running();
    run.until_stdout_has("ready\n");
    let signalled = Instant::now();
    run.signal(SIGTERM);
    assert_eq!(run.exit_code(), Some(137));
    let elapsed = signalled.elapsed().as_secs_f64();
    assert!((6.0..15.0).contains(&elapsed), "{elapsed}");
}

#[test]
fn a_stopped_command_is_resumed_so_that_it_can_exit() {
    let script = "trap 'echo cleaned up; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = wrapper().with(&["--timeout", "3s", "--stop-timeout", "30s", "sh", "-c", script]).running();
    run.until_stdout_has("ready\n");
    kill(command_of(run.pid()).pid, SIGSTOP);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (124, "ready\ncleaned up\n"));
}

#[test]
fn with_kill_group_the_time_limit_is_for_all_of_the_group() {
    for (options, reached) in [(&["--kill-group"][..], true), (&[], false)] {
        let script = "sleep 60 & echo $!; exec sleep 60";
        let mut run = wrapper().with(&["--timeout", "1500ms"]).with(options).with(&["sh", "-c", script]).running();
        run.until_stdout_has("\n");
        let child = run.stdout_so_far().trim().parse().unwrap();
        assert_eq!(run.exit_code(), Some(124));
        if reached {
            eventually("the child is gone", || !is_alive(child));
        } else {
            assert!(Process::find(child).is_some());
            kill(child, SIGTERM);
        }
    }
}

#[test]
fn the_time_of_gates_does_not_count() {
    let gate = guests::program("nap");
    let mut run = wrapper().with(&["--timeout", "1s", "--before", gate.to_str().unwrap(), "sh", "-c", "exit 7"]);
    run.env("HOOK_SLEEP_MS", "1500");
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert_took(&done, 1.5, 15.0);
}

fn over_its_time(options: &[&str], hook: &str) -> Done {
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let run = wrapper().with(&["--timeout", "2s"]).with(options).plugin(guests::hook(hook));
    run.with(&["sh", "-c", script]).done()
}

#[test]
fn hooks_know_that_the_time_was_up_and_that_it_is_a_failure() {
    let done = over_its_time(&[], "log_context");
    assert_eq!(done.code(), 124);
    for line in ["outcome Some(Exited(0))", "cause Some(TimedOut)", "exit code 124", "succeeded false"] {
        assert!(done.stderr.contains(&format!("wrapper: log_context: {line}\n")), "{line}: {done:?}");
    }
    for (when, runs) in [("failure", true), ("success", false)] {
        let done = over_its_time(&["--plugin-on", when, "--plugin-failure", "fail"], "log_context");
        assert_eq!((done.code(), done.stderr.contains("log_context")), (124, runs), "{when}: {done:?}");
    }
}

#[test]
fn what_does_not_fit_into_the_grace_period_is_logged_at_the_start() {
    let line = |options: &[&str]| {
        let done = wrapper().with(options).with(&["--plugin", "echo", "--plugin", "echo", "true"]).done();
        assert_eq!(done.code(), 0, "{done:?}");
        done.lines().into_iter().find(|line| line.contains("grace")).map(str::to_owned)
    };
    for (options, message) in [
        (&["--grace-period", "30s", "--stop-timeout", "20s"][..], Some("40s (--stop-timeout 20s + after-hooks 20s)")),
        (&["--grace-period", "15"], Some("20s (after-hooks 20s)")),
        (&["--grace-period", "30s", "--stop-timeout", "20s", "--plugin-timeout", "5s"], None),
        (&["--grace-period", "20s"], None),
        (&["--stop-timeout", "20h"], None),
        (&["--grace-period", "25s", "--leftovers", "wait"], Some("30s (--leftovers-timeout 10s + after-hooks 20s)")),
        (&["--grace-period", "25s", "--leftovers-timeout", "1m"], None),
    ] {
        let period = options.get(1).map(|period| period.trim_end_matches('s')).unwrap_or_default();
        let fix = "shorten these times, or raise terminationGracePeriodSeconds and --grace-period";
        let expected = message.map(|parts| {
            format!("wrapper: stopping can take {parts}, which is longer than --grace-period {period}s; {fix}")
        });
        assert_eq!(line(options), expected, "{options:?}");
    }
    let done = wrapper().with(&["--grace-period", "1s", "--plugin", "echo", "--disable-hooks", "true"]).done();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
}

#[test]
fn after_a_stop_signal_the_stop_timeout_takes_the_place_of_the_time_limit() {
    in_both_roles(|role| {
        let options = ["--timeout", "3s", "--stop-timeout", "60s", "--log", "debug"];
        let run = role.wrapper().with(&options).plugin(guests::hook("log_context"));
        let mut run = run.with(&[child(), "report", "child", "10", "0"]).running();
        let started = Instant::now();
        run.until_stdout_has("child ready\n");
        kill(role.pid(&run), SIGTERM);
        run.until_stdout_has("child 15\n");
        eventually("its time would be up", || started.elapsed().as_secs_f64() > 3.5);
        kill(role.pid(&run), SIGUSR1);
        let done = run.done();
        // No second SIGTERM, which many programs take for "at once".
        assert_eq!((done.code(), done.stdout.as_str()), (0, "child ready\nchild 15\nchild 10\n"), "{role:?}: {done:?}");
        assert!(!done.stderr.contains("--timeout"), "{done:?}");
        assert!(done.stderr.contains("wrapper: log_context: cause None\n"), "{done:?}");
    });
}

#[test]
fn a_stop_signal_without_a_stop_timeout_does_not_end_the_time_limit() {
    let mut run = wrapper().with(&["--timeout", "2s", child(), "report", "child", "18", "7"]).running();
    run.until_stdout_has("child ready\n");
    run.signal(SIGTERM);
    let done = run.done();
    assert_eq!((done.code(), done.lines()), (124, vec![STOPPING]));
}
