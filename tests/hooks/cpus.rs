//! The same hook, byte for byte, does the same on every CPU. tests/platforms runs this in emulators, where compiling
//! takes a hundred times as long, so the timeouts are long.

use crate::harness::{
    Done, Run, assert_took, digest,
    envoy::Envoy,
    guests, network,
    peer::{Peer, free_port},
    programs, wrapper,
};
use std::{path::Path, process::Command};

/// wrapper with the component of an official hook, and time to compile it.
fn with_component(hook: &str) -> Command {
    wrapper().with(&["--plugin-timeout", "120s"]).plugin(guests::official(hook))
}

#[test]
fn a_hook_from_a_file_or_built_in_learns_how_the_command_ended() {
    for (command, code, words) in [
        (&["true"][..], 0, r#""true" exited with 0 after "#),
        (&["sh", "-c", "exit 255"], 255, r#""sh" exited with 255 after "#),
        (&["sh", "-c", "kill -9 $$"], 137, r#""sh" was killed by signal 9 after "#),
        (&["nosuch"], 127, r#""nosuch" was not started: No such file or directory"#),
        (&["/"], 126, r#""/" was not started: Permission denied"#),
    ] {
        for run in [with_component("echo"), wrapper().plugin("echo")] {
            let done = run.with(command).done();
            assert_eq!(done.code(), code, "{done:?}");
            assert!(done.stderr.contains(&format!("wrapper: echo: {words}")), "{done:?}");
        }
    }
}

#[test]
fn other_bytes_than_those_pinned_do_not_run() {
    let other = digest("istio-quit");
    let done = with_component("echo").with(&["--plugin-sha256", &other, "true"]).done();
    assert_eq!(done.code(), 125);
    assert!(done.line().contains("its SHA-256 is "), "{done:?}");
}

#[test]
fn a_hook_sends_its_one_request_over_http() {
    for (status, result) in [(200, ""), (404, "answered 404")] {
        let peer = Peer::with_status(status);
        let mut run = with_component("istio-quit").with(&["sh", "-c", "exit 7"]);
        run.env("HOOK_ISTIO_QUIT_URL", peer.url("/quitquitquit"));
        let done = run.done();
        assert_eq!(done.code(), 7, "{done:?}");
        assert!(done.stderr.contains(result), "{done:?}");
        let [request] = peer.requests().try_into().unwrap_or_else(|all| panic!("not one request: {all:?}"));
        assert!(request.starts_with("POST /quitquitquit HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-length: 0\r\n"), "{request}");
    }
}

#[test]
fn a_real_envoy_is_asked_to_quit() {
    network::alone(|| {
        let port = free_port();
        let envoy = Envoy::start(port);
        let mut run = with_component("envoy-quit").with(&["true"]);
        run.env("HOOK_ENVOY_QUIT_URL", format!("http://localhost:{port}/quitquitquit"));
        let done = run.done();
        assert_eq!((done.code(), envoy.exit_code()), (0, Some(0)), "{done:?}");
    });
}

#[test]
fn a_json_body_carries_what_happened() {
    let peer = Peer::with_status(204);
    let mut run = with_component("http").with(&["sh", "-c", "exit 3"]);
    run.env("HOOK_HTTP_URL", peer.url("/told"));
    run.env("HOOK_HTTP_BODY", r#"{"text": "{command} {summary}", "code": {exit_code}}"#);
    let done = run.done();
    assert_eq!(done.code(), 3, "{done:?}");
    let requests = peer.requests();
    assert!(requests[0].ends_with(r#"{"text": "sh -c exit 3 exited with 3", "code": 3}"#), "{requests:?} {done:?}");
}

#[test]
fn every_signal_is_forwarded_as_itself() {
    // HUP INT QUIT USR1 USR2 ALRM TERM CONT URG XCPU XFSZ VTALRM PROF WINCH IO PWR; as x86, Arm, RISC-V and z number them.
    for signal in [1, 2, 3, 10, 12, 14, 15, 18, 23, 24, 25, 26, 27, 28, 29, 30] {
        let last = signal.to_string();
        let mut running = wrapper().with(&[programs::child(), "report", "child", &last, "42"]).running();
        running.until_stdout_has("child ready");
        running.signal(signal);
        assert_eq!(running.done().code(), 42, "signal {signal}");
    }
}

#[test]
fn a_pod_that_is_asked_to_stop_exits_with_the_commands_code_after_its_hook() {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = with_component("echo").with(&["sh", "-c", script]).running();
    running.until_stdout_has("ready");
    running.signal(15);
    let done = running.done();
    assert_eq!(done.code(), 9, "{done:?}");
    assert!(done.stderr.contains("exited with 9"), "{done:?}");
}

/// Runs a hook after a command that failed.
fn after_a_failure(hook: &Path, options: &[&str]) -> Done {
    let done = wrapper().with(options).plugin(hook).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

#[test]
fn a_loop_without_end_is_stopped() {
    let done = after_a_failure(&guests::program("loop_forever"), &["--plugin-timeout", "2s"]);
    assert!(done.line().contains("timed-out after 2s"), "{done:?}");
    assert_took(&done, 2.0, 30.0);
}

#[test]
fn memory_beyond_the_limit_is_not_had() {
    let module = r#"(memory 1) (func (export "run") (result i32)
        (if (i32.ne (memory.grow (i32.const 15)) (i32.const 1)) (then unreachable))
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        i32.const 0)"#;
    let done = after_a_failure(&guests::as_program(module), &["--plugin-memory", "1MiB"]);
    assert_eq!(done.stderr, "");
}
