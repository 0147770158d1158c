"""Starting what is measured, and what the kernel says of it."""

import contextlib
import multiprocessing
import os
import pathlib
import socket
import statistics
import threading
import time

OPEN_DEADLINE = 60.0  # seconds in which everything here has to happen, on a machine that compiles beside it
SETTLED = 0.2  # seconds in which nothing changes any more
LOOK = 0.01  # seconds between two looks


def spawn(argv, environment=None):
    """Starts a program with its stdout in a pipe; returns its pid and the pipe's reading end."""
    reading, writing = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_CLOSE, reading),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
    ]
    given = {"PATH": os.environ["PATH"], **(environment or {})}
    pid = os.posix_spawnp(argv[0], argv, given, file_actions=actions)
    os.close(writing)
    return pid, reading


def lines(pipe, count):
    """The next lines of a pipe, as numbers."""
    text = b""
    while text.count(b"\n") < count:
        chunk = os.read(pipe, 4096)
        if not chunk:
            break
        text += chunk
    return [int(line) for line in text.split()]


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def status(pid, field):
    """A field of /proc/PID/status, in kB where it has a unit."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return line.split()[1]
    raise KeyError(field)


def smaps(pid):
    """The fields of /proc/PID/smaps_rollup in kB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        fields = [line.split() for line in file.readlines()[1:]]
    return {field[0].rstrip(":"): int(field[1]) for field in fields}


def until(condition, what):
    deadline = time.monotonic() + OPEN_DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(LOOK)


def settle(pid):
    """Waits until a process sleeps and its memory stays the same.

    A program gives back what its start needed after the command has started, and on a busy machine it may not have
    come to that yet: then it is runnable and not asleep.
    """
    last, since = None, time.monotonic()

    def settled():
        nonlocal last, since
        now = time.monotonic()
        memory = smaps(pid)
        # What is shared with others changes with them.
        found = (status(pid, "State"), memory["Rss"], memory["Private_Dirty"])
        if found != last:
            last, since = found, now
        return found[0] == "S" and now - since >= SETTLED

    until(settled, f"process {pid} is at rest")


@contextlib.contextmanager
def running(argv, command, environment=None):
    """A program whose command runs alone: helpers of its own have ended, and it waits."""
    pid, pipe = spawn([*argv, command, "600000"], environment)
    try:
        lines(pipe, 1)
        until(lambda: len(children(pid)) == 1, f"{argv[0]} is alone with its command")
        # wrapper gives back the memory of its start after a second.
        time.sleep(1.2)
        settle(pid)
        yield pid
    finally:
        for child in children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        os.waitpid(pid, 0)
        os.close(pipe)


def helpers(pid, command):
    """What a program runs beside its command, each with the most memory it has had so far, in kB."""
    found = {}
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):
            if status(child, "Name") != os.path.basename(command)[:15]:
                found[child] = int(status(child, "VmHWM"))
    return found


def peak_beside(argv, command, milliseconds, environment=None):
    """The most memory that a process of the program's own has had beside the command, in kB."""
    pid, pipe = spawn([*argv, command, str(milliseconds)], environment)
    peak = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        # The kernel keeps the peak, so looking often is enough for all but the last moment.
        peak = max([peak, *helpers(pid, command).values()])
        time.sleep(0.0005)
    os.close(pipe)
    return peak


class Cost:
    """What one whole run took: milliseconds, milliseconds of the processor, page faults; of all its processes."""

    def __init__(self, argv, environment=None):
        actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        given = {"PATH": os.environ["PATH"], **(environment or {})}
        before = time.monotonic_ns()
        pid = os.posix_spawnp(argv[0], argv, given, file_actions=actions)
        _, code, usage = os.wait4(pid, 0)
        self.wall = (time.monotonic_ns() - before) / 1e6
        self.cpu = 1000 * (usage.ru_utime + usage.ru_stime)
        self.faults = usage.ru_minflt + usage.ru_majflt
        self.code = os.waitstatus_to_exitcode(code)


@contextlib.contextmanager
def alone():
    """Under a real-time policy, so that what else the machine does takes nothing from what is measured."""
    given = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    yield os.sched_getscheduler(0) == os.SCHED_FIFO
    os.sched_setscheduler(0, *given)


@contextlib.contextmanager
def limited(milliseconds):
    """This process and what it starts in a cgroup that may use so many milliseconds of a processor in each 100; nothing
    where none may be made."""
    version_1 = pathlib.Path("/sys/fs/cgroup/cpu")
    parent = version_1 if version_1.exists() else pathlib.Path("/sys/fs/cgroup")
    group = parent / f"wrapper-bench-{os.getpid()}"
    try:
        group.mkdir()
        if parent == version_1:
            (group / "cpu.cfs_quota_us").write_text(str(1000 * milliseconds))
        else:
            (group / "cpu.max").write_text(f"{1000 * milliseconds} 100000")
    except OSError:
        yield None
        return

    def run(argv, environment=None):
        # A shell joins the group and becomes the program, so that this process is never throttled itself.
        script = f'echo $$ >{group}/cgroup.procs && exec "$@"'
        return Cost(["sh", "-c", script, "sh", *argv], environment)

    yield run
    until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


class Timing:
    """What one run took, in milliseconds, and of the processor in seconds."""

    def __init__(self, argv, command, milliseconds, environment=None):
        before = time.monotonic_ns()
        pid, pipe = spawn([*argv, command, str(milliseconds)], environment)
        _, code, usage = os.wait4(pid, 0)
        after = time.monotonic_ns()
        started, ended = lines(pipe, 2)
        os.close(pipe)
        self.code = os.waitstatus_to_exitcode(code)
        self.start = (started - before) / 1e6
        self.end = (after - ended) / 1e6
        self.whole = (after - before) / 1e6
        self.cpu = usage.ru_utime + usage.ru_stime


class Server:
    """A sidecar that answers 200 at once: in a process of its own, or in a thread when `asked` is to be called first."""

    def __init__(self, asked=None):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://localhost:{self.socket.getsockname()[1]}/quitquitquit"
        self.counter = multiprocessing.Value("i", 0)
        worker = threading.Thread if asked else multiprocessing.Process
        worker(target=self.serve, args=(asked or (lambda: None),), daemon=True).start()

    def requests(self):
        return self.counter.value

    def serve(self, asked):
        while True:
            connection, _ = self.socket.accept()
            with connection:
                connection.recv(65536)
                self.counter.value += 1
                asked()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def summary(values):
    """Median and the middle half's bounds."""
    if len(values) < 4:
        return statistics.median(values), min(values), max(values)
    low, median, high = statistics.quantiles(values, n=4)
    return median, low, high
