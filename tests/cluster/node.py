"""A cluster of one node, in namespaces of its own: its network reaches nothing, and nothing of it is left when the
process that called start() has ended, which has to be PID 1 of those namespaces. The state is in target/cluster."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import images

TOOLS = images.TOOLS / "cluster"
STATE = images.REPOSITORY / "target/cluster"
KUBECONFIG = STATE / "kubeconfig"

# Of the node, on the bridge that connects the pods. The API server advertises it, and the kubelet registers with it.
ADDRESS = "10.244.0.1"
PODS = "10.244.0.0/24"
BRIDGE = "pods"
API = "https://127.0.0.1:6443"
CONTAINERD = "/run/containerd/containerd.sock"
# Alpha, and so off by default.
GATES = {"ContainerStopSignals": True}
# Of the process outside, which removes it. Several clusters may run at the same time.
CGROUP = f"wrapper-cluster-{os.environ.get('CLUSTER_INSIDE', os.getpid())}"

# Seconds for one of the programs to be ready, on a busy machine.
LIMIT = 180

# The kubelet changes these for the whole machine where they differ.
KERNEL = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1}
KERNEL |= {"kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}


def cgroups():
    """The cluster's cgroup, of each hierarchy: version 2 has a single one."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root / CGROUP]
    return [folder / CGROUP for folder in root.iterdir() if folder.is_dir() and not folder.is_symlink()]


def call(*command):
    subprocess.run(command, check=True)


def folders():
    """Folders of our own in place of the machine's that the programs write to, whatever their options say."""
    call("mount", "--make-rprivate", "/")
    call("mount", "-t", "tmpfs", "tmpfs", "/run")
    for folder in ["/var/lib/kubelet", "/var/lib/cni", "/var/log"]:
        ours = STATE / folder.strip("/").replace("/", "-")
        ours.mkdir()
        os.makedirs(folder, exist_ok=True)
        call("mount", "--bind", ours, folder)
    # Volumes mounted in the kubelet's folder are seen by containers.
    call("mount", "--make-rshared", "/")
    for name, value in KERNEL.items():
        shown = STATE / name.replace("/", "-")
        shown.write_text(f"{value}\n")
        call("mount", "--bind", shown, f"/proc/sys/{name}")


def network():
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", BRIDGE, "type", "bridge")
    call("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    call("ip", "link", "set", BRIDGE, "up")
    call("ip", "route", "add", "default", "dev", BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def start_program(name, *command):
    """Starts a server, with its log in NAME.log."""
    log = open(STATE / f"{name}.log", "wb")
    return name, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait(what, program, ready):
    """Waits until the program is ready, and fails with its log if it ends before."""
    name, process = program
    deadline = time.monotonic() + LIMIT
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            log = (STATE / f"{name}.log").read_text(errors="replace").splitlines()[-30:]
            raise SystemExit("\n".join([*log, f"FAILED: {what}: {name} is not ready"]))
        time.sleep(0.1)


def succeeds(*command):
    return subprocess.run(command, capture_output=True).returncode == 0


def answers(url, token=None):
    import ssl

    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            return response.status == 200
    except OSError:
        return False


def write_json(name, content):
    path = STATE / name
    path.write_text(json.dumps(content))
    return str(path)


def start_containerd():
    cri = "io.containerd.cri.v1"
    config = f"""
version = 3
root = "{STATE}/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD}"
[plugins."{cri}.images".pinned_images]
sandbox = "{images.PAUSE}"
[plugins."{cri}.runtime"]
# Where root may not lower oom_score_adj, it stays as it is.
restrict_oom_score_adj = true
[plugins."{cri}.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{STATE}/cni"
[plugins."{cri}.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."{cri}.runtime".containerd.runtimes.runc.options]
BinaryName = "{shutil.which('runc')}"
SystemdCgroup = false
"""
    (STATE / "containerd.toml").write_text(config)
    (STATE / "cni").mkdir()
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True}
    bridge["ipam"] = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    write_json("cni/pods.conflist", {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})
    os.environ["PATH"] = f"{TOOLS}:/usr/sbin:/sbin:{os.environ['PATH']}"
    containerd = start_program("containerd", TOOLS / "containerd", "--config", STATE / "containerd.toml")
    ctr = [TOOLS / "ctr", "--address", CONTAINERD, "--namespace", "k8s.io"]
    wait("the container runtime", containerd, lambda: succeeds(*ctr, "version"))
    archive = STATE / "images.tar"
    images.write(archive)
    call(*ctr, "images", "import", "--local", archive)
    archive.unlink()


def start_kubernetes():
    program, token = TOOLS / "kubernetes", secrets.token_hex(16)
    (STATE / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    key = STATE / "service-account.key"
    call("openssl", "genrsa", "-out", key, "2048")

    etcd = start_program("etcd", "etcd", "--data-dir", STATE / "etcd", "--unsafe-no-fsync")
    wait("the store", etcd, lambda: answers("http://127.0.0.1:2379/health"))

    apiserver = start_program(
        "kube-apiserver", program, "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379", f"--cert-dir={STATE}/certificates", f"--advertise-address={ADDRESS}",
        f"--token-auth-file={STATE}/tokens.csv", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
        f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/24",
        "--kubelet-preferred-address-types=InternalIP",
        "--feature-gates=" + ",".join(f"{gate}={str(on).lower()}" for gate, on in GATES.items()),
    )  # fmt: skip
    wait("the API server", apiserver, lambda: answers(f"{API}/readyz", token))

    cluster = {"server": API, "insecure-skip-tls-verify": True}
    entry = {"name": "node", "context": {"cluster": "node", "user": "admin"}}
    content = {"apiVersion": "v1", "kind": "Config", "current-context": "node", "contexts": [entry]}
    content["clusters"] = [{"name": "node", "cluster": cluster}]
    content["users"] = [{"name": "admin", "user": {"token": token}}]
    write_json("kubeconfig", content)

    certificate = STATE / "certificates/apiserver.crt"
    start_program(
        "kube-controller-manager", program, "kube-controller-manager", f"--kubeconfig={KUBECONFIG}",
        "--leader-elect=false", "--secure-port=0", f"--service-account-private-key-file={key}",
        f"--root-ca-file={certificate}", "--node-monitor-grace-period=5m",
    )  # fmt: skip
    start_program(
        "kube-scheduler", program, "kube-scheduler", f"--kubeconfig={KUBECONFIG}", "--leader-elect=false",
        "--secure-port=0",
    )  # fmt: skip

    # A disk that is nearly full is no reason to evict.
    enough = {"memory.available": "100Mi"}
    enough |= {resource: "1%" for resource in ("nodefs.available", "nodefs.inodesFree", "imagefs.available")}
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        # No pod needs it, and the kubelet wants it.
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "cgroupRoot": f"/{CGROUP}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "enforceNodeAllocatable": [],
        "evictionHard": enough,
        # Version 1 is refused by default since Kubernetes 1.35.
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": GATES,
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
    }
    kubelet = start_program(
        "kubelet", program, "kubelet", f"--kubeconfig={KUBECONFIG}", f"--config={write_json('kubelet.json', config)}",
        "--hostname-override=node", f"--node-ip={ADDRESS}",
    )  # fmt: skip
    kubectl = [images.TOOLS / "kubernetes/bin/kubectl", f"--kubeconfig={KUBECONFIG}"]
    ready = "{.status.conditions[?(@.type=='Ready')].status}"

    def node_is_ready():
        found = subprocess.run([*kubectl, "get", "node", "node", f"-ojsonpath={ready}"], capture_output=True, text=True)
        account = succeeds(*kubectl, "get", "serviceaccount", "default")
        return found.stdout == "True" and account

    wait("the node", kubelet, node_is_ready)


def start():
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True, exist_ok=True)
    for cgroup in cgroups():
        cgroup.mkdir(exist_ok=True)
    folders()
    network()
    start_containerd()
    start_kubernetes()


def remove_cgroups():
    """After their last process has ended, from outside of the namespaces."""
    for cgroup in cgroups():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            os.rmdir(folder)
