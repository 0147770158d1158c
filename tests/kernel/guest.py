"""The init of the guest that tests/kernel/run boots: guest.py WRAPPER [TEST…]. It mounts the file systems, runs the
cases one after another, each in a process of its own with nothing left over from the one before, and powers off."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback

FOLDER = os.environ["FOLDER"]
# Seconds for one case.
LIMIT = 60
# reboot(2)
POWER_OFF = 0x4321FEDC


def mount(kind, folder, *options):
    subprocess.run(["mount", "-t", kind, *options, kind, folder], check=True)


def prepare():
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    # As systemd mounts it.
    mount("cgroup2", "/sys/fs/cgroup", "-o", "nsdelegate")
    mount("tmpfs", "/run")
    mount("hostfs", FOLDER, "-o", FOLDER)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as control:
        control.write("+memory")


def run(case):
    """Runs a case in a child, with its output in a file, and returns whether it passed."""
    child = os.fork()
    if child == 0:
        output = os.open(f"{FOLDER}/{case.__name__}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Its default action ends the case.
        signal.alarm(LIMIT)
        try:
            case()
            code = 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    while True:
        ended, status = os.wait()
        if ended == child:
            break
    clean()
    if os.WIFSIGNALED(status):
        with open(f"{FOLDER}/{case.__name__}.log", "a") as output:
            output.write(f"killed by {signal.Signals(os.WTERMSIG(status)).name} (SIGALRM: it took over {LIMIT} s)\n")
    return status == 0


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

    cases.WRAPPER, tests = sys.argv[1], sys.argv[2:]
    # hostfs forgets a file's pages when no process has it open, and a cgroup is charged for those that it reads again.
    kept = open(cases.WRAPPER, "rb")
    kept.read()
    for case in cases.CASES:
        if not tests or any(test in case.__name__ for test in tests):
            began = time.monotonic()
            verdict = "ok" if run(case) else "FAILED"
            with open(f"{FOLDER}/results", "a") as results:
                results.write(f"{verdict} {case.__name__} {time.monotonic() - began:.1f}\n")
    with open(f"{FOLDER}/complete", "w") as complete:
        complete.write(f"Linux {os.uname().release}")
    os.sync()


try:
    main()
except BaseException:
    traceback.print_exc()
finally:
    ctypes.CDLL(None).reboot(POWER_OFF)
