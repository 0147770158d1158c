"""What wrapper does on the kernels that tests/kernel/run and tests/kernel/machines boot, and their behaviour that it
depends on. Each case is a function that raises if it fails. Lines that begin with `fact: ` are shown even if it
passes."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from signal import SIGKILL

from cgroup import Cgroup

# guest.py sets it.
WRAPPER = None
CASES = []
MIB = 1 << 20

# tail keeps the end of a line that never ends: it grows until it is killed.
EATER = ("tail", "/dev/zero")
# Starts a command as a container's runtime does by default: as root, but without CAP_SYS_RESOURCE.
ORDINARY = ("setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource")
SLEEPER = ("sleep", "infinity")


def case(function):
    CASES.append(function)
    return function


def fact(text):
    print(f"fact: {text}")


def need(cgroup, file, since):
    """Ends a case that is about something that older kernels lack: it has then neither passed nor failed."""
    if not cgroup.has(file):
        raise NotImplementedError(f"no {file} before Linux {since}")


class Sidecar:
    """An HTTP server where `istio-quit` expects Istio's agent. It records each request's first line."""

    def __init__(self, port=15020):
        self.requests = requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                requests.append(self.requestline)
                self.send_response(200)
                self.end_headers()

        server = HTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Termination:
    """A file for the termination message, and what it says in the end."""

    def __init__(self):
        self.path = "/run/termination-log"
        open(self.path, "w").close()
        self.options = ("--termination-log", self.path)

    def read(self):
        with open(self.path) as file:
            text = file.read()
        print(text)
        return json.loads(text)


def finish(process):
    """Waits for a wrapper that was started with its log in a pipe, prints the log, and returns the code and the log."""
    log = process.communicate()[1]
    print(log)
    return process.returncode, log


def wrapper(*arguments, cgroup=None, oom_score_adj=0, starter=ORDINARY):
    """Starts wrapper, with the log that finish() returns."""
    cgroup = cgroup or Cgroup("container")
    # A busy machine makes a slow kernel slower.
    command = (*starter, WRAPPER, "--log", "debug", "--plugin-timeout", "30s", *arguments)
    return cgroup.start(*command, oom_score_adj=oom_score_adj, stderr=subprocess.PIPE, text=True)


### wrapper


@case
def istio_quit_asks_a_server_on_loopback():
    sidecar = Sidecar()
    code, log = finish(wrapper("--plugin", "istio-quit", "--", "sh", "-c", "exit 3"))
    assert code == 3
    assert "asked istio-proxy to quit (200)" in log
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]


@case
def a_hook_runs_when_the_oom_killer_killed_the_command():
    sidecar = Sidecar()
    container = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 0})
    code, log = finish(wrapper("--plugin", "istio-quit", "--", *EATER, cgroup=container))
    assert code == 128 + SIGKILL
    assert "wrapper: the command was killed by signal 9" in log
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]
    assert container.count("memory.events", "oom_kill") >= 1
    assert container.group_kills() in (0, None)


@case
def no_hook_runs_when_the_oom_killer_killed_the_whole_container():
    sidecar = Sidecar()
    container = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    code, log = finish(wrapper("--plugin", "istio-quit", "--", *EATER, cgroup=container))
    assert code == -SIGKILL
    assert "the command was killed" not in log
    assert container.group_kills() in (1, None)
    # Processes leave their cgroup a moment after their files are closed.
    while container.count("cgroup.events", "populated"):
        time.sleep(0.01)
    assert sidecar.requests == []


@case
def a_witness_in_another_container_runs_the_hook_when_the_whole_container_was_killed():
    sidecar = Sidecar()
    options = ("--witness", "/run/witness", "--plugin", "istio-quit")
    witness = wrapper(*options, cgroup=Cgroup("witness", {"memory.max": 64 * MIB, "memory.oom.group": 1}))
    container = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    code, log = finish(wrapper(*options, "--", *EATER, cgroup=container))
    assert code == -SIGKILL
    assert "registered with the witness" in log
    assert container.group_kills() in (1, None)
    while not sidecar.requests:
        time.sleep(0.01)
    # As the kubelet does when all other containers have ended. What the witness has begun, it completes.
    witness.terminate()
    code, log = finish(witness)
    assert code == 0
    assert 'wrapper: container "" was killed; hooks left to run: 1' in log
    assert 'wrapper: hook "istio-quit": succeeded' in log
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]
    assert not os.path.exists("/run/witness")


@case
def with_cap_sys_resource_wrapper_survives_its_container_and_the_command_does_not():
    sidecar = Sidecar()
    container = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    command = ("sh", "-c", f"cat /proc/self/oom_score_adj >&2; exec {' '.join(EATER)}")
    options = {"cgroup": container, "oom_score_adj": 321, "starter": ()}
    code, log = finish(wrapper("--plugin", "istio-quit", "--", *command, **options))
    assert code == 128 + SIGKILL
    assert "\n321\n" in log
    assert "wrapper: the command was killed by signal 9" in log
    assert container.group_kills() in (1, None)
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]


@case
def in_a_user_namespace_the_capability_is_not_enough_and_the_command_runs():
    enter_user_namespace = ("unshare", "--user", "--map-root-user")
    code, log = finish(wrapper("--", "cat", "/proc/self/oom_score_adj", starter=enter_user_namespace))
    assert code == 0
    assert "can kill wrapper together with the command: Permission denied" in log


@case
def without_a_cgroup_of_the_command_the_count_of_the_container_says_that_memory_was_short():
    termination = Termination()
    limits = {"memory.max": 64 * MIB, "memory.oom.group": 0}
    options = ("--log-format", "json", *termination.options, "--")
    code, log = finish(wrapper(*options, *EATER, cgroup=Cgroup("container", limits)))
    assert (code, termination.read()["cause"]) == (128 + SIGKILL, "out-of-memory")
    termination = Termination()
    killed = ("sh", "-c", "kill -9 $$")
    code, log = finish(wrapper(*options, *killed, cgroup=Cgroup("another", limits)))
    assert code == 128 + SIGKILL and "cause" not in termination.read()


### wrapper with a cgroup for the command


def container(cgroup, *options, user=()):
    """Starts wrapper as a runtime does in a container whose cgroups are writable: as PID 1, with its own cgroup as the
    root of its cgroup namespace. What starts it is outside."""
    mounted = 'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    inside = f'echo 0 >{cgroup.folder}/cgroup.procs && exec unshare --cgroup -- sh -c "$0" sh "$@"'
    namespaces = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--mount")
    command = (*namespaces, "sh", "-c", inside, mounted, *ORDINARY, *user)
    wrapper = (WRAPPER, "--log", "debug", "--log-format", "json", "--plugin-timeout", "30s", *options)
    return subprocess.Popen((*command, *wrapper), stderr=subprocess.PIPE, text=True)


def until(condition):
    while not condition():
        time.sleep(0.01)


def spared(command=EATER, limits={}, reserve="16MiB", pod=None):
    """Runs wrapper in a container of 64 MiB that is killed as a whole; returns what is known in the end."""
    sidecar, termination = Sidecar(), Termination()
    limits = {"memory.max": 64 * MIB, "memory.oom.group": 1, **limits}
    cgroup = pod.child("container", limits) if pod else Cgroup("container", limits)
    options = ("--memory-reserve", reserve, "--plugin", "istio-quit", *termination.options)
    code, log = finish(container(cgroup, *options, "--", *command))
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]
    return code, log, termination.read(), cgroup


@case
def in_a_writable_cgroup_the_command_alone_is_killed_and_hooks_know_why():
    code, log, message, cgroup = spared()
    assert code == 128 + SIGKILL
    assert message["cause"] == "out-of-memory"
    # The container's limit without the reserve. Without memory.peak it is the command's, with pages of its files.
    assert abs(message["peak_memory"] - 48 * MIB) < 2 * MIB
    assert message["cpu_time"] > 0
    assert "the OOM killer spares wrapper: the command has the cgroup /sys/fs/cgroup/command-1, limited to 48" in log
    assert cgroup.group_kills() in (1, None)
    assert cgroup.group_kills("memory.events.local") in (0, None)


@case
def without_a_reserve_the_command_may_use_all_memory_of_the_container_and_is_killed_alone_too():
    code, log, message, cgroup = spared(reserve="0")
    assert (code, message["cause"]) == (128 + SIGKILL, "out-of-memory")
    assert abs(message["peak_memory"] - 64 * MIB) < 8 * MIB
    assert "limited to" not in log
    fact(f"of 64 MiB the command had {message['peak_memory'] / MIB:.1f} MiB")


@case
def the_command_alone_is_killed_where_the_pod_is_out_of_memory():
    pod = Cgroup("pod", {"memory.max": 48 * MIB})
    pod.write("cgroup.subtree_control", "+memory")
    code, log, message, cgroup = spared(reserve="0", pod=pod)
    assert (code, message["cause"]) == (128 + SIGKILL, "out-of-memory")


@case
def the_commands_children_are_killed_with_it_as_the_container_would_have_been():
    eater = ("sh", "-c", f"{' '.join(EATER)}; exit 3")
    code, log, message, cgroup = spared(command=eater)
    assert (code, message["cause"]) == (128 + SIGKILL, "out-of-memory")


@case
def where_single_processes_are_killed_the_command_survives_the_end_of_its_child():
    eater = ("sh", "-c", f"{' '.join(EATER)}; exit 3")
    code, log, message, cgroup = spared(command=eater, limits={"memory.oom.group": 0})
    assert (code, message["cause"]) == (3, "out-of-memory")


@case
def a_command_that_succeeds_had_enough_memory_although_a_child_was_killed():
    eater = ("sh", "-c", f"{' '.join(EATER)}; exit 0")
    code, log, message, cgroup = spared(command=eater, limits={"memory.oom.group": 0})
    assert code == 0 and "cause" not in message


@case
def hooks_have_their_reserve_while_files_of_the_command_fill_its_memory():
    fill = ("sh", "-c", f"mount -t tmpfs -o size=1G tmpfs /mnt && exec cat /dev/zero >/mnt/file")
    code, log, message, cgroup = spared(command=fill)
    assert (code, message["cause"]) == (128 + SIGKILL, "out-of-memory")


@case
def without_a_limit_of_the_container_there_is_none_of_the_command():
    code, log, message, cgroup = spared(limits={"memory.max": "max"}, command=("sh", "-c", "exit 7"))
    assert code == 7 and "cause" not in message and "limited to" not in log
    assert 0 < message["peak_memory"] < 16 * MIB


@case
def a_container_without_memory_for_the_reserve_runs_its_command():
    code, log, message, cgroup = spared(reserve="64MiB", command=("true",))
    assert code == 0
    assert "the container has 64.0 MiB of memory, no more than --memory-reserve" in log


@case
def what_the_command_leaves_behind_is_killed_with_all_of_its_cgroup():
    cgroup = Cgroup("container", {"memory.max": 64 * MIB})
    need(cgroup, "cgroup.kill", "5.14")
    command = ("sh", "-c", "trap '' TERM; sleep 600 & until [ -e /run/go ]; do sleep 0.1; done; exit 3")
    options = ("--memory-reserve", "0", "--leftovers", "stop", "--leftovers-timeout", "1s", "--plugin", "echo")
    running = container(cgroup, *options, "--", *command)
    child = cgroup.existing("command-1")
    until(lambda: child.exists() and child.read("cgroup.procs"))
    # wrapper does not see it among its descendants, as one that forks and exits all the time.
    hidden = child.start(*SLEEPER)
    open("/run/go", "w").close()
    code, log = finish(running)
    assert code == 3
    assert "1 process (sleep) that the command left behind did not exit within --leftovers-timeout; killing them" in log
    assert hidden.wait() == -SIGKILL
    assert '\\"sh\\" exited with 3' in log


@case
def a_user_who_may_not_change_memory_oom_group_has_the_reserve_alone():
    # As systemd delegates it to a user.
    cgroup = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    for file in ("", "cgroup.procs", "cgroup.subtree_control"):
        os.chown(f"{cgroup.folder}/{file}", 1000, 1000)
    user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    sidecar = Sidecar()
    options = ("--memory-reserve", "16MiB", "--plugin", "istio-quit")
    code, log = finish(container(cgroup, *options, "--", *EATER, user=user))
    assert code == 128 + SIGKILL
    assert "unless the container reaches its own limit: the command has the cgroup /sys/fs/cgroup/command-1" in log
    assert "cannot write /sys/fs/cgroup/memory.oom.group: Permission denied" in log
    assert sidecar.requests == ["POST /quitquitquit HTTP/1.1"]


@case
def a_wrapper_that_is_not_pid_1_leaves_no_cgroup_behind():
    outer = Cgroup("outer", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    bystander = outer.start(*SLEEPER)
    for _ in range(2):
        command = ("sh", "-c", "cat /proc/self/cgroup >&2")
        code, log = finish(wrapper("--memory-reserve", "16MiB", "--plugin", "echo", "--", *command, cgroup=outer))
        assert code == 0
        assert "\n0::/outer/command-" in log
    until(lambda: outer.read("cgroup.procs") == str(bystander.pid))
    assert [name for name in os.listdir(outer.folder) if os.path.isdir(f"{outer.folder}/{name}")] == []
    assert outer.read("memory.oom.group") == "1"
    assert outer.read("cgroup.subtree_control") == ""


@case
def a_wrapper_runs_where_another_one_was_killed_and_its_command_was_not():
    outer = Cgroup("outer", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    # A shell that starts one after the other; it is left in the first one's cgroup.
    wrapper = f"{WRAPPER} --log debug --memory-reserve 16MiB --"
    script = f"{wrapper} sleep 600 >/dev/null 2>&1 & echo $!; read line; exec {wrapper} cat /proc/self/cgroup"
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    shell = outer.start("sh", "-c", script, **streams)
    first = int(shell.stdout.readline())
    left = outer.existing(f"command-{first}")
    until(lambda: left.exists() and left.read("cgroup.procs"))
    os.kill(first, SIGKILL)
    output = shell.communicate("\n")[0]
    print(output)
    assert shell.returncode == 0
    # Inside of what the first one has made.
    assert output == f"0::/outer/wrapper-{first}/command-{shell.pid}\n"
    assert left.read("cgroup.procs"), "the first one's command still runs"


@case
def a_wrapper_that_is_the_command_of_another_one_spares_itself():
    inner = (WRAPPER, "--memory-reserve", "4MiB", "--plugin", "echo", "--", *EATER)
    code, log, message, cgroup = spared(command=inner)
    assert code == 128 + SIGKILL
    # The inner one ran its hook, and then exited with the code of its command.
    assert 'wrapper: echo: "tail" was killed by signal 9' in log
    assert abs(message["peak_memory"] - 44 * MIB) < 4 * MIB


@case
def the_commands_limit_follows_a_resize_of_the_container():
    # Two at once: wrapper looks every ten seconds.
    began, resized = time.monotonic(), []
    for name, limit, expected in ("larger", 128 * MIB, 112 * MIB), ("unlimited", "max", "max"):
        cgroup = Cgroup(name, {"memory.max": 64 * MIB})
        running = container(cgroup, "--memory-reserve", "16MiB", "--", *SLEEPER)
        child = cgroup.existing("command-1")
        until(lambda: child.exists() and child.read("cgroup.procs"))
        assert child.read("memory.max") == str(48 * MIB)
        cgroup.write("memory.max", limit)
        resized.append((running, child, str(expected)))
    for running, child, expected in resized:
        until(lambda: child.read("memory.max") == expected)
        fact(f"the command's memory.max is {expected} after {time.monotonic() - began:.1f} s")
        os.kill(int(child.read("cgroup.procs").splitlines()[0]), SIGKILL)
        code, log = finish(running)
        assert code == 128 + SIGKILL and "out of memory" not in log


@case
def where_no_cgroup_can_be_made_the_command_runs_and_a_warning_says_why():
    def warning(starter, cgroup):
        code, log = finish(wrapper("--memory-reserve", "16MiB", "--", "true", cgroup=cgroup, starter=starter))
        assert code == 0 and os.listdir(cgroup.folder) == files
        [line] = [line for line in log.splitlines() if "--memory-reserve" in line]
        return line.removeprefix("wrapper: --memory-reserve has no effect: ")

    def mounted(*options):
        command = " ".join(("mount", *options, "/sys/fs/cgroup"))
        return ("unshare", "--mount", "sh", "-c", f'{command} && exec "$@"', "sh", *ORDINARY)

    outer = Cgroup("outer")
    files = os.listdir(outer.folder)
    assert warning(mounted("-o", "remount,bind,ro"), outer).endswith(": Read-only file system")
    assert warning(mounted("-t", "tmpfs", "tmpfs"), outer) == "/sys/fs/cgroup is not cgroup v2"
    user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    assert warning(user, outer).endswith(": Permission denied")
    # `memory` is delegated from the root alone.
    inner = outer.child("inner")
    files = os.listdir(inner.folder)
    assert warning(ORDINARY, inner) == "/sys/fs/cgroup/outer/inner has no memory controller"
    command = (*ORDINARY, WRAPPER, "--memory-reserve", "0", "true")
    code, log = finish(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    assert (code, log) == (0, "wrapper: --memory-reserve has no effect: wrapper is in the root cgroup\n")


### The kernel: out of memory


@case
def a_child_cgroup_confines_an_oom_kill():
    container = Cgroup("container", {"memory.max": 128 * MIB, "memory.oom.group": 1})
    container.write("cgroup.subtree_control", "+memory")
    command = container.child("command", {"memory.max": 32 * MIB, "memory.oom.group": 1})
    beside = container.child("beside")
    sleeper, bystander = command.start(*SLEEPER), beside.start(*SLEEPER)
    eater = command.start(*EATER)
    assert (eater.wait(), sleeper.wait()) == (-SIGKILL, -SIGKILL)

    assert command.group_kills() in (1, None)
    kills = command.count("memory.events", "oom_kill")
    assert kills >= 2
    assert container.count("memory.events", "oom_kill") == kills, "the parent's count includes its children's"
    assert container.count("memory.events.local", "oom_kill") == 0
    assert beside.count("memory.events", "oom_kill") == 0
    assert beside.read("cgroup.procs") == str(bystander.pid)

    fact(f"memory.events has oom_kill {kills} for 2 processes")
    if command.has("memory.peak"):
        fact(f"memory.max {32 * MIB}, memory.peak after the OOM kill {command.read('memory.peak')}")
    fact(f"cpu.stat without the cpu controller: {' '.join(command.read('cpu.stat').split())}")
    if beside.has("cgroup.kill"):
        beside.write("cgroup.kill", 1)
        assert bystander.wait() == -SIGKILL


@case
def an_oom_kill_by_the_limit_of_the_parent_takes_all_of_its_children():
    container = Cgroup("container", {"memory.max": 32 * MIB, "memory.oom.group": 1})
    container.write("cgroup.subtree_control", "+memory")
    command, beside = container.child("command", {"memory.oom.group": 1}), container.child("beside")
    bystander, eater = beside.start(*SLEEPER), command.start(*EATER)
    assert (eater.wait(), bystander.wait()) == (-SIGKILL, -SIGKILL)
    assert container.group_kills() in (1, None)


@case
def a_cgroup_must_be_empty_before_it_can_have_limited_children():
    container = Cgroup("container")
    process = container.start(*SLEEPER)
    inner = container.child("inner")
    try:
        container.write("cgroup.subtree_control", "+memory")
        raise AssertionError("memory was delegated from a cgroup with processes")
    except OSError as error:
        assert error.errno == errno.EBUSY
    inner.write("cgroup.procs", process.pid)
    container.write("cgroup.subtree_control", "+memory")
    assert inner.read("memory.max") == "max"
    # And now none can join the parent any more.
    try:
        container.write("cgroup.procs", process.pid)
        raise AssertionError("a process joined a cgroup that delegates memory")
    except OSError as error:
        assert error.errno == errno.EBUSY


@case
def a_container_can_change_memory_oom_group_of_its_own_cgroup_but_not_memory_max():
    # Its cgroup namespace's root is the container's cgroup, where it can write as root.
    inside = """if True:
        import errno, os, subprocess
        os.mkdir("/run/cgroup")
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/run/cgroup"], check=True)
        os.chdir("/run/cgroup")

        def write(file, text):
            try:
                with open(file, "w") as opened:
                    opened.write(text)
                result = "written"
            except OSError as error:
                result = errno.errorcode[error.errno]
            print(f"{file}: {result}")

        write("memory.max", "max")
        write("memory.oom.group", "0")
        os.mkdir("command")
        write("cgroup.subtree_control", "+memory")
        write("command/cgroup.procs", "0")
        write("cgroup.subtree_control", "+memory")
        write("command/memory.max", "1000000")
        write("command/memory.oom.group", "1")"""
    container = Cgroup("container", {"memory.max": 64 * MIB, "memory.oom.group": 1})
    command = ("unshare", "--cgroup", "--mount", sys.executable, "-S", "-c", inside)
    output = container.start(*command, stdout=subprocess.PIPE, text=True).communicate()[0]
    print(output)
    assert output.splitlines() == [
        "memory.max: EPERM",
        "memory.oom.group: written",
        "cgroup.subtree_control: EBUSY",
        "command/cgroup.procs: written",
        "cgroup.subtree_control: written",
        "command/memory.max: written",
        "command/memory.oom.group: written",
    ]
    assert container.read("memory.oom.group") == "0"


@case
def oom_score_adj_minus_1000_survives_memory_oom_group():
    container = Cgroup("container", {"memory.max": 32 * MIB, "memory.oom.group": 1})
    spared = container.start(*SLEEPER, oom_score_adj=-1000)
    almost = container.start(*SLEEPER, oom_score_adj=-999)
    eater = container.start(*EATER)
    assert (eater.wait(), almost.wait()) == (-SIGKILL, -SIGKILL)
    assert container.group_kills() in (1, None)
    assert container.read("cgroup.procs") == str(spared.pid)


@case
def a_process_with_oom_score_adj_minus_1000_spins_at_the_limit_when_it_is_alone():
    container = Cgroup("container", {"memory.max": 16 * MIB, "memory.oom.group": 1})
    # It touches the memory itself. Where the kernel does, as in read(2) into new pages, the call may fail with EFAULT.
    touch = f"""if True:
        import mmap
        memory = mmap.mmap(-1, {64 * MIB}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for page in range(0, {64 * MIB}, mmap.PAGESIZE):
            memory[page] = 1"""
    eater = container.start(sys.executable, "-S", "-c", touch, oom_score_adj=-1000)
    # Each of these is an OOM with no process that may be killed.
    while container.count("memory.events", "oom") < 100:
        time.sleep(0.05)
    assert container.count("memory.events", "oom_kill") == 0
    assert eater.poll() is None
    # Once there is memory, it continues.
    container.write("memory.max", 20 * MIB)
    while int(container.read("memory.current")) <= 16 * MIB:
        time.sleep(0.05)


@case
def oom_score_adj_can_be_lowered_with_cap_sys_resource_alone():
    lower, raised = ("choom", "-n", "-1000", "--"), ("choom", "-n", "0", "--")
    enter_user_namespace = ("unshare", "--user", "--map-root-user")
    show = ("cat", "/proc/self/oom_score_adj")

    def output(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip()

    refused = "choom: failed to set score adjust value: Permission denied"
    assert output(*lower, *show) == "-1000"
    assert output(*ORDINARY, *lower, *show) == refused
    assert output(*enter_user_namespace, *lower, *show) == refused, "its capabilities do not count"
    assert output(*lower, *ORDINARY, *show) == "-1000", "it stays without the capability"
    assert output(*lower, *ORDINARY, *raised, *lower, *show) == "-1000", "it may be lowered again to where it was"
    assert output(*lower, *raised, *ORDINARY, *lower, *show) == refused, "but not if it was raised with the capability"


@case
def memory_peak_is_what_was_touched():
    touch = f"""if True:
        import mmap
        read = lambda file: int(open("/sys/fs/cgroup/container/" + file).read())
        memory = mmap.mmap(-1, {16 * MIB}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        before = read("memory.current")
        for page in range(0, {16 * MIB}, mmap.PAGESIZE):
            memory[page] = 1
        memory.close()
        print(read("memory.peak") - before, read("memory.current") - before)"""
    container = Cgroup("container")
    need(container, "memory.peak", "5.19")
    output = container.start(sys.executable, "-S", "-c", touch, stdout=subprocess.PIPE, text=True).communicate()[0]
    peak, left = map(int, output.split())
    fact(f"touched {16 * MIB}: memory.peak grew by {peak}, and {left} is still counted after munmap")
    # A CPU charges 64 pages in advance.
    assert abs(peak - 16 * MIB) < MIB
    try:
        container.write("memory.peak", 0)
        fact("memory.peak can be reset (Linux 6.12)")
    except OSError as error:
        fact(f"memory.peak cannot be reset: {error.strerror}")


### The kernel: two containers of a pod, with a socket in a folder that both have


LISTEN = """if True:
    import socket, struct, sys
    listener = socket.socket(socket.AF_UNIX)
    # Sockets that it accepts inherit this.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    listener.bind(sys.argv[1].replace("@", chr(0)))
    listener.listen()
    print("listening", flush=True)
    peer, _ = listener.accept()
    print("SO_PEERCRED", *struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), flush=True)
    _, [(_, _, credentials)], _, _ = peer.recvmsg(1, 100)
    print("SCM_CREDENTIALS", *struct.unpack("3i", credentials), flush=True)
    print("read", peer.recv(1), flush=True)"""

CONNECT = """if True:
    import os, signal, socket, sys
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1].replace("@", chr(0)))
    peer.send(b"x")
    print("connected", os.getpid(), flush=True)
    signal.pause()"""

CONTAINER = ("unshare", "--pid", "--mount", "--fork", "--kill-child=SIGKILL")


def meet(address, listener=CONTAINER, connector=CONTAINER):
    """Connects two processes, kills the one that connected, and returns the credentials that the other one got."""

    def start(container, program):
        command = (*container, sys.executable, "-S", "-c", program, address)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return process, lambda: process.stdout.readline().strip()

    _, listened = start(listener, LISTEN)
    assert listened() == "listening"
    connecting, connected = start(connector, CONNECT)
    pid = connected().removeprefix("connected ")
    seen = listened(), listened()
    connecting.kill()
    assert listened() == "read b''"
    fact(f"{address}: the peer, whose own PID is {pid}, has {seen[0]} and {seen[1]} (PID, UID, GID); EOF after SIGKILL")
    return seen


@case
def a_peer_in_another_pid_namespace_has_no_pid_but_its_end_is_seen():
    os.mkdir("/run/shared")
    for address in "/run/shared/socket", "@abstract":
        assert meet(address) == ("SO_PEERCRED 0 0 0", "SCM_CREDENTIALS 0 0 0")


@case
def a_peer_in_a_child_pid_namespace_has_the_pid_of_the_parents_namespace():
    assert meet("/run/outside", listener=()) != ("SO_PEERCRED 0 0 0", "SCM_CREDENTIALS 0 0 0")
