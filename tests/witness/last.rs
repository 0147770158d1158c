//! Of several containers the one that ends last runs the hooks that are for it, killed or not.

use crate::harness::{
    Run, Running, assert_took, eventually, kill,
    processes::command_of,
    witness::{KILL, Witness, echoes, until_registered},
    wrapper,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::process::{Command, Stdio};

const HOOK: [&str; 2] = ["--plugin", "echo"];
const ON_LAST: (&str, &str) = ("HOOK_ECHO_ON_LAST", "true");

/// A container whose command ends when its input does.
struct Container {
    run: Running,
    command: i32,
}

impl Container {
    fn start(witness: &Witness, name: &str) -> Self {
        let mut command = witness.named(name, &HOOK).with(&["cat"]);
        command.env(ON_LAST.0, ON_LAST.1).stdin(Stdio::piped());
        let mut run = command.running();
        until_registered(&mut run);
        let command = command_of(run.pid()).pid;
        Self { run, command }
    }

    /// Ends it in one of the two ways, and does not wait.
    fn end(&mut self, by_kill: bool) {
        if by_kill {
            self.run.signal(KILL);
            kill(self.command, KILL);
        } else {
            drop(self.run.child.stdin.take());
        }
    }

    /// It has ended by itself, with so many runs of the hook.
    #[track_caller]
    fn assert_ended(&mut self, echoes: usize) {
        assert_eq!(self.run.exit_code(), Some(0));
        assert_eq!(self.echoes(), echoes);
    }

    /// How often its own wrapper, which has ended, ran the hook.
    fn echoes(&self) -> usize {
        self.run.until_output_ends();
        echoes(&self.run.stderr_so_far())
    }
}

#[test]
fn in_any_order_and_at_the_same_time_exactly_one_runs_the_hook() {
    const ROUNDS: usize = 24;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let witness = Witness::with(&[&HOOK[..], &["--witness-containers", "2"]].concat(), &[ON_LAST]);
    let mut by_witness = 0;
    for round in 0..ROUNDS {
        let mut containers = [Container::start(&witness, "a"), Container::start(&witness, "b")];
        random.shuffle(&mut containers);
        let kills = [random.bool(), random.bool()];
        let one_after_the_other = random.bool();
        let what = format!("seed {seed}, round {round}: {kills:?}, {one_after_the_other}");
        let [first, last] = &mut containers;
        first.end(kills[0]);
        if one_after_the_other {
            first.run.exit_code();
            assert_eq!((first.echoes(), echoes(&witness.log())), (0, by_witness), "{what}");
        }
        last.end(kills[1]);
        first.run.exit_code();
        last.run.exit_code();
        let own = || first.echoes() + last.echoes();
        eventually(&what, || own() + echoes(&witness.log()) == by_witness + 1);
        if one_after_the_other {
            assert_eq!(last.echoes(), usize::from(!kills[1]), "{what}");
        }
        by_witness += 1 - own();
        let all_seen =
            |log: &str| log.matches("has finished").count() + log.matches("was killed").count() == 2 * (round + 1);
        eventually("the witness has seen both ends", || all_seen(&witness.log().replace("was killed by", "")));
    }
    let done = witness.stop();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, by_witness), "seed {seed}: {done:?}");
}

#[test]
fn a_container_that_was_started_again_is_waited_for() {
    let witness = Witness::with(&[&HOOK[..], &["--witness-containers", "2"]].concat(), &[ON_LAST]);
    let (mut a, mut b) = (Container::start(&witness, "a"), Container::start(&witness, "b"));
    a.end(false);
    a.assert_ended(0);
    let mut a = Container::start(&witness, "a");
    b.end(false);
    b.assert_ended(0);
    a.end(false);
    a.assert_ended(1);
    assert_eq!(echoes(&witness.stop().stderr), 0);
}

#[test]
fn hooks_without_the_setting_run_in_every_container() {
    let hooks = ["--plugin", "echo", "--plugin", "each=echo", "--witness-containers", "2"];
    let witness = Witness::with(&hooks, &[ON_LAST]);
    let start = |name| {
        let mut command = witness.named(name, &hooks).with(&["true"]);
        command.env(ON_LAST.0, ON_LAST.1);
        command.done().stderr
    };
    let (first, last) = (start("a"), start("b"));
    for (log, count) in [(&first, 0), (&last, 1)] {
        assert_eq!((echoes(log), log.matches("wrapper: each: \"").count()), (count, 1), "{log}");
    }
    // Of a killed one the witness runs those alone that are not for the last.
    let mut container = Container::start(&witness, "a");
    let mut other = Container::start(&witness, "b");
    container.end(true);
    eventually("each has run", || witness.log().contains("wrapper: each: \""));
    other.end(false);
    other.assert_ended(1);
    assert_eq!(echoes(&witness.stop().stderr), 0);
}

#[test]
fn if_the_last_one_does_not_have_the_hook_the_witness_runs_it() {
    let mut witness = Witness::with(&[&HOOK[..], &["--witness-containers", "2"]].concat(), &[ON_LAST]);
    let mut a = Container::start(&witness, "a");
    let mut command = witness.named("b", &[]).with(&["cat"]);
    command.stdin(Stdio::piped());
    let mut b = command.running();
    until_registered(&mut b);
    a.end(false);
    a.assert_ended(0);
    drop(b.child.stdin.take());
    assert_eq!(b.exit_code(), Some(0));
    witness.until_log_has("container \"b\" has finished, the last one; hooks left to run: 1\n");
    witness.until_log_has("wrapper: echo: \"cat\" exited with 0");
    assert_eq!(echoes(&witness.stop().stderr), 1);
}

#[test]
fn a_container_that_has_not_been_there_yet_is_waited_for() {
    let witness = Witness::with(&[&HOOK[..], &["--witness-containers", "2"]].concat(), &[ON_LAST]);
    let mut a = Container::start(&witness, "a");
    a.end(false);
    a.assert_ended(0);
    let mut b = Container::start(&witness, "b");
    b.end(false);
    b.assert_ended(1);
}

#[test]
fn a_single_container_is_the_last() {
    let witness = Witness::with(&HOOK, &[ON_LAST]);
    let mut container = Container::start(&witness, "");
    container.end(false);
    container.assert_ended(1);
    assert_eq!(echoes(&witness.stop().stderr), 0);
}

#[test]
fn without_an_answer_the_hook_runs_and_a_warning_says_so() {
    const LINE: &str = "wrapper: hook \"echo\": runs, in the last container or not: ";
    let mut command = wrapper().with(&HOOK).with(&["sh", "-c", "exit 3"]);
    command.env(ON_LAST.0, ON_LAST.1);
    let done = command.done();
    assert_eq!((done.code(), echoes(&done.stderr)), (3, 1));
    assert!(done.stderr.contains(&format!("{LINE}there is no witness\n")), "{done:?}");

    // A socket whose owner does not answer. It takes connections, or its queue is full.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&socket, 0).unwrap();
    for (seconds, why, reason) in [
        (2.0, "no answer within 1s", "the witness has not answered within 1s"),
        (1.0, "Resource temporarily unavailable", "there is no witness"),
    ] {
        let mut command = wrapper().with(&HOOK).with(&["sh", "-c", "exit 3"]);
        command.env(ON_LAST.0, ON_LAST.1).env("WRAPPER_WITNESS", &path);
        let done = command.done();
        assert_eq!((done.code(), echoes(&done.stderr)), (3, 1), "{done:?}");
        assert_took(&done, seconds, seconds + 6.0);
        assert_eq!(done.stderr.matches(&format!("no witness at {}: {why};", path.display())).count(), 1, "{done:?}");
        assert!(done.stderr.contains(&format!("{LINE}{reason}\n")), "{done:?}");
    }
}

#[test]
fn a_socket_that_was_replaced_and_floods_holds_the_end_up_for_no_longer_than_a_silent_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let flood = r#"if True:
        import socket, sys
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(sys.argv[1])
        listener.listen()
        print("listening", flush=True)
        peer, _ = listener.accept()
        while True:
            peer.send(b"+")"#;
    let mut command = Command::new("python3");
    command.args(["-c", flood, path.to_str().unwrap()]);
    let mut flooding = command.running();
    flooding.until_stdout_has("listening\n");
    let mut command = wrapper().with(&HOOK).with(&["sh", "-c", "exit 3"]);
    command.env(ON_LAST.0, ON_LAST.1).env("WRAPPER_WITNESS", &path);
    let done = command.done();
    assert_eq!((done.code(), echoes(&done.stderr)), (3, 1), "{done:?}");
    assert!(done.stderr.contains("the witness has not answered within 1s\n"), "{done:?}");
    assert_took(&done, 1.0, 7.0);
}
