//! Hundreds of runs with random signals at random times, as PID 1 and not, with and without a terminal, several
//! wrappers side by side. `WRAPPER_SOAK_RUNS` sets their number. A failure prints its seed, and `WRAPPER_SOAK_SEED`
//! repeats it.

use crate::harness::{
    Run, Running, eventually, kill,
    processes::{Process, blocks_sigterm},
    programs::child,
    pty::{CTRL_C, Terminal},
    role::{Role, in_both_roles},
};
use fastrand::Rng;
use nix::libc;
use std::{env, process::Command, thread, time::Duration};

/// Signals that are sent at any time.
const SIGNALS: [i32; 18] = [1, 2, 3, 10, 12, 14, 15, 18, 23, 28, 34, 35, 40, 50, 60, 62, 63, 17];

/// The command's last signal; it is read after all others.
const LAST: i32 = 64;

/// Runs unless `WRAPPER_SOAK_RUNS` sets another number.
const RUNS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn pause(random: &mut Rng) {
    thread::sleep(Duration::from_micros(random.u64(..3000)));
}

/// A command that takes every signal gets every signal: each of the real-time ones as often as it was sent, each of
/// the others at least once, and none that was not sent.
fn every_signal_arrives(role: Role, random: &mut Rng) {
    let mut run = role.wrapper().with(&["--plugin", "echo", child(), "report", "child", "64", "42"]).running();
    run.until_stdout_has("child ready\n");
    let wrapper = role.pid(&run);
    let mut sent = [0; 65];
    for _ in 0..random.u64(..40) {
        let signal = SIGNALS[random.usize(..SIGNALS.len())];
        kill(wrapper, signal);
        sent[signal as usize] += 1;
        if random.u64(..3) == 0 {
            pause(random);
        }
    }
    kill(wrapper, LAST);
    let done = run.done();
    assert_eq!(done.code(), 42, "{role:?}: {done:?}");
    assert!(done.line().contains("exited with 42"), "{done:?}");
    for signal in SIGNALS {
        let seen = done.stdout.lines().filter(|line| *line == format!("child {signal}")).count();
        let sent = sent[signal as usize];
        let right = match signal {
            libc::SIGCHLD => seen == 0,
            34.. => seen == sent,
            _ => seen <= sent && (seen > 0) == (sent > 0),
        };
        assert!(right, "{role:?}: {sent} of signal {signal} were sent, {seen} came: {done:?}");
    }
}

/// Whatever comes and whenever: wrapper ends when the command does, with its code or 128 and the signal's number.
fn the_end_is_one_that_was_asked_for(role: Role, random: &mut Rng) {
    let code = i32::from(random.u8(..));
    let time = random.u64(..20);
    let script = format!("(sleep 0.01 &); sleep 0.{time:03}; exit {code}");
    let hook = ["--plugin=echo", "--log=info"][random.usize(..2)];
    let run = role.wrapper().with(&[hook, "--plugin-timeout=20s", "sh", "-c", &script]).running();
    let mut sent = Vec::new();
    for _ in 0..random.u64(..4) {
        pause(random);
        // Not before it has a chance to take them: until then they act on it as on any program.
        let Some(wrapper) = awake(role, &run) else { break };
        let signal = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGHUP, 40][random.usize(..5)];
        kill(wrapper, signal);
        sent.push(signal);
    }
    let done = run.done();
    let end = done.code();
    assert!(end == code || sent.iter().any(|signal| end == 128 + signal), "{role:?} {code} {sent:?}: {done:?}");
    assert!(done.elapsed < Duration::from_secs(10), "{done:?}");
}

/// wrapper's process ID, if it is there and blocks signals.
fn awake(role: Role, run: &Running) -> Option<i32> {
    let candidates = match role {
        Role::Process => vec![run.pid()],
        Role::Init => Process::children(run.pid()).iter().map(|process| process.pid).collect(),
    };
    candidates
        .into_iter()
        .find(|pid| Process::find(*pid).is_some_and(|process| process.name == "wrapper") && blocks_sigterm(*pid))
}

/// In a terminal the same, with what is typed there instead of signals; and the terminal is given back.
fn the_terminal_is_given_back(role: Role, random: &mut Rng) {
    let code = i32::from(random.u8(..));
    let time = random.u64(..20);
    // Not bash: interrupted just after a fork it may spin for ever (5.2, one in a thousand times).
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$@"; echo "code $?.""#, "sh"]).env_clear();
    shell.env("PATH", "/usr/bin:/bin");
    let script = format!("trap 'exit {code}' INT; (sleep 0.01 &); sleep 0.{time:03}; exit {code}");
    let run = role.wrapper().with(&["--plugin", "echo", "sh", "-c", &script]);
    shell.arg(run.get_program()).args(run.get_args());
    let mut terminal = Terminal::with(shell);
    let mut typed = false;
    for _ in 0..random.u64(..3) {
        pause(random);
        if terminal.shows().contains("code ") {
            break;
        }
        // A shell without job control is in the foreground too, and goes on if the command handled it.
        terminal.types(CTRL_C);
        typed = true;
    }
    eventually("it ends", || terminal.has_ended() || terminal.shows().contains("code "));
    let shown = terminal.shows();
    let ended = [code, 128 + libc::SIGINT].iter().any(|code| shown.contains(&format!("code {code}.")));
    // Ctrl-C before wrapper takes signals, or before the shell has started it, ends the shell as well.
    assert!(ended || typed, "{role:?} {code}: {shown:?}");
    eventually("it has ended", || terminal.has_ended());
}

#[test]
fn hundreds_of_runs_side_by_side_end_as_they_should() {
    const WORKERS: u64 = 4;
    let seed = number("WRAPPER_SOAK_SEED").unwrap_or_else(|| fastrand::u32(..).into());
    let runs = number("WRAPPER_SOAK_RUNS").unwrap_or(RUNS);
    println!("WRAPPER_SOAK_SEED={seed}");
    let done: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn(move || {
                    let mut random = Rng::with_seed(seed.wrapping_add(worker));
                    let mut done = 0;
                    while done < runs / WORKERS {
                        in_both_roles(|role| {
                            every_signal_arrives(role, &mut random);
                            the_end_is_one_that_was_asked_for(role, &mut random);
                            the_terminal_is_given_back(role, &mut random);
                            done += 3;
                        });
                    }
                    done
                })
            })
            .collect();
        // A worker's panic is the test's, behind the seed.
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let (what, mine) = (format!("no zombie of {done} runs"), std::process::id() as i32);
    eventually(&what, || !Process::children(mine).iter().any(|child| child.state == 'Z' && child.name == "wrapper"));
    assert!(done >= runs / WORKERS * WORKERS);
}
