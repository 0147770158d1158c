//! What users of other programs are told to write instead: the manifests of deploy/migration.md, run as they stand
//! there beside a proxy that is ready, late, never ready or absent.

use crate::harness::{
    Done, Run, assert_took, eventually, failed,
    peer::{Peer, free_port},
    repository, wrapper,
};
use std::{
    fs,
    io::Write,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What wrapper is told by a container of a manifest.
#[derive(Default)]
struct Container {
    options: Vec<String>,
    /// The Job's program, and its arguments.
    program: Vec<String>,
    env: Vec<(String, String)>,
}

/// The lines that every manifest of the page begins with, and those that some have for the pod.
const HEAD: [&str; 12] = [
    "apiVersion: batch/v1",
    "kind: Job",
    "metadata:",
    "  name: my-job",
    "spec:",
    "  template:",
    "    spec:",
    "      restartPolicy: ",
    "      containers:",
    "        - name: my-job",
    "          image: registry.example/my-job:1.0",
    "          command: ",
];
const METADATA: [&str; 4] = [
    "    metadata:",
    r#"      labels: {sidecar.istio.io/inject: "true"}"#,
    "      annotations: {linkerd.io/inject: enabled}",
    "      annotations: {linkerd.io/inject: enabled, config.linkerd.io/proxy-admin-shutdown: enabled}",
];

impl Container {
    /// Reads a manifest in the one style in which the page has them. What it does not know is an error.
    fn read(manifest: &str) -> Self {
        let (mut command, mut args, mut env) = (None, Vec::new(), None);
        let mut head = HEAD.iter().peekable();
        for line in manifest.lines() {
            if head.peek() == Some(&&"    spec:") && METADATA.contains(&line) {
                continue;
            }
            if let Some(expected) = head.next() {
                let rest = line.strip_prefix(expected).unwrap_or_else(|| panic!("{line:?} is not {expected:?}"));
                match *expected {
                    "          command: " => command = Some(words(rest)),
                    "      restartPolicy: " => assert!(["Never", "OnFailure"].contains(&rest), "{line:?}"),
                    _ => assert_eq!(rest, "", "{line:?}"),
                }
            } else if let Some(rest) = line.strip_prefix("          args: ") {
                assert!(args.is_empty() && env.is_none(), "{line:?} comes late");
                args = words(rest);
            } else if line == "          env:" {
                assert!(env.replace(Vec::new()).is_none(), "{line:?} comes twice");
            } else if let Some(item) = line.strip_prefix("            - ") {
                env.as_mut().unwrap_or_else(|| panic!("{line:?} belongs to nothing")).push(variable(item));
            } else {
                panic!("a line that is not known here: {line:?}");
            }
        }
        let mut options = command.unwrap_or_else(|| panic!("no command: {manifest}"));
        assert_eq!(options.remove(0), "/wrapper", "{manifest}");
        let dashes = options.iter().position(|word| word == "--");
        let mut program = options.split_off(dashes.unwrap_or(0));
        if dashes.is_some() {
            program.remove(0);
        }
        program.extend(args);
        assert!(program.first().is_some_and(|word| !word.starts_with('-')), "no program: {manifest}");
        assert_ne!(env.as_ref().map(Vec::len), Some(0), "an `env:` without a variable: {manifest}");
        Self { options, program, env: env.unwrap_or_default() }
    }

    /// The hooks that it names, before the command and after it.
    fn hooks(&self) -> Vec<&str> {
        let options = self.options.chunks(2).filter_map(|option| match option {
            [name, hook] if name == "--before" || name == "--plugin" => Some(hook.as_str()),
            [flag] if flag == "--kill-group" => None,
            _ => panic!("options that are not known here: {:?}", self.options),
        });
        let listed = self.env.iter().filter(|(name, _)| name == "WRAPPER_PLUGIN_PATH");
        options.chain(listed.map(|(_, hook)| hook.as_str())).collect()
    }

    /// The same with the built wrapper, and this script in place of the program.
    fn run(&self, script: &str) -> Command {
        let mut command = wrapper();
        command.args(&self.options).args(["--", "sh", "-c", script]).args(&self.program);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A list of strings in YAML's flow style and double quotes, which is then JSON too.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|error| panic!("{list}: {error}"))
}

/// `{name: NAME, value: value}`, where the value is a string to YAML too.
fn variable(item: &str) -> (String, String) {
    let pair = item.strip_prefix("{name: ").and_then(|item| item.strip_suffix('}')?.split_once(", value: "));
    let (name, value) = pair.unwrap_or_else(|| panic!("not a variable: {item:?}"));
    assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'), "{item:?}");
    if value.starts_with('"') {
        return (name.into(), serde_json::from_str(value).unwrap_or_else(|error| panic!("{item}: {error}")));
    }
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let other = ["true", "false", "yes", "no", "on", "off", "null"].contains(&value) || value.parse::<f64>().is_ok();
    assert!(plain && !other && !value.is_empty(), "not a string without quotes: {item:?}");
    (name.into(), value.into())
}

/// The page's manifests, each with the headings above it.
fn manifests() -> Vec<(String, String, Container)> {
    let page = fs::read_to_string(repository("deploy/migration.md")).unwrap();
    let mut found = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let program = section.lines().next().unwrap();
        for scenario in section.split("\n### ").skip(1) {
            let heading = scenario.lines().next().unwrap();
            let blocks: Vec<_> = scenario.split("```yaml\n").skip(1).collect();
            let [block] = blocks.as_slice() else { panic!("{program}, {heading}: {} manifests", blocks.len()) };
            let manifest = block.split_once("```").unwrap().0;
            found.push((program.into(), heading.into(), Container::read(manifest)));
        }
    }
    assert_eq!(page.matches("```").count(), 2 * found.len(), "there are blocks that are not read");
    found
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
        let found = manifests().into_iter().find(|(program, heading, _)| program == self.name && heading == scenario);
        let (.., container) = found.unwrap_or_else(|| panic!("{} has no {scenario:?}", self.name));
        let mut run = container.run(script);
        run.env(url_of(self.gate), format!("http://localhost:{port}{}", self.ready_path));
        run.env(url_of(self.quit), format!("http://localhost:{port}{}", self.quit_path));
        run
    }

    /// What the proxy was asked: how often whether it is ready, and how often to quit.
    #[track_caller]
    fn asked(&self, proxy: &Peer) -> (usize, usize) {
        let requests = proxy.requests();
        let count = |line: &str| requests.iter().filter(|request| request.starts_with(line)).count();
        let ready = count(&format!("GET {} HTTP/1.1\r\n", self.ready_path));
        let quit = count(&format!("POST {} HTTP/1.1\r\n", self.quit_path));
        assert_eq!(ready + quit, requests.len(), "{requests:?}");
        (ready, quit)
    }

    fn says_ready(&self) -> String {
        format!("wrapper: {}: {} is ready", self.gate, self.proxy)
    }

    fn says_quit(&self) -> String {
        format!("wrapper: {}: asked {} to quit (200)", self.quit, self.proxy)
    }

    fn not_ready(&self, proxy: &Peer) -> String {
        format!("{} is not ready: \"{}\": answered 503", self.proxy, proxy.url(self.ready_path))
    }
}

/// `HOOK_ISTIO_QUIT_URL`
fn url_of(hook: &str) -> String {
    format!("HOOK_{}_URL", hook.to_uppercase().replace('-', "_"))
}

/// Says 503 until it is told that it is ready, and agrees to quit.
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
    assert_eq!(done.lines(), lines);
}

/// Ends of a program, and their exit codes.
const ENDS: [(&str, i32); 3] = [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)];

#[test]
fn every_manifest_of_the_page_runs_its_program_beside_a_proxy_that_is_ready() {
    let manifests = manifests();
    let (proxy, _) = proxy(true);
    for (program, heading, container) in &manifests {
        let mut run = container.run("echo \"$@\"; exit 7");
        run.envs(container.hooks().iter().map(|hook| (url_of(hook), proxy.url("/"))));
        let done = run.done();
        assert_eq!(done.code(), 7, "{program}, {heading}: {done:?}");
        assert_eq!(done.stdout.trim(), container.program[1..].join(" "), "{program}, {heading}: {done:?}");
        assert!(!done.stderr.contains("wrapper: hook"), "{program}, {heading}: {done:?}");
    }
}

#[test]
fn a_manifest_in_another_style_is_not_read() {
    const MANIFEST: &str = r#"apiVersion: batch/v1
kind: Job
metadata:
  name: my-job
spec:
  template:
    metadata:
      labels: {sidecar.istio.io/inject: "true"}
    spec:
      restartPolicy: Never
      containers:
        - name: my-job
          image: registry.example/my-job:1.0
          command: ["/wrapper", "--plugin", "istio-quit", "--", "/my-job"]
          args: ["--date", "today"]
          env:
            - {name: WRAPPER_PLUGIN_TIMEOUT, value: 2m}
"#;
    let Container { options, program, env } = Container::read(MANIFEST);
    assert_eq!((options.join(" "), program.join(" ")), ("--plugin istio-quit".into(), "/my-job --date today".into()));
    assert_eq!(env, [("WRAPPER_PLUGIN_TIMEOUT".into(), "2m".into())]);
    for (line, other) in [
        ("kind: Job\n", "kind: CronJob\n"),
        ("kind: Job\n", ""),
        ("    metadata:\n", "    annotations:\n"),
        ("restartPolicy: Never", "restartPolicy: Always"),
        ("          command:", "         command:"),
        (r#""/wrapper", "#, ""),
        (r#", "--", "/my-job"]"#, "]"),
        (r#""/my-job"]"#, "/my-job]"),
        ("          args:", "          arguments:"),
        ("          env:\n", ""),
        ("            - {", "          - {"),
        ("value: 2m", "value: 2"),
        ("value: 2m", "value: true"),
        ("value: 2m", "value: a, b"),
        ("value: 2m", "valueFrom: x"),
        ("value: 2m}", "value: 2m} # why"),
    ] {
        let damaged = MANIFEST.replacen(line, other, 1);
        assert_ne!(damaged, MANIFEST, "{line:?} is not there");
        assert!(std::panic::catch_unwind(|| Container::read(&damaged)).is_err(), "{line:?} as {other:?}");
    }
}

#[test]
fn every_setting_of_a_hook_on_the_page_is_one_of_a_hook_of_that_manifest() {
    const SETTINGS: [&str; 8] = ["URL", "STARTUP", "WAIT_GONE", "PERIOD", "TIMEOUT", "ON_TIMEOUT", "ABSENT", "ON"];
    for (program, heading, container) in manifests() {
        let hooks = container.hooks();
        let known = |name: &str| {
            hooks.iter().any(|hook| {
                let prefix = url_of(hook).replace("_URL", "_");
                name.strip_prefix(&prefix).is_some_and(|setting| SETTINGS.contains(&setting))
            })
        };
        let settings = container.env.iter().filter(|(name, _)| name.starts_with("HOOK_"));
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
        assert_eq!(done.lines()[0], origin.says_ready());
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
    let (port, script) = (free_port(), "echo ended; exit 7");
    let mut run = SCUTTLE.run("Quit on exit", port, script).running();
    run.until_stdout_has("ended\n");
    let proxy = Peer::start(&format!("127.0.0.1:{port}"), |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    assert_ended(&run.done(), 7, "ended\n", &[SCUTTLE.says_quit()]);
    assert_eq!(SCUTTLE.asked(&proxy), (0, 1));
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
            format!("wrapper: {}: warning: {}; the command starts without", origin.gate, origin.not_ready(&proxy));
        assert_ended(&done, 7, "started\n", &[warning, origin.says_quit()]);
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
        assert_ended(&done, 125, "", &[failure, origin.says_quit()]);
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
        assert_ended(&done, 7, "started\n", &[origin.says_ready(), origin.says_quit()]);
        let done = without.done();
        assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
        let absent = format!("warning: {} is taken for absent: ", origin.proxy);
        let (gate, quit) =
            (format!("wrapper: {}: {absent}", origin.gate), format!("wrapper: {}: {absent}", origin.quit));
        let lines = done.lines();
        assert!(lines.len() == 2 && lines[0].starts_with(&gate) && lines[1].starts_with(&quit), "{lines:?}");
        assert!(lines[0].ends_with("; the command starts without"), "{lines:?}");
        assert!(lines[1].contains(&format!("http://localhost:{nobodys}/")), "{lines:?}");
        assert_took(&done, 5.0, 15.0);
    });
}

#[test]
fn where_hooks_are_disabled_the_command_starts_at_once_and_nobody_is_asked() {
    both(|origin| {
        let (proxy, _) = proxy(false);
        for (end, code) in ENDS {
            let done = origin.run("No sidecar", proxy.port(), end).done();
            assert_ended(&done, code, "", &[]);
        }
        assert_eq!(origin.asked(&proxy), (0, 0));
    });
}
