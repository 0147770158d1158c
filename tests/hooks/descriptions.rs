//! A hook says which settings it has, when it runs and where it connects; what does not fit is found before the command
//! starts. It is the same for built-in hooks, whose description is in the binary, and for files.

use crate::harness::{Done, Run, failed, guests, misconfigured, peer::Peer, repository, unfit, wrapper};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

/// Runs a command that exits with 7.
fn finish(run: Command) -> Done {
    run.with(&["sh", "-c", "echo started; exit 7"]).done()
}

/// The hook under this name, from the binary and from a file.
fn both(name: &str, hook: &str) -> [String; 2] {
    [format!("{name}={hook}"), format!("{name}={}", guests::official(hook).display())]
}

fn warning(hook: &str, words: &str) -> String {
    format!("wrapper: hook \"{hook}\": {words}")
}

#[test]
fn a_wrong_value_keeps_the_command_from_starting_and_other_hooks_run() {
    for hook in both("quit", "istio-quit") {
        for (setting, value, words) in [
            ("STARTUP", "abc", "not a time such as 500ms, 10s or 1m30s"),
            ("ABSENT", "never", "not one of ok, wait, fail"),
            ("WAIT_GONE", "maybe", "not one of true, yes, on, 1, false, no, off, 0"),
        ] {
            // Under the name that it is listed by, and under its own.
            for name in ["QUIT", "ISTIO_QUIT"] {
                let mut run = wrapper().plugin(&hook).plugin("echo");
                run.env(format!("HOOK_{name}_{setting}"), value);
                let done = finish(run);
                assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{hook} {setting}: {done:?}");
                let line = unfit("quit", &format!("HOOK_{name}_{setting}=\"{value}\": {words}"));
                assert_eq!(done.lines()[0], line, "{hook}");
                assert!(done.lines()[1].contains("echo: \"sh\" was not started: "), "{done:?}");
            }
        }
    }
}

#[test]
fn a_value_that_the_hook_would_refuse_is_an_error_at_the_start() {
    for (option, hook, variables, words) in [
        (
            "--before",
            "ready",
            &[("HOOK_X_FOR", "dns://localhost"), ("HOOK_X_PERIOD", "0")][..],
            "HOOK_X_PERIOD must be more than 0",
        ),
        (
            "--before",
            "istio-ready",
            &[("HOOK_ISTIO_READY_PERIOD", "0ms")],
            "HOOK_ISTIO_READY_PERIOD must be more than 0",
        ),
        (
            "--after",
            "pushgateway",
            &[("HOOK_X_GROUPING", "a=b,namespace")],
            "HOOK_X_GROUPING: item 2 is not of the form name=value",
        ),
        ("--after", "pushgateway", &[("HOOK_X_TRY_TIMEOUT", "0s")], "HOOK_X_TRY_TIMEOUT must be more than 0"),
        (
            "--after",
            "http",
            &[("HOOK_X_URL", "http://localhost:1/"), ("HOOK_X_METHOD", "PO ST")],
            "HOOK_X_METHOD=\"PO ST\": not a method such as POST",
        ),
        (
            "--after",
            "http",
            &[("HOOK_X_URL", "http://localhost:1/"), ("HOOK_X_METHOD", "trace")],
            "HOOK_X_METHOD=\"trace\": hooks may not use it",
        ),
        ("--before", "http-ready", &[("HOOK_X_URL", " , ")], "HOOK_X_URL is an empty list"),
        (
            "--after",
            "sidecars",
            &[("HOOK_X_EXCEPT", "Envoy-Quit, vault-quits"), ("HOOK_X_STARTUP", "0")],
            "HOOK_X_EXCEPT: \"vault-quits\" is not one of istio-quit, envoy-quit, linkerd-shutdown, consul-shutdown, \
             dapr-shutdown, cloudsql-quit, vault-quit; did you mean vault-quit?",
        ),
    ] {
        for listed in both("x", hook) {
            let run = |optional: &str| {
                let mut run = wrapper().with(&[option, &listed]);
                run.env("HOOK_X_OPTIONAL", optional).envs(variables.iter().copied());
                finish(run)
            };
            let done = run("false");
            assert_eq!(
                (done.code(), done.stdout.as_str(), done.line()),
                (125, "", unfit("x", words).as_str()),
                "{listed}"
            );
            // An optional hook runs nevertheless.
            let done = run("true");
            let refuses = |line: &&str| line.starts_with(&misconfigured("x", ""));
            assert!(done.code() == 7 && done.lines().iter().any(refuses), "{listed} {variables:?}: {done:?}");
        }
    }
}

#[test]
fn variables_that_are_the_commands_too_do_not_keep_it_from_starting() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const COLLECTOR: &str = "http://collector.example:4318";
    let not_allowed = format!("not allowed: {COLLECTOR}; to allow it: HOOK_OTLP_ALLOW={COLLECTOR}");
    for (variables, warnings, requests) in [
        (&[("OTEL_METRICS_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s")][..], vec![], 1),
        (
            &[
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
                ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000"),
                ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1000"),
            ],
            vec![],
            2,
        ),
        (
            &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none"), (ENDPOINT, COLLECTOR)],
            vec![&not_allowed],
            0,
        ),
        (&[("OTEL_SDK_DISABLED", "true"), (ENDPOINT, COLLECTOR)], vec![&not_allowed], 0),
        (&[("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], vec![], 0),
    ] {
        let peer = Peer::with_status(200);
        let mut run = wrapper().plugin("otlp");
        run.env(ENDPOINT, peer.url("/")).envs(variables.iter().copied());
        let done = finish(run);
        assert_eq!((done.code(), done.stdout.as_str(), peer.requests().len()), (7, "started\n", requests), "{done:?}");
        let lines = done.lines();
        let found: Vec<_> = lines.iter().filter(|line| line.starts_with("wrapper: hook ")).copied().collect();
        let expected: Vec<_> = warnings.into_iter().map(|words| warning("otlp", words)).collect();
        assert_eq!(found, expected, "{variables:?}");
    }
}

#[test]
fn a_method_that_looks_like_a_typo_is_a_warning_and_any_other_is_none() {
    let peer = Peer::with_status(200);
    for (method, meant) in [("PSOT", true), ("purge", false), ("put", false)] {
        let mut run = wrapper().plugin("ping=http");
        run.env("HOOK_PING_URL", peer.url("/")).env("HOOK_PING_METHOD", method);
        let done = finish(run);
        let line = warning("ping", "HOOK_PING_METHOD=\"PSOT\" is not a usual method; did you mean POST?");
        assert_eq!((done.code(), done.lines().len()), (7, 1 + usize::from(meant)), "{done:?}");
        assert_eq!(done.lines()[0] == line, meant, "{done:?}");
    }
}

#[test]
fn a_startup_time_that_does_not_fit_into_the_time_limit_is_a_warning_that_names_both() {
    let peer = Peer::with_status(200);
    let consequence = "after a short command the hook fails if there is no sidecar; lower the one or raise the other";
    for (variables, words) in [
        (&[("HOOK_QUIT_STARTUP", "10s")][..], Some("HOOK_QUIT_STARTUP (10s) does not fit into --plugin-timeout 10s")),
        (&[("HOOK_QUIT_TIMEOUT", "5s")], Some("HOOK_QUIT_STARTUP (5s) does not fit into HOOK_QUIT_TIMEOUT=5s")),
        (
            &[("HOOK_QUIT_TIMEOUT", "5s"), ("HOOK_QUIT_STARTUP", "4400ms")],
            Some("HOOK_QUIT_STARTUP (4s 400ms) does not fit into HOOK_QUIT_TIMEOUT=5s"),
        ),
        (&[("HOOK_QUIT_TIMEOUT", "5s"), ("HOOK_QUIT_STARTUP", "4300ms")], None),
        (&[("HOOK_QUIT_TIMEOUT", "5s"), ("HOOK_QUIT_ABSENT", "wait")], None),
        (&[("HOOK_QUIT_TIMEOUT", "5s"), ("HOOK_QUIT_ABSENT", "fail")], None),
        (
            &[("HOOK_QUIT_TIMEOUT", "5s"), ("HOOK_QUIT_ABSENT", "OK")],
            Some("HOOK_QUIT_STARTUP (5s) does not fit into HOOK_QUIT_TIMEOUT=5s"),
        ),
    ] {
        for hook in both("quit", "istio-quit") {
            let mut run = wrapper().plugin(&hook);
            run.env("HOOK_QUIT_URL", peer.url("/")).envs(variables.iter().copied());
            let done = finish(run);
            let expected: Vec<_> =
                words.map(|words| warning("quit", &format!("{words}: {consequence}"))).into_iter().collect();
            assert_eq!(
                (done.code(), &done.lines()[..done.lines().len() - 1]),
                (7, expected.iter().map(String::as_str).collect::<Vec<_>>().as_slice())
            );
        }
    }
}

#[test]
fn a_file_with_certificates_that_cannot_be_opened_is_a_warning_at_the_start() {
    let directory = repository("tests").display().to_string();
    let key = "-----BEGIN PRIVATE KEY-----\nS3CRET\n-----END PRIVATE KEY-----";
    for (variable, path, words) in [
        ("HOOK_PING_TLS_CERT", "/nosuch.pem", " \"/nosuch.pem\": No such file or directory"),
        ("HOOK_PING_TLS_KEY", directory.as_str(), &format!(" {directory:?}: not a regular file")),
        ("SSL_CERT_FILE", "/nosuch.pem", " \"/nosuch.pem\": No such file or directory"),
        ("HOOK_PING_TLS_KEY", key, " has the content of a file; it takes the file's path"),
    ] {
        for hook in both("ping", "http") {
            let mut run = wrapper().plugin(&hook);
            run.env("HOOK_PING_URL", "https://localhost:1/").env("HOOK_PING_ALLOW", "https://localhost:1");
            let this = repository("Cargo.toml");
            run.env("HOOK_PING_TLS_CERT", &this).env("HOOK_PING_TLS_KEY", &this).env(variable, format!("{path}\n"));
            // It is written while the command runs, by a sidecar perhaps, or is not needed.
            let done = finish(run.with(&["--plugin-timeout", "2s"]));
            assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
            assert_eq!(done.lines()[0], warning("ping", &format!("{variable}{words}")), "{hook}");
            assert!(!done.stderr.contains("S3CRET"), "{done:?}");
        }
    }
    // Nothing over HTTPS: the variable is the command's.
    let mut run = wrapper().plugin("echo");
    run.env("SSL_CERT_FILE", "/nosuch.pem");
    assert_eq!(finish(run).lines().len(), 1);
}

#[test]
fn a_sidecar_that_quits_only_after_a_failure_is_a_warning() {
    let peer = Peer::with_status(200);
    for (hook, when, warns) in
        [("istio-quit", "failure", true), ("istio-quit", "success", false), ("http", "failure", false)]
    {
        for listed in both("x", hook) {
            let mut run = wrapper().with(&["--plugin-on", when]).plugin(&listed);
            run.env("HOOK_X_URL", peer.url("/"));
            let done = finish(run);
            let line = "runs only after a failure; after a success the sidecar keeps running (HOOK_X_ON=always)";
            assert_eq!(done.lines().contains(&warning("x", line).as_str()), warns, "{done:?}");
        }
    }
}

#[test]
fn a_hook_that_connects_to_another_host_after_the_proxy_has_quit_is_a_warning() {
    let (elsewhere, here) = ("http://192.0.2.1", "http://localhost:1");
    for (before, url, after, warns) in [
        ("istio-quit", elsewhere, "echo", true),
        ("sidecars", elsewhere, "echo", true),
        ("istio-quit", here, "echo", false),
        ("cloudsql-quit", elsewhere, "echo", false),
        ("echo", elsewhere, "istio-quit", false),
    ] {
        for listed in both("x", "http") {
            // The same bytes as the built-in hook's.
            let quit = repository(&format!("hooks/dist/{before}.wasm"));
            for quit in [before, &format!("quit={}", quit.display())] {
                let mut run = wrapper().with(&["--check", "--after", quit, "--after", &listed, "--after", after]);
                run.env("HOOK_X_URL", url).env("HOOK_X_ALLOW_HTTP", url);
                let done = run.with(&["true"]).done();
                let name = if quit == before { before } else { "quit" };
                let line = format!(
                    "runs after \"{name}\": once the mesh's proxy has quit, the pod cannot connect to other hosts; \
                     list \"{name}\" last"
                );
                assert_eq!(done.code(), 0, "{done:?}");
                assert_eq!(done.lines().contains(&warning("x", &line).as_str()), warns, "{done:?}");
            }
        }
    }
}

#[test]
fn a_url_that_yaml_or_kubernetes_has_spoilt_is_explained() {
    for (url, why) in [
        ("\"https://a.example\"", "it begins with a quotation mark"),
        ("$(URL)", "Kubernetes has not replaced $(…)"),
        ("http://localhost:1/hook # the cron monitor", "it contains white space"),
        ("http://localhost:1/a\n/b", "it contains white space"),
        ("{HOOK_HTTP_BASE} /x", "it contains white space"),
    ] {
        let mut run = wrapper().plugin("http");
        run.env("HOOK_HTTP_URL", url);
        let words = format!("HOOK_HTTP_URL is not a URL of the form http://host:port/path; {why}");
        assert_eq!(finish(run).lines()[0], unfit("http", &words));
    }
}

#[test]
fn a_header_that_is_not_for_hooks_to_set_is_an_error() {
    for hook in both("ping", "http") {
        for header in ["Host", "connection ", "Transfer-Encoding", "Content-Length"] {
            let mut run = wrapper().plugin(&hook);
            run.env("HOOK_PING_URL", "http://localhost:1/").env("HOOK_PING_HEADERS", format!("X-A: 1\n{header}: x"));
            let words = format!("HOOK_PING_HEADERS: hooks may not set the header {}", header.trim());
            assert_eq!(finish(run).line(), unfit("ping", &words));
        }
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    for hook in both("ping", "http") {
        let mut run = wrapper().plugin(&hook);
        run.env("HOOK_PING_HEADERS", "X-Good: 1\nX-Bad").env("HOOK_PING_TRY_TIMEOUT", "1x");
        let done = finish(run);
        let words = [
            "HOOK_PING_URL is not set",
            "HOOK_PING_HEADERS: a line is not \"Name: value\"",
            "HOOK_PING_TRY_TIMEOUT=\"1x\": not a time such as 500ms, 10s or 1m30s",
        ];
        assert_eq!(
            (done.code(), done.lines()),
            (125, words.map(|words| unfit("ping", words)).to_vec().iter().map(String::as_str).collect())
        );
    }
}

#[test]
fn a_hook_in_the_wrong_phase_is_an_error_that_names_the_option() {
    for (option, hook, words) in [
        ("--plugin", "istio-ready", "runs before the command only: list it with --before"),
        ("--before", "linkerd-shutdown", "runs after the command only: list it with --after"),
        ("--before", "pushgateway", "runs after the command only: list it with --after"),
    ] {
        for listed in both("x", hook) {
            let done = finish(wrapper().with(&[option, &listed]));
            assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{listed}: {done:?}");
            assert!(done.line().starts_with(&unfit("x", words)), "{listed}: {done:?}");
        }
    }
    let done = finish(wrapper().plugin("istio-ready"));
    assert!(done.line().ends_with("; after the command, use istio-quit"), "{done:?}");
}

#[test]
fn an_address_that_a_hook_may_not_connect_to_is_named_before_the_command_starts() {
    let replaced = "http://localhost:15020 (the default http://localhost:* is replaced)";
    for hook in both("quit", "istio-quit") {
        let mut run = wrapper().plugin(&hook);
        run.env("WRAPPER_ALLOW_HTTP", "https://hc-ping.com");
        let done = finish(run);
        let words = format!("not allowed: {replaced}; to allow it: HOOK_QUIT_ALLOW=http://localhost:15020");
        assert_eq!((done.code(), done.line()), (125, unfit("quit", &words).as_str()));
    }
    for hook in both("ping", "http") {
        let mut run = wrapper().plugin(&hook);
        run.env("HOOK_PING_URL", "https://S3CRET.example/S3CRET?{exit_code}").env("HOOK_PING_METHOD", "PUT");
        let done = finish(run);
        let words = "not allowed: https://s3cret.example:443; to allow it: HOOK_PING_ALLOW=https://s3cret.example:443";
        assert_eq!((done.code(), done.line()), (125, unfit("ping", words).as_str()));
    }
}

#[test]
fn addresses_that_are_no_settings_of_the_hook_are_checked_too() {
    let replaced = "not allowed: http://localhost:15020 (the default http://localhost:* is replaced)";
    let allow = "; to allow it: HOOK_SIDECARS_ALLOW=";
    let not_a_url = "is not a URL of the form http://host:port/path";
    for (hook, variable, value, words) in [
        ("sidecars", "WRAPPER_ALLOW", "https://a.example", format!("{replaced}{allow}http://localhost:15020")),
        ("sidecars", "HOOK_VAULT_QUIT_URL", "vault", format!("HOOK_VAULT_QUIT_URL {not_a_url}")),
    ] {
        let mut run = wrapper().plugin(hook);
        run.env(variable, value);
        let done = finish(run);
        assert_eq!((done.code(), done.stdout.as_str(), done.line()), (125, "", unfit(hook, &words).as_str()));
    }
}

#[test]
fn one_of_several_usual_addresses_is_enough_and_one_with_a_placeholder_is_not_checked() {
    let peer = Peer::with_status(200);
    let ours = format!("http://localhost:{}", peer.port());
    let mut run = wrapper().plugin("envoy-quit").with(&["--allow-http", "http://localhost:9901"]);
    run.env("HOOK_ENVOY_QUIT_STARTUP", "0").env("HOOK_ENVOY_QUIT_ABSENT", "fail");
    assert_eq!(finish(run).stdout, "started\n");

    let mut run = wrapper().plugin("ping=http").with(&["--allow-http", &ours]);
    run.env("HOOK_PING_URL", "http://{HOOK_PING_HOST}/x").env("HOOK_PING_HOST", format!("localhost:{}", peer.port()));
    let done = finish(run);
    assert_eq!((done.code(), done.stdout.as_str(), peer.requests().len()), (7, "started\n", 0), "{done:?}");
    assert_eq!(done.line(), misconfigured("ping", "HOOK_PING_URL is not a URL of the form https://host/path"));
}

#[test]
fn an_unknown_placeholder_is_an_error_that_names_the_one_that_was_meant() {
    for hook in both("ping", "http") {
        for (setting, template, words) in [
            ("BODY", "{exitcode} {command}", "unknown placeholder {exitcode}; did you mean {exit_code}?"),
            ("URL", "http://localhost:1/{outcom}", "unknown placeholder {outcom}; did you mean {outcome}?"),
            ("HEADERS", "X-Y: {whatever}", "unknown placeholder {whatever}"),
            ("BODY", "{POD}", "{POD} is set, but hooks may not read it (--plugin-env POD)"),
            ("BODY", "{NO_POD}", "{NO_POD} is not set"),
            ("BODY", "{HOOK_TOKEN}", "{HOOK_TOKEN} is not set"),
            ("BODY", "{HOOK_KEY}", "{HOOK_KEY} is not valid UTF-8"),
            ("BODY", "{HOOK_SLACK_URL}", "{HOOK_SLACK_URL} belongs to another hook"),
        ] {
            let other = format!("slack={}", guests::program("nap").display());
            let mut run = wrapper().plugin(&hook).plugin(other);
            run.env("HOOK_PING_URL", "http://localhost:1/").env("POD", "x");
            run.env("HOOK_KEY", OsStr::from_bytes(b"\xff")).env("HOOK_SLACK_URL", "x");
            run.env(format!("HOOK_PING_{setting}"), template);
            let done = finish(run);
            let line = unfit("ping", &format!("HOOK_PING_{setting}: {words}"));
            assert_eq!((done.code(), done.lines()[0]), (125, line.as_str()), "{hook}");
        }
    }
}

#[test]
fn a_variable_that_is_no_setting_is_a_warning_that_names_the_one_that_was_meant() {
    let peer = Peer::with_status(200);
    for hook in both("quit", "istio-quit") {
        for (variable, meant) in [
            ("HOOK_QUIT_URLL", Some("HOOK_QUIT_URL")),
            ("HOOK_QUIT_STARTUP_TIME", None),
            ("HOOK_QUIT_TIMOUT", Some("HOOK_QUIT_TIMEOUT")),
            // wrapper reads its own settings by the name that the hook is listed under.
            ("HOOK_ISTIO_QUIT_TIMEOUT", Some("HOOK_QUIT_TIMEOUT")),
        ] {
            let mut run = wrapper().plugin(&hook);
            run.env("HOOK_QUIT_URL", peer.url("/")).env(variable, "1s");
            let done = finish(run);
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let line = warning("quit", &format!("there is no setting {variable}{meant}"));
            assert_eq!((done.code(), done.lines()[0]), (7, line.as_str()), "{hook}");
            assert_eq!(done.lines().len(), 2, "{done:?}");
        }
    }
}

#[test]
fn a_variable_in_a_template_needs_no_setting_of_its_name() {
    let peer = Peer::with_status(200);
    let mut run = wrapper().plugin("slack=http");
    run.env("HOOK_SLACK_URL", peer.url("/{HOOK_SLACK_TOKEN}")).env("HOOK_SLACK_TOKEN", "x");
    let done = finish(run);
    assert_eq!((done.code(), done.lines().len()), (7, 1), "{done:?}");
    // The hook `http` reads no setting under its own name when it is listed under another.
    let mut run = wrapper().plugin("slack=http");
    run.env("HOOK_SLACK_URL", peer.url("/")).env("HOOK_HTTP_METHOD", "PUT");
    let done = finish(run);
    assert_eq!(
        done.lines()[0],
        warning("slack", "there is no setting HOOK_HTTP_METHOD; did you mean HOOK_SLACK_METHOD?")
    );
}

#[test]
fn a_setting_of_no_listed_hook_is_a_warning() {
    for (variable, words) in [
        ("HOOK_ECHOO_TIMEOUT", Some("there is no hook of this name; did you mean HOOK_ECHO_TIMEOUT?")),
        ("HOOK_ECH_WHATEVER", Some("there is no hook of this name; did you mean HOOK_ECHO_WHATEVER?")),
        ("HOOK_TYPO_ON", Some("there is no hook of this name")),
        ("HOOK_EHCO_TIMEOUT", Some("there is no hook of this name; did you mean HOOK_ECHO_TIMEOUT?")),
        ("HOOK_STAGE", None),
        ("HOOK_POD_NAME", None),
        // Settings of a pod, for the hooks of its other containers.
        ("HOOK_ISTIO_READY_ON_TIMEOUT", None),
    ] {
        let mut run = wrapper().plugin("echo");
        run.env(variable, "1s");
        let done = finish(run);
        let line = words.map(|words| format!("wrapper: {variable}: {words}"));
        assert_eq!((done.code(), done.lines().len()), (7, 1 + usize::from(words.is_some())), "{done:?}");
        assert_eq!(done.lines()[..done.lines().len() - 1], line.iter().collect::<Vec<_>>(), "{done:?}");
    }
}

#[test]
fn settings_without_any_hook_are_a_warning() {
    for (variable, warns) in [("HOOK_ISTIO_QUIT_URL", true), ("HOOK_MINE_ON", true), ("HOOK_MINE_URL", false)] {
        let mut run = wrapper();
        run.env(variable, "x");
        let done = finish(run);
        let line = format!("wrapper: {variable} is set, but no hook is listed (--after, --before)\n");
        assert_eq!((done.code(), done.stderr), (7, if warns { line } else { String::new() }));
    }
}

#[test]
fn what_is_wrong_with_an_optional_hook_is_a_warning_and_the_command_starts() {
    for hook in both("ping", "http") {
        let mut run = wrapper().with(&["--before", &hook]);
        run.env("HOOK_PING_OPTIONAL", "true")
            .env("HOOK_PING_URL", "http://10.1.2.3/")
            .env("WRAPPER_LOG_FORMAT", "json");
        let done = finish(run);
        assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
        let first: serde_json::Value = serde_json::from_str(done.stderr.lines().next().unwrap()).unwrap();
        assert_eq!((&first["level"], &first["verdict"]), (&"warn".into(), &"misconfigured".into()), "{first}");
    }
}

#[test]
fn a_hook_that_says_nothing_about_itself_has_any_setting() {
    let hook = guests::hook("fail");
    let mut run = wrapper().plugin(&hook);
    run.env("HOOK_FAIL_URLL", "x").env("HOOK_FAIL_STARTUP", "x");
    let done = finish(run);
    assert_eq!((done.code(), done.line()), (7, failed("fail", "the cat is out").as_str()));
}

#[test]
fn a_description_puts_no_sentences_into_lines_of_wrapper() {
    const SENTENCE: &str = "A is fine. All is well; run evil. B";
    for description in [
        format!("setting\t{SENTENCE}\t!text"),
        format!("setting\tMODE\t=a|{SENTENCE}"),
        format!("phase\t{SENTENCE}"),
        format!("prefix\t{SENTENCE}\nreads\t{SENTENCE}"),
        format!("setting\t{}\t!text", "X".repeat(65)),
    ] {
        let hook = guests::described("fail", &description);
        let mut run = wrapper().plugin(format!("x={}", hook.display()));
        run.env("HOOK_X_MODE", "b");
        let done = finish(run);
        assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{description}: {done:?}");
        assert!(!done.stderr.contains("well"), "{description}: {done:?}");
        let done = wrapper().with(&["--inspect", hook.to_str().unwrap()]).done();
        assert!(!done.stdout.contains("A is fine"), "{description}: {done:?}");
    }
}

#[test]
fn what_a_description_can_have_logged_is_short_however_long_a_value_is() {
    let names: Vec<_> = (0..30).map(|number| format!("S{number}")).collect();
    let settings: String = names.iter().map(|name| format!("setting\t{name}\ttime\n")).collect();
    let hook = guests::described("fail", &settings.repeat(10));
    let mut run = wrapper().plugin(format!("x={}", hook.display()));
    run.envs(names.iter().map(|name| (format!("HOOK_X_{name}"), "\u{1}".repeat(20_000))));
    let done = finish(run);
    assert_eq!((done.code(), done.lines().len()), (125, 20), "{}", done.stderr.len());
    assert!(done.lines().iter().all(|line| line.len() < 1024), "{}", done.stderr.len());
}

#[test]
fn every_placeholder_of_the_documentation_is_known() {
    let page = std::fs::read_to_string(repository("docs/notifications.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `{"));
    let names: Vec<_> = rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2)).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase())).collect();
    assert!(names.len() > 10, "{names:?}");
    let mut run = wrapper().with(&["--check", "--plugin", "http"]);
    run.env("HOOK_HTTP_URL", "http://localhost:1/").env("HOOK_HTTP_BODY", names.join(" "));
    let done = run.done();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
}
