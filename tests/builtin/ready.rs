//! The readiness gates: the command starts once the sidecar is ready; if it never is, the settings decide.

use crate::harness::{
    Done, Run, assert_took,
    envoy::Envoy,
    eventually, failed, kill, network, not_ready,
    peer::{Peer, hold},
    role::in_both_roles,
    unfit, without_time, wrapper,
};
use nix::libc::{SIGINT, SIGTERM};
use std::{
    io::Write,
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

struct Gate {
    hook: &'static str,
    /// The sidecar's name in the log.
    name: &'static str,
    /// The default ports and path of its readiness endpoint.
    ports: &'static [u16],
    path: &'static str,
}

const ISTIO: Gate = Gate { hook: "istio-ready", name: "istio-proxy", ports: &[15021], path: "/healthz/ready" };
const ENVOY: Gate = Gate { hook: "envoy-ready", name: "Envoy", ports: &[9901, 15000, 19000], path: "/ready" };
const LINKERD: Gate = Gate { hook: "linkerd-ready", name: "linkerd-proxy", ports: &[4191], path: "/ready" };
const HTTP: Gate = Gate { hook: "http-ready", name: "http-ready", ports: &[], path: "/any/path?query" };

/// The command: what it prints shows that it was started, and its exit code that wrapper has none of its own.
const COMMAND: [&str; 3] = ["sh", "-c", "echo started; exit 7"];

/// Nobody listens there, on any machine.
const NOBODY: &str = "http://localhost:1/";

/// Holds a promise for each gate, all at once: most of it is waiting.
fn each(promise: impl Fn(&Gate) + Sync) {
    let promise = &promise;
    thread::scope(|threads| {
        for gate in [&ISTIO, &ENVOY, &LINKERD, &HTTP] {
            let thread = thread::Builder::new().name(gate.hook.into());
            thread.spawn_scoped(threads, move || promise(gate)).unwrap();
        }
    });
}

impl Gate {
    fn variable(&self, end: &str) -> String {
        format!("HOOK_{}_{end}", self.hook.to_uppercase().replace('-', "_"))
    }

    /// wrapper with this gate. The command is still to be named.
    fn before(&self, settings: &[(&str, &str)]) -> Command {
        // On a busy machine a hook waits for the compiler, which has the lowest priority; these tests measure time.
        let mut run = wrapper().with(&["--plugin-prepare", "off", "--before", self.hook]);
        run.envs(settings.iter().map(|(end, value)| (self.variable(end), value)));
        run
    }

    /// The same, waiting for this peer.
    fn before_at(&self, peer: &Peer, settings: &[(&str, &str)]) -> Command {
        let mut run = self.before(settings);
        run.env(self.variable("URL"), peer.url(self.path));
        run
    }

    /// The command ran, and the gate had only this to say.
    #[track_caller]
    fn assert_started(&self, done: &Done, words: &str) {
        let line = format!("wrapper: {}: {words}", self.hook);
        assert_eq!((done.code(), done.stdout.as_str(), without_time(done.line())), (7, "started\n", line));
    }

    /// The gate opened.
    #[track_caller]
    fn assert_opened(&self, done: &Done) {
        self.assert_started(done, &format!("{} is ready", self.name));
    }

    /// The command did not run, and the gate says why.
    #[track_caller]
    fn assert_closed(&self, done: &Done, words: &str) {
        self.assert_stays_closed(done, &failed(self.hook, words));
    }

    #[track_caller]
    fn assert_stays_closed(&self, done: &Done, line: &str) {
        assert_eq!((done.code(), done.stdout.as_str(), &*without_time(done.line())), (125, "", line));
    }

    /// The line has the URL without its query, in which a token may be.
    fn not_ready(&self, url: &str, why: &str) -> String {
        let url = url.split('?').next().unwrap();
        format!("{} is {}", self.name, not_ready(self.hook, &format!("\"{url}\": {why}")))
    }

    fn absent(&self) -> String {
        format!("{} is considered absent: \"{NOBODY}\": connection refused", self.name)
    }
}

fn answer(mut stream: TcpStream, status: u16) {
    let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
}

/// Answers 503 until it is set to ready, and 200 then.
fn starting() -> (Peer, Arc<AtomicBool>) {
    let ready = Arc::new(AtomicBool::new(false));
    let told = ready.clone();
    let handle = move |stream, _: &str| answer(stream, if told.load(Ordering::SeqCst) { 200 } else { 503 });
    (Peer::start("127.0.0.1:0", handle), ready)
}

/// Ready, where it is expected.
fn listening(host: &str, port: u16) -> Peer {
    Peer::start(&format!("{host}:{port}"), |stream, _| answer(stream, 200))
}

#[track_caller]
fn assert_asked(peer: &Peer, times: usize, path: &str) {
    let requests = peer.requests();
    let question = format!("GET {path} HTTP/1.1\r\n");
    assert!(requests.iter().all(|request| request.starts_with(&question)), "{requests:?}");
    assert_eq!(requests.len(), times, "{requests:?}");
}

#[test]
fn a_gate_opens_on_the_first_2xx_and_the_command_starts() {
    each(|gate| {
        for status in [200, 204, 299] {
            let peer = Peer::with_status(status);
            gate.assert_opened(&gate.before_at(&peer, &[]).with(&COMMAND).done());
            assert_asked(&peer, 1, gate.path);
        }
    });
}

#[test]
fn a_command_is_not_started_while_the_answer_is_503_and_is_when_it_is_200() {
    each(|gate| {
        let (peer, ready) = starting();
        let mut run = gate.before_at(&peer, &[]).with(&["--plugin-timeout", "1m"]).with(&COMMAND).running();
        eventually("it is asked again and again", || peer.requests().len() > 3);
        assert!(!run.has_ended() && run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
        ready.store(true, Ordering::SeqCst);
        gate.assert_opened(&run.done());
    });
}

#[test]
fn no_other_answer_than_2xx_opens_a_gate() {
    const ANSWERS: [u16; 6] = [302, 304, 404, 429, 500, 200];
    let count = AtomicUsize::new(0);
    let peer = Peer::start("127.0.0.1:0", move |stream, _| {
        answer(stream, ANSWERS[count.fetch_add(1, Ordering::SeqCst).min(ANSWERS.len() - 1)]);
    });
    let run = ISTIO.before_at(&peer, &[("PERIOD", "10ms")]).with(&COMMAND);
    ISTIO.assert_opened(&run.done());
    assert_asked(&peer, ANSWERS.len(), ISTIO.path);
}

#[test]
fn one_that_is_never_ready_is_125_and_the_command_is_not_started_and_the_after_hooks_run() {
    each(|gate| {
        let peer = Peer::with_status(503);
        let run = gate.before_at(&peer, &[]).plugin("echo").with(&["--plugin-timeout", "6s"]).with(&COMMAND);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""));
        let why = gate.not_ready(&peer.url(gate.path), "answered 503");
        let lines = [failed(gate.hook, &why), "wrapper: echo: \"sh\" was not started: a --before hook failed".into()];
        assert_eq!(done.lines().into_iter().map(without_time).collect::<Vec<_>>(), lines);
        assert_took(&done, 2.0, 20.0);
    });
}

#[test]
fn a_gate_that_does_not_open_in_its_time_lets_the_command_start_with_a_warning_if_that_was_chosen() {
    each(|gate| {
        let peer = Peer::with_status(503);
        let done = gate.before_at(&peer, &[("TIMEOUT", "6s"), ("ON_TIMEOUT", "start")]).with(&COMMAND).done();
        let why = gate.not_ready(&peer.url(gate.path), "answered 503");
        gate.assert_started(&done, &format!("warning: {why}; starting the command anyway"));
    });
}

#[test]
fn a_gates_own_time_is_kept() {
    let peer = Peer::with_status(503);
    let words = ISTIO.not_ready(&peer.url(ISTIO.path), "answered 503");
    let runs = [("2s", 1.4, 6.0), ("4s", 3.4, 10.0)].map(|(timeout, at_least, at_most)| {
        let settings = [("TIMEOUT", timeout), ("ON_TIMEOUT", "fail")];
        let run = ISTIO.before_at(&peer, &settings).with(&["--plugin-timeout", "40s"]).with(&COMMAND);
        (run.running(), at_least, at_most)
    });
    for (run, at_least, at_most) in runs {
        let done = run.done();
        ISTIO.assert_closed(&done, &words);
        assert_took(&done, at_least, at_most);
        // Half a second less than its timeout, or less than that on a busy machine.
        let (_, rest) = done.line().split_once(" is not ready after ").unwrap();
        let waited: f64 = rest.split_once(" s: ").unwrap().0.parse().unwrap();
        assert!((0.1..=at_least + 0.1).contains(&waited) && waited <= done.elapsed.as_secs_f64(), "{done:?}");
    }
}

#[test]
fn a_wrong_setting_is_125_and_named_and_no_request_is_sent() {
    const TIME: &str = "a time such as 500ms, 10s or 1m30s";
    let peer = Peer::with_status(200);
    for (setting, value, what) in [
        ("PERIOD", "often", TIME),
        ("STARTUP", "soon", TIME),
        ("ON_TIMEOUT", "wait", "one of start, fail"),
        ("ABSENT", "ignore", "one of wait, start, fail"),
    ] {
        let done = ISTIO.before_at(&peer, &[(setting, value)]).with(&COMMAND).done();
        let words = format!("{}=\"{value}\": not {what}", ISTIO.variable(setting));
        ISTIO.assert_stays_closed(&done, &unfit(ISTIO.hook, &words));
    }
    assert_asked(&peer, 0, ISTIO.path);
}

#[test]
fn a_gates_own_timeout_may_be_longer_than_that_of_other_hooks() {
    let (peer, ready) = starting();
    let gate = ISTIO.before_at(&peer, &[("TIMEOUT", "1m")]);
    let run = gate.with(&["--plugin-timeout", "1s"]).with(&COMMAND).running();
    // At four a second it has waited for more than two by then.
    eventually("it asks on", || peer.requests().len() > 9);
    ready.store(true, Ordering::SeqCst);
    ISTIO.assert_opened(&run.done());
}

#[test]
fn between_two_questions_passes_the_period() {
    let periods = [(Some("50ms"), 50), (None, 250), (Some("1s"), 1000)];
    let runs = periods.map(|(period, milliseconds)| {
        let peer = Peer::with_status(503);
        let mut run = ISTIO.before_at(&peer, &[("TIMEOUT", "5s")]).with(&COMMAND);
        run.envs(period.map(|period| (ISTIO.variable("PERIOD"), period)));
        (run.running(), peer, Duration::from_millis(milliseconds))
    });
    for (run, peer, period) in runs {
        let done = run.done();
        let pauses = peer.requests().len() as u32 - 1;
        assert!(pauses >= 1 && pauses * period <= done.elapsed, "{pauses} pauses of {period:?}: {done:?}");
        // A third of what there is time for: other tests run beside.
        assert!(3 * (pauses + 1) * period >= Duration::from_secs(2), "{pauses} pauses of {period:?}: {done:?}");
    }
}

#[test]
fn a_question_that_hangs_is_not_the_last() {
    let first = AtomicBool::new(true);
    let peer = Peer::start("127.0.0.1:0", move |stream, _| match first.swap(false, Ordering::SeqCst) {
        true => hold(stream),
        false => answer(stream, 200),
    });
    let done = ISTIO.before_at(&peer, &[]).with(&COMMAND).done();
    ISTIO.assert_opened(&done);
    assert_took(&done, 1.9, 9.0);
    assert_asked(&peer, 2, ISTIO.path);
}

#[test]
fn a_health_check_that_takes_longer_than_the_first_question_waits_is_answered_in_the_end() {
    for (hook, variable) in [("http-ready", "HOOK_HTTP_READY_URL"), ("ready", "HOOK_READY_FOR")] {
        let peer = Peer::start("127.0.0.1:0", |stream, _| {
            thread::sleep(Duration::from_millis(2_500));
            answer(stream, 200);
        });
        let mut run = wrapper().with(&["--before", hook, "--plugin-timeout", "1m"]).with(&COMMAND);
        run.env(variable, peer.url("/health"));
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
        // The first has 2 s, the second 4 s.
        assert_took(&done, 4.4, 30.0);
    }
}

#[test]
fn a_stop_signal_ends_the_wait_at_once_and_the_command_is_not_started() {
    in_both_roles(|role| {
        for (signal, code) in [(SIGTERM, 143), (SIGINT, 130)] {
            for peer in [Peer::with_status(503), Peer::start("127.0.0.1:0", |stream, _| hold(stream))] {
                let mut run = role.wrapper().with(&["--before", "istio-ready", "--plugin", "echo"]);
                run.env("HOOK_ISTIO_READY_URL", peer.url("/"));
                let run = run.with(&["--plugin-timeout", "1m"]).with(&COMMAND).running();
                eventually("it is asked", || !peer.requests().is_empty());
                let told = Instant::now();
                kill(role.pid(&run), signal);
                let done = run.done();
                assert!(told.elapsed() < Duration::from_secs(8), "{role:?} {:?}: {done:?}", told.elapsed());
                assert_eq!((done.code(), done.stdout.as_str()), (code, ""), "{role:?}: {done:?}");
                let lines = done.lines();
                assert_eq!(lines[0], "wrapper: hook \"istio-ready\": ended-early: wrapper was asked to stop");
                assert!(lines[1].ends_with("was not started: a stop signal arrived first"), "{lines:?}");
            }
        }
    });
}

#[test]
fn one_that_refuses_is_waited_for_until_the_time_is_up() {
    each(|gate| {
        let run = gate.before(&[("URL", NOBODY), ("STARTUP", "0")]).with(&["--plugin-timeout", "3s"]).with(&COMMAND);
        let done = run.done();
        gate.assert_closed(&done, &gate.not_ready(NOBODY, "connection refused"));
        assert_took(&done, 2.0, 10.0);
    });
}

#[test]
fn one_that_refuses_is_absent_after_five_seconds_or_the_startup_time_if_that_was_chosen() {
    each(|gate| {
        let run = |absent: &'static str, startup: &[(&str, &str)]| {
            let settings = [&[("URL", NOBODY), ("ABSENT", absent)], startup].concat();
            gate.before(&settings).with(&["--plugin-timeout", "30s"]).with(&COMMAND).running()
        };
        let runs = [
            (run("start", &[("STARTUP", "1s")]), 1.0, 4.9),
            (run("fail", &[("STARTUP", "1s")]), 1.0, 4.9),
            (run("start", &[]), 4.9, 20.0),
        ];
        let [started, failed, after_five] = runs.map(|(run, at_least, at_most)| {
            let done = run.done();
            assert_took(&done, at_least, at_most);
            done
        });
        let warning = format!("warning: {}; starting the command anyway", gate.absent());
        gate.assert_started(&after_five, &warning);
        gate.assert_started(&started, &warning);
        gate.assert_closed(&failed, &gate.absent());
    });
}

#[test]
fn one_that_refuses_first_and_is_ready_then_opens_the_gate() {
    each(|gate| {
        for absent in ["wait", "start", "fail"] {
            network::alone(|| {
                let port = gate.ports.last().copied().unwrap_or(8080);
                let url = format!("http://localhost:{port}{}", gate.path);
                let mut run = gate.before(&[("ABSENT", absent), ("STARTUP", "2m"), ("PERIOD", "50ms")]);
                if gate.ports.is_empty() {
                    run.env(gate.variable("URL"), url);
                }
                let run = run.with(&["--plugin-timeout", "1m"]).with(&COMMAND).running();
                // Once around is each port on both addresses of loopback.
                let around = 2 * gate.ports.len().max(1);
                eventually("it was refused, and again", || network::refusals() > around);
                let late = listening("127.0.0.1", port);
                gate.assert_opened(&run.done());
                assert_asked(&late, 1, gate.path);
            });
        }
    });
}

#[test]
fn one_that_answers_or_hangs_is_not_absent() {
    each(|gate| {
        let answering = (Peer::with_status(503), "answered 503");
        let silent = (Peer::start("127.0.0.1:0", |stream, _| hold(stream)), "no response in time");
        for (peer, why) in [answering, silent] {
            let runs = ["start", "fail"].map(|absent| {
                let settings = [("ABSENT", absent), ("STARTUP", "0"), ("TIMEOUT", "3s")];
                gate.before_at(&peer, &settings).with(&COMMAND).running()
            });
            let words = gate.not_ready(&peer.url(gate.path), why);
            runs.into_iter().for_each(|run| gate.assert_closed(&run.done(), &words));
        }
    });
}

#[test]
fn one_that_has_answered_and_refuses_now_is_not_absent() {
    let peer = Peer::with_status(503);
    let url = peer.url(ISTIO.path);
    let settings = [("ABSENT", "start"), ("STARTUP", "0"), ("TIMEOUT", "4s")];
    let run = ISTIO.before_at(&peer, &settings).with(&COMMAND).running();
    eventually("it is asked", || !peer.requests().is_empty());
    drop(peer);
    ISTIO.assert_closed(&run.done(), &ISTIO.not_ready(&url, "connection refused"));
}

#[test]
fn any_one_of_several_addresses_opens_a_gate() {
    each(|gate| {
        let (not_ready, ready) = (Peer::with_status(503), Peer::with_status(200));
        let [no, yes] = [&not_ready, &ready].map(|peer| peer.url(gate.path));
        let lists = [format!("{NOBODY},{no},{yes}"), format!("{no} , {yes}, {NOBODY}"), format!("{yes},{no}")];
        for (place, urls) in lists.iter().enumerate() {
            gate.assert_opened(&gate.before(&[("URL", urls)]).with(&COMMAND).done());
            assert_asked(&ready, place + 1, gate.path);
        }
        // A server after one that is ready gets no request.
        assert_asked(&not_ready, 2, gate.path);
    });
}

#[test]
fn an_address_that_was_not_granted_is_named_at_once() {
    let done = HTTP.before(&[("URL", "http://10.1.2.3/ready")]).with(&COMMAND).done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
    let words = "not allowed: http://10.1.2.3:80; to allow it: HOOK_HTTP_READY_ALLOW=http://10.1.2.3:80";
    assert!(done.lines()[0].ends_with(words), "{done:?}");
    assert_took(&done, 0.0, 5.0);
}

#[test]
fn a_gate_without_an_address_of_its_own_names_the_variable_that_is_missing() {
    let line = unfit(HTTP.hook, "HOOK_HTTP_READY_URL is not set");
    HTTP.assert_stays_closed(&HTTP.before(&[]).with(&COMMAND).done(), &line);
    let done = wrapper().with(&["--before", "data-base=http-ready"]).with(&COMMAND).done();
    assert_eq!(done.code(), 125);
    assert_eq!(done.line(), unfit("data-base", "HOOK_DATA_BASE_URL is not set"));
}

#[test]
fn gates_with_names_of_their_own_have_settings_of_their_own_and_open_in_their_order() {
    let ((database, database_ready), (queue, queue_ready)) = (starting(), starting());
    let mut run = wrapper().with(&["--before", "database=http-ready", "--before", "queue=http-ready"]);
    run.env("HOOK_DATABASE_URL", database.url("/database")).env("HOOK_QUEUE_URL", queue.url("/queue"));
    run.env("HOOK_HTTP_READY_URL", NOBODY);
    let mut run = run.with(&["--plugin-timeout", "1m"]).with(&COMMAND).running();
    eventually("the first is asked", || database.requests().len() > 1);
    assert_asked(&queue, 0, "");
    database_ready.store(true, Ordering::SeqCst);
    eventually("the second is asked", || queue.requests().len() > 1);
    assert!(!run.has_ended() && run.stdout_so_far().is_empty());
    queue_ready.store(true, Ordering::SeqCst);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
    let marks: Vec<_> = done.lines().iter().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(marks, ["database", "queue"]);
    assert!(database.requests()[0].starts_with("GET /database ") && queue.requests()[0].starts_with("GET /queue "));
}

#[test]
fn each_gate_asks_at_the_usual_addresses_of_what_it_waits_for() {
    each(|gate| {
        for port in gate.ports {
            for host in ["127.0.0.1", "[::1]"] {
                network::alone(|| {
                    let peer = listening(host, *port);
                    gate.assert_opened(&gate.before(&[]).with(&COMMAND).done());
                    assert_asked(&peer, 1, gate.path);
                });
            }
        }
    });
}

#[test]
fn no_usual_address_is_asked_when_another_is_named() {
    each(|gate| {
        network::alone(|| {
            let usual: Vec<_> = gate.ports.iter().map(|port| listening("127.0.0.1", *port)).collect();
            let named = listening("127.0.0.1", 8080);
            gate.assert_opened(&gate.before_at(&named, &[]).with(&COMMAND).done());
            assert!(usual.iter().all(|peer| peer.requests().is_empty()), "{}", gate.hook);
        });
    });
}

#[test]
fn a_real_envoy_opens_its_gate_when_it_is_there_and_ready() {
    for port in [9901, 15000] {
        network::alone(|| {
            let run = ENVOY.before(&[]).with(&["--plugin-timeout", "1m"]).with(&COMMAND).running();
            eventually("nobody was there yet", || network::refusals() > 2 * ENVOY.ports.len());
            let _envoy = Envoy::start(port);
            ENVOY.assert_opened(&run.done());
        });
    }
}

#[test]
fn questions_that_hang_take_no_longer_than_the_gates_time() {
    let peers = [(); 3].map(|()| Peer::start("127.0.0.1:0", |stream, _| hold(stream)));
    let urls = peers.each_ref().map(|peer| peer.url("/")).join(",");
    let done = ENVOY.before(&[("URL", &urls), ("TIMEOUT", "4s")]).with(&COMMAND).done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
    assert!(done.line().starts_with(&failed(ENVOY.hook, "Envoy is not ready after ")), "{done:?}");
    assert_took(&done, 3.4, 15.0);
}

#[test]
fn a_period_that_is_longer_than_the_gates_time_does_not_shorten_it() {
    let peer = Peer::with_status(503);
    let done = ISTIO.before_at(&peer, &[("TIMEOUT", "6s"), ("PERIOD", "1m")]).with(&COMMAND).done();
    ISTIO.assert_closed(&done, &ISTIO.not_ready(&peer.url(ISTIO.path), "answered 503"));
    assert_took(&done, 2.4, 15.0);
}

#[test]
fn a_response_is_reported_rather_than_a_refusal_of_another_address() {
    let peer = Peer::with_status(503);
    let urls = format!("{},{NOBODY}", peer.url("/ready"));
    let done = ENVOY.before(&[("URL", &urls), ("TIMEOUT", "6s")]).with(&COMMAND).done();
    ENVOY.assert_closed(&done, &ENVOY.not_ready(&peer.url("/ready"), "answered 503"));
}

#[test]
fn any_gate_with_a_name_of_its_own_has_settings_of_its_own() {
    each(|gate| {
        let peer = Peer::with_status(200);
        let mut run = wrapper().with(&["--plugin-timeout", "20s", "--before", &format!("mesh={}", gate.hook)]);
        run.env("HOOK_MESH_URL", peer.url(gate.path)).env(gate.variable("URL"), NOBODY);
        assert_eq!(run.with(&COMMAND).done().code(), 7, "{}", gate.hook);
        assert_asked(&peer, 1, gate.path);
    });
}
