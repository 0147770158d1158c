//! A hook outside of this workspace, built as docs/writing-hooks.md describes.

use crate::harness::{
    Run, guests,
    peer::{Peer, free_port},
    repository, wrapper,
};
use std::{fs, path::Path, process::Command};

/// The code block of the page that follows this line.
fn block(after: &str) -> String {
    let page = fs::read_to_string(repository("docs/writing-hooks.md")).unwrap();
    let rest = page.split_once(after).unwrap_or_else(|| panic!("the page has no line {after:?}")).1;
    let block = rest.split_once("```").unwrap().1.split_once('\n').unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

fn cargo_build(directory: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    // The crate's source is the only thing that a reader has to fill in.
    cargo.current_dir(directory).args(["build", "--target", guests::TARGET, "--release"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_hook_of_the_documentation_builds_outside_the_workspace_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = block("`Cargo.toml`:");
    let sdk = repository("guest-sdk");
    assert!(manifest.contains("../wrapper/guest-sdk"), "{manifest}");
    let manifest = manifest.replace("../wrapper/guest-sdk", sdk.to_str().unwrap());
    fs::create_dir(directory.path().join("src")).unwrap();
    fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.path().join("src/lib.rs"), block("`src/lib.rs`:")).unwrap();
    cargo_build(directory.path());

    let hook = directory.path().join("target/wasm32-wasip2/release/report.wasm");
    let peer = Peer::with_status(200);
    let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_REPORT_URL", peer.url("/report"));
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(peer.requests()[0].starts_with("POST /report "), "{done:?}");
    assert!(peer.requests()[0].ends_with("exited with 7"), "{:?}", peer.requests());
}

#[test]
fn the_client_sends_a_body_and_reads_an_answer() {
    let answer = "HTTP/1.1 201 Created\r\nServer: stub\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let peer = Peer::answering(answer);
    let mut run = wrapper().plugin(guests::hook("http_post")).with(&["true"]);
    run.env("HOOK_URL", peer.url("/path?query")).env("HOOK_BODY", "some text").env("HOOK_HEADER", "X-Mine");
    let done = run.done();
    assert_eq!(
        done.lines(),
        [
            "wrapper: http_post: status 201",
            "wrapper: http_post: server Some(\"stub\")",
            "wrapper: http_post: body \"hello\""
        ]
    );
    let request = peer.requests()[0].to_ascii_lowercase();
    assert!(request.starts_with("post /path?query http/1.1\r\n"), "{request}");
    assert!(request.contains("content-length: 9\r\n") && request.contains("x-mine: value\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nsome text"), "{request}");
}

#[test]
fn the_clients_errors_name_the_url_and_what_would_mend_it() {
    let slow = Peer::start("127.0.0.1:0", |_stream, _| std::thread::sleep(std::time::Duration::from_secs(30)));
    let lies = Peer::answering("This is not HTTP\r\n\r\n");
    let closed = format!("http://localhost:{}/", free_port());
    for (url, header, words) in [
        (closed.as_str(), "", "connection refused"),
        (&slow.url("/"), "", "no response in time"),
        (&lies.url("/"), "", "the response is not valid HTTP"),
        ("http://10.1.2.3:80/", "", "not allowed; to allow it: --allow-http http://10.1.2.3:80"),
        ("localhost:80", "", "not a URL of the form http://host:port/path"),
        (&closed, "Host", "header \"Host\" is set by the host"),
        (&closed, "Content-Length", "header \"Content-Length\" is set by the host"),
        (&closed, "Not a header", "header \"Not a header\" is malformed"),
    ] {
        let mut run = wrapper().plugin(guests::hook("http_post")).with(&["sh", "-c", "exit 7"]);
        run.env("HOOK_URL", url).env("HOOK_TIMEOUT", "1");
        if !header.is_empty() {
            run.env("HOOK_HEADER", header);
        }
        let done = run.done();
        assert_eq!(done.code(), 7);
        let last = done.lines().last().copied().unwrap_or_default();
        assert!(last.ends_with(&format!("{url:?}: {words}")), "{url} {header}: {done:?}");
    }
}
