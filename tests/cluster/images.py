"""Container images FROM scratch, as the archives that `ctr images import`, `kind load image-archive` and `docker load`
read. A registry is not needed; the names are those of the manifests in deploy/."""

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TOOLS = REPOSITORY / "target/test-tools"

WRAPPER = "registry.example/wrapper:0.1.0"
# Of the kustomize example.
MIRROR = "registry.example/mirror/wrapper:0.1.0"
# The job with wrapper in front, as the README says, and another image with nothing of wrapper.
MY_JOB = "registry.example/my-job:1.0"
MY_PLAIN_JOB = "registry.example/my-plain-job:1.0"
# A real sidecar in place of the mesh's.
PROXY = "registry.example/my-proxy:1.0"
PAUSE = "registry.example/pause:1.0"

# As images name them.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# A busy machine may need a minute to start a sidecar.
PATIENT = ["HOOK_ISTIO_QUIT_STARTUP=50s", "WRAPPER_PLUGIN_TIMEOUT=60s"]

API = "type.googleapis.com/envoy.extensions.filters"


def filter_of(name, path, **config):
    return {"name": name, "typed_config": {"@type": f"{API}.{path}", **config}}


def ready_on(address, port):
    """A listener that responds as Istio's does when it is ready."""
    route = {"match": {"path": "/healthz/ready"}, "direct_response": {"status": 200}}
    host = {"name": "ready", "domains": ["*"], "routes": [route]}
    connections = filter_of(
        "envoy.filters.network.http_connection_manager",
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="ready",
        http_filters=[filter_of("envoy.filters.http.router", "http.router.v3.Router")],
        route_config={"virtual_hosts": [host]},
    )
    return listening(address, port) | {"filter_chains": [{"filters": [connections]}]}


def listening(address, port):
    return {"address": {"socket_address": {"address": address, "port_value": port}}}


def envoy_config(admin_port):
    """Envoy's admin interface, and readiness, where Istio has it."""
    listeners = [ready_on("0.0.0.0", 15021)]
    return {"admin": listening("127.0.0.1", admin_port), "static_resources": {"listeners": listeners}}


def wrapper_binary():
    built = REPOSITORY / f"target/{platform.machine()}-unknown-linux-gnu/release/wrapper"
    binary = Path(os.environ.get("WRAPPER_UNDER_TEST", built)).resolve()
    if not binary.exists():
        sys.exit(f"there is no {binary}; build it, or set WRAPPER_UNDER_TEST")
    return binary


def job_binary():
    program, source = TOOLS / "cluster/my-job", REPOSITORY / "tests/programs/job.rs"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        options = ["--edition", "2024", "-C", "opt-level=1", "-C", "strip=symbols"]
        static = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]
        subprocess.run(["rustc", *options, *static, "-o", program, source], check=True)
    return program


def envoy_files():
    """Envoy and the shared libraries that it is linked with, which are the machine's."""
    program = TOOLS / "envoy/envoy/_bin/envoy"
    libraries = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.split()
    return {"envoy": program} | {word[1:]: Path(word).resolve() for word in libraries if word.startswith("/")}


def layer(files, file):
    """Writes a layer with these files, by their paths in the image, and returns its digest."""
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, source in files.items():
            entry = tar.gettarinfo(source, path)
            entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o755, 0, 0, "", ""
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", os.path.getsize(source)
            with open(source, "rb") as content:
                tar.addfile(entry, content)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def sidecar():
    """The sidecar's files, its configuration, and what it logs when it listens."""
    if os.environ.get("CLUSTER_SIDECAR") == "cloud-sql-proxy":
        program = ["/cloud-sql-proxy", "--token=none", "--port=5432", "--lazy-refresh", "--quitquitquit"]
        program += ["--admin-port=15020", "project:region:instance"]
        files = {"cloud-sql-proxy": TOOLS / "cluster/cloud-sql-proxy"}
        return files, program, "ready for new connections"
    program = ["/envoy", "--disable-hot-restart", "--concurrency", "1"]
    program += ["--config-yaml", json.dumps(envoy_config(15020))]
    return envoy_files(), program, "starting main dispatch loop"


def images():
    """The names of each image, its files, and its configuration."""
    wrapper, job = wrapper_binary(), job_binary()
    hooks = {f"hooks/{hook.name}": hook for hook in (REPOSITORY / "hooks/dist").glob("*.wasm")}
    anyone = "65532:65532"
    wrapped = ["/wrapper", "--after", "istio-quit", "--", "/my-job"]
    files, program, _ = sidecar()
    return [
        ([WRAPPER, MIRROR], {"wrapper": wrapper} | hooks, {"User": anyone, "Entrypoint": ["/wrapper"]}),
        ([MY_JOB], {"wrapper": wrapper, "my-job": job}, {"User": anyone, "Entrypoint": wrapped, "Env": PATIENT}),
        ([MY_PLAIN_JOB], {"my-job": job}, {"User": anyone, "Entrypoint": ["/my-job"], "Env": PATIENT}),
        ([PROXY], files | {"wrapper": wrapper}, {"User": "1337:1337", "Entrypoint": program}),
        ([PAUSE], {"my-job": job}, {"User": anyone, "Entrypoint": ["/my-job", "pause"]}),
    ]


def write(archive):
    """Writes all images to an archive."""
    with tarfile.open(archive, "w") as tar:

        def add(name, content):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

        manifest = []
        for names, files, config in images():
            with open(f"{archive}.layer", "w+b") as file:
                digest = layer(files, file)
                tar.add(file.name, f"{digest}.tar")
            os.remove(file.name)
            rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
            described = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
            described = json.dumps(described | {"config": config, "rootfs": rootfs}).encode()
            name = f"{hashlib.sha256(described).hexdigest()}.json"
            add(name, described)
            manifest.append({"Config": name, "RepoTags": names, "Layers": [f"{digest}.tar"]})
        add("manifest.json", json.dumps(manifest).encode())
