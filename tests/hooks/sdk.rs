//! A hook outside of this workspace, built as docs/writing-hooks.md describes.

use crate::harness::{
    Run, guests,
    peer::{Peer, free_port, hold},
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

/// Runs cargo as it is called in a shell, and returns what it printed.
fn cargo(directory: &Path, arguments: &[&str], target_directory: &Path) -> String {
    let (succeeded, printed) = try_cargo(directory, arguments, target_directory);
    assert!(succeeded, "{arguments:?}: {printed}");
    printed
}

fn try_cargo(directory: &Path, arguments: &[&str], target_directory: &Path) -> (bool, String) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(directory).args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    let output = cargo.env("CARGO_TARGET_DIR", target_directory).output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    (output.status.success(), format!("{stdout}{stderr}"))
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
    let target = directory.path().join("target");
    // The crate's source is the only thing that a reader has to fill in.
    cargo(directory.path(), &["build", "--target", guests::TARGET, "--release"], &target);

    let hook = target.join("wasm32-wasip2/release/report.wasm");
    let peer = Peer::with_status(200);
    let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_REPORT_URL", peer.url("/report"));
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(peer.requests()[0].starts_with("POST /report "), "{done:?}");
    assert!(peer.requests()[0].ends_with("exited with 7"), "{:?}", peer.requests());

    // Its description.
    let done = wrapper().plugin(&hook).with(&["true"]).done();
    assert_eq!(
        (done.code(), done.line()),
        (125, "wrapper: hook \"report\": misconfigured: HOOK_REPORT_URL is not set")
    );
    let source = block("`src/lib.rs`:").replace("required url", "required uri");
    fs::write(directory.path().join("src/lib.rs"), source).unwrap();
    let (built, printed) = try_cargo(directory.path(), &["build", "--target", guests::TARGET, "--release"], &target);
    let error = "error: `uri` is not a kind of setting; the kinds are url, targets, time, positive_time, startup, switch, text,";
    assert!(!built && printed.contains(error), "{printed}");
}

#[test]
fn a_copy_of_the_template_passes_its_tests_builds_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(repository("hooks/template/.")).arg(directory.path()).status();
    assert!(copied.unwrap().success());
    let manifest = directory.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("\"../../guest-sdk\""), "{text}");
    fs::write(manifest, text.replace("../../guest-sdk", repository("guest-sdk").to_str().unwrap())).unwrap();
    // The versions that are known to work, which are there already.
    fs::copy(repository("Cargo.lock"), directory.path().join("Cargo.lock")).unwrap();

    let target = repository("target/template");
    let tested = cargo(directory.path(), &["test"], &target);
    assert!(tested.contains("2 passed"), "{tested}");
    cargo(directory.path(), &["hook"], &target);
    let peer = Peer::with_status(200);
    let mut run = wrapper().plugin(target.join("wasm32-wasip2/release/my_hook.wasm")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_MY_HOOK_URL", peer.url("/jobs")).env("HOOK_MY_HOOK_TOKEN", "s3cret");
    let done = run.done();
    assert_eq!((done.code(), done.line()), (7, "wrapper: my_hook: reported"), "{done:?}");
    let request = &peer.requests()[0];
    assert!(request.starts_with("POST /jobs ") && request.contains("Bearer s3cret"), "{request}");
    assert!(request.contains(r#""summary":"exited with 7""#), "{request}");

    // What a development environment does, or habit.
    let built = cargo(directory.path(), &["build"], &target);
    assert!(!built.contains("warning"), "{built}");
    let done = wrapper().plugin(target.join("debug/libmy_hook.so")).with(&["true"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert!(done.line().ends_with("build it for wasm32-wasip2"), "{done:?}");
}

#[test]
fn the_package_of_the_crate_has_what_its_build_reads() {
    let listed = cargo(
        &repository(""),
        &["package", "--list", "--allow-dirty", "--offline", "-p", "wrapper-hook"],
        &repository("target"),
    );
    for file in ["src/lib.rs", "wit/hook.wit", "wit/deps/http.wit"] {
        assert!(listed.lines().any(|line| line == file), "{file}: {listed}");
    }
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
fn of_requests_sent_at_the_same_time_only_those_without_a_response_time_out() {
    let (slow, fast) = (Peer::start("127.0.0.1:0", |stream, _| hold(stream)), Peer::with_status(200));
    let urls = [fast.url("/"), fast.url("/"), slow.url("/"), fast.url("/")].join(",");
    let mut run = wrapper().plugin(guests::hook("http_started_requests")).with(&["true"]);
    run.env("HOOK_URLS", urls);
    let done = run.done();
    assert_eq!(done.lines(), ["wrapper: http_started_requests: 200 Timeout 200 200"; 4]);
}

#[test]
fn the_clients_errors_name_the_url_and_the_reason() {
    let slow = Peer::start("127.0.0.1:0", |_stream, _| std::thread::sleep(std::time::Duration::from_secs(30)));
    let lies = Peer::answering("This is not HTTP\r\n\r\n");
    let closed = format!("http://localhost:{}/", free_port());
    for (url, header, words) in [
        (closed.as_str(), "", "connection refused"),
        (&slow.url("/"), "", "no response in time"),
        (&lies.url("/"), "", "the response is not valid HTTP"),
        ("http://10.1.2.3:80/", "", "not allowed"),
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
