//! The context that a hook gets, typed and as environment variables.

use crate::harness::{Run, guests, wrapper};
use std::path::PathBuf;

/// The lines that a hook of tests/guests logged, without their prefixes.
#[track_caller]
fn log_of(hook: PathBuf, options: &[&str], command: &[&str]) -> Vec<String> {
    let mark = format!("wrapper: {}: ", hook.file_stem().unwrap().to_str().unwrap());
    let mut run = wrapper().with(options).plugin(hook).with(command);
    run.env("HOOK_GREETING", "hello").env("SECRET", "hidden").env("LISTED", "shown").env("EXIT_STATUS", "forged");
    run.done().stderr.lines().filter_map(|line| line.strip_prefix(&mark)).map(Into::into).collect()
}

/// The number that a hook logged after this name.
#[track_caller]
fn number(logged: &[String], name: &str) -> u64 {
    let line = logged.iter().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap()
}

#[track_caller]
fn assert_logged(logged: &[String], lines: &[&str]) {
    for expected in lines {
        assert!(logged.iter().any(|line| line == expected), "{expected:?} is missing in {logged:#?}");
    }
}

#[test]
fn a_hook_knows_how_the_command_ended() {
    for (script, outcome, succeeded) in [
        ("exit 0", "outcome Some(Exited(0))", "succeeded true"),
        ("exit 7", "outcome Some(Exited(7))", "succeeded false"),
        ("kill -9 $$", "outcome Some(Killed { signal: 9, core_dumped: false })", "succeeded false"),
    ] {
        let logged = log_of(guests::hook("log_context"), &[], &["sh", "-c", script]);
        let command = format!(r#"command ["sh", "-c", "{script}"]"#);
        assert_logged(&logged, &["phase After", &command, outcome, succeeded, "stop signal None", "name log_context"]);
        assert_logged(&logged, &["position Position { number: 1, count: 1 }", r#"variable Some("hello")"#]);
        assert!(logged.iter().any(|line| line.starts_with("elapsed ms Some(")), "{logged:#?}");
    }
}

#[test]
fn a_hook_knows_what_the_command_used() {
    const MIB: u64 = 1 << 20;
    // 48 MiB in a process that the command waits for, then half a second of a processor's time.
    let script = "python3 -c 'bytearray(48 << 20)'; \
                  exec python3 -c 'import time\nwhile time.process_time() < 0.5: pass'";
    let logged = log_of(guests::hook("log_context"), &[], &["bash", "-c", &script.replace("\\n", "\n")]);
    let peak = number(&logged, "peak memory ");
    // An emulator that starts the command is larger than wrapper, and counts until the command is executed.
    assert!((48 * MIB..400 * MIB).contains(&peak), "{logged:#?}");
    assert!((500..5_000).contains(&number(&logged, "cpu time ms ")), "{logged:#?}");
    assert_logged(&logged, &["cause None", "leftovers None"]);
}

#[test]
fn a_hook_knows_that_the_command_was_not_started_and_why() {
    let logged = log_of(guests::hook("log_context"), &[], &["nosuch"]);
    assert_logged(
        &logged,
        &[
            r#"outcome Some(NotStarted { reason: "No such file or directory (not found in PATH)", exit_code: 127 })"#,
            "succeeded false",
            "started at None",
            "elapsed ms None",
            "exit code 127",
            "peak memory None",
            "cpu time ms None",
        ],
    );
}

#[test]
fn a_hook_before_the_command_knows_no_outcome() {
    let hook = guests::hook("log_context");
    let logged = log_of(hook.clone(), &["--before", hook.to_str().unwrap()], &["true"]);
    assert_logged(&logged[..logged.len() / 2], &["phase Before", "outcome None", "elapsed ms None"]);
    assert_logged(&logged[logged.len() / 2..], &["phase After", "outcome Some(Exited(0))"]);
}

#[test]
fn the_times_are_those_of_the_run() {
    let logged = log_of(guests::hook("log_context"), &["--plugin-timeout", "7s"], &["sleep", "0.3"]);
    let number = |name: &str| number(&logged, name);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((300..20_000).contains(&number("elapsed ms ")), "{logged:#?}");
    assert!(number("uptime ms ") >= number("elapsed ms "), "{logged:#?}");
    assert!((1..=7000).contains(&number("time left ms ")), "{logged:#?}");
    assert!((now - 60..=now).contains(&number("started at ")), "{logged:#?}");
}

#[test]
fn a_program_finds_the_context_in_variables_and_no_variable_it_was_not_given() {
    for (script, lines) in [
        ("exit 7", ["EXIT_CODE=exited", "EXIT_STATUS=7", "WRAPPER_EXIT_CODE=7", "WRAPPER_SUCCEEDED=false"]),
        ("kill -9 $$", ["EXIT_CODE=killed", "EXIT_STATUS=9", "WRAPPER_EXIT_CODE=137", "WRAPPER_SUCCEEDED=false"]),
    ] {
        let command = format!("WRAPPER_COMMAND=sh -c {script}");
        let logged = log_of(guests::program("print_environment"), &["--plugin-env", "LISTED"], &["sh", "-c", script]);
        let mut names = Vec::new();
        for variable in logged.iter().filter_map(|line| line.strip_prefix("variable ")) {
            names.push(variable.split('=').next().unwrap());
            let others = ["HOOK_GREETING=hello", "LISTED=shown", "NO_COLOR=1", "WRAPPER_PHASE=after", &command];
            let expected = [&lines[..], &others].concat();
            let numbers = ["WRAPPER_ELAPSED_MS", "WRAPPER_STARTED_AT_MS", "WRAPPER_CPU_MS", "WRAPPER_PEAK_MEMORY"];
            assert!(
                expected.contains(&variable) || numbers.iter().any(|name| variable.starts_with(name)),
                "{variable}"
            );
        }
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "EXIT_CODE",
                "EXIT_STATUS",
                "HOOK_GREETING",
                "LISTED",
                "NO_COLOR",
                "WRAPPER_COMMAND",
                "WRAPPER_CPU_MS",
                "WRAPPER_ELAPSED_MS",
                "WRAPPER_EXIT_CODE",
                "WRAPPER_PEAK_MEMORY",
                "WRAPPER_PHASE",
                "WRAPPER_STARTED_AT_MS",
                "WRAPPER_SUCCEEDED"
            ]
        );
        assert_logged(&logged, &["argument 0 print_environment"]);
    }
}

#[test]
fn a_program_learns_that_the_command_was_not_started() {
    let logged = log_of(guests::program("print_environment"), &[], &["nosuch"]);
    assert_logged(
        &logged,
        &[
            "variable EXIT_CODE=not-started",
            "variable EXIT_STATUS=127",
            "variable WRAPPER_REASON=No such file or directory (not found in PATH)",
        ],
    );
}

/// Which of these variables a program sees as a hook of this name, with these options.
#[track_caller]
fn seen(name: &str, options: &[&str], variables: &[&str]) -> Vec<String> {
    let hook = format!("{name}={}", guests::program("print_environment").display());
    let mut run = wrapper().with(options).plugin(hook).with(&["true"]);
    run.envs(variables.iter().map(|variable| (variable, "secret")));
    let done = run.done();
    assert_eq!(done.code(), 0, "{done:?}");
    let mark = format!("wrapper: {name}: variable ");
    let logged = done.stderr.lines().filter_map(|line| line.strip_prefix(&mark)?.strip_suffix("=secret"));
    let mut logged: Vec<String> = logged.map(Into::into).collect();
    // An emulator may hand them on in another order.
    logged.sort();
    logged
}

#[test]
fn a_hook_sees_no_variable_that_begins_with_the_name_of_another_listed_hook() {
    const VARIABLES: [&str; 6] = [
        "HOOK_SLACK_URL",
        "HOOK_DAPR_SHUTDOWN_TOKEN",
        "HOOK_GATE_HEADERS",
        "HOOK_MINE_TOKEN",
        "HOOK_POD",
        "HOOK_SLACKER_URL",
    ];
    let others = ["--before", "gate=echo", "--plugin", "slack=echo", "--plugin", "dapr-shutdown=echo"];
    assert_eq!(seen("mine", &others, &VARIABLES), ["HOOK_MINE_TOKEN", "HOOK_POD", "HOOK_SLACKER_URL"]);
    // Unlisted, they belong to no other hook.
    assert_eq!(seen("mine", &[], &VARIABLES).len(), VARIABLES.len());
}

#[test]
fn settings_that_sidecars_reads_are_hidden_from_other_hooks() {
    let mut run = wrapper().plugin(guests::program("print_environment")).plugin("sidecars").with(&["true"]);
    run.env("HOOK_SIDECARS_STARTUP", "0").env("HOOK_DAPR_SHUTDOWN_TOKEN", "secret").env("HOOK_POD", "my-pod");
    let done = run.done();
    assert!(done.stderr.contains("variable HOOK_POD=my-pod") && !done.stderr.contains("secret"), "{done:?}");
}

#[test]
fn of_two_names_that_a_variable_begins_with_the_longer_is_its_owner() {
    const VARIABLES: [&str; 3] = ["HOOK_SLACK_EXTRA_URL", "HOOK_SLACK_EXTRAS", "HOOK_SLACK_URL"];
    let seen = |name, other| seen(name, &["--plugin", &format!("{other}=echo")], &VARIABLES);
    assert_eq!(seen("slack-extra", "slack"), ["HOOK_SLACK_EXTRA_URL"]);
    assert_eq!(seen("slack", "slack-extra"), ["HOOK_SLACK_EXTRAS", "HOOK_SLACK_URL"]);
}

#[test]
fn a_hook_under_another_name_sees_the_variables_of_its_own_unless_a_hook_of_that_name_is_listed() {
    const VARIABLES: [&str; 2] = ["HOOK_MINE_URL", "HOOK_PRINT_ENVIRONMENT_URL"];
    assert_eq!(seen("mine", &["--plugin", "print=echo"], &VARIABLES), VARIABLES);
    assert_eq!(seen("mine", &["--plugin", "print_environment=echo"], &VARIABLES), ["HOOK_MINE_URL"]);
}

#[test]
fn hooks_of_one_name_share_their_variables() {
    assert_eq!(seen("mine", &["--before", "mine=echo"], &["HOOK_MINE_URL"]), ["HOOK_MINE_URL"]);
}

#[test]
fn plugin_env_shows_every_hook_even_what_begins_with_the_name_of_one() {
    let options = ["--plugin", "slack=echo", "--plugin-env", "HOOK_SLACK_CHANNEL"];
    assert_eq!(seen("mine", &options, &["HOOK_SLACK_CHANNEL", "HOOK_SLACK_URL"]), ["HOOK_SLACK_CHANNEL"]);
}

#[test]
fn programs_are_asked_for_output_without_colours_unless_the_variable_is_granted() {
    let hook = guests::program("print_environment");
    let run = |options: &[&str]| {
        let mut run = wrapper().with(options).plugin(&hook).with(&["true"]);
        run.env("NO_COLOR", "mine");
        let done = run.done();
        let logged = done.stderr.lines().filter_map(|line| line.split_once("variable NO_COLOR="));
        logged.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(run(&[]), ["1"]);
    assert_eq!(run(&["--plugin-env", "NO_COLOR"]), ["mine"]);
}
