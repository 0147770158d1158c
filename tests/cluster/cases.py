"""What wrapper promises about Kubernetes, each a case: a function that raises if it fails. The manifests of deploy/ are
applied as they are, but for the Job's image, and what a case says it changes. The sidecar is a real Envoy."""

import collections
import concurrent.futures
import copy
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import images
from cluster import (
    DEPLOY, INJECT, SIDECAR, Api, Space, built, expect, kubectl, main_container, read, set_env, template, the_job,
    without_wrapper, yaml,
)  # fmt: skip

CASES = []
# Those that need a cluster of our own: they start servers on the node, or kill a container from there.
OWN = set()
# At the same time. Most of what they do is wait.
PARALLEL = 4
JOB_NAME = "batch.kubernetes.io/job-name"
QUIT = "istio-quit: asked istio-proxy to quit (200)"


def case(function):
    CASES.append((function.__name__, function))
    return function


def own_case(function):
    OWN.add(function.__name__)
    return case(function)


def each(name, *parameters):
    """A case for each parameter, which is part of its name."""

    def add(function):
        for parameter in parameters:
            CASES.append((name.format(parameter), lambda space, parameter=parameter: function(space, parameter)))
        return function

    return add


### The manifests


# Those whose Job's image is not changed.
UNCHANGED_IMAGE = {"job-init-container.yaml", "job-image-volume.yaml"}
MESHED = ["job-command.yaml", "job-configmap.yaml", "job-entrypoint.yaml", "job-image-volume.yaml"]
MESHED += ["job-init-container.yaml", "job-several-containers.yaml", "job-witness.yaml"]


def job_of(path, *, args=None, **env):
    """The manifest's Job, with other arguments for the program, and more variables."""
    job = the_job(read(path))
    container = main_container(job)
    if path in UNCHANGED_IMAGE:
        container["image"] = images.MY_PLAIN_JOB
    if args:
        container["args"] = args
    set_env(container, **env)
    return job


def add_data(job, **options):
    """Mounts a folder in which the program can write."""
    template(job)["spec"]["volumes"] = [{"name": "data", "emptyDir": options}]
    main_container(job)["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]


def prepare(space, path):
    if path == "job-configmap.yaml":
        hook = images.REPOSITORY / "hooks/dist/istio-quit.wasm"
        space.kubectl("create", "configmap", "wrapper-hooks", f"--from-file=istio-quit.wasm={hook}")
        space.kubectl("patch", "configmap", "wrapper-hooks", "--type=merge", '--patch={"immutable": true}')


def expect_quit(space, *containers, code=0, job="my-job", quit=QUIT):
    """The containers have ended with the code, one of them asked the sidecar to quit, and it was the last to end."""
    for container in containers:
        expect(space.terminated(container, job)["exitCode"] == code, f"{container}: {space.state(container, job)}")
    asked = [container for container in containers if quit in space.log(container, job)]
    expect(len(asked) == 1, f"asked the sidecar to quit: {asked}")
    expect(space.terminated(SIDECAR, job)["exitCode"] == 0, f"the sidecar: {space.state(SIDECAR, job)}")
    finished = [int(line.split()[1]) for line in space.log(containers[0], job).splitlines() if line.startswith("done ")]
    sidecar = space.terminated(SIDECAR, job)["finishedAt"]
    done = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(finished[-1] / 1e9))
    expect(done <= sidecar, f"the program was done at {done}, the sidecar at {sidecar}")


@each("{}_completes_beside_a_sidecar", *MESHED)
def completes_beside_a_sidecar(space, path):
    prepare(space, path)
    space.apply(job_of(path))
    space.completes()
    several = ["extract", "load"] if path == "job-several-containers.yaml" else ["my-job"]
    expect_quit(space, *several)


@each("{}_without_wrapper_hangs_until_the_sidecar_is_asked_to_quit", *MESHED)
def hangs_without_wrapper(space, path):
    prepare(space, path)
    job = without_wrapper(job_of(path))
    space.apply(job)
    names = [container["name"] for container in template(job)["spec"]["containers"]]
    for name in names:
        expect(space.terminated(name)["exitCode"] == 0, f"{name}: {space.state(name)}")
    hangs(space)


def hangs(space, job="my-job"):
    """All but the sidecar has ended, and the Job has not. It does when somebody asks the sidecar to quit."""
    space.until_log_has(images.sidecar()[2], SIDECAR, job)
    expect(space.job(job)["status"].get("active") == 1, f"the Job: {space.job(job)['status']}")
    asked = space.exec(SIDECAR, "/wrapper", "--after", "istio-quit", "--", "/wrapper", "--version", job=job)
    # Killed with the container, perhaps before it has logged anything.
    expect(QUIT in asked.stderr or asked.returncode == 137, f"{asked.stdout}{asked.stderr}")
    space.completes(job)


@case
def job_restricted_yaml_completes_in_a_restricted_namespace_and_describe_shows_how_it_ended(space):
    space = Space("my-jobs")
    namespace, job = read("job-restricted.yaml")
    space.apply(namespace)
    kubectl("apply", f"--filename={DEPLOY}/network-policy.yaml")
    try:
        space.apply(job)
        space.completes()
        expect_quit(space, "my-job")
        described = space.kubectl("describe", "pod", space.pod()["metadata"]["name"])
        message = 'Message:  exit code 0: "/my-job" exited with 0'
        expect(message in described, described)

        privileged = without_wrapper(job)
        privileged["metadata"]["name"] = "privileged"
        del template(privileged)["spec"]["containers"][0]["securityContext"]
        space.apply(privileged)
        events = space.until("an event", lambda: "violates PodSecurity" in space.kubectl("get", "events"))
        expect(events, "the namespace is not restricted")
    finally:
        space.delete()


@case
def job_linkerd_yaml_completes_with_envoy_in_place_of_linkerds_proxy(space):
    (job,) = read("job-linkerd.yaml")
    set_env(
        main_container(job), HOOK_LINKERD_READY_URL="http://localhost:15021/healthz/ready",
        HOOK_LINKERD_SHUTDOWN_URL="http://localhost:15020/quitquitquit",
    )  # fmt: skip
    # The annotations mean nothing to the test's webhook.
    template(job)["metadata"]["labels"] = {INJECT: "true"}
    space.apply(job)
    space.completes()
    expect_quit(space, "my-job", quit="linkerd-shutdown: asked linkerd-proxy to quit (200)")
    expect("linkerd-ready: linkerd-proxy is ready" in space.log(), space.log())


@case
def job_any_mesh_yaml_completes_with_a_sidecar_that_it_does_not_name_and_without_one(space):
    job = job_of("job-any-mesh.yaml", HOOK_SIDECARS_STARTUP="5s")
    without = copy.deepcopy(job)
    without["metadata"]["name"] = "without"
    template(job).setdefault("metadata", {}).setdefault("labels", {})[INJECT] = "true"
    space.apply(job, without)
    space.completes()
    expect_quit(space, "my-job", quit="sidecars: asked istio-proxy to quit (200)")
    space.completes("without")
    expect("no sidecar: connection refused by" in space.log(job="without"), space.log(job="without"))


@own_case
def a_hook_of_ones_own_is_applied_with_kustomize_and_runs_before_the_sidecar_quits(space):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(DEPLOY / "kustomize/own-hook", folder, dirs_exist_ok=True)
        # The manifest has the digest of this one.
        shutil.copy(images.REPOSITORY / "hooks/dist/http.wasm", Path(folder, "report.wasm"))
        space.kubectl("create", "secret", "generic", "report", "--from-literal=token=secret")
        documents = list(yaml.safe_load_all(kubectl("kustomize", folder)))
    with Monitor("reports.example.com") as monitor:
        monitor.reached_from(space, the_job(documents))
        space.apply(*documents)
        space.completes()
    expect_quit(space, "my-job")
    # There is no network after the sidecar has quit.
    expect(monitor.requests == ["POST /jobs"], monitor.requests)
    (config_map,) = [one for one in documents if one["kind"] == "ConfigMap"]
    name = config_map["metadata"]["name"]
    changed = space.kubectl(
        "patch", "configmap", name, "--type=merge", '--patch={"data": {"report.wasm": ""}}', fails=True
    )  # fmt: skip
    expect("immutable" in changed, changed)


@case
def job_restricted_yaml_without_wrapper_hangs(space):
    job = without_wrapper(read("job-restricted.yaml")[1])
    del job["metadata"]["namespace"]
    space.apply(job)
    space.terminated()
    hangs(space)


@case
def job_native_sidecar_yaml_completes_with_the_sidecar_stopped_by_the_kubelet(space):
    space.apply(*read("job-native-sidecar.yaml"))
    space.completes()
    expect(space.terminated()["exitCode"] == 0, space.state("my-job"))
    expect("istio-quit" not in space.log(), space.log())
    expect(space.terminated("proxy")["finishedAt"] >= space.terminated()["finishedAt"], space.pod()["status"])


@case
def a_native_sidecar_that_is_asked_to_quit_is_restarted_and_the_job_completes(space):
    (job,) = read("job-native-sidecar.yaml")
    set_env(main_container(job), WRAPPER_DISABLE_HOOKS="false")
    running = copy.deepcopy(job)
    running["metadata"]["name"] = "running"
    main_container(running)["args"] = ["until-stopped", "0"]
    space.apply(job, running)
    space.completes()
    expect(QUIT in space.log(), space.log())

    space.until_log_has("ready", job="running")
    asked = space.exec("my-job", "/wrapper", "--after", "istio-quit", "--", "/wrapper", "--version", job="running")
    expect(QUIT in asked.stderr, f"{asked.stdout}{asked.stderr}")

    def restarted():
        (proxy,) = space.pod("running")["status"]["initContainerStatuses"]
        return proxy["restartCount"] == 1 and proxy["state"].get("running")

    space.until("the restart of the sidecar", restarted)


@own_case
def cronjob_monitor_yaml_is_triggered_and_the_monitor_gets_the_start_and_the_exit_code(space):
    with Monitor("hc-ping.com") as monitor:
        space.kubectl("create", "secret", "generic", "my-job-ping", "--from-literal=id=0123-4567")
        (cron,) = read("cronjob-monitor.yaml")
        main_container(cron)["args"] = ["exit", "7"]
        monitor.reached_from(space, cron)
        space.apply(cron)
        space.kubectl("create", "job", "my-job", "--from=cronjob/my-job")
        space.fails("BackoffLimitExceeded")
    expect_quit(space, "my-job", code=7)
    expect(monitor.requests == ["POST /0123-4567/start", "POST /0123-4567/7"], monitor.requests)


@own_case
def cronjob_prometheus_yaml_pushes_metrics_and_sends_an_alert_for_a_run_that_failed(space):
    with Monitor("pushgateway.monitoring", "alertmanager.monitoring", port=9091) as gateway:
        with Monitor("alertmanager.monitoring", port=9093) as alerts:
            (cron,) = read("cronjob-prometheus.yaml")
            main_container(cron)["args"] = ["exit", "7"]
            gateway.reached_from(space, cron)
            space.apply(cron)
            space.kubectl("create", "job", "my-job", "--from=cronjob/my-job")
            space.fails("BackoffLimitExceeded")
    expect(space.terminated()["exitCode"] == 7, space.state("my-job"))
    (push,), (alert,) = gateway.requests, alerts.requests
    expect(push.endswith(f"/metrics/job/my-job/namespace/{space.name}"), push)
    expect(alert == "POST /api/v2/alerts", alert)
    (sent,) = json.loads(alerts.bodies[0])
    expect(sent["labels"]["namespace"] == space.name, sent)
    expect(sent["annotations"]["summary"].startswith("my-job exited with 7 after "), sent)


@own_case
def job_otlp_yaml_sends_a_span_and_metrics_that_name_the_pod_and_its_node(space):
    with Monitor("otel-collector.observability", port=4318) as collector:
        job = job_of("job-otlp.yaml")
        collector.reached_from(space, job)
        space.apply(job)
        space.completes()
    expect(sorted(collector.requests) == ["POST /v1/metrics", "POST /v1/traces"], collector.requests)
    pod = space.pod()
    for body in collector.bodies:
        for value in [space.name, pod["metadata"]["name"], pod["spec"]["nodeName"]]:
            expect(value.encode() in body, f"{value}: {body}")


@case
def a_cron_job_runs_even_if_its_monitor_is_down(space):
    space.kubectl("create", "secret", "generic", "my-job-ping", "--from-literal=id=0123-4567")
    (cron,) = read("cronjob-monitor.yaml")
    # Nothing listens there.
    template(cron)["spec"]["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": ["hc-ping.com"]}]
    space.apply(cron)
    space.kubectl("create", "job", "my-job", "--from=cronjob/my-job")
    space.completes()
    expect_quit(space, "my-job")


@case
def job_exit_codes_yaml_completes_with_a_code_that_counts_as_success(space):
    space.apply(job_of("job-exit-codes.yaml", args=["exit", "3"]))
    space.completes()
    expect_quit(space, "my-job")


@case
def job_exit_codes_yaml_fails_at_once_with_a_mapped_code_and_tries_others_again(space):
    invalid = job_of("job-exit-codes.yaml", args=["exit", "64"])
    other = job_of("job-exit-codes.yaml", args=["exit", "7"])
    missing = job_of("job-exit-codes.yaml")
    missing["metadata"]["name"] = "missing"
    main_container(missing)["command"][-1] = "/no-such-program"
    other["metadata"]["name"] = "other"
    space.apply(invalid, other, missing)
    message = space.fails("PodFailurePolicy")
    expect("exit code 42" in message, message)
    expect(len(space.pods()) == 1, "it was tried again")
    expect_quit(space, "my-job", code=42)
    message = space.fails("PodFailurePolicy", "missing")
    expect("exit code 127" in message, message)
    space.until("a second pod", lambda: len(space.pods("other")) == 2)


@case
def job_restart_rules_yaml_restarts_the_container_in_its_pod_for_some_codes_only(space):
    job = job_of("job-restart-rules.yaml", args=["third-time", "/data/starts", "110"])
    add_data(job)
    other = job_of("job-restart-rules.yaml", args=["exit", "7"])
    other["metadata"]["name"] = "other"
    space.apply(job, other)
    space.fails("BackoffLimitExceeded", "other")
    (status,) = space.pod("other")["status"]["containerStatuses"]
    expect(status["restartCount"] == 0 and status["state"]["terminated"]["exitCode"] == 7, status)
    space.completes()
    (status,) = space.pod()["status"]["containerStatuses"]
    expect(status["restartCount"] == 2, status)
    expect(status["lastState"]["terminated"]["exitCode"] == 75, status)


@case
def the_kustomize_example_is_applied_and_its_wrapped_job_completes(space):
    documents = built("kustomize/example")
    for document in documents:
        for container in [main_container(document)]:
            container["image"] = images.MY_PLAIN_JOB
    space.apply(*documents)
    space.completes()
    expect_quit(space, "my-job")
    space.completes("my-other-job")
    expect("wrapper:" not in space.log(job="my-other-job"), space.log(job="my-other-job"))


@case
def the_jobs_of_the_kustomize_example_hang_before_they_are_wrapped(space):
    job = without_wrapper(the_job(built("kustomize/example/base")))
    space.apply(job)
    space.terminated()
    hangs(space)


### The admission policies


def labelled(hook="istio-quit", command=("/my-job",)):
    """A Job that knows nothing of wrapper but the label."""
    container = {"name": "my-job", "image": images.MY_PLAIN_JOB}
    if command:
        container["command"] = list(command)
    labels = {INJECT: "true", "wrapper.example/inject": hook}
    spec = {"restartPolicy": "Never", "containers": [container]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "my-job"}}
    job["spec"] = {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": spec}}
    return job


def cron_job_of(job):
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "my-job"}}
    return cron | {"spec": {"schedule": "30 2 * * *", "jobTemplate": {"spec": job["spec"]}}}


@case
def the_policy_wraps_a_labelled_job_and_it_completes(space):
    space.apply(labelled())
    space.completes()
    pod = space.pod()["spec"]
    expect(pod["containers"][0]["command"] == ["/wrapper-bin/wrapper", "--after", "istio-quit", "--", "/my-job"], pod)
    expect(pod["containers"][-1]["name"] == SIDECAR, pod)
    expect_quit(space, "my-job")


@case
def a_job_without_the_label_is_not_wrapped_and_hangs(space):
    job = labelled()
    del job["spec"]["template"]["metadata"]["labels"]["wrapper.example/inject"]
    space.apply(job)
    expect(space.terminated()["exitCode"] == 0, space.state("my-job"))
    expect(space.pod()["spec"]["containers"][0]["command"] == ["/my-job"], space.pod()["spec"])
    hangs(space)


@case
def the_policy_wraps_the_jobs_of_a_labelled_cron_job(space):
    space.apply(cron_job_of(labelled(command=["/my-job", "exit", "3"])))
    space.kubectl("create", "job", "my-job", "--from=cronjob/my-job")
    space.fails("BackoffLimitExceeded")
    expect_quit(space, "my-job", code=3)


@case
def the_policy_does_not_wrap_a_job_with_a_native_sidecar(space):
    job = labelled()
    spec = job["spec"]["template"]["spec"]
    (native,) = read("job-native-sidecar.yaml")
    spec["initContainers"] = template(native)["spec"]["initContainers"]
    del job["spec"]["template"]["metadata"]["labels"][INJECT]
    space.apply(job)
    space.completes()
    expect(space.pod()["spec"]["containers"][0]["command"] == ["/my-job"], space.pod()["spec"])


@case
def the_policy_does_not_wrap_a_job_twice(space):
    (job,) = read("job-command.yaml")
    template(job)["metadata"]["labels"]["wrapper.example/inject"] = "istio-quit"
    space.apply(job)
    space.completes()
    expect(space.pod()["spec"]["containers"][0]["command"] == ["/wrapper", "--", "/my-job"], space.pod()["spec"])
    expect_quit(space, "my-job")


@case
def the_policy_refuses_a_labelled_job_without_a_command_or_with_another_hook_and_says_why(space):
    why = "the label wrapper.example/inject needs a command in the first container"
    for wrong in [labelled(command=None), cron_job_of(labelled(command=None))]:
        message = space.refused(wrong)
        expect("refuse.wrapper.example" in message and why in message, message)
    why = "the label wrapper.example/inject needs the name of a hook: cloudsql-quit,"
    for hook in ["istio-quitt", ""]:
        message = space.refused(labelled(hook=hook))
        expect("refuse.wrapper.example" in message and why in message, message)


### The life of a pod


@case
def with_on_failure_two_attempts_fail_and_the_third_completes_beside_the_same_sidecar(space):
    job = job_of("job-command.yaml", args=["third-time", "/data/starts", "1"], WRAPPER_PLUGIN_ON="success")
    # With 2 the Job controller would stop the third attempt.
    job["spec"]["backoffLimit"] = 3
    template(job)["spec"]["restartPolicy"] = "OnFailure"
    add_data(job)
    space.apply(job)
    space.completes()
    expect_quit(space, "my-job")
    restarts = {one["name"]: one["restartCount"] for one in space.pod()["status"]["containerStatuses"]}
    expect(restarts == {"my-job": 2, SIDECAR: 0}, restarts)


@case
def with_on_failure_the_job_controller_deletes_the_pod_after_the_last_attempt(space):
    job = job_of("job-command.yaml", args=["exit", "7"], WRAPPER_PLUGIN_ON="success")
    job["spec"]["backoffLimit"] = 1
    template(job)["spec"]["restartPolicy"] = "OnFailure"
    space.apply(job)
    pod = space.pod()["metadata"]["name"]
    space.fails("BackoffLimitExceeded")
    space.gone(pod)


def stopped(space, **changes):
    """Applies a Job that runs until it is asked to stop, beside a sidecar. When both are ready, returns the name of its
    pod, and the process that reads its log."""
    # The image has a longer one.
    job = job_of("job-command.yaml", args=["until-stopped", "3"], HOOK_ISTIO_QUIT_STARTUP="5s")
    job["spec"] |= changes
    space.apply(job)
    space.until_log_has("ready")
    space.until_log_has(images.sidecar()[2], SIDECAR)
    return space.pod()["metadata"]["name"], space.follow()


def expect_stopped(log):
    text = log.communicate()[0]
    for line in ["stopping", "done ", "wrapper: istio-quit: "]:
        expect(line in text, f"{line!r} is not in\n{text}")


# Of a pod by default.
GRACE = 30


@case
def a_pod_that_is_deleted_exits_in_its_own_way_within_the_grace_period(space):
    pod, log = stopped(space)
    space.kubectl("delete", "pod", pod, "--wait=false")
    expect(space.gone(pod) < GRACE, "the kubelet had to kill it")
    expect_stopped(log)


@case
def at_the_active_deadline_the_command_is_asked_to_stop_and_the_job_fails(space):
    pod, log = stopped(space)
    # From now on.
    patch = '{"spec": {"activeDeadlineSeconds": 1}}'
    space.kubectl("patch", "job", "my-job", "--type=merge", f"--patch={patch}")
    space.fails("DeadlineExceeded")
    expect(space.gone(pod) < GRACE, "the kubelet had to kill it")
    expect_stopped(log)


@case
def a_pod_that_is_evicted_through_the_api_exits_within_its_grace_period(space):
    pod, log = stopped(space)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space.name}}
    status, answer = Api.request("POST", f"/api/v1/namespaces/{space.name}/pods/{pod}/eviction", eviction)
    expect(status == 201, answer)
    expect(space.gone(pod) < GRACE, "the kubelet had to kill it")
    expect_stopped(log)


@case
def a_node_is_drained_within_the_grace_period(space):
    pod, log = stopped(space)
    node = space.pod()["spec"]["nodeName"]
    try:
        own = f"--pod-selector=batch.kubernetes.io/controller-uid={space.job()['metadata']['uid']}"
        kubectl("drain", node, own, f"--timeout={GRACE}s")
        expect_stopped(log)
    finally:
        kubectl("uncordon", node)


@case
def a_pod_that_uses_too_much_disk_is_evicted_with_its_sidecar_within_a_second(space):
    job = job_of("job-command.yaml", args=["fill", "/data/file", "20"])
    add_data(job, sizeLimit="10Mi")
    space.apply(job)
    space.until_log_has("ready")
    pod, log = space.pod()["metadata"]["name"], space.follow()
    space.fails("BackoffLimitExceeded")
    status = Api.get(f"/api/v1/namespaces/{space.name}/pods/{pod}")["status"]
    expect(status.get("reason") == "Evicted", status)
    # The program does not stop, and a second is all that the kubelet grants: no time is left for hooks.
    expect("istio-quit" not in log.communicate()[0], "a hook ran")
    ended = {one["name"]: one["state"]["terminated"]["exitCode"] for one in status["containerStatuses"]}
    expect(ended == {"my-job": 137, SIDECAR: 137}, ended)


@case
def lifecycle_stop_signal_reaches_the_command_and_the_hook_runs(space):
    job = job_of("job-command.yaml", args=["until-stopped", "3"], HOOK_ISTIO_QUIT_STARTUP="5s", WRAPPER_LOG="debug")
    template(job)["spec"]["os"] = {"name": "linux"}
    main_container(job)["lifecycle"] = {"stopSignal": "SIGINT"}
    space.apply(job)
    space.until_log_has("ready")
    pod, log = space.pod()["metadata"]["name"], space.follow()
    space.kubectl("delete", "pod", pod, "--wait=false")
    took, text = space.gone(pod), log.communicate()[0]
    expect(took < GRACE, f"the kubelet had to kill it:\n{text}")
    for line in ["the command was killed by signal 2", "wrapper: istio-quit: "]:
        expect(line in text, f"{line!r} is not in\n{text}")


@case
def a_pod_failure_policy_tells_wrappers_codes_from_the_commands(space):
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "my-job", "operator": "In", "values": [126, 127]}}

    def policy(name, command, codes):
        job = job_of("job-command.yaml")
        job["metadata"]["name"] = name
        job["spec"] |= {"backoffLimit": 1, "podFailurePolicy": {"rules": [rule]}}
        main_container(job)["command"] = ["/wrapper", "--", *command]
        main_container(job)["args"] = []
        space.apply(job)
        return name

    missing = policy("missing", ["/no-such-program"], [127])
    failing = policy("failing", ["/my-job", "exit", "7"], [7])
    space.fails("PodFailurePolicy", missing)
    expect(len(space.pods(missing)) == 1, "it was tried again")
    expect_ended(space, missing, 127)
    space.fails("BackoffLimitExceeded", failing)
    expect(len(space.pods(failing)) == 2, "it was not tried again")


def expect_ended(space, job, code):
    expect(space.terminated(job=job)["exitCode"] == code, space.state("my-job", job))
    expect(space.terminated(SIDECAR, job)["exitCode"] == 0, space.state(SIDECAR, job))


@case
def a_hook_that_does_not_exist_fails_the_job_with_125_before_the_command_runs(space):
    job = job_of("job-command.yaml", WRAPPER_PLUGIN_PATH="istio-quitt")
    del template(job)["metadata"]["labels"][INJECT]
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "my-job", "operator": "In", "values": [125]}}
    job["spec"] |= {"backoffLimit": 1, "podFailurePolicy": {"rules": [rule]}}
    space.apply(job)
    space.fails("PodFailurePolicy")
    expect(space.terminated()["exitCode"] == 125, space.state("my-job"))
    expect("ready" not in space.log().splitlines(), space.log())


@case
def the_same_manifest_completes_without_a_mesh(space):
    (job,) = read("job-command.yaml")
    del template(job)["metadata"]["labels"][INJECT]
    container = main_container(job)
    container["env"] = [one for one in container["env"] if one["name"] == "WRAPPER_PLUGIN_PATH"]
    set_env(container, HOOK_ISTIO_QUIT_STARTUP="5s")
    space.apply(job)
    space.completes()
    expect("is considered absent" in space.log(), space.log())


### When the whole container is killed


def eater(path):
    job = job_of(path, args=["eat"])
    main_container(job).setdefault("resources", {})["limits"] = {"memory": "64Mi"}
    return job


@case
def job_witness_yaml_completes_if_the_job_runs_out_of_memory(space):
    space.apply(eater("job-witness.yaml"))
    space.fails("BackoffLimitExceeded")
    expect(space.terminated()["exitCode"] == 137, space.state("my-job"))
    expect(space.terminated(SIDECAR)["exitCode"] == 0, space.state(SIDECAR))
    # Of the witness if the kernel killed the whole container, as it does with version 2 of cgroups.
    expect(QUIT in space.log() + space.log("witness"), space.log() + space.log("witness"))
    print(f"fact: out of memory: the container {space.terminated()['reason']}, wrapper survived: {QUIT in space.log()}")


@case
def job_command_yaml_out_of_memory_hangs_if_wrapper_is_killed_too(space):
    space.apply(eater("job-command.yaml"))
    expect(space.terminated()["exitCode"] == 137, space.state("my-job"))
    if QUIT in space.log():
        space.fails("BackoffLimitExceeded")
    else:
        space.until_log_has(images.sidecar()[2], SIDECAR)
        expect(space.job()["status"].get("active") == 1, space.job()["status"])


@own_case
def the_witness_runs_the_hook_if_the_whole_container_is_killed(space):
    space.apply(job_of("job-witness.yaml", args=["until-stopped", "0"]))
    space.until_log_has("ready")
    kill(space, "my-job")
    space.fails("BackoffLimitExceeded")
    expect(space.terminated()["exitCode"] == 137, space.state("my-job"))
    log = space.log("witness")
    expect('container "" was killed; hooks left to run: 1' in log and QUIT in log, log)
    expect(space.terminated(SIDECAR)["exitCode"] == 0, space.state(SIDECAR))
    expect(space.terminated("witness")["exitCode"] == 0, space.state("witness"))


@own_case
def of_several_containers_the_last_one_that_is_killed_has_its_hook_run_by_the_witness(space):
    job = job_of("job-several-containers.yaml")
    template(job)["spec"]["containers"][1]["args"] = ["until-stopped", "0"]
    space.apply(job)
    expect(space.terminated("extract")["exitCode"] == 0, space.state("extract"))
    expect(QUIT not in space.log("extract"), space.log("extract"))
    space.until_log_has("ready", "load")
    kill(space, "load")
    space.fails("BackoffLimitExceeded")
    expect(QUIT in space.log("witness"), space.log("witness"))
    expect(space.terminated(SIDECAR)["exitCode"] == 0, space.state(SIDECAR))


def kill(space, container):
    """Kills all processes of a container, from the node."""
    import node

    status = next(one for one in space.pod()["status"]["containerStatuses"] if one["name"] == container)
    containerd = [node.TOOLS / "ctr", "--address", node.CONTAINERD, "--namespace", "k8s.io"]
    ctr = [*containerd, "tasks", "kill", "--signal=SIGKILL", status["containerID"].removeprefix("containerd://")]
    subprocess.run(ctr, check=True)


### What runs them


class Monitor:
    """A server on the node with these names, by HTTPS on port 443 and else by HTTP, which notes each request."""

    # One server at a time has a port.
    locks = collections.defaultdict(threading.Lock)

    def __init__(self, *names, port=443):
        self.names, self.port = names, port
        self.requests, self.bodies, self.authority = [], [], None

    def __enter__(self):
        import node
        import webhook

        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                monitor.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                monitor.requests.append(f"{self.command} {self.path}")
                self.send_response(200)
                self.end_headers()

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.address = node.ADDRESS
        self.locks[self.port].acquire()
        place = self.address, self.port
        if self.port == 443:
            self.server, self.authority = webhook.serve(Handler, place, *(f"DNS:{name}" for name in self.names))
        else:
            self.server = ThreadingHTTPServer(place, Handler)
            threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.locks[self.port].release()

    def reached_from(self, space, document):
        """Has the Job's container find the server, and trust it."""
        pod, container = template(document)["spec"], main_container(document)
        pod["hostAliases"] = [{"ip": self.address, "hostnames": list(self.names)}]
        if self.authority:
            space.kubectl("create", "configmap", "monitor", f"--from-literal=ca.pem={self.authority}")
            pod.setdefault("volumes", []).append({"name": "monitor", "configMap": {"name": "monitor"}})
            container.setdefault("volumeMounts", []).append({"name": "monitor", "mountPath": "/monitor"})
            set_env(container, SSL_CERT_FILE="/monitor/ca.pem")


def prepare_cluster(injects):
    """What the cases share: the admission policies, and a webhook that adds sidecars, where it is reached."""
    Space.injects = injects
    kubectl("apply", f"--filename={DEPLOY}/admission/refuse.yaml")
    kubectl("apply", f"--filename={DEPLOY}/admission/wrap.yaml")
    if injects:
        import webhook

        webhook.start()
    # Policies take effect a moment after they are created.
    space = Space()
    pod = labelled()["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = {"name": "my-job", "labels": {"wrapper.example/inject": "istio-quit", JOB_NAME: "my-job"}}
    space.until("a refusal", lambda: space.tries(labelled(hook="none")).returncode != 0)
    space.until("a wrapped pod", lambda: "wrapper-install" in space.tries(pod).stdout)
    space.delete()


def run_case(case):
    name, function = case
    began, space, report = time.monotonic(), None, ""
    try:
        space = Space()
        function(space)
    except Exception:
        report = traceback.format_exc()
        try:
            report += space.report() if space else ""
        except Exception:
            report += traceback.format_exc()
    finally:
        if space:
            space.delete()
    return name, time.monotonic() - began, report


def run(tests):
    chosen = [case for case in CASES if not tests or any(test in case[0] for test in tests)]
    skipped = [name for name, _ in chosen if name in OWN and not Space.injects]
    for name in skipped:
        print(f"SKIPPED: {name}: not the tests' own cluster")
    chosen = [case for case in chosen if case[0] not in skipped]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as threads:
        for done in concurrent.futures.as_completed([threads.submit(run_case, case) for case in chosen]):
            name, took, report = done.result()
            print(f"{'FAILED' if report else 'ok':6}  {name}  {took:.1f} s", flush=True)
            print("".join(f"        {line}\n" for line in report.splitlines()), end="", flush=True)
            passed, failed = passed + (not report), failed + bool(report)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def clean():
    """Removes what is not in a case's namespace."""
    kubectl("delete", f"--filename={DEPLOY}/admission", "--ignore-not-found")
