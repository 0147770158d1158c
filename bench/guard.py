"""Fails when wrapper has grown: sizes, threads, memory and instructions, which no busy machine changes.

    bench/guard.py WRAPPER COMMAND        bench/command.c, compiled

The bounds stand a little above what bench/results.md has, so that a change of some per cent needs no ceremony. Memory
is read when the process is at rest: how long it takes until then is the machine's, how much it then has is ours.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from processes import children, running, settle, smaps, status, until

HOOKS = pathlib.Path(__file__).resolve().parent.parent / "hooks/dist"

# Of which 0.1 MB tell in words what is wrong with a certificate, a component or a command.
# 0.45 MB are the code of the built-in hooks, which need not be compiled in a pod, and the witness.
BINARY = 10_800_000  # bytes
HOOK = 16_000  # bytes
# Those that ask a sidecar to quit keep apart what a busy, a dying, a late and an absent one do, and say so.
QUITTER = 27_200  # bytes
QUITTERS = {
    "cloudsql-quit",
    "consul-shutdown",
    "dapr-shutdown",
    "envoy-quit",
    "istio-quit",
    "linkerd-shutdown",
    "vault-quit",
}
NOTIFIER = 37_000  # bytes: hooks that send a body and fill in texts, or ask all sidecars at once
NOTIFIERS = {"http", "pushgateway", "sidecars"}
TRACER = 51_000  # bytes: two requests, and twenty variables of a specification, which its description names
PRIVATE_DIRTY = 108  # kB; the stack is the kernel's to place, and its pages vary by two or three
RSS = 2048  # kB
INSTRUCTIONS = 240_000  # of the supervisor from its start to its end, around `true`

failures = 0


def guard(what, found, most):
    global failures
    verdict = "ok" if found <= most else "TOO MUCH"
    failures += found > most
    print(f"{verdict:8} {what}: {found:,} of at most {most:,}")


def instructions(wrapper):
    """As valgrind counts them, in the supervisor alone; nothing where there is no valgrind."""
    if not shutil.which("valgrind"):
        return None
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", wrapper, "true"]
    output = subprocess.run(argv, capture_output=True, text=True).stderr
    counts = [int(count) for count in re.findall(r"Collected : (\d+)", output)]
    return max(counts, default=None)


def guard_process(what, pid):
    guard(f"{what}: threads", int(status(pid, "Threads")), 1)
    guard(f"{what}: private dirty memory, kB", smaps(pid)["Private_Dirty"], PRIVATE_DIRTY)
    guard(f"{what}: resident memory, kB", smaps(pid)["Rss"], RSS)


def guard_witness(wrapper, command):
    """A witness, and a wrapper that is registered with it."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [wrapper, "--plugin", "istio-quit", "--witness", f"{folder}/socket"]
        witness = subprocess.Popen(argv)
        try:
            with running([*argv, "--"], command) as pid:
                until(lambda: not children(witness.pid), "the witness has compiled its hook")
                settle(witness.pid)
                guard_process("a witness", witness.pid)
                guard_process("a wrapper that has a witness", pid)
        finally:
            witness.kill()
            witness.wait()


def main():
    wrapper, command = sys.argv[1:]
    guard("the program, bytes", os.path.getsize(wrapper), BINARY)
    for hook in sorted(HOOKS.glob("*.wasm")):
        bounds = {**dict.fromkeys(QUITTERS, QUITTER), **dict.fromkeys(NOTIFIERS, NOTIFIER), "otlp": TRACER}
        most = bounds.get(hook.stem, HOOK)
        guard(f"{hook.name}, bytes", hook.stat().st_size, most)
    # What a linker has just written counts as the process's own until it is on disk.
    os.sync()
    for argv in ([wrapper], [wrapper, "--plugin", "istio-quit"], [wrapper, *["--plugin", "echo"] * 10]):
        what = f"while the command sleeps, {len(argv) // 2} hooks"
        with running([*argv, "--"], command) as pid:
            guard_process(what, pid)
    guard_witness(wrapper, command)
    count = instructions(wrapper)
    if count is None:
        print("SKIPPED: instructions are not counted, there is no valgrind")
    else:
        guard("`wrapper true`: instructions", count, INSTRUCTIONS)
    sys.exit(failures > 0)


main()
