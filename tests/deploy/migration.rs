//! The manifests of deploy/migration.md for users of other programs, run as they stand there beside a proxy that is
//! ready, late, never ready or absent.

use super::invocation::Invocation;
use crate::harness::{
    Done, Run, assert_took, eventually, failed,
    manifests::{Manifest, in_page, pod},
    network, not_ready,
    peer::{Peer, free_port},
    repository, without_time,
};
use std::{
    fs,
    io::Write,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A manifest of the page, with the headings above it.
struct Scenario {
    program: String,
    heading: String,
    invocation: Invocation,
}

/// The page's manifests, read once in a test run.
fn scenarios() -> &'static [Scenario] {
    static ALL: OnceLock<Vec<Scenario>> = OnceLock::new();
    ALL.get_or_init(|| {
        let page = fs::read_to_string(repository("deploy/migration.md")).unwrap();
        let mut headings = Vec::new();
        for section in page.split("\n## ").skip(1) {
            let program = section.lines().next().unwrap();
            for scenario in section.split("\n### ").skip(1) {
                let heading = scenario.lines().next().unwrap();
                assert_eq!(scenario.matches("```yaml\n").count(), 1, "{program}, {heading}: one manifest");
                headings.push((program, heading));
            }
        }
        let manifests = in_page("deploy/migration.md");
        assert_eq!(manifests.len(), headings.len(), "there are manifests without a heading");
        assert_eq!(page.matches("```").count(), 2 * headings.len(), "there are blocks that are no manifest");
        let scenario = |((program, heading), manifest): ((&str, &str), Manifest)| {
            let invocation = Invocation::read(&pod(&manifest.object).unwrap()["containers"][0], None);
            let invocation = invocation.unwrap_or_else(|| panic!("{program}, {heading}: no wrapper"));
            assert_eq!(invocation.program, "/wrapper", "{program}, {heading}");
            assert!(!invocation.command.is_empty(), "{program}, {heading}: no command");
            Scenario { program: program.into(), heading: heading.into(), invocation }
        };
        headings.into_iter().zip(manifests).map(scenario).collect()
    })
}

/// A program whose users come to us, and the proxy that it is for.
struct Origin {
    name: &'static str,
    proxy: &'static str,
    gate: &'static str,
    quit: &'static str,
    ready_path: &'static str,
    quit_path: &'static str,
}

const SCUTTLE: Origin = Origin {
    name: "scuttle",
    proxy: "istio-proxy",
    gate: "istio-ready",
    quit: "istio-quit",
    ready_path: "/healthz/ready",
    quit_path: "/quitquitquit",
};
const LINKERD_AWAIT: Origin = Origin {
    name: "linkerd-await",
    proxy: "linkerd-proxy",
    gate: "linkerd-ready",
    quit: "linkerd-shutdown",
    ready_path: "/ready",
    quit_path: "/shutdown",
};

/// Holds a promise for the users of both, at once: most of it is waiting.
fn both(promise: impl Fn(&Origin) + Sync) {
    let promise = &promise;
    thread::scope(|threads| {
        for origin in [&SCUTTLE, &LINKERD_AWAIT] {
            let thread = thread::Builder::new().name(origin.name.into());
            thread.spawn_scoped(threads, move || promise(origin)).unwrap();
        }
    });
}

impl Origin {
    /// The manifest of one of its scenarios, with its program replaced and the proxy at this port.
    fn run(&self, scenario: &str, port: u16, script: &str) -> Command {
        let found = scenarios().iter().find(|it| it.program == self.name && it.heading == scenario);
        let scenario = found.unwrap_or_else(|| panic!("{} has no {scenario:?}", self.name));
        let mut run = scenario.invocation.with_script(script);
        run.env(url_of(self.gate), format!("http://localhost:{port}{}", self.ready_path));
        run.env(url_of(self.quit), format!("http://localhost:{port}{}", self.quit_path));
        run
    }

    /// The number of requests to the proxy: whether it is ready, and to quit.
    #[track_caller]
    fn asked(&self, proxy: &Peer) -> (usize, usize) {
        let requests = proxy.requests();
        let count = |line: &str| requests.iter().filter(|request| request.starts_with(line)).count();
        let ready = count(&format!("GET {} HTTP/1.1\r\n", self.ready_path));
        let quit = count(&format!("POST {} HTTP/1.1\r\n", self.quit_path));
        assert_eq!(ready + quit, requests.len(), "{requests:?}");
        (ready, quit)
    }

    fn answers_ready(&self) -> String {
        format!("wrapper: {}: {} is ready", self.gate, self.proxy)
    }

    fn answers_quit(&self) -> String {
        format!("wrapper: {}: asked {} to quit (200)", self.quit, self.proxy)
    }

    fn not_ready(&self, proxy: &Peer) -> String {
        let missing = format!("\"{}\": answered 503", proxy.url(self.ready_path));
        format!("{} is {}", self.proxy, not_ready(self.gate, &missing))
    }
}

/// `HOOK_ISTIO_QUIT_URL`
fn url_of(hook: &str) -> String {
    format!("HOOK_{}_URL", hook.to_uppercase().replace('-', "_"))
}

/// Answers 503 until it is set to ready, and agrees to quit.
fn proxy(ready: bool) -> (Peer, Arc<AtomicBool>) {
    let state = Arc::new(AtomicBool::new(ready));
    let told = state.clone();
    let peer = Peer::start("127.0.0.1:0", move |mut stream, head| {
        let status = if head.starts_with("GET ") && !told.load(Ordering::SeqCst) { 503 } else { 200 };
        let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
    });
    (peer, state)
}

#[track_caller]
fn assert_ended(done: &Done, code: i32, stdout: &str, lines: &[String]) {
    assert_eq!((done.code(), done.stdout.as_str()), (code, stdout), "{done:?}");
    assert_eq!(done.lines().into_iter().map(without_time).collect::<Vec<_>>(), lines);
}

/// Ends of a program, and their exit codes.
const ENDS: [(&str, i32); 3] = [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)];

#[test]
fn every_manifest_of_the_page_runs_its_program_beside_a_proxy_that_is_ready() {
    let (proxy, _) = proxy(true);
    for Scenario { program, heading, invocation } in scenarios() {
        let mut run = invocation.waiting_for(&proxy.url("/")).with_script("echo \"$@\"; exit 7");
        run.envs(invocation.hooks().iter().map(|hook| (format!("HOOK_{hook}_URL"), proxy.url("/"))));
        let done = run.done();
        assert_eq!(done.code(), 7, "{program}, {heading}: {done:?}");
        assert_eq!(done.stdout.trim(), invocation.command[1..].join(" "), "{program}, {heading}: {done:?}");
        // `ready` has targets, and no URL.
        let mut lines = done.stderr.lines().filter(|line| !line.ends_with("there is no setting HOOK_READY_URL"));
        assert!(!lines.any(|line| line.contains("wrapper: hook")), "{program}, {heading}: {done:?}");
    }
}

/// A manifest of the page beside a proxy that agrees to quit, with another program and variables of its own.
fn runs(program: &str, heading: &str, script: &str, env: &[(&str, &str)]) -> (Done, usize) {
    let found = scenarios().iter().find(|it| it.program == program && it.heading == heading);
    let scenario = found.unwrap_or_else(|| panic!("{program} has no {heading:?}"));
    let (proxy, _) = proxy(true);
    let mut run = scenario.invocation.with_script(script);
    run.envs(scenario.invocation.hooks().iter().map(|hook| (format!("HOOK_{hook}_URL"), proxy.url("/"))));
    run.envs(env.iter().copied());
    let done = run.done();
    (done, proxy.requests().len())
}

#[test]
fn a_command_over_the_time_limit_is_stopped_and_the_proxy_is_asked_to_quit() {
    let (done, requests) = runs("timeout", "A time limit", "exec sleep 60", &[("WRAPPER_TIMEOUT", "500ms")]);
    assert_eq!((done.code(), requests), (124, 1), "{done:?}");
    let (done, requests) = runs("timeout", "A time limit", "exit 7", &[]);
    assert_eq!((done.code(), requests), (7, 1), "{done:?}");
}

#[test]
fn a_server_that_sigterm_ends_has_succeeded() {
    for (script, code) in [("kill -15 $$", 0), ("kill -9 $$", 137), ("exit 7", 7)] {
        let (done, _) = runs("tini and dumb-init", "An init for a server that SIGTERM ends", script, &[]);
        assert_eq!(done.code(), code, "{done:?}");
    }
}

#[test]
fn a_server_that_finishes_its_requests_at_sigquit_gets_that_for_sigterm() {
    let heading = "An init for a server that SIGTERM stops too fast";
    let found = scenarios().iter().find(|it| it.heading == heading).unwrap();
    let script = "trap 'echo finished; exit 7' QUIT; trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = found.invocation.with_script(script).running();
    run.until_stdout_has("ready\n");
    run.signal(15);
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (7, "ready\nfinished\n"), "{done:?}");
}

#[test]
fn what_the_command_leaves_behind_finishes_before_the_proxy_is_asked_to_quit() {
    let heading = "An init for a command that leaves processes behind";
    let (done, requests) = runs("tini and dumb-init", heading, "(sleep 1; echo finished) & exit 7", &[]);
    assert_eq!((done.code(), done.stdout.as_str(), requests), (7, "finished\n", 1), "{done:?}");
    let [waiting, quit] = done.lines()[..] else { panic!("{done:?}") };
    assert!(waiting.ends_with("waiting for them") && quit.contains("asked istio-proxy to quit"), "{done:?}");
}

#[test]
fn every_setting_of_a_hook_on_the_page_is_one_of_a_hook_of_that_manifest() {
    const SETTINGS: [&str; 9] =
        ["FOR", "URL", "STARTUP", "WAIT_GONE", "PERIOD", "TIMEOUT", "ON_TIMEOUT", "ABSENT", "ON"];
    for Scenario { program, heading, invocation } in scenarios() {
        let hooks = invocation.hooks();
        let known = |name: &str| {
            hooks.iter().any(|hook| {
                let setting = name.strip_prefix(&format!("HOOK_{hook}_"));
                setting.is_some_and(|setting| SETTINGS.contains(&setting))
            })
        };
        let settings = invocation.env.iter().filter(|(name, _)| name.starts_with("HOOK_"));
        let unknown: Vec<_> = settings.filter(|(name, _)| !known(name)).collect();
        assert!(unknown.is_empty(), "{program}, {heading}: {unknown:?}");
    }
}

#[test]
fn the_command_is_started_with_its_arguments_when_the_proxy_is_ready_and_not_before() {
    both(|origin| {
        let (proxy, ready) = proxy(false);
        let run = origin.run("Wait until it is ready, then start", proxy.port(), "echo \"$@\"; exit 7");
        let mut run = run.running();
        eventually("it is asked again and again", || origin.asked(&proxy).0 > 3);
        assert!(!run.has_ended() && run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
        ready.store(true, Ordering::SeqCst);
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "--date today\n"), "{done:?}");
        assert_eq!(done.lines()[0], origin.answers_ready());
        // scuttle does both with the same settings, linkerd-await only with --shutdown.
        let quits = usize::from(origin.name == "scuttle");
        assert_eq!((origin.asked(&proxy).1, done.lines().len()), (quits, 1 + quits), "{done:?}");
    });
}

#[test]
fn the_proxy_is_asked_to_quit_however_the_command_ends_and_the_exit_code_is_the_commands() {
    both(|origin| {
        for (end, code) in ENDS {
            let (proxy, _) = proxy(true);
            let done = origin.run("Quit on exit", proxy.port(), end).done();
            // scuttle's users have START_WITHOUT_ENVOY here.
            let waits = usize::from(origin.name == "linkerd-await");
            assert_eq!((done.code(), origin.asked(&proxy)), (code, (waits, 1)), "{done:?}");
        }
    });
}

#[test]
fn a_job_that_is_faster_than_its_proxy_waits_for_it_at_its_end() {
    network::alone(|| {
        let (port, script) = (free_port(), "echo ended; exit 7");
        let mut run = SCUTTLE.run("Quit on exit", port, script).running();
        run.until_stdout_has("ended\n");
        let proxy = Peer::start(&format!("127.0.0.1:{port}"), |mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        assert_ended(&run.done(), 7, "ended\n", &[SCUTTLE.answers_quit()]);
        assert_eq!(SCUTTLE.asked(&proxy), (0, 1));
    });
}

#[test]
fn the_proxy_is_never_asked_to_quit_on_failure_and_is_on_success() {
    both(|origin| {
        for (end, code) in ENDS {
            let (proxy, _) = proxy(true);
            let done = origin.run("Never quit on failure", proxy.port(), end).done();
            assert_eq!((done.code(), origin.asked(&proxy)), (code, (1, usize::from(code == 0))), "{done:?}");
        }
    });
}

#[test]
fn the_command_starts_anyway_after_its_timeout_and_the_proxy_is_asked_to_quit() {
    both(|origin| {
        let (proxy, _) = proxy(false);
        let done = origin.run("Start anyway after a timeout", proxy.port(), "echo started; exit 7").done();
        let warning =
            format!("wrapper: {}: warning: {}; starting the command anyway", origin.gate, origin.not_ready(&proxy));
        assert_ended(&done, 7, "started\n", &[warning, origin.answers_quit()]);
        assert_eq!(origin.asked(&proxy).1, 1);
        assert_took(&done, 4.0, 15.0);
    });
}

#[test]
fn the_command_is_not_started_after_its_timeout_and_the_proxy_is_asked_to_quit() {
    both(|origin| {
        let (proxy, _) = proxy(false);
        let done = origin.run("Fail after a timeout", proxy.port(), "echo started; exit 7").done();
        let failure = failed(origin.gate, &origin.not_ready(&proxy));
        assert_ended(&done, 125, "", &[failure, origin.answers_quit()]);
        assert_eq!(origin.asked(&proxy).1, 1);
        assert_took(&done, 4.0, 15.0);
    });
}

#[test]
fn the_same_manifest_runs_without_a_proxy_after_five_seconds_and_with_one_at_once() {
    both(|origin| {
        let run = |port| origin.run("With or without a sidecar", port, "echo started; exit 7").running();
        let (proxy, _) = proxy(true);
        let nobodys = free_port();
        let (without, with) = (run(nobodys), run(proxy.port()));
        let done = with.done();
        assert_ended(&done, 7, "started\n", &[origin.answers_ready(), origin.answers_quit()]);
        let done = without.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
        let absent = format!("warning: {} is considered absent: ", origin.proxy);
        let (gate, quit) =
            (format!("wrapper: {}: {absent}", origin.gate), format!("wrapper: {}: {absent}", origin.quit));
        let lines = done.lines();
        assert!(lines.len() == 2 && lines[0].starts_with(&gate) && lines[1].starts_with(&quit), "{lines:?}");
        assert!(lines[0].ends_with("; starting the command anyway"), "{lines:?}");
        assert!(lines[1].contains(&format!("http://localhost:{nobodys}/")), "{lines:?}");
        assert_took(&done, 5.0, 15.0);
    });
}

#[test]
fn with_hooks_disabled_the_command_starts_at_once_and_no_sidecar_is_probed() {
    both(|origin| {
        let (proxy, _) = proxy(false);
        for (end, code) in ENDS {
            let done = origin.run("No sidecar", proxy.port(), end).done();
            assert_ended(&done, code, "", &[]);
        }
        assert_eq!(origin.asked(&proxy), (0, 0));
    });
}
