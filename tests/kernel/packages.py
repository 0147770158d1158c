"""Debian's packages of another release or CPU, with lists of their own: the machine's settings stay as they are."""

import subprocess
from pathlib import Path


class Unavailable(Exception):
    """Why there is no package."""


def run(*command, folder=None):
    try:
        return subprocess.run(command, check=True, text=True, capture_output=True, cwd=folder).stdout
    except FileNotFoundError as error:
        raise Unavailable(f"no {error.filename}")
    except subprocess.CalledProcessError as error:
        raise Unavailable(error.stderr.strip())


def mirror(label):
    """Where the machine has its packages from; LABEL is `Debian` or `Debian-Security`."""
    for line in run("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)").splitlines():
        origin, of, uri = line.split(maxsplit=2)
        if (origin, of) == ("Debian", label):
            return uri
    raise Unavailable(f"this machine has no packages of {label}")


class Packages:
    def __init__(self, folder, suite, cpu):
        self.folder = Path(folder).resolve()
        for needed in ["lists/partial", "archives/partial", "preferences"]:
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        # No package is installed.
        (self.folder / "status").touch()
        uri = mirror("Debian-Security" if suite.endswith("-security") else "Debian")
        source = self.folder / "sources.list"
        source.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {suite} main\n")
        settings = {
            "Dir::Etc::SourceList": source,
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::PreferencesParts": self.folder / "preferences",
            "Dir::State": self.folder,
            "Dir::State::Status": self.folder / "status",
            "Dir::Cache": self.folder,
            "APT::Architecture": cpu,
            "APT::Architectures": cpu,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        self.options = [f"--option={name}={value}" for name, value in settings.items()]
        run("apt-get", *self.options, "update")

    def depends(self, package):
        lines = run("apt-cache", *self.options, "depends", "--important", package).splitlines()
        return [line.split()[1] for line in lines if line.startswith("  Depends: ")]

    def download(self, package):
        """The package's file."""
        run("apt-get", *self.options, "download", package, folder=self.folder)
        [file] = self.folder.glob(f"{package}_*.deb")
        return file

    def download_with_dependencies(self, *packages):
        download = ["install", "--download-only", "--yes", "--no-install-recommends"]
        run("apt-get", *self.options, *download, *packages)
        return sorted((self.folder / "archives").glob("*.deb"))


def unpack(file, folder, *options):
    """What tar's options choose of a package."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as package:
        subprocess.run(["tar", "x", "-C", folder, *options], stdin=package.stdout, check=True)
    if package.returncode:
        raise Unavailable(f"dpkg-deb cannot read {file}")
