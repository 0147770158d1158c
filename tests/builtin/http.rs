//! The hook `http`: its requests, its retries, and the secrets that it does not log.

use crate::harness::{
    Done, Run, assert_took, failed, network,
    peer::{Peer, free_port, hold},
    tls::TlsServer,
    unfit, wrapper,
};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    io::Write,
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Arguments that could break out of a string, a line or a path.
const AWKWARD: [&str; 5] = ["\"quoted\"", "back\\slash\\", "two\nlines\tand\u{1}", "é→𝄞", "a&b=c/d?e#f%20"];

/// Secrets that no line of the log may contain.
const SECRET: &str = "S3CRET";

/// A wrapper whose after-hook `http` has this URL and these settings.
fn telling(url: &str, settings: &[(&str, &str)]) -> Command {
    let mut run = wrapper().plugin("http");
    run.env("HOOK_HTTP_URL", url);
    run.envs(settings.iter().map(|(name, value)| (format!("HOOK_HTTP_{name}"), value)));
    run
}

/// Runs it with a command that fails, whose exit code has to be kept.
#[track_caller]
fn finish(run: Command) -> Done {
    let done = run.with(&["sh", "-c", "exit 7"]).done();
    assert_eq!((done.code(), done.stdout.as_str()), (7, ""), "{done:?}");
    done
}

/// The one request that comes of these settings.
#[track_caller]
fn told(settings: &[(&str, &str)]) -> Told {
    let peer = Peer::with_status(200);
    finish(telling(&peer.url("/"), settings));
    Told::to(&peer)
}

/// A request as it came.
#[derive(Debug)]
struct Told {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Told {
    #[track_caller]
    fn to(peer: &Peer) -> Self {
        let requests = peer.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        Self::parse(&requests[0])
    }

    fn parse(request: &str) -> Self {
        let (head, body) = request.split_once("\r\n\r\n").expect("a whole head");
        let (line, headers) = head.split_once("\r\n").expect("headers");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { line: line.into(), headers: headers.split("\r\n").map(header).collect(), body: body.into() }
    }

    /// All values of a header.
    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The default body, and apart from it the duration, which no test knows beforehand. What the command used is not
    /// known beforehand either: it is something if it ran.
    #[track_caller]
    fn facts(&self) -> (Value, u64) {
        let mut facts = self.json();
        let ran = ["exited", "killed"].contains(&facts["outcome"].as_str().unwrap());
        assert_eq!(facts.as_object_mut().unwrap().remove("cause"), Some(json!("")));
        let mut number = |name: &str| facts.as_object_mut().unwrap().remove(name).and_then(|number| number.as_u64());
        let [duration, cpu_time, memory] =
            ["duration_ms", "cpu_time_ms", "peak_memory"].map(|name| number(name).expect(name));
        assert!(cpu_time <= if ran { duration + 100 } else { 0 } && (memory > 0) == ran, "{}", self.body);
        (facts, duration)
    }
}

/// Answers with these statuses in turn, and with the last one from then on; 0 closes the connection instead.
fn in_turn(statuses: &'static [u16]) -> Peer {
    let next = AtomicUsize::new(0);
    Peer::start("127.0.0.1:0", move |mut stream, _| {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        match statuses[turn.min(statuses.len() - 1)] {
            0 => drop(stream),
            status => {
                let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
            }
        }
    })
}

fn origin(peer: &Peer) -> String {
    format!("http://localhost:{}", peer.port())
}

/// The hook failed with this message of its own, which has the address and nothing more of the URL.
#[track_caller]
fn assert_fails(done: &Done, origin: &str, words: &str) {
    let line = failed("http", &format!("\"{origin}\": {words}"));
    assert_eq!(done.lines().last(), Some(&line.as_str()), "{done:?}");
}

/// Nothing can come of the settings until somebody changes them: one line says which, and the command does not start.
#[track_caller]
fn assert_misconfigured(mut run: Command, words: &str) {
    run.env("WRAPPER_LOG_FORMAT", "json");
    let done = run.with(&["echo", "started"]).done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
    let lines: Vec<Value> = done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap_or_else(|| panic!("nothing is said: {done:?}"));
    assert_eq!(last["verdict"], "misconfigured", "{done:?}");
    assert!(last["message"].as_str().unwrap().contains(words), "{words:?}: {done:?}");
}

// Requests.

#[test]
fn the_default_body_describes_a_command_that_succeeded() {
    let peer = Peer::with_status(200);
    let done = telling(&peer.url("/hook"), &[]).with(&["sleep", "0.2"]).done();
    assert_eq!((done.code(), done.line()), (0, format!("wrapper: http: sent to {}", origin(&peer)).as_str()));
    let told = Told::to(&peer);
    let (facts, duration) = told.facts();
    assert_eq!(
        facts,
        json!({
            "command": "sleep 0.2", "phase": "after", "outcome": "exited", "result": "success", "exit_code": 0,
            "signal": 0, "summary": "exited with 0",
        })
    );
    assert!((200..=done.elapsed.as_millis()).contains(&duration.into()), "{duration} ms of {done:?}");
    assert_eq!(told.line, "POST /hook HTTP/1.1");
}

#[test]
fn the_default_body_describes_a_command_that_failed_whatever_its_arguments() {
    let peer = Peer::with_status(200);
    let mut run = telling(&peer.url("/"), &[]).with(&["sh", "-c", "exit 7"]).with(&AWKWARD);
    run.arg(OsStr::from_bytes(b"not \xff UTF-8"));
    assert_eq!(run.done().code(), 7);
    let (facts, _) = Told::to(&peer).facts();
    assert_eq!(
        facts,
        json!({
            "command": format!("sh -c exit 7 {} not \u{fffd} UTF-8", AWKWARD.join(" ")),
            "phase": "after", "outcome": "exited", "result": "failure", "exit_code": 7, "signal": 0,
            "summary": "exited with 7",
        })
    );
}

#[test]
fn the_default_body_describes_a_command_that_was_killed() {
    let peer = Peer::with_status(200);
    assert_eq!(telling(&peer.url("/"), &[]).with(&["sh", "-c", "kill -9 $$"]).done().code(), 137);
    let (facts, _) = Told::to(&peer).facts();
    assert_eq!(
        facts,
        json!({
            "command": "sh -c kill -9 $$", "phase": "after", "outcome": "killed", "result": "failure",
            "exit_code": 137, "signal": 9, "summary": "was killed by signal 9",
        })
    );
}

#[test]
fn the_default_body_describes_a_command_that_was_not_started() {
    let peer = Peer::with_status(200);
    assert_eq!(telling(&peer.url("/"), &[]).with(&["/no/such/program"]).done().code(), 127);
    assert_eq!(
        Told::to(&peer).facts(),
        (
            json!({
                "command": "/no/such/program", "phase": "after", "outcome": "not-started", "result": "failure",
                "exit_code": 127, "signal": 0, "summary": "was not started: No such file or directory",
            }),
            0
        )
    );
}

#[test]
fn the_default_body_describes_a_command_that_is_about_to_start() {
    let peer = Peer::with_status(200);
    let mut run = wrapper().with(&["--before", "http", "sh", "-c", "echo started; exit 7"]);
    run.env("HOOK_HTTP_URL", peer.url("/"));
    let done = run.done();
    assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
    assert_eq!(
        Told::to(&peer).facts(),
        (
            json!({
                "command": "sh -c echo started; exit 7", "phase": "before", "outcome": "starting", "result": "",
                "exit_code": 0, "signal": 0, "summary": "is about to start",
            }),
            0
        )
    );
}

#[test]
fn a_command_longer_than_any_buffer_is_sent_whole() {
    let peer = Peer::with_status(200);
    let long = "é".repeat(50_000);
    assert_eq!(telling(&peer.url("/"), &[]).with(&["true", &long]).done().code(), 0);
    assert_eq!(Told::to(&peer).json()["command"], format!("true {long}"));
}

#[test]
fn every_fact_has_its_value() {
    let peer = Peer::with_status(200);
    let before = seconds_since_1970();
    let body = "{phase} {outcome} {result} {exit_code} {signal} {command} {summary}|{duration} {duration_ms} \
                {started_at} {ended_at}";
    assert_eq!(telling(&peer.url("/"), &[("BODY", body)]).with(&["sh", "-c", "sleep 0.1; exit 3"]).done().code(), 3);
    let now = seconds_since_1970();

    let told = Told::to(&peer);
    let (words, numbers) = told.body.split_once('|').unwrap();
    assert_eq!(words, "after exited failure 3 0 sh -c sleep 0.1; exit 3 exited with 3");
    let [duration, milliseconds, started_at, ended_at] = numbers.split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(duration.split_once('.').unwrap().1.len(), 3, "{duration}");
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text}: {told:?}"));
    assert_eq!(number(&duration.replace('.', "")), number(milliseconds));
    assert!(number(milliseconds) >= 100, "{told:?}");
    let (started_at, ended_at) = (number(started_at), number(ended_at));
    assert!(before <= started_at && started_at <= ended_at && ended_at <= now, "{before} {told:?} {now}");
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

// Templates.

#[test]
fn facts_in_the_url_cannot_leave_their_place_in_it() {
    let peer = Peer::with_status(200);
    let url = peer.url("/{outcome}/{exit_code}?q={command}&x=1");
    assert_eq!(telling(&url, &[]).with(&["sh", "-c", "exit 3"]).with(&AWKWARD).done().code(), 3);
    let command = "sh%20-c%20exit%203%20%22quoted%22%20back%5Cslash%5C%20two%0Alines%09and%01%20%C3%A9%E2%86%92\
                   %F0%9D%84%9E%20a%26b%3Dc%2Fd%3Fe%23f%2520";
    assert_eq!(Told::to(&peer).line, format!("POST /exited/3?q={command}&x=1 HTTP/1.1"));
}

#[test]
fn facts_stand_in_headers_as_they_are() {
    let told = told(&[("HEADERS", "X-End: {outcome} {exit_code}\n\n  x-command :{command} \r\nX-Plain: {}")]);
    assert_eq!(told.header("x-end"), ["exited 7"]);
    assert_eq!(told.header("x-command"), ["sh -c exit 7"]);
    assert_eq!(told.header("x-plain"), ["{}"]);
}

#[test]
fn a_fact_with_a_line_end_stays_in_its_header() {
    let peer = Peer::with_status(200);
    let mut run = telling(&peer.url("/"), &[("HEADERS", "X-Command: {command} {summary}\nX-Code: {exit_code}")]);
    run.args(["sh", "-c", "true\nexit 3", "x\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\n\t\u{1}\u{7f}"]);
    let done = run.done();
    assert_eq!((done.code(), done.line()), (3, format!("wrapper: http: sent to {}", origin(&peer)).as_str()));
    let told = Told::to(&peer);
    let value = "sh -c true exit 3 x  X-Evil: 1    GET /evil HTTP/1.1      exited with 3";
    assert_eq!((told.header("x-command"), told.header("x-code")), (vec![value], vec!["3"]));
    assert_eq!(told.header("x-evil"), [""; 0]);
}

#[test]
fn a_long_command_is_cut_in_a_url_and_in_a_header_and_whole_in_the_body() {
    let long = "x".repeat(70_000);
    let peer = Peer::with_status(200);
    let mut run = telling(&format!("{}?{{command}}", peer.url("/")), &[("HEADERS", "X-Command: {command}")]);
    run.args(["true", &long]);
    let done = run.done();
    assert_eq!((done.code(), done.line()), (0, format!("wrapper: http: sent to {}", origin(&peer)).as_str()));
    let told = Told::to(&peer);
    let x = |count| "x".repeat(count);
    assert_eq!(told.line, format!("POST /?true%20{}... HTTP/1.1", x(1995)));
    assert_eq!(told.header("x-command"), [format!("true {}...", x(1995))]);
    assert_eq!(told.json()["command"], json!(format!("true {long}")));
}

#[test]
fn facts_in_a_json_body_cannot_leave_the_string_they_stand_in() {
    let peer = Peer::with_status(200);
    let body = r#"{"text": "{command}", "nested": {"code": {exit_code}, "empty": {}}}"#;
    assert_eq!(
        telling(&peer.url("/"), &[("BODY", body)]).with(&["sh", "-c", "exit 3"]).with(&AWKWARD).done().code(),
        3
    );
    let text = format!("sh -c exit 3 {}", AWKWARD.join(" "));
    assert_eq!(Told::to(&peer).json(), json!({"text": text, "nested": {"code": 3, "empty": {}}}));
}

#[test]
fn facts_in_a_body_of_text_stand_as_they_are() {
    let peer = Peer::with_status(200);
    let run = telling(&peer.url("/"), &[("BODY", "{command}: {summary} {not a name} {")]);
    assert_eq!(run.with(&["true"]).with(&AWKWARD).done().code(), 0);
    assert_eq!(Told::to(&peer).body, format!("true {}: exited with 0 {{not a name}} {{", AWKWARD.join(" ")));
}

#[test]
fn the_content_type_decides_what_a_body_is_before_its_first_character_does() {
    for (kind, body, sent) in [
        ("application/json", r#""{command}""#, r#""true \"\\""#),
        ("application/vnd.api+JSON; charset=utf-8", "\"{command}\"", r#""true \"\\""#),
        ("text/plain", "[{command}]", r#"[true "\]"#),
    ] {
        let peer = Peer::with_status(200);
        let settings = [("HEADERS", format!("content-TYPE: {kind}")), ("BODY", body.into())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(telling(&peer.url("/"), &settings).with(&["true", "\"\\"]).done().code(), 0);
        let told = Told::to(&peer);
        assert_eq!((told.header("content-type"), told.body.as_str()), (vec![kind], sent));
    }
}

#[test]
fn a_variable_that_is_granted_is_put_in_its_place() {
    let peer = Peer::with_status(200);
    let settings = [("BODY", r#"{"pod": "{POD_NAME}", "hook": "{HOOK_STAGE}"}"#), ("HEADERS", "X-Pod: {POD_NAME}")];
    let mut run = telling(&peer.url("/{POD_NAME}"), &settings).with(&["--plugin-env", "POD_NAME"]);
    // A variable HOOK_… needs no grant.
    run.env("POD_NAME", "job/7 \"a\"").env("HOOK_STAGE", "test");
    finish(run);
    let told = Told::to(&peer);
    assert_eq!(told.line, "POST /job%2F7%20%22a%22 HTTP/1.1");
    assert_eq!(told.header("x-pod"), ["job/7 \"a\""]);
    assert_eq!(told.json(), json!({"pod": "job/7 \"a\"", "hook": "test"}));
}

#[test]
fn a_variable_that_is_not_granted_is_named_with_the_option_that_would_and_nothing_is_sent() {
    for setting in ["BODY", "HEADERS"] {
        let peer = Peer::with_status(200);
        let mut run = telling(&peer.url("/"), &[(setting, "X-Pod: {POD_NAME}")]);
        run.env("POD_NAME", "job-7");
        assert_misconfigured(run, "{POD_NAME} is set, but hooks may not read it (--plugin-env POD_NAME)");
        assert_eq!(peer.requests(), [""; 0], "{setting}");
    }
}

#[test]
fn a_fact_that_there_is_not_is_named_wherever_it_stands() {
    let peer = Peer::with_status(200);
    for setting in ["URL", "BODY", "HEADERS"] {
        let value = if setting == "URL" { peer.url("/{exitcode}") } else { "X-Code: {exitcode}".into() };
        let run = telling(&peer.url("/"), &[(setting, value.as_str())]);
        assert_misconfigured(run, "unknown placeholder {exitcode}");
    }
    assert_eq!(peer.requests(), [""; 0]);
}

#[test]
fn a_missing_url_is_named_under_the_hooks_own_name() {
    for (hook, variable) in [("http", "HOOK_HTTP_URL"), ("to-slack=http", "HOOK_TO_SLACK_URL")] {
        let mut run = wrapper().plugin(hook);
        // In a manifest, emptying a variable is how one takes back what an image set.
        run.env("HOOK_HTTP_URL", "").env("HOOK_SLACK_URL", "http://localhost:1/");
        assert_misconfigured(run, &format!("{variable} is not set"));
    }
}

#[test]
fn a_time_or_a_header_that_is_none_names_its_variable() {
    let peer = Peer::with_status(200);
    let run = telling(&peer.url("/"), &[("TRY_TIMEOUT", "soon")]);
    assert_misconfigured(run, "HOOK_HTTP_TRY_TIMEOUT=\"soon\": not a time");
    let run = telling(&peer.url("/"), &[("HEADERS", "X-Good: 1\nX-Bad=1")]);
    assert_misconfigured(run, "HOOK_HTTP_HEADERS: a line is not \"Name: value\"");
    assert_eq!(peer.requests(), [""; 0]);
}

#[test]
fn a_method_that_fetches_has_no_body_and_one_that_stores_has() {
    for method in ["GET", "HEAD", "DELETE"] {
        let told = told(&[("METHOD", method)]);
        assert_eq!((told.line, told.body.as_str()), (format!("{method} / HTTP/1.1"), ""));
        let headers: Vec<&str> = told.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headers, ["host"], "{method}");
    }
    for method in ["POST", "PUT", "PATCH"] {
        let told = told(&[("METHOD", method)]);
        assert_eq!((&told.line, &told.json()["exit_code"]), (&format!("{method} / HTTP/1.1"), &json!(7)));
    }
}

#[test]
fn the_content_type_is_that_of_the_body_unless_it_is_given() {
    for (settings, kind) in [
        (&[][..], "application/json"),
        (&[("BODY", r#"{"a":{exit_code}}"#)], "application/json"),
        (&[("BODY", " [1]")], "application/json"),
        (&[("BODY", "{summary}")], "text/plain; charset=utf-8"),
        (&[("HEADERS", "Content-Type: application/cloudevents+json")], "application/cloudevents+json"),
        (&[("HEADERS", "content-type: text/markdown"), ("BODY", "*{summary}*")], "text/markdown"),
    ] {
        assert_eq!(told(settings).header("content-type"), [kind], "{settings:?}");
    }
}

// Retries.

#[test]
fn a_server_that_fails_is_asked_again_until_it_does_not() {
    let peer = in_turn(&[500, 500, 200]);
    let done = finish(telling(&peer.url("/x"), &[]));
    assert_eq!(done.line(), format!("wrapper: http: sent to {}", origin(&peer)));
    let requests = peer.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
}

#[test]
fn a_server_that_is_busy_or_hangs_up_is_asked_again() {
    let peer = in_turn(&[429, 408, 0, 200]);
    let done = finish(telling(&peer.url("/"), &[]));
    assert_eq!((done.line(), peer.requests().len()), (format!("wrapper: http: sent to {}", origin(&peer)).as_str(), 4));
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    network::alone(|| {
        let port = free_port();
        let url = format!("http://localhost:{port}/");
        let mut run = telling(&url, &[]).with(&["--log", "debug", "sh", "-c", "exit 7"]).running();
        run.until_stderr_has("connection refused");
        let peer = Peer::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), |mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        let done = run.done();
        assert_eq!(done.code(), 7);
        assert!(done.stderr.contains(&format!("wrapper: http: sent to {}\n", origin(&peer))), "{done:?}");
        Told::to(&peer);
    });
}

#[test]
fn a_server_that_refuses_is_asked_once() {
    for status in [301, 302, 400, 401, 403, 404, 405, 413] {
        let peer = Peer::with_status(status);
        let done = finish(telling(&peer.url("/"), &[]));
        assert_fails(&done, &origin(&peer), &format!("answered {status}"));
        Told::to(&peer);
    }
}

#[test]
fn a_server_that_always_fails_is_given_up_in_time_to_say_so() {
    let peer = Peer::with_status(503);
    let done = finish(telling(&peer.url("/"), &[]).with(&["--plugin-timeout", "6s"]));
    assert_fails(&done, &origin(&peer), "answered 503");
    assert!((2..=6).contains(&peer.requests().len()), "{done:?}");
    assert_took(&done, 0.2, 20.0);
}

#[test]
fn a_server_that_hangs_is_given_up_in_time_to_say_so() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| hold(stream));
    let done = finish(telling(&peer.url("/"), &[]).with(&["--plugin-timeout", "6s"]));
    assert_fails(&done, &origin(&peer), "no response in time");
    assert_took(&done, 1.2, 20.0);
}

#[test]
fn the_try_timeout_is_that_of_one_try() {
    let next = AtomicUsize::new(0);
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| match next.fetch_add(1, Ordering::Relaxed) {
        0 => hold(stream),
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let done = finish(telling(&peer.url("/"), &[("TRY_TIMEOUT", "2s")]));
    assert_eq!((done.line(), peer.requests().len()), (format!("wrapper: http: sent to {}", origin(&peer)).as_str(), 2));
    assert_took(&done, 2.0, 15.0);
}

// Secrets.

/// A wrapper that says all it can, with a secret in every setting.
fn with_secrets(url: &str) -> Command {
    let settings = [
        ("HEADERS", "Authorization: Bearer S3CRET-header\nX-Token: {TOKEN}"),
        ("BODY", r#"{"key":"S3CRET-body","token":"{TOKEN}"}"#),
    ];
    let mut run = telling(url, &settings).with(&["--log", "debug", "--plugin-timeout", "6s", "--plugin-env", "TOKEN"]);
    run.env("TOKEN", "S3CRET-variable");
    run
}

#[test]
fn the_log_names_scheme_host_and_port_and_no_secret_however_it_ends() {
    let (good, bad, moved) = (Peer::with_status(200), Peer::with_status(404), Peer::with_status(302));
    let (silent, rude) =
        (Peer::start("127.0.0.1:0", |stream, _| hold(stream)), Peer::answering("S3CRET-answer\r\n\r\n"));
    let encrypted = TlsServer::start("localhost", false);
    for (origin, words) in [
        (origin(&good), "sent to "),
        (origin(&bad), "answered 404"),
        (origin(&moved), "answered 302"),
        (origin(&silent), "no response in time"),
        (origin(&rude), "the response is not valid HTTP"),
        (format!("http://localhost:{}", free_port()), "connection refused"),
        (format!("https://localhost:{}", encrypted.port), "the certificate is not trusted"),
        ("http://10.1.2.3:80".into(), "not allowed"),
    ] {
        let run = with_secrets(&format!("{origin}/S3CRET-path/x?key=S3CRET-query#S3CRET-fragment"));
        let allow = ["--allow-http", "http://localhost:*", "--allow-http", "https://localhost:*"];
        let done = run.with(&allow).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), if words == "not allowed" { 125 } else { 7 }, "{done:?}");
        assert!(done.stderr.contains(words) && done.stderr.contains(&origin), "{words}: {done:?}");
        assert!(!done.stderr.contains(SECRET), "{words}: {done:?}");
    }
    let told = Told::to(&good);
    assert_eq!(told.line, "POST /S3CRET-path/x?key=S3CRET-query HTTP/1.1");
    assert_eq!(told.header("authorization"), ["Bearer S3CRET-header"]);
    assert_eq!(told.header("x-token"), ["S3CRET-variable"]);
    assert_eq!(told.json(), json!({"key": "S3CRET-body", "token": "S3CRET-variable"}));
}

#[test]
fn a_malformed_url_is_not_logged_either() {
    let peer = Peer::with_status(200);
    for url in [
        "hooks.example/services/S3CRET",
        "hooks.example:443/S3CRET",
        "S3CRET",
        "https:/hooks.example/S3CRET",
        "ftp://hooks.example/S3CRET",
        "{TOKEN}",
        "http://localhost:port/S3CRET",
        &peer.url("/a b/S3CRET"),
        &format!("http://user:S3CRET@localhost:{}/", peer.port()),
    ] {
        let done = with_secrets(url).with(&["sh", "-c", "exit 7"]).done();
        assert!([7, 125].contains(&done.code()), "{url}: {done:?}");
        assert!(done.stderr.contains("wrapper: hook \"http\": "), "{url}: {done:?}");
        assert!(!done.stderr.contains(SECRET), "{url}: {done:?}");
    }
    assert_eq!(peer.requests(), [""; 0]);
}

#[test]
fn a_malformed_header_is_not_logged_either() {
    let peer = Peer::with_status(200);
    for header in ["Authorization Bearer S3CRET", "Authorization=Basic S3CRET:x", "X-Key: S3CRET\u{1}"] {
        let mut run = with_secrets(&peer.url("/"));
        run.env("HOOK_HTTP_HEADERS", header);
        let done = run.with(&["sh", "-c", "exit 7"]).done();
        // What is no line of a header at all is found before the start.
        assert_eq!(done.code(), if header.contains(':') && !header.contains('=') { 7 } else { 125 }, "{done:?}");
        assert!(done.stderr.contains("wrapper: hook \"http\": "), "{header}: {done:?}");
        assert!(!done.stderr.contains(SECRET), "{header}: {done:?}");
    }
    assert_eq!(peer.requests(), [""; 0]);
}

// Whom it may tell.

#[test]
fn a_server_with_tls_and_a_private_ca_is_notified_where_that_is_allowed() {
    let server = TlsServer::start("localhost", false);
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(ca.path(), &server.ca).unwrap();
    let rule = format!("https://localhost:{}", server.port);

    let mut run = telling(&format!("{rule}/{{exit_code}}"), &[]).with(&["--allow-http", &rule]);
    run.env("SSL_CERT_FILE", ca.path());
    assert_eq!(finish(run).line(), format!("wrapper: http: sent to {rule}"));
    let told: Vec<Told> = server.requests().iter().map(|request| Told::parse(request)).collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((told.line.as_str(), &told.json()["exit_code"]), ("POST /7 HTTP/1.1", &json!(7)));
}

#[test]
fn a_server_with_tls_that_is_not_allowed_is_not_notified_and_the_log_names_the_option() {
    let server = TlsServer::start("localhost", false);
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(ca.path(), &server.ca).unwrap();
    let rule = format!("https://localhost:{}", server.port);

    let mut run = telling(&format!("{rule}/{{exit_code}}"), &[]);
    run.env("SSL_CERT_FILE", ca.path());
    let done = run.with(&["true"]).done();
    let line = unfit("http", &format!("not allowed: {rule}; to allow it: HOOK_HTTP_ALLOW={rule}"));
    assert_eq!((done.code(), done.line()), (125, line.as_str()));
    assert_eq!(server.requests(), [""; 0]);
}

// As it is used.

#[test]
fn a_cron_monitor_is_notified_of_the_start_and_the_exit_code() {
    let monitor = Peer::with_status(200);
    let mut run = wrapper().with(&["--before", "start=http", "--plugin", "ping=http", "sh", "-c", "exit 7"]);
    run.env("HOOK_START_URL", monitor.url("/5bf66975-d4c7/start"));
    run.env("HOOK_PING_URL", monitor.url("/5bf66975-d4c7/{exit_code}"));
    let done = run.done();
    assert_eq!(done.code(), 7);
    let origin = origin(&monitor);
    assert_eq!(done.lines(), [format!("wrapper: start: sent to {origin}"), format!("wrapper: ping: sent to {origin}")]);
    let lines: Vec<String> = monitor.requests().iter().map(|request| Told::parse(request).line).collect();
    assert_eq!(lines, ["POST /5bf66975-d4c7/start HTTP/1.1", "POST /5bf66975-d4c7/7 HTTP/1.1"]);
}

#[test]
fn a_chat_is_notified_of_failures_alone() {
    for (script, text) in [
        ("exit 0", None),
        ("exit 7", Some("Job `sh -c exit 7` in \"batch\" exited with 7")),
        ("kill -9 $$", Some("Job `sh -c kill -9 $$` in \"batch\" was killed by signal 9")),
    ] {
        let chat = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let mut run = wrapper().with(&["--plugin", "slack=http", "--plugin-env", "NAMESPACE", "sh", "-c", script]);
        run.env("NAMESPACE", "\"batch\"").env("HOOK_SLACK_ON", "failure");
        run.env("HOOK_SLACK_URL", chat.url("/services/T000/B000/XXXX"));
        run.env("HOOK_SLACK_BODY", r#"{"text": "Job `{command}` in {NAMESPACE} {summary}"}"#);
        let done = run.done();
        let heard: Vec<Value> = chat.requests().iter().map(|request| Told::parse(request).json()).collect();
        assert_eq!(heard, text.map(|text| json!({"text": text})).into_iter().collect::<Vec<_>>(), "{done:?}");
    }
}

#[test]
fn a_built_in_hook_that_outgrows_the_memory_reserved_for_it_is_not_slow() {
    let peer = Peer::with_status(200);
    let argument = "x".repeat(100_000);
    let mut run = wrapper().with(&["--plugin-timeout", "60s"]).plugin("http").with(&["true", &argument]);
    run.env("HOOK_HTTP_URL", peer.url("/")).env("HOOK_HTTP_BODY", "{command}".repeat(60));
    let done = run.done();
    assert!(done.stderr.contains("sent to") || done.stderr.is_empty(), "{done:?}");
    assert!(peer.requests()[0].len() > 6_000_000);
    assert_took(&done, 0.0, 10.0);
}
