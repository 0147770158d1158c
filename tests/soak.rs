//! Hundreds of runs with random signals at random times, several wrappers side by side. Seconds by default;
//! `WRAPPER_SOAK_SECONDS` makes it as long as one likes.

use crate::support::{
    Run,
    helpers::child,
    kill,
    processes::Process,
    random::Random,
    role::{Role, in_both_roles},
};
use nix::libc;
use std::{
    env, thread,
    time::{Duration, Instant},
};

/// What may come at any time.
const SIGNALS: [i32; 18] = [1, 2, 3, 10, 12, 14, 15, 18, 23, 28, 34, 35, 40, 50, 60, 62, 63, 17];

/// The command's last signal; it is read after all others.
const LAST: i32 = 64;

fn length() -> Duration {
    let seconds = env::var("WRAPPER_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6.0);
    Duration::from_secs_f64(seconds)
}

fn pause(random: &mut Random) {
    thread::sleep(Duration::from_micros(random.below(3000)));
}

/// A command that takes every signal gets every signal: each of the real-time ones as often as it was sent, each of
/// the others at least once, and none that was not sent.
fn every_signal_arrives(role: Role, random: &mut Random) {
    let mut run = role.wrapper().with(&["--plugin", "echo", child(), "report", "child", "64", "42"]).running();
    run.until_stdout_has("child ready\n");
    let wrapper = role.pid(&run);
    let mut sent = [0; 65];
    for _ in 0..random.below(40) {
        let signal = SIGNALS[random.below(SIGNALS.len() as u64) as usize];
        kill(wrapper, signal);
        sent[signal as usize] += 1;
        if random.below(3) == 0 {
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

/// Whatever comes and whenever: the wrapper ends when the command does, with its code or 128 and the signal's number.
fn the_end_is_one_that_was_asked_for(role: Role, random: &mut Random) {
    let code = random.below(256) as i32;
    let time = random.below(20);
    let script = format!("(sleep 0.01 &); sleep 0.{time:03}; exit {code}");
    let hook = ["--plugin=echo", "--log=info"][random.below(2) as usize];
    let run = role.wrapper().with(&[hook, "--plugin-timeout=20s", "sh", "-c", &script]).running();
    let mut sent = Vec::new();
    for _ in 0..random.below(4) {
        pause(random);
        // Not before it has a chance to take them: until then they act on it as on any program.
        let Some(wrapper) = awake(role, &run) else { break };
        let signal = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGHUP, 40][random.below(5) as usize];
        kill(wrapper, signal);
        sent.push(signal);
    }
    let done = run.done();
    let end = done.code();
    assert!(end == code || sent.iter().any(|signal| end == 128 + signal), "{role:?} {code} {sent:?}: {done:?}");
    assert!(done.elapsed < Duration::from_secs(10), "{done:?}");
}

/// The wrapper's process ID, if it is there and blocks signals.
fn awake(role: Role, run: &crate::support::Running) -> Option<i32> {
    let candidates = match role {
        Role::Process => vec![run.pid()],
        Role::Init => Process::children(run.pid()).iter().map(|process| process.pid).collect(),
    };
    candidates.into_iter().find(|pid| {
        let blocked = crate::support::processes::status(*pid, "SigBlk").unwrap_or_default();
        Process::find(*pid).is_some_and(|process| process.name == "wrapper")
            && u64::from_str_radix(&blocked, 16).is_ok_and(|mask| mask & 1 << (libc::SIGTERM - 1) != 0)
    })
}

#[test]
fn hundreds_of_runs_side_by_side_end_as_they_should() {
    let end = Instant::now() + length();
    let runs: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let mut random = Random::new();
                    let mut runs = 0;
                    while Instant::now() < end {
                        in_both_roles(|role| {
                            every_signal_arrives(role, &mut random);
                            the_end_is_one_that_was_asked_for(role, &mut random);
                            runs += 2;
                        });
                    }
                    runs
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{runs} runs");
    assert!(runs >= 8);
}
