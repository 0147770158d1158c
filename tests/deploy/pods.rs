//! A pod with a sidecar completes because its job is wrapped, in each of the ways of the manifests in deploy/: real
//! containers, a real Envoy, and the images that the Dockerfile and the README build.

use crate::harness::{
    digest, manifests,
    podman::{self, ENVOY_PORT, MY_JOB, MY_JOB_WRAPPED, Pod, SIDECAR, WRAPPER},
    repository, skipped,
};
use serde_json::{Value, json};
use std::{thread, time::Duration};

/// A pod's settings by default.
const GRACE: Duration = Duration::from_secs(30);

const QUIT: &str = "istio-quit: asked istio-proxy to quit (200)";

/// A pod whose only container of its own is this, beside fields that are the same for all.
fn pod_of(container: Value) -> Pod {
    Pod::play(json!({"restartPolicy": "Never", "containers": [job(container)]}))
}

fn job(mut container: Value) -> Value {
    container["name"] = "my-job".into();
    container
}

/// The job as the README wraps it, with these words for the program.
fn wrapped(args: &[&str]) -> Pod {
    pod_of(json!({"image": MY_JOB_WRAPPED, "args": args}))
}

/// The codes of the job and of Envoy, both having ended.
#[track_caller]
fn codes(pod: &Pod) -> (i32, i32) {
    (pod.code("my-job"), pod.code(SIDECAR))
}

/// Fails unless the sidecar outlived the job.
#[track_caller]
fn assert_order(pod: &Pod) {
    let (job, envoy) = (pod.job_done_at("my-job"), pod.ended_at(SIDECAR));
    assert!(job < envoy, "the job was done at {job}, Envoy at {envoy}");
}

#[test]
fn a_pod_with_a_sidecar_completes_when_its_job_has_ended_and_not_before() {
    if !podman::is_there() {
        return;
    }
    let pod = wrapped(&["exit", "0"]);
    assert_eq!(codes(&pod), (0, 0));
    assert!(pod.log("my-job").contains(QUIT), "{}", pod.log("my-job"));
    assert_order(&pod);
}

#[test]
fn without_wrapper_the_same_pod_keeps_running_until_the_sidecar_is_asked_to_quit() {
    if !podman::is_there() {
        return;
    }
    let pod = pod_of(json!({"image": MY_JOB, "args": ["exit", "0"]}));
    assert_eq!(pod.code("my-job"), 0);
    pod.until_envoy_is_ready();
    assert!(pod.runs(SIDECAR));
    assert!(pod.envoy("POST", "/quitquitquit").contains("200 OK"));
    assert_eq!(codes(&pod), (0, 0));
}

#[test]
fn a_job_that_fails_keeps_its_code_and_the_pod_completes() {
    if !podman::is_there() {
        return;
    }
    let pod = wrapped(&["exit", "7"]);
    assert_eq!(codes(&pod), (7, 0));
    assert_order(&pod);
}

#[test]
fn a_job_that_is_asked_to_stop_exits_in_its_own_way_and_then_the_sidecar_quits() {
    if !podman::is_there() {
        return;
    }
    let pod = wrapped(&["until-stopped", "3"]);
    pod.until_log_has("my-job", "ready");
    pod.until_envoy_is_ready();
    let took = pod.stop("my-job", GRACE);
    assert!(took >= Duration::from_secs(1) && took < GRACE, "{took:?}");
    assert_eq!(codes(&pod), (3, 0));
    assert!(pod.log("my-job").contains("stopping\n"), "{}", pod.log("my-job"));
    assert!(pod.log("my-job").contains(QUIT), "{}", pod.log("my-job"));
    assert_order(&pod);
}

#[test]
fn a_job_that_ignores_sigterm_is_killed_early_enough_for_the_hook() {
    if !podman::is_there() {
        return;
    }
    let stop_timeout = json!([{"name": "WRAPPER_STOP_TIMEOUT", "value": "2s"}]);
    let pod = pod_of(json!({"image": MY_JOB_WRAPPED, "args": ["deaf"], "env": stop_timeout}));
    pod.until_log_has("my-job", "ready");
    pod.until_envoy_is_ready();
    let took = pod.stop("my-job", GRACE);
    assert!(took >= Duration::from_secs(2) && took < GRACE, "{took:?}");
    assert_eq!(codes(&pod), (137, 0));
    assert!(pod.log("my-job").contains(QUIT), "{}", pod.log("my-job"));
}

#[test]
fn without_a_stop_timeout_such_a_job_takes_wrapper_and_the_hook_along() {
    if !podman::is_there() {
        return;
    }
    let pod = wrapped(&["deaf"]);
    pod.until_log_has("my-job", "ready");
    pod.until_envoy_is_ready();
    let grace = Duration::from_secs(2);
    assert!(pod.stop("my-job", grace) >= grace);
    assert_eq!(pod.code("my-job"), 137);
    assert!(!pod.log("my-job").contains("istio-quit: "), "{}", pod.log("my-job"));
    assert!(pod.envoy("GET", "/ready").contains("LIVE"));
}

#[test]
fn a_pod_that_is_asked_to_stop_exits_within_its_grace_period_with_the_jobs_code() {
    if !podman::is_there() {
        return;
    }
    // The sidecar, stopped at the same time, is gone before the hook asks: what a refusal means is known after 5 s.
    let startup = json!([{"name": "HOOK_ISTIO_QUIT_STARTUP", "value": "5s"}]);
    let pod = pod_of(json!({"image": MY_JOB_WRAPPED, "args": ["until-stopped", "4"], "env": startup}));
    pod.until_log_has("my-job", "ready");
    pod.until_envoy_is_ready();
    let took = pod.stop_all(GRACE);
    assert!(took >= Duration::from_secs(1) && took < GRACE, "{took:?}");
    assert_eq!(codes(&pod), (4, 0));
    assert!(pod.log("my-job").contains("istio-quit: "), "{}", pod.log("my-job"));
}

/// A pod whose hook is a file of a ConfigMap, and has to have this digest.
fn with_config_map(digest: &str) -> Pod {
    Pod::play(json!({
        "restartPolicy": "Never",
        "containers": [job(json!({
            "image": MY_JOB_WRAPPED,
            "command": ["/wrapper", "--", "/my-job"],
            "env": [
                {"name": "WRAPPER_PLUGIN_PATH", "value": "/config/istio-quit.wasm"},
                {"name": "WRAPPER_PLUGIN_SHA256", "value": digest},
            ],
            "volumeMounts": [{"name": "hooks", "mountPath": "/config", "readOnly": true}],
        }))],
        "volumes": [{"name": "hooks", "configMap": {"name": "wrapper-hooks"}}],
    }))
}

#[test]
fn a_hook_from_a_config_map_runs_if_it_has_the_expected_digest() {
    if !podman::is_there() {
        return;
    }
    let digest = digest("istio-quit");
    let pod = with_config_map(&digest);
    assert_eq!(codes(&pod), (0, 0));
    assert_order(&pod);

    let pod = with_config_map(&"0".repeat(64));
    assert_eq!(pod.code("my-job"), 125);
    let log = pod.log("my-job");
    assert!(log.contains(&format!("its SHA-256 is {digest}, but ")), "{log}");
    assert!(!log.contains("ready"), "{log}");
    pod.until_envoy_is_ready();
}

/// A pod whose job has its own image as it is, wrapper being put beside it by a container that runs first.
fn through_an_empty_dir(security: &Value) -> Pod {
    let mounts = json!([{"name": "wrapper", "mountPath": "/wrapper-bin"}]);
    Pod::play(json!({
        "restartPolicy": "Never",
        "initContainers": [{
            "name": "wrapper",
            "image": WRAPPER,
            "command": ["/wrapper", "--install", "/wrapper-bin/wrapper"],
            "volumeMounts": mounts,
            "securityContext": security,
        }],
        "containers": [job(json!({
            "image": MY_JOB,
            "command": ["/wrapper-bin/wrapper", "--after", "istio-quit", "--", "/my-job"],
            "args": ["confined"],
            "volumeMounts": mounts,
            "securityContext": security,
        }))],
        "volumes": [{"name": "wrapper", "emptyDir": {}}],
    }))
}

#[test]
fn a_job_whose_image_has_no_wrapper_is_wrapped_through_an_empty_dir() {
    if !podman::is_there() {
        return;
    }
    let pod = through_an_empty_dir(&json!({}));
    assert_eq!(codes(&pod), (0, 0));
    assert_order(&pod);
}

/// The securityContext that a restricted namespace demands of a container.
fn restricted() -> Value {
    json!({
        "runAsNonRoot": true,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

#[test]
fn a_job_and_its_hook_run_in_a_container_that_may_do_nothing() {
    if !podman::is_there() {
        return;
    }
    let pods = [
        pod_of(json!({"image": MY_JOB_WRAPPED, "args": ["confined"], "securityContext": restricted()})),
        through_an_empty_dir(&restricted()),
    ];
    for pod in pods {
        assert_eq!(codes(&pod), (0, 0));
        assert_order(&pod);
        let log = pod.log("my-job");
        assert!(log.contains(QUIT), "{log}");
        // The container was what it should be.
        for line in ["Uid:\t65532\t", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"] {
            assert!(log.contains(line), "{line:?}: {log}");
        }
        assert!(log.contains("write: Err(ReadOnlyFilesystem)"), "{log}");
    }
}

#[test]
fn the_jobs_of_deploy_complete_beside_a_sidecar() {
    if !podman::is_there() {
        return;
    }
    // These ask no sidecar, and one waits for servers that are not here.
    let without = ["deploy/job-dependencies.yaml", "deploy/job-restart-rules.yaml"];
    let has_a_sidecar = |path: &String| path.starts_with("deploy/job-") && !without.contains(&path.as_str());
    let files: Vec<_> = manifests::files("deploy", ".yaml").into_iter().filter(has_a_sidecar).collect();
    assert!(files.len() >= 3, "{files:?}");
    let mut all: Vec<_> = files.into_iter().map(|path| (manifests::file(&path), path)).collect();
    all.push((manifests::built("deploy/kustomize/example").unwrap(), "deploy/kustomize/example".into()));
    all.push((vec![admitted()], "deploy/admission/wrap.yaml".into()));
    // Two at a time: most of it is waiting.
    for some in all.chunks(2) {
        thread::scope(|threads| {
            for (documents, place) in some {
                let thread = thread::Builder::new().name(place.clone());
                thread.spawn_scoped(threads, || completes(place, documents)).unwrap();
            }
        });
    }
}

/// A pod that knows nothing of wrapper but the label, as the policy leaves it.
fn admitted() -> Value {
    let labels = json!({"wrapper.example/inject": "istio-quit", "batch.kubernetes.io/job-name": "my-job"});
    let container = json!({"name": "my-job", "image": "registry.example/my-job:1.0", "command": ["/my-job"]});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "my-job", "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    });
    manifests::admit(&repository("deploy/admission/wrap.yaml"), &[pod]).remove(0).unwrap()
}

/// Runs a manifest's pod with our own images in place of those it names.
fn completes(place: &str, documents: &[Value]) {
    let job = documents.iter().find(|it| it["metadata"]["name"] == "my-job");
    let spec = job.and_then(manifests::pod).unwrap_or_else(|| panic!("{place} has no Job"));
    let mut spec = spec.clone();
    if let Some(what) = unknown_to_podman(&spec) {
        return skipped(&format!("{place} as a pod: podman has no {what}"));
    }
    let is_untouched = spec.get("initContainers").is_some();
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let image = container["image"].as_str().unwrap();
            let own = match image.rsplit('/').next().and_then(|rest| rest.split(['@', ':']).next()) {
                Some("wrapper") => WRAPPER,
                Some("my-job") if is_untouched => MY_JOB,
                Some("my-job") => MY_JOB_WRAPPED,
                _ => panic!("{place}: which image is {image}?"),
            };
            container["image"] = own.into();
        }
    }
    let mut quit = QUIT;
    if place == "deploy/job-linkerd.yaml" {
        // Envoy stands in for Linkerd's proxy.
        let env = spec["containers"][0]["env"].as_array_mut().unwrap();
        for (name, path) in [("HOOK_LINKERD_READY_URL", "ready"), ("HOOK_LINKERD_SHUTDOWN_URL", "quitquitquit")] {
            env.push(json!({"name": name, "value": format!("http://localhost:{ENVOY_PORT}/{path}")}));
        }
        quit = "linkerd-shutdown: asked linkerd-proxy to quit (200)";
    } else if place == "deploy/job-any-mesh.yaml" {
        quit = "sidecars: asked istio-proxy to quit (200)";
    }
    let pod = Pod::play(spec);
    assert_eq!(codes(&pod), (0, 0), "{place}: {}", pod.log("my-job"));
    assert!(pod.log("my-job").contains(quit), "{place}: {}", pod.log("my-job"));
    assert_order(&pod);
}

/// Fields of a pod's specification that podman 4 does not know, or treats differently from the kubelet.
fn unknown_to_podman(spec: &Value) -> Option<&'static str> {
    let has = |list: &str, field: &str| manifests::items(&spec[list]).iter().any(|item| item.get(field).is_some());
    if has("volumes", "image") {
        return Some("volumes from images");
    }
    if spec.to_string().contains("metadata.namespace") {
        return Some("namespaces");
    }
    has("initContainers", "restartPolicy").then_some("native sidecars")
}
