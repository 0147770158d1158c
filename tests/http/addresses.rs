//! Hosts with several addresses, some of them dead: the next one is tried soon, and the error reported is that of the
//! most useful attempt.

use crate::harness::{
    Done, LOOK, Run, assert_took, guests,
    names::{can_have_files, wrapper_with},
    network,
    peer::{Peer, Silent, reset},
    wrapper,
};
use std::{
    fs,
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Milliseconds that a request may take with one dead address: RFC 8305's quarter of a second, and a debug build on a
/// busy machine. Before the operating system gives up one, minutes pass.
const SOON: u64 = 3000;

/// The one request in a log of level debug had a response, and soon.
#[track_caller]
fn assert_soon(done: &Done) {
    let requests: Vec<_> =
        done.stderr.lines().filter(|line| line.ends_with(" ms") && line.contains(": 200 ")).collect();
    let [request] = requests[..] else { panic!("{done:?}") };
    let (_, time) = request.trim_end_matches(" ms").rsplit_once(' ').unwrap();
    assert!(time.parse::<u64>().unwrap() < SOON, "{request}");
}

/// A server on this address, and one with the same port on each of the others that accepts nobody.
fn one_alive(alive: &str, silent: &[&str]) -> (Peer, Vec<Silent>) {
    let (listener, silent) = listening_beside(alive, silent);
    let answer = |mut stream: TcpStream, _: &str| {
        let _ = stream.write_all(OK.as_bytes());
    };
    (Peer::on(listener, answer), silent)
}

fn listening_beside(alive: &str, silent: &[&str]) -> (TcpListener, Vec<Silent>) {
    let on = |ip: &str, port| SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    for _ in 0..20 {
        let listener = TcpListener::bind(on(alive, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if let Ok(silent) = silent.iter().map(|ip| TcpListener::bind(on(ip, port))).collect::<Result<Vec<_>, _>>() {
            return (listener, silent.into_iter().map(Silent::on).collect());
        }
    }
    panic!("no port is free on all addresses");
}

fn asking(mut run: Command, url: &str) -> Done {
    run.env("HOOK_URLS", url).env("WRAPPER_LOG", "debug");
    let done = run.plugin(guests::hook("http_get")).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// A wrapper with a hosts file, allowed to connect to `service.example` and to loopback however it is named.
fn knowing(hosts: &str, port: u16) -> Command {
    let rule = format!("http://service.example:{port}");
    wrapper_with(hosts, "").with(&["--allow-http", &rule, "--allow-http", "http://localhost:*"])
}

#[test]
fn a_dead_address_costs_a_quarter_of_a_second_wherever_it_stands() {
    if !can_have_files() {
        return;
    }
    for (alive, silent, hosts) in [
        ("127.0.0.3", &["127.0.0.2"][..], "127.0.0.2 service.example\n127.0.0.3 service.example\n"),
        ("127.0.0.3", &["127.0.0.2"], "127.0.0.3 service.example\n127.0.0.2 service.example\n"),
        ("127.0.0.3", &["::1"], "::1 service.example\n127.0.0.3 service.example\n"),
        ("::1", &["127.0.0.2"], "127.0.0.2 service.example\n::1 service.example\n"),
        // Four dead ones, and then some: an attempt makes room for the next.
        (
            "127.0.0.9",
            &["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"],
            "127.0.0.2 service.example\n127.0.0.3 service.example\n127.0.0.4 service.example\n\
             127.0.0.5 service.example\n127.0.0.6 service.example\n127.0.0.9 service.example\n",
        ),
        // Between them one that refuses, and one to which there is no way at all.
        (
            "127.0.0.3",
            &["127.0.0.2"],
            "127.0.0.2 service.example\n127.0.0.4 service.example\n127.0.0.3 service.example\n",
        ),
    ] {
        let (peer, _silent) = one_alive(alive, silent);
        let url = format!("http://service.example:{}/", peer.port());
        let done = asking(knowing(hosts, peer.port()), &url);
        assert!(done.stderr.contains(&format!("{url} answered 200")), "{hosts}: {done:?}");
        assert_soon(&done);
        assert_eq!(peer.requests().len(), 1, "{hosts}");
    }
}

#[test]
fn localhost_is_reached_on_whichever_of_its_two_addresses_answers() {
    for (alive, silent) in [("::1", "127.0.0.1"), ("127.0.0.1", "::1")] {
        let (peer, _silent) = one_alive(alive, &[silent]);
        let done = asking(wrapper(), &peer.url("/"));
        assert!(done.stderr.contains("answered 200"), "{alive}: {done:?}");
        assert_soon(&done);
    }
}

#[test]
fn a_built_in_hook_reaches_its_sidecar_behind_a_dead_address() {
    let (peer, _silent) = one_alive("::1", &["127.0.0.1"]);
    let mut run = wrapper().plugin("istio-quit");
    run.env("HOOK_ISTIO_QUIT_URL", peer.url("/quitquitquit")).env("WRAPPER_LOG", "debug");
    let done = run.with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert_eq!(peer.requests().len(), 1, "{done:?}");
    assert_soon(&done);
}

#[test]
fn eight_connections_at_once_are_as_many_as_before_when_each_passes_a_dead_address() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let (listener, _silent) = listening_beside("::1", &["127.0.0.1"]);
    let peer = Peer::on(listener, move |mut stream, _| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(LOOK);
        now.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(OK.as_bytes());
    });
    let mut run = wrapper().plugin(guests::hook("http_concurrent_requests")).with(&["--plugin-timeout", "30s", "true"]);
    run.env("HOOK_COUNT", "80").env("HOOK_AUTHORITY", format!("localhost:{}", peer.port()));
    let done = run.done();
    assert_eq!(done.line(), "wrapper: http_concurrent_requests: 80 answered, 0 failed");
    assert!((2..=8).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert_took(&done, 2.0, 20.0);
}

/// On a loopback of its own, where ports are free on all of its addresses.
fn failure_of_localhost(kinds: &str, run: Command, port: u16) {
    let url = format!("http://localhost:{port}/");
    let done = asking(run, &[url.as_str(); 20].join(" "));
    let failures: Vec<_> = done.lines().into_iter().filter_map(|line| line.split_once(" failed: ")).collect();
    assert_eq!(failures.len(), 20, "{done:?}");
    for (_, kind) in failures {
        assert!(kinds.split(' ').any(|allowed| allowed == kind), "{kind}: {done:?}");
    }
}

#[test]
fn a_server_that_resets_a_connection_is_never_absent_because_the_other_address_refuses() {
    network::alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let seen = accepted.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                seen.fetch_add(1, Ordering::SeqCst);
                reset(stream);
            }
        });
        failure_of_localhost("Closed Unreachable", wrapper(), port);
        assert!(accepted.load(Ordering::SeqCst) >= 20);
    });
}

#[test]
fn a_server_that_does_not_answer_is_never_absent_because_the_other_address_refuses() {
    network::alone(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let silent = Silent::on(std::net::TcpListener::bind(address).unwrap());
            let run = wrapper().with(&["--plugin-timeout", "3s"]);
            let url = format!("http://localhost:{}/", silent.address().port());
            let done = asking(run, &url);
            assert!(done.stderr.contains(&format!("{url} failed: Unreachable")), "{address}: {done:?}");
        }
    });
}

#[test]
fn a_host_is_absent_when_all_of_its_addresses_refuse_and_also_without_ipv6() {
    network::alone(|| {
        failure_of_localhost("Refused", wrapper(), 1);
        let off = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
        if fs::metadata(off).is_ok() {
            // The file belongs to the network of the thread that opens it.
            fs::write(off, "1").unwrap();
            failure_of_localhost("Refused", wrapper(), 1);
        }
    });
}
