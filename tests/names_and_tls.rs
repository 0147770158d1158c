//! Hosts beyond loopback: names are looked up once and their addresses judged, and encrypted connections are made to
//! whom the operator trusts.

use crate::support::{Done, Run, guests, peer::Peer, skipped, tls::TlsServer, wrapper};
use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(run: Command, url: &str) -> Done {
    let mut run = run.plugin(guests::hook("posts")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_URL", url);
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// A name server on an address of loopback, answering each question for an address with the next of a list.
struct NameServer {
    address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Nothing without the right to listen on port 53; the tests then skip loudly.
    fn start(last: u8, answers: &'static [[u8; 4]]) -> Option<Self> {
        let address = Ipv4Addr::new(127, 53, 53, last);
        let socket = UdpSocket::bind((address, 53)).ok()?;
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let names = asked.clone();
        thread::spawn(move || {
            let (mut buffer, mut next) = ([0; 512], 0);
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let (answer, name, is_a) = answer(&buffer[..length], answers[next % answers.len()]);
                next += usize::from(is_a);
                names.lock().unwrap().push(name);
                let _ = socket.send_to(&answer, client);
            }
        });
        Some(Self { address, asked })
    }

    /// A wrapper whose container has this name server, and a hosts file.
    fn wrapper(&self, hosts: &str) -> Command {
        let script = format!(
            "printf 'nameserver {}\\n' >/sys/resolv.conf && printf '{hosts}' >/sys/hosts && \
             mount --bind /sys/resolv.conf /etc/resolv.conf && mount --bind /sys/hosts /etc/hosts && exec \"$0\" \"$@\"",
            self.address
        );
        let inner = wrapper();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(format!("mount -t tmpfs none /sys && {script}"));
        command.arg(inner.get_program()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }
}

/// The answer to a question: one address for type A, none for anything else.
fn answer(question: &[u8], address: [u8; 4]) -> (Vec<u8>, String, bool) {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..at + 1 + length]).into_owned());
        at += length + 1;
    }
    let is_a = question[at + 1..at + 3] == [0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(&question[12..at + 5]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address);
    }
    (answer, labels.join("."), is_a)
}

/// Runs the test with a name server, or skips it where none can be had; never in CI.
fn with_name_server(last: u8, answers: &'static [[u8; 4]], test: impl FnOnce(&NameServer)) {
    match NameServer::start(last, answers) {
        Some(server) if Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|s| s.success()) => {
            test(&server);
        }
        _ => {
            skipped("port 53 and a mount namespace need root");
        }
    }
}

#[test]
fn a_name_is_looked_up_and_its_address_is_connected_to() {
    with_name_server(1, &[[127, 0, 0, 1]], |server| {
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
    with_name_server(2, &[[127, 0, 0, 1], [10, 9, 9, 9]], |server| {
        let peer = Peer::answering(OK);
        let rule = format!("http://rebind.example:{}", peer.port());
        let done = post(server.wrapper("").with(&["--allow-http", &rule]), &format!("{rule}/"));
        assert!(done.stderr.contains("has the address 127.0.0.1, which a name does not open"), "{done:?}");
        assert_eq!(peer.requests(), [""; 0]);
    });
}

#[test]
fn a_name_that_is_not_allowed_is_not_even_looked_up() {
    with_name_server(3, &[[127, 0, 0, 1]], |server| {
        let done = post(server.wrapper("").with(&["--allow-http", "http://good.example"]), "http://evil.example/");
        let words = "not allowed: http://evil.example:80; to allow it: --allow-http http://evil.example:80";
        assert!(done.stderr.contains(words), "{done:?}");
        assert_eq!(*server.asked.lock().unwrap(), [""; 0]);
    });
}

#[test]
fn the_hosts_file_is_believed_but_not_about_localhost() {
    with_name_server(4, &[[10, 9, 9, 9]], |server| {
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
