//! The gate `ready`: the command starts when everything that it needs is there. If something never is, a line names it.

use crate::harness::{
    Done, Run, Running, assert_took,
    dependencies::{self, Grpc, PostgreSql},
    eventually, failed, misconfigured,
    names::{self, Answer},
    network, not_ready,
    peer::{Peer, Silent, free_port, hold},
    side_by_side, unfit, without_time, wrapper,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// The command: what it prints shows that it was started, and its exit code that wrapper has none of its own.
const COMMAND: [&str; 3] = ["sh", "-c", "echo started; exit 7"];

/// Nobody listens there, on any machine.
const NOBODY: &str = "tcp://localhost:1";

/// wrapper with the gate, these targets, and these settings of it.
fn waiting_for(targets: &str, settings: &[(&str, &str)]) -> Command {
    let mut run = wrapper().with(&["--before", "ready"]);
    run.env("HOOK_READY_FOR", targets).envs(settings.iter().map(|(end, value)| (format!("HOOK_READY_{end}"), value)));
    run
}

fn start(run: Command) -> Running {
    run.with(&COMMAND).running()
}

#[track_caller]
fn assert_started(done: &Done) {
    assert_eq!((done.code(), done.stdout.as_str()), (7, "started\n"), "{done:?}");
}

/// The command did not run, and the gate's only line has this reason.
#[track_caller]
fn assert_never_ready(target: &str, why: &str) {
    let done = waiting_for(target, &[("TIMEOUT", "6s")]).with(&COMMAND).done();
    let lines = [
        format!("wrapper: ready: waiting for {target} ({why})"),
        failed("ready", &not_ready("ready", &format!("{target} ({why})"))),
    ];
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""));
    assert_eq!(done.lines().into_iter().map(without_time).collect::<Vec<_>>(), lines);
}

/// The last line, without the time that the gate has waited.
fn last(done: &Done) -> String {
    done.lines().last().map(|line| without_time(line)).unwrap_or_default()
}

fn is_ready(target: &str) -> String {
    format!("wrapper: ready: {target} is ready\n")
}

/// Takes connections, and returns what comes over each until it is closed.
fn listener(address: &str) -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (connections, bytes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = (connections.clone(), bytes.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            seen.0.fetch_add(1, Ordering::SeqCst);
            seen.1.fetch_add(stream.read_to_end(&mut Vec::new()).unwrap_or(0), Ordering::SeqCst);
        }
    });
    (port, connections, bytes)
}

#[test]
fn a_command_starts_when_postgresql_and_redis_accept_connections() {
    let (Some(database), cache) = (PostgreSql::new(), free_port()) else { return };
    let (sql, redis) = (format!("tcp://localhost:{}", database.port), format!("tcp://127.0.0.1:{cache}"));
    let mut run = start(waiting_for(&format!("{sql},{redis}"), &[("TIMEOUT", "1m")]));
    run.until_stderr_has(&format!("waiting for {sql} (connection refused), {redis} (connection refused)\n"));
    let Some(_cache) = dependencies::redis(cache) else { return };
    run.until_stderr_has(&is_ready(&redis));
    assert!(!run.has_ended() && run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
    let _database = database.start();
    let done = run.done();
    assert_started(&done);
    assert!(done.stderr.ends_with(&is_ready(&sql)), "{done:?}");
}

#[test]
fn a_grpc_service_is_ready_when_its_server_reports_that_it_is_serving() {
    let mut server = Grpc::start();
    let all = format!("grpc://localhost:{}", server.port);
    let one = format!("{all}/package.Service");
    let mut run = start(waiting_for(&format!("{all}\n{one}"), &[("TIMEOUT", "1m")]));
    run.until_stderr_has(&format!("waiting for {all} (answered NOT_SERVING), {one} (answered UNKNOWN)\n"));
    server.set("-", "SERVING");
    run.until_stderr_has(&is_ready(&all));
    server.set("package.Service", "NOT_SERVING");
    run.until_stderr_has(&format!("waiting for {one} (answered NOT_SERVING)\n"));
    assert!(run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
    server.set("package.Service", "SERVING");
    assert_started(&run.done());
}

#[test]
fn a_server_without_a_health_service_is_never_ready() {
    let server = Grpc::without_health_service();
    let why = "no health status: the server has no grpc.health.v1.Health, or not this service";
    assert_never_ready(&format!("grpc://localhost:{}", server.port), why);
}

#[test]
fn what_does_not_speak_grpc_is_never_ready() {
    const NOT_HTTP_2: &str = "the response is not HTTP/2; grpc:// is gRPC without TLS";
    const CLOSED: &str = "the connection was closed before a response arrived";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let answers = [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], NOT_HTTP_2),
        (b"\x15\x03\x03\0\x02\x02\x46\0\0", NOT_HTTP_2),
        (b"\xff\xff\xff\x04\0\0\0\0\0", NOT_HTTP_2),
        (b"", CLOSED),
        (settings, CLOSED),
        // A reset of the call, and the end of the connection.
        (&[&settings[..], b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"].concat(), "the server ended the call"),
        (&[&settings[..], b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"].concat(), "the server is shutting down"),
        // Data of another stream, and half of a message.
        (&[&settings[..], b"\0\0\x07\0\0\0\0\0\x03\0\0\0\0\x02\x08\x01"].concat(), CLOSED),
        (&[&settings[..], b"\0\0\x06\0\0\0\0\0\x01\0\0\0\0\x02\x08"].concat(), CLOSED),
        // A status that the protocol does not have. Its number would be a byte of the server's for the hook.
        (&[&settings[..], b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x4d"].concat(), "answered an unknown status"),
    ];
    side_by_side(&answers, |(answer, why)| {
        let answer = answer.to_vec();
        let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
            let _ = stream.write_all(&answer);
        });
        assert_never_ready(&format!("grpc://localhost:{}", peer.port()), why);
    });
}

#[test]
fn a_status_that_comes_in_pieces_padded_and_between_pings_is_read() {
    let peer = Peer::start("127.0.0.1:0", |mut stream, _| {
        let frames: [&[u8]; 6] = [
            b"\0\0\0\x04\0\0\0\0\0",                   // settings
            b"\0\0\x08\x06\0\0\0\0\x0012345678",       // ping
            b"\0\0\x01\x01\x04\0\0\0\x01\x88",         // headers
            b"\0\0\x06\0\x08\0\0\0\x01\x02\0\0\0\0\0", // three bytes, padded with two
            b"\0\0\x03\0\0\0\0\0\x01\0\x02\x08",       // three more
            b"\0\0\x01\0\0\0\0\0\x01\x01",             // serving
        ];
        let answers: [&[u8]; 2] = [b"\0\0\0\x04\x01\0\0\0\0", b"\0\0\x08\x06\x01\0\0\0\x0012345678"];
        for (place, frame) in frames.iter().enumerate() {
            stream.write_all(frame).unwrap();
            if let Some(expected) = answers.get(place) {
                let mut answer = vec![0; expected.len()];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, *expected);
            }
        }
    });
    assert_started(&start(waiting_for(&format!("grpc://localhost:{}", peer.port()), &[])).done());
}

#[test]
fn a_name_is_ready_when_it_has_an_address() {
    let exists = Arc::new(AtomicBool::new(false));
    let told = exists.clone();
    let answer = move |_: &str, v6: bool| match told.load(Ordering::SeqCst) {
        false => Answer::NoSuchName,
        true if v6 => Answer::Addresses(Vec::new()),
        true => Answer::address("10.9.9.9"),
    };
    names::with_name_server(answer, |server| {
        let mut run = server.wrapper("").with(&["--before", "ready", "--allow", "dns://late.example"]);
        run.env("HOOK_READY_FOR", "dns://late.example").env("HOOK_READY_TIMEOUT", "1m");
        let mut run = start(run);
        run.until_stderr_has("waiting for dns://late.example (no such host)\n");
        exists.store(true, Ordering::SeqCst);
        assert_started(&run.done());
    });
}

#[test]
fn as_many_names_as_there_are_targets_are_looked_up_in_one_round() {
    let answer = |_: &str, v6: bool| if v6 { Answer::Addresses(Vec::new()) } else { Answer::address("10.9.9.9") };
    names::with_name_server(answer, |server| {
        let targets: Vec<_> = (0..64).map(|number| format!("dns://n{number}.many.example")).collect();
        let mut run = server.wrapper("").with(&["--before", "ready", "--allow", "dns://*.many.example"]);
        run.env("HOOK_READY_FOR", targets.join(" ")).env("HOOK_READY_TIMEOUT", "1m");
        let done = start(run).done();
        assert_started(&done);
        assert!(!done.stderr.contains("waiting for"), "{done:?}");
    });
}

#[test]
fn a_url_is_ready_when_its_answer_is_2xx() {
    let ready = Arc::new(AtomicBool::new(false));
    let told = ready.clone();
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
        let status = if told.load(Ordering::SeqCst) { 204 } else { 302 };
        let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nLocation: http://localhost/\r\n\r\n");
    });
    let url = peer.url("/ready?full=1");
    let mut run = start(waiting_for(&url, &[("TIMEOUT", "1m")]));
    // Without its query, in which a token may be.
    run.until_stderr_has(&format!("waiting for {} (answered 302)\n", peer.url("/ready")));
    ready.store(true, Ordering::SeqCst);
    assert_started(&run.done());
    let requests = peer.requests();
    let host = format!("host: localhost:{}\r\n", peer.port());
    let expected = |request: &String| request.starts_with("GET /ready?full=1 HTTP/1.1\r\n") && request.contains(&host);
    assert!(requests.iter().all(expected), "{requests:?}");
}

#[test]
fn all_targets_have_to_be_there_and_one_that_was_is_not_probed_again() {
    network::alone(|| {
        let (port, connections, bytes) = listener("127.0.0.1:0");
        let late = free_port();
        let (there, missing) = (format!("tcp://localhost:{port}"), format!("tcp://localhost:{late}"));
        let settings = [("TIMEOUT", "1m"), ("PERIOD", "20ms")];
        let mut run = start(waiting_for(&format!("{there}, {missing}"), &settings));
        run.until_stderr_has(&format!("waiting for {missing} (connection refused)\n"));
        assert!(!run.has_ended() && run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
        let (_, late_connections, _) = listener(&format!("127.0.0.1:{late}"));
        assert_started(&run.done());
        // One connection for each, over which nothing comes.
        eventually("both are closed", || {
            connections.load(Ordering::SeqCst) + late_connections.load(Ordering::SeqCst) == 2
        });
        assert_eq!(bytes.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_target_that_is_listed_twice_is_probed_once() {
    let peer = Peer::with_status(200);
    let url = peer.url("/ready");
    let done = waiting_for(&format!("{url},{url} {url}"), &[]).with(&COMMAND).done();
    assert_eq!((done.code(), done.stderr.as_str()), (7, is_ready(&url).as_str()));
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn targets_are_probed_at_the_same_time() {
    let silent: Vec<_> = (0..4).map(|_| Silent::on(TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    let targets: Vec<_> = silent.iter().map(|silent| format!("tcp://{}", silent.address())).collect();
    let run = waiting_for(&targets.join(" "), &[("TIMEOUT", "6s")]).with(&COMMAND);
    let done = run.done();
    // One after the other each would take two seconds.
    let all = targets.iter().map(|target| format!("{target} (no response in time)")).collect::<Vec<_>>().join(", ");
    assert_eq!(last(&done), failed("ready", &not_ready("ready", &all)));
    assert_took(&done, 2.0, 20.0);
}

#[test]
fn no_more_than_a_line_a_second_says_what_is_missing() {
    let count = AtomicUsize::new(0);
    let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
        let status = 500 + count.fetch_add(1, Ordering::SeqCst) % 50;
        let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\n\r\n");
    });
    let done = waiting_for(&peer.url("/"), &[("TIMEOUT", "4s"), ("PERIOD", "20ms")]).with(&COMMAND).done();
    let lines = done.lines().iter().filter(|line| line.contains(": waiting for ")).count();
    assert!((2..=done.elapsed.as_secs() as usize + 1).contains(&lines), "{lines}: {done:?}");
    assert!(peer.requests().len() > 3 * lines, "{}: {done:?}", peer.requests().len());
}

#[test]
fn what_is_never_there_keeps_the_command_from_starting_unless_it_is_to_start_then() {
    side_by_side(&[("fail", 125, ""), ("start", 7, "started\n")], |&(choice, code, stdout)| {
        let settings = [("TIMEOUT", "6s"), ("ON_TIMEOUT", choice)];
        let done = waiting_for(NOBODY, &settings).plugin("echo").with(&COMMAND).done();
        assert_eq!((done.code(), done.stdout.as_str()), (code, stdout), "{done:?}");
        let why = not_ready("ready", &format!("{NOBODY} (connection refused)"));
        let line = match choice {
            "fail" => failed("ready", &why),
            _ => format!("wrapper: ready: warning: {why}; starting the command anyway"),
        };
        assert_eq!(without_time(done.lines()[1]), line);
        assert_took(&done, 1.4, 20.0);
    });
}

#[test]
fn a_malformed_target_is_one_line_before_the_command_starts() {
    const FORMS: &str = "not http://, https://, tcp://HOST:PORT, grpc://HOST:PORT[/SERVICE] or dns://NAME";
    for (target, why) in [
        ("postgres://localhost", FORMS),
        ("postgres://user:S3CRET@localhost:1/x?S3CRET", FORMS),
        ("postgres://user:S3C#RET@localhost:1/x", FORMS),
        ("localhost:5432", FORMS),
        ("tcp://localhost", "no port: tcp://localhost:PORT"),
        ("grpc://localhost/a.B", "no port: grpc://localhost:PORT"),
        ("tcp://localhost:http", "the port is not a number from 1 to 65535"),
        ("tcp://user:S3CRET@localhost:1", "must not contain a user name"),
        ("dns://localhost:53", "a lookup has no port"),
        ("dns://127.0.0.1", "an address needs no lookup, dns:// is for names"),
    ] {
        let done = waiting_for(&format!("{NOBODY},{target}"), &[]).plugin("echo").with(&COMMAND).done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{done:?}");
        let shown = match target {
            _ if target.starts_with("postgres:") => "postgres://…",
            "tcp://user:S3CRET@localhost:1" => "tcp://…@localhost:1",
            target => target,
        };
        assert_eq!(done.lines()[0], unfit("ready", &format!("HOOK_READY_FOR {shown:?}: {why}")));
    }
    let done = wrapper().with(&["--before", "data-base=ready"]).with(&COMMAND).done();
    assert_eq!((done.code(), done.line()), (125, unfit("data-base", "HOOK_DATA_BASE_FOR is not set").as_str()));
    for (setting, value, what) in
        [("PERIOD", "often", "a time such as 500ms, 10s or 1m30s"), ("ON_TIMEOUT", "wait", "one of start, fail")]
    {
        let done = waiting_for(NOBODY, &[(setting, value)]).with(&COMMAND).done();
        let words = format!("HOOK_READY_{setting}=\"{value}\": not {what}");
        assert_eq!((done.code(), done.line()), (125, unfit("ready", &words).as_str()));
    }
}

#[test]
fn a_target_that_is_not_allowed_is_one_line_before_the_command_starts_and_the_line_has_the_remedy() {
    let targets = [
        ("tcp://10.1.2.3:5432", "tcp://10.1.2.3:5432"),
        ("grpc://db.example:50051/a.B", "tcp://db.example:50051"),
        ("dns://db.example", "dns://db.example"),
        ("https://db.example/ready", "https://db.example:443"),
    ];
    side_by_side(&targets, |(target, allowed_by)| {
        let run = || waiting_for(target, &[("TIMEOUT", "6s"), ("ON_TIMEOUT", "start")]).plugin("echo");
        let done = run().with(&COMMAND).done();
        let words =
            format!("HOOK_READY_FOR {target:?}: not allowed: {allowed_by}; to allow it: HOOK_READY_ALLOW={allowed_by}");
        assert_eq!((done.code(), done.stdout.as_str(), done.lines()[0]), (125, "", unfit("ready", &words).as_str()));
        let mut allowed = run();
        allowed.env("HOOK_READY_ALLOW", allowed_by);
        network::alone(|| assert_started(&allowed.with(&COMMAND).done()));
    });
}

#[test]
fn a_gate_has_its_targets_and_what_it_may_reach_under_its_own_name() {
    let (port, connections, _) = listener("127.0.0.1:0");
    let target = format!("tcp://localhost:{port}");
    let run = |rule: &str| {
        let mut run = wrapper().with(&["--before", "database=ready"]);
        run.env("HOOK_DATABASE_FOR", &target).env("HOOK_READY_FOR", NOBODY).env("HOOK_DATABASE_ALLOW", rule);
        run.with(&COMMAND).done()
    };
    assert_started(&run(&target));
    let done = run("tcp://localhost:1");
    let words =
        format!("HOOK_DATABASE_FOR {target:?}: not allowed: {target}; to allow it: HOOK_DATABASE_ALLOW={target}");
    assert_eq!((done.code(), done.line()), (125, unfit("database", &words).as_str()));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_name_opens_no_special_address_to_a_probe_either() {
    let answer = |_: &str, v6: bool| match v6 {
        true => Answer::Addresses(Vec::new()),
        false => Answer::address("127.0.0.1"),
    };
    names::with_name_server(answer, |server| {
        let (port, connections, _) = listener("127.0.0.1:0");
        let target = format!("tcp://rebind.example:{port}");
        let run = |more: &[&str]| {
            let mut run = server.wrapper("").with(&["--before", "ready", "--allow", &target]).with(more);
            run.env("HOOK_READY_FOR", &target);
            run.with(&COMMAND).done()
        };
        // The address is not for the hook.
        let lines = [
            format!(
                "wrapper: hook \"ready\": not allowed: {target} resolves to 127.0.0.1 (loopback), which only a rule \
                 naming the address allows"
            ),
            misconfigured(
                "ready",
                &format!("not allowed: {target} resolves to an address that only a rule naming it allows"),
            ),
        ];
        let done = run(&[]);
        assert_eq!((done.code(), done.lines()), (125, lines.iter().map(String::as_str).collect()));
        assert_eq!(connections.load(Ordering::SeqCst), 0);
        assert_started(&run(&["--allow", &format!("tcp://127.0.0.1:{port}")]));
    });
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_there_for_tcp_and_not_for_the_others() {
    let peer = Peer::start("127.0.0.1:0", |stream: TcpStream, _| hold(stream));
    let place = format!("localhost:{}", peer.port());
    assert_started(&start(waiting_for(&format!("tcp://{place}"), &[])).done());
    side_by_side(&["http", "grpc"], |scheme| {
        let target = format!("{scheme}://{place}");
        let done = waiting_for(&target, &[("TIMEOUT", "6s")]).with(&COMMAND).done();
        let words = not_ready("ready", &format!("{target} (no response in time)"));
        assert_eq!(last(&done), failed("ready", &words));
    });
}
