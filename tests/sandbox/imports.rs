//! Files, sockets, processes, other hosts and reserved headers are denied to a hook.

use crate::harness::{
    Done, Run, assert_took, guests,
    peer::{Peer, free_port},
    skipped, wrapper,
};
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Runs a hook, and checks that its result is on stderr alone and that the exit code is kept.
#[track_caller]
fn finish(run: Command) -> Done {
    let done = run.with(&["sh", "-c", "exit 7"]).done();
    assert_eq!((done.code(), done.stdout.as_str()), (7, ""), "{done:?}");
    done
}

fn trying(urls: &[&str]) -> Command {
    let mut run = wrapper().plugin(guests::hook("http_get"));
    run.env("HOOK_URLS", urls.join(" "));
    run
}

#[track_caller]
fn assert_says(done: &Done, hook: &str, words: &str) {
    let line = format!("wrapper: {hook}: {words}");
    assert!(done.stderr.lines().any(|said| said == line), "{words:?} is missing in {done:?}");
}

#[test]
fn a_program_finds_no_files_no_sockets_no_processes_and_an_empty_stdin() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let udp = UdpSocket::bind(("127.0.0.1", port));
    let made = [Path::new("/tmp/of-a-hook"), Path::new("/tmp/of-a-hook-too")];
    assert!(!made.iter().any(|path| path.exists()), "left by somebody else");

    let mut run = wrapper().with(&["--log", "debug"]).plugin(guests::program("ask_for_everything"));
    // The command's own stdin is not the hook's.
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"for the command").unwrap();
    run.env("HOOK_PORT", port.to_string()).stdin(reader);
    let done = finish(run);
    drop(writer);
    for refused in [
        "read a file",
        "read a file beside",
        "list the root",
        "list here",
        "write a file",
        "make a directory",
        "connect",
        "listen",
        "send a datagram",
        "look up a name",
        "start a process",
        "start a thread",
    ] {
        assert_says(&done, "ask_for_everything", &format!("{refused}: refused"));
    }
    for (what, got) in [("arguments", "1"), ("stdin", "0"), ("terminal", "false")] {
        assert_says(&done, "ask_for_everything", &format!("{what}: {got}"));
    }
    for asked in ["files", "a TCP socket", "a UDP socket"] {
        let words = format!("not allowed: {asked}; hooks may use HTTP only");
        assert!(done.stderr.contains(&words), "{words:?} is missing: {done:?}");
    }
    assert!(!made.iter().any(|path| path.exists()), "{done:?}");
    assert!(tcp.accept().is_err(), "a connection came");
    if let Ok(udp) = udp {
        udp.set_nonblocking(true).unwrap();
        assert!(udp.recv(&mut [0; 1]).is_err(), "a datagram came");
    }
}

#[test]
fn memory64_threads_and_other_proposals_are_refused_before_the_command_starts() {
    for (core, fits) in [
        (r#"(memory 1)"#, true),
        (r#"(memory 1) (memory 1)"#, true),
        (r#"(func (result i32) (return_call 0))"#, true),
        (r#"(func (drop (i8x16.splat (i32.const 0))))"#, true),
        (r#"(memory i64 1)"#, false),
        (r#"(table i64 1 funcref)"#, false),
        (r#"(memory 1 1 shared)"#, false),
        (r#"(memory 1) (func (drop (i32.atomic.load (i32.const 0))))"#, false),
        (r#"(type (struct))"#, false),
        (r#"(tag)"#, false),
    ] {
        let module = format!(r#"{core} (func (export "run") (result i32) i32.const 0)"#);
        let hook = guests::as_program(&module);
        let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "echo started; exit 7"]).done();
        match fits {
            true => assert_eq!((done.code(), done.stderr.as_str()), (7, ""), "{core}: {done:?}"),
            false => {
                assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{core}: {done:?}");
                assert!(done.line().contains(", a proposal that hooks cannot use"), "{core}: {done:?}");
            }
        }
    }
}

#[test]
fn hosts_are_judged_by_what_they_are_and_not_by_how_they_are_written() {
    let peer = Peer::answering(OK);
    let port = peer.port();
    let reached = [
        format!("http://localhost:{port}/1"),
        format!("http://LOCALHOST.:{port}/2"),
        format!("http://127.0.0.1:{port}/3"),
        format!("http://[::ffff:127.0.0.1]:{port}/4"),
        format!("http://localhost:{port}?5"),
    ];
    let denied = [
        format!("http://localhost@evil.example:{port}/"),
        format!("http://evil.example@localhost:{port}/"),
        format!("http://user:word@localhost:{port}/"),
        format!("http://localhost.evil.example:{port}/"),
        format!("http://evil.example.:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://[::]:{port}/"),
        format!("http://[::ffff:0.0.0.0]:{port}/"),
        format!("http://[::ffff:10.0.0.1]:{port}/"),
        format!("http://10.0.0.1:{port}/"),
        format!("http://169.254.169.254:{port}/latest/meta-data"),
        format!("http://[fe80::1]:{port}/"),
        "http://localhost:0/".into(),
        "http://localhost:65536/".into(),
        "http://localhost:/".into(),
        format!("http://localhost:+{port}/"),
        format!("http://localhost\u{ff0e}evil:{port}/"),
        format!("http://\u{2460}27.0.0.1:{port}/"),
    ];
    let urls: Vec<&str> = reached.iter().chain(&denied).map(String::as_str).collect();
    let done = finish(trying(&urls));
    for url in &reached {
        assert_says(&done, "http_get", &format!("{url} answered 200"));
    }
    for url in &denied {
        let start = format!("wrapper: http_get: {url} failed: ");
        let kinds = ["Denied", "Invalid", "Protocol"].map(|kind| format!("{start}{kind}"));
        assert!(done.stderr.lines().any(|line| kinds.iter().any(|kind| kind == line)), "{url}: {done:?}");
    }
    assert_eq!(peer.requests().len(), reached.len(), "{:?}", peer.requests());
    // Nothing was waited for.
    assert_took(&done, 0.0, 30.0);
}

#[test]
fn a_denied_host_is_logged_with_the_setting_that_would_allow_it() {
    let done = finish(trying(&["http://10.1.2.3:8080/path"]));
    let words = "not allowed: http://10.1.2.3:8080; to allow it: HOOK_HTTP_GET_ALLOW=http://10.1.2.3:8080";
    let line = format!("wrapper: hook \"http_get\": {words}");
    assert!(done.stderr.lines().any(|said| said == line), "{line:?} is missing in {done:?}");
    assert_says(&done, "http_get", "http://10.1.2.3:8080/path failed: Denied");
}

#[test]
fn only_the_ports_and_addresses_that_are_allowed_see_a_connection() {
    let (allowed, other) = (Peer::answering(OK), Peer::answering(OK));
    let elsewhere = Peer::start("127.0.0.2:0", |mut stream, _| {
        let _ = std::io::Write::write_all(&mut stream, OK.as_bytes());
    });
    let far = format!("http://127.0.0.2:{}/", elsewhere.port());
    let rule = format!("http://127.0.0.1:{}", allowed.port());
    let (near, beside) = (format!("{rule}/"), format!("http://127.0.0.1:{}/", other.port()));
    let done = finish(trying(&[&near, &beside, &far]).with(&["--allow-http", &rule]));
    assert_says(&done, "http_get", &format!("{near} answered 200"));
    assert_says(&done, "http_get", &format!("{beside} failed: Denied"));
    assert_says(&done, "http_get", &format!("{far} failed: Denied"));
    let seen = [&allowed, &other, &elsewhere].map(|peer| peer.requests().len());
    assert_eq!(seen, [1, 0, 0]);

    let done = finish(trying(&[&far]).with(&["--allow-http", far.trim_end_matches('/')]));
    assert_says(&done, "http_get", &format!("{far} answered 200"));
    assert_eq!(elsewhere.requests().len(), 1);
}

#[test]
fn other_schemes_are_refused_without_a_connection() {
    let peer = Peer::answering(OK);
    for scheme in ["ftp", "file", "httpx"] {
        let url = format!("{scheme}://localhost:{}/", peer.port());
        assert_says(&finish(trying(&[&url])), "http_get", &format!("{url} failed: Invalid"));
    }
    assert!(peer.requests().is_empty());
}

#[test]
fn proxy_variables_are_ignored() {
    let (peer, proxy) = (Peer::answering(OK), Peer::answering(OK));
    let closed = format!("http://localhost:{}/", free_port());
    let mut run = trying(&[&peer.url("/path"), &closed]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        run.env(name, proxy.url("/"));
    }
    run.env("NO_PROXY", "").env("no_proxy", "");
    let done = finish(run);
    assert_says(&done, "http_get", &format!("{} answered 200", peer.url("/path")));
    assert_says(&done, "http_get", &format!("{closed} failed: Refused"));
    assert!(peer.requests()[0].starts_with("GET /path HTTP/1.1\r\n"), "{:?}", peer.requests());
    assert!(proxy.requests().is_empty());
}

#[test]
fn localhost_is_this_machine_whatever_is_in_the_hosts_file() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, "10.9.9.9 localhost\n").unwrap();
    let peer = Peer::answering(OK);
    let can_mount = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !can_mount || !Path::new("/etc/hosts").exists() {
        return skipped("a hosts file of its own needs a mount namespace");
    }
    // With an empty file where /etc/hosts was, and with one that lies.
    for source in [Path::new("/dev/null"), &hosts] {
        let mut run = Command::new("unshare");
        run.args(["-m", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]).arg(source);
        run.arg(env!("CARGO_BIN_EXE_wrapper")).arg("--plugin").arg(guests::hook("http_get"));
        run.env("HOOK_URLS", peer.url("/"));
        let done = finish(run);
        assert_says(&done, "http_get", &format!("{} answered 200", peer.url("/")));
    }
    assert_eq!(peer.requests().len(), 2);
}

#[test]
fn headers_that_concern_the_connection_cannot_be_set_and_no_line_can_be_smuggled_in() {
    let peer = Peer::answering(OK);
    let forbidden = [
        "Host",
        "Connection",
        "Transfer-Encoding",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "HOST",
        "HTTP2-Settings",
    ];
    let broken = ["x\r\ny", "x:y", "", "x\u{e9}"];
    let mut run = wrapper().plugin(guests::hook("http_headers"));
    run.env("HOOK_HEADERS", [&forbidden[..], &broken, &["X-Mine"]].concat().join(" "));
    run.env("HOOK_AUTHORITY", format!("localhost:{}", peer.port()));
    let done = finish(run);
    for name in forbidden.iter().chain(&broken) {
        // The log shows control characters as U+FFFD.
        let shown = if name.contains('\r') { continue } else { name };
        assert_says(&done, "http_headers", &format!("{shown}: false false false"));
    }
    assert_says(&done, "http_headers", "X-Mine: true true true");
    for what in ["value", "path", "method", "authority"] {
        assert_says(&done, "http_headers", &format!("{what} with a line end: false"));
    }
    assert_says(&done, "http_headers", "answered 200");
    let requests = peer.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let expected = format!("GET /plain HTTP/1.1\r\nhost: localhost:{}\r\nx-mine: smuggled\r\n\r\n", peer.port());
    assert_eq!(request.to_ascii_lowercase(), expected.to_ascii_lowercase());
}
