//! The same hook in several languages, built as hooks/examples tells it.

use crate::support::{LOOK, Run, repository, skipped, wrapper};
use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How a build script ends where its tools cannot be had.
const NO_TOOLS: i32 = 77;

/// More than `--plugin-timeout` below, in which a debug build on a busy machine compiles a Python interpreter.
const HANGS: Duration = Duration::from_secs(700);

#[test]
fn a_program_in_rust_tells_how_the_command_ended() {
    tells_how_the_command_ended("rust");
}

#[test]
fn a_program_in_c_tells_how_the_command_ended() {
    tells_how_the_command_ended("c");
}

#[test]
fn a_hook_in_javascript_tells_how_the_command_ended() {
    tells_how_the_command_ended("javascript");
}

#[test]
fn a_hook_in_python_tells_how_the_command_ended() {
    tells_how_the_command_ended("python");
}

fn tells_how_the_command_ended(language: &str) {
    let Some(hook) = build(language) else { return };
    for (command, code, end) in [("kill -KILL $$", 137, "was killed by signal 9"), ("exit 7", 7, "exited with 7")] {
        let options = ["--plugin-timeout", "10m", "--", "sh", "-c", command];
        let mut run = wrapper().plugin(&hook).with(&options);
        // At the lowest priority, beside the other tests, compiling would take for ever.
        run.env("WRAPPER_PLUGIN_PREPARE", "off");
        let mut run = run.running();
        let deadline = Instant::now() + HANGS;
        while !run.has_ended() {
            assert!(Instant::now() < deadline, "{language} hangs; stderr so far: {}", run.stderr_so_far());
            thread::sleep(LOOK);
        }
        let done = run.done();
        assert_eq!(done.code(), code, "{done:?}");
        assert_eq!(done.lines(), [format!("wrapper: {language}: \"sh\" {end}")], "{done:?}");
    }
}

/// The component that a language's build script makes; none where its tools cannot be had.
fn build(language: &str) -> Option<PathBuf> {
    let mut build = Command::new(repository(&format!("hooks/examples/{language}/build")));
    // What cargo told the tests about their own build is not for this one.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        build.env_remove(name);
    }
    let output = build.output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(repository(&format!("target/examples/{language}.wasm"))),
        Some(NO_TOOLS) => {
            skipped(&format!("a hook in {language}, its tools cannot be had here: {}", errors.trim()));
            None
        }
        _ => panic!("{language} does not build: {errors}{}", String::from_utf8_lossy(&output.stdout)),
    }
}
