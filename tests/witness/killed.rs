//! When a wrapper is killed, its witness runs the hooks that it has not run, and else none.

use crate::harness::{
    Run, assert_took, eventually, failed, guests, kill,
    peer::{Peer, hold},
    processes::{Process, command_of, status},
    skipped,
    witness::{KILL, Witness, echoes, until_registered},
    wrapper, wrapper_for_everyone,
};
use nix::libc::{SIGTERM, SIGUSR1};
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    thread,
    time::Duration,
};

const SLEEP: [&str; 2] = ["sleep", "30"];

#[test]
fn a_killed_wrappers_hook_is_run_once_with_the_signal_the_arguments_and_the_time() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    let mut run = witness.wrapper(&["--plugin", "echo"]).with(&SLEEP).running();
    until_registered(&mut run);
    let command = command_of(run.pid()).pid;
    run.signal(KILL);
    witness.until_log_has("hook \"echo\": succeeded");
    kill(command, KILL);
    assert_eq!(run.exit_code(), None);
    run.until_output_ends();
    assert_eq!(echoes(&run.stderr_so_far()), 0);
    let done = witness.stop();
    assert_eq!((done.code(), echoes(&done.stderr)), (0, 1), "{done:?}");
    assert!(done.stderr.contains("wrapper: container \"\" was killed; hooks left to run: 1\n"), "{done:?}");
    assert!(done.stderr.contains("echo: \"sleep\" was killed by signal 9 after "), "{done:?}");
}

#[test]
fn a_wrapper_that_ends_by_itself_runs_its_hooks_and_the_witness_none() {
    for (script, code) in [("exit 3", 3), ("kill -KILL $$", 137), ("exec /nosuch", 127)] {
        let mut witness = Witness::start(&["--plugin", "echo"]);
        let done = witness.wrapper(&["--plugin", "echo"]).with(&["sh", "-c", script]).done();
        assert_eq!((done.code(), echoes(&done.stderr)), (code, 1), "{done:?}");
        witness.until_log_has("container \"\" has finished\n");
        let done = witness.stop();
        assert_eq!((done.code(), echoes(&done.stderr)), (0, 0), "{done:?}");
    }
}

#[test]
fn a_wrapper_without_a_command_that_could_start_has_finished_too() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    for words in [&["/nosuch"][..], &["--plugin", "/nosuch.wasm", "true"], &["--before", "http", "true"]] {
        let done = witness.wrapper(words).done();
        assert!(done.code() >= 125, "{done:?}");
    }
    witness.until_log_has("has finished\n");
    assert_eq!(echoes(&witness.stop().stderr), 0);
}

#[test]
fn of_a_wrapper_that_is_killed_while_its_hooks_run_the_witness_runs_the_others_with_the_outcome() {
    let hooks = ["--plugin", "echo", "--plugin", "post=http", "--plugin", "last=echo"];
    let (silent, answering) = (Peer::start("127.0.0.1:0", |stream, _| hold(stream)), Peer::with_status(200));
    let mut witness = Witness::with(&hooks, &[("HOOK_POST_URL", &answering.url("/{exit_code}"))]);
    let mut command = witness.wrapper(&hooks).with(&["sh", "-c", "exit 3"]);
    command.env("HOOK_POST_URL", silent.url("/"));
    let run = command.running();
    eventually("the second hook waits", || !silent.requests().is_empty());
    run.signal(KILL);
    witness.until_log_has("hook \"last\": succeeded");
    let done = witness.stop();
    assert!(done.stderr.contains("was killed after its command exited with 3; hooks left to run: 2\n"), "{done:?}");
    assert_eq!(echoes(&done.stderr), 0, "it had run: {done:?}");
    assert!(done.stderr.contains("wrapper: last: \"sh\" exited with 3"), "{done:?}");
    assert_eq!(answering.requests().len(), 1);
    assert!(answering.requests()[0].starts_with("POST /3 "), "{:?}", answering.requests());
}

#[test]
fn a_hook_that_has_failed_is_run_again_and_plugin_on_holds() {
    let hooks = ["--plugin", "post=http", "--plugin", "on-success=echo", "--plugin", "wait=http"];
    let (failing, silent) = (Peer::with_status(404), Peer::start("127.0.0.1:0", |stream, _| hold(stream)));
    let env = [("HOOK_POST_URL", failing.url("/")), ("HOOK_ON_SUCCESS_ON", "success".into())];
    let ok = Peer::with_status(200);
    let own =
        [("HOOK_POST_URL", ok.url("/")), ("HOOK_WAIT_URL", ok.url("/")), ("HOOK_ON_SUCCESS_ON", "success".into())];
    let mut witness = Witness::with(&hooks, &own.each_ref().map(|(name, value)| (*name, value.as_str())));
    let mut command = witness.wrapper(&hooks).with(&["false"]);
    command.envs(env).env("HOOK_WAIT_URL", silent.url("/"));
    let mut run = command.running();
    eventually("the last hook waits", || !silent.requests().is_empty());
    run.until_stderr_has(&failed("post", ""));
    run.signal(KILL);
    witness.until_log_has("hook \"wait\": succeeded");
    let done = witness.stop();
    assert_eq!(ok.requests().len(), 2, "{done:?}");
    assert!(!done.stderr.contains("wrapper: on-success: "), "{done:?}");
}

#[test]
fn the_hook_learns_how_wrapper_was_asked_to_stop_and_what_it_had_said_before_it_was_killed() {
    let print = guests::program("print_environment");
    let mut witness = Witness::start(&["--plugin", print.to_str().unwrap()]);
    let script = "trap '' TERM; echo ready; exec sleep 30";
    let mut run = witness.wrapper(&[]).with(&["sh", "-c", script, "\u{fc}ber \n", ""]).running();
    run.until_stdout_has("ready\n");
    run.signal(SIGTERM);
    run.until_stderr_has("forwarded SIGTERM");
    let command = command_of(run.pid()).pid;
    run.signal(KILL);
    witness.until_log_has("succeeded after");
    kill(command, KILL);
    let log = witness.stop().stderr;
    for line in ["EXIT_CODE=killed", "EXIT_STATUS=9", "WRAPPER_STOP_SIGNAL=15", "WRAPPER_PHASE=after"] {
        assert!(log.contains(&format!(": variable {line}\n")), "{line}: {log}");
    }
    assert!(log.contains(&format!("WRAPPER_COMMAND=sh -c {script} \u{fc}ber ")), "{log}");
}

#[test]
fn a_container_that_is_started_again_is_a_new_one() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    for round in 1..=5 {
        let mut run = witness.wrapper(&["--plugin", "echo"]).with(&SLEEP).running();
        until_registered(&mut run);
        let command = command_of(run.pid()).pid;
        run.signal(KILL);
        assert_eq!(run.exit_code(), None);
        // At once, whatever the witness has seen of the end by now.
        let done = witness.wrapper(&["--plugin", "echo", "true"]).done();
        assert!(done.code() == 0 && !done.stderr.contains("no witness"), "{done:?}");
        eventually("the hook has run", || echoes(&witness.log()) == round);
        kill(command, KILL);
    }
    witness.until_log_has("has finished\n");
    assert_eq!(echoes(&witness.stop().stderr), 5);
}

#[test]
fn a_witness_that_is_told_to_stop_ends_at_once_if_nothing_is_due() {
    let witness = Witness::start(&["--plugin", "echo"]);
    let socket = witness.socket();
    assert!(fs::symlink_metadata(&socket).is_ok());
    let done = witness.stop();
    assert_eq!(done.code(), 0);
    assert_took(&done, 0.0, 8.0);
    assert!(fs::symlink_metadata(&socket).is_err(), "the socket is left");
}

#[test]
fn a_witness_that_is_told_to_stop_waits_for_the_wrapper_and_runs_what_is_due() {
    for killed in [true, false] {
        let mut witness = Witness::start(&["--plugin", "echo"]);
        let mut run = witness.wrapper(&["--plugin", "echo"]).with(&SLEEP).running();
        until_registered(&mut run);
        let command = command_of(run.pid()).pid;
        witness.run.signal(SIGTERM);
        // It looks at its signals before it answers.
        assert_eq!(witness.named("other", &["true"]).done().code(), 0);
        witness.until_log_has("refused container \"other\"");
        assert!(!witness.run.has_ended());
        run.signal(if killed { KILL } else { SIGTERM });
        let done = witness.run.done();
        kill(command, KILL);
        assert_eq!((done.code(), echoes(&done.stderr)), (0, usize::from(killed)), "{done:?}");
    }
}

#[test]
fn a_second_stop_signal_ends_the_witness_at_once() {
    let mut witness = Witness::start(&["--plugin", "echo"]);
    let mut run = witness.wrapper(&[]).with(&SLEEP).running();
    until_registered(&mut run);
    witness.run.signal(SIGTERM);
    // It looks at its signals before it answers.
    assert_eq!(witness.named("other", &["true"]).done().code(), 0);
    assert!(!witness.run.has_ended());
    // A second signal within a tenth of a second counts as the same request.
    eventually("the witness exits", || {
        witness.run.signal(SIGTERM);
        witness.run.has_ended()
    });
    assert_eq!(witness.run.exit_code(), Some(143));
    // The wrapper goes on without it.
    run.signal(SIGTERM);
    let done = run.done();
    assert_eq!(done.code(), 143);
    assert_eq!(done.stderr.matches(": Broken pipe; if this container is killed").count(), 1, "{done:?}");
}

#[test]
fn without_a_witness_the_command_is_delayed_by_a_second_and_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (socket, why) in [(folder.path().join("none"), "No such file or directory"), (file, "Connection refused")] {
        let mut command = wrapper().with(&["--plugin", "echo", "sh", "-c", "exit 3"]);
        command.env("WRAPPER_WITNESS", &socket);
        let done = command.done();
        assert_eq!(done.code(), 3);
        assert_took(&done, 1.0, 8.0);
        let socket = socket.display();
        let warning =
            format!("wrapper: no witness at {socket}: {why}; if this container is killed, its hooks may not run");
        assert_eq!(done.lines()[0], warning);
        assert_eq!((done.lines().len(), echoes(&done.stderr)), (2, 1), "{done:?}");
    }
}

#[test]
fn a_witness_that_starts_a_moment_later_is_found() {
    // wrapper tries to connect for a second. On a busy machine the witness may take longer to start.
    let found = (0..5).any(|_| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let run = wrapper().with(&["--log", "debug", "--witness", socket.to_str().unwrap(), "sleep", "30"]).running();
        let _witness = wrapper().with(&["--witness", socket.to_str().unwrap()]).running();
        eventually("the command runs", || run.stderr_so_far().contains("wrapper: started "));
        run.signal(SIGTERM);
        let done = run.done();
        assert_eq!(done.code(), 143, "{done:?}");
        done.stderr.contains("wrapper: registered with the witness\n")
    });
    assert!(found);
}

#[test]
fn a_socket_that_was_left_is_replaced_and_any_other_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let mut killed = wrapper().with(&["--log", "debug", "--witness", socket.to_str().unwrap()]).running();
    killed.until_stderr_has("the witness listens\n");
    killed.signal(KILL);
    killed.exit_code();
    let mut run = wrapper().with(&["--log", "debug", "--witness", socket.to_str().unwrap()]).running();
    run.until_stderr_has("the witness listens\n");
    assert_eq!(fs::symlink_metadata(&socket).unwrap().mode() & 0o777, 0o666);
    run.signal(SIGTERM);
    assert_eq!(run.done().code(), 0);

    fs::write(&socket, "precious").unwrap();
    let done = wrapper().with(&["--witness", socket.to_str().unwrap()]).done();
    assert_eq!(done.code(), 125);
    assert_eq!(done.line(), format!("wrapper: cannot listen on {socket:?}: Address already in use"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_wrapper_of_any_other_user_may_register() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("a wrapper of another user than the witness: the tests do not run as root");
    }
    let mut witness = Witness::start(&["--plugin", "echo"]);
    let folder = witness.socket();
    fs::set_permissions(folder.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (_directory, program) = wrapper_for_everyone();
    let mut command = std::process::Command::new(program);
    command.args(["--log", "debug", "sleep", "30"]).env("WRAPPER_WITNESS", witness.socket());
    command.uid(4_242_424);
    let mut run = command.running();
    until_registered(&mut run);
    let command = command_of(run.pid()).pid;
    run.signal(KILL);
    witness.until_log_has("hook \"echo\": succeeded");
    kill(command, KILL);
}

#[test]
fn a_witness_needs_the_option_and_hooks_that_can_be_loaded() {
    let mut command = wrapper();
    command.env("WRAPPER_WITNESS", "/nosuch/socket");
    let done = command.done();
    assert_eq!(done.code(), 125);
    assert!(done.line().contains("no command given"), "{done:?}");
    for (args, words) in [
        (&["--witness", "/nosuch/socket", "--plugin", "/nosuch.wasm"][..], "No such file or directory"),
        (&["--witness", "/nosuch/socket"], "cannot listen on \"/nosuch/socket\": No such file or directory"),
        (&["--witness", ""], "must be 1 to 107 bytes long"),
        (&["--witness", "/s", "--witness-containers", "0"], "must be a number between 1 and 64"),
        (&["--witness", "/s", "--witness-containers", "65"], "must be a number between 1 and 64"),
        (&["--witness", "/s", "--witness-name", &"n".repeat(64)], "must be 1 to 63 bytes long"),
        (&["--witness", &"s".repeat(108)], "must be 1 to 107 bytes long"),
    ] {
        let done = wrapper().with(args).done();
        assert_eq!(done.code(), 125, "{args:?}");
        assert!(done.line().contains(words), "{args:?}: {}", done.line());
    }
}

#[test]
fn while_the_command_sleeps_the_witness_does_not_wake_up_and_each_side_has_one_thread() {
    let witness = Witness::start(&["--plugin", "echo"]);
    let mut run = witness.wrapper(&["--plugin", "echo"]).with(&SLEEP).running();
    until_registered(&mut run);
    command_of(run.pid());
    let pids = [witness.run.pid(), run.pid()];
    eventually("both are at rest", || {
        let rest = |pid: &i32| Process::find(*pid).unwrap().state == 'S';
        pids.iter().all(rest) && Process::children(witness.run.pid()).is_empty()
    });
    let wakeups = || pids.map(|pid| status(pid, "voluntary_ctxt_switches").unwrap().parse::<u32>().unwrap());
    let before = wakeups();
    // The time over which they are watched: a second after the start wrapper gives memory back.
    thread::sleep(Duration::from_millis(2500));
    let now = wakeups();
    assert_eq!(now[0], before[0]);
    assert!(now[1] - before[1] <= 1, "{before:?} {now:?}");
    assert_eq!(pids.map(|pid| status(pid, "Threads").unwrap()), ["1", "1"]);
    run.signal(SIGTERM);
    assert_eq!(run.done().code(), 143);
}

#[test]
fn other_signals_do_not_end_a_witness() {
    let mut witness = Witness::start(&[]);
    witness.run.signal(SIGUSR1);
    assert_eq!(witness.wrapper(&["true"]).done().code(), 0);
    witness.until_log_has("has finished\n");
    assert_eq!(witness.stop().code(), 0);
}
