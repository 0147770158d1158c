"""Measures wrapper beside other programs and writes the tables of bench/results.md.

    bench/run                                    wrapper, tini, dumb-init, catatonit
    bench/run --peer 'go=/wrapper4 --' --runs 50 and any other program that takes a command

The programs of a table are measured alternately, so that other load on the machine affects all of them alike. A cell is
the median and, in parentheses, the interquartile range.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import tempfile
import time

from processes import (
    Cost, Server, Timing, alone, children, helpers, limited, lines, peak_beside, running, smaps, spawn, status, summary,
)  # fmt: skip

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PEERS = {"tini": ["tini", "-s", "--"], "dumb-init": ["dumb-init", "--"], "catatonit": ["catatonit", "--"]}
OFFICIAL = str(REPOSITORY / "hooks/dist/istio-quit.wasm")
LONG_ENOUGH = 400  # milliseconds: hooks from files are compiled by then
MANY = 200


def table(head, rows):
    text = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join(text + [f"| {' | '.join(map(str, row))} |" for row in rows]) + "\n"


def cell(values, digits=2):
    median, low, high = summary(values)
    return f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratio(values, others):
    return f"{summary(values)[0] / summary(others)[0]:.2f} ×"


def in_turns(runs, measures):
    """Takes each measurement once, and again, and returns the lists of what came out."""
    results = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


class Bench:
    def __init__(self, options):
        self.runs = options.runs
        self.wrapper = [options.wrapper]
        self.command = options.command
        self.floor = options.floor
        self.large = options.large
        self.copies = tempfile.TemporaryDirectory()
        self.file = self.copy("istio-quit")
        peers = {name: argv for name, argv in PEERS.items() if shutil.which(argv[0])}
        for peer in options.peer:
            name, _, argv = peer.partition("=")
            peers[name] = argv.split()
        self.programs = {"wrapper": self.wrapper, **peers}
        self.server = Server()

    def hook(self, name="istio-quit", count=1):
        return [*self.wrapper, *["--plugin", name] * count, "--"]

    def copy(self, name):
        """A hook's component with one more section, which means nothing: not the bytes of a built-in hook."""
        path = pathlib.Path(self.copies.name) / f"{name}.wasm"
        path.write_bytes((REPOSITORY / f"hooks/dist/{name}.wasm").read_bytes() + b"\0\2\1x")
        return str(path)

    def to(self, server):
        return {"HOOK_ISTIO_QUIT_URL": server.url}

    def time(self, argv, milliseconds, environment=None):
        timing = Timing(argv, self.command, milliseconds, environment)
        assert timing.code == 0, (argv, timing.code)
        return timing

    def memory(self):
        """What each costs while the command sleeps."""
        variants = {
            **self.programs,
            "wrapper, a built-in hook": self.hook(),
            "wrapper, ten built-in hooks": self.hook(count=10),
            "wrapper, a hook from a file": self.hook(self.file),
            "wrapper, a hook of 1 MiB": self.hook(self.large),
        }
        rows = []
        for name, argv in variants.items():
            samples = []
            for _ in range(max(3, self.runs // 20)):
                with running(argv, self.command, self.to(self.server)) as pid:
                    samples.append((smaps(pid), status(pid, "Threads")))
            column = lambda field: f"{summary([sample[0][field] for sample in samples])[0]:.0f}"
            rows.append([name, *map(column, ["Private_Dirty", "Pss", "Rss"]), samples[0][1]])
        return table(["while the command sleeps, kB", "private dirty", "PSS", "RSS", "threads"], rows)

    def whole(self):
        """A command that exits at once, which takes as little as a command can."""
        environment = self.to(self.server)
        variants = {
            **{name: [*argv, self.floor] for name, argv in self.programs.items()},
            "the command alone": [self.floor],
            "wrapper, istio-quit built in": [*self.hook(), self.floor],
            "wrapper, istio-quit from its file": [*self.hook(OFFICIAL), self.floor],
            "wrapper, the same from another file": [*self.hook(self.file), self.floor],
        }
        with alone() as real_time:
            costs = in_turns(self.runs, {name: lambda argv=argv: Cost(argv, environment) for name, argv in variants.items()})
        tini = costs.get("tini", costs["wrapper"])
        rows = []
        for name, runs in costs.items():
            assert all(run.code == 0 for run in runs), name
            wall, cpu = ([getattr(run, field) for run in runs] for field in ("wall", "cpu"))
            to_tini = ratio(wall, [run.wall for run in tini])
            faults = f"{summary([run.faults for run in runs])[0]:.0f}"
            rows.append([name, cell(wall), to_tini, f"{statistics.mean(cpu):.2f}", faults])
        policy = "real-time policy" if real_time else "ordinary policy"
        head = [f"a command that exits at once, start to exit ({policy})", "ms", "relative to tini", "processor, ms", "page faults"]
        return table(head, rows)

    def throttled(self):
        """A container with a tenth of a processor: `cpu: 100m`."""
        environment = self.to(self.server)
        hooks = {"no hook": [*self.wrapper, "--"], "istio-quit built in": self.hook(), "from a file": self.hook(self.file)}
        rows = []
        with limited(10) as run:
            if run is None:
                return "CPU limits are not measured: no cgroup can be made here.\n"
            for what, command in (("exits at once", [self.floor]), ("takes 30 ms of the processor", [self.command, "-30"])):
                measures = {name: lambda argv=argv: run([*argv, *command], environment) for name, argv in hooks.items()}
                if "tini" in self.programs:
                    measures["tini"] = lambda: run([*self.programs["tini"], *command])
                costs = in_turns(max(5, self.runs // 5), measures)
                for name, runs in costs.items():
                    assert all(run.code == 0 for run in runs), name
                    cpu = statistics.mean([run.cpu for run in runs])
                    rows.append([what, name, cell([run.wall for run in runs], 0), f"{cpu:.1f}"])
        head = ["with 0.1 CPU: the command", "hook", "start to exit, ms", "processor, ms"]
        return table(head, rows)

    def start(self):
        """From the program's start to the command's."""
        variants = {
            **self.programs,
            "wrapper, a built-in hook": self.hook(),
            "wrapper, a built-in hook from its file": self.hook(OFFICIAL),
            "wrapper, a hook from another file": self.hook(self.file),
            "wrapper, ten built-in hooks": self.hook(count=10),
        }
        environment = {**self.to(self.server), "WRAPPER_PLUGIN_ON": "failure"}
        # The command runs long enough for what is prepared beside it to be out of the next one's way.
        measures = {
            name: lambda argv=argv: self.time(argv, LONG_ENOUGH // 4, environment).start
            for name, argv in variants.items()
        }
        times = in_turns(self.runs, measures)
        rows = [[name, cell(values), ratio(values, times["wrapper"])] for name, values in times.items()]
        head = ["from the init's start to the command's, ms", "median", "relative to wrapper without hooks"]
        return table(head, rows)

    def hook_phase(self):
        """From the command's end to the program's."""
        environment = self.to(self.server)
        measures = {name: lambda argv=argv: self.time(argv, LONG_ENOUGH).end for name, argv in self.programs.items()}
        for name, hook, milliseconds in (
            ("istio-quit built in", "istio-quit", LONG_ENOUGH),
            ("istio-quit from a file, compiled", self.file, LONG_ENOUGH),
            ("istio-quit from a file, command exits at once", self.file, 0),
        ):
            measures[f"wrapper, {name}"] = lambda hook=hook, milliseconds=milliseconds: self.time(
                self.hook(hook), milliseconds, environment
            ).end
        measures["wrapper, ten built-in hooks"] = lambda: self.time(self.hook(count=10), LONG_ENOUGH, environment).end
        before = self.server.requests()
        times = in_turns(self.runs, measures)
        assert self.server.requests() - before == self.runs * 13, "every hook reached the server"
        rows = [[name, cell(values)] for name, values in times.items()]
        return table(["from the command's exit to the init's, ms", "median"], rows)

    def processor(self):
        """What compiling takes of the processor, beside a command that needs nothing."""
        skipped = {"WRAPPER_PLUGIN_ON": "failure"}
        bare = [self.time([*self.wrapper, "--"], LONG_ENOUGH, skipped) for _ in range(self.runs)]
        idle = summary([timing.cpu for timing in bare])[0]
        rows = []
        hooks = {name: self.hook(self.copy(name)) for name in ("echo", "istio-quit", "istio-ready", "http")}
        hooks |= {"istio-quit, ten times": self.hook(self.file, 10), "a hook of 1 MiB": self.hook(self.large)}
        for name, argv in hooks.items():
            # A command that outlives the compiling: only what ended before the wrapper is counted.
            wait = 10 * LONG_ENOUGH if "MiB" in name else LONG_ENOUGH
            timings = [self.time(argv, wait, skipped) for _ in range(max(3, self.runs // 5))]
            spent = [1000 * (timing.cpu - idle) for timing in timings]
            peak = max(peak_beside(argv, self.command, wait, skipped) for _ in range(3))
            rows.append([name, cell(spent, 1), f"{peak / 1024:.1f}"])
        return table(["checking and compiling a file", "processor time, ms", "peak RSS, MiB"], rows)

    def peak(self):
        """The runner's peak, read while the server has its request and has not answered."""
        rows = []
        for name, hook in (("built in", "istio-quit"), ("from a file", self.file)):
            peaks = []
            for _ in range(max(3, self.runs // 5)):
                wrapper = []
                server = Server(lambda: peaks.append(max(helpers(wrapper[0], self.command).values())))
                pid, pipe = spawn([*self.hook(hook), self.command, str(LONG_ENOUGH)], self.to(server))
                wrapper.append(pid)
                os.waitpid(pid, 0)
                os.close(pipe)
            rows.append([f"istio-quit, {name}", f"{summary(peaks)[0] / 1024:.1f}"])
        return table(["the hook's process", "peak RSS, MiB"], rows)

    def many(self):
        """Two hundred at once: what the node pays, and all hooks firing in the same second."""
        before = self.server.requests()
        programs = [spawn([*self.hook(), self.command, "600000"], self.to(self.server)) for _ in range(MANY)]
        for pid, pipe in programs:
            lines(pipe, 1)
        while any(len(children(pid)) != 1 for pid, _ in programs):
            time.sleep(0.05)
        shared = sum(smaps(pid)["Pss"] for pid, _ in programs)
        private = sum(smaps(pid)["Private_Dirty"] for pid, _ in programs)
        commands = [children(pid)[0] for pid, _ in programs]
        began = time.monotonic()
        for command in commands:
            os.kill(command, 15)
        ends = []
        for pid, pipe in programs:
            os.waitpid(pid, 0)
            ends.append(1000 * (time.monotonic() - began))
            os.close(pipe)
        asked = self.server.requests() - before
        rows = [
            ["private dirty memory of each", f"{private / MANY:.0f} kB"],
            ["PSS of each: its private pages and its share of the shared ones", f"{shared / MANY:.0f} kB"],
            [f"all {MANY} commands exit at once: hooks that reached the server", asked],
            ["… until the last wrapper has exited", f"{max(ends):.0f} ms"],
        ]
        return table([f"{MANY} wrappers, each with istio-quit", ""], rows)

    def sizes(self):
        files = [pathlib.Path(self.wrapper[0]), *sorted((REPOSITORY / "hooks/dist").glob("*.wasm"))]
        rows = [[path.name, f"{path.stat().st_size:,}"] for path in files]
        return table(["file", "bytes"], rows)


def machine(bench):
    def said(*argv):
        return subprocess.run(argv, capture_output=True, text=True).stdout.strip().split("\n")[0]

    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    versions = [said(*bench.wrapper, "--version"), said("rustc", "--version")]
    versions += [said(name, "--version") or name for name in bench.programs if name in PEERS]
    return f"{os.cpu_count()} × {cpu}, Linux {platform.release()}; {', '.join(versions)}; {bench.runs} runs.\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrapper", required=True)
    parser.add_argument("--command", required=True, help="bench/command.c, compiled")
    parser.add_argument("--floor", required=True, help="bench/floor.S, assembled")
    parser.add_argument("--large", required=True, help="a hook of 1 MiB of code")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND LINE")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", help="one table")
    bench = Bench(parser.parse_args())
    only = parser.parse_args().only
    print(machine(bench))
    for measure in (
        bench.memory, bench.whole, bench.throttled, bench.start, bench.hook_phase, bench.processor, bench.peak, bench.many,
        bench.sizes,
    ):  # fmt: skip
        if only in (None, measure.__name__):
            print(measure(), flush=True)


main()
