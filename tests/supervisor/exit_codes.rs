//! wrapper exits with the command's exit code, whatever the hooks do.

use crate::harness::{Run, guests, wrapper};
use nix::libc::SIGTERM;

#[test]
fn the_commands_output_comes_first_then_the_hooks_line_and_the_exit_code_is_kept() {
    let done = wrapper().plugin("echo").with(&["--", "sh", "-c", "echo out; exit 7"]).done();
    assert_eq!(done.code(), 7);
    assert_eq!(done.stdout, "out\n");
    assert!(done.line().starts_with(r#"wrapper: echo: "sh" exited with 7 after "#), "{done:?}");
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
            format!(r#"wrapper: echo: "nosuch" was not started: {reason}"#),
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
        ("echo a && echo b", SCRIPT),
        ("help", " (wrapper has no subcommands; see wrapper --help)"),
        ("./nosuch", ""),
        ("", " (it is an empty string)"),
        ("/bin/true\n", " (it begins or ends with white space)"),
    ] {
        let done = wrapper().with(&[command]).done();
        assert_eq!(done.code(), 127, "{command}");
        assert_eq!(done.line(), format!("wrapper: cannot start {command:?}: No such file or directory{hint}"));
    }
}

/// Settings with which `istio-quit` fails: nobody listens there.
const FAILS: [(&str, &str); 3] = [
    ("HOOK_ISTIO_QUIT_URL", "http://localhost:9/"),
    ("HOOK_ISTIO_QUIT_STARTUP", "0"),
    ("HOOK_ISTIO_QUIT_ABSENT", "fail"),
];

#[test]
fn a_failing_hook_does_not_change_the_exit_code() {
    for (command, code) in [("exit 0", 0), ("exit 7", 7)] {
        let mut run = wrapper().plugin("istio-quit").with(&["sh", "-c", command]);
        run.envs(FAILS);
        let done = run.done();
        assert_eq!(done.code(), code, "{done:?}");
        assert!(done.stderr.contains("hook \"istio-quit\": failed"), "{done:?}");
    }
}

#[test]
fn with_plugin_failure_fail_it_turns_success_into_125_and_nothing_else() {
    for (policy, command, code) in [("fail", "exit 0", 125), ("fail", "exit 7", 7), ("ignore", "exit 0", 0)] {
        let mut run = wrapper().with(&["--plugin-failure", policy]).plugin("istio-quit").with(&["sh", "-c", command]);
        run.envs(FAILS);
        assert_eq!(run.done().code(), code, "{policy} {command}");
    }
}

#[test]
fn without_a_hook_nothing_is_printed() {
    let done = wrapper().with(&["sh", "-c", "exit 3"]).done();
    assert_eq!((done.code(), done.stderr.as_str()), (3, ""));
}

/// Exit code of wrapper with these options and this script for the command.
#[track_caller]
fn code_of(options: &[&str], script: &str) -> i32 {
    wrapper().with(options).with(&["sh", "-c", script]).done().code()
}

#[test]
fn codes_that_count_as_success_become_0_and_others_stay() {
    let codes = ["--success-codes", "3, 143", "--success-codes", "200"];
    for (script, code) in
        [("exit 0", 0), ("exit 3", 0), ("exit 4", 4), ("exit 200", 0), ("kill -15 $$", 0), ("kill -9 $$", 137)]
    {
        assert_eq!(code_of(&codes, script), code, "{script}");
        let mut run = wrapper().with(&["sh", "-c", script]);
        run.env("WRAPPER_SUCCESS_CODES", "3,143,\n200\n");
        assert_eq!(run.done().code(), code, "{script}");
    }
    assert_eq!(code_of(&[], "exit 3"), 3);
}

#[test]
fn a_mapped_code_is_exited_with_instead_and_is_not_mapped_again() {
    let codes = ["--map-code", "1=2,2=42", "--map-code", "137=75"];
    for (script, code) in [("exit 0", 0), ("exit 1", 2), ("exit 2", 42), ("exit 42", 42), ("kill -9 $$", 75)] {
        assert_eq!(code_of(&codes, script), code, "{script}");
        let mut run = wrapper().with(&["sh", "-c", script]);
        run.env("WRAPPER_MAP_CODE", "1=2, 2=42 ,137=75");
        assert_eq!(run.done().code(), code, "{script}");
    }
}

#[test]
fn a_conflict_of_variables_is_named_after_the_variable() {
    let mut run = wrapper().with(&["true"]);
    run.env("WRAPPER_MAP_CODE", "3=1").env("WRAPPER_SUCCESS_CODES", "3");
    let message = "wrapper: WRAPPER_MAP_CODE: 3 counts as success (--success-codes) and cannot be mapped";
    let done = run.done();
    assert_eq!((done.code(), done.line()), (125, message));
}

#[test]
fn the_codes_of_a_command_that_did_not_run_are_wrappers_and_are_kept() {
    let codes = ["--success-codes", "127,143", "--map-code", "126=1,125=2"];
    for (command, code) in [("nosuch", 127), ("/", 126)] {
        assert_eq!(wrapper().with(&codes).with(&[command]).done().code(), code, "{command}");
    }
    assert_eq!(wrapper().with(&codes).with(&["--before", "http-ready", "true"]).done().code(), 125);
    // The command's own are not.
    assert_eq!(code_of(&codes, "nosuch"), 0);
    assert_eq!(code_of(&codes, "exit 125"), 2);

    let gate = guests::program("nap");
    let mut run = wrapper().with(&codes).with(&["--before", gate.to_str().unwrap(), "true"]);
    run.env("HOOK_SLEEP_MS", "9000");
    let mut run = run.running();
    run.until_stderr_has("sleeping\n");
    run.signal(SIGTERM);
    assert_eq!(run.done().code(), 143);
}

#[test]
fn the_code_for_a_time_limit_can_be_mapped_or_count_as_success() {
    let time_limit = ["--timeout", "300ms"];
    assert_eq!(code_of(&[&time_limit[..], &["--map-code", "124=75,143=1"]].concat(), "exec sleep 60"), 75);
    assert_eq!(code_of(&[&time_limit[..], &["--success-codes", "124"]].concat(), "exec sleep 60"), 0);
    assert_eq!(code_of(&[&time_limit[..], &["--success-codes", "143"]].concat(), "exec sleep 60"), 124);
}

#[test]
fn hooks_know_the_commands_own_end_and_what_it_counts_as() {
    let codes = ["--success-codes", "3", "--map-code", "4=42"];
    for (status, code, succeeded) in [(3, 0, true), (4, 42, false), (5, 5, false)] {
        let script = format!("exit {status}");
        let run = wrapper().with(&codes).plugin(guests::hook("log_context")).with(&["sh", "-c", &script]);
        let done = run.done();
        assert_eq!(done.code(), code);
        let lines =
            [format!("outcome Some(Exited({status}))"), format!("exit code {code}"), format!("succeeded {succeeded}")];
        for line in lines {
            assert!(done.stderr.contains(&format!("wrapper: log_context: {line}\n")), "{line}: {done:?}");
        }
        for (when, runs) in [("success", succeeded), ("failure", !succeeded)] {
            let run = wrapper().with(&codes).with(&["--plugin-on", when, "--plugin", "echo", "sh", "-c", &script]);
            assert_eq!(run.done().stderr.contains("wrapper: echo: "), runs, "{when} {status}");
        }
    }
}

#[test]
fn a_failed_hook_that_counts_makes_125_of_a_code_that_counts_as_success_and_of_no_other() {
    let codes = ["--success-codes", "3", "--map-code", "4=42", "--plugin-failure", "fail"];
    for (script, code) in [("exit 3", 125), ("exit 4", 42), ("exit 0", 125)] {
        let mut run = wrapper().with(&codes).plugin("istio-quit").with(&["sh", "-c", script]);
        run.envs(FAILS);
        assert_eq!(run.done().code(), code, "{script}");
    }
}
