//! The hook `otlp`, and `--trace-context`: a span and metrics of the command, sent to the receiver of the OpenTelemetry
//! Collector, and its settings, for which a stub is enough.

use crate::harness::{
    Done, Run,
    collector::Collector,
    failed, misconfigured, network,
    peer::{Peer, free_port},
    unfit,
    witness::{KILL, Witness, until_registered},
    wrapper,
};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A wrapper that sends to this collector.
fn sending(url: &str, env: &[(&str, &str)]) -> Command {
    let mut run = wrapper().plugin("otlp");
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", url).envs(env.iter().copied());
    run
}

/// Runs it with a command that fails, whose exit code has to be kept.
#[track_caller]
fn finish(run: Command) -> Done {
    let done = run.with(&["/bin/sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

/// The one span of a request, and the attributes of its resource.
#[track_caller]
fn span(request: &Value) -> (Value, Value) {
    let [resource] = request["resourceSpans"].as_array().unwrap().as_slice() else { panic!("{request}") };
    let [scope] = resource["scopeSpans"].as_array().unwrap().as_slice() else { panic!("{request}") };
    assert_eq!(scope["scope"]["name"], "wrapper");
    let [span] = scope["spans"].as_array().unwrap().as_slice() else { panic!("{request}") };
    (span.clone(), attributes(&resource["resource"]))
}

/// The metrics of a request, by their names, and the attributes of its resource.
#[track_caller]
fn metrics(request: &Value) -> (Value, Value) {
    let [resource] = request["resourceMetrics"].as_array().unwrap().as_slice() else { panic!("{request}") };
    let [scope] = resource["scopeMetrics"].as_array().unwrap().as_slice() else { panic!("{request}") };
    assert_eq!(scope["scope"]["name"], "wrapper");
    let metrics = scope["metrics"].as_array().unwrap().iter();
    let metrics = metrics.map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric.clone()));
    (Value::Object(metrics.collect()), attributes(&resource["resource"]))
}

/// The attributes of an object, by their names.
fn attributes(object: &Value) -> Value {
    let pairs = object["attributes"].as_array().unwrap().iter();
    let pairs = pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone()));
    Value::Object(pairs.collect())
}

/// The only measurement of a gauge.
#[track_caller]
fn gauge<'a>(metrics: &'a Value, name: &str, unit: &str) -> &'a Value {
    let metric = &metrics[name];
    assert_eq!(metric["unit"], unit, "{name}: {metrics}");
    let [point] = metric["gauge"]["dataPoints"].as_array().unwrap().as_slice() else { panic!("{metrics}") };
    point
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

#[track_caller]
fn nanoseconds(time: &Value) -> u128 {
    time.as_str().unwrap().parse().unwrap()
}

#[track_caller]
fn hex(id: &Value, length: usize) -> String {
    let id = id.as_str().unwrap();
    assert!(id.len() == length && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert!(id.bytes().any(|digit| digit != b'0'), "{id}");
    id.into()
}

/// The span that a wrapper with these variables sends, and what it logs.
#[track_caller]
fn sent(env: &[(&str, &str)], options: &[&str], command: &[&str]) -> Option<(Value, Done)> {
    let collector = Collector::start()?;
    let done = sending(&collector.url(), env).with(options).with(command).done();
    let accepted = collector.accepted(2);
    Some((span(&accepted[0]).0, done))
}

// What is sent.

#[test]
fn a_command_that_succeeded_is_a_span_and_metrics() {
    let Some(collector) = Collector::start() else { return };
    let before = now();
    let env = [
        ("OTEL_SERVICE_NAME", "backup"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=backup-x2v,service.name=overridden,note=a%2Cb%20%22c%22"),
    ];
    let command = "python3 -c 'bytearray(48 << 20)\nimport time\nwhile time.process_time() < 0.3: pass'";
    let done = sending(&collector.url(), &env).with(&["/bin/sh", "-c", command]).done();
    let after = now();
    assert_eq!(done.code(), 0, "{done:?}");
    let sent = |what| format!("wrapper: otlp: sent {what} to {}", collector.url());
    assert_eq!(done.stderr.lines().collect::<Vec<_>>(), [sent("spans"), sent("metrics")]);
    let accepted = collector.accepted(2);
    let resource = json!({
        "k8s.pod.name": {"stringValue": "backup-x2v"}, "note": {"stringValue": "a,b \"c\""},
        "service.name": {"stringValue": "backup"},
    });

    let (span, of_span) = span(&accepted[0]);
    assert_eq!(of_span, resource);
    assert_eq!((&span["name"], &span["kind"]), (&json!("sh"), &json!(1)));
    assert_eq!(span["status"], json!({}), "the status of a success is not set");
    assert!(span["parentSpanId"].as_str().is_none_or(str::is_empty), "{span}");
    hex(&span["traceId"], 32);
    hex(&span["spanId"], 16);
    let (start, end) = (nanoseconds(&span["startTimeUnixNano"]), nanoseconds(&span["endTimeUnixNano"]));
    assert!(before <= start && start + 300_000_000 <= end && end <= after, "{before} {span} {after}");
    let attributes = attributes(&span);
    assert_eq!(attributes["process.executable.name"], json!({"stringValue": "sh"}));
    assert_eq!(attributes["process.exit.code"], json!({"intValue": "0"}));
    assert_eq!(attributes["wrapper.job.outcome"], json!({"stringValue": "exited"}));
    assert_eq!(attributes.get("error.type"), None);
    let peak: u64 = attributes["wrapper.job.peak_memory"]["intValue"].as_str().unwrap().parse().unwrap();
    assert!((48 << 20..96 << 20).contains(&peak), "{peak}");
    let cpu_time = attributes["wrapper.job.cpu_time"]["doubleValue"].as_f64().unwrap();
    assert!((0.3..5.0).contains(&cpu_time), "{cpu_time}");

    let (metrics, of_metrics) = metrics(&accepted[1]);
    assert_eq!(of_metrics, resource);
    assert_eq!(metrics.as_object().unwrap().len(), 5, "{metrics}");
    assert_eq!(gauge(&metrics, "wrapper.job.exit_code", "1")["asInt"], "0");
    assert_eq!(gauge(&metrics, "wrapper.job.success", "1")["asInt"], "1");
    assert_eq!(gauge(&metrics, "wrapper.job.peak_memory", "By")["asInt"], peak.to_string());
    let duration = gauge(&metrics, "wrapper.job.duration", "s");
    assert_eq!(nanoseconds(&duration["timeUnixNano"]), end);
    let spanned = (end - start) as f64 / 1e9;
    assert!((duration["asDouble"].as_f64().unwrap() - spanned).abs() < 0.001, "{duration} {spanned}");
    let sum = &metrics["process.cpu.time"]["sum"];
    assert_eq!((&sum["aggregationTemporality"], &sum["isMonotonic"]), (&json!(2), &json!(true)));
    let [user, system] = sum["dataPoints"].as_array().unwrap().as_slice() else { panic!("{sum}") };
    for (point, mode) in [(user, "user"), (system, "system")] {
        assert_eq!(self::attributes(point), json!({"cpu.mode": {"stringValue": mode}}));
        assert_eq!(nanoseconds(&point["startTimeUnixNano"]), start);
    }
    let seconds = |point: &Value| point["asDouble"].as_f64().unwrap_or_default();
    assert!((seconds(user) + seconds(system) - cpu_time).abs() < 0.003, "{sum} {cpu_time}");
}

#[test]
fn a_command_that_failed_is_an_error_with_its_exit_code_or_signal() {
    for (script, code, error, message) in
        [("exit 7", 7, "7", "exited with 7"), ("kill -9 $$", 137, "killed", "was killed by signal 9")]
    {
        let Some(collector) = Collector::start() else { return };
        let done = sending(&collector.url(), &[]).with(&["sh", "-c", script]).done();
        assert_eq!(done.code(), code, "{done:?}");
        let accepted = collector.accepted(2);
        let (span, resource) = span(&accepted[0]);
        assert_eq!(span["status"], json!({"code": 2, "message": message}));
        assert_eq!(resource, json!({"service.name": {"stringValue": "unknown_service:sh"}}));
        let attributes = attributes(&span);
        assert_eq!(attributes["process.exit.code"], json!({"intValue": code.to_string()}));
        assert_eq!(attributes["error.type"], json!({"stringValue": error}));
        assert_eq!(attributes.get("wrapper.job.signal"), (code == 137).then_some(&json!({"intValue": "9"})));
        let (metrics, _) = metrics(&accepted[1]);
        assert_eq!(gauge(&metrics, "wrapper.job.exit_code", "1")["asInt"], code.to_string());
        assert_eq!(gauge(&metrics, "wrapper.job.success", "1")["asInt"], "0");
    }
}

#[test]
fn a_command_that_was_not_started_is_an_error_of_no_length() {
    let before = now();
    let Some((span, done)) = sent(&[], &[], &["/no/such/program"]) else { return };
    assert_eq!(done.code(), 127, "{done:?}");
    let start = nanoseconds(&span["startTimeUnixNano"]);
    assert!(before <= start && start <= now() && start == nanoseconds(&span["endTimeUnixNano"]), "{span}");
    let attributes = attributes(&span);
    assert_eq!(span["name"], "program");
    assert_eq!(attributes["process.exit.code"], json!({"intValue": "127"}));
    assert_eq!(attributes["error.type"], json!({"stringValue": "not-started"}));
    assert_eq!(span["status"]["message"], "was not started: No such file or directory");
    assert!(attributes.get("wrapper.job.peak_memory").is_none(), "{attributes}");
}

#[test]
fn a_command_that_took_too_long_is_an_error_of_that_type_and_keeps_its_own_exit_code() {
    let Some(collector) = Collector::start() else { return };
    let done = sending(&collector.url(), &[]).with(&["--timeout", "300ms", "--", "sleep", "30"]).done();
    assert_eq!(done.code(), 124, "{done:?}");
    let accepted = collector.accepted(2);
    let (span, _) = span(&accepted[0]);
    assert_eq!(span["status"], json!({"code": 2, "message": "was killed by signal 15: timed out"}));
    let attributes = attributes(&span);
    assert_eq!(attributes["process.exit.code"], json!({"intValue": "143"}));
    for name in ["error.type", "wrapper.job.cause"] {
        assert_eq!(attributes[name], json!({"stringValue": "timed-out"}));
    }
    assert_eq!(gauge(&metrics(&accepted[1]).0, "wrapper.job.exit_code", "1")["asInt"], "124");
}

#[test]
fn an_exit_code_that_counts_as_success_is_no_error() {
    let Some((span, done)) = sent(&[], &["--success-codes", "7", "--"], &["sh", "-c", "exit 7"]) else { return };
    assert_eq!((done.code(), &span["status"]), (0, &json!({})), "{done:?}");
    assert_eq!(attributes(&span)["process.exit.code"], json!({"intValue": "7"}));
    assert_eq!(attributes(&span).get("error.type"), None);
}

#[test]
fn the_arguments_of_the_command_are_sent_to_nobody() {
    let Some(collector) = Collector::start() else { return };
    finish(sending(&collector.url(), &[]).with(&["--", "sh", "-c", "exit 7", "S3CRET"]));
    for request in collector.accepted(2) {
        assert!(!request.to_string().contains("S3CRET"), "{request}");
    }
}

// The trace.

#[test]
fn the_span_is_a_child_of_the_one_in_traceparent() {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let env = [("TRACEPARENT", traceparent.as_str()), ("TRACESTATE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")];
    let Some((span, done)) = sent(&env, &[], &["sh", "-c", "echo $TRACEPARENT"]) else { return };
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
    assert_eq!(span["traceState"], env[1].1);
    assert_ne!(hex(&span["spanId"], 16), PARENT);
    // Without --trace-context the command has the variables of the container.
    assert_eq!(done.stdout, format!("{traceparent}\n"));
}

#[test]
fn a_malformed_traceparent_begins_a_new_trace_with_a_warning() {
    for malformed in [&format!("00-{TRACE}-{PARENT}"), &format!("00-{TRACE}-0000000000000000-01"), "x"] {
        for option in [&["--"][..], &["--trace-context", "--"]] {
            let env = [("TRACEPARENT", malformed), ("TRACESTATE", "a=b")];
            let script = "echo \"$TRACEPARENT\"; env | grep -c TRACESTATE; exit 7";
            let Some((span, done)) = sent(&env, option, &["sh", "-c", script]) else { return };
            assert_ne!(hex(&span["traceId"], 32), TRACE);
            assert!(span["parentSpanId"].as_str().is_none_or(str::is_empty), "{span}");
            assert!(span["traceState"].as_str().is_none_or(str::is_empty), "{span}");
            let warnings: Vec<_> = done.lines().into_iter().filter(|line| line.contains("TRACEPARENT")).collect();
            let (warning, stdout) = match option.len() {
                1 => (
                    format!(
                        "wrapper: otlp: warning: the span begins a new trace: TRACEPARENT=\"{malformed}\" is not valid"
                    ),
                    format!("{malformed}\n1\n"),
                ),
                _ => (
                    format!("wrapper: the command begins a new trace: TRACEPARENT=\"{malformed}\" is not valid"),
                    format!("00-{}-{}-01\n0\n", span["traceId"].as_str().unwrap(), span["spanId"].as_str().unwrap()),
                ),
            };
            assert_eq!((warnings, done.stdout.as_str()), (vec![warning.as_str()], stdout.as_str()));
        }
    }
}

#[test]
fn no_span_is_sent_of_a_trace_that_is_not_sampled() {
    for option in [&["--"][..], &["--trace-context", "--"]] {
        let Some(collector) = Collector::start() else { return };
        let traceparent = format!("00-{TRACE}-{PARENT}-00");
        let run = sending(&collector.url(), &[("TRACEPARENT", &traceparent)]);
        let done = run.with(option).with(&["sh", "-c", "echo $TRACEPARENT"]).done();
        assert!(done.stderr.contains("wrapper: otlp: no span is sent: the trace of TRACEPARENT is not sampled\n"));
        assert!(collector.accepted(1)[0]["resourceMetrics"].is_array());
        assert!(done.stdout.trim().ends_with("-00") && done.stdout.contains(TRACE), "{done:?}");
    }
}

#[test]
fn with_trace_context_the_spans_of_the_command_are_below_its_own() {
    let Some(collector) = Collector::start() else { return };
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    // The command is one that sends a span itself.
    let inner = wrapper();
    let mut run = sending(&collector.url(), &[("TRACEPARENT", &traceparent), ("TRACESTATE", "a=b")]);
    run.arg("--trace-context").arg("--").arg(inner.get_program()).args(inner.get_args());
    run.args(["--plugin", "otlp", "--", "sh", "-c", "echo $TRACEPARENT $TRACESTATE"]);
    let done = run.done();
    let accepted = collector.accepted(4);
    let ((inner, _), (outer, _)) = (span(&accepted[0]), span(&accepted[2]));
    assert_eq!((&outer["traceId"], &inner["traceId"]), (&json!(TRACE), &json!(TRACE)));
    assert_eq!((&outer["parentSpanId"], &inner["parentSpanId"]), (&json!(PARENT), &outer["spanId"]));
    assert_eq!(done.stdout, format!("00-{TRACE}-{}-01 a=b\n", outer["spanId"].as_str().unwrap()));
}

#[test]
fn trace_context_begins_a_trace_where_there_is_none() {
    let variable = [("WRAPPER_TRACE_CONTEXT", "true")];
    let Some((span, done)) = sent(&variable, &[], &["sh", "-c", "echo $TRACEPARENT"]) else { return };
    let expected = format!("00-{}-{}-01\n", hex(&span["traceId"], 32), hex(&span["spanId"], 16));
    assert_eq!(done.stdout, expected);
    let Some((other, _)) = sent(&variable, &[], &["true"]) else { return };
    assert!(other["traceId"] != span["traceId"] && other["spanId"] != span["spanId"], "{other}");
}

#[test]
fn a_hook_knows_the_span_of_the_command_and_its_parent_and_without_the_option_neither() {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    for option in [&["--"][..], &["--trace-context", "--"]] {
        let peer = Peer::with_status(200);
        let mut run = wrapper().plugin("http").with(option).with(&["sh", "-c", "echo $TRACEPARENT; exit 7"]);
        run.env("HOOK_HTTP_URL", peer.url("/")).env("HOOK_HTTP_BODY", "{WRAPPER_TRACEPARENT} {TRACEPARENT}");
        run.env("TRACEPARENT", &parent);
        let done = run.done();
        if option.len() == 1 {
            let words = "{WRAPPER_TRACEPARENT} is not set, or hooks may not read it (--plugin-env WRAPPER_TRACEPARENT)";
            assert_eq!(done.line(), misconfigured("http", words));
        } else {
            let request = peer.requests().remove(0);
            assert!(request.ends_with(&format!("{} {parent}", done.stdout.trim())), "{request} {done:?}");
        }
    }
}

#[test]
fn the_witness_sends_the_span_of_a_command_whose_container_was_killed() {
    let Some(collector) = Collector::start() else { return };
    let witness = Witness::with(&["--plugin", "otlp"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    let mut run = witness.wrapper(&["--trace-context", "--", "sh", "-c", "echo $TRACEPARENT; exec sleep 30"]);
    run.env("TRACEPARENT", format!("00-{TRACE}-{PARENT}-01"));
    let mut run = run.running();
    until_registered(&mut run);
    run.until_stdout_has("\n");
    run.signal(KILL);
    let (span, _) = span(&collector.accepted(2)[0]);
    let printed = format!("00-{TRACE}-{}-01\n", span["spanId"].as_str().unwrap());
    assert_eq!((run.stdout_so_far(), &span["parentSpanId"]), (printed, &json!(PARENT)));
    assert_eq!(attributes(&span)["wrapper.job.signal"], json!({"intValue": "9"}));
    witness.stop();
}

// Where it is sent, and what becomes of it there.

/// Path and the value of a header of each request.
fn requested(peer: &Peer, header: &str) -> Vec<(String, Option<String>)> {
    let requests = peer.requests();
    let parts = requests.iter().map(|request| {
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let value = request.lines().find_map(|line| line.strip_prefix(&format!("{header}: ")));
        (path, value.map(Into::into))
    });
    parts.collect()
}

/// The paths of the requests to a peer that takes the place of `{peer}` in these variables.
#[track_caller]
fn paths(env: &[(&str, &str)]) -> Vec<String> {
    let peer = Peer::with_status(200);
    let mut run = wrapper().plugin("otlp");
    run.envs(env.iter().map(|(name, value)| (name, value.replace("{peer}", &peer.url("")))));
    let done = finish(run);
    assert!(!done.stderr.contains("hook \"otlp\""), "{done:?}");
    requested(&peer, "content-type").into_iter().map(|(path, _)| path).collect()
}

#[test]
fn the_endpoint_for_all_signals_is_completed_and_that_of_one_is_used_as_it_is() {
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    for (env, expected) in [
        (&[(ALL, "{peer}")][..], ["/v1/traces", "/v1/metrics"]),
        (&[(ALL, "{peer}/")], ["/v1/traces", "/v1/metrics"]),
        (&[(ALL, " {peer}/otlp\n")], ["/otlp/v1/traces", "/otlp/v1/metrics"]),
        (&[(ALL, "{peer}"), (TRACES, "{peer}/spans")], ["/spans", "/v1/metrics"]),
        (&[(TRACES, "{peer}"), (METRICS, "{peer}/api/v1/otlp/")], ["/", "/api/v1/otlp/"]),
        (
            &[(ALL, "http://nosuch"), (TRACES, "http://nosuch"), ("HOOK_OTLP_URL", "{peer}")],
            ["/v1/traces", "/v1/metrics"],
        ),
        (&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("HOOK_OTLP_URL", "{peer}")], ["/v1/traces", "/v1/metrics"]),
    ] {
        assert_eq!(paths(env), expected, "{env:?}");
    }
}

#[test]
fn two_collectors_under_two_names_have_two_urls() {
    let (near, far) = (Peer::with_status(200), Peer::with_status(200));
    let mut run = wrapper().plugin("near=otlp").plugin("far=otlp");
    run.env("HOOK_NEAR_URL", near.url("")).env("HOOK_FAR_URL", far.url("/far"));
    finish(run);
    let path = |peer: &Peer| requested(peer, "content-type").remove(0).0;
    assert_eq!((path(&near), path(&far)), ("/v1/traces".into(), "/far/v1/traces".into()));
}

#[test]
fn a_signal_without_an_exporter_is_left_out_and_a_disabled_sdk_sends_nothing() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "{peer}");
    assert_eq!(paths(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")]), ["/v1/traces"]);
    assert_eq!(paths(&[endpoint, ("OTEL_TRACES_EXPORTER", "None")]), ["/v1/metrics"]);
    assert_eq!(paths(&[endpoint, ("OTEL_SDK_DISABLED", "True")]), [""; 0]);
    // By the specification nothing else means true.
    assert_eq!(paths(&[endpoint, ("OTEL_SDK_DISABLED", "1"), ("OTEL_TRACES_EXPORTER", "otlp")]).len(), 2);
}

#[test]
fn the_headers_are_those_of_the_signal_or_else_of_all_and_are_not_logged() {
    let peer = Peer::with_status(200);
    let env = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1, authorization=Bearer%20S3CRET"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Basic S3CRET=="),
    ];
    let done = finish(sending(&peer.url(""), &env).with(&["--log", "debug"]));
    assert!(!done.stderr.contains("S3CRET"), "{done:?}");
    let expected = [("/v1/traces", "Bearer S3CRET"), ("/v1/metrics", "Basic S3CRET==")];
    assert_eq!(
        requested(&peer, "authorization"),
        expected.map(|(path, value)| (path.to_owned(), Some(value.to_owned())))
    );
    assert_eq!(requested(&peer, "content-type")[0].1.as_deref(), Some("application/json"));
}

#[test]
fn a_setting_that_is_invalid_is_named_and_nothing_is_sent_of_that_signal() {
    let pairs = "not of the form name=value,name=value with percent-encoded values";
    let grpc = "OTEL_EXPORTER_OTLP_ENDPOINT is for OTEL_EXPORTER_OTLP_PROTOCOL=grpc; set HOOK_OTLP_URL to the \
                collector's URL for HTTP, usually of port 4318";
    for (name, value, expected) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization", format!("OTEL_EXPORTER_OTLP_HEADERS: {pairs}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", format!("OTEL_EXPORTER_OTLP_HEADERS: {pairs}")),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s", "OTEL_EXPORTER_OTLP_TIMEOUT=\"5s\": not a number of milliseconds".into()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", grpc.into()),
    ] {
        let peer = Peer::with_status(200);
        let done = finish(sending(&peer.url(""), &[(name, value)]));
        // Once, although it concerns both signals.
        assert_eq!(done.line(), misconfigured("otlp", &expected));
        assert_eq!(peer.requests(), [""; 0], "{name}");
    }
    let peer = Peer::with_status(200);
    let done = finish(sending(&peer.url(""), &[("OTEL_RESOURCE_ATTRIBUTES", "a"), ("OTEL_SERVICE_NAME", "x")]));
    let warning = format!("wrapper: otlp: warning: OTEL_RESOURCE_ATTRIBUTES is left out: {pairs}");
    assert_eq!((done.lines()[0], peer.requests().len()), (warning.as_str(), 2), "{done:?}");
}

#[test]
fn a_setting_of_its_own_that_is_invalid_is_an_error_before_the_command() {
    for (name, value, words) in [
        ("HOOK_OTLP_URL", "collector", "HOOK_OTLP_URL is not a URL of the form http://host:port/path"),
        ("HOOK_OTLP_TRY_TIMEOUT", "soon", "HOOK_OTLP_TRY_TIMEOUT=\"soon\": not a time such as 500ms, 10s or 1m30s"),
    ] {
        let done = sending("http://localhost:1", &[(name, value)]).with(&["echo", "started"]).done();
        assert_eq!((done.code(), done.stdout.as_str(), done.line()), (125, "", unfit("otlp", words).as_str()));
    }
}

#[test]
fn as_a_gate_it_is_misconfigured() {
    let done = wrapper().with(&["--before", "otlp", "--", "echo", "started"]).done();
    assert_eq!((done.code(), done.stdout.as_str()), (125, ""));
    assert_eq!(done.line(), unfit("otlp", "runs after the command only: list it with --after"));
}

#[test]
fn an_endpoint_that_is_not_allowed_is_named_with_the_option_that_allows_it() {
    let done = finish(sending("http://collector.observability:4318", &[]));
    let words = "not allowed: http://collector.observability:4318; to allow it: HOOK_OTLP_ALLOW=\
                 http://collector.observability:4318";
    // The variable is the command's, too, which starts. The hook fails: the same is logged of its two requests, once.
    let line = format!("wrapper: hook \"otlp\": {words}");
    assert_eq!((done.code(), done.lines().iter().filter(|found| **found == line).count()), (7, 2), "{done:?}");
}

#[test]
fn without_a_collector_the_hook_fails_and_says_so_for_both_signals() {
    let url = format!("http://localhost:{}", free_port());
    let done = finish(sending(&url, &[]).with(&["--plugin-timeout", "6s"]));
    let refused = format!("\"{url}\": connection refused");
    let lines = [format!("wrapper: otlp: error: metrics: {refused}"), failed("otlp", &format!("spans: {refused}"))];
    assert_eq!(done.lines(), lines);
}

#[test]
fn a_failure_at_the_port_for_grpc_has_a_hint() {
    network::alone(|| {
        let done = finish(sending("http://localhost:4317", &[]).with(&["--plugin-timeout", "6s"]));
        let hint = "spans: \"http://localhost:4317\": connection refused; port 4317 is usually for gRPC; for HTTP it is usually 4318";
        assert_eq!(done.lines().last(), Some(&failed("otlp", hint).as_str()), "{done:?}");
    });
}

#[test]
fn a_busy_collector_is_tried_again() {
    let Some(collector) = Collector::refusing(2) else { return };
    let done = finish(sending(&collector.url(), &[]).with(&["--log", "debug"]));
    assert!(collector.accepted(2)[0]["resourceSpans"].is_array(), "{done:?}");
    assert_eq!(done.stderr.matches(&format!("\"{}\": answered 503", collector.url())).count(), 2, "{done:?}");
}

#[test]
fn only_the_statuses_of_the_specification_are_tried_again() {
    for (status, attempts) in [(400, 1), (401, 1), (404, 1), (408, 1), (500, 1), (429, 2), (502, 2), (503, 2), (504, 2)]
    {
        let count = AtomicUsize::new(0);
        let peer = Peer::start("127.0.0.1:0", move |mut stream, _| {
            let status = if count.fetch_add(1, Ordering::Relaxed) == 0 { status } else { 200 };
            let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
        });
        let done = finish(sending(&peer.url(""), &[("OTEL_METRICS_EXPORTER", "none")]));
        assert_eq!(peer.requests().len(), attempts, "{status}: {done:?}");
        if attempts == 1 {
            assert_eq!(done.line(), failed("otlp", &format!("spans: \"{}\": answered {status}", peer.url(""))));
        }
    }
}

#[test]
fn metrics_are_sent_to_a_collector_that_takes_no_traces_and_the_hook_fails() {
    let peer = Peer::start("127.0.0.1:0", |mut stream, head| {
        let status = if head.starts_with("POST /v1/traces") { 404 } else { 200 };
        let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
    });
    let done = finish(sending(&peer.url(""), &[]));
    let failure = failed("otlp", &format!("spans: \"{}\": answered 404", peer.url("")));
    assert_eq!(done.lines(), [&format!("wrapper: otlp: sent metrics to {}", peer.url("")), &failure]);
}

#[test]
fn what_a_collector_rejects_of_a_request_that_it_accepts_is_a_warning() {
    for (body, warning) in [
        (r#"{"partialSuccess":{}}"#, None),
        (r#"{"partialSuccess": {"rejectedSpans": "0", "errorMessage": ""}}"#, None),
        ("not JSON", None),
        (
            r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#,
            Some("the collector rejected 1 of the spans: too old"),
        ),
        (
            r#"{ "partialSuccess" : { "errorMessage" : "use gzip", "rejectedSpans" : 0 } }"#,
            Some("the collector accepted the spans: use gzip"),
        ),
    ] {
        let length = body.len();
        let peer = Peer::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
        let done = finish(sending(&peer.url(""), &[("OTEL_METRICS_EXPORTER", "none")]));
        let warnings: Vec<_> = done.lines().into_iter().skip(1).collect();
        let expected = warning.map(|warning| format!("wrapper: otlp: warning: {warning}"));
        assert_eq!(warnings, expected.iter().map(String::as_str).collect::<Vec<_>>(), "{body}: {done:?}");
    }
}
