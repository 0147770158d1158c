"""Cgroups of version 2, and processes in them."""

import os
import subprocess

ROOT = "/sys/fs/cgroup"


class Cgroup:
    def __init__(self, name, limits={}, parent=ROOT):
        self.folder = f"{parent}/{name}"
        os.mkdir(self.folder)
        for file, limit in limits.items():
            self.write(file, limit)

    def child(self, name, limits={}):
        return Cgroup(name, limits, self.folder)

    def existing(self, name):
        """A child that somebody else makes."""
        cgroup = Cgroup.__new__(Cgroup)
        cgroup.folder = f"{self.folder}/{name}"
        return cgroup

    def exists(self):
        return os.path.exists(self.folder)

    def write(self, file, text):
        with open(f"{self.folder}/{file}", "w") as opened:
            opened.write(str(text))

    def read(self, file):
        with open(f"{self.folder}/{file}") as opened:
            return opened.read().strip()

    def count(self, file, key):
        """One number of a file that has a name and a number in each line."""
        return int(dict(line.split() for line in self.read(file).splitlines())[key])

    def group_kills(self, file="memory.events"):
        """How often it was killed as a whole, or None before Linux 5.17, which does not say."""
        return self.count(file, "oom_group_kill") if "oom_group_kill" in self.read(file) else None

    def has(self, file):
        return os.path.exists(f"{self.folder}/{file}")

    def start(self, *command, oom_score_adj=None, **options):
        """Starts a command that is in this cgroup before it is executed."""

        def first():
            self.write("cgroup.procs", 0)
            if oom_score_adj is not None:
                with open("/proc/self/oom_score_adj", "w") as opened:
                    opened.write(str(oom_score_adj))

        return subprocess.Popen(command, preexec_fn=first, **options)
