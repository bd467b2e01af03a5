"""Processes that are killed when they ask for the network: the kernel's own filter, which no library gets around."""

import ctypes
import os
import platform
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KILLED = -31
"""Return code of what was killed by the filter: the signal SIGSYS."""

# From linux/audit.h and the tables of calls: what the machine is called, and its numbers of `socket` and `connect`.
_MACHINES = {"x86_64": (0xC000003E, 41, 42), "aarch64": (0xC00000B7, 198, 203)}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # instructions of the filter, from linux/bpf_common.h
_ALLOW, _KILL = 0x7FFF0000, 0x80000000  # what it returns, from linux/seccomp.h
_NUMBER, _MACHINE, _FAMILY, _TYPE = 0, 4, 16, 24  # where struct seccomp_data has them
_AND, _TYPES, _DATAGRAM = (
    0x54,
    0xF,
    2,
)  # instruction; bits of the kind of a socket, and the kind that needs no connection
_INET, _INET6 = 2, 10  # families of sockets; all others stay within the machine
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # of prctl


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _forbidding() -> Callable[[], None]:
    """What a new process calls first; it and all that it starts may open no socket to any machine, nor to its own."""
    machine, call, _ = _MACHINES[platform.machine()]
    instructions = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 0, 6, machine),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 4, call),
        (_LOAD, 0, 0, _FAMILY),
        (_EQUAL, 1, 0, _INET),
        (_EQUAL, 0, 1, _INET6),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _filtering(instructions)


def only_answering() -> Callable[[], None]:
    """The same for a server: it may take connections, but connect to nobody and send no letters by itself."""
    machine, call, connect = _MACHINES[platform.machine()]
    return _filtering([
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 0, 10, machine),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 8, 0, connect),
        (_EQUAL, 0, 8, call),
        (_LOAD, 0, 0, _FAMILY),
        (_EQUAL, 1, 0, _INET),
        (_EQUAL, 0, 5, _INET6),
        (_LOAD, 0, 0, _TYPE),
        (_AND, 0, 0, _TYPES),
        (_EQUAL, 1, 0, _DATAGRAM),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ])  # fmt: skip


def _filtering(instructions: Sequence[tuple[int, int, int, int]]) -> Callable[[], None]:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def forbid() -> None:
        if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(_SECCOMP, _FILTER, ctypes.byref(program)):
            raise OSError(ctypes.get_errno(), "no filter", code)  # names the buffer, too, so that it lives until here

    return forbid


def without_network(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed, and each process that it starts, when it opens a socket of the internet."""
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, timeout=timeout, capture_output=True, text=True, errors="replace",
        check=False, preexec_fn=_forbidding(),
    )  # fmt: skip


def can_forbid() -> bool:
    """Whether this system has such filters."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES
