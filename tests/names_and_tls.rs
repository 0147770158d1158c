//! Hosts beyond loopback: names are looked up once and their addresses judged, and encrypted connections are made to
//! whom the operator trusts.

use crate::support::{
    Done, Run, guests,
    names::{self, Answer, NameServer},
    peer::Peer,
    tls::TlsServer,
    wrapper,
};
use std::{fs, io::Write, net::TcpListener, path::Path, process::Command, thread};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(run: Command, url: &str) -> Done {
    let mut run = run.plugin(guests::hook("posts")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_URL", url);
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// A name server that answers each question for IPv4 addresses with the next of these.
fn with_name_server(last: u8, answers: &'static [&'static str], test: impl FnOnce(&NameServer)) {
    let mut answers = answers.iter().cycle();
    let answer = move |_: &str, v6: bool| match v6 {
        true => Answer::Addresses(Vec::new()),
        false => Answer::address(answers.next().unwrap()),
    };
    names::with_name_server(last, answer, test);
}

#[test]
fn a_name_is_looked_up_and_its_address_is_connected_to() {
    with_name_server(1, &["127.0.0.1"], |server| {
        let peer = Peer::answering(OK);
        let url = format!("http://service.example:{}/path", peer.port());
        let rule = format!("http://service.example:{}", peer.port());
        // The address is loopback's, which a rule of its own has to open.
        let allow = ["--allow-http", &rule, "--allow-http", "http://localhost:*"];
        let done = post(server.wrapper("").with(&allow), &url);
        assert!(done.stderr.contains("status 200"), "{done:?}");
        assert!(
            peer.requests()[0].contains(&format!("host: service.example:{}\r\n", peer.port())),
            "{:?}",
            peer.requests()
        );
    });
}

#[test]
fn a_name_that_turns_out_to_be_loopback_opens_nothing() {
    // The first answer is loopback, the second would be elsewhere: whoever asks twice judges one and connects to the
    // other.
    with_name_server(2, &["127.0.0.1", "10.9.9.9"], |server| {
        let peer = Peer::answering(OK);
        let rule = format!("http://rebind.example:{}", peer.port());
        let done = post(server.wrapper("").with(&["--allow-http", &rule]), &format!("{rule}/"));
        assert!(done.stderr.contains("has the address 127.0.0.1, which a name does not open"), "{done:?}");
        assert_eq!(peer.requests(), [""; 0]);
    });
}

#[test]
fn a_name_that_is_not_allowed_is_not_even_looked_up() {
    with_name_server(3, &["127.0.0.1"], |server| {
        let done = post(server.wrapper("").with(&["--allow-http", "http://good.example"]), "http://evil.example/");
        let words = "not allowed: http://evil.example:80; to allow it: --allow-http http://evil.example:80";
        assert!(done.stderr.contains(words), "{done:?}");
        assert_eq!(server.asked(), [""; 0]);
    });
}

#[test]
fn the_hosts_file_is_believed_but_not_about_localhost() {
    with_name_server(4, &["10.9.9.9"], |server| {
        let peer = Peer::answering(OK);
        let rule = format!("http://alias.example:{}", peer.port());
        let allow = ["--allow-http", &rule, "--allow-http", "http://localhost:*"];
        let hosts = "127.0.0.1 alias.example\\n10.9.9.9 localhost\\n";
        for host in ["alias.example", "localhost"] {
            let url = format!("http://{host}:{}/", peer.port());
            let done = post(server.wrapper(hosts).with(&allow), &url);
            assert!(done.stderr.contains("status 200"), "{host}: {done:?}");
        }
    });
}

fn trusting(ca: &Path) -> Command {
    let mut run = wrapper().with(&["--allow-http", "https://localhost:*", "--allow-http", "https://127.0.0.1:*"]);
    run.env("SSL_CERT_FILE", ca);
    run
}

#[test]
fn a_private_ca_is_trusted_when_it_is_named_and_only_then() {
    let server = TlsServer::start("localhost", false);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    fs::write(&file, &server.ca).unwrap();
    let url = format!("https://localhost:{}/", server.port);

    assert!(post(trusting(&file), &url).stderr.contains("status 200"));
    let mut folder = wrapper().with(&["--allow-http", "https://localhost:*"]);
    folder.env("SSL_CERT_DIR", directory.path());
    assert!(post(folder, &url).stderr.contains("status 200"));

    let done = post(wrapper().with(&["--allow-http", "https://localhost:*"]), &url);
    let words = format!("https://localhost:{}: its certificate is not trusted: ", server.port);
    assert!(
        done.stderr.contains(&words) && done.stderr.contains("a private CA is added with SSL_CERT_FILE"),
        "{done:?}"
    );
    assert!(done.lines().last().unwrap().ends_with("the certificate is not trusted"), "{done:?}");
}

#[test]
fn https_is_allowed_by_a_rule_for_https_only() {
    let server = TlsServer::start("localhost", false);
    let url = format!("https://localhost:{}/", server.port);
    let done = post(wrapper(), &url);
    assert!(done.stderr.contains("not allowed: https://localhost"), "{done:?}");
}

#[test]
fn a_certificate_for_another_name_or_of_another_time_is_refused() {
    for (name, expired, url_host, words) in [
        ("elsewhere.example", false, "localhost", "not valid for"),
        ("localhost", false, "127.0.0.1", "not valid for"),
        ("localhost", true, "localhost", "expired"),
    ] {
        let server = TlsServer::start(name, expired);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &server.ca).unwrap();
        let done = post(trusting(file.path()), &format!("https://{url_host}:{}/", server.port));
        assert!(
            done.stderr.contains("its certificate is not trusted") && done.stderr.contains(words),
            "{name}: {done:?}"
        );
    }
}

#[test]
fn https_to_a_port_that_speaks_plainly_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let done = post(wrapper().with(&["--allow-http", "https://localhost:*"]), &url);
    assert!(done.stderr.contains("no TLS: "), "{done:?}");
}
