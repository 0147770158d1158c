//! Each sidecar is asked to quit in its own protocol, and never again once it has agreed; one that is absent, late,
//! silent, busy or never gone delays the exit by no more than the hook's time; and the log has no more than is known.

use crate::harness::{
    Done, Run, Running, assert_took,
    envoy::Envoy,
    eventually, failed, guests, misconfigured, network,
    peer::{Peer, hold, reset},
    unfit, wrapper,
};
use nix::libc::SIGTERM;
use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

struct Sidecar {
    hook: &'static str,
    /// Its name in the log.
    name: &'static str,
    /// The ports and the path of its default URLs.
    ports: &'static [u16],
    path: &'static str,
    /// Headers of its request beside those of any request with an empty body.
    headers: &'static [&'static str],
    /// The setting that enables its endpoint, as its own documentation spells it.
    enabled_by: &'static str,
}

const SIDECARS: [Sidecar; 7] = [
    Sidecar {
        hook: "istio-quit",
        name: "istio-proxy",
        ports: &[15020],
        path: "/quitquitquit",
        headers: &[],
        enabled_by: "pilot-agent accepts POST requests from the pod's own loopback on port 15020",
    },
    Sidecar {
        hook: "envoy-quit",
        name: "Envoy",
        ports: &[9901, 15000, 19000],
        path: "/quitquitquit",
        headers: &[],
        enabled_by: "`admin.address`",
    },
    Sidecar {
        hook: "linkerd-shutdown",
        name: "linkerd-proxy",
        ports: &[4191],
        path: "/shutdown",
        headers: &[],
        enabled_by: "config.linkerd.io/proxy-admin-shutdown: enabled",
    },
    Sidecar {
        hook: "consul-shutdown",
        name: "consul-dataplane",
        ports: &[20600, 20300],
        path: "/graceful_shutdown",
        headers: &[],
        enabled_by: "consul.hashicorp.com/enable-sidecar-proxy-lifecycle: \"true\"",
    },
    Sidecar {
        hook: "cloudsql-quit",
        name: "cloud-sql-proxy",
        ports: &[9091],
        path: "/quitquitquit",
        headers: &[],
        enabled_by: "--quitquitquit",
    },
    Sidecar {
        hook: "dapr-shutdown",
        name: "daprd",
        ports: &[3500],
        path: "/v1.0/shutdown",
        headers: &[],
        enabled_by: "HOOK_DAPR_SHUTDOWN_TOKEN or DAPR_API_TOKEN",
    },
    Sidecar {
        hook: "vault-quit",
        name: "vault-agent",
        ports: &[8200],
        path: "/agent/v1/quit",
        headers: &["x-vault-request: true"],
        enabled_by: "vault.hashicorp.com/agent-enable-quit: \"true\"",
    },
];

/// Holds a promise for each of them, all at once: most of it is waiting.
fn each(promise: impl Fn(&Sidecar) + Sync) {
    let promise = &promise;
    thread::scope(|threads| {
        for sidecar in &SIDECARS {
            let thread = thread::Builder::new().name(sidecar.hook.into());
            thread.spawn_scoped(threads, move || promise(sidecar)).unwrap();
        }
    });
}

/// Runs it up to three times, until a peer of the test was in time: on a busy machine it may not be.
fn until_in_time(run: impl Fn() -> Done, in_time: impl Fn(&Done) -> bool) -> Done {
    let first_two = (0..2).map(|_| run()).find(|done| in_time(done));
    first_two.unwrap_or_else(run)
}

fn sidecar(hook: &str) -> &'static Sidecar {
    SIDECARS.iter().find(|sidecar| sidecar.hook == hook).unwrap()
}

impl Sidecar {
    fn variable(&self, end: &str) -> String {
        format!("HOOK_{}_{end}", self.hook.to_uppercase().replace('-', "_"))
    }

    /// The line about one that is waited for.
    fn waiting(&self) -> String {
        format!("wrapper: {}: waiting for {}: connection refused", self.hook, self.name)
    }

    /// What the log advises if it has not started in time.
    fn more(&self) -> String {
        let [url, timeout] = ["URL", "TIMEOUT"].map(|setting| self.variable(setting));
        format!("{url} is for another address, {timeout} gives it more time")
    }

    /// Runs its hook with these settings; 125 is then the code of a hook that failed. The command is still to be named.
    fn quit(&self, settings: &[(&str, &str)]) -> Command {
        // On a busy machine a hook waits for the compiler, which has the lowest priority; these tests measure time.
        let mut run = wrapper().with(&["--plugin-failure", "fail", "--plugin-prepare", "off"]).plugin(self.hook);
        run.envs(settings.iter().map(|(end, value)| (self.variable(end), value)));
        run
    }

    /// The same with this peer in its place.
    fn quit_at(&self, peer: &Peer, settings: &[(&str, &str)]) -> Command {
        let mut run = self.quit(settings);
        run.env(self.variable("URL"), peer.url(self.path));
        run
    }

    /// Its line in the log.
    fn line(&self, words: &str) -> String {
        format!("wrapper: {}: {words}", self.hook)
    }

    fn asked(&self, status: u16) -> String {
        self.line(&format!("asked {} to quit ({status})", self.name))
    }

    fn gone(&self) -> String {
        self.line(&format!("{} is gone", self.name))
    }

    #[track_caller]
    fn assert_success(&self, done: &Done) {
        assert_eq!((done.code(), done.line()), (0, self.asked(200).as_str()));
    }

    #[track_caller]
    fn assert_gone(&self, done: &Done) {
        assert_eq!((done.code(), done.line()), (0, self.gone().as_str()));
    }

    /// Its usual addresses.
    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("http://localhost:{port}{}", self.path)).collect()
    }

    fn refused(&self, urls: &[String]) -> String {
        let urls: String = urls.iter().map(|url| format!(" \"{url}\"")).collect();
        format!("connection refused by{urls}")
    }

    /// The only line is the warning that it is considered absent, what was tried, and which setting says otherwise.
    #[track_caller]
    fn assert_absent(&self, done: &Done, urls: &[String]) {
        let (name, refused) = (self.name, self.refused(urls));
        let otherwise = format!("if it is only late, set {}=wait", self.variable("ABSENT"));
        let line = self.line(&format!("warning: {name} is considered absent: {refused}; {otherwise}"));
        assert_eq!((done.code(), done.line()), (0, line.as_str()));
    }

    /// A failure after which nothing is known of it but that it listens.
    #[track_caller]
    fn assert_no_answer(&self, done: &Done, peer: &Peer, why: &str) {
        let words = "accepted a connection but did not confirm the request";
        self.assert_failure(done, &format!("{} {words}: \"{}\": {why}", self.name, peer.url(self.path)));
    }

    fn failure(&self, words: &str) -> String {
        failed(self.hook, words)
    }

    #[track_caller]
    fn assert_failure(&self, done: &Done, words: &str) {
        assert_eq!((done.code(), done.line()), (125, self.failure(words).as_str()));
    }
}

/// One that agrees, where it is expected.
fn listening(host: &str, port: u16) -> Peer {
    Peer::start(&format!("{host}:{port}"), |stream, _| agree(stream))
}

fn agree(mut stream: TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/// The only request that came: its first line, and its headers in alphabetical order with their names in small letters.
#[track_caller]
fn only_request(peer: &Peer) -> (String, Vec<String>) {
    let requests = peer.requests();
    let [request] = requests.as_slice() else { panic!("{} requests instead of one: {requests:?}", requests.len()) };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "");
    let (first, headers) = head.split_once("\r\n").unwrap();
    let small = |header: &str| {
        let (name, value) = header.split_once(": ").unwrap();
        format!("{}: {value}", name.to_lowercase())
    };
    let mut headers: Vec<_> = headers.split("\r\n").map(small).collect();
    headers.sort();
    (first.to_owned(), headers)
}

#[test]
fn each_is_sent_one_post_without_a_body_and_any_2xx_is_success() {
    each(|sidecar| {
        for status in [200, 204, 299] {
            let peer = Peer::with_status(status);
            let done = sidecar.quit_at(&peer, &[]).with(&["true"]).done();
            assert_eq!((done.code(), done.line()), (0, sidecar.asked(status).as_str()));
            let (first, headers) = only_request(&peer);
            assert_eq!(first, format!("POST {} HTTP/1.1", sidecar.path));
            let host = format!("host: localhost:{}", peer.port());
            assert_eq!(headers, [&["content-length: 0", &host], sidecar.headers].concat());
        }
    });
}

#[test]
fn dapr_is_sent_its_token_where_there_is_one() {
    for (token, header) in [
        ("Ab-1+c/2==", Some("dapr-api-token: Ab-1+c/2==")),
        ("from-a-file\n", Some("dapr-api-token: from-a-file")),
        ("", None),
    ] {
        let (peer, dapr) = (Peer::with_status(204), sidecar("dapr-shutdown"));
        assert_eq!(dapr.quit_at(&peer, &[("TOKEN", token)]).with(&["true"]).done().code(), 0);
        let (_, headers) = only_request(&peer);
        assert_eq!(headers.iter().find(|it| it.starts_with("dapr")).map(String::as_str), header);
    }
}

#[test]
fn dapr_is_found_by_its_own_variables_and_by_settings_before_them() {
    let dapr = sidecar("dapr-shutdown");
    let (injected, named) = (Peer::with_status(204), Peer::with_status(204));
    let port = injected.port().to_string();
    for name in ["dapr-shutdown", "quit=dapr-shutdown"] {
        let run = |settings: &[(&str, &str)]| {
            let mut run = wrapper().with(&["--plugin-failure", "fail"]).plugin(name).with(&["true"]);
            run.env("DAPR_HTTP_PORT", &port).env("DAPR_API_TOKEN", "injected\n").envs(settings.iter().copied());
            let done = run.done();
            assert_eq!(done.code(), 0, "{done:?}");
        };
        run(&[]);
        let url = named.url("/v1.0/shutdown");
        run(&[("HOOK_DAPR_SHUTDOWN_URL", &url), ("HOOK_DAPR_SHUTDOWN_TOKEN", "set")]);
    }
    for (peer, token) in [(&injected, "dapr-api-token: injected\r\n"), (&named, "dapr-api-token: set\r\n")] {
        let requests = peer.requests();
        assert_eq!(requests.len(), 2, "{requests:?}");
        assert!(requests.iter().all(|request| request.starts_with("POST /v1.0/shutdown HTTP/1.1\r\n")), "{requests:?}");
        assert!(requests.iter().all(|request| request.contains(token)), "{requests:?}");
    }
    let mut run = dapr.quit(&[]).with(&["true"]);
    run.env("DAPR_HTTP_PORT", "http");
    let done = run.done();
    let line = misconfigured(dapr.hook, "DAPR_HTTP_PORT=\"http\": not a port");
    assert_eq!((done.code(), done.line()), (125, line.as_str()));
}

#[test]
fn daprs_variables_are_given_to_no_other_hook_and_to_no_file() {
    for hook in [guests::program("print_environment"), guests::official("dapr-shutdown")] {
        let peer = Peer::with_status(204);
        let mut run = wrapper().plugin(&hook).with(&["true"]);
        run.env("DAPR_HTTP_PORT", peer.port().to_string()).env("DAPR_API_TOKEN", "secret");
        run.env("HOOK_DAPR_SHUTDOWN_STARTUP", "0");
        let done = run.done();
        assert!(!done.stderr.contains("DAPR_HTTP_PORT") && !done.stderr.contains("secret"), "{done:?}");
        assert_eq!(peer.requests(), [""; 0], "{}", Path::new(&hook).display());
    }
}

/// A peer that accepts a connection and does not respond.
const CLOSES: [fn(TcpStream); 2] = [drop, reset];

#[test]
fn one_that_closes_or_resets_connections_is_asked_until_the_time_is_up_and_was_not_asked_to_quit() {
    each(|sidecar| {
        let runs = CLOSES.map(|close| {
            let peer = Peer::start("127.0.0.1:0", move |stream, _| close(stream));
            // Not considered absent, either.
            let settings = [("STARTUP", "0")];
            let run = sidecar.quit_at(&peer, &settings).with(&["--plugin-timeout", "3s", "true"]).running();
            (peer, run)
        });
        for (peer, run) in runs {
            let done = run.done();
            sidecar.assert_no_answer(&done, &peer, "the connection was closed before a response arrived");
            assert_took(&done, 2.0, 10.0);
            assert!(peer.requests().len() > 2, "{:?}", peer.requests());
        }
    });
}

#[test]
fn one_that_closes_its_connections_because_it_ends_is_gone_which_is_success() {
    each(|sidecar| {
        for close in CLOSES {
            let peer = Peer::start("127.0.0.1:0", move |stream, _| close(stream));
            let mut run = sidecar.quit_at(&peer, &[]).with(&["--plugin-timeout", "1m", "true"]).running();
            eventually("it is asked", || peer.requests().len() > 1);
            assert!(!run.has_ended(), "{}", run.stderr_so_far());
            drop(peer);
            let done = run.done();
            sidecar.assert_gone(&done);
            assert_took(&done, 0.0, 20.0);
        }
    });
}

#[test]
fn a_sidecar_that_resets_every_connection_on_one_address_is_never_absent_although_the_other_refuses() {
    let istio = sidecar("istio-quit");
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        // At once, so that the client may be connecting, writing, or reading.
        thread::spawn(move || listener.incoming().flatten().for_each(reset));
        let url = format!("http://localhost:{port}/quitquitquit");
        for _ in 0..5 {
            let settings = [("URL", url.as_str()), ("STARTUP", "0")];
            let runs = [(); 2].map(|()| istio.quit(&settings).with(&["--plugin-timeout", "3s", "true"]).running());
            for done in runs.map(Running::done) {
                assert_eq!(done.code(), 125, "{done:?}");
                let starts = ["istio-proxy accepted a connection", "istio-proxy could not be reached"];
                assert!(starts.iter().any(|start| done.line().starts_with(&istio.failure(start))), "{done:?}");
            }
        }
    }
}

#[test]
fn with_wait_gone_a_sidecar_that_resets_every_connection_is_not_gone() {
    let istio = sidecar("istio-quit");
    let agreed = AtomicUsize::new(0);
    let peer = Peer::start("127.0.0.1:0", move |stream, _| match agreed.fetch_add(1, Ordering::SeqCst) {
        0 => agree(stream),
        _ => reset(stream),
    });
    let settings = [("WAIT_GONE", "true"), ("STARTUP", "0")];
    let done = istio.quit_at(&peer, &settings).with(&["--plugin-timeout", "6s", "true"]).done();
    let stays = format!("istio-proxy is still running: \"{}\" still accepts connections", peer.url("/"));
    assert_eq!(done.lines(), [istio.asked(200), istio.failure(&stays)]);
    assert_eq!(done.code(), 125);
}

#[test]
fn an_answer_that_counts_for_the_moment_is_asked_again_until_it_agrees() {
    each(|sidecar| {
        let runs = [408, 429, 500, 503, 599].map(|status| {
            let asked = AtomicUsize::new(0);
            let peer = Peer::start("127.0.0.1:0", move |mut stream, _| match asked.fetch_add(1, Ordering::SeqCst) {
                0..3 => _ = write!(stream, "HTTP/1.1 {status} Busy\r\nContent-Length: 0\r\n\r\n"),
                _ => agree(stream),
            });
            let run = sidecar.quit_at(&peer, &[("STARTUP", "0")]).with(&["--plugin-timeout", "1m", "true"]).running();
            (peer, run)
        });
        for (peer, run) in runs {
            sidecar.assert_success(&run.done());
            // And never again after it has agreed.
            assert_eq!(peer.requests().len(), 4);
        }
    });
}

#[test]
fn one_that_takes_seconds_to_answer_is_given_them() {
    let istio = sidecar("istio-quit");
    let peer = Peer::start("127.0.0.1:0", |stream, _| {
        thread::sleep(Duration::from_millis(5_700));
        agree(stream);
    });
    let done = istio.quit_at(&peer, &[]).with(&["--plugin-timeout", "1m", "true"]).done();
    istio.assert_success(&done);
    // The first request has 5 s, and a later one as much as has passed by then.
    assert!(peer.requests().len() > 1);
}

#[test]
fn a_program_that_does_not_speak_http_or_knows_no_post_fails_at_once() {
    let istio = sidecar("istio-quit");
    for (response, words) in [
        ("-ERR unknown command\r\n", "the response is not valid HTTP"),
        ("HTTP/1.0 501 Unsupported method\r\n\r\n", "answered 501; "),
        ("HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n", "answered 505; "),
    ] {
        let peer = Peer::answering(response);
        let done = istio.quit_at(&peer, &[]).with(&["--plugin-timeout", "1m", "true"]).done();
        assert!(done.line().contains(words), "{done:?}");
        assert_eq!(peer.requests().len(), 1);
    }
}

#[test]
fn one_that_is_busy_for_longer_than_a_startup_time_is_asked_again() {
    let istio = sidecar("istio-quit");
    let since = Instant::now();
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| match since.elapsed() < Duration::from_millis(2500) {
        true => _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        false => agree(stream),
    });
    let done = istio.quit_at(&peer, &[("STARTUP", "1s")]).with(&["true"]).done();
    istio.assert_success(&done);
    assert_took(&done, 2.0, 9.5);
}

#[test]
fn one_that_is_busy_until_the_time_is_up_did_not_agree_and_its_answer_is_named() {
    each(|sidecar| {
        let peer = Peer::with_status(503);
        // The last attempt has half a second, and its result is named.
        let run = || sidecar.quit_at(&peer, &[("STARTUP", "0")]).with(&["--plugin-timeout", "4s", "true"]).done();
        let done = until_in_time(run, |done| !done.stderr.contains("no response in time"));
        sidecar.assert_no_answer(&done, &peer, "answered 503");
        assert_took(&done, 3.0, 10.0);
        assert!(peer.requests().len() > 2);
    });
}

#[test]
fn another_server_at_another_address_is_not_asked_when_the_sidecar_is_gone() {
    let envoy = sidecar("envoy-quit");
    network::alone(|| {
        let closes = Peer::start("127.0.0.1:9901", |stream, _| drop(stream));
        let other = listening("127.0.0.1", 15000);
        let run = envoy.quit(&[]).with(&["--plugin-timeout", "1m", "true"]).running();
        eventually("it is asked", || closes.requests().len() > 1);
        gone(vec![closes]);
        envoy.assert_gone(&run.done());
        assert_eq!(other.requests(), [""; 0]);
    });
}

#[test]
fn an_answer_that_there_is_no_such_endpoint_names_what_enables_it_and_the_variable() {
    each(|sidecar| {
        for status in [401, 403, 404, 405, 412] {
            let peer = Peer::with_status(status);
            let done = sidecar.quit_at(&peer, &[]).with(&["true"]).done();
            assert_eq!(done.code(), 125, "{done:?}");
            let words = format!("\"{}\": answered {status}; ", peer.url(sidecar.path));
            let start = misconfigured(sidecar.hook, &words);
            let end = format!("; check the port and the path in {}", sidecar.variable("URL"));
            let middle = done.line().strip_prefix(&start).and_then(|line| line.strip_suffix(&end));
            assert!(middle.is_some_and(|words| words.contains(sidecar.enabled_by)), "{done:?}");
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn any_other_answer_is_a_failure_with_its_status() {
    each(|sidecar| {
        for status in [300, 302, 400, 402, 406] {
            let peer = Peer::with_status(status);
            let done = sidecar.quit_at(&peer, &[]).with(&["true"]).done();
            sidecar.assert_failure(&done, &format!("\"{}\": answered {status}", peer.url(sidecar.path)));
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn the_log_has_no_query_of_a_url_however_it_ends() {
    const QUERY: &str = "?token=S3CRET#S3CRET";
    let (missing, wrong, busy) = (Peer::with_status(404), Peer::with_status(400), Peer::with_status(503));
    let silent = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
    let stays = Peer::with_status(200);
    let shown = |peer: &Peer| format!("\"{}\"", peer.url("/q"));
    for (url, words) in [
        (missing.url("/q"), format!("{}: answered 404; ", shown(&missing))),
        (wrong.url("/q"), format!("{}: answered 400", shown(&wrong))),
        (busy.url("/q"), format!("{}: answered 503", shown(&busy))),
        (silent.url("/q"), format!("{}: no response in time", shown(&silent))),
        (stays.url(""), format!("\"{}\" still accepts connections", stays.url("/"))),
        ("http://localhost:1/q".into(), "connection refused by \"http://localhost:1/q\"".into()),
    ] {
        for hook in ["istio-quit", "sidecars"] {
            let mut run = wrapper().plugin(hook).with(&["--plugin-timeout", "2s", "--log", "debug", "true"]);
            run.env("HOOK_ISTIO_QUIT_URL", format!("{url}{QUERY}"));
            run.envs(["ISTIO_QUIT", "SIDECARS"].map(|name| (format!("HOOK_{name}_STARTUP"), "0")));
            run.envs(["ISTIO_QUIT", "SIDECARS"].map(|name| (format!("HOOK_{name}_WAIT_GONE"), "true")));
            let done = run.done();
            // `sidecars` lists no address that refuses.
            let is_named =
                done.stderr.contains(&words) || hook == "sidecars" && words.starts_with("connection refused");
            assert!(is_named && !done.stderr.contains("S3CRET"), "{url}: {done:?}");
        }
    }
    assert!(stays.requests()[0].starts_with("POST /?token=S3CRET HTTP/1.1\r\n"), "{:?}", stays.requests());
}

#[test]
fn one_that_never_answers_costs_the_hooks_time_and_is_a_failure() {
    each(|sidecar| {
        let peer = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
        let done = sidecar.quit_at(&peer, &[("STARTUP", "0")]).with(&["--plugin-timeout", "4s", "true"]).done();
        sidecar.assert_no_answer(&done, &peer, "no response in time");
        assert_took(&done, 2.3, 20.0);
        assert_eq!(peer.requests().len(), 1);
    });
}

#[test]
fn one_that_does_not_answer_is_asked_again_after_five_seconds() {
    each(|sidecar| {
        let asked = AtomicUsize::new(0);
        let peer = Peer::start("127.0.0.1:0", move |stream, _| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => hold(stream),
            _ => agree(stream),
        });
        let done = sidecar.quit_at(&peer, &[]).with(&["--plugin-timeout", "30s", "true"]).done();
        sidecar.assert_success(&done);
        assert_took(&done, 4.9, 20.0);
        assert_eq!(peer.requests().len(), 2);
    });
}

#[test]
fn the_first_of_the_usual_addresses_that_is_open_is_used() {
    each(|sidecar| {
        network::alone(|| {
            for place in 0..sidecar.ports.len() {
                let peers: Vec<_> = sidecar.ports[place..].iter().map(|port| listening("127.0.0.1", *port)).collect();
                sidecar.assert_success(&sidecar.quit(&[]).with(&["true"]).done());
                let asked: Vec<_> = peers.iter().map(|peer| peer.requests().len()).collect();
                assert_eq!((asked[0], asked.iter().sum()), (1, 1), "{} {asked:?}", sidecar.hook);
                gone(peers);
            }
        });
    });
}

/// Waits until their ports are free.
fn gone(peers: Vec<Peer>) {
    let ports: Vec<_> = peers.iter().map(Peer::port).collect();
    drop(peers);
    for port in ports {
        eventually("it listens no more", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn no_usual_address_is_asked_when_another_is_named() {
    each(|sidecar| {
        network::alone(|| {
            let peers: Vec<_> = sidecar.ports.iter().map(|port| listening("127.0.0.1", *port)).collect();
            let settings = [("URL", "http://localhost:1/"), ("STARTUP", "0")];
            sidecar.assert_absent(&sidecar.quit(&settings).with(&["true"]).done(), &["http://localhost:1/".into()]);
            assert!(peers.iter().all(|peer| peer.requests().is_empty()), "{}", sidecar.hook);
        });
    });
}

#[test]
fn one_on_either_loopback_address_is_reached() {
    for host in ["127.0.0.1", "[::1]"] {
        let peer = listening(host, 0);
        each(|sidecar| sidecar.assert_success(&sidecar.quit_at(&peer, &[]).with(&["true"]).done()));
        assert_eq!(peer.requests().len(), SIDECARS.len(), "{host}");
    }
}

#[test]
fn one_that_is_still_starting_is_asked_again_until_it_answers() {
    each(|sidecar| {
        network::alone(|| {
            let run = sidecar.quit(&[("STARTUP", "2m")]).with(&["--plugin-timeout", "3m", "true"]).running();
            // Once around is each port on both addresses of loopback.
            let around = 2 * sidecar.ports.len();
            eventually("it was refused, and again", || network::refusals() > around);
            let late = listening("127.0.0.1", *sidecar.ports.last().unwrap());
            sidecar.assert_success(&run.done());
            assert_eq!(late.requests().len(), 1);
        });
    });
}

#[test]
fn one_that_refuses_for_five_seconds_or_the_startup_time_is_taken_for_absent_with_a_warning() {
    each(|sidecar| {
        network::alone(|| {
            let quit = |settings| sidecar.quit(settings).with(&["--plugin-timeout", "60s", "true"]).running();
            let runs = [
                (quit(&[("STARTUP", "6s")]), 6.0),
                (quit(&[("STARTUP", "500ms"), ("ABSENT", "ok")]), 0.5),
                (quit(&[]), 4.9),
            ];
            for (run, at_least) in runs {
                let done = run.done();
                sidecar.assert_absent(&done, &sidecar.urls());
                assert_took(&done, at_least, 20.0);
            }
        });
    });
}

#[test]
fn one_that_is_absent_is_a_failure_if_that_was_chosen() {
    each(|sidecar| {
        network::alone(|| {
            let settings = [("STARTUP", "500ms"), ("ABSENT", "fail")];
            let done = sidecar.quit(&settings).with(&["--plugin-timeout", "30s", "true"]).done();
            let refused = sidecar.refused(&sidecar.urls());
            sidecar.assert_failure(&done, &format!("{} is considered absent: {refused}", sidecar.name));
            assert_took(&done, 0.5, 10.0);
        });
    });
}

#[test]
fn one_that_listens_after_the_startup_time_is_asked_if_waiting_was_chosen() {
    each(|sidecar| {
        for absent in ["wait", "Wait\n"] {
            network::alone(|| {
                let settings = [("STARTUP", "500ms"), ("ABSENT", absent)];
                let mut run = sidecar.quit(&settings).with(&["--plugin-timeout", "1m", "true"]).running();
                let since = Instant::now();
                eventually("the startup time is over", || since.elapsed() > Duration::from_secs(2));
                assert!(!run.has_ended(), "{}", run.stderr_so_far());
                let late = listening("127.0.0.1", *sidecar.ports.last().unwrap());
                let done = run.done();
                assert_eq!((done.code(), done.lines()), (0, vec![sidecar.waiting().as_str(), &sidecar.asked(200)]));
                assert_eq!(late.requests().len(), 1);
            });
        }
    });
}

#[test]
fn one_that_is_waited_for_and_never_listens_is_a_failure_at_the_end_of_the_hooks_time() {
    each(|sidecar| {
        network::alone(|| {
            let settings = [("STARTUP", "0"), ("ABSENT", "wait")];
            let done = sidecar.quit(&settings).with(&["--plugin-timeout", "4s", "true"]).done();
            let (name, refused) = (sidecar.name, sidecar.refused(&sidecar.urls()));
            let more = sidecar.more();
            let failure = sidecar.failure(&format!("{name} is not listening yet: {refused}; {more}"));
            assert_eq!((done.code(), done.lines()), (125, vec![sidecar.waiting().as_str(), &failure]));
            assert_took(&done, 3.0, 10.0);
        });
    });
}

#[test]
fn one_that_is_waited_for_is_considered_absent_after_the_startup_time_if_the_container_is_being_stopped() {
    each(|sidecar| {
        network::alone(|| {
            let settings = [("STARTUP", "1s"), ("ABSENT", "wait")];
            let command = "trap 'exit 3' TERM; echo ready; while :; do :; done";
            let mut run = sidecar.quit(&settings).with(&["--plugin-timeout", "30s", "sh", "-c", command]).running();
            run.until_stdout_has("ready");
            run.signal(SIGTERM);
            let done = run.done();
            assert_eq!(done.code(), 3, "{done:?}");
            let (name, refused) = (sidecar.name, sidecar.refused(&sidecar.urls()));
            let why = "it may have been stopped together with the command";
            let line = format!("{name} is considered absent: {refused}; {why}");
            assert!(done.line().ends_with(&line), "{done:?}");
            assert_took(&done, 1.0, 20.0);
        });
    });
}

#[test]
fn another_address_of_the_product_that_listens_is_named_and_not_asked_to_quit() {
    for (hook, port) in [
        ("istio-quit", 15000),
        ("linkerd-shutdown", 4143),
        ("cloudsql-quit", 9090),
        ("dapr-shutdown", 3501),
        ("vault-quit", 8100),
    ] {
        let sidecar = sidecar(hook);
        network::alone(|| {
            for answer in [agree as fn(TcpStream), drop] {
                let other = Peer::start(&format!("127.0.0.1:{port}"), move |stream, _| answer(stream));
                let refused = sidecar.refused(&sidecar.urls());
                let listens = format!("{refused}; but \"{}\" accepts connections; ", other.url("/"));
                // It has a fifth of a second to answer.
                let run = || sidecar.quit(&[("STARTUP", "0")]).with(&["true"]).done();
                let done = until_in_time(run, |done| done.stderr.contains(&listens));
                let (line, variable) = (done.line(), sidecar.variable("URL"));
                assert!(line.contains(&listens) && line.contains(sidecar.enabled_by), "{done:?}");
                let url = other.url(sidecar.path);
                assert!(line.contains(&format!("; if that is it, set {variable}={url}; ")), "{done:?}");
                assert_eq!(done.code(), 0, "{done:?}");
                assert!(other.requests().iter().all(|request| request.starts_with("GET / ")), "{:?}", other.requests());
                gone(vec![other]);
            }
        });
    }
}

#[test]
fn a_startup_time_without_a_unit_is_in_seconds() {
    let istio = sidecar("istio-quit");
    network::alone(|| {
        for (startup, at_least) in [("0", 0.0), ("0m", 0.0), ("1", 1.0), ("1s", 1.0), ("1s 500ms\n", 1.5)] {
            let done = istio.quit(&[("STARTUP", startup)]).with(&["true"]).done();
            istio.assert_absent(&done, &istio.urls());
            // Less than the default.
            assert_took(&done, at_least, 4.9);
        }
    });
}

#[test]
fn a_startup_time_that_is_longer_than_the_hooks_ends_before_it_and_is_no_success() {
    each(|sidecar| {
        network::alone(|| {
            let done = sidecar.quit(&[("STARTUP", "2m")]).with(&["--plugin-timeout", "4s", "true"]).done();
            let (name, refused) = (sidecar.name, sidecar.refused(&sidecar.urls()));
            let more = sidecar.more();
            // Which it says at the start, too.
            let warning = format!("{} (2m) does not fit into --plugin-timeout 4s: ", sidecar.variable("STARTUP"));
            assert!(done.lines()[0].contains(&warning), "{done:?}");
            let failure = sidecar.failure(&format!("{name} is not listening yet: {refused}; {more}"));
            assert_eq!((done.code(), &done.lines()[1..]), (125, &[failure.as_str()][..]));
            assert_took(&done, 3.0, 10.0);
        });
    });
}

#[test]
fn a_setting_that_is_none_is_named_and_nothing_is_sent() {
    each(|sidecar| {
        let peer = Peer::with_status(200);
        const TIME: &str = "a time such as 500ms, 10s or 1m30s";
        for (setting, value, what) in [
            ("STARTUP", "soon", TIME),
            ("STARTUP", "1.5s", TIME),
            ("WAIT_GONE", "maybe", "one of true, yes, on, 1, false, no, off, 0"),
            ("ABSENT", "start", "one of ok, wait, fail"),
        ] {
            let done = sidecar.quit_at(&peer, &[(setting, value)]).with(&["true"]).done();
            let line = unfit(sidecar.hook, &format!("{}=\"{value}\": not {what}", sidecar.variable(setting)));
            assert_eq!((done.code(), done.line()), (125, line.as_str()));
        }
        assert_eq!(peer.requests(), [""; 0]);
    });
}

#[test]
fn with_wait_gone_it_ends_when_the_port_is_closed() {
    each(|sidecar| {
        for on in ["true", "1", "Yes"] {
            let peer = Peer::with_status(200);
            let mut run = sidecar.quit_at(&peer, &[("WAIT_GONE", on)]).with(&["true"]).running();
            eventually("it looks whether anybody listens, and again", || peer.requests().len() > 2);
            assert!(!run.has_ended(), "{}", run.stderr_so_far());
            let requests = peer.requests();
            drop(peer);
            let done = run.done();
            assert_eq!((done.code(), done.lines()), (0, vec![sidecar.asked(200).as_str(), sidecar.gone().as_str()]));
            assert!(requests[0].starts_with("POST "), "{requests:?}");
            assert!(requests[1..].iter().all(|request| request.starts_with("GET / ")), "{requests:?}");
        }
        for off in ["false", "0", "off"] {
            let peer = Peer::with_status(200);
            sidecar.assert_success(&sidecar.quit_at(&peer, &[("WAIT_GONE", off)]).with(&["true"]).done());
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn with_wait_gone_one_that_stays_is_reported_before_the_hooks_deadline() {
    each(|sidecar| {
        // Once it has agreed it goes on answering, or is silent, or closes every connection.
        let peers = [agree as fn(TcpStream), hold, drop].map(|goes_on| {
            Peer::start("127.0.0.1:0", move |stream, head| match head.starts_with("POST ") {
                true => agree(stream),
                false => goes_on(stream),
            })
        });
        let runs = peers.each_ref().map(|peer| {
            let settings = [("WAIT_GONE", "true"), ("STARTUP", "0")];
            sidecar.quit_at(peer, &settings).with(&["--plugin-timeout", "6s", "true"]).running()
        });
        for (peer, run) in peers.iter().zip(runs) {
            let done = run.done();
            let stays = format!("{} is still running: \"{}\" still accepts connections", sidecar.name, peer.url("/"));
            assert_eq!(done.code(), 125, "{done:?}");
            assert_eq!(done.lines(), [sidecar.asked(200), sidecar.failure(&stays)]);
            assert_took(&done, 2.0, 20.0);
        }
    });
}

#[test]
fn a_real_envoy_exits_and_without_the_hook_it_stays() {
    for (hook, port) in [("istio-quit", 15020), ("envoy-quit", 9901), ("envoy-quit", 15000)] {
        network::alone(|| {
            let mut envoy = Envoy::start(port);
            assert_eq!(wrapper().with(&["true"]).done().code(), 0);
            assert!(envoy.is_running());
            sidecar(hook).assert_success(&sidecar(hook).quit(&[]).with(&["true"]).done());
            assert_eq!(envoy.exit_code(), Some(0));
        });
    }
}

#[test]
fn with_wait_gone_the_end_of_a_real_envoy_is_seen() {
    network::alone(|| {
        let (envoy, hook) = (Envoy::start(9901), sidecar("envoy-quit"));
        let done = hook.quit(&[("WAIT_GONE", "true")]).with(&["true"]).done();
        assert_eq!((done.code(), done.lines()), (0, vec![hook.asked(200).as_str(), hook.gone().as_str()]));
        let connection = TcpStream::connect(("127.0.0.1", 9901));
        assert_eq!(connection.map_err(|error| error.kind()).err(), Some(ErrorKind::ConnectionRefused));
        assert_eq!(envoy.exit_code(), Some(0));
    });
}
