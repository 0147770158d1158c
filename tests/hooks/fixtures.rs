//! The compatibility promise of 0.1: a component built for it runs unchanged on every later wrapper.

use crate::harness::{Done, Run, peer::Peer, repository, wrapper};
use std::{collections::BTreeSet, fs};

/// Runs a fixture after a command that exits with 7, with a server to speak to.
#[track_caller]
fn run(name: &str, peer: &Peer) -> Done {
    let hook = repository(&format!("tests/fixtures/0.1.0/{name}.wasm"));
    let mut run = wrapper().plugin(hook).with(&["sh", "-c", "exit 7"]);
    for variable in ["HOOK_URL", "HOOK_HTTP_URL", "HOOK_ISTIO_QUIT_URL", "HOOK_ISTIO_READY_URL"] {
        run.env(variable, peer.url("/quitquitquit"));
    }
    run.env("HOOK_BODY", "some text");
    let done = run.done();
    assert_eq!(done.code(), 7, "{name}: {done:?}");
    done
}

/// The fixtures, and what each of them says.
const FIXTURES: [(&str, &str); 10] = [
    ("c", "\"sh\" exited with 7"),
    ("echo", "Echo demo plugin: \"sh\" exited with 7 after "),
    ("http", "told http://localhost:"),
    ("istio-quit", "Success to send quit message to istio-proxy"),
    ("istio-quit-typed", "Success to send quit message to istio-proxy"),
    ("istio-ready", "istio-proxy is ready"),
    ("posts", "status 200"),
    ("print-environment", "variable EXIT_CODE=exited"),
    ("rust", "\"sh\" exited with 7"),
    ("tell_context", "outcome Some(Exited(7))"),
];

#[test]
fn every_component_of_0_1_0_still_runs() {
    let peer = Peer::with_status(200);
    for (name, words) in FIXTURES {
        let done = run(name, &peer);
        let line = format!("wrapper: {name}: {words}");
        assert!(done.lines().iter().any(|found| found.starts_with(&line)), "{name}: {done:?}");
        assert!(!done.stderr.contains("wrapper: hook "), "{name} failed: {done:?}");
    }
}

#[test]
fn no_component_of_0_1_0_is_forgotten() {
    let files = fs::read_dir(repository("tests/fixtures/0.1.0")).unwrap().map(|entry| entry.unwrap().path());
    let components = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let found: BTreeSet<_> = components.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(found, FIXTURES.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn what_they_ask_of_a_server_is_what_it_was() {
    for (name, start, body) in [
        ("istio-quit", "POST /quitquitquit HTTP/1.1\r\n", ""),
        ("istio-quit-typed", "POST /quitquitquit HTTP/1.1\r\n", ""),
        ("istio-ready", "GET /quitquitquit HTTP/1.1\r\n", ""),
        ("posts", "POST /quitquitquit HTTP/1.1\r\n", "some text"),
    ] {
        let peer = Peer::with_status(200);
        run(name, &peer);
        let request = &peer.requests()[0];
        assert!(request.starts_with(start) && request.ends_with(&format!("\r\n\r\n{body}")), "{name}: {request}");
    }
}
