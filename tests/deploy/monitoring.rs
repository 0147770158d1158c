//! The manifests of deploy/ that send to a monitoring system, run with the real servers.

use super::invocation::Invocation;
use crate::harness::{
    Done, Run,
    collector::Collector,
    manifests::{file, pod},
    servers::Server,
    wrapper,
};
use serde_json::{Value, json};

/// Runs a manifest's command as this script, with servers of this machine in place of others.
fn run(manifest: &str, servers: &[(&str, String)], script: &str) -> Done {
    let manifest = file(manifest).remove(0);
    let mut invocation = Invocation::read(&pod(&manifest).unwrap()["containers"][0], None).unwrap();
    for (_, value) in &mut invocation.env {
        for (there, here) in servers {
            *value = value.replace(there, here);
        }
        // As Kubernetes fills them in.
        *value = value.replace("$(HOOK_NAMESPACE)", "secret").replace("$(POD_NAME)", "my-job-x2v");
    }
    invocation.with_script(script).done()
}

/// The samples of a Pushgateway that begin with this, without it: of each the labels and the value.
fn samples(gateway: &Server, name: &str) -> Vec<(String, f64)> {
    let metrics = gateway.get("/metrics");
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(labels, value)| (labels.into(), value.parse().unwrap()))
        .collect()
}

#[test]
fn the_pushgateway_has_the_metrics_of_the_last_run_and_the_time_of_the_last_success() {
    let (Some(gateway), Some(alertmanager)) = (Server::pushgateway(), Server::alertmanager()) else { return };
    let servers = [
        ("http://pushgateway.monitoring:9091", gateway.url()),
        ("http://alertmanager.monitoring:9093", alertmanager.url()),
    ];
    let run = |script| run("deploy/cronjob-prometheus.yaml", &servers, script);
    let value = |name: &str| {
        let samples = samples(&gateway, &format!("wrapper_job_{name}{{"));
        let [(labels, value)] = samples.as_slice() else { panic!("{name}: {samples:?}") };
        assert_eq!(labels, r#"instance="",job="my-job",namespace="secret"}"#);
        *value
    };
    let done = run("python3 -c 'bytearray(48 << 20)'");
    assert_eq!((done.code(), done.lines().len()), (0, 1), "{done:?}");
    assert_eq!((value("exit_code"), value("success")), (0.0, 1.0));
    assert!((48e6..96e6).contains(&value("peak_memory_bytes")), "{}", value("peak_memory_bytes"));
    assert!((0.001..5.0).contains(&value("cpu_time_seconds")), "{}", value("cpu_time_seconds"));
    let last_success = value("last_success_time_seconds");
    assert_eq!(last_success.to_bits(), value("end_time_seconds").to_bits());

    let done = run("exit 7");
    assert_eq!((done.code(), done.lines().len()), (7, 2), "{done:?}");
    assert_eq!((value("exit_code"), value("success")), (7.0, 0.0));
    assert!(value("end_time_seconds") > last_success);
    assert_eq!(last_success.to_bits(), value("last_success_time_seconds").to_bits());
    assert_eq!(samples(&gateway, "push_failure_time_seconds{")[0].1, 0.0);
}

#[test]
fn labels_of_any_text_arrive_at_the_pushgateway() {
    let Some(gateway) = Server::pushgateway() else { return };
    let mut run = wrapper().plugin("pushgateway").with(&["true"]);
    run.env("HOOK_PUSHGATEWAY_URL", gateway.url()).env("HOOK_PUSHGATEWAY_JOB", "nightly backup");
    run.env("HOOK_PUSHGATEWAY_GROUPING", "path=/var/tmp,name=é?,empty=");
    let done = run.done();
    assert!(done.stderr.ends_with(&format!("sent to {}\n", gateway.url())), "{done:?}");
    // A label without a value is as good as none.
    let labels = r#"instance="",job="nightly backup",name="é?",path="/var/tmp"}"#;
    let found = samples(&gateway, "wrapper_job_success{");
    assert_eq!(found.iter().map(|(found, _)| found.replace(r#"empty="","#, "")).collect::<Vec<_>>(), [labels]);
}

#[test]
fn alertmanager_has_an_alert_for_a_run_that_failed_and_none_for_one_that_succeeded() {
    let (Some(gateway), Some(alertmanager)) = (Server::pushgateway(), Server::alertmanager()) else { return };
    let servers = [
        ("http://pushgateway.monitoring:9091", gateway.url()),
        ("http://alertmanager.monitoring:9093", alertmanager.url()),
    ];
    let alerts = || -> Value {
        let response = alertmanager.get("/api/v2/alerts");
        serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    for (script, code) in [("exit 0", 0), ("exit 7", 7)] {
        let done = run("deploy/cronjob-prometheus.yaml", &servers, script);
        assert_eq!(done.code(), code, "{done:?}");
        assert!(!done.stderr.contains("wrapper: hook "), "{done:?}");
        assert_eq!(alerts().as_array().unwrap().len(), usize::from(code != 0), "{}", alerts());
    }
    let alert = &alerts()[0];
    // Labels without a value are left out.
    let labels = json!({"alertname": "JobFailed", "job": "my-job", "namespace": "secret", "severity": "warning"});
    assert_eq!((&alert["labels"], &alert["status"]["state"]), (&labels, &json!("active")));
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    let facts = summary.strip_prefix("my-job exited with 7 after 0.").and_then(|rest| rest.strip_suffix(" bytes"));
    assert!(facts.is_some_and(|facts| facts.contains(" s, peak memory ")), "{summary}");
}

#[test]
fn the_collector_has_the_span_of_the_program_with_the_pods_name() {
    let Some(collector) = Collector::start() else { return };
    let servers = [("http://otel-collector.observability:4318", collector.url())];
    let done = run("deploy/job-otlp.yaml", &servers, "echo $TRACEPARENT; exit 7");
    assert_eq!(done.code(), 7, "{done:?}");
    let accepted = collector.accepted(2);
    let resource = &accepted[0]["resourceSpans"][0];
    let attributes = resource["resource"]["attributes"].as_array().unwrap();
    for (key, value) in [("service.name", "my-job"), ("k8s.pod.name", "my-job-x2v"), ("k8s.job.name", "my-job")] {
        let attribute = json!({"key": key, "value": {"stringValue": value}});
        assert!(attributes.contains(&attribute), "{attribute}: {attributes:#?}");
    }
    let span = &resource["scopeSpans"][0]["spans"][0];
    let traceparent = format!("00-{}-{}-01\n", span["traceId"].as_str().unwrap(), span["spanId"].as_str().unwrap());
    assert_eq!(done.stdout, traceparent);
}
