//! Options come before the command, variables are their defaults, and errors are reported before anything starts.

use crate::harness::{Run, wrapper};
use serde_json::Value;
use std::{path::Path, process::Command};

/// A message in which the most memory of a hook is that of 64-bit platforms: on 32-bit Arm it is 1 GiB.
fn as_on_64_bits(line: &str) -> String {
    line.replace("between 64KiB and 1GiB", "between 64KiB and 4GiB")
}

#[test]
fn everything_from_the_command_on_is_passed_on_verbatim() {
    for args in [&["echo", "--plugin", "x", "-h", "--"][..], &["--", "echo", "--plugin", "x", "-h", "--"]] {
        let done = wrapper().with(args).done();
        assert_eq!((done.code(), done.stdout.as_str()), (0, "--plugin x -h --\n"), "{args:?}");
    }
}

#[test]
fn after_two_dashes_even_a_dash_is_a_command() {
    assert_eq!(wrapper().with(&["--", "--", "ls"]).done().code(), 127);
}

#[test]
fn no_command_is_125_with_usage_on_stderr_and_no_hook() {
    for args in [&[][..], &["--plugin", "echo"], &["--plugin", "echo", "--"]] {
        let done = wrapper().with(args).done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{args:?}");
        assert!(done.line().contains("usage: wrapper [OPTIONS] [--] COMMAND"), "{done:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout_and_start_nothing() {
    for (args, word) in [(["--help", "sh"], "WRAPPER_PLUGIN_PATH"), (["--version", "sh"], env!("CARGO_PKG_VERSION"))] {
        let done = wrapper().plugin("echo").with(&args).done();
        assert_eq!((done.code(), done.stderr.as_str()), (0, ""), "{done:?}");
        assert!(done.stdout.contains(word), "{done:?}");
    }
}

#[test]
fn a_bad_option_is_125_in_one_line_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("started");
    for (args, words) in [
        (&["--nosuch"][..], "--nosuch"),
        (&["--plugin", "nosuch"], "no such built-in hook (there are: cloudsql-quit, "),
        (&["--plugin", ""], "the name is empty"),
        (&["--plugin-timeout", "10x"], r#"--plugin-timeout "10x": not a time such as 500ms, 10s or 1m30s"#),
        (&["--plugin-timeout", "0s"], "more than 0"),
        (&["--plugin-memory", "1KiB"], "between 64KiB and 4GiB"),
        (&["--plugin-on", "sometimes"], "must be one of: always, success, failure"),
        (&["--plugin-failure", "maybe"], "must be one of: ignore, fail"),
        (&["--allow-http", "localhost"], "http://"),
        (&["--allow-http", "http://localhost:0"], "port"),
        (
            &["--allow", "tcp://localhost"],
            "--allow-http \"tcp://localhost\": no port: tcp://localhost:PORT, or tcp://localhost:*",
        ),
        (&["--allow", "grpc://localhost:1"], "http:// or https://, or for probes with tcp:// or dns://"),
        (&["--plugin-env", "A=B"], "without =value"),
        (&["--plugin-sha256", "00", "--plugin", "echo"], "64 hexadecimal digits"),
        (&["--memory-reserve", "on"], r#"--memory-reserve "on": not a size such as 512KiB, 64MiB or 1GiB"#),
        (&["--memory-reserve=-1MiB"], "--memory-reserve \"-1MiB\": not a size"),
        (&["--memory-reserve", "16"], "too small, it must be 0 or at least 1MiB"),
        (&["--stop-timeout=-1s"], "--stop-timeout \"-1s\": not a time"),
        (&["--timeout", "0"], "--timeout \"0\": must be more than 0"),
        (&["--timeout", "2 hours or so"], "--timeout \"2 hours or so\": not a time such as 500ms, 10s or 1m30s"),
        (&["--grace-period", "soon"], "--grace-period \"soon\": not a time"),
        (&["--rewrite-signal", "TERM"], "--rewrite-signal \"TERM\": \"TERM\" is not of the form FROM=TO"),
        (&["--rewrite-signal", "15:3"], "\"15:3\" is not of the form FROM=TO"),
        (
            &["--rewrite-signal", "TERM=FOO"],
            "\"FOO\" is not a signal: a name such as TERM or RTMIN+1, or a number up to 64",
        ),
        (&["--rewrite-signal", "0=TERM"], "\"0\" is not a signal"),
        (&["--rewrite-signal", "65=TERM"], "\"65\" is not a signal"),
        (&["--rewrite-signal", "kill=TERM"], "SIGKILL cannot be rewritten, because no program can catch it"),
        (&["--rewrite-signal", "19=TERM"], "SIGSTOP cannot be rewritten, because no program can catch it"),
        (&["--rewrite-signal", "SEGV=TERM"], "SIGSEGV cannot be rewritten, because it is not forwarded"),
        (&["--rewrite-signal", "TERM=15"], "SIGTERM is rewritten to itself"),
        (&["--rewrite-signal", "TERM=QUIT,15=0"], "--rewrite-signal: SIGTERM is rewritten twice"),
        (&["--leftovers", "kill"], "--leftovers \"kill\": must be one of: ignore, wait, stop"),
        (&["--leftovers-timeout", "0s"], "--leftovers-timeout \"0s\": must be more than 0"),
        (&["--success-codes", "300"], "--success-codes \"300\": \"300\" is not an exit code from 0 to 255"),
        (
            &["--success-codes", "3,SIGTERM"],
            "\"SIGTERM\" is not an exit code from 0 to 255 (128 + n is that of signal n)",
        ),
        (&["--success-codes", "3,"], "\"\" is not an exit code"),
        (&["--map-code", "1"], "--map-code \"1\": \"1\" is not of the form FROM=TO"),
        (&["--map-code", "1:2"], "\"1:2\" is not of the form FROM=TO"),
        (&["--map-code", "1=256"], "\"256\" is not an exit code from 0 to 255"),
        (&["--map-code", "0=1"], "--map-code \"0=1\": 0 is success and cannot be mapped"),
        (&["--map-code", "7=0"], "--map-code \"7=0\": for a code that counts as success use --success-codes 7"),
        (&["--map-code", "7=7"], "--map-code \"7=7\": 7 is mapped to itself"),
        (&["--map-code", "1=2,1=3"], "--map-code: 1 is mapped twice, to 2 and to 3"),
        (&["--map-code", "1=2", "--map-code", "1=2"], "--map-code: 1 is mapped twice, to 2 and to 2"),
        (
            &["--success-codes", "3", "--map-code", "3=4"],
            "--map-code: 3 counts as success (--success-codes) and cannot be mapped",
        ),
        (&["--log", "loud"], "must be one of: error, warn, info, debug"),
        (&["--log-format", "xml"], "must be one of: text, json"),
    ] {
        let done = wrapper().with(args).with(&["touch", marker.to_str().unwrap()]).done();
        assert_eq!(done.code(), 125, "{args:?}");
        let line = as_on_64_bits(done.line());
        assert!(line.starts_with("wrapper: ") && line.contains(words), "{args:?}: {line}");
        assert!(!Path::new(&marker).exists(), "{args:?} started the command");
    }
}

#[test]
fn a_mistake_in_the_command_line_is_explained() {
    for (args, message) in [
        (&["--plugins", "echo"][..], "unknown option --plugins; did you mean --plugin?"),
        (&["--Kill-gruop"], "unknown option --Kill-gruop; did you mean --kill-group?"),
        (&["--verbose"], "unknown option --verbose; see wrapper --help"),
        (&["-v"], "unknown option -v; see wrapper --help"),
        (&["--plugin", "--"], "--after <HOOK> needs a value"),
        (&["--kill-group=true"], "--kill-group takes no value"),
        (&["--log", "info", "--log", "debug"], "--log is given more than once"),
        (&["--stop-timeout", "-5s"], "--stop-timeout \"-5s\": not a time such as 500ms, 10s or 1m30s"),
        (&["--plugin-memory", "64"], "--plugin-memory \"64\": too small, it must be between 64KiB and 4GiB"),
        (
            &["--allow-http", "http://a,http://b"],
            "must be one URL; the option is repeated, and several are separated by \",\" in the variable",
        ),
        (&["--hooks", "echo"], "unknown option --hooks; did you mean --after?"),
        (&["--hook-timeout", "5s"], "unknown option --hook-timeout; did you mean --plugin-timeout?"),
        (&["-after", "echo"], "unknown option -after; did you mean --after?"),
        (
            &["--after echo"],
            "unknown option \"--after echo\": it is a single argument; in a manifest write [\"--after\", \"echo\"]",
        ),
        (&["--", "--after", "echo"], "--after comes after --, which ends wrapper's options; put it in front of the --"),
        (&["--before-hook", "echo"], "unknown option --before-hook; did you mean --before?"),
        (
            &["—after", "echo"],
            "\"—after\" begins with an em dash (U+2014); write it in ASCII, an option with two hyphens: --",
        ),
        (&["––after", "echo"], "begins with an en dash (U+2013); write it in ASCII, an option with two hyphens: --"),
        (
            &["“/my-job”"],
            "begins with a typographic quotation mark (U+201C); write it in ASCII, an option with two hyphens: --",
        ),
        (&["--allow-http", "http://a/b"], "must end after the host and port; paths cannot be restricted"),
        (&["--allow-http", "http://*.localhost:*"], "write localhost, which includes its subdomains"),
        (&["--allow-http", "dns://10.0.0.1"], "an address needs no lookup, dns:// is for names"),
        (&["--allow-http", "http://*"], "cannot allow every host, only subdomains (*.example.com) and every port (:*)"),
    ] {
        let done = wrapper().with(args).with(&["true"]).done();
        assert!(done.code() == 125 && done.line().starts_with("wrapper: "), "{args:?}: {done:?}");
        assert!(as_on_64_bits(done.line()).ends_with(message), "{args:?}: {done:?}");
    }
}

#[test]
fn the_message_for_a_rule_with_a_secret_does_not_contain_it() {
    for (options, variable) in [
        (&["--allow", "http://user:S3CRET@localhost"][..], "UNUSED"),
        (&[], "WRAPPER_ALLOW_HTTP"),
        (&[], "HOOK_ECHO_ALLOW"),
    ] {
        let mut run = wrapper().with(options).with(&["--after", "echo", "true"]);
        run.env(variable, "http://user:S3CRET@localhost");
        let done = run.done();
        assert_eq!(done.code(), 125, "{done:?}");
        assert!(done.line().ends_with("\"http://…@localhost\": must not contain a user name"), "{done:?}");
    }
    let mut run = wrapper().with(&["true"]);
    run.env("WRAPPER_ALLOW", "https://hooks.slack.com/services/T0/S3CRET");
    let words =
        "WRAPPER_ALLOW \"https://hooks.slack.com/…\": must end after the host and port; paths cannot be restricted";
    assert_eq!(run.done().line(), format!("wrapper: {words}"));
}

#[test]
fn an_allow_list_has_two_names_and_the_variable_is_set_under_one_of_them() {
    let run = |options: &[&str], variables: &[(&str, &str)]| {
        let mut run = wrapper().with(&["--before", "http-ready"]).with(options).with(&["true"]);
        run.env("HOOK_HTTP_READY_URL", "http://localhost:1/").envs(variables.iter().copied());
        run.env("HOOK_HTTP_READY_ABSENT", "start").env("HOOK_HTTP_READY_STARTUP", "0");
        run.done()
    };
    let (here, elsewhere) = ("http://localhost:1", "http://10.1.2.3:1");
    for (options, variables, denied_by) in [
        (&["--allow", here][..], &[][..], None),
        (&["--allow", elsewhere], &[], Some("HOOK_HTTP_READY_ALLOW=")),
        (&["--allow", elsewhere, "--allow-http", here], &[], None),
        (&[], &[("WRAPPER_ALLOW", here)], None),
        (&[], &[("WRAPPER_ALLOW", elsewhere)], Some("HOOK_HTTP_READY_ALLOW=")),
        (&["--allow", here], &[("WRAPPER_ALLOW", "x"), ("WRAPPER_ALLOW_HTTP", "x")], None),
        (&[], &[("WRAPPER_ALLOW", ""), ("WRAPPER_ALLOW_HTTP", here)], None),
        (&[], &[("HOOK_HTTP_READY_ALLOW", elsewhere)], Some("HOOK_HTTP_READY_ALLOW=")),
        (&[], &[("HOOK_HTTP_READY_ALLOW_HTTP", elsewhere)], Some("HOOK_HTTP_READY_ALLOW_HTTP=")),
    ] {
        let done = run(options, variables);
        let first = done.lines()[0].to_owned();
        assert_eq!(done.code(), if denied_by.is_some() { 125 } else { 0 }, "{options:?} {variables:?}: {done:?}");
        match denied_by {
            Some(by) => {
                assert!(first.ends_with(&format!("; to allow it: {by}{here}")), "{options:?} {variables:?}: {done:?}")
            }
            None => assert!(first.contains("is considered absent"), "{options:?} {variables:?}: {done:?}"),
        }
    }
    for names in [["WRAPPER_ALLOW_HTTP", "WRAPPER_ALLOW"], ["HOOK_HTTP_READY_ALLOW", "HOOK_HTTP_READY_ALLOW_HTTP"]] {
        let done = run(&[], &names.map(|name| (name, here)));
        let [first, second] = names;
        let line = format!("wrapper: {first} and {second} are both set and mean the same; set one of them");
        assert_eq!((done.code(), done.line()), (125, line.as_str()));
    }
    let done = run(&[], &[("WRAPPER_ALLOW", "nonsense")]);
    assert!(done.line().starts_with("wrapper: WRAPPER_ALLOW \"nonsense\": must start with"), "{done:?}");
}

#[test]
fn an_invalid_option_is_logged_in_the_format_of_the_log() {
    let message = |run: Command| {
        let done = run.done();
        assert_eq!(done.code(), 125, "{done:?}");
        serde_json::from_str::<Value>(done.line()).map(|line| line["message"].clone())
    };
    for args in [&["--nosuch"][..], &["--plugin-timeout", "x"], &[]] {
        assert!(message(wrapper().with(&["--log-format", "json"]).with(args)).is_ok(), "{args:?}");
        let mut run = wrapper().with(args);
        run.env("WRAPPER_LOG_FORMAT", "json");
        assert!(message(run).is_ok(), "{args:?}");
        assert!(message(wrapper().with(args)).is_err(), "{args:?}");
    }
    let twice = wrapper().with(&["--log-format", "json", "--log", "info", "--log", "info", "true"]);
    assert_eq!(message(twice).unwrap(), "--log is given more than once");
    assert!(message(wrapper().with(&["--log-format", "jsn", "true"])).is_err());
}

#[test]
fn a_bad_variable_is_named_and_a_good_option_wins_over_it() {
    let mut run = wrapper().with(&["true"]);
    run.env("WRAPPER_PLUGIN_TIMEOUT", "soon");
    let done = run.done();
    assert_eq!(done.code(), 125);
    assert!(done.line().contains(r#"WRAPPER_PLUGIN_TIMEOUT "soon": not a time"#), "{done:?}");

    let mut run = wrapper().with(&["--plugin-timeout", "1s", "true"]);
    run.env("WRAPPER_PLUGIN_TIMEOUT", "soon");
    assert_eq!(run.done().code(), 0);
}

#[test]
fn an_unset_or_empty_variable_is_plain_init() {
    let mut run = wrapper().with(&["true"]);
    for name in ["WRAPPER_PLUGIN_PATH", "WRAPPER_BEFORE_PLUGIN_PATH", "WRAPPER_PLUGIN_TIMEOUT", "WRAPPER_ALLOW_HTTP"] {
        run.env(name, "");
    }
    let done = run.done();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
}

#[test]
fn several_hooks_in_the_variable_run_in_their_order() {
    let mut run = wrapper().with(&["true"]);
    // As YAML's block text has it.
    run.env("WRAPPER_PLUGIN_PATH", "echo:\n  echo :\n").env("WRAPPER_BEFORE_PLUGIN_PATH", "echo");
    let done = run.done();
    let lines = done.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("about to start") && lines[1].contains("exited") && lines[2].contains("exited"));
}

#[test]
fn disable_hooks_runs_none_whatever_else_is_set() {
    let mut run = wrapper().with(&["--plugin", "/nosuch.wasm", "true"]);
    run.env("WRAPPER_DISABLE_HOOKS", "1").env("WRAPPER_BEFORE_PLUGIN_PATH", "echo");
    let done = run.done();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
}

#[test]
fn plugin_on_chooses_the_ends_after_which_hooks_run() {
    for (when, command, runs) in [
        ("always", "true", true),
        ("always", "false", true),
        ("success", "true", true),
        ("success", "false", false),
        ("failure", "true", false),
        ("failure", "false", true),
        ("failure", "nosuch", true),
        ("success", "nosuch", false),
    ] {
        let done = wrapper().with(&["--plugin-on", when]).plugin("echo").with(&[command]).done();
        assert_eq!(done.stderr.contains("wrapper: echo: "), runs, "{when} {command}");
    }
}

#[test]
fn after_and_plugin_are_one_option() {
    let done =
        wrapper().with(&["--after", "first=echo", "--plugin", "second=echo", "--after", "third=echo", "true"]).done();
    assert_eq!(done.code(), 0, "{done:?}");
    let names: Vec<_> = done.lines().iter().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(names, ["first", "second", "third"]);
    let mut run = wrapper().with(&["--after", "option=echo", "true"]);
    run.env("WRAPPER_PLUGIN_PATH", "variable=echo");
    assert!(run.done().line().starts_with("wrapper: option: "));
    let help = wrapper().with(&["--help"]).done().stdout;
    assert!(help.contains("--after <HOOK>") && help.contains("[alias: --plugin]"), "{help}");
}

#[test]
fn a_variable_with_a_typo_is_125_and_names_the_one_that_was_meant() {
    for (name, meant) in [
        ("WRAPPER_PLUGIN", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_AFTER", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_PLUGINS", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_HOOK", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_HOOKS", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_AFTER_HOOKS", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_AFTER_PLUGIN_PATH", "WRAPPER_PLUGIN_PATH"),
        ("WRAPPER_BEFORE", "WRAPPER_BEFORE_PLUGIN_PATH"),
        ("WRAPPER_BEFORE_HOOK", "WRAPPER_BEFORE_PLUGIN_PATH"),
        ("WRAPPER_PLUGIN_TIMOUT", "WRAPPER_PLUGIN_TIMEOUT"),
        ("WRAPPER_HOOK_TIMEOUT", "WRAPPER_PLUGIN_TIMEOUT"),
        ("WRAPPER_AFTER_ON", "WRAPPER_PLUGIN_ON"),
        ("WRAPPER_ALLOW_HTTPS", "WRAPPER_ALLOW_HTTP"),
    ] {
        let mut run = wrapper().with(&["echo", "started"]);
        run.env(name, "echo");
        let done = run.done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{name}");
        assert_eq!(done.line(), format!("wrapper: unknown variable {name}; did you mean {meant}?"));
    }
}

#[test]
fn an_option_that_has_no_effect_without_another_is_a_warning_and_its_variable_is_none() {
    let no_hook = "no hook is listed (--after, --before)";
    for (option, value, needed, why) in [
        ("--allow-http", "https://a.example", "--after=echo", no_hook),
        ("--plugin-on", "failure", "--before=echo", no_hook),
        ("--plugin-failure", "fail", "--disable-hooks", no_hook),
        ("--plugin-env", "POD", "--after=echo", no_hook),
        ("--leftovers-timeout", "5s", "--leftovers=ignore", "--leftovers is not set"),
        ("--witness-name", "a", "--witness=/nosuch", "--witness is not set"),
        ("--witness-containers", "2", "--witness=/nosuch", "--witness is not set"),
    ] {
        let done = wrapper().with(&[option, value, "sh", "-c", "exit 7"]).done();
        assert_eq!((done.code(), done.line()), (7, format!("wrapper: {option} has no effect: {why}").as_str()));
        let done = wrapper().with(&[needed, option, value, "sh", "-c", "exit 7"]).done();
        assert!(done.code() == 7 && !done.stderr.contains("no effect"), "{done:?}");
        let mut run = wrapper().with(&["sh", "-c", "exit 7"]);
        run.env(format!("WRAPPER_{}", option.trim_start_matches('-').replace('-', "_").to_uppercase()), value);
        let done = run.done();
        assert_eq!((done.code(), done.stderr.as_str()), (7, ""));
    }
}

#[test]
fn an_option_after_the_command_is_the_commands_and_a_warning_says_so() {
    let warning = |option: &str| {
        format!(
            "wrapper: {option} comes after the command, so it is an argument of \"echo\"; wrapper's options go before \
             the command (write -- in front of the command if this is meant)\n"
        )
    };
    for (args, option) in [
        (&["echo", "--plugin", "echo"][..], Some("--plugin")),
        (&["echo", "x", "--after=echo"], Some("--after")),
        (&["--log", "info", "echo", "--timeout", "5m", "--plugin"], Some("--plugin")),
        (&["echo", "--before", "gate=/hooks/x.wasm"], Some("--before")),
        (&["echo", "--allow-http=https://hooks.example"], Some("--allow-http")),
        // Options of many programs.
        (&["echo", "--after", "2026-11-01", "--before=/var/log", "--timeout", "5m", "--log", "info"], None),
        (&["--", "echo", "--plugin", "echo"], None),
        (&["echo", "--plug", "-plugin", "plugin", "--", "--plugins"], None),
        (&["echo"], None),
    ] {
        let done = wrapper().with(args).done();
        assert_eq!((done.code(), done.stderr), (0, option.map(warning).unwrap_or_default()), "{args:?}");
    }
}

#[test]
fn an_unknown_variable_is_logged_and_changes_nothing() {
    for (name, hint) in [
        ("WRAPPER_WHATEVER", Some("see wrapper --help")),
        ("WRAPPER_LOG", None),
        ("MY_WRAPPER_LOG", None),
        // Variables that Kubernetes sets for a Service.
        ("WRAPPER_SERVICE_HOST", None),
        ("WRAPPER_UI_SERVICE_PORT_HTTP", None),
        ("WRAPPER_PORT_80_TCP_ADDR", None),
    ] {
        let mut run = wrapper().with(&["sh", "-c", "exit 7"]);
        run.env(name, "info");
        let done = run.done();
        assert_eq!(done.code(), 7, "{name}");
        let line = hint.map(|hint| format!("wrapper: unknown variable {name}; {hint}\n"));
        assert_eq!(done.stderr, line.unwrap_or_default(), "{name}");
    }
}
