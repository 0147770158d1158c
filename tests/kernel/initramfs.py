"""Writes an archive of files that a kernel unpacks into memory and takes as its root (cpio's format `newc`)."""

import os
import stat


class Archive:
    def __init__(self, file):
        self.file, self.number = file, 0

    def add(self, name, mode, content=b"", device=(0, 0)):
        self.number += 1
        encoded = name.encode() + b"\0"
        numbers = [self.number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0]
        self.file.write(b"070701" + "".join(f"{number:08x}" for number in numbers).encode() + encoded)
        self.pad()
        self.file.write(content)
        self.pad()

    def pad(self):
        self.file.write(bytes(-self.file.tell() % 4))

    def folder(self, name):
        """A folder with those above it."""
        path = ""
        for part in name.strip("/").split("/"):
            path = f"{path}/{part}".lstrip("/")
            self.add(path, stat.S_IFDIR | 0o755)

    def program(self, name, content):
        self.add(name, stat.S_IFREG | 0o755, content)

    def tree(self, root):
        """All that is in a folder of the machine."""
        for folder, folders, files in os.walk(root):
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                if stat.S_ISLNK(mode):
                    content = os.readlink(path).encode()
                elif stat.S_ISREG(mode):
                    with open(path, "rb") as file:
                        content = file.read()
                else:
                    content = b""
                self.add(os.path.relpath(path, root), mode, content)

    def end(self):
        self.add("TRAILER!!!", 0)
        # The next archive begins at a multiple of this.
        self.file.write(bytes(-self.file.tell() % 512))
