"""Who wrote a segment, and whether that process still lives."""

from __future__ import annotations

import functools
import os
import secrets
import socket
from pathlib import Path

import msgspec


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """One process that writes; a forked child is another one."""

    host: str
    pid: int
    process_start: int | None
    """The kernel's start time of the process, so that a reused pid is not taken for it; None where unknown."""
    token: str

    @property
    def name(self) -> str:
        """The prefix of the writer's segment files."""
        return f"{self.host}-{self.pid}-{self.token}"


def this_writer() -> Writer:
    """A fresh writer for the current process."""
    pid = os.getpid()
    return Writer(host=_host(), pid=pid, process_start=_process_start(pid), token=secrets.token_hex(4))


def is_alive(writer: Writer) -> bool | None:
    """Whether the writing process still runs; None for one on another host."""
    if writer.host != _host():
        return None
    if writer.process_start is not None:
        return _process_start(writer.pid) == writer.process_start
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _host() -> str:
    name = socket.gethostname() or "localhost"
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:40]


def _process_start(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None where there is no such file or the process is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
