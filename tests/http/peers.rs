//! Servers that hang, drip, flood, reset and lie: the hook still ends in time, costs little, and the exit code is kept.

use crate::harness::{
    Done, LOOK, Run, assert_took, guests,
    memory::peak,
    peer::{Peer, Silent, hold, reset},
    side_by_side, wrapper,
};
use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Resident memory of a debug build of wrapper and a hook with little memory, with a margin.
const BASE_MIB: u64 = 60;

/// The time of a hook in these tests, in seconds: on a busy machine a hook takes several to start.
const TIME: f64 = 10.0;

/// The most that a run of that time takes, or one with a thousand requests, in seconds. One that hangs takes more.
const SOON: f64 = 50.0;

/// Seconds before a hook's deadline at which its waits end (`LAST_WORDS`), and the start of a debug build at most.
const EARLIER: f64 = 0.25;

/// A hook that waits for as long as it is let.
fn patient(peer: &Peer) -> Command {
    asking(guests::hook("http_without_timeouts"), peer)
}

fn istio_quit(peer: &Peer) -> Command {
    asking("istio-quit", peer)
}

fn asking(hook: impl AsRef<OsStr>, peer: &Peer) -> Command {
    let mut run = asking_at(hook, &format!("localhost:{}", peer.port()));
    run.env("HOOK_ISTIO_QUIT_URL", peer.url("/quitquitquit"));
    run
}

fn asking_at(hook: impl AsRef<OsStr>, authority: &str) -> Command {
    let mut run = wrapper().plugin(hook);
    run.env("WRAPPER_PLUGIN_TIMEOUT", format!("{TIME}s")).env("HOOK_AUTHORITY", authority);
    run
}

#[track_caller]
fn finish(run: Command) -> Done {
    let (done, mib) = peak(run.with(&["sh", "-c", "exit 7"]));
    assert_eq!((done.code(), done.stdout.as_str()), (7, ""), "{done:?}");
    assert!(mib < BASE_MIB, "{mib} MiB: {done:?}");
    done
}

/// The hook failed with this message of its own, so it was not killed.
#[track_caller]
fn assert_fails(done: &Done, words: &str) {
    let last = done.lines().last().copied().unwrap_or_default();
    assert!(last.starts_with("wrapper: hook ") && last.contains(words), "{words:?}: {done:?}");
}

#[track_caller]
fn assert_says(done: &Done, words: &str) {
    assert!(done.lines().iter().any(|line| line.ends_with(words)), "{words:?}: {done:?}");
}

/// It used its time, but for the moment that is left for its last words.
#[track_caller]
fn assert_waited(done: &Done) {
    assert_took(done, TIME - EARLIER, SOON);
}

#[track_caller]
fn assert_at_once(done: &Done) {
    assert_took(done, 0.0, TIME - EARLIER);
}

/// Sends this for as long as the other side takes it, with pauses in which the other processes have the CPU.
fn endlessly(head: &str, rest: &str) -> Peer {
    let (head, rest) = (head.to_owned(), rest.repeat(65536 / rest.len()));
    Peer::start("127.0.0.1:0", move |mut stream, _| {
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(rest.as_bytes());
            thread::sleep(Duration::from_millis(1));
        }
    })
}

/// Sends this byte by byte, one a second, and goes on with dots.
fn dripping(head: &'static str, text: &'static str) -> Peer {
    Peer::start("127.0.0.1:0", move |mut stream, _| {
        let _ = stream.write_all(head.as_bytes());
        for byte in text.bytes().chain(std::iter::repeat(b'.')) {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_secs(1));
        }
    })
}

#[test]
fn a_server_that_never_answers_is_given_up_before_the_hooks_time_is() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
    let done = finish(patient(&peer));
    assert_says(&done, "timeouts taken: true");
    assert_fails(&done, "ConnectionReadTimeout");
    assert_waited(&done);
    assert_eq!(peer.requests().len(), 1);

    let twin = Peer::with_status(200);
    let done = finish(patient(&twin));
    assert_says(&done, "body of 0");
    assert_at_once(&done);
}

#[test]
fn a_server_that_never_accepts_is_given_up_before_the_hooks_time_is() {
    let silent = Silent::on(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = silent.address();
    let done = finish(asking_at(guests::hook("http_without_timeouts"), &address.to_string()));
    assert_fails(&done, "ConnectionTimeout");
    assert_waited(&done);
}

#[test]
fn a_server_that_does_not_take_the_request_is_given_up_before_the_hooks_time_is() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| {
        // The other side's going is all that is waited for.
        while stream.peek(&mut [0]).is_ok() && stream.take_error().is_ok_and(|error| error.is_none()) {
            if still_written(&stream) {
                thread::sleep(LOOK);
            } else {
                break;
            }
        }
    });
    let mut run = patient(&peer);
    run.env("HOOK_BODY", (64 << 20).to_string());
    let done = finish(run);
    assert_fails(&done, "ConnectionReadTimeout");
    assert_waited(&done);

    // A request that is taken may be as long.
    let reader = Peer::start("127.0.0.1:0", |mut stream, _| {
        let mut tail = Vec::new();
        let mut buffer = [0; 65536];
        while !tail.ends_with(b"0\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => {
                    tail.extend_from_slice(&buffer[..count]);
                    tail.drain(..tail.len().saturating_sub(5));
                }
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let mut run = patient(&reader).with(&["--plugin-timeout", "60s"]);
    run.env("HOOK_BODY", (4 << 20).to_string());
    assert_says(&finish(run), "status 200");
}

/// True while the connection is ESTABLISHED (tcp(7)).
#[allow(unsafe_code)]
fn still_written(stream: &TcpStream) -> bool {
    let mut poll = nix::libc::pollfd { fd: stream.as_raw_fd(), events: nix::libc::POLLRDHUP, revents: 0 };
    // SAFETY: poll(2) is given one entry.
    unsafe { nix::libc::poll(&raw mut poll, 1, 0) == 0 }
}

#[test]
fn a_head_that_drips_is_given_up_before_the_hooks_time_is() {
    let (status, header) = (("", "HTTP/1.1 200 OK\r\n"), ("HTTP/1.1 200 OK\r\n", "X-Slow: "));
    side_by_side(
        &[
            (patient as fn(&Peer) -> Command, status, "ConnectionReadTimeout"),
            (patient, header, "ConnectionReadTimeout"),
            (istio_quit, status, "no response in time"),
        ],
        |(asking, (head, text), words)| {
            let done = finish(asking(&dripping(head, text)));
            assert_fails(&done, words);
            assert_waited(&done);
        },
    );
}

/// Whoever reads the body gives up before the hook's time is up, and whoever does not need it loses no time.
#[track_caller]
fn assert_body_is_given_up(peer: &Peer) {
    let done = finish(patient(peer));
    assert_says(&done, "status 200");
    assert_fails(&done, "broke off after ");
    assert_waited(&done);

    let done = finish(istio_quit(peer));
    assert_says(&done, "asked istio-proxy to quit (200)");
    assert_at_once(&done);
}

#[test]
fn a_body_that_drips_is_given_up_before_the_hooks_time_is_and_one_that_is_not_needed_is_not_read() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
    ];
    side_by_side(&heads, |head| assert_body_is_given_up(&dripping(head, "")));
}

#[test]
fn a_body_without_end_is_read_for_the_hooks_time_and_not_kept() {
    let heads = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
    ];
    side_by_side(&heads, |head| assert_body_is_given_up(&endlessly(head, "flood ")));
}

#[test]
fn what_never_becomes_an_answer_is_bounded() {
    let answers = [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        ("", "\r\n"),
        ("", "x"),
        ("HTTP/1.1 200 ", "reason"),
        ("HTTP/1.1 200 OK\r\n", "X-Many: x\r\n"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "x"),
        ("HTTP/1.1 200 OK\r\n", "x"),
    ];
    side_by_side(&answers, |(head, rest)| {
        let done = finish(patient(&endlessly(head, rest)));
        assert_fails(&done, "no answer: ");
        assert_took(&done, 0.0, SOON);
    });
}

#[test]
fn what_is_wrapped_around_a_body_is_bounded() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunk, rest) in
        [("1;", "extension"), ("1;a=\"", "x"), ("0", "0"), ("0\r\n", "X-Trailer: x\r\n"), ("0\r\nX: ", "x")]
    {
        let done = finish(patient(&endlessly(&format!("{chunked}{chunk}"), rest)));
        assert_says(&done, "status 200");
        assert_fails(&done, "broke off after ");
        assert_took(&done, 0.0, SOON);
    }
    let done = finish(patient(&Peer::answering(&format!("{chunked}1;name=value\r\nx\r\n0\r\nX-Trailer: x\r\n\r\n"))));
    assert_says(&done, "body of 1");
}

#[test]
fn a_head_may_have_15_kib_and_a_hundred_fields_and_no_more() {
    for (fields, size, fits) in [
        (1, 15 << 10, true),
        (1, 17 << 10, false),
        (1, 1 << 20, false),
        (98, 10, true),
        (101, 10, false),
        (1000, 10, false),
    ] {
        let value = "v".repeat(size);
        let headers: String = (0..fields).map(|number| format!("X-{number}: {value}\r\n")).collect();
        let done = finish(patient(&Peer::answering(&format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n"))));
        match fits {
            true => assert_says(&done, "body of 0"),
            false => {
                assert_fails(&done, "HttpProtocolError");
                let words = "its response has more than 100 headers, or more than 16 KiB of them";
                assert!(done.lines().iter().any(|line| line.ends_with(words)), "{done:?}");
            }
        }
        assert_at_once(&done);
    }
}

#[test]
fn a_hooks_own_header_may_have_8_kib_and_not_200() {
    let peer = Peer::with_status(200);
    for (size, fits) in [(8 << 10, true), (200 << 10, false)] {
        let mut run = patient(&peer);
        run.env("HOOK_HEADER", size.to_string());
        let done = finish(run);
        match fits {
            true => assert_says(&done, "body of 0"),
            false => assert_eq!(done.lines().len(), 1, "{done:?}"),
        }
        assert_at_once(&done);
    }
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn a_response_that_is_not_proper_http_is_reported_as_such() {
    let answers = [
        "this is not HTTP\r\n\r\n",
        "<html>HTTP 0.9 had no status line</html>",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Nul: \0\r\n\r\n",
        "\u{1}\u{3}\u{16}\u{3}\u{1}",
    ];
    // The hook tries again until shortly before its deadline.
    side_by_side(&answers, |answer| {
        let peer = Peer::answering(answer);
        let mut run = istio_quit(&peer);
        run.env("HOOK_ISTIO_QUIT_STARTUP", "0");
        let done = finish(run);
        assert_fails(&done, "the response is not valid HTTP");
        assert_eq!(done.lines().len(), 1, "{done:?}");
        assert_took(&done, 0.0, SOON);
    });
}

#[test]
fn a_body_that_contradicts_its_head_is_an_error() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in
        ["nonsense\r\n", "5\r\nabc", "-1\r\n", "fffffffffffffffff\r\n", "3\r\nabcdef\r\n0\r\n\r\n", "5\r\nhello\r\n"]
    {
        let done = finish(patient(&Peer::answering(&format!("{chunked}{body}"))));
        assert_fails(&done, "broke off after ");
        assert_at_once(&done);
    }
    // More than was announced is another answer, which nobody asked for.
    let done = finish(patient(&Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more")));
    assert_says(&done, "body of 4");
    let done = finish(patient(&Peer::answering("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nfour")));
    assert_says(&done, "body of 0");
}

#[test]
fn a_body_that_is_cut_off_is_incomplete_and_one_that_is_malformed_is_not() {
    // The error's words, and its code.
    const INCOMPLETE: [&str; 2] = ["incomplete HTTP response", "HttpResponseIncomplete"];
    const MALFORMED: [&str; 2] = ["HTTP protocol error", "HttpProtocolError"];
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, count, [words, code]) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.", 10, INCOMPLETE),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0, INCOMPLETE),
        (&format!("{chunked}5\r\nabc"), 3, INCOMPLETE),
        (&format!("{chunked}5\r\nhello\r\n"), 5, INCOMPLETE),
        (&format!("{chunked}5"), 0, INCOMPLETE),
        (&format!("{chunked}0\r\n"), 0, INCOMPLETE),
        (&format!("{chunked}nonsense\r\n"), 0, MALFORMED),
        (&format!("{chunked}3\r\nabcdef\r\n0\r\n\r\n"), 3, MALFORMED),
    ] {
        let peer = Peer::answering(answer);
        let done = finish(patient(&peer));
        assert_fails(&done, &format!("broke off after {count}: {words}"));
        assert_at_once(&done);
        let mut run = patient(&peer);
        run.env("HOOK_TRAILERS", "1");
        assert_fails(&finish(run), &format!("trailers: Some(Ok(Err(ErrorCode::{code}"));
    }
    // With a reset in the middle, once what came before has been read.
    let peer = Peer::start("127.0.0.1:0", |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour");
        thread::sleep(Duration::from_secs(1));
        reset(stream);
    });
    let done = finish(patient(&peer));
    assert_fails(&done, "broke off after 4: incomplete HTTP response");
}

#[test]
fn an_unrequested_change_of_protocols_is_no_success() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
        let _ = stream.write_all(switch.as_bytes());
        hold(stream);
    });
    let done = finish(istio_quit(&peer));
    assert!(!done.stderr.contains("Success"), "{done:?}");
    assert_at_once(&done);
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Peer::with_status(200);
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} There\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url("/"));
        let peer = Peer::answering(&answer);
        assert_says(&finish(patient(&peer)), &format!("status {status}"));
        assert_fails(&finish(istio_quit(&peer)), &format!("answered {status}"));
        assert_eq!(peer.requests().len(), 2);
    }
    assert!(other.requests().is_empty());
}

#[test]
fn a_broken_connection_is_reported_at_once() {
    let partial = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour";
    for (sends, ends, words) in [
        ("", reset as fn(TcpStream), "ConnectionTerminated"),
        ("", drop, "ConnectionTerminated"),
        ("HTTP/1.1 200 O", reset, "ConnectionTerminated"),
        ("HTTP/1.1 200 O", drop, "ConnectionTerminated"),
        // A reset takes back what had arrived and was not read yet, perhaps even the head.
        (partial, reset, ""),
        (partial, drop, "broke off after 4"),
    ] {
        let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
            let _ = stream.write_all(sends.as_bytes());
            ends(stream);
        });
        let done = finish(patient(&peer));
        assert_fails(&done, words);
        assert_at_once(&done);
    }
}

#[test]
fn a_server_that_closes_before_it_has_read_anything_costs_no_time() {
    for ends in [reset as fn(TcpStream), drop] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || ends(listener.accept().unwrap().0));
        let done = finish(asking_at(guests::hook("http_without_timeouts"), &address.to_string()));
        assert_fails(&done, "no answer: ");
        assert_at_once(&done);
    }
}

/// A server that takes its time, and the most requests it had at once.
fn counting() -> (Peer, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(LOOK);
        now.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    (peer, most)
}

#[test]
fn of_a_thousand_requests_at_once_eight_are_on_their_way() {
    let (peer, most) = counting();
    for (count, at_once) in [("4", 4), ("1000", 8)] {
        let mut run = asking(guests::hook("http_concurrent_requests"), &peer).with(&["--plugin-timeout", "60s"]);
        run.env("HOOK_COUNT", count);
        let done = finish(run);
        assert_eq!(done.line(), format!("wrapper: http_concurrent_requests: {count} answered, 0 failed"));
        assert!((2..=at_once).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert_took(&done, 0.0, SOON);
    }
    assert_eq!(peer.requests().len(), 1004);
}

#[test]
fn a_thousand_requests_to_a_server_that_never_answers_end_with_the_hooks_time() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
    let mut run = asking(guests::hook("http_concurrent_requests"), &peer);
    run.env("HOOK_COUNT", "1000");
    let done = finish(run);
    assert_eq!(done.lines().len(), 1, "{done:?}");
    assert_waited(&done);
    assert_eq!(peer.requests().len(), 8);
}

#[test]
fn a_connection_counts_until_it_is_closed_also_when_its_answer_has_been_read() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        hold(stream);
        now.fetch_sub(1, Ordering::SeqCst);
    });
    let mut run = asking(guests::hook("http_unfinished_requests"), &peer);
    run.env("HOOK_COUNT", "40");
    let done = finish(run);
    assert_says(&done, ": 8 answered");
    assert_fails(&done, "9: no answer: Some(Ok(Err(ErrorCode::ConnectionTimeout");
    assert_waited(&done);
    assert_eq!((most.load(Ordering::SeqCst), peer.requests().len()), (8, 8));

    // Whose requests come to their end has as many connections as it likes, one after the other.
    let twin = Peer::start("127.0.0.1:0", |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        hold(stream);
    });
    let mut run = asking(guests::hook("http_unfinished_requests"), &twin).with(&["--plugin-timeout", "60s"]);
    run.env("HOOK_COUNT", "40").env("HOOK_FINISH", "1");
    let done = finish(run);
    assert_says(&done, ": 40 answered");
    assert_took(&done, 0.0, SOON);
}

#[test]
fn methods_that_make_tunnels_or_echoes_are_refused_in_whatever_letters_and_all_others_are_sent() {
    let peer = Peer::with_status(200);
    let mut run = asking(guests::hook("http_raw_requests"), &peer);
    let (refused, sent) = (
        ["connect /", "trace /", "CONNECT /", "Trace /", "TRACK /x"],
        ["GET /", "OPTIONS /", "DELETE /x", "PROPFIND /", "CONNECTED /"],
    );
    run.env("HOOK_REQUESTS", [refused, sent].concat().join("\n"));
    let done = finish(run);
    for line in refused {
        assert_says(&done, &format!("{line}: failed: ErrorCode::HttpRequestMethodInvalid"));
    }
    for line in sent {
        assert_says(&done, &format!("{line}: answered 200"));
    }
    // Once each, however often the hook tries.
    for method in ["CONNECT", "TRACE", "TRACK"] {
        let words = format!(": not allowed: the method {method}; no option allows it");
        assert_eq!(done.lines().iter().filter(|line| line.ends_with(&words)).count(), 1, "{done:?}");
    }
    assert_eq!(peer.requests().len(), sent.len(), "{:?}", peer.requests());
}

#[test]
fn a_query_without_a_path_is_one_of_the_root() {
    let peer = Peer::with_status(200);
    let mut run = asking(guests::hook("http_raw_requests"), &peer);
    let paths = [("?x=1", "/?x=1"), ("?", "/?"), ("/", "/"), ("/a?b=/c", "/a?b=/c"), ("/?", "/?"), ("//a", "//a")];
    run.env("HOOK_REQUESTS", paths.map(|(path, _)| format!("GET {path}")).join("\n"));
    let done = finish(run);
    let lines: Vec<_> = peer.requests().iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(lines, paths.map(|(_, sent)| format!("GET {sent} HTTP/1.1")), "{done:?}");
}

#[test]
fn a_thousand_requests_in_series_leave_no_descriptors_behind() {
    let peer = Peer::with_status(200);
    // As many descriptors as eight connections need, and few more.
    let mut run = Command::new("sh");
    run.args(["-c", r#"ulimit -n 32 && exec "$0" "$@""#, env!("CARGO_BIN_EXE_wrapper")]);
    let mut run = run.with(&["--plugin-timeout", "60s"]).plugin(guests::hook("http_sequential_requests"));
    run.env("HOOK_URL", peer.url("/")).env("HOOK_COUNT", "1000");
    let done = finish(run);
    assert_eq!(done.line(), "wrapper: http_sequential_requests: 1000 answered");
    assert_took(&done, 0.0, SOON);
    assert_eq!(peer.requests().len(), 1000);
}
