//! Hosts beyond loopback: a name is looked up once and its addresses are checked; TLS connections use the CA roots and
//! client certificates that the operator configured.

use crate::harness::{
    Done, Run, assert_took, failed, guests,
    names::{self, Answer, NameServer},
    peer::Peer,
    tls::{Ca, Loss, OLDER, Settings, TlsServer},
    wrapper,
};
use std::{fs, io::Write, net::TcpListener, path::Path, process::Command, thread, time::Duration};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(run: Command, url: &str) -> Done {
    let mut run = run.plugin(guests::hook("http_post")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_URL", url);
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// A name server that answers each question for IPv4 addresses with the next of these.
fn with_name_server(answers: &'static [&'static str], test: impl FnOnce(&NameServer) + Send) {
    let mut answers = answers.iter().cycle();
    let answer = move |_: &str, v6: bool| match v6 {
        true => Answer::Addresses(Vec::new()),
        false => Answer::address(answers.next().unwrap()),
    };
    names::with_name_server(answer, test);
}

#[test]
fn a_name_is_looked_up_and_its_address_is_connected_to() {
    with_name_server(&["127.0.0.1"], |server| {
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
    with_name_server(&["127.0.0.1", "10.9.9.9"], |server| {
        let peer = Peer::answering(OK);
        let rule = format!("http://rebind.example:{}", peer.port());
        let done = post(server.wrapper("").with(&["--allow-http", &rule]), &format!("{rule}/"));
        assert!(
            done.stderr.contains("resolves to 127.0.0.1 (loopback), which only a rule naming the address allows"),
            "{done:?}"
        );
        assert_eq!(peer.requests(), [""; 0]);
    });
}

#[test]
fn a_name_that_is_not_allowed_is_not_even_looked_up() {
    with_name_server(&["127.0.0.1"], |server| {
        let done = post(server.wrapper("").with(&["--allow-http", "http://good.example"]), "http://evil.example/");
        let words = "not allowed: http://evil.example:80; to allow it: HOOK_HTTP_POST_ALLOW=http://evil.example:80";
        assert!(done.stderr.contains(words), "{done:?}");
        assert_eq!(server.asked(), [""; 0]);
    });
}

#[test]
fn the_hosts_file_is_believed_but_not_about_localhost() {
    with_name_server(&["10.9.9.9"], |server| {
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

/// GETs these URLs, one after the other.
fn trying(run: Command, urls: &[&str]) -> Done {
    let mut run = run.plugin(guests::hook("http_get")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_URLS", urls.join(" "));
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// Names whose addresses a hook must not reach by them, written with dashes: one of each range, and of each cloud's.
const SPECIAL: &[&str] = &[
    "0-0-0-1",
    "100-100-100-200",
    "127-0-0-2",
    "168-63-129-16",
    "169-254-169-254",
    "192-0-0-192",
    "192-0-2-1",
    "192-31-196-1",
    "192-52-193-1",
    "192-88-99-1",
    "192-175-48-1",
    "198-19-255-255",
    "198-51-100-1",
    "203-0-113-1",
    "224-0-0-1",
    "240-0-0-1",
    "255-255-255-255",
    "x--1",
    "x--a9fe-a9fe",
    "x--ffff-a9fe-a9fe",
    "x64-ff9b--a9fe-a9fe",
    "x64-ff9b-1--a9fe-a9fe",
    "x64-ff9b-1-1--808-808",
    "x100--1",
    "x2001--1",
    "x2001-db8--1",
    "x2002-a9fe-a9fe--1",
    "x3fff--1",
    "x5f00--1",
    "xfd00-ec2--254",
    "xfd20-ce--254",
    "xfe80--1",
    "xfec0--1",
    "xff02--1",
];

const ORDINARY: &[&str] = &[
    "10-0-0-1",
    "172-16-0-1",
    "192-168-0-1",
    "100-64-0-1",
    "240-240-0-1",
    "93-184-216-34",
    "x64-ff9b--808-808",
    "xfd12--1",
    "x2606-4700--1",
];

/// The address that a name above is written as.
fn written(name: &str, v6: bool) -> Answer {
    let Some(label) = name.strip_suffix(".attacker.example") else { return Answer::NoSuchName };
    match (label.strip_prefix('x'), v6) {
        (Some(label), true) => Answer::address(&label.replace('-', ":")),
        (None, false) => Answer::address(&label.replace('-', ".")),
        _ => Answer::Addresses(Vec::new()),
    }
}

#[test]
fn a_name_opens_no_metadata_service_and_no_other_special_address_and_opens_all_others() {
    names::with_name_server(written, |server| {
        let url = |label: &&str| format!("http://{label}.attacker.example/");
        let (special, ordinary): (Vec<_>, Vec<_>) =
            (SPECIAL.iter().map(url).collect(), ORDINARY.iter().map(url).collect());
        let urls: Vec<&str> = special.iter().chain(&ordinary).map(String::as_str).collect();
        let done = trying(server.wrapper("").with(&["--allow-http", "http://*.attacker.example"]), &urls);
        for url in &special {
            assert!(done.stderr.contains(&format!("{url} failed: Denied\n")), "{url}: {done:?}");
        }
        // From this network there is no way to them.
        for url in &ordinary {
            assert!(done.stderr.contains(&format!("{url} failed: Unreachable\n")), "{url}: {done:?}");
        }
        let words = "not allowed: http://168-63-129-16.attacker.example:80 resolves to 168.63.129.16 \
                     (cloud metadata), which only a rule naming the address allows";
        assert!(done.stderr.contains(words), "{done:?}");
    });
}

#[test]
fn a_special_address_is_opened_by_a_rule_that_names_it() {
    names::with_name_server(written, |server| {
        let (name, address) = ("http://168-63-129-16.attacker.example/", "http://168.63.129.16/");
        for (rule, opened) in [("http://168.63.129.16", true), ("http://168.63.129.17", false)] {
            let allow = ["--allow-http", "http://*.attacker.example", "--allow-http", rule];
            let done = trying(server.wrapper("").with(&allow), &[name, address]);
            let kind = if opened { "Unreachable" } else { "Denied" };
            for url in [name, address] {
                assert!(done.stderr.contains(&format!("{url} failed: {kind}\n")), "{rule}: {done:?}");
            }
        }
    });
}

#[test]
fn an_absolute_name_is_asked_for_as_it_is_and_a_short_one_with_the_search_domains() {
    // Whoever has a search domain would like to be asked.
    let answer = |name: &str, v6: bool| match (name.ends_with(".search.example"), v6) {
        (true, false) => Answer::address("127.0.0.1"),
        (true, true) => Answer::Addresses(Vec::new()),
        (false, _) => Answer::NoSuchName,
    };
    names::with_name_server(answer, |server| {
        for (host, options, asked) in [
            ("api.example.com.", "options ndots:5\n", &["api.example.com"][..]),
            ("api.", "options ndots:5\n", &["api"]),
            ("api", "", &["api.search.example"]),
            ("api.example.com", "", &["api.example.com", "api.example.com.search.example"]),
            ("api.example.com", "options ndots:5\n", &["api.example.com.search.example"]),
        ] {
            let before = server.asked().len();
            let lines = format!("search search.example\n{options}");
            let rules = ["--allow-http", "http://api:*", "--allow-http", "http://api.example.com:*"];
            let done = trying(server.wrapper_with_lines(&lines).with(&rules), &[&format!("http://{host}/")]);
            let mut names = server.asked().split_off(before);
            names.dedup();
            assert_eq!(names, asked, "{host} {options}: {done:?}");
            let kind = if host.ends_with('.') { "Unresolved" } else { "Denied" };
            assert!(done.stderr.contains(&format!("http://{host}/ failed: {kind}\n")), "{host}: {done:?}");
        }
    });
}

#[test]
fn a_question_that_is_lost_is_asked_again_and_one_kind_of_addresses_is_enough() {
    for first_are_lost in [true, false] {
        let mut count = 0;
        let answer = move |_: &str, v6: bool| {
            count += 1;
            // Name servers and firewalls that do not know IPv6 swallow its questions.
            match if first_are_lost { count <= 2 } else { v6 } {
                true => Answer::Silence,
                false if v6 => Answer::Addresses(Vec::new()),
                false => Answer::address("127.0.0.1"),
            }
        };
        names::with_name_server(answer, |server| {
            let peer = Peer::answering(OK);
            let rule = format!("http://service.example:{}", peer.port());
            let allow = ["--allow-http", &rule, "--allow-http", "http://localhost:*"];
            let done = trying(server.wrapper("").with(&allow), &[&format!("{rule}/")]);
            assert!(done.stderr.contains(" answered 200\n"), "{done:?}");
            // To wait for all answers takes eight seconds.
            assert_took(&done, 0.0, 7.5);
        });
    }
}

#[test]
fn malformed_lines_of_hosts_and_resolv_conf_are_skipped_and_what_is_beyond_a_megabyte_is_not_read() {
    with_name_server(&["127.0.0.1"], |server| {
        let peer = Peer::answering(OK);
        let rules: Vec<String> =
            ["first", "last", "asked"].map(|name| format!("http://{name}.example:{}", peer.port())).into();
        let mut allow = vec!["--allow-http", "http://localhost:*"];
        rules.iter().for_each(|rule| allow.extend(["--allow-http", rule]));
        let urls: Vec<String> = rules.iter().map(|rule| format!("{rule}/")).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        // As printf(1) reads it: bytes that are no text, a line without an address, and two megabytes of blanks.
        let hosts = "\\377\\376 x\nnonsense\n127.0.0.1 first.example\n#%2000000s\n10.9.9.9 last.example\n";
        let conf =
            format!("\\377\nnonsense here\nnameserver nobody\noptions ndots:x\nnameserver {}\n", server.address());
        let done = trying(names::wrapper_with(hosts, &conf).with(&allow), &urls);
        // The last one is not read, and so asked for.
        for url in &urls {
            assert!(done.stderr.contains(&format!("{url} answered 200\n")), "{url}: {done:?}");
        }
        let mut asked = server.asked();
        asked.dedup();
        assert_eq!(asked, ["last.example", "asked.example"]);
    });
}

fn trusting(ca: &Path) -> Command {
    let mut run = wrapper().with(&["--allow-http", "https://localhost:*", "--allow-http", "https://127.0.0.1:*"]);
    run.env("SSL_CERT_FILE", ca);
    run
}

/// A file that is gone with the value.
fn file(content: &str) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    file.into_temp_path()
}

/// The one line that wrapper itself logs about a server.
#[track_caller]
fn told<'a>(done: &'a Done, origin: &str) -> &'a str {
    let start = format!(": {origin}: ");
    let told: Vec<_> = done.lines().into_iter().filter_map(|line| line.split_once(&start)).collect();
    assert_eq!(told.len(), 1, "{done:?}");
    told[0].1
}

#[test]
fn a_private_ca_is_trusted_when_it_is_named_and_only_then() {
    let server = TlsServer::start("localhost", false);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, &server.ca).unwrap();
    // Other files in a folder of certificates do no harm.
    fs::write(directory.path().join("README"), "no certificate").unwrap();
    fs::create_dir(directory.path().join("java")).unwrap();
    let (url, origin) = server.url();

    let done = post(trusting(&ca), &url);
    assert!(done.stderr.contains("status 200"), "{done:?}");
    let mut folder = wrapper().with(&["--allow-http", "https://localhost:*"]);
    folder.env("SSL_CERT_DIR", directory.path());
    let done = post(folder, &url);
    assert!(done.stderr.contains("status 200"), "{done:?}");
    assert_eq!(done.lines().len(), 3, "{done:?}");

    let done = post(wrapper().with(&["--allow-http", "https://localhost:*"]), &url);
    assert_eq!(
        told(&done, &origin),
        "certificate not trusted: it was not issued by a public CA; set SSL_CERT_FILE to add a private one"
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
fn a_name_below_localhost_is_checked_on_the_certificate_as_it_is_written() {
    let server = TlsServer::start("a.localhost", false);
    for (host, trusted) in [("a.localhost", true), ("A.LOCALHOST.", true), ("b.localhost", false), ("localhost", false)]
    {
        let done = post(trusting(&file(&server.ca)), &format!("https://{host}:{}/", server.port));
        assert_eq!(done.stderr.contains("status 200"), trusted, "{done:?}");
        if !trusted {
            let origin = format!("https://localhost:{}", server.port);
            let why = format!("certificate not trusted: it is not valid for {host}, only for a.localhost");
            assert_eq!(told(&done, &origin), why);
        }
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_explained_in_one_line() {
    let localhost = Settings::default;
    for (settings, url_host, words) in [
        (Settings { years: (2019, 2020), ..localhost() }, "localhost", "it expired on 2020-01-01T00:00:00Z"),
        (Settings { years: (3000, 3001), ..localhost() }, "localhost", "it is not valid before 3000-01-01T00:00:00Z"),
        (
            Settings { names: &["elsewhere.example"], ..localhost() },
            "localhost",
            "it is not valid for localhost, only for elsewhere.example",
        ),
        (
            Settings { names: &["a.example", "10.0.0.1", "c.example", "d.example"], ..localhost() },
            "localhost",
            "it is not valid for localhost, only for a.example, 10.0.0.1, c.example, …",
        ),
        (Settings { names: &[], ..localhost() }, "localhost", "has no host name at all"),
        (localhost(), "127.0.0.1", "it is not valid for 127.0.0.1, only for localhost"),
        (Settings { is_ca: true, ..localhost() }, "localhost", "it is a CA certificate used as a server certificate"),
        (Settings { sha1: true, ..localhost() }, "localhost", "it is signed with SHA-1, which is no longer accepted"),
        (Settings { for_clients: true, ..localhost() }, "localhost", "it is not a server certificate"),
        (Settings { version: OLDER, years: (2019, 2020), ..localhost() }, "localhost", "it expired on 2020-"),
    ] {
        let server = TlsServer::with(&settings);
        let origin = format!("https://{url_host}:{}", server.port);
        let done = post(trusting(&file(&server.ca)), &format!("{origin}/"));
        let said = told(&done, &origin);
        assert!(said.starts_with("certificate not trusted: ") && said.contains(words), "{words}: {said}");
        // Nothing as a program would print it, and no advice that would not help.
        assert!(!said.contains(['{', '[', '"']) && !said.contains("Context"), "{said}");
        assert!(!said.contains("SSL_CERT_FILE"), "{said}");
        assert_eq!(done.lines().len(), 2, "{done:?}");
        assert_eq!(server.requests(), [""; 0]);
    }
}

#[test]
fn a_ca_that_is_not_the_servers_is_reported_as_such_without_advice_to_add_it() {
    let server = TlsServer::start("localhost", false);
    let (url, origin) = server.url();
    for (other, words) in [
        (Ca::named("another CA"), "it was issued neither by a public CA nor by one in SSL_CERT_FILE or SSL_CERT_DIR"),
        // As one that was made anew is.
        (Ca::new(), "it is not signed by its issuer, or the key is too short"),
    ] {
        let done = post(trusting(&file(&other.pem)), &url);
        assert_eq!(told(&done, &origin), format!("certificate not trusted: {words}"));
    }
}

#[test]
fn roots_that_cannot_be_read_are_reported_and_https_works_without_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("text"), "no certificate").unwrap();
    fs::write(path("large"), vec![b'\n'; (4 << 20) + 1]).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let server = TlsServer::start("localhost", false);
    let (url, origin) = server.url();
    for (name, words) in [
        ("nope.pem", "No such file or directory"),
        ("", "not a regular file"),
        ("fifo", "not a regular file"),
        ("large", "larger than 4 MiB"),
        ("text", "no certificate in the file"),
    ] {
        let done = post(trusting(&path(name)), &url);
        let line = format!("SSL_CERT_FILE {:?}: {words}", path(name));
        assert!(done.lines()[0].ends_with(&line), "{line}: {done:?}");
        assert!(
            told(&done, &origin).ends_with("it was not issued by a public CA; set SSL_CERT_FILE to add a private one")
        );
    }
    let mut run = wrapper().with(&["--allow-http", "https://localhost:*"]);
    run.env("SSL_CERT_DIR", path("nope"));
    let done = post(run, &url);
    assert!(
        done.lines()[0].ends_with(&format!("SSL_CERT_DIR {:?}: No such file or directory", path("nope"))),
        "{done:?}"
    );
    // A folder may have 16 MiB of files, and the next one is reported.
    let folder = path("folder");
    fs::create_dir(&folder).unwrap();
    for (number, told) in [(4, false), (5, true)] {
        (0..number).for_each(|file| fs::write(folder.join(file.to_string()), vec![b'x'; 4 << 20]).unwrap());
        let mut run = wrapper().with(&["--allow-http", "https://localhost:*"]);
        run.env("SSL_CERT_DIR", &folder);
        let done = post(run, &url);
        let line = format!("SSL_CERT_DIR {folder:?}: only the first 16 MiB of its files are read");
        assert_eq!(done.lines()[0].ends_with(&line), told, "{done:?}");
    }
    // Without a rule for HTTPS they are not needed.
    let peer = Peer::answering(OK);
    let mut run = wrapper();
    run.env("SSL_CERT_FILE", path("nope.pem"));
    assert_eq!(post(run, &peer.url("/")).lines().len(), 3);
}

#[test]
fn certificates_are_understood_only_when_the_sandbox_is_entered() {
    let text = file("no certificate");
    let server = TlsServer::start("localhost", false);
    let done = post(trusting(&text).with(&["--log", "debug"]), &server.url().0);
    let place = |words: &str| {
        let place = done.stderr.lines().position(|line| line.contains(words));
        place.unwrap_or_else(|| panic!("{words:?} is missing: {done:?}"))
    };
    assert!(place("no certificate in the file") > place("seccomp"), "{done:?}");
    assert!(place("no certificate in the file") > place("runner"), "{done:?}");
}

#[test]
fn a_server_that_requires_a_client_certificate_is_reported_with_the_variables_to_set() {
    let ca = Ca::new();
    for version in [Settings::default().version, OLDER] {
        let settings = Settings { clients_of: Some(ca.der.clone()), version, ..Settings::default() };
        let server = TlsServer::with(&settings);
        let (url, origin) = server.url();
        let done = post(trusting(&file(&server.ca)), &url);
        let said = told(&done, &origin);
        let wanted = "; it requested a client certificate: set HOOK_HTTP_POST_TLS_CERT and HOOK_HTTP_POST_TLS_KEY";
        assert!(said.starts_with("the server closed the TLS connection: ") && said.ends_with(wanted), "{said}");
        assert!(!said.contains("Certificate") && !said.contains("SSL_CERT_FILE"), "{said}");
        assert_eq!(done.lines().len(), 2, "{done:?}");
        assert_eq!(server.requests(), [""; 0]);
    }
}

#[test]
fn a_hook_shows_the_client_certificate_that_its_variables_name_and_cannot_read_the_key() {
    let ca = Ca::new();
    let (certificate, key) = ca.client();
    let (certificate_file, key_file) = (file(&certificate), file(&key));
    for version in [Settings::default().version, OLDER] {
        let settings = Settings { clients_of: Some(ca.der.clone()), version, ..Settings::default() };
        let server = TlsServer::with(&settings);
        let roots = file(&server.ca);
        let (url, _) = server.url();
        let mut run = trusting(&roots);
        run.env("HOOK_HTTP_POST_TLS_CERT", &certificate_file).env("HOOK_HTTP_POST_TLS_KEY", &key_file);
        let done = post(run, &url);
        assert!(done.stderr.contains("status 200"), "{done:?}");
        assert_eq!(server.requests().len(), 1);
        // Another hook's are not this one's.
        let mut run = trusting(&roots);
        run.env("HOOK_OTHER_TLS_CERT", &certificate_file).env("HOOK_OTHER_TLS_KEY", &key_file);
        assert!(!post(run, &url).stderr.contains("status 200"));
        assert_eq!(server.requests().len(), 1);
    }
    // All that a hook sees is where they are.
    let mut run =
        wrapper().plugin(guests::program("print_environment")).with(&["--allow-http", "https://localhost", "true"]);
    run.env("HOOK_PRINT_ENVIRONMENT_TLS_CERT", &certificate_file).env("HOOK_PRINT_ENVIRONMENT_TLS_KEY", &key_file);
    let done = run.done();
    assert!(done.stderr.contains(key_file.to_str().unwrap()), "{done:?}");
    assert!(!key.lines().any(|line| done.stderr.contains(line)), "{done:?}");
}

#[test]
fn an_unusable_client_certificate_is_reported_with_its_variable() {
    let ca = Ca::new();
    let (certificate, key) = ca.client();
    let other_key = ca.client().1;
    let server = TlsServer::with(&Settings { clients_of: Some(ca.der.clone()), ..Settings::default() });
    let (url, origin) = server.url();
    let roots = file(&server.ca);
    let (good, good_key) = (file(&certificate), file(&key));
    let (good, good_key) = (good.to_str().unwrap(), good_key.to_str().unwrap());
    let (other_key, text) = (file(&other_key), file("no PEM at all"));
    for (certificate, key, words) in [
        (
            good,
            text.to_str().unwrap(),
            format!("HOOK_HTTP_POST_TLS_KEY {text:?}: it contains no unencrypted private key"),
        ),
        (text.to_str().unwrap(), good_key, format!("HOOK_HTTP_POST_TLS_CERT {text:?}: no certificate in the file")),
        (
            good,
            other_key.to_str().unwrap(),
            format!(
                "HOOK_HTTP_POST_TLS_KEY {other_key:?} is not the key of the certificate in \
                 HOOK_HTTP_POST_TLS_CERT {good:?}"
            ),
        ),
    ] {
        let mut run = trusting(&roots);
        run.env("HOOK_HTTP_POST_TLS_CERT", certificate).env("HOOK_HTTP_POST_TLS_KEY", key);
        let done = post(run, &url);
        assert_eq!(told(&done, &origin), words);
        assert_eq!(done.lines().len(), 2, "{done:?}");
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_connection_that_is_lost_in_the_handshake_is_made_again_and_one_that_cannot_succeed_is_not() {
    use Loss::{Closed, ClosedAfterHello, Reset};
    let notify = |server: &TlsServer, identity: Option<(&Path, &Path)>| {
        let roots = file(&server.ca);
        let mut run = trusting(&roots).plugin("http").with(&["--log", "debug", "true"]);
        run.env("HOOK_HTTP_URL", server.url().0);
        if let Some((certificate, key)) = identity {
            run.env("HOOK_HTTP_TLS_CERT", certificate).env("HOOK_HTTP_TLS_KEY", key);
        }
        let done = run.done();
        let attempts = done.stderr.matches("POST https://").count();
        (done, attempts)
    };
    let server = TlsServer::with(&Settings { losses: &[Reset, Closed, ClosedAfterHello], ..Settings::default() });
    let (done, attempts) = notify(&server, None);
    assert_eq!((attempts, server.requests().len()), (4, 1), "{done:?}");
    assert!(done.stderr.contains(&format!("{}: no TLS: tls handshake eof\n", server.url().1)), "{done:?}");

    let server = TlsServer::with(&Settings { losses: &[ClosedAfterHello; 6], ..Settings::default() });
    let (done, attempts) = notify(&server, None);
    assert_eq!((attempts, done.stderr.matches("no TLS: ").count()), (6, 1), "{done:?}");
    assert!(done.stderr.contains(&failed("http", &format!("\"{}\": the host cannot be reached", server.url().1))));

    let (certificate, key) = (file(&Ca::new().client().0), file(&Ca::new().client().1));
    for identity in [None, Some((&*certificate, &*key))] {
        let name = if identity.is_none() { "elsewhere.example" } else { "localhost" };
        let server = TlsServer::start(name, false);
        let (done, attempts) = notify(&server, identity);
        assert_eq!((attempts, server.requests().len()), (1, 0), "{done:?}");
        assert!(done.stderr.contains("failed: it reports: "), "{done:?}");
    }
}

#[test]
fn a_client_certificate_without_its_key_is_refused_before_anything_starts_and_so_is_the_key_alone() {
    for phase in ["--plugin", "--before"] {
        for (set, missing) in [("HOOK_MINE_TLS_CERT", "HOOK_MINE_TLS_KEY"), ("HOOK_MINE_TLS_KEY", "HOOK_MINE_TLS_CERT")]
        {
            let mut run = wrapper().with(&[phase, "mine=echo", "echo", "started"]);
            run.env(set, "/some/file.pem");
            let done = run.done();
            assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
            let line = format!("wrapper: {set} is set and {missing} is not; a client certificate needs both");
            assert_eq!(done.line(), line);
        }
    }
    let mut run = wrapper().with(&["--plugin", "mine=echo", "true"]);
    // Empty is as if not set, and of another hook's there may be one.
    run.env("HOOK_MINE_TLS_CERT", "").env("HOOK_OTHER_TLS_CERT", "/some/file.pem");
    assert_eq!(run.done().code(), 0);
}

#[test]
fn a_request_follows_its_handshake_without_waiting_for_a_confirmation() {
    let server = TlsServer::start("localhost", false);
    let roots = file(&server.ca);
    let mut run = trusting(&roots).plugin(guests::hook("http_sequential_requests")).with(&["sh", "-c", "exit 7"]);
    run.env("HOOK_URL", server.url().0).env("HOOK_COUNT", "15");
    let done = run.done();
    assert!(done.stderr.contains("15 answered"), "{done:?}");
    // The kernel confirms 40 ms later what nobody answers. Other tests run beside, so that some take as long.
    let mut pauses = server.pauses();
    pauses.sort();
    assert!(pauses[pauses.len() / 2] < Duration::from_millis(20), "{pauses:?}");
}

#[test]
fn https_to_a_port_with_plain_http_is_an_error_that_is_explained() {
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
