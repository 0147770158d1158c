//! Settings of a single hook, `HOOK_<NAME>_…`; the options hold for the others.

use crate::harness::{
    Done, Run, assert_took, digest, failed, guests,
    peer::{Peer, free_port},
    repository, unfit, wrapper,
};
use std::process::Command;

/// Runs a command that exits with 7.
fn finish(run: Command) -> Done {
    run.with(&["sh", "-c", "exit 7"]).done()
}

fn named(name: &str, hook: &std::path::Path) -> String {
    format!("{name}={}", hook.display())
}

#[test]
fn a_hooks_own_timeout_is_its_whole_time_shorter_or_longer_than_that_of_the_others() {
    let hook = guests::program("loop_forever");
    let mut run = wrapper().with(&["--plugin-timeout", "1s"]);
    for name in ["short", "other", "long"] {
        run.arg("--plugin").arg(named(name, &hook));
    }
    run.env("HOOK_SHORT_TIMEOUT", "300ms").env("HOOK_LONG_TIMEOUT", "2s");
    let done = finish(run);
    assert_eq!(done.code(), 7);
    assert_eq!(
        done.lines(),
        [
            "wrapper: hook \"short\": timed-out after 300ms; raise HOOK_SHORT_TIMEOUT",
            "wrapper: hook \"other\": timed-out after 1s; raise --plugin-timeout",
            "wrapper: hook \"long\": timed-out after 2s; raise HOOK_LONG_TIMEOUT",
        ]
    );
    assert_took(&done, 3.3, 12.0);
}

#[test]
fn a_gate_has_a_timeout_of_its_own_too() {
    let hook = guests::program("loop_forever");
    let mut run = wrapper().with(&["--before"]);
    run.arg(named("gate", &hook)).env("HOOK_GATE_TIMEOUT", "300ms");
    let done = finish(run);
    assert_eq!(done.code(), 125);
    assert_eq!(done.line(), "wrapper: hook \"gate\": timed-out after 300ms; raise HOOK_GATE_TIMEOUT");
}

#[test]
fn a_hooks_own_memory_is_more_or_less_than_that_of_the_others() {
    // 2 MiB from the start.
    let hook = guests::as_program(r#"(memory 32) (func (export "run") (result i32) i32.const 0)"#);
    for (option, own, fails) in
        [("64MiB", "1MiB", Some("small")), ("64MiB", "2MiB", None), ("1MiB", "2MiB", Some("other"))]
    {
        let mut run = wrapper().with(&["--plugin-memory", option]);
        run.arg("--plugin").arg(named("small", &hook)).arg("--plugin").arg(named("other", &hook));
        run.env("HOOK_SMALL_MEMORY", own);
        let done = finish(run);
        assert_eq!(done.code(), 7, "{done:?}");
        let Some(name) = fails else {
            assert_eq!(done.stderr, "", "{option} {own}");
            continue;
        };
        let line = done.line();
        assert!(line.starts_with(&format!("wrapper: hook \"{name}\": failed: ")), "{line}");
        let setting = if name == "small" { "HOOK_SMALL_MEMORY" } else { "--plugin-memory" };
        assert!(line.contains(setting), "{line}");
    }
}

#[test]
fn a_hook_connects_where_it_alone_may_and_no_other_does() {
    let (mine, others) = (Peer::with_status(200), Peer::with_status(200));
    let [mine_at, others_at] = [&mine, &others].map(|peer| format!("http://localhost:{}", peer.port()));
    let mut run = wrapper().with(&["--allow-http", &others_at]);
    for (name, url) in [("one", &mine_at), ("one-too", &others_at), ("other", &mine_at), ("other-too", &others_at)] {
        run.arg("--plugin").arg(format!("{name}=http"));
        run.env(format!("HOOK_{}_URL", name.to_uppercase().replace('-', "_")), url);
    }
    let elsewhere = format!("http://localhost:{}", free_port());
    run.env("HOOK_ONE_ALLOW_HTTP", format!("{elsewhere}, {mine_at}")).env("HOOK_ONE_TOO_ALLOW_HTTP", &mine_at);
    let done = finish(run);
    let told = |name: &str, at: &str| format!("wrapper: {name}: sent to {at}");
    // The message names the setting that holds for this hook.
    let replaced = "(the default http://localhost:* is replaced)";
    let denied =
        |name: &str, at: &str, fix: &str| unfit(name, &format!("not allowed: {at} {replaced}; to allow it: {fix}"));
    assert_eq!(
        done.lines(),
        [
            denied("one-too", &others_at, &format!("HOOK_ONE_TOO_ALLOW_HTTP={others_at}")),
            denied("other", &mine_at, &format!("HOOK_OTHER_ALLOW={mine_at}")),
            told("one", &mine_at),
            told("other-too", &others_at),
        ]
    );
    assert_eq!((mine.requests().len(), others.requests().len()), (1, 1));
}

#[test]
fn a_setting_belongs_to_the_longest_name_that_it_begins_with() {
    let hook = guests::program("loop_forever");
    let mut run = wrapper().with(&["--plugin-timeout", "900ms"]);
    run.arg("--plugin").arg(named("slack", &hook)).arg("--plugin").arg(named("slack-on", &hook));
    // For a hook `slack` alone this would be its ON_TIMEOUT; and the other way round.
    run.env("HOOK_SLACK_ON_TIMEOUT", "300ms").env("HOOK_SLACK_ON_ON", "always");
    let done = finish(run);
    let words: Vec<_> = done.lines().iter().filter_map(|line| line.split(';').next()?.split("after ").nth(1)).collect();
    assert_eq!(words, ["900ms", "300ms"]);
}

#[test]
fn a_digest_is_held_against_a_gate_or_one_of_several_hooks() {
    let file = repository("hooks/dist/echo.wasm");
    let (right, wrong) = (digest("echo"), "0".repeat(64));
    for hook in ["echo".to_owned(), file.display().to_string()] {
        for option in ["--before", "--plugin"] {
            let run = |sha256: &str| {
                let mut run = wrapper().with(&["--plugin", "first=echo", option]);
                run.arg(format!("pinned={hook}")).env("HOOK_PINNED_SHA256", sha256);
                finish(run)
            };
            let done = run(&right);
            assert_eq!((done.code(), done.lines().len()), (7, 2), "{done:?}");
            let done = run(&wrong);
            assert_eq!(done.code(), 125, "{done:?}");
            let line = format!(
                "wrapper: hook \"pinned\" ({hook}): its SHA-256 is {right}, but HOOK_PINNED_SHA256 expects {wrong}"
            );
            assert_eq!(done.lines()[0], line);
            assert!(done.stderr.contains("wrapper: first: "), "{done:?}");
        }
    }
}

#[test]
fn a_wrong_digest_names_the_variable_of_all_where_that_gave_it() {
    let mut run = wrapper().plugin("echo");
    run.env("WRAPPER_PLUGIN_SHA256", "0".repeat(64));
    let done = finish(run);
    assert!(done.code() == 125 && done.line().contains(", but WRAPPER_PLUGIN_SHA256 expects 0000"), "{done:?}");
}

#[test]
fn two_digests_for_one_hook_have_to_be_the_same() {
    let right = digest("echo");
    for (own, code) in [(right.clone(), 7), (right.to_uppercase(), 7), ("0".repeat(64), 125)] {
        let mut run = wrapper().with(&["--plugin-sha256", &right]).plugin("echo");
        run.env("HOOK_ECHO_SHA256", &own);
        let done = finish(run);
        assert_eq!(done.code(), code, "{done:?}");
        let line = "wrapper: HOOK_ECHO_SHA256 and --plugin-sha256 differ for the same hook; set one of them";
        assert!(code == 7 || done.line() == line, "{done:?}");
    }
}

#[test]
fn a_digest_for_a_hook_that_is_not_listed_is_an_error() {
    for (variable, code) in [
        ("HOOK_ECO_SHA256", 125),
        ("HOOK_SHA256", 125),
        ("HOOK__SHA256", 125),
        ("HOOK_ECHO_TOO_SHA256", 125),
        ("HOOK_ECHO_SHA256", 7),
        ("HOOK_GATE_SHA256", 7),
        ("HOOK_ECO_SHA256SUM", 7),
        ("MY_HOOK_ECO_SHA256", 7),
    ] {
        let mut run = wrapper().with(&["--before", "gate=echo"]).plugin("echo");
        run.env(variable, digest("echo"));
        let done = finish(run);
        assert_eq!(done.code(), code, "{variable}: {done:?}");
        if code == 125 {
            assert!(
                done.line().starts_with(&format!("wrapper: {variable}: there is no hook of this name")),
                "{done:?}"
            );
        }
    }
    let mut run = wrapper().plugin("echo");
    run.env("HOOK_ECO_SHA256", "");
    assert_eq!(finish(run).code(), 7);
}

#[test]
fn a_gate_that_is_optional_may_fail_in_any_way_and_the_command_starts() {
    let fails = guests::hook("fail");
    let (traps, loops) = (guests::hook("panic_in_function"), guests::program("loop_forever"));
    for hook in [&fails, &traps, &loops] {
        for (optional, code) in [("true", 7), ("false", 125), ("", 125)] {
            let mut run = wrapper().with(&["--before", &named("gate", hook), "--before", "next=echo"]);
            run.env("HOOK_GATE_OPTIONAL", optional).env("HOOK_GATE_TIMEOUT", "5s");
            let done = finish(run);
            assert_eq!(done.code(), code, "{hook:?} {optional:?}: {done:?}");
            assert_eq!(done.stderr.contains("wrapper: next: "), code == 7, "{done:?}");
            assert_eq!(done.stderr.contains("HOOK_GATE_OPTIONAL is true"), code == 7, "{done:?}");
        }
    }
}

#[test]
fn an_optional_gate_does_not_excuse_another() {
    let fails = guests::hook("fail");
    let run = wrapper().with(&["--before", &named("may", &fails), "--before", &named("must", &fails)]);
    let mut run = run.plugin("echo");
    run.env("HOOK_MAY_OPTIONAL", "true");
    let done = finish(run);
    assert_eq!(done.code(), 125);
    assert!(done.lines().contains(&failed("must", "the cat is out").as_str()), "{done:?}");
}

#[test]
fn the_failure_of_an_optional_hook_after_the_command_is_no_failure_either() {
    let fails = guests::hook("fail");
    for (optional, code) in [("true", 0), ("false", 125)] {
        let mut run = wrapper().with(&["--plugin-failure", "fail"]).plugin(named("last", &fails)).with(&["true"]);
        run.env("HOOK_LAST_OPTIONAL", optional);
        let done = run.done();
        assert_eq!((done.code(), done.line()), (code, failed("last", "the cat is out").as_str()));
    }
}

#[test]
fn an_optional_hook_that_cannot_be_loaded_is_still_an_error() {
    let mut run = wrapper().with(&["--before", "/nosuch.wasm"]);
    run.env("HOOK_NOSUCH_OPTIONAL", "true");
    assert_eq!(finish(run).code(), 125);
}

#[test]
fn a_bad_value_is_125_in_one_line_that_names_the_variable_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("started");
    for option in ["--before", "--plugin"] {
        for (setting, value, words) in [
            ("TIMEOUT", "soon", "not a time"),
            ("TIMEOUT", "0s", "more than 0"),
            ("MEMORY", "much", "not a size"),
            ("MEMORY", "1KiB", "between 64KiB and"),
            ("ALLOW_HTTP", "localhost", "http://"),
            ("ALLOW_HTTP", "http://localhost:0", "port"),
            ("SHA256", "00", "64 hexadecimal digits"),
            ("ON", "sometimes", "must be one of: always, success, failure"),
            ("OPTIONAL", "maybe", "must be true or false"),
        ] {
            let mut run = wrapper().with(&[option, "one=echo", "--plugin", "two=echo"]);
            run.env(format!("HOOK_ONE_{setting}"), value);
            let done = run.with(&["touch", mark.to_str().unwrap()]).done();
            let start = format!("wrapper: HOOK_ONE_{setting} \"{value}\": ");
            assert_eq!(done.code(), 125, "{setting}={value}: {done:?}");
            assert!(done.line().starts_with(&start) && done.line().contains(words), "{done:?}");
            assert!(!mark.exists(), "{setting}={value}");
        }
    }
    let mut run = wrapper().plugin("one=echo");
    run.env("HOOK_ONE_ALLOW_HTTP", "http://localhost:*, localhost");
    let done = finish(run);
    assert!(done.code() == 125 && done.line().starts_with("wrapper: HOOK_ONE_ALLOW_HTTP \"localhost\": "), "{done:?}");
}

#[test]
fn settings_of_hooks_that_are_disabled_or_not_listed_have_no_effect() {
    for (disabled, hook) in [("true", "one=echo"), ("false", "two=echo")] {
        let mut run = wrapper().plugin(hook);
        run.env("WRAPPER_DISABLE_HOOKS", disabled).env("HOOK_ONE_TIMEOUT", "soon").env("HOOK_ONE_MEMORY", "much");
        run.env("HOOK_ONE_OPTIONAL", "maybe").env("HOOK_ONE_ALLOW_HTTP", "everywhere");
        if disabled == "true" {
            run.env("HOOK_NOBODY_SHA256", "00");
        }
        let done = finish(run);
        let unknown = done.lines().iter().filter(|line| line.ends_with(": there is no hook of this name")).count();
        let (lines, warnings) = if disabled == "true" { (0, 0) } else { (5, 4) };
        assert_eq!((done.code(), done.lines().len(), unknown), (7, lines, warnings), "{done:?}");
    }
}
