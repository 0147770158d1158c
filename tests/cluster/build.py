"""What a cluster of our own consists of: programs that are built here from Go modules, and Debian's packages."""

import hashlib
import json
import os
import re
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
    "dapr": ([".", "./dapr-injector"], ["daprd", "dapr-injector"]),
    "istio": (["istio.io/istio/pilot/cmd/pilot-agent", "./istio-injector"], ["pilot-agent", "istio-injector"]),
    "vault": (["."], ["vault"]),
}
# The files of Vault's package `command` that its agent consists of.
VAULT_AGENT = ["agent.go", "base.go", "base_flags.go", "base_helpers.go", "base_predict.go", "log_flags.go"]
# Kubernetes' programs have no other way to know their version.
LINKED = {"kubernetes": "-X k8s.io/component-base/version.gitVersion=v1.37.2"}
PACKAGES = {"etcd": "etcd-server", "runc": "runc", "/usr/lib/cni/bridge": "containernetworking-plugins"}
PACKAGES |= {"ip": "iproute2", "openssl": "openssl"}


def version(module):
    """Of everything that a module is built from."""
    files = sorted(file for file in (HERE / "modules" / module).rglob("*") if file.is_file())
    content = b"".join(file.read_bytes() for file in files)
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


def trim_vault():
    """Copies Vault's source without its server, of which the agent needs four constants. With it, more than twice as
    many packages would be compiled."""
    required = re.search(r"(github.com/hashicorp/vault) (v\S+)", (HERE / "modules/vault/go.mod").read_text())
    download = ["go", "mod", "download", "-json", "@".join(required.groups())]
    found = json.loads(subprocess.run(download, check=True, stdout=subprocess.PIPE).stdout)
    source = TOOLS / "vault-source"
    shutil.rmtree(source, ignore_errors=True)
    # A module's files are read-only.
    subprocess.run(["cp", "-r", "--no-preserve=mode", found["Dir"], source], check=True)
    for file in [*source.glob("command/*.go"), *source.glob("http/*.go")]:
        if file.name not in VAULT_AGENT:
            file.unlink()
    for package in ["command", "http"]:
        shutil.copytree(HERE / "modules/vault" / package, source / package, dirs_exist_ok=True)


def build(modules):
    TOOLS.mkdir(parents=True, exist_ok=True)
    for module, (packages, programs) in modules.items():
        if is_built(module):
            continue
        began = time.monotonic()
        print(f"building {module}", flush=True)
        if module == "vault":
            trim_vault()
        options = ["-trimpath", f"-ldflags=-s -w {LINKED.get(module, '')}", "-o", f"{TOOLS}/"]
        go = ["nice", "-n", "5", "go", "build", *options, *packages]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        subprocess.run(go, check=True, cwd=HERE / "modules" / module, env=environment)
        assert all((TOOLS / program).exists() for program in programs), programs
        (TOOLS / f"{module}.version").write_text(version(module))
        print(f"built {module} in {time.monotonic() - began:.0f} s", flush=True)
