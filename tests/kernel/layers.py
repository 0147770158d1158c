"""What depends on the kernel in a sandbox of wrapper, and in wrapper as PID 1. Cases as those of cases.py, for every
kernel."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import cases
import inject
from cases import ORDINARY, SLEEPER, Sidecar, case, fact, finish, until, wrapper
from cgroup import Cgroup

HOOKS = Path(__file__).resolve().parents[2] / "hooks/dist"
# A custom section without a meaning. With it a component has not the bytes of a built-in hook, and so is checked and
# compiled as any other.
SECTION = b"\0\2\1x"
# landlock_create_ruleset(2), the same number on every CPU.
LANDLOCK_CREATE_RULESET, LANDLOCK_CREATE_RULESET_VERSION = 444, 1
# Of Landlock, with TCP ports (Linux 6.7), and with all that wrapper asks for (6.12).
WITH_PORTS, COMPLETE = 4, 6


def landlock_version():
    """Of this kernel, or 0 if it has none."""
    libc = ctypes.CDLL(None)
    return max(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION), 0)


def landlock():
    """What the log says of it on this kernel."""
    version = landlock_version()
    if version == 0:
        return "no landlock (not in this kernel)"
    return "landlock" if version >= COMPLETE else "landlock (partial on this kernel)"


def file(name):
    path = Path(f"/run/{name}.wasm")
    path.write_bytes((HOOKS / path.name).read_bytes() + SECTION)
    return str(path)


def kinds(name):
    """A hook that is interpreted, and one that is compiled to machine code."""
    return name, file(name)


@case
def a_built_in_hook_has_the_layers_of_this_kernel():
    code, log = finish(wrapper("--plugin", "echo", "--", "true"))
    assert code == 0
    layers = f"no capabilities, rlimits, no_new_privs, {landlock()}, seccomp, W^X"
    fact(f"Landlock's version is {landlock_version()}; {layers}")
    assert f"wrapper: sandbox (runner): {layers}\n" in log
    assert 'wrapper: echo: "true" exited with 0' in log
    assert 'wrapper: hook "echo": succeeded' in log


@case
def a_hooks_file_is_compiled_and_run_in_the_layers_of_this_kernel():
    code, log = finish(wrapper("--plugin", file("echo"), "--", "sh", "-c", "exit 3"))
    assert code == 3
    layers = f"no capabilities, rlimits, no_new_privs, {landlock()}, seccomp"
    assert f"wrapper: sandbox (compiler): {layers}, W^X\n" in log
    assert f"wrapper: sandbox (runner): {layers}\n" in log
    assert "wrapper: sandbox (runner, code loaded): W^X\n" in log
    assert 'wrapper: echo: "sh" exited with 3' in log


@case
def a_hook_asks_a_server_where_landlock_and_seccomp_leave_it_one_port():
    sidecar = Sidecar()
    for hook in kinds("istio-quit"):
        options = ("--allow-http", "http://localhost:15020", "--plugin", hook)
        container = Cgroup(f"container-{os.path.basename(hook)}")
        code, log = finish(wrapper(*options, "--", "true", cgroup=container))
        assert code == 0
        assert "asked istio-proxy to quit (200)" in log
        assert sidecar.requests.pop() == "POST /quitquitquit HTTP/1.1"


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


class RunningHook:
    """A hook that waits for a server's response, until it is killed."""

    def __init__(self, hook, *options):
        self.server = socket.create_server(("127.0.0.1", 15020))
        container = Cgroup(f"container-{os.path.basename(hook)}")
        self.wrapper = wrapper("--plugin", hook, *options, "--", "true", cgroup=container)
        self.connection, _ = self.server.accept()
        [self.pid] = [pid for pid in map(int, container.read("cgroup.procs").split()) if pid != self.wrapper.pid]

    def finish(self):
        os.kill(self.pid, signal.SIGKILL)
        assert finish(self.wrapper)[0] == 0
        self.server.close()


@case
def the_kernel_says_that_a_running_hook_has_no_rights_left():
    for hook in map(RunningHook, kinds("istio-quit")):
        # SECCOMP_MODE_FILTER
        expected = {"Seccomp": "2", "NoNewPrivs": "1"}
        expected |= {f"Cap{name}": "0" * 16 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
        found = status(hook.pid)
        assert {name: found[name] for name in expected} == expected
        # The control: wrapper itself.
        found = status(hook.wrapper.pid)
        assert found["Seccomp"] == "0" and found["CapEff"] != "0" * 16
        limits = Path(f"/proc/{hook.pid}/limits").read_text()
        for name, limit in ("Max processes", 0), ("Max open files", 64), ("Max core file size", 0):
            [line] = [line for line in limits.splitlines() if line.startswith(name)]
            assert line.removeprefix(name).split()[:2] == [str(limit)] * 2, line
        hook.finish()


AT_FDCWD, CLONE_THREAD, NOBODY = -100, 0x10000, 0x3FFFFF
READ, WRITE, EXECUTE, PRIVATE_ANONYMOUS = 1, 2, 4, 0x22

# With arguments with which a process without a sandbox either succeeds, or fails without consequences.
FORBIDDEN = [
    ("openat", AT_FDCWD, b"/proc/version\0", os.O_RDONLY),
    ("openat", AT_FDCWD, b"/run/created\0", os.O_CREAT | os.O_WRONLY, 0o600),
    ("memfd_create", b"file\0"),
    ("execve", b"/nowhere\0"),
    ("clone", CLONE_THREAD),
    ("kill", 1, 0),
    ("ptrace", inject.PTRACE_ATTACH, NOBODY),
    ("prlimit64", 1, 0, 0, bytes(16)),
    ("mmap", 0, 4096, READ | EXECUTE, PRIVATE_ANONYMOUS, -1),
    ("socket", socket.AF_UNIX, socket.SOCK_STREAM),
    ("socket", socket.AF_NETLINK, socket.SOCK_RAW),
    ("socket", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    ("socket", socket.AF_INET, socket.SOCK_DGRAM),
]
NEEDED = [
    ("clock_gettime", 1, bytes(16)),
    ("mmap", 0, 4096, READ | WRITE, PRIVATE_ANONYMOUS, -1),
    ("socket", socket.AF_INET, socket.SOCK_STREAM),
]


@case
def the_kernel_refuses_a_running_hook_what_no_hook_needs():
    inject.need()
    bystander = subprocess.Popen(SLEEPER)
    until(lambda: status(bystander.pid)["State"].startswith("S"))
    for hook in map(RunningHook, kinds("istio-quit")):
        with inject.Tracee(hook.pid) as hooks, inject.Tracee(bystander.pid) as others:
            for call in FORBIDDEN:
                results = hooks.call(*call), others.call(*call)
                print(*call, *results)
                # memfd_create(2) is refused as a call that the kernel lacks.
                assert results[0] == ("ENOSYS" if call[0] == "memfd_create" else "EPERM")
                assert results[1] in (None, "ENOENT", "EINVAL", "ESRCH")
            for call in NEEDED:
                assert hooks.call(*call) is None
        hook.finish()


@case
def landlock_lets_a_hook_connect_to_its_port_alone():
    inject.need()
    hook = RunningHook("istio-quit", "--allow-http", "http://localhost:15020")
    with inject.Tracee(hook.pid) as process:
        results = []
        for port in 15020, 9:
            address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
            assert process.call("socket", socket.AF_INET, socket.SOCK_STREAM) is None
            results.append(process.call("connect", process.result, address, len(address)))
    hook.finish()
    print(results)
    # With the kernel's version 3 or none, the policy alone denies it.
    assert results == [None, "EACCES" if landlock_version() >= WITH_PORTS else "ECONNREFUSED"]


@case
def as_pid_1_wrapper_forwards_signals_reaps_orphans_and_exits_with_the_code():
    command = """if True:
        import os, signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        reading, writing = os.pipe()
        if os.fork() == 0:
            orphan = os.fork()
            if orphan == 0:
                signal.pause()
            os.write(writing, str(orphan).encode())
            os._exit(0)
        os.wait()
        orphan = int(os.read(reading, 10))
        while "PPid:\\t1\\n" not in open(f"/proc/{orphan}/status").read():
            time.sleep(0.01)
        os.kill(orphan, signal.SIGKILL)
        while os.path.exists(f"/proc/{orphan}"):
            time.sleep(0.01)
        print("reaped", flush=True)
        # wrapper is PID 1; this signal comes back.
        os.kill(1, signal.SIGUSR1)
        signal.sigwait([signal.SIGUSR1])
        print("forwarded", flush=True)
        os._exit(42)"""
    namespaces = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
    options = ("--plugin", "echo", "--", sys.executable, "-S", "-c", command)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen((*namespaces, *ORDINARY, cases.WRAPPER, *options), **streams)
    output, log = running.communicate()
    print(output, log)
    assert (running.returncode, output) == (42, "reaped\nforwarded\n")
    assert "exited with 42" in log
