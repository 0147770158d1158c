//! Values as people write them in manifests: an option and a hook's setting take the same ones.

use crate::harness::{Done, Run, peer::Peer, wrapper};

/// Times, and whether they are some.
const TIMES: [(&str, bool); 20] = [
    ("1m30s", true),
    ("1m 30s", true),
    ("90s", true),
    ("500ms", true),
    ("2m", true),
    ("1h", true),
    ("10sec", true),
    ("5min", true),
    ("30", true),
    ("30s\n", true),
    (" 2m ", true),
    ("\t1h1m1s1ms\r\n", true),
    ("soon", false),
    ("1.5s", false),
    ("-5s", false),
    ("30S", false),
    ("1m30", false),
    ("5x", false),
    ("1,5s", false),
    ("99999999999s", false),
];

/// Switches, and what they say.
const SWITCHES: [(&str, Option<bool>); 16] = [
    ("true", Some(true)),
    ("True", Some(true)),
    ("TRUE", Some(true)),
    ("yes", Some(true)),
    ("on", Some(true)),
    ("1", Some(true)),
    ("true\n", Some(true)),
    ("false", Some(false)),
    ("False", Some(false)),
    ("No", Some(false)),
    ("OFF", Some(false)),
    ("0", Some(false)),
    ("0\n", Some(false)),
    ("maybe", None),
    ("truely", None),
    ("2", None),
];

/// Runs `true` and a hook that asks this peer to quit, with these variables; 125 is then the code of a bad value.
fn run(peer: &Peer, variables: &[(&str, &str)]) -> Done {
    let mut run = wrapper().with(&["--plugin-failure", "fail", "--plugin", "istio-quit", "true"]);
    run.env("HOOK_ISTIO_QUIT_URL", peer.url("/")).envs(variables.iter().copied());
    run.done()
}

/// The value was taken, or it is named with where it stands.
#[track_caller]
fn assert_taken(done: &Done, name: &str, value: &str, taken: bool) {
    let place = format!("{name} {:?}", value.trim()).replace(' ', "=");
    let named = done.stderr.contains(&format!("{name} {:?}: ", value.trim())) || done.stderr.contains(&place);
    assert_eq!((done.code(), named), if taken { (0, false) } else { (125, true) }, "{name} {value:?}: {done:?}");
}

#[test]
fn an_option_and_a_hooks_setting_take_the_same_times() {
    let peer = Peer::with_status(200);
    for (value, taken) in TIMES {
        for name in ["WRAPPER_STOP_TIMEOUT", "HOOK_ISTIO_QUIT_STARTUP"] {
            assert_taken(&run(&peer, &[(name, value)]), name, value, taken);
        }
    }
}

#[test]
fn an_option_and_a_hooks_setting_take_the_same_switches_and_understand_the_same() {
    for (value, on) in SWITCHES {
        let peer = Peer::with_status(200);
        let done = run(&peer, &[("WRAPPER_DISABLE_HOOKS", value)]);
        assert_taken(&done, "WRAPPER_DISABLE_HOOKS", value, on.is_some());
        assert_eq!(peer.requests().len(), usize::from(on == Some(false)), "{value:?}");

        let peer = Peer::with_status(200);
        let name = "HOOK_ISTIO_QUIT_WAIT_GONE";
        let done = run(&peer, &[(name, value), ("WRAPPER_PLUGIN_TIMEOUT", "1500ms")]);
        match on {
            // It is not gone in its time.
            Some(true) => {
                assert!(done.code() == 125 && done.stderr.contains("is still running"), "{value:?}: {done:?}")
            }
            _ => assert_taken(&done, name, value, on.is_some()),
        }
    }
}

#[test]
fn schemes_and_hosts_count_in_any_case_for_the_option_and_for_a_hooks_address() {
    let peer = Peer::with_status(200);
    let port = peer.port();
    let allowed =
        [format!("HTTP://LOCALHOST:{port}"), "Http://LocalHost:*\n".into(), format!(" http://localhost:{port} ")];
    let urls = [format!("HTTP://LOCALHOST:{port}/q"), format!("http://Localhost:{port}/q\n")];
    for allowed in &allowed {
        for url in &urls {
            let done = run(&peer, &[("WRAPPER_ALLOW_HTTP", allowed), ("HOOK_ISTIO_QUIT_URL", url)]);
            assert_eq!(done.code(), 0, "{allowed:?} {url:?}: {done:?}");
        }
    }
    let mut gate = wrapper().with(&["--before", "http-ready", "--plugin", "http", "--plugin-failure", "fail", "true"]);
    gate.env("HOOK_HTTP_READY_URL", format!("{}\n", urls[0])).env("HOOK_HTTP_URL", format!("{}\n", urls[0]));
    let done = gate.env("HOOK_HTTP_METHOD", "Put\n").envs([("HOOK_HTTP_BODY", "x\n")]);
    let done = std::mem::replace(done, wrapper()).done();
    assert_eq!(done.code(), 0, "{done:?}");
    let requests = peer.requests();
    let first: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    let posts = allowed.len() * urls.len();
    assert!(first[..posts].iter().all(|line| *line == "POST /q HTTP/1.1"), "{first:?}");
    assert_eq!(first[posts..], ["GET /q HTTP/1.1", "PUT /q HTTP/1.1"]);
    // A body is sent as it is.
    assert!(requests.last().unwrap().ends_with("\r\n\r\nx\n"), "{requests:?}");

    let done = run(&peer, &[("WRAPPER_ALLOW_HTTP", "HTTP://LOCALHOST:1")]);
    assert!(done.code() == 125 && done.stderr.contains("not allowed: "), "{done:?}");
    for (value, why) in [("http://[::1", "the bracket is not closed"), ("http://a http://b", "must be one URL")] {
        let done = run(&peer, &[("WRAPPER_ALLOW_HTTP", value)]);
        assert!(done.code() == 125 && done.line().contains(why), "{done:?}");
    }
}

#[test]
fn words_count_in_any_case_and_white_space_around_any_value_does_not_count() {
    let peer = Peer::with_status(200);
    let run = |variables: &[(&str, &str)]| {
        let mut run = wrapper().with(&["--plugin-failure", "fail", "sh", "-c", "exit 7"]);
        run.env("WRAPPER_PLUGIN_PATH", "istio-quit\n").env("HOOK_ISTIO_QUIT_URL", peer.url("/"));
        run.envs(variables.iter().copied());
        let (before, done) = (peer.requests().len(), run.done());
        (done.code(), peer.requests().len() - before)
    };
    for (variables, asked) in [
        (&[][..], 1),
        (&[("WRAPPER_PLUGIN_ON", "Success\n")], 0),
        (&[("WRAPPER_PLUGIN_ON", "FAILURE")], 1),
        (&[("HOOK_ISTIO_QUIT_ON", " Success")], 0),
        (&[("HOOK_ISTIO_QUIT_ABSENT", "Wait\n")], 1),
        (&[("WRAPPER_LOG", "Error\n"), ("WRAPPER_LOG_FORMAT", "JSON")], 1),
        (&[("WRAPPER_PLUGIN_PREPARE", "False"), ("WRAPPER_PLUGIN_MEMORY", "64Mi\n")], 1),
        (&[("WRAPPER_PLUGIN_ENV", "HOME,\n PATH\n")], 1),
        (&[("WRAPPER_STOP_TIMEOUT", " \n")], 1),
        (&[("WRAPPER_BEFORE_PLUGIN_PATH", "\n")], 1),
    ] {
        assert_eq!(run(variables), (7, asked), "{variables:?}");
    }
    for variables in [&[("WRAPPER_PLUGIN_ON", "successful")], &[("WRAPPER_PLUGIN_ENV", "HOME PATH")]] {
        assert_eq!(run(variables), (125, 0), "{variables:?}");
    }
}

#[test]
fn a_secret_in_a_template_ends_before_its_newline() {
    let peer = Peer::with_status(200);
    let mut run = wrapper().with(&["--plugin-failure", "fail", "--plugin", "http", "true"]);
    run.env("HOOK_ID", "a-b\n").env("HOOK_HTTP_URL", peer.url("/{HOOK_ID}/x"));
    run.env("HOOK_HTTP_HEADERS", "X-Id: {HOOK_ID}").env("HOOK_HTTP_BODY", r#"{"id": "{HOOK_ID}"}"#);
    let done = run.done();
    assert_eq!(done.code(), 0, "{done:?}");
    let request = peer.requests().remove(0);
    assert!(request.starts_with("POST /a-b/x HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("x-id: a-b\r\n") && request.ends_with(r#"{"id": "a-b"}"#), "{request}");
}
