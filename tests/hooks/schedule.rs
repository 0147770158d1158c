//! Which hooks run when and under which name, and when they are compiled.

use crate::harness::{
    Done, LOOK, Run, Running, eventually, failed, guests, kill,
    peer::Peer,
    processes::{Process, command_of},
    repository, unfit, wrapper,
};
use nix::libc::{SIGKILL, SIGTERM};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, process::Command, thread};

/// The names of the hooks `echo` that spoke, in their order.
fn spoke(done: &Done) -> Vec<&str> {
    done.lines().into_iter().filter_map(name_of_echo).collect()
}

fn name_of_echo(line: &str) -> Option<&str> {
    let (name, words) = line.strip_prefix("wrapper: ")?.split_once(": ")?;
    (words.starts_with('"') || words.starts_with("about to start ")).then_some(name)
}

/// A wrapper with the hook `echo` under each of these names.
fn echoes(names: &[&str]) -> Command {
    names.iter().fold(wrapper(), |run, name| run.plugin(format!("{name}=echo")))
}

const FAILS: &str = r#"(func (export "run") (result i32) i32.const 1)"#;
const TRAPS: &str = r#"(func (export "run") (result i32) unreachable)"#;
const NEVER_ENDS: &str = r#"(func (export "run") (result i32) (loop (br 0)) unreachable)"#;

// When.

#[test]
fn each_hook_chooses_its_ends_and_the_others_have_the_common_choice() {
    for (common, command, runs) in [
        (None, "true", &["always", "success", "common"][..]),
        (None, "false", &["always", "failure", "common"]),
        (Some("failure"), "true", &["always", "success"]),
        (Some("failure"), "false", &["always", "failure", "common"]),
        (Some("success"), "true", &["always", "success", "common"]),
        (Some("success"), "false", &["always", "failure"]),
        (Some("always"), "false", &["always", "failure", "common"]),
    ] {
        let mut run = echoes(&["always", "success", "failure", "common"]);
        for when in ["always", "success", "failure"] {
            run.env(format!("HOOK_{}_ON", when.to_uppercase()), when);
        }
        // An empty variable counts as not set.
        run.env("HOOK_COMMON_ON", "");
        let run = run.with(common.map(|when| ["--plugin-on", when]).as_ref().map_or(&[], |option| option));
        assert_eq!(spoke(&run.with(&[command]).done()), runs, "{common:?} {command}");
    }
}

#[test]
fn a_command_that_was_killed_or_not_started_has_failed() {
    for (command, code) in [(&["sh", "-c", "kill -9 $$"][..], 137), (&["/no/such/program"], 127), (&["/"], 126)] {
        let mut run = echoes(&["good", "bad"]);
        run.env("HOOK_GOOD_ON", "success").env("HOOK_BAD_ON", "failure");
        let done = run.with(command).done();
        assert_eq!((done.code(), spoke(&done)), (code, vec!["bad"]), "{command:?}");
    }
}

#[test]
fn a_hook_that_cannot_be_loaded_is_a_failure_for_the_others() {
    let mut run = echoes(&["good", "bad"]).plugin("/no/such/hook.wasm");
    run.env("HOOK_GOOD_ON", "success").env("HOOK_BAD_ON", "failure");
    let done = run.with(&["true"]).done();
    assert_eq!((done.code(), spoke(&done)), (125, vec!["bad"]), "{done:?}");
}

#[test]
fn hooks_run_in_the_order_in_which_they_are_named_whoever_is_left_out() {
    for (command, runs) in [("true", ["c", "b", "e", "f"]), ("false", ["d", "b", "a", "f"])] {
        let mut run = echoes(&["c", "d", "b", "e", "a", "f"]);
        for (name, when) in [("C", "success"), ("E", "success"), ("D", "failure"), ("A", "failure")] {
            run.env(format!("HOOK_{name}_ON"), when);
        }
        assert_eq!(spoke(&run.with(&[command]).done()), runs);
    }
}

#[test]
fn an_alert_on_failure_and_a_quit_in_any_case_stand_side_by_side() {
    for (script, alerts) in [("exit 0", 0), ("exit 7", 1)] {
        let (chat, sidecar) = (Peer::with_status(200), Peer::with_status(200));
        let mut run = wrapper().plugin("alert=http").plugin("istio-quit").with(&["sh", "-c", script]);
        run.env("HOOK_ALERT_ON", "failure").env("HOOK_ALERT_URL", chat.url("/alert"));
        run.env("HOOK_ISTIO_QUIT_URL", sidecar.url("/quitquitquit"));
        let done = run.done();
        assert_eq!((chat.requests().len(), sidecar.requests().len()), (alerts, 1), "{done:?}");
    }
}

#[test]
fn what_stands_before_the_command_runs_whatever_is_chosen_for_what_comes_after() {
    let mut run = wrapper().with(&["--plugin-on", "failure", "--before", "start=echo"]).plugin("end=echo");
    run.env("HOOK_START_ON", "failure");
    assert_eq!(spoke(&run.with(&["true"]).done()), ["start"]);
}

#[test]
fn a_choice_that_is_none_is_125_in_one_line_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("started");
    let file = directory.path().join("my.hook.wasm");
    fs::copy(repository("hooks/dist/echo.wasm"), &file).unwrap();
    let renamed = format!("Other_1-x={}", file.display());
    for (hook, variable) in [
        ("echo", "HOOK_ECHO_ON"),
        ("to-slack=http", "HOOK_TO_SLACK_ON"),
        (file.to_str().unwrap(), "HOOK_MY_HOOK_ON"),
        (&renamed, "HOOK_OTHER_1_X_ON"),
    ] {
        let mut run = wrapper().with(&["--before", "start=echo"]).plugin("first=echo").plugin(hook);
        run.env(variable, "sometimes");
        let done = run.with(&["touch", mark.to_str().unwrap()]).done();
        let line = format!("wrapper: {variable} \"sometimes\": must be one of: always, success, failure");
        assert_eq!((done.code(), done.line()), (125, line.as_str()), "{hook}");
        assert!(!mark.exists(), "{hook}: the command was started");
    }
}

#[test]
fn the_variable_of_a_hook_that_is_not_configured_is_ignored() {
    let mut run = wrapper().plugin("slack=echo");
    run.env("HOOK_ECHO_ON", "sometimes").env("HOOK_SLACK_ONLY", "sometimes");
    assert_eq!(spoke(&run.with(&["true"]).done()), ["slack"]);
}

// Whatever the others do.

/// Runs a hook between two others after a command that failed; what is said of it in between is returned.
#[track_caller]
fn between(module: &str) -> String {
    let hook = guests::as_program(module);
    let run = wrapper().with(&["--plugin-timeout", "1s"]).plugin("first=echo");
    let run = run.plugin(format!("odd={}", hook.display())).plugin("last=echo");
    let done = run.with(&["sh", "-c", "exit 7"]).done();
    assert_eq!((done.code(), spoke(&done)), (7, vec!["first", "last"]), "{done:?}");
    let [_, told, _] = done.lines().try_into().unwrap_or_else(|lines| panic!("{lines:?}"));
    told.strip_prefix("wrapper: hook \"odd\": ").unwrap_or_else(|| panic!("{told}")).into()
}

#[test]
fn a_hook_that_fails_does_not_stop_those_after_it() {
    assert_eq!(between(FAILS), "failed: its main function returned an error");
}

#[test]
fn a_hook_that_traps_does_not_stop_those_after_it() {
    assert!(between(TRAPS).starts_with("failed: trapped: "));
}

#[test]
fn a_hook_that_never_ends_does_not_stop_those_after_it() {
    assert_eq!(between(NEVER_ENDS), "timed-out after 1s; raise --plugin-timeout");
}

#[test]
fn with_plugin_failure_fail_a_hook_counts_only_where_it_runs() {
    let hook = guests::as_program(FAILS);
    for (when, code) in [("success", 125), ("failure", 0)] {
        let mut run = wrapper().with(&["--plugin-failure", "fail"]).plugin(format!("odd={}", hook.display()));
        run.env("HOOK_ODD_ON", when);
        let done = run.plugin("last=echo").with(&["true"]).done();
        assert_eq!((done.code(), spoke(&done)), (code, vec!["last"]), "{when}: {done:?}");
    }
}

// Under which name.

#[test]
fn a_hook_speaks_and_is_spoken_of_under_its_new_name() {
    let peer = Peer::with_status(200);
    let hook = || wrapper().plugin("slack=http");
    let mut run = hook();
    run.env("HOOK_SLACK_URL", peer.url("/"));
    assert_eq!(run.with(&["true"]).done().line(), format!("wrapper: slack: sent to http://localhost:{}", peer.port()));
    let done = hook().with(&["true"]).done();
    assert_eq!(done.line(), unfit("slack", "HOOK_SLACK_URL is not set"));
}

#[test]
fn a_log_for_machines_has_the_name_and_what_the_user_wrote() {
    let mut run = wrapper().plugin("good=echo").plugin("bad=http");
    run.env("WRAPPER_LOG_FORMAT", "json").env("HOOK_BAD_URL", "{HOOK_BAD_URL}");
    let done = run.with(&["true"]).done();
    let lines: Vec<Value> = done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hooks: Vec<_> = lines.iter().map(|line| (&line["hook"], &line["source"])).collect();
    assert_eq!(hooks, [(&json!("good"), &json!("echo")), (&json!("bad"), &json!("http"))], "{done:?}");
}

#[test]
fn hooks_are_given_names_in_the_variables_too_and_files_as_well() {
    let mut run = wrapper().with(&["true"]);
    run.env("WRAPPER_BEFORE_PLUGIN_PATH", "start=echo");
    run.env("WRAPPER_PLUGIN_PATH", format!("a=echo:b={}:echo", repository("hooks/dist/echo.wasm").display()));
    assert_eq!(spoke(&run.done()), ["start", "a", "b", "echo"]);
}

#[test]
fn the_same_hook_under_two_names_has_two_settings() {
    let (one, other) = (Peer::with_status(200), Peer::with_status(404));
    let mut run = wrapper().plugin("one=http").plugin("an-other=http");
    run.env("HOOK_ONE_URL", one.url("/1/{result}")).env("HOOK_ONE_METHOD", "PUT");
    run.env("HOOK_AN_OTHER_URL", other.url("/2")).env("HOOK_AN_OTHER_BODY", "{exit_code}");
    let done = run.with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(
        done.lines(),
        [
            format!("wrapper: one: sent to http://localhost:{}", one.port()),
            failed("an-other", &format!("\"http://localhost:{}\": answered 404", other.port())),
        ]
    );
    assert!(one.requests()[0].starts_with("PUT /1/failure "), "{:?}", one.requests());
    assert!(other.requests()[0].ends_with("\r\n\r\n7"), "{:?}", other.requests());
}

#[test]
fn an_unknown_built_in_hook_is_reported_behind_a_name_too() {
    for (written, message) in
        [("htpp", "no such built-in hook; did you mean http? (there are: "), ("", "the name is empty")]
    {
        let done = wrapper().plugin(format!("slack={written}")).with(&["true"]).done();
        let start = format!("wrapper: hook \"slack\" ({written}): {message}");
        assert!(done.code() == 125 && done.line().starts_with(&start), "{done:?}");
    }
}

#[test]
fn a_file_keeps_an_equals_sign_in_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a=b.wasm");
    fs::copy(repository("hooks/dist/echo.wasm"), &file).unwrap();
    assert_eq!(spoke(&wrapper().plugin(&file).with(&["true"]).done()), ["a=b"]);
    let mut run = wrapper().plugin("./a=b.wasm").with(&["true"]);
    run.current_dir(&directory);
    assert_eq!(spoke(&run.done()), ["a=b"]);
}

// Compiled by whom.

/// The lowest priority there is, at which hooks are compiled beside the command.
const LOWEST: i64 = 19;

/// A hook that does nothing, with so much code beside it that compiling it takes a while.
fn slow_to_compile() -> tempfile::TempPath {
    let round = "local.get 0 i64.const 40503 i64.mul local.get 0 i64.const 7 i64.rotl i64.xor local.set 0 ";
    let function = format!("(func (param i64) (result i64) {} local.get 0) ", round.repeat(100));
    guests::as_program(&format!(r#"{} (func (export "run") (result i32) i32.const 0)"#, function.repeat(600)))
}

/// The same with bytes behind it that mean nothing. wrapper waits for the code the longer the larger the file is: for
/// this one more than a minute.
fn slow_to_compile_and_waited_for() -> tempfile::TempPath {
    /// A custom section of the name `x`, and of the length that is still compiled beside the command.
    const SECTION: [u8; 7] = [0, 0x82, 0x80, 0x80, 0x03, 1, b'x'];
    let component = fs::read(slow_to_compile()).unwrap();
    guests::bytes(&[&component[..], &SECTION, &vec![0; 6 << 20]].concat())
}

/// The priority of a process, and how much of a processor it has used, in clock ticks (proc(5)).
fn effort(pid: i32) -> Option<(i64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    Some((number(16)?, u64::try_from(number(11)? + number(12)?).ok()?))
}

/// wrapper's children that have the lowest priority.
fn compilers(wrapper: i32) -> Vec<i32> {
    let children = Process::children(wrapper).into_iter().map(|process| process.pid);
    children.filter(|pid| effort(*pid).is_some_and(|(nice, _)| nice == LOWEST)).collect()
}

/// A wrapper with a command that says `ready` and runs until SIGTERM.
fn beside(hook: impl AsRef<std::ffi::OsStr>, options: &[&str]) -> Running {
    let run = wrapper().with(options).plugin(hook).with(&["sh", "-c", "echo ready; exec sleep 400"]);
    let mut run = run.running();
    run.until_stdout_has("ready\n");
    run
}

/// Has the command stopped, and says what came of it.
#[track_caller]
fn stopped(run: Running) -> Done {
    run.signal(SIGTERM);
    let done = run.done();
    assert_eq!(done.code(), 128 + SIGTERM, "{done:?}");
    done
}

#[test]
fn a_built_in_hook_and_a_file_of_the_same_bytes_are_compiled_already() {
    for hook in [Path::new("echo"), &repository("hooks/dist/echo.wasm")] {
        let run = beside(hook, &["--log", "debug"]);
        let children = Process::children(run.pid());
        assert!(matches!(children.as_slice(), [command] if command.name != "wrapper"), "{children:?}");
        let done = stopped(run);
        assert!(done.stderr.contains("echo: \"sh\" "), "{done:?}");
        assert!(!done.stderr.contains("(compiler)"), "{done:?}");
    }
}

#[test]
fn with_plugin_prepare_off_a_file_is_checked_and_not_compiled_beside_the_command() {
    let hook = slow_to_compile();
    let run = beside(&hook, &["--plugin-prepare", "off", "--plugin-timeout", "60s"]);
    eventually("who checked the hook has gone", || {
        assert_eq!(compilers(run.pid()), [0; 0]);
        Process::children(run.pid()).len() == 1
    });
    // The hook still runs, and has nothing to say.
    assert_eq!(stopped(run).stderr, "");
}

#[test]
fn with_plugin_prepare_off_what_stands_before_the_command_runs_too() {
    let mut run = wrapper().with(&["--before", "start=echo"]).plugin("end=echo");
    run.env("WRAPPER_PLUGIN_PREPARE", "off");
    assert_eq!(spoke(&run.with(&["true"]).done()), ["start", "end"]);
}

#[test]
fn what_compiles_hooks_beside_the_command_has_the_lowest_priority_and_ends_by_itself() {
    let hook = slow_to_compile();
    // It is none of the processes that the command has left behind, either.
    for options in [&[][..], &["--plugin-prepare", "on"], &["--leftovers", "stop"]] {
        let run = beside(&hook, options);
        eventually("a process that compiles", || compilers(run.pid()).len() == 1);
        let command = command_of(run.pid());
        assert_ne!(command.name, "wrapper");
        assert_eq!(stopped(run).stderr, "");
    }
}

#[test]
fn a_hook_runs_even_if_what_compiles_it_is_killed() {
    let hook = slow_to_compile();
    let run = beside(&hook, &["--plugin-timeout", "60s"]);
    let mut found = Vec::new();
    eventually("a process that compiles", || {
        found = compilers(run.pid());
        found.len() == 1
    });
    kill(found[0], SIGKILL);
    command_of(run.pid());
    assert_eq!(stopped(run).stderr, "");
}

#[test]
fn after_a_command_that_ends_at_once_the_code_is_awaited_and_not_made_twice() {
    let hook = slow_to_compile_and_waited_for();
    let mut run = wrapper().with(&["--plugin-timeout", "200s"]).plugin(&hook).with(&["true"]).running();
    let mut efforts = BTreeMap::new();
    while !run.has_ended() {
        for process in Process::children(run.pid()) {
            if let Some(effort) = effort(process.pid) {
                efforts.insert(process.pid, effort);
            }
        }
        thread::sleep(LOOK);
    }
    let done = run.done();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    let most = |compiles: bool| {
        let those = efforts.values().filter(|(nice, _)| (*nice == LOWEST) == compiles);
        those.map(|(_, ticks)| *ticks).max().unwrap_or(0)
    };
    assert!(most(true) > 3 * most(false), "clock ticks: {} for compiling, {} for running", most(true), most(false));
}

#[test]
fn after_a_command_that_ends_at_once_a_hook_runs_exactly_once() {
    for prepare in ["on", "off"] {
        for _ in 0..5 {
            let peer = Peer::with_status(200);
            let mut run = wrapper().with(&["--plugin-prepare", prepare]).plugin("http").with(&["true"]);
            run.env("HOOK_HTTP_URL", peer.url("/"));
            let done = run.done();
            assert_eq!((done.code(), peer.requests().len()), (0, 1), "{prepare}: {done:?}");
        }
    }
}

#[test]
fn a_plugin_prepare_that_is_none_is_125_in_one_line_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("started");
    let command = ["touch", mark.to_str().unwrap()];
    let with_option = wrapper().with(&["--plugin-prepare", "maybe"]).plugin("echo").with(&command).done();
    let mut with_variable = wrapper().plugin("echo").with(&command);
    with_variable.env("WRAPPER_PLUGIN_PREPARE", "maybe");
    for (done, name) in [(with_option, "--plugin-prepare"), (with_variable.done(), "WRAPPER_PLUGIN_PREPARE")] {
        let line = format!("wrapper: {name} \"maybe\": must be on or off");
        assert_eq!((done.code(), done.line()), (125, line.as_str()));
        assert!(!mark.exists(), "the command was started");
    }
}
