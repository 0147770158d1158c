//! The termination message: one line for `kubectl describe pod`, if the kubelet made a file for it.

use crate::harness::{Done, Run, guests, wrapper, wrapper_for_everyone};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Bytes that the kubelet keeps of it in a pod of six containers.
const LIMIT: usize = 2048;

/// A file as the kubelet makes one, in a directory that goes with it.
struct Log {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        fs::write(&path, text).unwrap();
        Self { _directory: directory, path }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// The one line, without its end.
    #[track_caller]
    fn line(&self) -> String {
        let text = self.text();
        let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {text:?}"));
        assert!(!line.contains('\n') && text.len() <= LIMIT, "{text:?}");
        line.into()
    }
}

/// wrapper with this termination log.
fn telling(path: &Path) -> Command {
    let mut command = wrapper();
    command.env("WRAPPER_TERMINATION_LOG", path);
    command
}

#[test]
fn the_line_has_the_results_of_the_command_and_of_each_hook() {
    let log = Log::new("");
    let mut run = telling(&log.path).plugin("echo").plugin("ping=http").with(&["sh", "-c", "exit 7"]);
    // Whether there is such a variable is only known when the hook runs.
    run.env("HOOK_PING_URL", "http://localhost:1/").env("HOOK_PING_HEADERS", "X: {WRAPPER_NO_SUCH_VALUE}");
    assert_eq!(run.done().code(), 7);
    let line = log.line();
    assert!(line.starts_with(r#"exit code 7: "sh" exited with 7 after 0."#), "{line}");
    assert!(line.ends_with(" s; hooks: echo succeeded, ping misconfigured"), "{line}");
}

#[test]
fn every_outcome_has_its_text() {
    for (command, words) in [
        (&["sh", "-c", "kill -9 $$"][..], r#"exit code 137: "sh" was killed by signal 9 after 0."#),
        (&["nosuch"], r#"exit code 127: "nosuch" was not started: No such file or directory"#),
        (&["/"], r#"exit code 126: "/" was not started: Permission denied"#),
        (&["true"], r#"exit code 0: "true" exited with 0 after 0."#),
    ] {
        let log = Log::new("");
        telling(&log.path).with(command).done();
        assert!(log.line().starts_with(words) && !log.line().contains("hooks"), "{}", log.line());
    }
}

#[test]
fn a_command_over_its_time_limit_is_reported_as_such() {
    for (format, words) in [("text", " s, out of time\n"), ("json", r#""cause":"timed-out""#)] {
        let log = Log::new("");
        let options = ["--timeout", "500ms", "--log-format", format];
        assert_eq!(telling(&log.path).with(&options).with(&["sleep", "60"]).done().code(), 124);
        let text = log.text();
        assert!(text.contains("124") && text.contains(words), "{text}");
    }
}

#[test]
fn the_line_has_the_containers_exit_code_and_the_commands() {
    for (status, code) in [(3, 0), (4, 42)] {
        let log = Log::new("");
        let options = ["--success-codes", "3", "--map-code", "4=42", "--log-format", "json"];
        let run = telling(&log.path).with(&options).with(&["sh", "-c", &format!("exit {status}")]);
        assert_eq!(run.done().code(), code);
        let line: Value = serde_json::from_str(&log.line()).unwrap();
        assert_eq!((&line["exit_code"], &line["status"]), (&code.into(), &status.into()), "{line}");
    }
}

#[test]
fn every_verdict_has_its_text() {
    let log = Log::new("");
    let mut run = telling(&log.path).with(&["--plugin-timeout", "6s"]);
    run.env("HOOK_LATE_ON", "failure");
    let run = run.plugin("echo").plugin(guests::program("loop_forever")).plugin("late=echo").with(&["true"]);
    assert_eq!(run.done().code(), 0);
    assert!(log.line().ends_with("; hooks: echo succeeded, loop_forever timed-out, late skipped"), "{}", log.line());
}

#[test]
fn a_hook_that_cannot_be_loaded_is_the_reason() {
    let log = Log::new("");
    assert_eq!(telling(&log.path).plugin("/nowhere.wasm").with(&["true"]).done().code(), 125);
    assert_eq!(log.line(), r#"exit code 125: "true" was not started: hook "nowhere" (/nowhere.wasm) cannot be run"#);
}

#[test]
fn an_invalid_option_is_reported_in_the_file_of_the_variable_or_the_option() {
    let log = Log::new("");
    let mut run = telling(&log.path).with(&["true"]);
    run.env("WRAPPER_PLUGIN_TIMEOUT", "10x");
    assert_eq!(run.done().code(), 125);
    assert!(log.line().starts_with(r#"exit code 125: WRAPPER_PLUGIN_TIMEOUT "10x": not a time"#), "{}", log.line());

    let log = Log::new("");
    let run = wrapper().with(&["--log-format", "json", "--termination-log", log.path.to_str().unwrap(), "--nosuch"]);
    assert_eq!(run.with(&["true"]).done().code(), 125);
    let line: Value = serde_json::from_str(&log.line()).unwrap();
    assert_eq!((&line["exit_code"], &line["outcome"]), (&125.into(), &"not-started".into()));
    assert_eq!(line["reason"], "unknown option --nosuch; see wrapper --help");
}

#[test]
fn a_failed_gate_is_reported_with_the_hooks_that_followed() {
    let log = Log::new("");
    let mut run = telling(&log.path).with(&["--before", "gate=http-ready", "--plugin", "echo", "true"]);
    run.env("HOOK_GATE_URL", "http://127.0.0.1:9/").env("HOOK_GATE_ABSENT", "fail").env("HOOK_GATE_STARTUP", "0");
    assert_eq!(run.done().code(), 125);
    let words = r#"exit code 125: "true" was not started: a --before hook failed; hooks: gate failed, echo succeeded"#;
    assert_eq!(log.line(), words);
}

#[test]
fn the_signal_that_stopped_the_pod_is_reported() {
    let log = Log::new("");
    let mut running = telling(&log.path).with(&["sh", "-c", "echo ready; exec sleep 60"]).running();
    running.until_stdout_has("ready");
    running.signal(15);
    assert_eq!(running.done().code(), 143);
    assert!(log.line().ends_with(" s, asked to stop by signal 15"), "{}", log.line());
}

#[test]
fn with_log_format_json_it_is_an_object() {
    let log = Log::new("");
    let run = telling(&log.path).with(&["--log-format", "json", "--plugin", "echo", "--", "sh", "-c", "exit 7"]);
    assert_eq!(run.done().code(), 7);
    let told: Value = serde_json::from_str(&log.line()).unwrap();
    assert_eq!((&told["exit_code"], &told["outcome"], &told["status"]), (&7.into(), &"exited".into(), &7.into()));
    assert_eq!(told["command"], "sh");
    assert!(told["duration"].as_f64().unwrap() > 0.0 && told.get("stop_signal").is_none(), "{told}");
    assert!(told["peak_memory"].as_u64().unwrap() > 1 << 16 && told["cpu_time"].as_f64().is_some(), "{told}");
    assert!(told.get("cause").is_none() && told.get("leftovers").is_none(), "{told}");
    let [hook] = told["hooks"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!(
        (&hook["hook"], &hook["phase"], &hook["verdict"]),
        (&"echo".into(), &"after".into(), &"succeeded".into())
    );
    assert!(hook["duration"].as_f64().unwrap() > 0.0, "{told}");
}

#[test]
fn what_the_command_wrote_there_stays_and_comes_first() {
    for (before, between) in [("", ""), ("the disk is full", "\n"), ("the disk is full\n", "")] {
        let log = Log::new("");
        let script = r#"printf %s "$1" > "$2"; exit 3"#;
        telling(&log.path).with(&["sh", "-c", script, "sh", before, log.path.to_str().unwrap()]).done();
        let text = log.text();
        assert!(text.starts_with(&format!("{before}{between}exit code 3: ")), "{text:?}");
        assert_eq!(text.matches('\n').count(), before.lines().count() + 1, "{text:?}");
    }
}

#[test]
fn a_line_is_never_longer_than_what_is_kept_of_it_in_a_pod_of_several_containers() {
    let hooks: Vec<String> = (0..200).map(|number| format!("a-rather-long-name-of-a-hook-{number}=echo")).collect();
    let long = "é".repeat(3000);
    for format in ["text", "json"] {
        let log = Log::new("");
        let mut run = telling(&log.path);
        run.args(["--log", "error", "--log-format", format, "--plugin-on", "failure"]);
        run.args(hooks.iter().flat_map(|hook| ["--plugin", hook]));
        let done = run.with(&["sh", "-c", "exit 0"]).done();
        assert_eq!(done.code(), 0, "{done:?}");
        let line = log.line();
        assert!(line.len() > LIMIT - 200, "{} bytes", line.len());
        if format == "json" {
            let told: Value = serde_json::from_str(&line).unwrap();
            let left_out = told["hooks_left_out"].as_u64().unwrap();
            assert_eq!(told["hooks"].as_array().unwrap().len() as u64 + left_out, 200);
        } else {
            assert!(line.ends_with('…'), "{line}");
        }
        let log = Log::new("");
        telling(&log.path).with(&["--log-format", format, &long]).done();
        assert!(log.line().contains("File name too long"), "{}", log.line());
    }
}

#[test]
fn a_name_cannot_break_the_line() {
    for format in ["text", "json"] {
        let log = Log::new("");
        telling(&log.path).with(&["--log-format", format, "no\nsuch\u{2028}\u{1b}[2J"]).done();
        assert!(!log.line().contains(['\u{2028}', '\u{1b}']), "{:?}", log.line());
    }
}

#[test]
fn a_missing_file_is_not_created_and_that_is_logged_at_the_start() {
    let log = Log::new("");
    let missing = log.path.with_file_name("missing");
    let done = telling(&missing).with(&["sh", "-c", "exit 7"]).done();
    let path = missing.display();
    let line = format!("wrapper: --termination-log {path}: there is no such file, and wrapper does not create it");
    assert_eq!((done.code(), done.line()), (7, line.as_str()));
    assert!(!missing.exists());
    // The kubelet's is not there outside Kubernetes.
    let done = telling(Path::new("/dev/termination-log")).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!((done.code(), done.stderr.as_str()), (7, ""));
}

#[test]
fn a_failed_write_is_logged_and_changes_nothing() {
    let log = Log::new("");
    let fifo = log.path.with_file_name("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = |done: Done, words: &str| {
        assert_eq!(done.code(), 7);
        assert!(done.line().starts_with("wrapper: cannot write the termination message to "), "{done:?}");
        assert!(done.line().ends_with(words), "{done:?}");
    };
    said(telling(&fifo).with(&["sh", "-c", "exit 7"]).done(), "not a regular file");
    said(telling(Path::new("/dev/null")).with(&["sh", "-c", "exit 7"]).done(), "not a regular file");
    said(telling(log.path.parent().unwrap()).with(&["sh", "-c", "exit 7"]).done(), "Is a directory");
}

#[test]
fn a_symbolic_link_is_not_followed_and_that_is_logged() {
    let log = Log::new("somebody else's\n");
    for target in [log.path.as_path(), Path::new("nowhere")] {
        let link = log.path.with_file_name("link");
        std::os::unix::fs::symlink(target, &link).unwrap();
        let done = telling(&link).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), 7);
        assert!(done.line().ends_with("it is a symbolic link, and links are not followed"), "{done:?}");
        let mut refused = telling(&link).with(&["true"]);
        refused.env("WRAPPER_PLUGIN_TIMEOUT", "soon");
        assert_eq!(refused.done().code(), 125);
        fs::remove_file(link).unwrap();
    }
    assert_eq!(log.text(), "somebody else's\n");
    // A folder on the way to it may be one: /var/run is, in most images.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("folder");
    std::os::unix::fs::symlink(log.path.parent().unwrap(), &folder).unwrap();
    telling(&folder.join("termination-log")).with(&["sh", "-c", "exit 7"]).done();
    assert!(log.text().contains("\nexit code 7: "), "{}", log.text());
}

#[test]
fn another_users_container_writes_to_it_as_the_kubelet_made_it() {
    let log = Log::new("");
    fs::set_permissions(&log.path, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(log.path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let (_directory, program) = wrapper_for_everyone();
    let mut run = Command::new("setpriv");
    run.args(["--reuid", "65532", "--regid", "65532", "--clear-groups"]).arg(program).arg("--termination-log");
    run.arg(&log.path).args(["sh", "-c", "exit 7"]);
    assert_eq!(run.done().code(), 7);
    assert!(log.line().starts_with("exit code 7: "), "{}", log.line());
}

#[test]
fn it_is_written_only_when_asked_for() {
    for (options, words) in [("", ""), ("--termination-log /dev/termination-log", "exit code 7: ")] {
        let script = format!(
            r#"mount -t tmpfs none /dev && : > /dev/termination-log && "$0" {options} sh -c 'exit 7'
            cat /dev/termination-log"#
        );
        let mut run = Command::new("unshare");
        run.args(["-m", "--propagation", "private", "sh", "-c", &script, env!("CARGO_BIN_EXE_wrapper")]);
        let done = run.done();
        assert!(done.stdout.starts_with(words) && done.stdout.is_empty() == words.is_empty(), "{done:?}");
    }
}
