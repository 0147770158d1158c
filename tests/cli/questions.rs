//! `--check`, `--inspect` and `--list-hooks` answer on stdout and run nothing; the log says what is wrong.

use crate::harness::{Done, Run, digest, executable, guests, peer::Peer, repository, unfit, wrapper};
use serde_json::{Value, json};
use std::process::Command;

/// The answer as JSON.
#[track_caller]
fn answer(run: Command) -> (i32, Value, String) {
    let mut run = run;
    run.env("WRAPPER_LOG_FORMAT", "json");
    let done = run.done();
    let line = done.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("one line: {done:?}"));
    (done.code(), serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done:?}")), done.stderr)
}

fn started(done: &Done) -> bool {
    done.stdout.contains("started\n")
}

#[test]
fn check_says_what_would_run_with_which_access_and_runs_nothing() {
    let peer = Peer::with_status(200);
    let mut run = wrapper().with(&["--check", "--before", "istio-ready", "--stop-timeout", "20s"]);
    let file = guests::official("istio-quit");
    let run = run.arg("--after").arg(format!("quit={}", file.display()));
    run.args(["--after", "slack=http", "--allow-http", "http://localhost:*", "--", "echo", "started"]);
    run.env("HOOK_QUIT_URL", peer.url("/S3CRET")).env("HOOK_QUIT_ON", "success").env("HOOK_QUIT_MEMORY", "1MiB");
    run.env("HOOK_SLACK_URL", "https://hooks.example/S3CRET")
        .env("HOOK_SLACK_ALLOW_HTTP", "https://*.example:*,http://[::1]");
    run.env("HOOK_SLACK_TIMEOUT", "30s");
    let (code, answer, log) = answer(std::mem::replace(run, wrapper()));
    assert_eq!((code, log.as_str(), peer.requests().len()), (0, "", 0), "{answer}");
    let origin = format!("http://localhost:{}", peer.port());
    assert_eq!(
        answer,
        json!({
            "before": [{
                "name": "istio-ready", "source": "istio-ready", "built-in": true,
                "about": "waits until istio-proxy is ready", "optional": false, "timeout": 10.0,
                "memory": 64 << 20, "digest-checked": false, "allow-http": ["http://localhost:*"], "variables": [],
                "needs": ["http://localhost:15021"], "valid": true,
            }],
            "command": ["echo", "started"],
            "after": [
                {
                    "name": "quit", "source": file, "built-in": false, "about": "asks istio-proxy to quit",
                    "on": "success", "on-last": false, "optional": false, "timeout": 10.0, "memory": 1 << 20,
                    "digest-checked": false, "allow-http": ["http://localhost:*"],
                    "variables": ["HOOK_QUIT_MEMORY", "HOOK_QUIT_ON", "HOOK_QUIT_URL"],
                    "needs": [format!("{origin} (HOOK_QUIT_URL)")], "valid": true,
                },
                {
                    "name": "slack", "source": "http", "built-in": true,
                    "about": "notifies a server of how the command ended, or that it is about to start",
                    "on": "always", "on-last": false, "optional": false, "timeout": 30.0, "memory": 64 << 20,
                    "digest-checked": false, "allow-http": ["https://*.example:*", "http://[::1]:80"],
                    "variables": ["HOOK_SLACK_ALLOW_HTTP", "HOOK_SLACK_TIMEOUT", "HOOK_SLACK_URL"],
                    "needs": ["https://hooks.example:443 (HOOK_SLACK_URL)"], "valid": true,
                },
            ],
            "settings": { "stop-timeout": "20s" },
            "hooks-disabled": false, "longest-before": 10.0, "longest-after": 40.0, "longest-stop": 60.0, "valid": true,
        })
    );
}

#[test]
fn check_ends_with_125_and_names_all_that_is_wrong() {
    let mut run = wrapper().with(&["--check"]).plugin("/nosuch.wasm").plugin("x=istio-ready");
    run.arg("--plugin").arg(format!("y={}", guests::official("istio-ready").display()));
    let run = run.plugin("istio-quit").with(&["--allow-http", "https://hc-ping.com"]);
    let done = run.done();
    assert_eq!(done.code(), 125, "{done:?}");
    let lines = done.lines();
    assert!(lines[0].starts_with("wrapper: hook \"nosuch\" (/nosuch.wasm): No such file"), "{lines:?}");
    for (at, hook) in [(1, "x"), (4, "y")] {
        assert!(lines[at].starts_with(&unfit(hook, "runs before the command only")), "{lines:?}");
    }
    assert!(lines[3].starts_with(&unfit("istio-quit", "not allowed: http://localhost:15020 ")), "{lines:?}");
    for part in [
        "  - name: nosuch\n    source: /nosuch.wasm\n    built-in: no\n",
        "    needs: http://localhost:15020 (not allowed)\n    valid: no\n",
        "\ncommand: none\n",
        "\nsettings:\n  allow-http: https://hc-ping.com\nhooks-disabled: no\n",
        "\nlongest-after: 40s\nvalid: no\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
}

/// Each option that decides how a run goes, with a value that is not its default.
const DECIDING: [(&str, &str); 18] = [
    ("plugin-on", "Failure"),
    ("plugin-timeout", "90"),
    ("plugin-memory", "32Mi"),
    ("plugin-prepare", "off"),
    ("plugin-failure", "fail"),
    ("plugin-env", "POD_NAME,NODE_NAME"),
    ("timeout", "1h 30m"),
    ("stop-timeout", "20s"),
    ("kill-group", "true"),
    ("rewrite-signal", "TERM=QUIT,HUP=0"),
    ("leftovers", "wait"),
    ("leftovers-timeout", "3s"),
    ("success-codes", "3,143"),
    ("map-code", "1=42"),
    ("memory-reserve", "16Mi"),
    ("trace-context", "true"),
    ("witness", "/run/witness"),
    ("witness-name", "my-job"),
];

#[test]
fn check_shows_every_setting_that_is_not_at_its_default_in_the_words_of_the_user() {
    let mut by_variable = wrapper().with(&["--check", "true"]);
    let mut by_option = wrapper().with(&["--check"]);
    for (option, value) in DECIDING {
        by_variable.env(format!("WRAPPER_{}", option.replace('-', "_").to_uppercase()), value);
        match option {
            "kill-group" | "trace-context" => by_option.arg(format!("--{option}")),
            // Repeated, if it has several values.
            "plugin-env" | "rewrite-signal" | "success-codes" => {
                by_option.args(value.split(',').flat_map(|value| [format!("--{option}"), value.into()]))
            }
            _ => by_option.args([format!("--{option}"), value.into()]),
        };
    }
    let expected: serde_json::Map<_, _> =
        DECIDING.iter().map(|(option, value)| ((*option).into(), json!(value))).collect();
    for run in [by_variable, by_option] {
        let (code, answer, _) = answer(run);
        assert_eq!((code, answer["settings"].as_object().unwrap()), (0, &expected));
    }
    let mut run = wrapper().with(&["--check", "--plugin-on", "ALWAYS", "--plugin-timeout", "10s", "true"]);
    run.env("WRAPPER_KILL_GROUP", "no").env("WRAPPER_WITNESS_CONTAINERS", "1").env("WRAPPER_TIMEOUT", "");
    let done = run.done();
    assert!(done.code() == 0 && done.stdout.contains("\nsettings: none\n"), "{done:?}");
}

#[test]
fn check_warns_of_a_command_that_cannot_be_started_here_and_is_valid() {
    let file = |contents: &str, mode| {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        executable(&path, contents);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let (plain, text, lost, empty) =
        (file("#!/bin/sh\n", 0o644), file("echo x\n", 0o755), file("#!/nosuch x\n", 0o755), file("#!\n", 0o755));
    let missing = "No such file or directory";
    for (command, why) in [
        ("nosuch", format!("{missing} (not found in PATH)")),
        ("/nosuch", missing.into()),
        ("ls -l", format!("{missing} (it is a single argument; in a manifest write [\"ls\", \"-l\"])")),
        ("/tmp", "Permission denied (it is a directory)".into()),
        (plain.to_str().unwrap(), "Permission denied (it is not executable: chmod +x)".into()),
        (text.to_str().unwrap(), "Exec format error (it has no #! line; a script needs one, such as #!/bin/sh)".into()),
        (
            lost.to_str().unwrap(),
            format!("{missing} (the file exists, but the interpreter or loader it names does not: \"/nosuch\")"),
        ),
        (empty.to_str().unwrap(), "Exec format error (its #! line names no interpreter)".into()),
    ] {
        let done = wrapper().with(&["--check", command]).done();
        let line = format!(
            "wrapper: the command cannot be started here: {command:?}: {why}; ignore this if the job uses another image"
        );
        assert_eq!((done.code(), done.line()), (0, line.as_str()));
        // It is what happens.
        let run = wrapper().with(&[command]).done();
        assert_eq!(run.line(), format!("wrapper: cannot start {command:?}: {why}"));
    }
    for command in ["true", "/bin/sh", file("#!/bin/sh\n", 0o755).to_str().unwrap()] {
        let done = wrapper().with(&["--check", command]).done();
        assert_eq!((done.code(), done.stderr.as_str()), (0, ""), "{command}");
    }
}

#[test]
fn check_shows_which_variables_a_hook_reads_are_set_and_where_it_connects() {
    let mut run =
        wrapper().with(&["--check", "--before", "ready", "--after", "dapr-shutdown", "--allow", "tcp://db:1"]);
    let run = run.arg("--after").arg(format!("file={}", guests::official("dapr-shutdown").display()));
    run.args(["--allow", "http://localhost:*", "true"]);
    run.env("HOOK_READY_FOR", "tcp://db:1 http://localhost:8080/healthz?S3CRET").env("DAPR_HTTP_PORT", "3500");
    let (code, answer, log) = answer(std::mem::replace(run, wrapper()));
    assert_eq!((code, log.as_str()), (0, ""), "{answer}");
    let needs = ["tcp://db:1 (HOOK_READY_FOR)", "http://localhost:8080/healthz (HOOK_READY_FOR)"];
    assert_eq!(answer["before"][0]["needs"], json!(needs));
    let token = json!({"name": "DAPR_API_TOKEN", "state": "not set"});
    let reads = |state: &str| json!([{"name": "DAPR_HTTP_PORT", "state": state}, token]);
    assert_eq!(answer["after"][0]["reads"], reads("set"));
    assert_eq!(answer["after"][1]["reads"], reads("set, but hooks may not read it (--plugin-env DAPR_HTTP_PORT)"));
}

#[test]
fn check_with_a_bad_option_or_variable_is_an_error_as_without() {
    let mut run = wrapper().with(&["--check", "true"]);
    run.env("WRAPPER_PLUGIN", "echo");
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""));
    assert!(done.line().ends_with("unknown variable WRAPPER_PLUGIN; did you mean WRAPPER_PLUGIN_PATH?"), "{done:?}");
    let done = wrapper().with(&["--check", "echo", "started", "--plugin", "echo"]).done();
    assert!(done.code() == 0 && !started(&done), "{done:?}");
    assert!(done.line().starts_with("wrapper: --plugin comes after the command, "), "{done:?}");
}

#[test]
fn inspect_shows_a_component() {
    let file = guests::official("http");
    let (code, answer, log) = answer(wrapper().with(&["--inspect", file.to_str().unwrap()]));
    assert_eq!((code, log.as_str()), (0, ""), "{answer}");
    let digest = Command::new("sha256sum").with(&[file.to_str().unwrap()]).done().stdout;
    assert_eq!(answer["sha256"], digest.split(' ').next().unwrap());
    assert_eq!(answer["size"], file.metadata().unwrap().len());
    assert_eq!(answer["world"], "hook (wrapper:hook/run@0.1.0)");
    assert_eq!(answer["fits-configmap"], "yes");
    assert!(answer["compile-time"].as_str().unwrap().ends_with(" ms"), "{answer}");
    let imports = answer["imports"].as_array().unwrap();
    assert!(imports.contains(&json!("wrapper:hook/context@0.1.0")), "{answer}");
    assert_eq!(answer["settings"][0], json!({"name": "URL", "values": "URL", "default": "required"}));
    assert_eq!(answer["settings"][4], json!({"name": "TRY_TIMEOUT", "values": "time, more than 0", "default": "3s"}));
}

#[test]
fn inspect_shows_a_program_and_a_file_that_no_config_map_holds() {
    // Data of 1 MiB, which nothing reads.
    let data = "x".repeat(1 << 20);
    let module = format!(r#"(memory 17) (data (i32.const 0) "{data}") (func (export "run") (result i32) i32.const 0)"#);
    let file = guests::as_program(&module);
    let (code, answer, _) = answer(wrapper().with(&["--inspect", file.to_str().unwrap()]));
    assert_eq!((code, &answer["world"]), (0, &json!("program (wasi:cli/run@0.2.0)")), "{answer}");
    assert!(answer["fits-configmap"].as_str().unwrap().starts_with("no; "), "{answer}");
}

#[test]
fn inspect_says_that_its_answer_has_not_all_of_very_many_imports() {
    let import =
        |number: u64| format!(r#"(import "wasi:sockets/instance-network@0.2.{}" (instance))"#, 10_u64.pow(18) + number);
    let answer_for = |count| {
        let imports: String = (0..count).map(import).collect();
        let program = r#"(core module $m (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface))"#;
        let file = guests::text(&format!("(component {imports} {program})"));
        let (code, answer, _) = answer(wrapper().with(&["--inspect", file.to_str().unwrap()]));
        assert_eq!(code, 0, "{answer}");
        let shown = answer["imports"].as_array().unwrap().len();
        assert!(answer["compile-time"].as_str().unwrap().ends_with(" ms"), "{answer}");
        (shown, answer["truncated"].clone())
    };
    assert_eq!(answer_for(100), (100, json!(null)));
    let (shown, truncated) = answer_for(900);
    assert!((400..900).contains(&shown) && truncated == json!(true), "{shown}, {truncated}");
}

#[test]
fn inspect_shows_a_built_in_hook_and_its_copy_alike() {
    for hook in ["istio-quit".to_owned(), repository("hooks/dist/istio-quit.wasm").display().to_string()] {
        let (code, answer, _) = answer(wrapper().with(&["--inspect", &hook]));
        assert_eq!((code, &answer["sha256"]), (0, &json!(digest("istio-quit"))), "{hook}");
        assert_eq!(answer["phase"], "after");
    }
}

#[test]
fn inspect_of_what_is_no_hook_is_125_and_says_why() {
    for (hook, words) in [("istio-quitt", "did you mean istio-quit?"), ("./Cargo.toml", "not WebAssembly")] {
        let mut run = wrapper().with(&["--inspect", hook]);
        let done = std::mem::replace(run.current_dir(repository("")), wrapper()).done();
        assert_eq!(done.code(), 125);
        assert!(done.line().contains(words) && done.stdout.ends_with("valid: no\n"), "{done:?}");
    }
}

#[test]
fn what_a_hook_says_about_itself_cannot_forge_lines_of_an_answer() {
    let section = b"\x0cwrapper:hookabout\tx\x1b[2J\rvalid: yes\x7f\nphase\tbefore\n";
    let component = std::fs::read(guests::as_program(r#"(func (export "run") (result i32) i32.const 0)"#)).unwrap();
    let length = u8::try_from(section.len()).unwrap();
    let file = guests::bytes(&[&component[..], &[0, length], &section[..]].concat());
    let done = wrapper().with(&["--inspect", file.to_str().unwrap()]).done();
    assert!(done.code() == 0 && done.stdout.contains("about: x\u{fffd}[2J\u{fffd}valid: yes\u{fffd}\n"), "{done:?}");
}

#[test]
fn list_hooks_has_every_built_in_hook_with_its_phase_and_settings() {
    let done = wrapper().with(&["--list-hooks"]).done();
    let sums = std::fs::read_to_string(repository("hooks/dist/SHA256SUMS")).unwrap();
    let mut names: Vec<_> =
        sums.lines().map(|line| line.split("  ").nth(1).unwrap().trim_end_matches(".wasm")).collect();
    names.sort_unstable();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    let listed: Vec<_> = done.stdout.lines().filter(|line| line.contains("  ") && !line.starts_with(' ')).collect();
    assert_eq!(listed.len(), names.len(), "{}", done.stdout);
    assert!(listed.iter().zip(names).all(|(line, name)| line.starts_with(&format!("{name} "))), "{}", done.stdout);
    let (_, all, _) = answer(wrapper().with(&["--list-hooks"]));
    let quit = all.as_array().unwrap().iter().find(|hook| hook["name"] == "istio-quit").unwrap().clone();
    assert_eq!(
        quit,
        json!({
            "name": "istio-quit", "phase": "after", "about": "asks istio-proxy to quit",
            "settings": ["URL", "STARTUP", "ABSENT", "WAIT_GONE"],
        })
    );
}

#[test]
fn a_question_takes_no_command_and_no_other_option() {
    for args in [
        &["--list-hooks", "true"][..],
        &["--list-hooks", "--plugin", "echo"],
        &["--inspect", "echo", "--", "true"],
        &["--inspect", "echo", "--check"],
        &["--inspect", "echo", "--list-hooks"],
    ] {
        let done = wrapper().with(args).done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{args:?}");
        assert!(done.line().ends_with("takes no command, and no options except --log and --log-format"), "{done:?}");
    }
}

#[test]
fn the_short_help_has_a_line_for_each_option_and_fits_a_screen() {
    let (short, long) = (wrapper().with(&["-h"]).done(), wrapper().with(&["--help", "-h"]).done());
    assert_eq!((short.code(), short.stderr.as_str()), (0, ""));
    assert!(short.stdout.lines().count() <= 40, "{}", short.stdout);
    assert!(short.stdout.lines().all(|line| line.chars().count() <= 100), "{}", short.stdout);
    assert!(long.stdout.contains("\nExamples:\n") && !short.stdout.contains("WRAPPER_"));
    for line in long.stdout.lines().filter(|line| line.starts_with("      --")) {
        let option = line.trim_start().split(' ').next().unwrap();
        assert!(short.stdout.contains(&format!("\n  {option} ")), "{option}: {}", short.stdout);
    }
}

#[test]
fn the_version_has_the_target_the_engine_and_the_contract() {
    let done = wrapper().with(&["--version"]).done();
    let lines: Vec<_> = done.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!("wrapper {} (", env!("CARGO_PKG_VERSION"))), "{lines:?}");
    assert!(lines[0].contains("-linux-") && lines[1].starts_with("wasmtime 48."), "{lines:?}");
    assert_eq!(lines[2], "hooks for wrapper:hook 0.1.0 and WASI 0.2");
}

#[test]
fn the_debug_log_has_the_effective_settings_and_every_request_without_its_path() {
    let peer = Peer::with_status(200);
    let mut run =
        wrapper().with(&["--log", "debug", "--plugin-timeout", "5s"]).plugin("quit=istio-quit").with(&["true"]);
    run.env("HOOK_QUIT_URL", peer.url("/S3CRET?S3CRET"));
    let done = run.done();
    let settings = "wrapper: hooks: before none; after \"quit\" (istio-quit) (on always, timeout 5s, memory 64 MiB, allow \
                    http://localhost:*)";
    assert_eq!(done.lines().iter().filter(|line| **line == settings).count(), 1, "{done:?}");
    let request = format!("wrapper: hook \"quit\": POST http://localhost:{}: 200 after ", peer.port());
    assert_eq!(done.lines().iter().filter(|line| line.starts_with(&request)).count(), 1, "{done:?}");
    assert!(!done.stderr.contains("S3CRET"), "{done:?}");

    let mut run = wrapper().with(&["--log", "debug"]).plugin("istio-quit").with(&["true"]);
    run.env("HOOK_ISTIO_QUIT_STARTUP", "0").env("HOOK_ISTIO_QUIT_URL", "http://localhost:1/");
    let done = run.done();
    let refused = "wrapper: hook \"istio-quit\": POST http://localhost:1: connection-refused after ";
    assert!(done.lines().iter().any(|line| line.starts_with(refused)), "{done:?}");
}
