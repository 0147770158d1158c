//! What Kubernetes makes of wrapper's exit codes, by the policies of the manifests in deploy/: whether a Job fails for
//! good, and whether a container is restarted.

use super::invocation::Invocation;
use crate::harness::{
    Run,
    manifests::{file, items, pod},
    peer::Peer,
};
use serde_json::{Value, json};

/// Exit code of the manifest's only container, with this script for the program.
#[track_caller]
fn code_of(job: &Value, script: &str) -> u64 {
    let invocation = Invocation::read(&pod(job).unwrap()["containers"][0], None).unwrap();
    let mut run = invocation.with_script(script);
    let peer = Peer::with_status(200);
    run.env("HOOK_ISTIO_QUIT_URL", peer.url("/")).env("WRAPPER_TIMEOUT", "2s");
    let code = run.done().code();
    assert_eq!(peer.requests().len(), invocation.hooks().len(), "{script}");
    code.try_into().unwrap()
}

/// Whether a requirement on exit codes holds for one that is not 0.
fn holds(requirement: &Value, code: u64) -> bool {
    let listed = items(&requirement["values"]).contains(&code.into());
    match requirement["operator"].as_str().unwrap() {
        "In" => listed,
        "NotIn" => !listed,
        operator => panic!("{operator}"),
    }
}

/// What the API server requires of a list of exit codes: in order, none twice, and `In` has no 0.
#[track_caller]
fn assert_valid(requirement: &Value) {
    let values: Vec<_> = items(&requirement["values"]).iter().map(|value| value.as_u64().unwrap()).collect();
    assert!(!values.is_empty() && values.is_sorted_by(|one, next| one < next) && !values.contains(&0), "{values:?}");
}

/// The action of a Job's failure policy for a container that has failed: that of the first rule that matches.
fn failure_action<'a>(job: &'a Value, container: &str, code: u64) -> &'a str {
    let matches = |rule: &&Value| {
        let requirement = &rule["onExitCodes"];
        requirement.is_object() && requirement["containerName"] == container && holds(requirement, code)
    };
    let rules = items(&job["spec"]["podFailurePolicy"]["rules"]);
    rules.iter().find(matches).map_or("Count", |rule| rule["action"].as_str().unwrap())
}

#[test]
fn by_the_failure_policy_the_job_fails_for_good_after_some_codes_and_is_retried_after_others() {
    let job = file("deploy/job-exit-codes.yaml").remove(0);
    let spec = pod(&job).unwrap();
    assert_eq!(spec["restartPolicy"], "Never");
    for rule in items(&job["spec"]["podFailurePolicy"]["rules"]) {
        if rule["onExitCodes"].is_object() {
            assert_eq!(rule["onExitCodes"]["containerName"], spec["containers"][0]["name"]);
            assert_valid(&rule["onExitCodes"]);
        }
    }
    for (script, code, action) in [
        ("exit 0", 0, "Complete"),
        ("exit 3", 0, "Complete"),
        ("exit 2", 42, "FailJob"),
        ("exit 64", 42, "FailJob"),
        ("exit 65", 42, "FailJob"),
        ("exec sleep 60", 124, "FailJob"),
        ("exec /nosuch", 127, "FailJob"),
        ("exit 1", 1, "Count"),
        ("kill -9 $$", 137, "Count"),
    ] {
        let found = code_of(&job, script);
        assert_eq!(found, code, "{script}");
        let done = if code == 0 { "Complete" } else { failure_action(&job, "my-job", code) };
        assert_eq!(done, action, "{script}");
    }
}

#[test]
fn by_the_restart_rules_the_container_is_restarted_after_some_codes_and_its_pod_fails_after_others() {
    let job = file("deploy/job-restart-rules.yaml").remove(0);
    let container = &pod(&job).unwrap()["containers"][0];
    assert_eq!(container["restartPolicy"], "Never");
    let rules = items(&container["restartPolicyRules"]);
    rules.iter().for_each(|rule| assert_valid(&rule["exitCodes"]));
    for (script, code, restarts) in [
        ("exit 0", 0, false),
        ("exit 4", 75, true),
        ("exit 110", 75, true),
        ("exec sleep 60", 124, true),
        ("exit 1", 1, false),
        ("kill -9 $$", 137, false),
    ] {
        let found = code_of(&job, script);
        assert_eq!(found, code, "{script}");
        let rule = rules.iter().find(|rule| holds(&rule["exitCodes"], code));
        assert_eq!(rule.is_some_and(|rule| rule["action"] == "Restart"), restarts, "{script}");
    }
}

#[test]
fn without_wrappers_codes_the_policy_would_retry() {
    let mut job = file("deploy/job-exit-codes.yaml").remove(0);
    job["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    assert_eq!((code_of(&job, "exit 64"), failure_action(&job, "my-job", 64)), (64, "Count"));
}
