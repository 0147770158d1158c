"""What the cases do with a cluster, all of it through kubectl and with the rights of KUBECONFIG."""

import copy
import http.client
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import images

TOOLS = images.TOOLS / "kubernetes"
sys.path.append(str(TOOLS))
import yaml  # noqa: E402, of that folder

KUBECTL = str(TOOLS / "bin/kubectl")
DEPLOY = images.REPOSITORY / "deploy"
# Seconds for anything to happen, on a machine that is busy. What hangs, hangs for hours.
LIMIT = 150
# Seconds between two requests for an object's state.
PERIOD = 0.25

# As Istio's: the container that its webhook adds, with what a restricted namespace requires.
SIDECAR = "istio-proxy"
PROXY = {
    "name": SIDECAR,
    "image": images.PROXY,
    "securityContext": {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
INJECT = "sidecar.istio.io/inject"


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def kubectl(*arguments, input=None, fails=False):
    """Its standard output, or, of one that has to fail, its standard error."""
    done = subprocess.run([KUBECTL, *arguments], input=input, capture_output=True, text=True)
    if (done.returncode != 0) != fails:
        raise Failed(f"kubectl {' '.join(arguments)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


class Api:
    """The API server, by a `kubectl proxy` that lives as long as this program. One kubectl for each request would take
    most of the processors' time."""

    _address = None
    _lock = threading.Lock()

    @classmethod
    def address(cls):
        with cls._lock:
            if cls._address is None:
                proxy = subprocess.Popen([KUBECTL, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
                cls._address = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())[0]
        return cls._address

    @classmethod
    def request(cls, method, path, body=None):
        connection = http.client.HTTPConnection(cls.address(), timeout=LIMIT)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    @classmethod
    def get(cls, path):
        status, found = cls.request("GET", path)
        if status == 404:
            return None
        expect(status == 200, f"GET {path}: {found}")
        return found


def read(path):
    """The documents of a manifest in deploy/."""
    return list(yaml.safe_load_all((DEPLOY / path).read_text()))


def built(folder):
    """The documents that kubectl builds of a folder with a kustomization."""
    return list(yaml.safe_load_all(kubectl("kustomize", str(DEPLOY / folder))))


def template(document):
    """The pod template of a Job or CronJob."""
    spec = document["spec"]
    return spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]


def the_job(documents):
    return next(one for one in documents if one["kind"] in ("Job", "CronJob") and one["metadata"]["name"] == "my-job")


def main_container(document):
    return template(document)["spec"]["containers"][0]


def set_env(container, **variables):
    kept = [one for one in container.get("env", []) if one["name"] not in variables]
    container["env"] = kept + [{"name": name, "value": value} for name, value in variables.items()]


def without_wrapper(document):
    """The same Job as it was before it was wrapped: its image has nothing of wrapper."""
    document = copy.deepcopy(document)
    spec = template(document)["spec"]
    spec["initContainers"] = [one for one in spec.get("initContainers", []) if not is_wrapper(one)]
    for container in spec["containers"]:
        container["image"] = images.MY_PLAIN_JOB
        if "--" in container.get("command", []):
            container["command"] = container["command"][container["command"].index("--") + 1 :]
    return document


def is_wrapper(container):
    return container.get("command", [""])[0].endswith("/wrapper")


class Space:
    """A namespace for one case, and what happens in it."""

    numbers = itertools.count()
    # Whether a webhook adds the sidecars.
    injects = False

    def __init__(self, name=None):
        self.name = name or f"wrapper-{os.getpid()}-{next(self.numbers)}"
        if name is None:
            kubectl("create", "namespace", self.name)

    def kubectl(self, *arguments, **options):
        return kubectl("--namespace", self.name, *arguments, **options)

    def apply(self, *documents):
        self.kubectl("apply", "--filename=-", input="\n---\n".join(json.dumps(one) for one in self.injected(documents)))

    def refused(self, document):
        """The message with which the API server refuses it."""
        return self.kubectl("apply", "--filename=-", input=json.dumps(document), fails=True)

    def tries(self, document):
        """What the API server would make of it."""
        dry = [KUBECTL, "--namespace", self.name, "create", "--dry-run=server", "--output=json", "--filename=-"]
        return subprocess.run(dry, input=json.dumps(document), capture_output=True, text=True)

    def injected(self, documents):
        documents = copy.deepcopy(list(documents))
        for pod in [template(one) for one in documents if one["kind"] in ("Job", "CronJob")]:
            if not self.injects and pod.get("metadata", {}).get("labels", {}).get(INJECT) == "true":
                pod["spec"]["containers"].append(copy.deepcopy(PROXY))
        return documents

    def until(self, what, condition):
        """The first value of the condition that is true."""
        deadline = time.monotonic() + LIMIT
        while not (value := condition()):
            expect(time.monotonic() < deadline, f"never came: {what}")
            time.sleep(PERIOD)
        return value

    def job(self, name="my-job"):
        return Api.get(f"/apis/batch/v1/namespaces/{self.name}/jobs/{name}")

    def job_ends(self, name="my-job"):
        """Waits until the Job has completed or failed, and returns which, and the reason."""

        def ended():
            conditions = (self.job(name) or {}).get("status", {}).get("conditions", [])
            ends = [one for one in conditions if one["type"] in ("Complete", "Failed") and one["status"] == "True"]
            return ends and (ends[0]["type"], ends[0]["reason"], ends[0].get("message", ""))

        return self.until(f"the end of {name}", ended)

    def completes(self, name="my-job"):
        ended = self.job_ends(name)
        expect(ended[0] == "Complete", f"{name}: {ended}")

    def fails(self, reason, name="my-job"):
        ended = self.job_ends(name)
        expect(ended[:2] == ("Failed", reason), f"{name}: {ended}")
        return ended[2]

    def pods(self, job="my-job"):
        selector = quote(f"batch.kubernetes.io/job-name={job}")
        return Api.get(f"/api/v1/namespaces/{self.name}/pods?labelSelector={selector}")["items"]

    def pod(self, job="my-job"):
        return self.until(f"a pod of {job}", lambda: self.pods(job))[0]

    def state(self, container, job="my-job"):
        """The state of a container of the Job's only pod."""
        status = self.pod(job)["status"]
        found = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
        return next((one["state"] for one in found if one["name"] == container), {})

    def terminated(self, container="my-job", job="my-job"):
        return self.until(f"the end of container {container}", lambda: self.state(container, job).get("terminated"))

    def runs(self, container, job="my-job"):
        return self.until(f"the start of container {container}", lambda: self.state(container, job).get("running"))

    def log(self, container="my-job", job="my-job"):
        return self.kubectl("logs", self.pod(job)["metadata"]["name"], f"--container={container}")

    def until_log_has(self, text, container="my-job", job="my-job"):
        self.runs(container, job)
        self.until(f"{text!r} in the log of {container}", lambda: text in self.log(container, job))

    def follow(self, container="my-job", job="my-job"):
        """Reads the log until the container is gone, also if its pod is deleted meanwhile."""
        pod = self.pod(job)["metadata"]["name"]
        command = [KUBECTL, "--namespace", self.name, "logs", pod, f"--container={container}", "--follow"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def gone(self, pod):
        """Waits until the pod is deleted, and returns how many seconds that took."""
        began, path = time.monotonic(), f"/api/v1/namespaces/{self.name}/pods/{pod}"
        self.until(f"the end of {pod}", lambda: Api.get(path) is None)
        return time.monotonic() - began

    def exec(self, container, *command, job="my-job"):
        """How a command in a container ended."""
        pod = self.pod(job)["metadata"]["name"]
        program = [KUBECTL, "--namespace", self.name, "exec", pod, f"--container={container}", "--", *command]
        return subprocess.run(program, capture_output=True, text=True)

    def report(self):
        """All that may explain a failure."""
        parts = [self.kubectl("get", "jobs,pods", "--output=wide"), self.kubectl("describe", "pods")]
        parts.append(self.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp"))
        for pod in Api.get(f"/api/v1/namespaces/{self.name}/pods")["items"]:
            name = pod["metadata"]["name"]
            logs = subprocess.run(
                [KUBECTL, "--namespace", self.name, "logs", name, "--all-containers", "--prefix"],
                capture_output=True, text=True,
            )  # fmt: skip
            parts.append(logs.stdout + logs.stderr)
        return "\n".join(parts)

    def delete(self):
        kubectl("delete", "namespace", self.name, "--wait=false")
