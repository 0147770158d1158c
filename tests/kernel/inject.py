"""Has another process make system calls (ptrace(2)): the kernel judges them by that process's rights and filters."""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SYSCALL = 16, 17, 24
PTRACE_GETREGSET, PTRACE_SETREGSET, NT_PRSTATUS = 0x4204, 0x4205, 1


@dataclass
class Cpu:
    """Its registers, by their place in NT_PRSTATUS: those of a call's number, arguments and result, the stack pointer,
    and the program counter; on amd64 also the one that says that a call has been interrupted."""

    registers: int
    number: int
    arguments: tuple
    result: int
    stack: int
    next: int
    interrupted: int
    # What makes a call.
    instruction: bytes
    # Numbers of calls.
    calls: dict


CPUS = {
    "x86_64": Cpu(
        registers=27, number=10, arguments=(14, 13, 12, 7, 9, 8), result=10, stack=19, next=16, interrupted=15,
        instruction=b"\x0f\x05",
        calls={
            "mmap": 9, "socket": 41, "connect": 42, "clone": 56, "execve": 59, "kill": 62, "ptrace": 101,
            "clock_gettime": 228, "openat": 257, "prlimit64": 302, "memfd_create": 319,
        },
    ),
    "aarch64": Cpu(
        registers=34, number=8, arguments=(0, 1, 2, 3, 4, 5), result=0, stack=31, next=32, interrupted=None,
        instruction=b"\x01\0\0\xd4",
        calls={
            "mmap": 222, "socket": 198, "connect": 203, "clone": 220, "execve": 221, "kill": 129, "ptrace": 117,
            "clock_gettime": 113, "openat": 56, "prlimit64": 261, "memfd_create": 279,
        },
    ),
}  # fmt: skip
CPU = CPUS[platform.machine()]
# Below the end of the stack, where no function's data is: room for what arguments point at.
BELOW, ROOM = 4096, 256

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def need():
    """Ends a case where the kernel cannot do it."""
    if "User Mode Linux" in open("/proc/cpuinfo").read():
        raise NotImplementedError("user-mode Linux 6.1 does not show the registers of other processes")


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Tracee:
    """A process that waits in a system call, to which it returns in the end."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        self.ptrace(PTRACE_ATTACH)
        self.wait()
        self.before = self.registers()
        self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        # It stopped before or behind the instruction that made the call.
        length, here = len(CPU.instruction), self.before[CPU.next]
        found = [at for at in (here, here - length) if os.pread(self.memory, length, at) == CPU.instruction]
        self.instruction = found[0]
        return self

    def __exit__(self, *_):
        os.close(self.memory)
        self.set_registers(self.before)
        self.ptrace(PTRACE_DETACH)

    def call(self, name, *arguments):
        """The error's name, or nothing where the call has succeeded. Bytes are passed by their address."""
        registers = list(self.before)
        registers[CPU.next] = self.instruction
        registers[CPU.number] = CPU.calls[name]
        if CPU.interrupted is not None:
            registers[CPU.interrupted] = -1
        room = self.before[CPU.stack] - BELOW
        for register, argument in zip(CPU.arguments, (*arguments, *[0] * (6 - len(arguments)))):
            if isinstance(argument, bytes):
                os.pwrite(self.memory, argument, room)
                argument, room = room, room + ROOM
            registers[register] = argument
        self.set_registers(registers)
        # To the call, and to its end.
        for _ in range(2):
            self.ptrace(PTRACE_SYSCALL)
            self.wait()
        self.result = self.registers()[CPU.result]
        return errno.errorcode[-self.result] if -4096 < self.result < 0 else None

    def ptrace(self, request, address=0, data=0):
        if libc.ptrace(request, self.pid, address, data) == -1:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSTOPPED(status), status

    def registers(self):
        buffer = ctypes.create_string_buffer(8 * CPU.registers)
        self.ptrace(PTRACE_GETREGSET, NT_PRSTATUS, self.vector(buffer))
        return struct.unpack(f"{CPU.registers}q", buffer)

    def set_registers(self, registers):
        buffer = ctypes.create_string_buffer(struct.pack(f"{CPU.registers}q", *registers), 8 * CPU.registers)
        self.ptrace(PTRACE_SETREGSET, NT_PRSTATUS, self.vector(buffer))

    def vector(self, buffer):
        self.kept = Vector(ctypes.addressof(buffer), len(buffer))
        return ctypes.addressof(self.kept)
