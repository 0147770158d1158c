//! Several name servers in resolv.conf: the next one is queried where one fails. If all fail, the log says that it was
//! the name servers.

use crate::harness::{
    Done, Run, assert_took, failed, guests,
    names::{self, Answer, NameServer, wrapper_with},
    network,
    peer::Peer,
};
use std::process::Command;

/// The rule that the tests' names need. Their addresses are loopback's, which takes a rule of its own.
const RULES: [&str; 4] = ["--allow-http", "http://*.example:*", "--allow-http", "http://localhost:*"];

/// The address of the name server that knows every name.
const WORKING: &str = "127.53.53.1";

/// Addresses to which nothing can be sent, and one on which nobody listens.
const NOWHERE: [&str; 2] = ["fd00::10", "10.99.0.1"];
const REFUSING: &str = "127.53.53.2";

fn loopback(_: &str, v6: bool) -> Answer {
    if v6 { Answer::Addresses(Vec::new()) } else { Answer::address("127.0.0.1") }
}

/// A name server that answers everything in this way.
fn always(address: &str, answer: fn() -> Answer) -> NameServer {
    NameServer::on(address.parse().unwrap(), move |_, _| answer())
}

/// Runs the test in a network of its own with the working name server, or skips it.
fn with_working(test: impl FnOnce(&NameServer) + Send) {
    names::with_name_server(loopback, test);
}

/// A wrapper whose container has these name servers and none of the names in its hosts file.
fn with_servers(servers: &[&str]) -> Command {
    let lines: String = servers.iter().map(|address| format!("nameserver {address}\n")).collect();
    wrapper_with("", &lines).with(&RULES)
}

/// GETs these URLs, one after the other.
fn get(servers: &[&str], urls: &[String]) -> Done {
    let mut run = with_servers(servers).plugin(guests::hook("http_get"));
    run.env("HOOK_URLS", urls.join(" "));
    run.with(&["true"]).done()
}

#[test]
fn the_next_name_server_is_queried_where_one_cannot_be_reached_or_answers_with_an_error() {
    with_working(|_| {
        let _failing = [
            always("127.53.53.11", || Answer::Error(2)),
            always("127.53.53.12", || Answer::Error(4)),
            always("127.53.53.13", || Answer::Error(5)),
        ];
        let _v6 = NameServer::on("::1".parse().unwrap(), loopback);
        let peer = Peer::with_status(200);
        let url = format!("http://service.example:{}/", peer.port());
        for servers in [
            &[NOWHERE[0], WORKING][..],
            &[NOWHERE[1], NOWHERE[0], WORKING],
            &[NOWHERE[1], "::1"],
            &[REFUSING, WORKING],
            &["127.53.53.11", WORKING],
            &["127.53.53.12", WORKING],
            &["127.53.53.13", WORKING],
            &["127.53.53.11", NOWHERE[0], WORKING],
        ] {
            let done = get(servers, std::slice::from_ref(&url));
            assert!(done.stderr.contains(&format!("{url} answered 200\n")), "{servers:?}: {done:?}");
            assert_took(&done, 0.0, 4.0);
        }
    });
}

#[test]
fn a_name_that_does_not_exist_is_not_looked_up_on_the_next_name_server() {
    with_working(|working| {
        let first = always("127.53.53.11", || Answer::NoSuchName);
        let done = get(&["127.53.53.11", WORKING], &["http://absent.example/".into()]);
        assert!(done.stderr.contains("http://absent.example/ failed: Unresolved\n"), "{done:?}");
        assert_eq!(first.asked(), ["absent.example"; 2]);
        assert_eq!(working.asked(), [""; 0]);
    });
}

#[test]
fn a_name_server_that_does_not_respond_delays_one_lookup_and_not_each() {
    with_working(|working| {
        let silent = always("127.53.53.11", || Answer::Silence);
        let peer = Peer::with_status(200);
        let urls: Vec<_> = (0..20).map(|number| format!("http://n{number}.example:{}/", peer.port())).collect();
        let done = get(&["127.53.53.11", WORKING], &urls);
        for url in &urls {
            assert!(done.stderr.contains(&format!("{url} answered 200\n")), "{url}: {done:?}");
        }
        assert_eq!(working.asked().len(), 40);
        // On a busy machine the one that answers may be late as well, now and then.
        assert!(silent.asked().len() < 20, "{:?}", silent.asked());
    });
}

#[test]
fn a_failure_of_the_name_servers_is_logged_once_as_theirs() {
    network::alone(|| {
        if !names::can_have_files() {
            return;
        }
        let _failing = [always("127.53.53.11", || Answer::Error(2)), always("127.53.53.12", || Answer::Error(5))];
        for (servers, why, reported) in [
            (&["127.53.53.11"][..], "the name server answered SERVFAIL", "no such host"),
            (&["127.53.53.12", NOWHERE[0]], "the name server answered REFUSED", "no such host"),
            (&NOWHERE, "no name server could be reached", "the name server did not respond"),
        ] {
            let mut run = with_servers(servers).plugin("http").with(&["--plugin-timeout", "2s", "true"]);
            run.env("HOOK_HTTP_URL", "http://service.example/");
            let lines = [
                format!("wrapper: hook \"http\": http://service.example:80: {why}"),
                failed("http", &format!("\"http://service.example\": {reported}")),
            ];
            assert_eq!(run.done().lines(), lines);
        }
    });
}

#[test]
fn that_a_name_has_no_address_of_one_kind_does_not_hide_the_failure_of_the_other() {
    network::alone(|| {
        if !names::can_have_files() {
            return;
        }
        let no_ipv6 = |_: &str, v6: bool| if v6 { Answer::Addresses(Vec::new()) } else { Answer::Error(2) };
        let _failing = NameServer::on("127.53.53.11".parse().unwrap(), no_ipv6);
        let done = get(&["127.53.53.11"], &["http://service.example/".into()]);
        assert!(done.stderr.contains("http://service.example:80: the name server answered SERVFAIL"), "{done:?}");
    });
}

#[test]
fn a_name_server_that_does_not_respond_is_the_reason_in_the_log_also_when_the_time_is_up() {
    network::alone(|| {
        if !names::can_have_files() {
            return;
        }
        let _silent = always("127.53.53.11", || Answer::Silence);
        for (server, limit) in [("127.53.53.11", "2s"), ("127.53.53.11", "6s"), (REFUSING, "6s")] {
            let mut run = with_servers(&[server]).plugin("http").with(&["--plugin-timeout", limit, "true"]);
            run.env("HOOK_HTTP_URL", "http://service.example/");
            let done = run.done();
            let [logged, reported] = done.lines()[..] else { panic!("{done:?}") };
            let why = "no address from the name server after 1 s";
            assert_eq!(logged, format!("wrapper: hook \"http\": http://service.example:80: {why}"));
            // In two seconds the hook itself gives up, or just not.
            if limit == "6s" {
                assert_eq!(reported, failed("http", "\"http://service.example\": the name server did not respond"));
            }
            assert_took(&done, 1.0, 8.0);
        }
    });
}

#[test]
fn a_gate_reports_a_failing_name_server() {
    network::alone(|| {
        if !names::can_have_files() {
            return;
        }
        let _failing = always("127.53.53.11", || Answer::Error(2));
        for (server, why) in
            [("127.53.53.11", "the name server answered SERVFAIL"), (NOWHERE[0], "no name server could be reached")]
        {
            for target in ["dns://db.example", "tcp://db.example:5432"] {
                let mut run = with_servers(&[server]).with(&["--before", "ready", "--allow", target, "true"]);
                run.env("HOOK_READY_FOR", target).env("HOOK_READY_TIMEOUT", "1s");
                let done = run.done();
                assert_eq!(done.lines()[0], format!("wrapper: ready: waiting for {target} ({why})"));
                assert_eq!(done.code(), 125);
            }
        }
    });
}
