//! wrapper exits with the command's exit code, whatever the hooks do.

use crate::harness::{Run, wrapper};

#[test]
fn the_commands_output_comes_first_then_the_hooks_line_and_the_exit_code_is_kept() {
    let done = wrapper().plugin("echo").with(&["--", "sh", "-c", "echo out; exit 7"]).done();
    assert_eq!(done.code(), 7);
    assert_eq!(done.stdout, "out\n");
    assert!(done.line().starts_with(r#"wrapper: echo: Echo demo plugin: "sh" exited with 7 after "#), "{done:?}");
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    let done = wrapper().plugin("echo").with(&["sh", "-c", "kill -9 $$"]).done();
    assert_eq!(done.code(), 137);
    assert!(done.line().contains("was killed by signal 9"), "{done:?}");
}

#[test]
fn a_command_that_is_not_found_is_127_and_the_hooks_run() {
    let done = wrapper().plugin("echo").with(&["nosuch"]).done();
    assert_eq!(done.code(), 127);
    let reason = "No such file or directory (not found in PATH)";
    assert_eq!(
        done.lines(),
        [
            format!(r#"wrapper: cannot start "nosuch": {reason}"#),
            format!(r#"wrapper: echo: Echo demo plugin: "nosuch" was not started: {reason}"#),
        ]
    );
}

#[test]
fn the_message_for_a_command_that_is_not_found_has_a_hint() {
    const SCRIPT: &str = " (it is a single argument; run a script with sh -c)";
    for (command, hint) in [
        ("nosuch", " (not found in PATH)"),
        ("ls -l", r#" (it is a single argument; in a manifest write ["ls", "-l"])"#),
        ("set -e\nfor i in 1 2 3; do echo $i; done\nfor i in 4 5 6; do echo $i; done\nexec /my-job --verbose", SCRIPT),
        ("help", " (wrapper has no subcommands; see wrapper --help)"),
        ("./nosuch", ""),
        ("", ""),
    ] {
        let done = wrapper().with(&[command]).done();
        assert_eq!(done.code(), 127, "{command}");
        assert_eq!(done.line(), format!("wrapper: cannot start {command:?}: No such file or directory{hint}"));
    }
}

#[test]
fn a_failing_hook_does_not_change_the_exit_code() {
    for (command, code) in [("exit 0", 0), ("exit 7", 7)] {
        let mut run = wrapper().plugin("istio-quit").with(&["sh", "-c", command]);
        run.env("HOOK_ISTIO_QUIT_STARTUP", "soon");
        let done = run.done();
        assert_eq!(done.code(), code, "{done:?}");
        assert!(done.line().contains("HOOK_ISTIO_QUIT_STARTUP"), "{done:?}");
    }
}

#[test]
fn with_plugin_failure_fail_it_turns_success_into_125_and_nothing_else() {
    for (policy, command, code) in [("fail", "exit 0", 125), ("fail", "exit 7", 7), ("ignore", "exit 0", 0)] {
        let mut run = wrapper().with(&["--plugin-failure", policy]).plugin("istio-quit").with(&["sh", "-c", command]);
        run.env("HOOK_ISTIO_QUIT_STARTUP", "soon");
        assert_eq!(run.done().code(), code, "{policy} {command}");
    }
}

#[test]
fn without_a_hook_nothing_is_printed() {
    let done = wrapper().with(&["sh", "-c", "exit 3"]).done();
    assert_eq!((done.code(), done.stderr.as_str()), (3, ""));
}
