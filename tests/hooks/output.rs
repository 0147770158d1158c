//! Lines of the log: what a hook prints and logs, and how wrapper reports it.

use crate::harness::{
    Done, Run, assert_took, eventually, failed, guests, kill, misconfigured, processes::Process, wrapper,
};
use serde_json::{Value, json};
use std::{io::Read, os::fd::AsRawFd, process::Stdio};

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
    let hook = guests::hook("fail");
    for (kind, line) in [
        ("", failed("fail", "the cat is out")),
        ("misconfigured", misconfigured("fail", "set HOOK_URL")),
        ("empty", failed("fail", "no reason")),
        ("lines", failed("fail", "first\u{fffd}wrapper: second")),
    ] {
        let done = run(hook.clone(), &[("HOOK_FAIL", kind)]);
        assert_eq!(done.line(), line);
    }
}

#[test]
fn the_text_of_a_hooks_error_is_cut_at_4_kib() {
    let hook = guests::hook("fail");
    for (length, shown) in [(4096, 4096), (4097, 4096), (1 << 20, 4096)] {
        let done = run(hook.clone(), &[("HOOK_FAIL", "long"), ("HOOK_LENGTH", &length.to_string())]);
        assert_eq!(done.line().matches('~').count(), shown);
    }
}

fn logging(message: &str, repeat: usize, options: &[&str]) -> Done {
    let mut run = wrapper().with(options).plugin(guests::hook("log_message")).with(&["true"]);
    run.env("HOOK_MESSAGE", message).env("HOOK_REPEAT", repeat.to_string());
    run.done()
}

#[test]
fn a_logged_line_is_cut_at_4_kib_like_one_that_is_printed() {
    for (letter, count, lines) in [
        ("m", 4096, vec![4096]),
        ("m", 4097, vec![4096, 1]),
        ("m", 60_000, [vec![4096; 14], vec![2656]].concat()),
        // Two bytes each, and three: never cut in their middle.
        ("\u{e4}", 2049, vec![4096, 2]),
        ("\u{20ac}", 1366, vec![4095, 3]),
    ] {
        let done = logging(letter, count, &[]);
        let own = done.lines().into_iter().map(|line| line.strip_prefix("wrapper: log_message: ").unwrap().len());
        assert_eq!(own.collect::<Vec<_>>(), lines, "{letter} x {count}");
        assert!(!done.stderr.contains('\u{fffd}'), "{letter} x {count}");
    }
    // Lines of its own stay what they are.
    assert_eq!(logging("short\n", 3, &[]).lines(), ["wrapper: log_message: short"; 3]);
}

#[test]
fn what_would_turn_a_line_around_or_hide_in_it_is_replaced() {
    for steering in
        ["\u{61c}", "\u{200e}", "\u{202e}", "\u{2067}", "\u{206a}", "\u{2028}", "\u{85}", "\u{e0041}", "\u{1b}"]
    {
        let message = format!("a{steering}b");
        let done = logging(&message, 1, &[]);
        assert_eq!(done.line(), "wrapper: log_message: a\u{fffd}b", "{steering:?}");
        let done = logging(&message, 1, &["--log-format", "json"]);
        assert!(!done.stderr.contains(steering), "{steering:?}: {done:?}");
        let line: serde_json::Value = serde_json::from_str(done.line()).unwrap();
        assert_eq!(line["message"], message.as_str());
    }
    // Scripts and emoji are written with these.
    let joined =
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645} \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    assert_eq!(logging(joined, 1, &[]).line(), format!("wrapper: log_message: {joined}"));
}

#[test]
fn a_name_lookup_is_denied_and_logged_with_the_name() {
    let hook = guests::program("look_up");
    let long = "n".repeat(1000);
    for (name, logged) in [
        ("localhost", "localhost"),
        ("api.example.com", "api.example.com"),
        ("a\u{202e}b", r"a\u{202e}b"),
        (&long, &long[..253]),
    ] {
        let done = run(hook.clone(), &[("HOOK_NAME", name)]);
        let line = format!("not allowed: a name lookup of \"{logged}\"; hooks may use HTTP only");
        assert_eq!(done.lines(), [format!("wrapper: hook \"look_up\": {line}"), "wrapper: look_up: not found".into()]);
    }
    // An address needs no lookup.
    let done = run(hook, &[("HOOK_NAME", "127.0.0.1")]);
    assert!(!done.stderr.contains("not allowed"), "{done:?}");
}

#[test]
fn a_program_that_exits_with_0_is_silent_and_any_other_end_is_reported() {
    let hook = guests::program("exit");
    assert_eq!(run(hook.clone(), &[("HOOK_EXIT", "0")]).stderr, "");
    // WASI 0.2 as Rust's library speaks it knows success and failure, no numbers.
    assert_eq!(run(hook.clone(), &[("HOOK_EXIT", "3")]).line(), "wrapper: hook \"exit\": failed: exited with 1");
    let done = run(hook, &[]);
    assert!(done.stderr.contains("wrapper: exit: Error: \"environment variable not found\""), "{done:?}");
    assert_eq!(done.lines().len(), 2, "{done:?}");
}

#[test]
fn a_panic_is_logged_once_with_its_message_and_the_functions_name() {
    let done = run(guests::hook("panic_in_function"), &[]);
    assert_eq!(done.stderr.matches("no cat in the box of 3").count(), 1, "{done:?}");
    let last = done.lines().last().copied().unwrap_or_default();
    assert!(
        last.contains("trapped: wasm `unreachable` instruction executed in panic_in_function::open_the_box"),
        "{last}"
    );
}

#[test]
fn a_debug_builds_trap_shows_function_names_and_source_lines() {
    let done = run(guests::debug_hook("panic_in_function"), &[]);
    let last = done.lines().last().copied().unwrap_or_default();
    for place in
        ["in panic_in_function::open_the_box (", "panic_in_function.rs:14)", "called from panic_in_function::run ("]
    {
        assert!(last.contains(place), "{place} is missing in {last}");
    }
}

#[test]
fn a_hook_that_never_ends_is_killed_at_its_timeout() {
    let hook = guests::program("loop_forever");
    let done = wrapper().with(&["--plugin-timeout", "700ms"]).plugin(&hook).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7);
    let line = "wrapper: hook \"loop_forever\": timed-out after 700ms; raise --plugin-timeout";
    assert_eq!(done.line(), line);
    assert_took(&done, 0.7, 10.0);
}

#[test]
fn with_log_error_only_failures_are_shown_and_with_debug_every_step() {
    let done = wrapper().with(&["--log", "error"]).plugin("echo").with(&["true"]).done();
    assert_eq!(done.stderr, "");
    let done = wrapper().with(&["--log", "debug"]).plugin("echo").with(&["true"]).done();
    for step in [
        r#"started ["true"]"#,
        "the command exited with 0",
        r#"hook "echo": started"#,
        r#"hook "echo": succeeded after "#,
    ] {
        assert!(done.stderr.contains(&format!("wrapper: {step}")), "{step}: {done:?}");
    }
    assert!(!done.stderr.contains("plugin"), "{done:?}");
}

#[test]
fn json_lines_carry_the_same_as_fields() {
    let hook = guests::hook("fail");
    let mut run = wrapper().with(&["--log-format", "json", "--log", "debug"]).plugin(&hook).with(&["true"]);
    run.env("HOOK_FAIL", "misconfigured");
    let done = run.done();
    let lines = objects(&done);
    let failure = lines.iter().find(|line| line["level"] == "error").unwrap();
    assert_eq!(failure["message"], "set HOOK_URL");
    assert_eq!((&failure["hook"], &failure["source"]), (&json!("fail"), &json!(hook)));
    assert_eq!((&failure["phase"], &failure["verdict"]), (&json!("after"), &json!("misconfigured")));
    let finish = lines.iter().find(|line| line.get("duration").is_some()).unwrap();
    assert_eq!((&finish["hook"], &finish["verdict"]), (&json!("fail"), &json!("misconfigured")));
    assert!(finish["duration"].as_f64().unwrap() > 0.0);
}

fn objects(done: &Done) -> Vec<Value> {
    done.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn json_lines_have_the_time_of_rfc_3339() {
    let done = wrapper().with(&["--log-format", "json", "--plugin", "echo", "true"]).done();
    let line = &objects(&done)[0];
    let time = line["time"].as_str().unwrap_or_else(|| panic!("{line}"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    // The year may end in between, once.
    let now = std::process::Command::new("date").with(&["-u", "+%Y"]).done();
    assert_eq!(time[..4], now.stdout[..4], "{time}");
}

#[test]
fn every_end_of_a_hook_has_one_word_in_text_and_json() {
    let (fails, loops) = (guests::hook("fail"), guests::program("loop_forever"));
    let hooks = |format: &str| {
        let mut run = wrapper().with(&["--log", "debug", "--log-format", format, "--plugin-timeout", "5s"]);
        run.env("HOOK_SLOW_TIMEOUT", "700ms").env("HOOK_LATE_ON", "failure");
        // Only the hook can see what this becomes.
        run.env("HOOK_WRONG_URL", "{HOOK_WRONG_URL}");
        let run = run.plugin("good=echo").plugin(format!("bad={}", fails.display())).plugin("wrong=http");
        run.plugin(format!("slow={}", loops.display())).plugin("late=echo").with(&["true"]).done()
    };
    let ends = [
        ("good", "succeeded", "wrapper"),
        ("bad", "failed", "hook"),
        ("wrong", "misconfigured", "hook"),
        ("slow", "timed-out", "wrapper"),
        ("late", "skipped", "wrapper"),
    ];
    let (text, json) = (hooks("text"), objects(&hooks("json")));
    for (hook, verdict, from) in ends {
        let start = format!("wrapper: hook \"{hook}\": {verdict}");
        assert!(text.stderr.lines().any(|line| line.starts_with(&start)), "{start}: {text:?}");
        let line = json.iter().find(|line| line["hook"] == hook && line.get("verdict").is_some());
        let line = line.unwrap_or_else(|| panic!("{hook}: {json:#?}"));
        assert_eq!((&line["verdict"], &line["from"]), (&json!(verdict), &json!(from)), "{line}");
    }
}

#[test]
fn a_hooks_output_is_marked_as_its_own_whatever_it_imitates() {
    let hook = guests::hook("log_forged_lines");
    for words in [
        "crashed: SIGSEGV",
        "not allowed: http://evil.example:80; to allow it: --allow-http http://evil.example:80",
        "hook \"log_forged_lines\": failed: it reports: nothing",
        "wrapper: the command exited with 0",
    ] {
        let run = |format: &str| {
            let mut run = wrapper().with(&["--log-format", format]).plugin(&hook).with(&["true"]);
            run.env("HOOK_WORDS", words);
            run.done()
        };
        let done = run("text");
        let logged = |mark: &str| format!("wrapper: log_forged_lines: {mark}{words}");
        let lines = [logged("error: "), logged("warning: "), logged(""), failed("log_forged_lines", words)];
        assert_eq!(done.stderr.lines().collect::<Vec<_>>(), lines);
        let lines = objects(&run("json"));
        assert_eq!(lines.len(), 4, "{lines:#?}");
        for line in lines {
            assert_eq!((&line["from"], &line["message"]), (&json!("hook"), &json!(words)), "{line}");
        }
    }
    // And its actions are logged in wrapper's own words.
    let mut run = wrapper().with(&["--log-format", "json", "--plugin", "http", "true"]);
    run.env("HOOK_HTTP_URL", "http://{HOOK_HOST}/").env("HOOK_HOST", "10.1.2.3");
    let lines = objects(&run.done());
    let refusal = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("not allowed: ")).unwrap();
    assert_eq!(refusal["from"], "wrapper");
}

#[test]
fn a_line_that_a_killed_hook_left_torn_is_ended_by_the_next_process() {
    const PAGE: i32 = 4096;
    let hook = guests::program("print_and_hang");
    let (mut reader, writer) = std::io::pipe().unwrap();
    // A pipe of one page has no room for the line, of which one part so is there and the other is not.
    assert_eq!(pipe_size(writer.as_raw_fd(), PAGE), PAGE);
    let mut run = wrapper().with(&["--plugin-prepare", "off", "--plugin-timeout", "50s"]).plugin(&hook).with(&["true"]);
    let mut child = run.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    drop(run);
    eventually("the pipe is full", || unread(reader.as_raw_fd()) == PAGE);
    Process::children(child.id() as i32).iter().for_each(|runner| kill(runner.pid, nix::libc::SIGKILL));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines: Vec<&str> = text.lines().collect();
    let [torn, .., crashed] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(torn.starts_with("wrapper: print_and_hang: xxx"), "{torn}");
    assert!(lines.iter().all(|line| line.starts_with("wrapper: ")), "{lines:?}");
    assert_eq!(
        *crashed,
        "wrapper: hook \"print_and_hang\": crashed: SIGKILL, perhaps because the container is out of memory"
    );
}

#[allow(unsafe_code)]
fn pipe_size(fd: i32, size: i32) -> i32 {
    // SAFETY: fcntl(2) takes numbers here.
    unsafe { nix::libc::fcntl(fd, nix::libc::F_SETPIPE_SZ, size) }
}

/// Bytes in a pipe (FIONREAD in ioctl(2)).
#[allow(unsafe_code)]
fn unread(fd: i32) -> i32 {
    let mut count = 0;
    // SAFETY: FIONREAD writes an int to the address it is given (ioctl_tty(2)).
    unsafe { nix::libc::ioctl(fd, nix::libc::FIONREAD, &raw mut count) };
    count
}
