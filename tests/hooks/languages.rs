//! The same hook in several languages, built as hooks/examples describes.

use crate::harness::{Done, LOOK, Run, peer::Peer, repository, skipped, wrapper};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Exit code of a build script whose tools are missing.
const NO_TOOLS: i32 = 77;

/// The most that a ConfigMap holds, in bytes.
const CONFIG_MAP: u64 = 1 << 20;

/// More than `--plugin-timeout` below, in which a debug build on a busy machine compiles a Python interpreter.
const HANGS: Duration = Duration::from_secs(700);

#[test]
fn a_program_in_rust_reports_the_result_of_the_command() {
    reports_the_result_of_the_command("rust");
}

#[test]
fn a_program_in_c_reports_the_result_of_the_command() {
    reports_the_result_of_the_command("c");
}

#[test]
fn a_program_in_go_reports_the_result_of_the_command() {
    reports_the_result_of_the_command("go");
}

#[test]
fn a_copy_of_the_program_in_go_passes_its_tests_and_may_use_more_of_its_library() {
    let directory = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(repository("hooks/examples/go/.")).arg(directory.path()).status();
    assert!(copied.unwrap().success());
    // A program of this size needs more memory than Go's linker gives it.
    let json = "package main\n\nimport (\n\t\"encoding/json\"\n\t\"fmt\"\n)\n\nfunc init() {\n\
                \ttext, err := json.Marshal(map[string]any{\"phase\": 1})\n\tfmt.Println(string(text), err)\n}\n";
    fs::write(directory.path().join("json.go"), json).unwrap();
    let hook = directory.path().join("go.wasm");
    let mut build = Command::new(directory.path().join("build"));
    build.arg(&hook).env("WRAPPER_CLONE", repository(""));
    if !built("go", build) {
        return;
    }
    let peer = Peer::with_status(200);
    let done = run("go", &hook, "exit 7", &peer);
    let lines = ["wrapper: go: {\"phase\":1} <nil>", "wrapper: go: \"sh\" exited with 7"];
    assert_eq!((done.code(), done.lines(), peer.requests().len()), (7, lines.to_vec(), 1), "{done:?}");

    let mut test = Command::new("go");
    test.current_dir(directory.path()).args(["test", "."]).envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")]);
    let tested = test.output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn a_hook_in_javascript_sends_a_request_and_fits_into_a_config_map() {
    let Some(hook) = build("javascript-http") else { return };
    assert!(hook.metadata().unwrap().len() <= CONFIG_MAP, "{:?}", hook.metadata());
    let peer = Peer::with_status(200);
    let done = run("javascript-http", &hook, "exit 7", &peer);
    assert_eq!((done.code(), done.lines()), (7, vec!["wrapper: javascript-http: sent exited"]), "{done:?}");
    let request = &peer.requests()[0];
    assert!(request.starts_with("POST /report?a=b "), "{request}");
    assert!(request.ends_with(r#"{"command":["sh","-c","exit 7"],"outcome":"exited","value":7}"#), "{request}");

    let peer = Peer::with_status(404);
    let done = run("javascript-http", &hook, "exit 7", &peer);
    assert!(done.line().ends_with(&format!("it reports: \"{}\": answered 404", peer.url("/report?a=b"))), "{done:?}");
}

#[test]
fn a_hook_in_javascript_reports_the_result_of_the_command() {
    reports_the_result_of_the_command("javascript");
}

#[test]
fn a_hook_in_python_reports_the_result_of_the_command() {
    reports_the_result_of_the_command("python");
}

#[test]
fn the_message_for_a_script_built_for_wasi_0_3_explains_how_to_build_it_for_0_2() {
    let Some(_) = build("javascript") else { return };
    // The same as the build script, without the flag that the error names.
    let output = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap().into_temp_path();
    let built = Command::new(repository("target/test-tools/componentize-qjs-0.4.5/node_modules/.bin/componentize-qjs"))
        .args(["--opt-size", "--world", "small", "--wit"])
        .arg(repository("target/examples/javascript-wit"))
        .arg("--js")
        .arg(repository("hooks/examples/javascript/hook.js"))
        .arg("--output")
        .arg(&output)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let done = wrapper().plugin(&output).with(&["true"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert!(
        done.line().contains(
            "built for WASI 0.3, which wrapper does not support yet; build it for WASI 0.2 (componentize-qjs: --sync"
        ),
        "{done:?}"
    );
}

#[test]
fn the_message_for_a_program_in_go_explains_how_to_make_it_a_component() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("main.go"), "package main\n\nfunc main() { println(\"hello\") }\n").unwrap();
    let module = directory.path().join("main.wasm");
    let mut go = Command::new("go");
    go.current_dir(directory.path()).args(["build", "-o"]).arg(&module).arg("main.go");
    go.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")]);
    match go.output() {
        Ok(built) if built.status.success() => {}
        Ok(built) => panic!("{}", String::from_utf8_lossy(&built.stderr)),
        Err(_) => return skipped("a program in Go: there is no Go"),
    }
    let done = wrapper().plugin(&module).with(&["true"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    let step = "(Go, Zig, AssemblyScript) convert it with `wasm-tools component new --adapt wasi_snapshot_";
    assert!(done.line().contains(step), "{done:?}");
}

/// Languages whose hooks also send it to a server.
const SENDERS: [&str; 3] = ["c", "go", "python"];

fn reports_the_result_of_the_command(language: &str) {
    let Some(hook) = build(language) else { return };
    for (command, code, end) in [("kill -KILL $$", 137, "was killed by signal 9"), ("exit 7", 7, "exited with 7")] {
        let peer = Peer::with_status(200);
        let done = run(language, &hook, command, &peer);
        assert_eq!(done.code(), code, "{done:?}");
        assert_eq!(done.lines(), [format!("wrapper: {language}: \"sh\" {end}")], "{done:?}");
        match &peer.requests()[..] {
            [request] if SENDERS.contains(&language) => {
                assert!(request.starts_with("POST /report?a=b "), "{request}");
                assert!(request.ends_with(&format!("\r\n\r\n\"sh\" {end}")), "{request}");
            }
            requests => assert!(requests.is_empty() && !SENDERS.contains(&language), "{requests:?}"),
        }
    }
}

/// Runs a command and then the hook, whose setting `URL` is that of a peer.
fn run(language: &str, hook: &Path, command: &str, peer: &Peer) -> Done {
    let mut run = wrapper().plugin(hook).with(&["--plugin-timeout", "10m", "--", "sh", "-c", command]);
    // At the lowest priority, beside the other tests, compiling would take for ever.
    run.env("WRAPPER_PLUGIN_PREPARE", "off");
    run.env(format!("HOOK_{}_URL", language.to_uppercase().replace('-', "_")), peer.url("/report?a=b"));
    let mut run = run.running();
    let deadline = Instant::now() + HANGS;
    while !run.has_ended() {
        assert!(Instant::now() < deadline, "{language} hangs; stderr so far: {}", run.stderr_so_far());
        thread::sleep(LOOK);
    }
    run.done()
}

/// The component that a language's build script makes; none where its tools cannot be had.
fn build(language: &str) -> Option<PathBuf> {
    // Two tests may want the same one.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let build = Command::new(repository(&format!("hooks/examples/{language}/build")));
    built(language, build).then(|| repository(&format!("target/examples/{language}.wasm")))
}

/// Runs a language's build script; returns whether its tools can be had.
fn built(language: &str, mut build: Command) -> bool {
    // Cargo's variables for the build of the tests do not belong to this one.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        build.env_remove(name);
    }
    let output = build.output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(NO_TOOLS) => {
            skipped(&format!("a hook in {language}, its tools cannot be had here: {}", errors.trim()));
            false
        }
        _ => panic!("{language} does not build: {errors}{}", String::from_utf8_lossy(&output.stdout)),
    }
}
