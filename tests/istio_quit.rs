//! istio-quit: the right request, the right reading of every answer, and an end when there is no sidecar.

use crate::support::{
    Done, Run, assert_took,
    envoy::Envoy,
    peer::{Peer, free_port},
    wrapper,
};
use std::{net::TcpListener, process::Command, sync::Mutex, thread, time::Duration};

const SUCCESS: &str = "wrapper: istio-quit: Success to send quit message to istio-proxy";

/// Two of the tests need the ports that Istio's sidecar has.
static ISTIO_PORTS: Mutex<()> = Mutex::new(());

fn quit(url: &str, script: &str) -> Done {
    quitting(url).with(&["sh", "-c", script]).done()
}

fn quitting(url: &str) -> Command {
    let mut run = wrapper().plugin("istio-quit");
    run.env("HOOK_ISTIO_QUIT_URL", url);
    run
}

#[test]
fn it_posts_once_with_an_empty_body_and_no_redirect_is_followed() {
    for (answer, code) in [("200 OK", 200), ("204 No Content", 204)] {
        let peer = Peer::answering(&format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        let done = quit(&peer.url("/quitquitquit"), "exit 7");
        assert_eq!((done.code(), done.line()), (7, SUCCESS), "{code}");
        let requests = peer.requests();
        assert_eq!(requests.len(), 1);
        let head = requests[0].to_ascii_lowercase();
        assert!(head.starts_with("post /quitquitquit http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", peer.port())), "{head}");
        assert!(head.contains("\r\ncontent-length: 0\r\n") && !head.contains("transfer-encoding"), "{head}");
    }
}

#[test]
fn a_connection_that_closes_after_the_request_is_success() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| drop(stream));
    let done = quit(&peer.url("/quitquitquit"), "true");
    assert_eq!((done.code(), done.line()), (0, SUCCESS));
}

#[test]
fn an_answer_that_refuses_names_the_setting() {
    for (status, words) in [
        (403, "answered 403: it takes this from loopback only"),
        (404, "answered 404: no quit endpoint there; set HOOK_ISTIO_QUIT_URL to"),
        (405, "answered 405: it does not take POST there"),
        (500, "answered 500"),
        (302, "answered 302"),
    ] {
        let peer = Peer::with_status(status);
        let done = quit(&peer.url("/quitquitquit"), "exit 7");
        assert_eq!(done.code(), 7);
        let start = format!("wrapper: hook \"istio-quit\": \"{}\": {words}", peer.url("/quitquitquit"));
        assert!(done.line().starts_with(&start), "{done:?}");
        assert_eq!(peer.requests().len(), 1);
    }
}

#[test]
fn a_sidecar_that_is_still_starting_is_waited_for() {
    let port = free_port();
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(1500));
        Peer::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), |mut stream, _| {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        })
    });
    let done = quit(&format!("http://localhost:{port}/quitquitquit"), "exit 7");
    assert_eq!((done.code(), done.line()), (7, SUCCESS));
    assert_took(&done, 1.2, 10.0);
    assert_eq!(late.join().unwrap().requests().len(), 1);
}

#[test]
fn without_a_sidecar_it_says_so_and_succeeds_within_the_startup_time() {
    let url = format!("http://localhost:{}/", free_port());
    let line = "wrapper: istio-quit: No istio-proxy running to quit";
    let done = quitting(&url).with(&["--plugin-failure", "fail", "true"]).done();
    assert_eq!((done.code(), done.line()), (0, line));
    assert_took(&done, 4.5, 8.0);

    let mut run = quitting(&url).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_ISTIO_QUIT_STARTUP", "0");
    let done = run.done();
    assert_eq!((done.code(), done.line()), (7, line));
    assert_took(&done, 0.0, 2.0);
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_timeout() {
    let peer = Peer::start("127.0.0.1:0", |stream, _| {
        thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    let done = quitting(&peer.url("/")).with(&["--plugin-timeout", "2s", "sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7);
    assert!(done.line().contains("no answer within its time"), "{done:?}");
    assert_took(&done, 1.5, 2.5 + 2.0);
}

#[test]
fn a_sidecar_on_either_loopback_address_is_reached() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let peer = Peer::start(address, |mut stream, _| {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        assert_eq!(quit(&peer.url("/"), "true").line(), SUCCESS, "{address}");
    }
}

#[test]
fn a_real_envoy_on_istios_port_exits() {
    let _ports = ISTIO_PORTS.lock().unwrap();
    let envoy = Envoy::start(15020);
    let done = wrapper().plugin("istio-quit").with(&["true"]).done();
    assert_eq!((done.code(), done.line()), (0, SUCCESS));
    assert_eq!(envoy.exit_code(), Some(0));
}

#[test]
fn a_real_envoy_on_its_own_port_exits_and_without_the_hook_it_stays() {
    let _ports = ISTIO_PORTS.lock().unwrap();
    let mut envoy = Envoy::start(15000);
    assert_eq!(wrapper().with(&["true"]).done().code(), 0);
    assert!(envoy.is_running());
    let done = quit("http://localhost:15000/quitquitquit", "exit 7");
    assert_eq!((done.code(), done.line()), (7, SUCCESS));
    assert_eq!(envoy.exit_code(), Some(0));
}
