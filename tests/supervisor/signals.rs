//! Signals are forwarded to the command as they are, except for wrapper's own; and the command starts with the signal
//! state that wrapper inherited.

use crate::harness::{
    Run, Running, eventually, guests, kill,
    processes::{Process, blocks_sigterm, command_of, is_alive},
    programs::child,
    role::{Role, in_both_roles},
    skipped, wrapper,
};
use nix::{libc, sys::signal::SigSet};
use std::{io, mem::zeroed, os::unix::process::CommandExt, process::Command, ptr};

/// Every signal that somebody may want to send to a program, but for those that stop it.
const FORWARDED: [i32; 17] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// Signals that the kernel raises for faults, and SIGCHLD.
const OURS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Read after every other that is pending, by wrapper and by the command: nothing sent before it is still on
/// its way when it has arrived.
const FENCE: i32 = 64;

/// wrapper with a command that reports its signals and exits with 42 at `last`.
fn reporting(role: Role, options: &[&str], last: i32) -> (Running, i32) {
    let mut run = role.wrapper().with(options).with(&[child(), "report", "child", &last.to_string(), "42"]).running();
    run.until_stdout_has("child ready\n");
    let pid = role.pid(&run);
    (run, pid)
}

fn count(run: &Running, signal: i32) -> usize {
    run.stdout_so_far().lines().filter(|line| *line == format!("child {signal}")).count()
}

#[allow(unsafe_code)]
fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: no handler is set.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

#[allow(unsafe_code)]
fn block(signals: &[i32]) {
    // SAFETY: all-zero bytes are an empty set; the pointers are to live values.
    unsafe {
        let mut set = zeroed();
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

#[test]
fn every_signal_reaches_the_command_as_itself() {
    in_both_roles(|role| {
        let (mut run, wrapper) = reporting(role, &[], FENCE);
        for signal in FORWARDED.into_iter().chain(REALTIME) {
            kill(wrapper, signal);
            run.until_stdout_has(&format!("child {signal}\n"));
            assert_eq!(count(&run, signal), 1, "{role:?}");
        }
        assert_eq!(run.done().code(), 42, "{role:?}");
    });
}

#[test]
fn no_realtime_signal_is_lost() {
    const EACH: usize = 20;
    in_both_roles(|role| {
        let (run, wrapper) = reporting(role, &[], libc::SIGPWR);
        for _ in 0..EACH {
            REALTIME.for_each(|signal| kill(wrapper, signal));
        }
        for signal in REALTIME {
            eventually(&format!("{EACH} of {signal}"), || count(&run, signal) == EACH);
        }
        kill(wrapper, libc::SIGPWR);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.lines().count()), (42, 1 + EACH * REALTIME.count() + 1), "{role:?}");
    });
}

#[test]
fn signals_that_are_the_wrappers_own_are_taken_and_not_forwarded() {
    in_both_roles(|role| {
        let (run, wrapper) = reporting(role, &[], FENCE);
        for signal in OURS {
            kill(wrapper, signal);
        }
        kill(wrapper, FENCE);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (42, "child ready\nchild 64\n"), "{role:?}");
        assert_eq!(done.stderr, "");
    });
}

#[test]
fn a_burst_of_one_signal_does_not_lose_another() {
    in_both_roles(|role| {
        let (run, wrapper) = reporting(role, &[], FENCE);
        for round in 0..100 {
            kill(wrapper, libc::SIGUSR1);
            match round {
                30 => kill(wrapper, libc::SIGUSR2),
                60 => kill(wrapper, libc::SIGHUP),
                _ => {}
            }
        }
        kill(wrapper, FENCE);
        let done = run.done();
        assert_eq!(done.code(), 42);
        for signal in ["child 10\n", "child 12\n", "child 1\n"] {
            assert!(done.stdout.contains(signal), "{role:?} {signal}: {done:?}");
        }
    });
}

#[test]
fn a_stop_signal_is_forwarded_every_time() {
    in_both_roles(|role| {
        let (run, wrapper) = reporting(role, &[], libc::SIGUSR1);
        for sent in 1..=3 {
            kill(wrapper, libc::SIGTERM);
            eventually("one more SIGTERM", || count(&run, libc::SIGTERM) == sent);
        }
        kill(wrapper, libc::SIGUSR1);
        assert_eq!(run.done().code(), 42);
    });
}

#[test]
fn a_command_that_ignores_sigterm_is_waited_for_until_it_is_killed() {
    in_both_roles(|role| {
        let (mut run, wrapper) = reporting(role, &["--plugin", "echo"], 0);
        kill(wrapper, libc::SIGTERM);
        run.until_stdout_has("child 15\n");
        assert!(!run.has_ended());
        kill(command_of(wrapper).pid, libc::SIGKILL);
        let done = run.done();
        assert_eq!(done.code(), 137);
        assert!(done.line().contains("was killed by signal 9"), "{done:?}");
    });
}

#[test]
fn a_signal_to_the_whole_process_group_reaches_the_command_at_most_twice() {
    let mut run = wrapper().with(&[child(), "report", "child", "64", "42"]);
    run.process_group(0);
    let mut run = run.running();
    run.until_stdout_has("child ready\n");
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        kill(-run.pid(), signal);
        run.until_stdout_has(&format!("child {signal}\n"));
    }
    run.signal(FENCE);
    run.until_stdout_has("child 64\n");
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        assert!((1..=2).contains(&count(&run, signal)), "{}", run.stdout_so_far());
    }
    assert_eq!(run.done().code(), 42);
}

#[test]
fn the_command_starts_with_the_signal_state_that_the_wrapper_was_given() {
    const STATE: [&str; 5] = ["grep", "-E", "^Sig(Blk|Ign|Cgt)|^ShdPnd", "/proc/self/status", "/dev/null"];
    fn given() -> io::Result<()> {
        block(&[libc::SIGTERM, libc::SIGCHLD, 40, 64]);
        ignore(&[libc::SIGINT, libc::SIGHUP, libc::SIGCHLD, libc::SIGTSTP, libc::SIGPIPE, 41]);
        Ok(())
    }
    in_both_roles(|role| {
        for options in [&[][..], &["--kill-group"], &["--plugin", "echo"], &["--before", "echo"]] {
            for prepare in [given, || Ok(())] {
                let seen = role.wrapper().with(options).with(&STATE).first(prepare).done().stdout;
                let plain = role.program(Command::new(STATE[0]).with(&STATE[1..]));
                assert_eq!(seen, plain.first(prepare).done().stdout, "{role:?} {options:?}");
                assert_eq!(seen.lines().count(), 4, "{seen}");
            }
        }
    });
}

#[test]
fn sigpipe_has_its_default_effect_on_the_command() {
    in_both_roles(|role| {
        let done = role.wrapper().with(&["bash", "-c", "yes | head -1; exit ${PIPESTATUS[0]}"]).done();
        assert_eq!((done.code(), done.stdout.as_str(), done.stderr.as_str()), (141, "y\n", ""), "{role:?}");
    });
}

/// As other inits do: a shell's `command &` ignores SIGINT for it, and a command that sets a handler wants to receive it.
#[test]
fn what_was_ignored_at_entry_is_forwarded_and_is_no_wish_to_stop() {
    in_both_roles(|role| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // A shell cannot trap what it found ignored.
            let handles = "import signal, sys, time
def heard(number, frame):
    print('heard', number, flush=True); time.sleep(0.7); sys.exit(42)
for it in (1, 2, 3):
    signal.signal(it, heard)
print('ready', flush=True)
while True:
    time.sleep(0.02)";
            let options = ["--stop-timeout", "200ms", "python3", "-c", handles];
            let run = role.wrapper().with(&options).first(move || {
                ignore(&[signal]);
                Ok(())
            });
            let mut run = run.running();
            run.until_stdout_has("ready\n");
            kill(role.pid(&run), signal);
            let done = run.done();
            assert_eq!((done.code(), done.stdout.lines().last()), (42, Some(&*format!("heard {signal}"))), "{role:?}");
        }
    });
}

#[test]
fn under_nohup_a_command_that_does_not_handle_sighup_survives_it_and_without_it_does_not() {
    in_both_roles(|role| {
        for nohup in [true, false] {
            let script = if nohup { "echo ready; sleep 0.5; exit 7" } else { "echo ready; exec sleep 20" };
            let run = role.wrapper().with(&["sh", "-c", script]).first(move || {
                ignore(if nohup { &[libc::SIGHUP] } else { &[] });
                Ok(())
            });
            let mut run = run.running();
            run.until_stdout_has("ready\n");
            kill(role.pid(&run), libc::SIGHUP);
            assert_eq!(run.done().code(), if nohup { 7 } else { 129 }, "{role:?}");
        }
    });
}

#[test]
fn a_signal_that_comes_before_the_command_reaches_it_after_its_start() {
    let hook = guests::program("nap");
    in_both_roles(|role| {
        for (command, signals, code) in [
            (&[child(), "report", "child", "64", "42"][..], &[libc::SIGUSR1, libc::SIGWINCH, 40, 40, 64][..], 42),
            (&["sleep", "30"], &[libc::SIGUSR2], 128 + libc::SIGUSR2),
        ] {
            let mut run = role.wrapper().with(&["--before", hook.to_str().unwrap()]).with(command);
            run.env("HOOK_SLEEP_MS", "400");
            // One command starts with all of them blocked, and so none is lost before it looks for them.
            let run = run.first(move || match code {
                42 => Ok(SigSet::all().thread_block()?),
                _ => Ok(()),
            });
            let mut run = run.running();
            run.until_stderr_has("sleeping\n");
            signals.iter().for_each(|signal| kill(role.pid(&run), *signal));
            let done = run.done();
            assert_eq!(done.code(), code, "{role:?}: {done:?}");
            if code == 42 {
                for signal in signals {
                    let sent = signals.iter().filter(|other| *other == signal).count();
                    let line = format!("child {signal}");
                    assert_eq!(
                        done.stdout.lines().filter(|it| *it == line).count(),
                        sent,
                        "{role:?} {signal}: {done:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_signal_that_was_ignored_at_entry_does_not_stop_what_comes_before_the_command() {
    let hook = guests::program("nap");
    for (ignored, code) in [(true, 7), (false, 129)] {
        let mut run = wrapper().with(&["--before", hook.to_str().unwrap(), "sh", "-c", "exit 7"]);
        run.env("HOOK_SLEEP_MS", if ignored { "500" } else { "20000" });
        let run = run.first(move || {
            ignore(if ignored { &[libc::SIGHUP] } else { &[] });
            Ok(())
        });
        let mut run = run.running();
        run.until_stderr_has("sleeping");
        run.signal(libc::SIGHUP);
        assert_eq!(run.done().code(), code, "{ignored}");
    }
}

#[test]
fn with_sigchld_ignored_at_entry_the_exit_code_is_right() {
    in_both_roles(|role| {
        let ignoring = || {
            ignore(&[libc::SIGCHLD]);
            Ok(())
        };
        let done = role.wrapper().with(&["--plugin", "echo", "sh", "-c", "exit 7"]).first(ignoring).done();
        assert_eq!(done.code(), 7, "{role:?}");
        assert!(done.line().contains("exited with 7"), "{done:?}");
    });
}

#[test]
fn a_command_that_is_stopped_and_continued_is_not_taken_for_dead() {
    in_both_roles(|role| {
        let (mut run, wrapper) = reporting(role, &[], FENCE);
        let command = command_of(wrapper).pid;
        let state = || Process::find(command).unwrap().state;
        kill(command, libc::SIGSTOP);
        eventually("it is stopped", || state() == 'T');
        eventually("the wrapper waits again", || Process::find(wrapper).unwrap().state == 'S');
        assert!(!run.has_ended());
        kill(wrapper, libc::SIGCONT);
        eventually("it goes on", || state() != 'T');
        run.until_stdout_has("child 18\n");
        kill(wrapper, FENCE);
        assert_eq!(run.done().code(), 42);
    });
}

#[test]
fn a_signal_that_may_not_be_sent_is_warned_of_once_and_the_wait_goes_on() {
    let allowed = Command::new("setpriv").args(["--reuid", "4242424", "--clear-groups", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return skipped("only root can start a command as another user");
    }
    let mut run = Command::new("setpriv");
    run.args(["--bounding-set", "-kill", "--inh-caps", "-kill", env!("CARGO_BIN_EXE_wrapper")]);
    run.args(["setpriv", "--reuid", "4242424", "--clear-groups", child(), "report", "child", "64", "42"]);
    let mut run = run.running();
    run.until_stdout_has("child ready\n");
    let command = command_of(run.pid()).pid;
    run.signal(libc::SIGTERM);
    run.until_stderr_has("not permitted\n");
    run.signal(libc::SIGTERM);
    run.signal(libc::SIGUSR1);
    assert!(is_alive(run.pid()));
    kill(command, FENCE);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (42, "child ready\nchild 64\n"));
    assert_eq!(done.line(), "wrapper: cannot send SIGTERM to the command: not permitted");
}

#[test]
fn a_sigterm_at_any_moment_of_the_start_is_never_lost() {
    for round in 0..500 {
        let run = wrapper().with(&["sleep", "30"]).running();
        let start = std::time::Instant::now();
        let moment = std::time::Duration::from_micros(fastrand::u64(..5000));
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        run.signal(libc::SIGTERM);
        let done = run.done();
        // Before the first line of `main` a signal has its default effect, as on any program.
        let code = done.status.code().or_else(|| {
            let killed = std::os::unix::process::ExitStatusExt::signal(&done.status)?;
            Some(128 + killed)
        });
        assert_eq!(code, Some(143), "round {round} after {moment:?}: {done:?}");
        assert!(done.elapsed.as_secs_f64() < 15.0, "round {round} after {moment:?}: {done:?}");
    }
}

#[test]
fn as_pid_1_a_sigterm_at_any_moment_of_the_start_is_never_lost() {
    in_both_roles(|role| {
        if role == Role::Process {
            return;
        }
        for round in 0..100 {
            let run = role.wrapper().with(&["sleep", "30"]).running();
            let wrapper = role.pid(&run);
            // The kernel discards what PID 1 has no handler for; from `main` on nothing is.
            eventually("signals are blocked", || blocks_sigterm(wrapper));
            let moment = std::time::Duration::from_micros(fastrand::u64(..5000));
            std::thread::sleep(moment);
            kill(wrapper, libc::SIGTERM);
            let done = run.done();
            assert_eq!(done.code(), 143, "round {round} after {moment:?}: {done:?}");
        }
    });
}

#[test]
fn without_job_control_a_signal_that_stops_programs_is_only_forwarded() {
    for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let (mut run, wrapper) = reporting(Role::Process, &[], libc::SIGTERM);
        kill(wrapper, signal);
        run.until_stdout_has(&format!("child {signal}\n"));
        // A wrapper that has stopped would not forward it.
        kill(wrapper, libc::SIGTERM);
        assert_eq!(run.done().code(), 42, "{signal}");
    }
}

#[test]
fn without_job_control_a_command_that_is_stopped_and_resumed_through_the_wrapper_goes_on() {
    let run = wrapper().with(&["sleep", "30"]).running();
    let command = command_of(run.pid()).pid;
    let is_stopped = |pid| Process::find(pid).unwrap().state == 'T';
    eventually("the command has started", || Process::find(command).unwrap().name == "sleep");
    run.signal(libc::SIGTSTP);
    eventually("it is stopped", || is_stopped(command));
    assert!(!is_stopped(run.pid()));
    run.signal(libc::SIGCONT);
    eventually("it goes on", || !is_stopped(command));
    run.signal(libc::SIGTERM);
    assert_eq!(run.done().code(), 143);
}

#[test]
fn without_job_control_a_signal_that_stops_programs_and_comes_early_is_delivered_to_the_command() {
    let gate = guests::program("nap");
    let options = ["--before", gate.to_str().unwrap(), child(), "report", "child", "21", "42"];
    let mut run = wrapper().with(&options);
    run.env("HOOK_SLEEP_MS", "500");
    // Blocked, so that it is not lost before the command waits for it.
    let run = run.first(|| Ok(SigSet::all().thread_block()?));
    let mut run = run.running();
    run.until_stderr_has("sleeping\n");
    run.signal(libc::SIGTTIN);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (42, "child ready\nchild 21\n"), "{done:?}");
}
