//! `--leftovers`: processes that outlive the command are waited for, or ended, before the after-hooks run.

use crate::harness::{
    Done, Run, Running, assert_took, eventually, guests, kill,
    processes::{Process, is_alive},
    programs::child,
    role::{Role, in_both_roles},
    skipped, wrapper,
};
use nix::libc::{SIGKILL, SIGTERM, SIGUSR1};
use std::{
    process::{Command, Stdio},
    time::Instant,
};

/// The command exits with 7. The other process has a session of its own, and a child.
const LATE: &str = "setsid sh -c 'sleep 1 & wait; echo late' & exit 7";

/// A process that does nothing.
const SLEEP: &str = "sleep 60 >/dev/null 2>&1 & echo $!; exit 7";

fn leaving(role: Role, options: &[&str], script: &str) -> Done {
    role.wrapper().with(options).with(&["--plugin", "echo", "sh", "-c", script]).done()
}

/// A command that has exited with 7 and left a process which reports its signals, in a session of its own, and exits at
/// this one.
fn reporting(role: Role, options: &[&str], last: i32) -> Running {
    let script = format!(r#"setsid "$0" report orphan {last} 0 & read line; exit 7"#);
    let mut run = role.wrapper().with(options).with(&["--plugin", "echo", "sh", "-c", &script, child()]);
    run.stdin(Stdio::piped());
    let mut run = run.running();
    run.until_stdout_has("orphan ready\n");
    drop(run.child.stdin.take());
    run
}

/// The lines of wrapper without the hook's.
fn lines(done: &Done) -> Vec<&str> {
    done.lines().into_iter().filter(|line| !line.starts_with("wrapper: echo: ")).collect()
}

fn ran_hook(done: &Done) -> bool {
    done.stderr.contains(r#"wrapper: echo: "sh" exited with 7"#)
}

const WAITING: &str = "wrapper: the command left 1 process (child) behind; waiting for them";

const STOPPING: &str = "wrapper: the command left 1 process (child) behind; stopping them";

#[test]
fn they_are_waited_for_and_then_the_hooks_run_and_the_exit_code_is_the_commands() {
    in_both_roles(|role| {
        let done = leaving(role, &["--leftovers", "wait"], LATE);
        assert_eq!((done.code(), done.stdout.as_str()), (7, "late\n"), "{role:?}");
        let [line] = lines(&done)[..] else { panic!("{done:?}") };
        assert!(
            line.starts_with("wrapper: the command left ") && line.ends_with(" behind; waiting for them"),
            "{line}"
        );
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 1.0, 9.0);
    });
}

#[test]
fn one_that_exits_and_leaves_another_one_is_followed() {
    let relay =
        "relay() { if [ $1 -gt 0 ]; then (sleep 0.02; relay $(($1 - 1))) & else echo last; fi; }; relay 30; exit 7";
    in_both_roles(|role| {
        let done = leaving(role, &["--leftovers", "wait", "--leftovers-timeout", "30s"], relay);
        assert_eq!((done.code(), done.stdout.as_str()), (7, "last\n"), "{role:?}: {done:?}");
    });
}

#[test]
fn by_default_they_are_left_alone_and_the_hooks_run_at_once() {
    for options in [&[][..], &["--leftovers", "ignore", "--leftovers-timeout", "9s"]] {
        let mut run = wrapper().with(options).with(&["--plugin", "echo", "sh", "-c", SLEEP]).running();
        assert_eq!(run.exit_code(), Some(7));
        run.until_stderr_has("exited with 7");
        assert_eq!(run.stderr_so_far().lines().count(), 1, "{}", run.stderr_so_far());
        run.until_stdout_has("\n");
        let orphan = run.stdout_so_far().trim().parse().unwrap();
        assert!(is_alive(orphan));
        kill(orphan, SIGKILL);
    }
}

#[test]
fn without_any_nothing_is_waited_for_or_logged() {
    in_both_roles(|role| {
        for policy in ["wait", "stop"] {
            let done = leaving(role, &["--leftovers", policy, "--leftovers-timeout", "30s"], "sleep 0.1; exit 7");
            assert!(done.code() == 7 && lines(&done).is_empty() && ran_hook(&done), "{role:?}: {done:?}");
            assert_took(&done, 0.1, 9.0);
        }
    });
}

#[test]
fn those_that_stay_longer_than_their_time_are_logged_and_left_alone() {
    in_both_roles(|role| {
        let done = leaving(role, &["--leftovers", "wait", "--leftovers-timeout", "500ms"], SLEEP);
        assert_eq!(done.code(), 7, "{role:?}");
        // At first it can still be the shell that is about to become `sleep`.
        let [waiting, over] = lines(&done)[..] else { panic!("{done:?}") };
        assert!(waiting.starts_with("wrapper: the command left 1 process (s"), "{waiting}");
        let message =
            "wrapper: 1 process (sleep) that the command left behind did not exit in time; running the hooks anyway";
        assert_eq!(over, message);
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 0.5, 9.0);
        if role == Role::Process {
            let orphan = done.stdout.trim().parse().unwrap();
            assert!(is_alive(orphan));
            kill(orphan, SIGKILL);
        }
    });
}

#[test]
fn with_stop_they_are_sent_sigterm_once_and_the_hooks_run_when_they_have_exited() {
    in_both_roles(|role| {
        let done = reporting(role, &["--leftovers", "stop", "--leftovers-timeout", "30s"], SIGTERM).done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "orphan ready\norphan 15\n"), "{role:?}: {done:?}");
        assert_eq!(lines(&done), [STOPPING]);
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 0.0, 15.0);
    });
}

#[test]
fn those_that_ignore_sigterm_are_killed_after_their_time() {
    in_both_roles(|role| {
        let options = ["--leftovers", "stop", "--leftovers-timeout", "500ms"];
        let done = reporting(role, &options, 64).done();
        assert_eq!(
            (done.code(), done.stdout.as_str()),
            (7, "orphan ready\norphan 15\norphan 18\n"),
            "{role:?}: {done:?}"
        );
        let killing = "wrapper: 1 process (child) that the command left behind did not exit within \
                       --leftovers-timeout; killing them";
        assert_eq!(lines(&done), [STOPPING, killing]);
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 0.5, 9.0);
    });
}

#[test]
fn all_of_a_tree_of_processes_is_stopped() {
    in_both_roles(|role| {
        let tree = "for i in 1 2 3; do setsid sh -c 'sleep 60 & sleep 60 & echo ready; wait' & done; sleep 60 & \
                    read line; exit 7";
        let options = ["--leftovers", "stop", "--leftovers-timeout", "30s"];
        let mut run = role.wrapper().with(&options).with(&["sh", "-c", tree]);
        run.stdin(Stdio::piped());
        let mut run = run.running();
        run.until_stdout_has("ready\nready\nready\n");
        drop(run.child.stdin.take());
        let done = run.done();
        assert_eq!(done.code(), 7, "{role:?}: {done:?}");
        let [line] = lines(&done)[..] else { panic!("{done:?}") };
        assert!(line.starts_with("wrapper: the command left 10 processes ("), "{line}");
        assert!(line.ends_with(", …) behind; stopping them"), "{line}");
        assert_took(&done, 0.0, 15.0);
    });
}

#[test]
fn a_stop_signal_while_they_are_waited_for_is_passed_on_to_them_and_the_hooks_run() {
    in_both_roles(|role| {
        let mut run = reporting(role, &["--leftovers", "wait", "--leftovers-timeout", "30s"], SIGTERM);
        run.until_stderr_has(WAITING);
        kill(role.pid(&run), SIGUSR1);
        kill(role.pid(&run), SIGTERM);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "orphan ready\norphan 15\n"), "{role:?}: {done:?}");
        assert!(lines(&done) == [WAITING] && ran_hook(&done), "{done:?}");
        assert_took(&done, 0.0, 15.0);
    });
}

#[test]
fn a_second_stop_signal_kills_them_and_the_hooks_are_skipped() {
    in_both_roles(|role| {
        let mut run = reporting(role, &["--leftovers", "stop", "--leftovers-timeout", "30s"], 64);
        run.until_stderr_has(STOPPING);
        let wrapper = role.pid(&run);
        let start = Instant::now();
        // A second signal within a tenth of a second counts as the same request.
        eventually("wrapper exits", || {
            kill(wrapper, SIGTERM);
            run.has_ended()
        });
        assert!(start.elapsed().as_secs_f64() < 9.0);
        let done = run.done();
        assert!(done.code() == 7 && !ran_hook(&done), "{role:?}: {done:?}");
    });
}

#[test]
fn after_a_command_that_was_asked_to_stop_they_are_too() {
    // By a signal, which only the command gets.
    let script = r#""$0" report orphan 15 0 & exec sleep 60"#;
    let options = ["--leftovers", "wait", "--leftovers-timeout", "30s"];
    let mut run = wrapper().with(&options).with(&["sh", "-c", script, child()]).running();
    run.until_stdout_has("orphan ready\n");
    run.signal(SIGTERM);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str(), lines(&done)), (143, "orphan ready\norphan 15\n", vec![STOPPING]));
    // Or at its time limit.
    let run = wrapper().with(&options).with(&["--timeout", "2s", "sh", "-c", script, child()]);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (124, "orphan ready\norphan 15\n"), "{done:?}");
}

#[test]
fn hooks_know_how_many_there_were() {
    for (options, script, count) in [
        (&["--leftovers", "wait"][..], "sleep 2 & sleep 3 & exit 7", "Some(2)"),
        (&["--leftovers", "stop"], SLEEP, "Some(1)"),
        (&["--leftovers", "stop"], "exit 7", "Some(0)"),
        (&[], "exit 7", "None"),
    ] {
        let done = wrapper().with(options).plugin(guests::hook("log_context")).with(&["sh", "-c", script]).done();
        let line = format!("wrapper: log_context: leftovers {count}\n");
        assert!(done.stderr.contains(&line), "{options:?}: {done:?}");
    }
}

#[test]
fn a_command_that_was_not_started_has_left_none() {
    let done = wrapper().with(&["--leftovers", "stop"]).plugin(guests::hook("log_context")).with(&["nosuch"]).done();
    assert_eq!(done.code(), 127);
    assert!(done.stderr.contains("leftovers None\n"), "{done:?}");
}

#[test]
fn where_proc_is_not_of_the_same_pid_namespace_none_is_sent_a_signal() {
    in_both_roles(|role| {
        if role == Role::Process {
            return;
        }
        // As the role is made, but without a /proc of its own.
        let init = role.wrapper();
        let mut run = Command::new("unshare");
        run.args(init.get_args().filter(|arg| *arg != "--mount-proc"));
        let run = run.with(&["--leftovers", "stop", "--plugin", "echo", "sh", "-c", SLEEP]);
        let done = run.done();
        assert_eq!(done.code(), 7, "{done:?}");
        let message = "wrapper: cannot look for processes that the command left behind: \
                       /proc is that of another PID namespace";
        assert!(lines(&done) == [message] && ran_hook(&done), "{done:?}");
    });
}

#[test]
fn what_a_process_of_another_parent_starts_is_none_of_them() {
    // As `kubectl exec` does: nothing in wrapper's tree.
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let done = leaving(Role::Process, &["--leftovers", "stop"], "exit 7");
    assert!(lines(&done).is_empty() && Process::find(other.id().cast_signed()).is_some(), "{done:?}");
    other.kill().unwrap();
    other.wait().unwrap();
}

/// wrapper as the last step of an entrypoint script, which has started another process before; `$0` is wrapper.
fn after_another(role: Role, script: &str, policy: &str, command: &str) -> Command {
    let options = ["--leftovers", policy, "--leftovers-timeout", "30s", "--plugin", "echo", "sh", "-c", command];
    let program = Command::new("sh").with(&["-c", script, env!("CARGO_BIN_EXE_wrapper")]);
    let mut run = role.program(program).with(&options);
    run.stdin(Stdio::piped());
    run
}

#[test]
fn those_that_an_entrypoint_script_started_before_wrapper_are_left_alone() {
    in_both_roles(|role| {
        for policy in ["wait", "stop"] {
            // It has a child, which does not belong to the command either, and goes on until the input is closed.
            let other = r#"sh -c 'sleep 60 & cat; kill $!; echo "the other goes on"' <&3 &"#;
            let script = &format!(r#"exec 3<&0; {other} exec "$0" "$@""#);
            let run = after_another(role, script, policy, "exit 7");
            let mut run = run.running();
            run.until_stderr_has(r#""sh" exited with 7"#);
            drop(run.child.stdin.take());
            let done = run.done();
            assert!(done.code() == 7 && lines(&done).is_empty(), "{role:?} {policy}: {done:?}");
            assert_took(&done, 0.0, 15.0);
            if role == Role::Process {
                assert_eq!(done.stdout, "the other goes on\n", "{policy}");
            }
        }
    });
}

#[test]
fn beside_those_from_before_wrapper_the_commands_own_are_stopped() {
    in_both_roles(|role| {
        let run = after_another(role, r#"sleep 60 & exec "$0" "$@""#, "stop", SLEEP);
        let done = run.done();
        assert_eq!(done.code(), 7, "{role:?}: {done:?}");
        let [line] = lines(&done)[..] else { panic!("{role:?}: {done:?}") };
        assert!(line.starts_with("wrapper: the command left 1 process (s"), "{line}");
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 0.0, 20.0);
    });
}

#[test]
fn one_that_is_suspended_is_resumed_so_that_it_can_exit() {
    in_both_roles(|role| {
        let script = "trap 'echo cleaned up; exit' TERM; kill -STOP $$; while :; do sleep 0.05; done";
        let command = r#"setsid sh -c "$0" & until grep -q '^State:.T' /proc/$!/status; do sleep 0.02; done; exit 7"#;
        let options = ["--leftovers", "stop", "--leftovers-timeout", "30s", "sh", "-c", command, script];
        let done = role.wrapper().with(&options).done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "cleaned up\n"), "{role:?}: {done:?}");
        assert_took(&done, 0.0, 15.0);
    });
}

#[test]
fn one_whose_first_thread_has_ended_is_stopped_too() {
    let python = "import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)";
    in_both_roles(|role| {
        // Its state is that of a zombie.
        let command = r#"python3 -c "$0" & until grep -q '^State:.Z' /proc/$!/status; do sleep 0.02; done; exit 7"#;
        let options = ["--leftovers", "stop", "--leftovers-timeout", "30s", "--plugin", "echo", "sh", "-c"];
        let done = role.wrapper().with(&options).with(&[command, python]).done();
        assert_eq!(done.code(), 7, "{role:?}: {done:?}");
        assert_eq!(lines(&done), ["wrapper: the command left 1 process (python3) behind; stopping them"]);
        assert!(ran_hook(&done), "{done:?}");
        assert_took(&done, 0.0, 15.0);
    });
}

#[test]
fn one_that_proc_does_not_show_is_waited_for_and_then_warned_of() {
    // Of another user, where wrapper may not see everybody's.
    let script = r#"mount -t proc -o hidepid=2,gid=4242424 proc /proc &&
        exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$0" --leftovers stop --leftovers-timeout 500ms \
        --plugin echo setpriv --reuid 4242424 --clear-groups sh -c 'sleep 60 & exit 7'"#;
    let unshare = ["-pf", "--mount-proc", "--kill-child", "sh", "-c", script, env!("CARGO_BIN_EXE_wrapper")];
    let done = Command::new("unshare").with(&unshare).done();
    if ["unshare:", "mount:"].iter().any(|program| done.stderr.starts_with(program)) {
        return skipped("a /proc that hides processes of other users cannot be mounted here");
    }
    assert_eq!(done.code(), 7, "{done:?}");
    let message = "wrapper: a process not shown in /proc that the command left behind did not exit in time; \
                   running the hooks anyway";
    assert_eq!(lines(&done)[0], message, "{done:?}");
    assert!(done.stderr.contains("exited with 7"), "{done:?}");
    assert_took(&done, 0.5, 15.0);
}
