//! A process of the pod that is not a wrapper can neither end the session of one nor hold up a witness.

use crate::harness::{
    Run, eventually, kill,
    processes::{command_of, status},
    witness::{KILL, RawPeer, Witness, echoes, until, until_registered},
};
use std::{fs, process::Command};

/// As `wrapper` sends it.
fn register(name: &str, command: &[u8]) -> Vec<u8> {
    [&[b'r', name.len() as u8, 0], name.as_bytes(), command].concat()
}

fn registered(witness: &Witness, name: &str) -> RawPeer {
    let peer = witness.peer();
    assert!(peer.send(&register(name, b"sh\0")));
    assert_eq!(peer.reply(), Some(b'+'));
    peer
}

#[test]
fn what_does_not_begin_with_a_registration_is_refused_and_runs_no_hook() {
    let witness = Witness::start(&["--plugin", "echo"]);
    let too_long = register("a", &vec![b'x'; 100_000]);
    let long_name = register(&"n".repeat(64), b"");
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"f", b"hecho", b"ek\x09", b"l", b"r", b"r\xff", &too_long, &long_name]
    {
        let peer = witness.peer();
        assert!(peer.send(bytes));
        assert_eq!((peer.reply(), peer.reply()), (Some(b'-'), None), "{bytes:?}");
    }
    // And who closes without a word.
    drop(witness.peer());
    assert_eq!(witness.wrapper(&["true"]).done().code(), 0);
    until(&witness, "finished", |log| log.contains("has finished"));
    let done = witness.stop();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 0));
    assert_eq!(done.stderr.matches("the witness has refused ").count(), 1, "{done:?}");
}

#[test]
fn a_registered_peer_that_sends_garbage_is_one_session_and_its_end_runs_the_hooks_once() {
    let witness = Witness::start(&["--plugin", "echo"]);
    let peer = registered(&witness, "");
    for bytes in
        [&b"\0"[..], b"GET / HTTP/1.1", b"s", b"e", b"ee\x07", b"hnosuch", &[b'h'; 40_000], &register("b", b"")]
    {
        assert!(peer.send(bytes));
    }
    // Exited with 7, which is the exit code and no success; the rest is unknown.
    assert!(peer.send(&[&b"ee\x07\x07\0-"[..], &[0xff; 32]].concat()));
    drop(peer);
    until(&witness, "the hook has run", |log| echoes(log) == 1);
    let done = witness.stop();
    assert!(done.stderr.contains("echo: \"sh\" exited with 7"), "{done:?}");
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 1));
}

#[test]
fn names_and_arguments_of_any_bytes_do_not_forge_lines() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    let peer = witness.peer();
    let message = [&b"r\x0e\0"[..], b"\"\nwrapper: \xff\x1b[", b"a\nwrapper: forged\xff\0b"].concat();
    assert!(peer.send(&message));
    assert_eq!(peer.reply(), Some(b'+'));
    drop(peer);
    witness.until_log_has(r#"container "\"\nwrapper: \xff\x1b[" was killed; hooks left to run: 1"#);
    witness.until_log_has("hook \"echo\": succeeded");
    let done = witness.stop();
    assert!(done.stderr.lines().all(|line| line.starts_with("wrapper: ") && !line.starts_with("wrapper: forged")));
    assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
}

#[test]
fn a_second_connection_of_the_same_name_does_not_end_the_first() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    let mut run = witness.wrapper(&["--plugin", "echo"]).with(&["sleep", "30"]).running();
    until_registered(&mut run);
    for name in ["", "", "other"] {
        let peer = witness.peer();
        assert!(peer.send(&register(name, b"")));
        assert_eq!((peer.reply(), peer.reply()), (Some(b'-'), None));
        assert!(!peer.send(b"f") || peer.reply().is_none());
    }
    // A wrapper that is refused says so, and runs its command all the same.
    let done = witness.wrapper(&["--plugin", "echo", "sh", "-c", "exit 3"]).done();
    assert_eq!((done.code(), echoes(&done.stderr)), (3, 1), "{done:?}");
    assert!(done.stderr.contains(": it has refused this container; its log says why;"), "{done:?}");
    let command = command_of(run.pid()).pid;
    run.signal(KILL);
    witness.until_log_has("hook \"echo\": succeeded");
    kill(command, KILL);
    let done = witness.stop();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 1), "{done:?}");
    assert_eq!(done.stderr.matches("has refused a second container \"\"; set WRAPPER_WITNESS_NAME in each").count(), 1);
    assert_eq!(done.stderr.matches("has refused").count(), 1, "{done:?}");
}

#[test]
fn many_connections_do_not_keep_a_wrapper_out_and_most_are_closed() {
    let witness = Witness::start(&["--plugin", "echo"]);
    let peers: Vec<_> = (0..500).map(|_| witness.peer()).collect();
    let done = witness.wrapper(&["--plugin", "echo", "true"]).done();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 1));
    assert!(!done.stderr.contains("no witness"), "{done:?}");
    until(&witness, "finished", |log| log.contains("has finished"));
    let open = fs::read_dir(format!("/proc/{}/fd", witness.run.pid())).unwrap().count();
    assert!(open < 32, "{open} descriptors");
    assert!(peers[0].reply().is_none(), "the oldest is still open");
    drop(peers);
    assert_eq!(echoes(&witness.stop().stderr), 0);
}

#[test]
fn a_peer_cannot_be_told_twice_that_it_is_the_last() {
    let witness = Witness::start(&["--witness-containers", "2"]);
    let (a, b) = (registered(&witness, "a"), registered(&witness, "b"));
    for (peer, answer) in [(&a, b'n'), (&b, b'y')] {
        assert!(peer.send(b"l"));
        assert_eq!(peer.reply(), Some(answer));
    }
    // It has had its answer; the next message is one that has another.
    assert!(a.send(b"l") && a.send(b"f"));
    assert_eq!(a.reply(), None);
}

#[test]
fn what_peers_send_does_not_make_the_witness_grow() {
    let witness = Witness::start(&["--plugin", "istio-quit", "--witness-containers", "2"]);
    eventually("its helper is done", || command_count(witness.run.pid()) == 0);
    let private = || -> u64 {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", witness.run.pid())).unwrap();
        let line = smaps.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    let before = private();
    let live = registered(&witness, "a");
    for _ in 0..500 {
        let peer = witness.peer();
        assert!(peer.send(&register("b", &[b'x'; 32 << 10])));
        assert_eq!(peer.reply(), Some(b'+'));
        for _ in 0..10 {
            assert!(peer.send(&[b'h'; 30_000]));
        }
        assert!(peer.send(b"f"));
        assert_eq!(peer.reply(), None);
    }
    // Debug builds, too, keep to what one message takes.
    eventually("memory is given back", || private() <= before + 32);
    assert_eq!(status(witness.run.pid(), "Threads").unwrap(), "1");
    drop(live);
}

fn command_count(pid: i32) -> usize {
    crate::harness::processes::Process::children(pid).len()
}

#[test]
fn a_peer_that_floods_the_witness_does_not_keep_it_from_ending_and_from_others() {
    let mut witness = Witness::start(&["--plugin", "echo", "--witness-containers", "2"]);
    let socket = witness.socket();
    let flood = r#"if True:
        import socket, sys
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(sys.argv[1])
        peer.send(b"r\x05\0flood")
        print("flooding", flush=True)
        while True:
            peer.send(b"garbage" * 1000)"#;
    let mut command = Command::new("python3");
    command.args(["-c", flood, socket.to_str().unwrap()]);
    let mut flooding = command.running();
    flooding.until_stdout_has("flooding\n");
    let done = witness.wrapper(&["--plugin", "echo", "true"]).done();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 1));
    assert!(!done.stderr.contains("no witness"), "{done:?}");
    witness.until_log_has("container \"\" has finished");
    flooding.signal(KILL);
    witness.until_log_has("container \"flood\" was killed; hooks left to run: 1");
    assert_eq!(witness.stop().code(), 0);
}
