//! Each sidecar is asked to quit in the way it wants to be asked, and only once; every answer of it is read rightly; and
//! one that is not there, not there yet, silent or never gone costs no more than its time.

use crate::support::{
    Done, Run, assert_took,
    envoy::Envoy,
    eventually, network,
    peer::{Peer, hold},
    wrapper,
};
use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    process::Command,
    thread,
};

struct Sidecar {
    hook: &'static str,
    /// What the log calls it.
    name: &'static str,
    /// Where it listens, as it is usually set up.
    ports: &'static [u16],
    path: &'static str,
    /// What it is sent beside the headers of any request with an empty body.
    headers: &'static [&'static str],
    /// What enables its endpoint, as its own documentation spells it.
    enabled_by: &'static str,
}

const SIDECARS: [Sidecar; 7] = [
    Sidecar {
        hook: "istio-quit",
        name: "istio-proxy",
        ports: &[15020],
        path: "/quitquitquit",
        headers: &[],
        enabled_by: "pilot-agent takes POST from the pod's own loopback on port 15020",
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
        enabled_by: "proxy.enableShutdownEndpoint=true",
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
        enabled_by: "HOOK_DAPR_SHUTDOWN_TOKEN",
    },
    Sidecar {
        hook: "vault-quit",
        name: "vault-agent",
        ports: &[8200],
        path: "/agent/v1/quit",
        headers: &["x-vault-request: true"],
        enabled_by: "enable_quit = true",
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

fn sidecar(hook: &str) -> &'static Sidecar {
    SIDECARS.iter().find(|sidecar| sidecar.hook == hook).unwrap()
}

impl Sidecar {
    fn variable(&self, end: &str) -> String {
        format!("HOOK_{}_{end}", self.hook.to_uppercase().replace('-', "_"))
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

    fn success(&self) -> String {
        format!("wrapper: {}: Success to send quit message to {}", self.hook, self.name)
    }

    #[track_caller]
    fn assert_success(&self, done: &Done) {
        assert_eq!((done.code(), done.line()), (0, self.success().as_str()));
    }

    #[track_caller]
    fn assert_nobody(&self, done: &Done) {
        let line = format!("wrapper: {}: No {} running to quit", self.hook, self.name);
        assert_eq!((done.code(), done.line()), (0, line.as_str()));
    }

    fn failure(&self, words: &str) -> String {
        format!("wrapper: hook \"{}\": {words}", self.hook)
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
            sidecar.assert_success(&sidecar.quit_at(&peer, &[]).with(&["true"]).done());
            let (first, headers) = only_request(&peer);
            assert_eq!(first, format!("POST {} HTTP/1.1", sidecar.path));
            let host = format!("host: localhost:{}", peer.port());
            assert_eq!(headers, [&["content-length: 0", &host], sidecar.headers].concat());
        }
    });
}

#[test]
fn dapr_is_sent_its_token_where_there_is_one() {
    for (token, header) in [("Ab-1+c/2==", Some("dapr-api-token: Ab-1+c/2==")), ("", None)] {
        let (peer, dapr) = (Peer::with_status(204), sidecar("dapr-shutdown"));
        dapr.assert_success(&dapr.quit_at(&peer, &[("TOKEN", token)]).with(&["true"]).done());
        let (_, headers) = only_request(&peer);
        assert_eq!(headers.iter().find(|it| it.starts_with("dapr")).map(String::as_str), header);
    }
}

#[test]
fn a_connection_that_closes_after_the_request_is_success() {
    each(|sidecar| {
        let peer = Peer::start("127.0.0.1:0", |stream, _| drop(stream));
        sidecar.assert_success(&sidecar.quit_at(&peer, &[]).with(&["true"]).done());
        assert_eq!(peer.requests().len(), 1);
    });
}

#[test]
fn an_answer_that_there_is_no_such_endpoint_names_what_enables_it_and_the_variable() {
    each(|sidecar| {
        for status in [401, 403, 404, 405, 412] {
            let peer = Peer::with_status(status);
            let done = sidecar.quit_at(&peer, &[]).with(&["true"]).done();
            assert_eq!(done.code(), 125, "{done:?}");
            let start = sidecar.failure(&format!("\"{}\": answered {status}; ", peer.url(sidecar.path)));
            let end = format!("; {} names another address", sidecar.variable("URL"));
            let middle = done.line().strip_prefix(&start).and_then(|line| line.strip_suffix(&end));
            assert!(middle.is_some_and(|words| words.contains(sidecar.enabled_by)), "{done:?}");
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn any_other_answer_is_a_failure_with_its_status() {
    each(|sidecar| {
        for status in [300, 302, 400, 402, 406, 500] {
            let peer = Peer::with_status(status);
            let done = sidecar.quit_at(&peer, &[]).with(&["true"]).done();
            sidecar.assert_failure(&done, &format!("\"{}\": answered {status}", peer.url(sidecar.path)));
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn one_that_never_answers_costs_five_seconds_or_the_hooks_time_if_that_is_less() {
    each(|sidecar| {
        let runs = [("3s", 2.5, 10.0), ("30s", 4.9, 9.0)].map(|(hooks_time, at_least, at_most)| {
            let peer = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
            let run = sidecar.quit_at(&peer, &[]).with(&["--plugin-timeout", hooks_time, "true"]).running();
            (peer, run, at_least, at_most)
        });
        for (peer, run, at_least, at_most) in runs {
            let done = run.done();
            sidecar.assert_failure(&done, &format!("\"{}\": no answer within its time", peer.url(sidecar.path)));
            assert_took(&done, at_least, at_most);
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn the_first_of_the_usual_addresses_where_somebody_listens_is_asked() {
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
            sidecar.assert_nobody(&sidecar.quit(&settings).with(&["true"]).done());
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
            let run = sidecar.quit(&[("STARTUP", "2m")]).with(&["--plugin-timeout", "1m", "true"]).running();
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
fn none_that_listens_for_five_seconds_or_the_startup_time_is_no_error_and_told() {
    each(|sidecar| {
        network::alone(|| {
            let quit = |settings| sidecar.quit(settings).with(&["--plugin-timeout", "30s", "true"]).running();
            let runs = [(quit(&[("STARTUP", "500ms")]), 0.5, 4.5), (quit(&[]), 4.9, 9.0)];
            for (run, at_least, at_most) in runs {
                let done = run.done();
                sidecar.assert_nobody(&done);
                assert_took(&done, at_least, at_most);
            }
        });
    });
}

#[test]
fn a_startup_time_without_a_unit_is_in_seconds() {
    let istio = sidecar("istio-quit");
    network::alone(|| {
        for (startup, at_least) in [("0", 0.0), ("0m", 0.0), ("1", 1.0), ("1s", 1.0)] {
            let done = istio.quit(&[("STARTUP", startup)]).with(&["true"]).done();
            istio.assert_nobody(&done);
            assert_took(&done, at_least, 4.5);
        }
    });
}

#[test]
fn a_startup_time_that_is_longer_than_the_hooks_ends_before_it_and_is_no_success() {
    each(|sidecar| {
        network::alone(|| {
            let done = sidecar.quit(&[("STARTUP", "2m")]).with(&["--plugin-timeout", "2s", "true"]).done();
            let words = "may still be starting: --plugin-timeout is shorter than";
            sidecar.assert_failure(&done, &format!("{} {words} {}", sidecar.name, sidecar.variable("STARTUP")));
            assert_took(&done, 1.2, 5.0);
        });
    });
}

#[test]
fn a_setting_that_is_none_is_named_and_nothing_is_sent() {
    each(|sidecar| {
        let peer = Peer::with_status(200);
        const TIME: &str = "a time such as 5s, 500ms or 2m";
        for (setting, value, what) in
            [("STARTUP", "soon", TIME), ("STARTUP", "1.5s", TIME), ("WAIT_GONE", "yes", "true or false")]
        {
            let done = sidecar.quit_at(&peer, &[(setting, value)]).with(&["true"]).done();
            sidecar.assert_failure(&done, &format!("{}=\"{value}\": not {what}", sidecar.variable(setting)));
        }
        assert_eq!(peer.requests(), [""; 0]);
    });
}

#[test]
fn with_wait_gone_the_end_comes_when_nobody_listens_any_more() {
    each(|sidecar| {
        for on in ["true", "1"] {
            let peer = Peer::with_status(200);
            let mut run = sidecar.quit_at(&peer, &[("WAIT_GONE", on)]).with(&["true"]).running();
            eventually("it looks whether anybody listens, and again", || peer.requests().len() > 2);
            assert!(!run.has_ended(), "{}", run.stderr_so_far());
            let requests = peer.requests();
            drop(peer);
            sidecar.assert_success(&run.done());
            assert!(requests[0].starts_with("POST "), "{requests:?}");
            assert!(requests[1..].iter().all(|request| request.starts_with("GET / ")), "{requests:?}");
        }
        for off in ["false", "0"] {
            let peer = Peer::with_status(200);
            sidecar.assert_success(&sidecar.quit_at(&peer, &[("WAIT_GONE", off)]).with(&["true"]).done());
            assert_eq!(peer.requests().len(), 1);
        }
    });
}

#[test]
fn with_wait_gone_one_that_stays_is_told_before_the_hooks_time_is_up() {
    each(|sidecar| {
        // Once it has agreed it goes on answering, or is silent, or closes every connection.
        let peers = [agree as fn(TcpStream), hold, drop].map(|goes_on| {
            Peer::start("127.0.0.1:0", move |stream, head| match head.starts_with("POST ") {
                true => agree(stream),
                false => goes_on(stream),
            })
        });
        let runs = peers.each_ref().map(|peer| {
            sidecar.quit_at(peer, &[("WAIT_GONE", "true")]).with(&["--plugin-timeout", "3s", "true"]).running()
        });
        for (peer, run) in peers.iter().zip(runs) {
            let done = run.done();
            let stays = format!("{} still runs: \"{}\" does not refuse yet", sidecar.name, peer.url("/"));
            assert_eq!(done.code(), 125, "{done:?}");
            assert_eq!(done.lines(), [sidecar.success(), sidecar.failure(&stays)]);
            assert_took(&done, 2.0, 6.0);
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
        hook.assert_success(&hook.quit(&[("WAIT_GONE", "true")]).with(&["true"]).done());
        let connection = TcpStream::connect(("127.0.0.1", 9901));
        assert_eq!(connection.map_err(|error| error.kind()).err(), Some(ErrorKind::ConnectionRefused));
        assert_eq!(envoy.exit_code(), Some(0));
    });
}
