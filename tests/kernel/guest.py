"""The init of the guest that tests/kernel/run and tests/kernel/machines boot: guest.py WRAPPER [TEST…]. It mounts the
file systems, runs the cases one after another, each in a process of its own with nothing left over from the one before,
and powers off. Its variables: REPORT is the file for the results, FOLDER that file's folder if it is the host's, and
SLOWNESS how much longer everything may take than on a processor."""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

# Seconds for one case.
LIMIT = 60 * int(os.environ.get("SLOWNESS", "1"))
LOG = "/run/case.log"
# What a case's process exits with.
OK, FAILED, NOT_HERE = range(3)
# reboot(2)
POWER_OFF = 0x4321FEDC
# netdevice(7)
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def mount(kind, folder, *options):
    subprocess.run(["mount", "-t", kind, *options, kind, folder], check=True)


def prepare():
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    # As systemd mounts it.
    mount("cgroup2", "/sys/fs/cgroup", "-o", "nsdelegate")
    mount("tmpfs", "/run")
    if folder := os.environ.get("FOLDER"):
        mount("hostfs", folder, "-o", folder)
    else:
        mount("devtmpfs", "/dev")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as control:
        control.write("+memory")


def report(**line):
    with open(os.environ["REPORT"], "a") as file:
        file.write(json.dumps(line) + "\n")


def run(case):
    """Runs a case in a child, and reports how it ended and what it printed."""
    began = time.monotonic()
    output = open(LOG, "wb+", buffering=0)
    child = os.fork()
    if child == 0:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        # Its default action ends the case.
        signal.alarm(LIMIT)
        try:
            case()
            code = OK
        except NotImplementedError as why:
            print(f"fact: {why}")
            code = NOT_HERE
        except BaseException:
            traceback.print_exc()
            code = FAILED
        sys.stdout.flush()
        os._exit(code)
    while True:
        ended, status = os.wait()
        if ended == child:
            break
    seconds = time.monotonic() - began
    clean()
    output.seek(0)
    printed = output.read().decode(errors="replace")
    if os.WIFSIGNALED(status):
        printed += f"killed by {signal.Signals(os.WTERMSIG(status)).name} (SIGALRM: it took over {LIMIT} s)\n"
    verdict = {OK: "ok", NOT_HERE: "-"}.get(os.waitstatus_to_exitcode(status), "FAILED")
    report(case=case.__name__, verdict=verdict, seconds=seconds, output=printed)


def clean():
    """Kills and reaps every other process, and removes the cgroups."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    for folder, children, _ in os.walk("/sys/fs/cgroup", topdown=False):
        for child in children:
            os.rmdir(os.path.join(folder, child))


def main():
    prepare()
    # Not before there are the file systems.
    import cases
    import layers  # adds to the cases

    cases.WRAPPER, tests = sys.argv[1], sys.argv[2:]
    # hostfs forgets a file's pages when no process has it open, and a cgroup is charged for those that it reads again.
    kept = open(cases.WRAPPER, "rb")
    kept.read()
    for case in cases.CASES:
        if not tests or any(test in case.__name__ for test in tests):
            run(case)
    report(complete=f"Linux {os.uname().release}")
    os.sync()


try:
    main()
except BaseException:
    traceback.print_exc()
finally:
    ctypes.CDLL(None).reboot(POWER_OFF)
