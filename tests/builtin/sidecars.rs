//! The hook `sidecars`: whichever known sidecars a pod has are asked to quit, all at once and in their own protocols.
//! Other programs at their addresses, and a pod without any, are no failure of the Job.

use crate::harness::{
    Done, Run, assert_took,
    envoy::Envoy,
    eventually, failed, misconfigured, network,
    peer::{Peer, hold},
    wrapper,
};
use nix::libc::SIGTERM;
use std::{
    io::Write,
    net::TcpStream,
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Each address that is asked: its port, the sidecar's name in the log, and the request's path.
const ADDRESSES: [(u16, &str, &str); 10] = [
    (15020, "istio-proxy", "/quitquitquit"),
    (15000, "istio-proxy", "/quitquitquit"),
    (4191, "linkerd-proxy", "/shutdown"),
    (20600, "consul-dataplane", "/graceful_shutdown"),
    (20300, "consul-dataplane", "/graceful_shutdown"),
    (19000, "consul-dataplane", "/quitquitquit"),
    (9901, "Envoy", "/quitquitquit"),
    (3500, "daprd", "/v1.0/shutdown"),
    (9091, "cloud-sql-proxy", "/quitquitquit"),
    (8200, "vault-agent", "/agent/v1/quit"),
];

const NONE: &str = "no sidecar: connection refused by istio-proxy, consul-dataplane, Envoy, linkerd-proxy, daprd, \
    cloud-sql-proxy, vault-agent";

/// The hook with these settings, whose failure is 125, around a command that ends at once.
fn quit(settings: &[(&str, &str)]) -> Command {
    let mut run = wrapper().with(&["--plugin-failure", "fail"]).plugin("sidecars");
    run.envs(settings.iter().map(|(end, value)| (format!("HOOK_SIDECARS_{end}"), value)));
    run.with(&["true"])
}

/// The same without a window for late sidecars.
fn quit_at_once() -> Command {
    quit(&[("STARTUP", "0")])
}

fn answering(port: u16, status: u16) -> Peer {
    Peer::start(&format!("127.0.0.1:{port}"), move |stream, _| answer(stream, status))
}

fn answer(mut stream: TcpStream, status: u16) {
    let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
}

fn asked(name: &str) -> String {
    format!("wrapper: sidecars: asked {name} to quit (200)")
}

#[track_caller]
fn assert_lines(done: &Done, code: i32, lines: &[String]) {
    assert_eq!((done.code(), done.lines()), (code, lines.iter().map(String::as_str).collect()), "{done:?}");
}

#[test]
fn each_sidecar_is_asked_in_its_own_protocol_at_each_of_its_addresses() {
    for (port, name, path) in ADDRESSES {
        network::alone(|| {
            let peer = answering(port, 200);
            assert_lines(&quit_at_once().done(), 0, &[asked(name)]);
            let requests = peer.requests();
            let [request] = requests.as_slice() else { panic!("{port}: {requests:?}") };
            assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{request}");
            let headers = ["x-vault-request: true\r\n", "content-length: 0\r\n"].map(|it| request.contains(it));
            assert_eq!(headers, [name == "vault-agent", true], "{request}");
        });
    }
}

#[test]
fn all_are_asked_at_the_same_time_and_none_twice() {
    network::alone(|| {
        let ports = [15020, 4191, 20600, 9901, 3500, 9091, 8200];
        // Nobody is answered before all have been asked.
        let all = Arc::new(Barrier::new(ports.len()));
        let peers = ports.map(|port| {
            let all = all.clone();
            Peer::start(&format!("127.0.0.1:{port}"), move |stream, _| {
                all.wait();
                answer(stream, 200);
            })
        });
        let names =
            ["istio-proxy", "consul-dataplane", "Envoy", "linkerd-proxy", "daprd", "cloud-sql-proxy", "vault-agent"];
        let done = quit(&[("STARTUP", "30s"), ("TIMEOUT", "1m")]).done();
        assert_lines(&done, 0, &names.map(asked));
        // There is nobody left to wait for.
        assert_took(&done, 0.0, 20.0);
        assert!(peers.iter().all(|peer| peer.requests().len() == 1));
    });
}

#[test]
fn envoys_own_interface_is_left_alone_if_its_agent_listens() {
    for (agent, envoy, name) in [(15020, 15000, "istio-proxy"), (20600, 19000, "consul-dataplane")] {
        network::alone(|| {
            let (agent, envoy) = (answering(agent, 200), answering(envoy, 200));
            assert_lines(&quit_at_once().done(), 0, &[asked(name)]);
            assert_eq!((agent.requests().len(), envoy.requests().len()), (1, 0));
        });
    }
}

#[test]
fn a_real_envoy_quits_wherever_its_interface_is() {
    network::alone(|| {
        let envoys = [9901, 15000, 19000].map(Envoy::start);
        let done = quit_at_once().done();
        assert_lines(&done, 0, &["istio-proxy", "consul-dataplane", "Envoy"].map(asked));
        assert_eq!(envoys.map(Envoy::exit_code), [Some(0); 3]);
    });
}

const WAITING: &str = "wrapper: sidecars: waiting for a sidecar: connections are refused";

#[test]
fn a_pod_without_a_sidecar_waits_once_for_all_of_them_and_the_setting_decides() {
    network::alone(|| {
        let late = "if it is only late, set HOOK_SIDECARS_ABSENT=wait";
        let runs = [
            (
                &[("STARTUP", "6s"), ("TIMEOUT", "1m")][..],
                0,
                format!("wrapper: sidecars: warning: {NONE}; {late}"),
                5.9,
                20.0,
            ),
            (&[("STARTUP", "1s"), ("ABSENT", "fail")], 125, failed("sidecars", NONE), 0.9, 20.0),
            (
                &[("STARTUP", "0"), ("ABSENT", "wait"), ("TIMEOUT", "6s")],
                125,
                failed("sidecars", &format!("{NONE}; HOOK_SIDECARS_TIMEOUT gives it more time")),
                1.2,
                20.0,
            ),
            (
                &[("STARTUP", "1m"), ("TIMEOUT", "6s")],
                125,
                failed("sidecars", &format!("{NONE}; HOOK_SIDECARS_TIMEOUT gives it more time")),
                1.2,
                20.0,
            ),
        ];
        let runs = runs.map(|(settings, code, line, at_least, at_most)| {
            (quit(settings).running(), settings, code, line, at_least, at_most)
        });
        for (run, settings, code, line, at_least, at_most) in runs {
            let done = run.done();
            // A startup time that is too long is a warning at the start.
            let warning = "HOOK_SIDECARS_STARTUP (1m) does not fit into HOOK_SIDECARS_TIMEOUT=6s";
            let waits = settings.contains(&("ABSENT", "wait"));
            assert_eq!(done.lines()[0] == WAITING, waits, "{done:?}");
            let warns = done.lines()[0].contains(warning);
            assert_eq!(warns, settings == [("STARTUP", "1m"), ("TIMEOUT", "6s")], "{done:?}");
            assert_eq!((done.code(), &done.lines()[usize::from(warns || waits)..]), (code, &[line.as_str()][..]));
            assert_took(&done, at_least, at_most);
        }
    });
}

#[test]
fn one_that_is_late_is_asked_also_where_another_has_agreed() {
    network::alone(|| {
        let istio = answering(15020, 200);
        let mut run = quit(&[("STARTUP", "1m"), ("TIMEOUT", "2m"), ("EXCEPT", "envoy-quit,dapr-shutdown")]).running();
        run.until_stderr_has(&asked("istio-proxy"));
        let before = network::refusals();
        eventually("the others are asked again", || network::refusals() > before + 10);
        assert!(!run.has_ended());
        let others = [4191, 20600, 9091, 8200].map(|port| answering(port, 200));
        let done = run.done();
        assert_eq!((done.code(), done.lines().len()), (0, 5), "{done:?}");
        assert_eq!(istio.requests().len(), 1);
        assert!(others.iter().all(|peer| peer.requests().len() == 1));
    });
}

#[test]
fn with_absent_wait_one_that_comes_after_the_window_is_asked() {
    network::alone(|| {
        let run = quit(&[("STARTUP", "0"), ("ABSENT", "wait"), ("TIMEOUT", "2m")]).running();
        eventually("all were asked more than once", || network::refusals() > 60);
        let _linkerd = answering(4191, 200);
        assert_lines(&run.done(), 0, &[WAITING.into(), asked("linkerd-proxy")]);
    });
}

#[test]
fn with_absent_wait_those_that_refuse_after_the_window_are_absent_if_the_container_is_being_stopped() {
    network::alone(|| {
        let mut run = wrapper().with(&["--plugin-failure", "fail"]).plugin("sidecars");
        run.envs([("HOOK_SIDECARS_STARTUP", "1s"), ("HOOK_SIDECARS_ABSENT", "wait"), ("HOOK_SIDECARS_TIMEOUT", "2m")]);
        let command = "trap 'exit 3' TERM; echo ready; while :; do :; done";
        let mut run = run.with(&["sh", "-c", command]).running();
        run.until_stdout_has("ready");
        run.signal(SIGTERM);
        let stopped = "it may have been stopped together with the command";
        assert_lines(&run.done(), 3, &[format!("wrapper: sidecars: warning: {NONE}; {stopped}")]);
    });
}

#[test]
fn another_program_at_an_address_is_reported_and_counts_only_if_there_is_no_sidecar() {
    let why = "cloud-sql-proxy, or another program at its address: \"http://localhost:9091/quitquitquit\": answered 404; \
        the proxy's option --quitquitquit enables the endpoint; set HOOK_CLOUDSQL_QUIT_URL if it listens elsewhere; to \
        skip it, set HOOK_SIDECARS_EXCEPT";
    network::alone(|| {
        let other = answering(9091, 404);
        assert_lines(&quit_at_once().done(), 125, &[misconfigured("sidecars", why)]);
        let _istio = answering(15020, 200);
        let warning = format!("wrapper: sidecars: warning: {why}");
        assert_lines(&quit_at_once().done(), 0, &[asked("istio-proxy"), warning]);
        assert_eq!(other.requests().len(), 2);
        let except = quit(&[("STARTUP", "0"), ("EXCEPT", "vault-quit, cloudsql-quit")]);
        assert_lines(&except.done(), 0, &[asked("istio-proxy")]);
        assert_eq!(other.requests().len(), 2, "it was left out");
    });
}

#[test]
fn a_wrong_setting_is_a_failure_and_keeps_no_other_sidecar_from_being_asked() {
    network::alone(|| {
        let peers = [15020, 8200, 3500].map(|port| answering(port, 200));
        let run = |except, dapr| {
            let mut run = quit(&[("STARTUP", "0"), ("EXCEPT", except), ("OPTIONAL", "true")]);
            run.env("DAPR_HTTP_PORT", dapr);
            run.done()
        };
        // wrapper knows the names, and has an optional hook run nevertheless.
        let except = "HOOK_SIDECARS_EXCEPT: \"vault\" is not the hook of a known sidecar";
        let port = "DAPR_HTTP_PORT=\"http\": not a port";
        let [istio, dapr, vault] = ["istio-proxy", "daprd", "vault-agent"].map(asked);
        let done = run("vault", "");
        assert!(done.lines()[0].contains("\"vault\" is not one of istio-quit, "), "{done:?}");
        assert_eq!(done.lines()[1..], [&*istio, &dapr, &vault, &misconfigured("sidecars", except)]);
        assert_lines(&run("", "http"), 0, &[istio.clone(), vault.clone(), misconfigured("sidecars", port)]);
        let done = run("vault", "http");
        let warning = format!("wrapper: sidecars: warning: {except}");
        assert_eq!(done.lines()[1..], [&*warning, &istio, &vault, &misconfigured("sidecars", port)]);
        assert_lines(&run("dapr-shutdown", "http"), 0, &[istio.clone(), vault.clone()]);
        let mut required = quit(&[("STARTUP", "0")]);
        required.env("DAPR_HTTP_PORT", "http");
        assert_lines(&required.done(), 125, &[istio, vault, misconfigured("sidecars", port)]);
        assert_eq!(peers.map(|peer| peer.requests().len()), [5, 5, 1]);
    });
}

#[test]
fn one_that_is_busy_is_asked_until_it_agrees_and_one_that_never_does_is_a_failure() {
    network::alone(|| {
        let count = AtomicUsize::new(0);
        let busy = Peer::start("127.0.0.1:4191", move |stream, _| {
            answer(stream, if count.fetch_add(1, Ordering::SeqCst) < 3 { 503 } else { 200 });
        });
        let istio = answering(15020, 200);
        assert_lines(&quit_at_once().done(), 0, &["istio-proxy", "linkerd-proxy"].map(asked));
        assert_eq!((istio.requests().len(), busy.requests().len()), (1, 4));
        drop(busy);
        let _silent = Peer::start("127.0.0.1:8200", |stream, _| hold(stream));
        let done = quit(&[("STARTUP", "0"), ("TIMEOUT", "6s")]).done();
        let why = "vault-agent accepted a connection but did not confirm the request: \
            \"http://localhost:8200/agent/v1/quit\": no response in time";
        assert_lines(&done, 125, &[asked("istio-proxy"), failed("sidecars", why)]);
    });
}

#[test]
fn one_that_takes_long_holds_up_no_other_and_is_asked_once() {
    network::alone(|| {
        // Istio's agent responds when Consul's dataplane is asked, at the second of its addresses.
        let both = Arc::new(Barrier::new(2));
        let peers = [15020, 20300].map(|port| {
            let both = both.clone();
            Peer::start(&format!("127.0.0.1:{port}"), move |stream, _| {
                both.wait();
                answer(stream, 200);
            })
        });
        let done = quit_at_once().done();
        let mut lines = done.lines();
        lines.sort_unstable();
        assert_eq!((done.code(), lines), (0, vec![&*asked("consul-dataplane"), &*asked("istio-proxy")]), "{done:?}");
        assert_took(&done, 0.0, 4.5);
        assert!(peers.iter().all(|peer| peer.requests().len() == 1));
    });
}

#[test]
fn what_does_not_speak_http_or_knows_no_post_is_a_warning_beside_one_that_agrees() {
    for response in ["-ERR unknown command\r\n", "HTTP/1.0 501 Unsupported method\r\n\r\n"] {
        network::alone(|| {
            let (sidecar, other) = (answering(15020, 200), 8200);
            let response = response.to_owned();
            let other = Peer::start(&format!("127.0.0.1:{other}"), move |mut stream, _| {
                let _ = stream.write_all(response.as_bytes());
            });
            let done = quit(&[("STARTUP", "0"), ("TIMEOUT", "1m")]).done();
            let (code, lines) = (done.code(), done.lines());
            assert_eq!((code, lines.len(), lines[0]), (0, 2, &*asked("istio-proxy")), "{done:?}");
            assert!(lines[1].starts_with("wrapper: sidecars: warning: vault-agent, or another program at"), "{done:?}");
            assert_eq!((sidecar.requests().len(), other.requests().len()), (1, 1));
        });
    }
}

#[test]
fn one_that_is_late_is_asked_while_another_does_not_respond() {
    network::alone(|| {
        let silent = Peer::start("127.0.0.1:3500", |stream, _| hold(stream));
        let except = "envoy-quit,linkerd-shutdown,cloudsql-quit";
        let mut run = quit(&[("STARTUP", "1m"), ("TIMEOUT", "2m"), ("EXCEPT", except)]).running();
        eventually("it is asked", || silent.requests().len() == 1);
        let late = [(15020, "istio-proxy"), (19000, "consul-dataplane"), (8200, "vault-agent")].map(|(port, name)| {
            let peer = answering(port, 200);
            run.until_stderr_has(&asked(name));
            peer
        });
        assert_eq!(silent.requests().len(), 1, "within the five seconds of its request");
        assert!(!run.has_ended());
        drop(silent);
        let done = run.done();
        let lines = done.lines();
        assert_eq!((done.code(), lines.len(), lines[3]), (0, 4, "wrapper: sidecars: daprd is gone"), "{done:?}");
        assert!(late.iter().all(|peer| peer.requests().len() == 1));
    });
}

#[test]
fn one_that_is_gone_is_so_though_another_takes_all_of_the_time() {
    network::alone(|| {
        let _silent = Peer::start("127.0.0.1:3500", |stream, _| hold(stream));
        let istio = answering(15020, 200);
        let settings = [("STARTUP", "0"), ("TIMEOUT", "3s"), ("WAIT_GONE", "true")];
        let mut run = quit(&settings).running();
        run.until_stderr_has(&asked("istio-proxy"));
        drop(istio);
        let done = run.done();
        assert!(!done.stderr.contains("still running"), "{done:?}");
        assert!(done.stderr.contains("daprd accepted a connection but did not confirm the request"), "{done:?}");
    });
}

#[test]
fn of_one_that_never_responds_and_those_that_are_absent_only_the_first_is_reported() {
    let ports = [(15020, "istio-proxy"), (4191, "linkerd-proxy"), (3500, "daprd"), (8200, "vault-agent")];
    thread::scope(|threads| {
        for (port, name) in ports {
            threads.spawn(move || {
                network::alone(|| {
                    let silent = Peer::start(&format!("127.0.0.1:{port}"), |stream, _| hold(stream));
                    // More than a request takes that is not responded to.
                    let done = quit(&[("STARTUP", "0"), ("TIMEOUT", "8s")]).done();
                    let (_, _, path) = ADDRESSES.into_iter().find(|(known, ..)| *known == port).unwrap();
                    let why = format!(
                        "{name} accepted a connection but did not confirm the request: \
                        \"http://localhost:{port}{path}\": no response in time"
                    );
                    assert_lines(&done, 125, &[failed("sidecars", &why)]);
                    assert_eq!(silent.requests().len(), 2);
                });
            });
        }
    });
}

#[test]
fn one_that_closes_its_connections_because_it_ends_is_gone() {
    network::alone(|| {
        let peer = Peer::start("127.0.0.1:9901", |stream, _| drop(stream));
        let run = quit(&[("STARTUP", "0"), ("TIMEOUT", "1m")]).running();
        eventually("it is asked", || peer.requests().len() > 1);
        drop(peer);
        assert_lines(&run.done(), 0, &["wrapper: sidecars: Envoy is gone".into()]);
    });
}

#[test]
fn with_wait_gone_the_ports_have_to_be_closed_afterwards() {
    network::alone(|| {
        let peer = answering(4191, 200);
        let mut run = quit(&[("STARTUP", "0"), ("TIMEOUT", "1m"), ("WAIT_GONE", "true")]).running();
        run.until_stderr_has(&asked("linkerd-proxy"));
        eventually("its port is looked at", || peer.requests().len() > 2);
        assert!(!run.has_ended());
        drop(peer);
        assert_lines(&run.done(), 0, &[asked("linkerd-proxy"), "wrapper: sidecars: linkerd-proxy is gone".into()]);
        let _stays = answering(4191, 200);
        let done = quit(&[("STARTUP", "0"), ("TIMEOUT", "6s"), ("WAIT_GONE", "true")]).done();
        let why = "linkerd-proxy is still running: \"http://localhost:4191/\" still accepts connections";
        assert_lines(&done, 125, &[asked("linkerd-proxy"), failed("sidecars", why)]);
    });
}

#[test]
fn the_settings_of_a_sidecars_own_hook_say_where_it_is_and_daprs_token_is_for_dapr() {
    network::alone(|| {
        let (istio, dapr) = (Peer::with_status(200), Peer::with_status(200));
        let mut run = quit_at_once();
        run.env("HOOK_ISTIO_QUIT_URL", istio.url("/q"));
        run.env("DAPR_HTTP_PORT", dapr.port().to_string()).env("DAPR_API_TOKEN", "secret");
        assert_lines(&run.done(), 0, &["istio-proxy", "daprd"].map(asked));
        assert!(istio.requests()[0].starts_with("POST /q HTTP/1.1\r\n") && !istio.requests()[0].contains("secret"));
        assert!(dapr.requests()[0].contains("dapr-api-token: secret\r\n"), "{:?}", dapr.requests());
    });
}
