//! The hook `pushgateway`: metrics for a Prometheus Pushgateway, in the group that the variables name.

use crate::harness::{
    Done, Run, failed, misconfigured, network,
    peer::{Peer, free_port},
    wrapper,
};
use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpListener,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// A gateway's answer to what it has taken.
fn gateway() -> Peer {
    Peer::with_status(202)
}

/// A wrapper whose hook has this gateway and these settings.
fn pushing(url: &str, settings: &[(&str, &str)]) -> Command {
    let mut run = wrapper().plugin("pushgateway");
    run.env("HOOK_PUSHGATEWAY_URL", url);
    run.envs(settings.iter().map(|(name, value)| (format!("HOOK_PUSHGATEWAY_{name}"), value)));
    run
}

/// The path of the one request that came, and the metrics in it.
#[track_caller]
fn pushed(gateway: &Peer) -> (String, BTreeMap<String, f64>) {
    let requests = gateway.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let path = head.strip_prefix("POST ").unwrap().split_once(" HTTP/1.1\r\n").unwrap().0;
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-type: text/plain; version=0.0.4"), "{head}");
    (path.into(), parsed(body))
}

/// The samples of a text in the exposition format, whose every line is judged. Each metric has its help and its type, in
/// this order and before its value.
#[track_caller]
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'), "{text:?}");
    let mut samples = BTreeMap::new();
    let lines: Vec<&str> = text.lines().collect();
    for metric in lines.chunks(3) {
        let [help, kind, sample] = *metric else { panic!("{text}") };
        let (name, value) = sample.split_once(' ').unwrap();
        let mut letters = name.chars();
        assert!(letters.next().is_some_and(|first| first.is_ascii_alphabetic() || "_:".contains(first)), "{name}");
        assert!(letters.all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter)), "{name}");
        assert!(help.strip_prefix(&format!("# HELP {name} ")).is_some_and(|words| !words.is_empty()), "{text}");
        assert_eq!(kind, format!("# TYPE {name} gauge"));
        let value = value.parse().unwrap_or_else(|_| panic!("not a number: {sample}"));
        assert_eq!(samples.insert(name.to_owned(), value), None, "twice: {name}");
    }
    samples
}

#[track_caller]
fn metrics(command: &[&str], code: i32) -> BTreeMap<String, f64> {
    let gateway = gateway();
    let done = pushing(&gateway.url(""), &[]).with(command).done();
    assert_eq!(done.code(), code, "{done:?}");
    assert_eq!(done.lines().last(), Some(&format!("wrapper: pushgateway: sent to {}", gateway.url("")).as_str()));
    pushed(&gateway).1
}

#[track_caller]
fn path(settings: &[(&str, &str)]) -> String {
    let gateway = gateway();
    finish(pushing(&gateway.url(""), settings));
    pushed(&gateway).0
}

/// Runs it with a command that fails, whose exit code has to be kept.
#[track_caller]
fn finish(run: Command) -> Done {
    let done = run.with(&["/bin/sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7, "{done:?}");
    done
}

const TIMES: [&str; 3] =
    ["wrapper_job_duration_seconds", "wrapper_job_end_time_seconds", "wrapper_job_start_time_seconds"];

#[test]
fn a_success_leaves_its_times_and_that_of_the_last_success() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let metrics = metrics(&["sleep", "0.2"], 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert_eq!((metrics["wrapper_job_exit_code"], metrics["wrapper_job_success"]), (0.0, 1.0));
    let [duration, end, start] = TIMES.map(|name| metrics[name]);
    assert!(duration >= 0.2 && before - 0.001 <= start && start < end && end <= now + 0.001, "{metrics:?}");
    // Each has three decimals.
    assert!((end - start - duration).abs() < 0.003, "{metrics:?}");
    assert_eq!(metrics["wrapper_job_last_success_time_seconds"].to_bits(), end.to_bits());
    assert!(metrics["wrapper_job_peak_memory_bytes"] > 0.0 && metrics["wrapper_job_cpu_time_seconds"] < 0.2);
    assert_eq!(metrics.len(), 8, "{metrics:?}");
}

#[test]
fn a_failure_leaves_the_time_of_the_last_success_alone() {
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let metrics = metrics(&["sh", "-c", script], code);
        assert_eq!(metrics["wrapper_job_exit_code"], f64::from(code));
        assert_eq!(metrics["wrapper_job_success"], 0.0);
        assert!(TIMES.iter().all(|name| metrics.contains_key(*name)) && metrics.len() == 7, "{metrics:?}");
    }
}

#[test]
fn a_command_that_was_not_started_leaves_no_times_and_has_used_nothing() {
    let metrics = metrics(&["/no/such/program"], 127);
    let names = ["wrapper_job_exit_code", "wrapper_job_success"].map(String::from);
    assert_eq!(metrics, BTreeMap::from_iter(names.into_iter().zip([127.0, 0.0])));
}

#[test]
fn the_job_is_named_after_the_program_unless_it_is_given_a_name() {
    assert_eq!(path(&[]), "/metrics/job/sh");
    assert_eq!(path(&[("JOB", "backup-2.daily")]), "/metrics/job/backup-2.daily");
}

#[test]
fn further_labels_follow_the_job_in_their_order() {
    let grouping = ("GROUPING", "namespace=batch, instance=a\nzone=b=c");
    assert_eq!(path(&[grouping]), "/metrics/job/sh/namespace/batch/instance/a/zone@base64/Yj1j");
}

#[test]
fn what_a_path_cannot_hold_is_written_in_base64() {
    let settings = [("JOB", "nightly backup"), ("GROUPING", "path=/var/tmp,name=é?,empty=")];
    let encoded = "/metrics/job@base64/bmlnaHRseSBiYWNrdXA=/path@base64/L3Zhci90bXA=/name@base64/w6k_/empty@base64/=";
    assert_eq!(path(&settings), encoded);
}

#[test]
fn a_gateway_may_live_below_a_path_and_be_written_with_a_slash_at_its_end() {
    for end in ["/push", "/push/"] {
        let gateway = gateway();
        finish(pushing(&gateway.url(end), &[]));
        assert_eq!(pushed(&gateway).0, "/push/metrics/job/sh", "{end}");
    }
}

#[test]
fn without_a_url_the_gateway_is_the_one_beside_the_job() {
    network::alone(|| {
        let gateway = Peer::on(TcpListener::bind("127.0.0.1:9091").unwrap(), |mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        });
        finish(wrapper().plugin("pushgateway"));
        assert_eq!(pushed(&gateway).0, "/metrics/job/sh");
    });
}

#[test]
fn metrics_that_the_gateway_refuses_are_a_failure_with_its_status() {
    let gateway = Peer::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\n\r\nbad metrics");
    let done = finish(pushing(&gateway.url(""), &[]));
    assert_eq!(done.line(), failed("pushgateway", &format!("\"{}\": answered 400", gateway.url(""))));
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn a_gateway_that_is_not_there_is_a_failure_within_the_hooks_time() {
    let url = format!("http://localhost:{}", free_port());
    let done = finish(pushing(&url, &[]).with(&["--plugin-timeout", "6s"]));
    assert_eq!(done.line(), failed("pushgateway", &format!("\"{url}\": connection refused")));
}

#[test]
fn a_label_without_a_value_names_the_variable_and_nothing_is_sent() {
    for label in ["namespace", "=batch"] {
        let gateway = gateway();
        let mut run = pushing(&gateway.url(""), &[("GROUPING", label)]);
        // wrapper finds it at the start, and has an optional hook run nevertheless.
        run.env("HOOK_PUSHGATEWAY_OPTIONAL", "true");
        let done = finish(run);
        let words = format!("HOOK_PUSHGATEWAY_GROUPING: \"{label}\" is not of the form label=value");
        assert_eq!(done.lines()[1..], [misconfigured("pushgateway", &words)]);
        assert_eq!(gateway.requests(), [""; 0]);
    }
}

#[test]
fn two_gateways_under_two_names_have_two_settings() {
    let (near, far) = (gateway(), gateway());
    let mut run = wrapper().plugin("near=pushgateway").plugin("far=pushgateway");
    run.env("HOOK_NEAR_URL", near.url("")).env("HOOK_FAR_URL", far.url("")).env("HOOK_FAR_JOB", "elsewhere");
    finish(run);
    assert_eq!((pushed(&near).0, pushed(&far).0), ("/metrics/job/sh".into(), "/metrics/job/elsewhere".into()));
}
