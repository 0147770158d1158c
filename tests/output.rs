//! What a hook says, and what is said of it, in lines of the log.

use crate::support::{Done, Run, assert_took, guests, wrapper};

fn run(hook: std::path::PathBuf, variables: &[(&str, &str)]) -> Done {
    let mut run = wrapper().plugin(hook).with(&["sh", "-c", "exit 7"]);
    run.envs(variables.iter().copied());
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert_eq!(done.stdout, "");
    done
}

#[test]
fn the_text_of_a_hooks_error_is_in_one_line() {
    let hook = guests::hook("fails");
    for (kind, text) in [
        ("", "the cat is out"),
        ("misconfigured", "set HOOK_URL"),
        ("empty", "failed without a reason"),
        ("lines", "first\u{fffd}wrapper: second"),
    ] {
        let done = run(hook.clone(), &[("HOOK_FAIL", kind)]);
        assert_eq!(done.line(), format!("wrapper: hook {hook:?}: {text}"));
    }
}

#[test]
fn the_text_of_a_hooks_error_is_cut_at_4_kib() {
    let hook = guests::hook("fails");
    for (length, shown) in [(4096, 4096), (4097, 4096), (1 << 20, 4096)] {
        let done = run(hook.clone(), &[("HOOK_FAIL", "long"), ("HOOK_LENGTH", &length.to_string())]);
        assert_eq!(done.line().matches('~').count(), shown);
    }
}

#[test]
fn a_program_that_exits_with_0_is_silent_and_any_other_end_is_reported() {
    let hook = guests::program("exit");
    assert_eq!(run(hook.clone(), &[("HOOK_EXIT", "0")]).stderr, "");
    // WASI 0.2 as Rust's library speaks it knows success and failure, no numbers.
    assert_eq!(run(hook.clone(), &[("HOOK_EXIT", "3")]).line(), format!("wrapper: hook {hook:?}: exited with 1"));
    let done = run(hook, &[]);
    assert!(done.stderr.contains("wrapper: exit: Error: \"environment variable not found\""), "{done:?}");
    assert_eq!(done.lines().len(), 2, "{done:?}");
}

#[test]
fn a_panic_is_told_once_with_its_message_and_the_functions_name() {
    let done = run(guests::hook("panics"), &[]);
    assert_eq!(done.stderr.matches("no cat in the box of 3").count(), 1, "{done:?}");
    let last = done.lines().last().copied().unwrap_or_default();
    assert!(last.contains("trapped: wasm `unreachable` instruction executed in panics::open_the_box"), "{last}");
}

#[test]
fn a_debug_builds_trap_shows_function_names_and_source_lines() {
    let done = run(guests::debug_hook("panics"), &[]);
    let last = done.lines().last().copied().unwrap_or_default();
    for place in ["in panics::open_the_box (", "panics.rs:14)", "called from panics::run ("] {
        assert!(last.contains(place), "{place} is missing in {last}");
    }
}

#[test]
fn a_hook_that_never_ends_is_killed_at_its_timeout() {
    let hook = guests::program("loop-forever");
    let done = wrapper().with(&["--plugin-timeout", "700ms"]).plugin(&hook).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7);
    let line = format!("wrapper: hook {hook:?}: timed out after 700ms; --plugin-timeout gives it more time");
    assert_eq!(done.line(), line);
    assert_took(&done, 0.7, 10.0);
}

#[test]
fn with_log_error_only_failures_are_shown_and_with_debug_every_step() {
    let done = wrapper().with(&["--log", "error"]).plugin("echo").with(&["true"]).done();
    assert_eq!(done.stderr, "");
    let done = wrapper().with(&["--log", "debug"]).plugin("echo").with(&["true"]).done();
    for step in ["process start", "process finish: exit code 0", "plugin start", "plugin finish: succeeded"] {
        assert!(done.stderr.contains(step), "{step}: {done:?}");
    }
}

#[test]
fn json_lines_carry_the_same_as_fields() {
    let hook = guests::hook("fails");
    let mut run = wrapper().with(&["--log-format", "json", "--log", "debug"]).plugin(&hook).with(&["true"]);
    run.env("HOOK_FAIL", "misconfigured");
    let done = run.done();
    let lines: Vec<serde_json::Value> = done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failure = lines.iter().find(|line| line["level"] == "error").unwrap();
    assert_eq!(failure["message"], "set HOOK_URL");
    assert_eq!(failure["hook"], hook.to_str().unwrap());
    assert_eq!((&failure["phase"], &failure["outcome"]), (&"after".into(), &"misconfigured".into()));
    let finish = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("plugin finish")).unwrap();
    assert_eq!(finish["outcome"], "failed");
    assert!(finish["duration"].as_f64().unwrap() > 0.0);
}
