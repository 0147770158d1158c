"""What a cluster of our own consists of: programs that are built here from Go modules, and Debian's packages."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import images

HERE = Path(__file__).resolve().parent
TOOLS = images.TOOLS / "cluster"

CONTAINERD = ["containerd", "containerd-shim-runc-v2", "ctr"]
# The modules that have a folder in modules/, each with its packages and the programs they become.
CLUSTER = {
    "kubernetes": (["."], ["kubernetes"]),
    "containerd": ([f"github.com/containerd/containerd/v2/cmd/{name}" for name in CONTAINERD], CONTAINERD),
}
SIDECARS = {
    "cloud-sql-proxy": (["github.com/GoogleCloudPlatform/cloud-sql-proxy/v2"], ["cloud-sql-proxy"]),
    "dapr": (["."], ["daprd"]),
    "istio": (["istio.io/istio/pilot/cmd/pilot-agent"], ["pilot-agent"]),
}
# Kubernetes' programs have no other way to know their version.
LINKED = {"kubernetes": "-X k8s.io/component-base/version.gitVersion=v1.37.2"}
PACKAGES = {"etcd": "etcd-server", "runc": "runc", "/usr/lib/cni/bridge": "containernetworking-plugins"}
PACKAGES |= {"ip": "iproute2", "openssl": "openssl"}


def version(module):
    """Of everything that a module is built from."""
    content = b"".join(file.read_bytes() for file in sorted((HERE / "modules" / module).iterdir()))
    return hashlib.sha256(content + LINKED.get(module, "").encode()).hexdigest()


def is_built(module):
    built = TOOLS / f"{module}.version"
    return built.exists() and built.read_text() == version(module)


def missing():
    """What a cluster lacks, each with the command that adds it."""
    lacking = [module for module in CLUSTER if not is_built(module)]
    lacking += [package for program, package in PACKAGES.items() if not shutil.which(program)]
    tools = {"kubectl": "kubernetes/bin/kubectl", "Envoy": "envoy/envoy/_bin/envoy"}
    tools = [name for name, path in tools.items() if not (images.TOOLS / path).exists()]
    return [f"{name} (tests/cluster/run --build)" for name in lacking] + [f"{name} (tests/run tools)" for name in tools]


def install(programs=PACKAGES):
    if lacking := [PACKAGES[program] for program in programs if not shutil.which(program)]:
        install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(lacking)}"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, shell=True, check=True, env=environment, stdout=subprocess.DEVNULL)


def build(modules):
    TOOLS.mkdir(parents=True, exist_ok=True)
    for module, (packages, programs) in modules.items():
        if is_built(module):
            continue
        began = time.monotonic()
        print(f"building {module}", flush=True)
        options = ["-trimpath", f"-ldflags=-s -w {LINKED.get(module, '')}", "-o", f"{TOOLS}/"]
        go = ["nice", "-n", "5", "go", "build", *options, *packages]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        subprocess.run(go, check=True, cwd=HERE / "modules" / module, env=environment)
        assert all((TOOLS / program).exists() for program in programs), programs
        (TOOLS / f"{module}.version").write_text(version(module))
        print(f"built {module} in {time.monotonic() - began:.0f} s", flush=True)
