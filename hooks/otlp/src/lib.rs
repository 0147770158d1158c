//! `otlp`: sends a span and metrics of the command to an OpenTelemetry collector, as JSON of OTLP/HTTP.
//!
//! The variables are those of OpenTelemetry's specification: endpoints, headers and timeouts (`OTEL_EXPORTER_OTLP_…`),
//! `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED`, and `none` as an exporter.
//! `HOOK_OTLP_URL` replaces the endpoint, where the command's is for another protocol.
//!
//! The span is a child of the one in `TRACEPARENT`. With `--trace-context` it is that of `WRAPPER_TRACEPARENT`, which
//! the command has as its own `TRACEPARENT`.
#![cfg_attr(target_family = "wasm", no_std)]

mod json;
mod response;
mod settings;
mod traceparent;

use core::time::Duration;
use notify::program;
use settings::Signal;
use traceparent::Traceparent;
use wrapper_hook::{
    Context, CpuTime, Error, Outcome, Phase, Result, String, http,
    json::push as push_json,
    log, now, random, seconds,
    template::{cause, outcome},
    text,
};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "sends a span and metrics of the command to an OpenTelemetry collector",
    phase: after,
    reads: [
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "TRACEPARENT",
        "TRACESTATE",
    ],
    connects: [
        "http://localhost:4318 {OTEL_EXPORTER_OTLP_ENDPOINT}",
        "{OTEL_EXPORTER_OTLP_TRACES_ENDPOINT} {OTEL_EXPORTER_OTLP_METRICS_ENDPOINT}",
    ],
    settings: [URL: url, TRY_TIMEOUT: positive_time],
}

/// Names of a signal in variables, in the path of its URL, and in its body.
struct Names {
    variables: &'static str,
    path: &'static str,
    body: &'static str,
    items: &'static str,
}

const TRACES: Names = Names { variables: "TRACES", path: "/v1/traces", body: "Spans", items: "spans" };
const METRICS: Names = Names { variables: "METRICS", path: "/v1/metrics", body: "Metrics", items: "metrics" };

fn run(cx: &Context) -> Result {
    if cx.phase() == Phase::Before {
        return Err(Error::Misconfigured("there is nothing to send before the command has run".into()));
    }
    if settings::disabled(cx) {
        log::info("OTEL_SDK_DISABLED is true; nothing is sent");
        return Ok(());
    }
    let resource = settings::resource(cx);
    let times = Times::of(cx);
    let traces = export(cx, &TRACES, &resource, &|| span(cx, &times));
    let metrics = export(cx, &METRICS, &resource, &|| Some(metrics(cx, &times)));
    // The same setting may be wrong for both.
    if let (Err(of_traces), Err(error)) = (&traces, &metrics)
        && of_traces != error
    {
        log::error(error.text());
    }
    traces.and(metrics)
}

/// Sends the items of a signal, if there are any.
fn export(cx: &Context, names: &Names, resource: &str, items: &dyn Fn() -> Option<String>) -> Result {
    let Names { variables, path, body, items: name } = names;
    let Some(Signal { url, origin, headers, timeout }) = settings::signal(cx, variables, path)? else {
        return Ok(());
    };
    let Some(items) = items() else { return Ok(()) };
    let version = env!("CARGO_PKG_VERSION");
    let body = text!(
        "{{\"resource{body}\":[{{\"resource\":{{\"attributes\":[{resource}]}},\"scope{body}\":[{{\"scope\":{{\"name\":\
         \"wrapper\",\"version\":\"{version}\"}},\"{name}\":[{items}]}}]}}]}}"
    );
    // Those that the specification of OTLP/HTTP has clients retry.
    let is_transient = |status| matches!(status, 429 | 502 | 503 | 504);
    let response = http::send_with_retries_if(cx, is_transient, || {
        let request = http::post(&url).timeout(timeout).header("Content-Type", "application/json");
        let request = request.body(body.as_bytes());
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    });
    let response = response.map_err(|error| match error {
        Error::Failed(why) => {
            let is_grpc = origin.ends_with(":4317");
            let hint = if is_grpc { "; port 4317 is usually for gRPC; for HTTP it is usually 4318" } else { "" };
            text!("{name}: {why}{hint}").into()
        }
        error => error,
    })?;
    log::info(&text!("sent {name} to {origin}"));
    response::check(response, name);
    Ok(())
}

/// Start and end of the command in nanoseconds since 1970; both are now if it did not run.
struct Times {
    start: u64,
    end: u64,
}

impl Times {
    fn of(cx: &Context) -> Self {
        let start = nanoseconds(cx.started_at().unwrap_or_else(now));
        Self { start, end: start + nanoseconds(cx.elapsed().unwrap_or_default()) }
    }

    /// A measurement at the end of the command.
    fn point(&self, attributes: &str, value: &str) -> String {
        let Self { start, end } = self;
        text!("{{\"attributes\":[{attributes}],\"startTimeUnixNano\":\"{start}\",\"timeUnixNano\":\"{end}\",{value}}}")
    }
}

/// 64 bits of nanoseconds last until 2554.
fn nanoseconds(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + u64::from(time.subsec_nanos())
}

/// The command's span; `None` if its trace is one that is not recorded.
fn span(cx: &Context, Times { start, end }: &Times) -> Option<String> {
    let of_command = cx.trimmed("WRAPPER_TRACEPARENT");
    let of_parent = cx.trimmed("TRACEPARENT");
    let own = of_command.as_deref().and_then(Traceparent::parse);
    let parent = of_parent.as_deref().and_then(Traceparent::parse);
    if let (None, None, Some(malformed)) = (&own, &parent, &of_parent) {
        log::warn(&text!("the span begins a new trace: TRACEPARENT=\"{malformed}\" is not valid"));
    }
    let known = own.or(parent);
    if known.is_some_and(|span| !is_sampled(span.flags)) {
        log::info("no span is sent: the trace of TRACEPARENT is not sampled");
        return None;
    }
    let (new_trace, new_span) = (hex(random()) + &hex(random()), hex(random()));
    let trace_id = known.map_or(new_trace.as_str(), |span| span.trace_id);
    let span_id = own.map_or(new_span.as_str(), |own| own.span_id);
    let mut span = text!("{{\"traceId\":\"{trace_id}\",\"spanId\":\"{span_id}\",");
    if let Some(Traceparent { span_id, .. }) = parent.filter(|parent| parent.trace_id == trace_id) {
        span += &text!("\"parentSpanId\":\"{span_id}\",");
        if let Some(state) = cx.trimmed("TRACESTATE") {
            span.push_str("\"traceState\":\"");
            push_json(&mut span, &state);
            span.push_str("\",");
        }
    }
    span.push_str("\"name\":\"");
    push_json(&mut span, &program(cx));
    // 1 is an internal span, as the conventions for command-line programs have it.
    span += &text!("\",\"kind\":1,\"startTimeUnixNano\":\"{start}\",\"endTimeUnixNano\":\"{end}\",\"attributes\":[");
    span.push_str(&attributes(cx));
    span.push(']');
    if !cx.succeeded() {
        span.push_str(",\"status\":{\"code\":2,\"message\":\"");
        push_json(&mut span, &cx.summary());
        span.push_str("\"}");
    }
    span.push('}');
    Some(span)
}

/// The lowest bit of the flags.
fn is_sampled(flags: &str) -> bool {
    flags.bytes().last().and_then(|digit| char::from(digit).to_digit(16)).is_some_and(|digit| digit & 1 == 1)
}

/// The span's attributes. Arguments of the command are left out: they may be secrets.
fn attributes(cx: &Context) -> String {
    let mut attributes = String::new();
    let mut add = |name: &str, kind: &str, value: &str| json::attribute(&mut attributes, name, kind, value);
    let (code, signal) = match cx.outcome() {
        Some(Outcome::Exited(status)) => (status, None),
        Some(Outcome::Killed { signal, .. }) => (128 | signal, Some(signal)),
        _ => (cx.exit_code(), None),
    };
    let code = text!("{code}");
    let (outcome, cause) = (outcome(cx), cause(cx));
    add("process.executable.name", "string", &program(cx));
    add("process.exit.code", "int", &code);
    if !cx.succeeded() {
        let error = match (&*cause, outcome) {
            ("", "exited") => &code,
            ("", outcome) => outcome,
            (cause, _) => cause,
        };
        add("error.type", "string", error);
    }
    add("wrapper.job.outcome", "string", outcome);
    if !cause.is_empty() {
        add("wrapper.job.cause", "string", &cause);
    }
    let mut number = |name: &str, number: Option<u64>| {
        if let Some(number) = number {
            add(name, "int", &text!("{number}"));
        }
    };
    number("wrapper.job.signal", signal.map(u64::from));
    number("wrapper.job.peak_memory", cx.peak_memory());
    if let Some(CpuTime { user, system, .. }) = cx.cpu_time() {
        add("wrapper.job.cpu_time", "double", &seconds(user.saturating_add(system)));
    }
    attributes
}

/// The metrics. Written for Prometheus the gauges have the names of the hook `pushgateway`.
fn metrics(cx: &Context, times: &Times) -> String {
    let number = |number: u64| text!("\"asInt\":\"{number}\"");
    let duration = |time: Duration| text!("\"asDouble\":{}", seconds(time));
    let mut metrics = String::new();
    let mut gauge = |name: &str, unit: &str, value: &str| {
        let comma = if metrics.is_empty() { "" } else { "," };
        let point = times.point("", value);
        metrics += &text!(
            "{comma}{{\"name\":\"wrapper.job.{name}\",\"unit\":\"{unit}\",\"gauge\":{{\"dataPoints\":[{point}]}}}}"
        );
    };
    gauge("exit_code", "1", &number(cx.exit_code().into()));
    gauge("success", "1", &number(cx.succeeded().into()));
    if let Some(elapsed) = cx.elapsed() {
        gauge("duration", "s", &duration(elapsed));
    }
    if let Some(bytes) = cx.peak_memory() {
        gauge("peak_memory", "By", &number(bytes));
    }
    if let Some(CpuTime { user, system, .. }) = cx.cpu_time() {
        let point = |mode: &str, time| {
            let mut attribute = String::new();
            json::attribute(&mut attribute, "cpu.mode", "string", mode);
            times.point(&attribute, &duration(time))
        };
        // 2 is cumulative.
        metrics += &text!(
            ",{{\"name\":\"process.cpu.time\",\"unit\":\"s\",\"sum\":{{\"aggregationTemporality\":2,\"isMonotonic\":\
             true,\"dataPoints\":[{},{}]}}}}",
            point("user", user),
            point("system", system)
        );
    }
    metrics
}

/// 16 hexadecimal digits.
fn hex(number: u64) -> String {
    (0..16).rev().filter_map(|place| char::from_digit((number >> (4 * place)) as u32 & 15, 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::run;
    use wrapper_hook::{
        String,
        testing::{Job, Server},
    };

    /// The text behind this one, up to a quotation mark.
    fn behind(text: &str, start: &str) -> String {
        text.split_once(start).unwrap().1.split('"').next().unwrap().into()
    }

    #[test]
    fn a_command_that_did_not_run_has_a_span_of_no_length_and_an_identifier_of_its_own() {
        let server = Server::answering(200, "{}");
        for _ in 0..2 {
            let job = Job::not_started("no \"such\" file", 127).var("OTEL_EXPORTER_OTLP_ENDPOINT", &server.url(""));
            assert_eq!(job.run(run).result, Ok(()));
        }
        let requests = server.requests();
        let [first, metrics, second, _] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!(first.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(metrics.line, "POST /v1/metrics HTTP/1.1");
        assert!(first.body.contains(r#""message":"was not started: no \"such\" file""#), "{}", first.body);
        let time = |name| behind(&first.body, name);
        assert_eq!(time("\"startTimeUnixNano\":\""), time("\"endTimeUnixNano\":\""));
        for (name, length) in [("\"traceId\":\"", 32), ("\"spanId\":\"", 16)] {
            let ids = [first, second].map(|request| behind(&request.body, name));
            assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == length), "{ids:?}");
        }
    }
}
