"""Who wrote a segment, and whether that process still lives."""

from __future__ import annotations

import functools
import os
import re
import secrets
import socket
from pathlib import Path

import msgspec

_CLOCKS_DIFFER = 2.0
"""Seconds by which the kernel's clock and a file's time may differ."""


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """One process that writes; a forked child is another one."""

    host: str
    pid: int
    process_start: int | None
    """The kernel's start time of the process, so that a reused pid is not taken for it; None where unknown."""
    token: str
    boot: str | None = None
    """The id of the machine's boot: what has the same name and another one is another machine, or gone with a restart."""
    pid_namespace: int | None = None
    """Where the pid counts: containers number their processes anew."""

    @property
    def process(self) -> str:
        """What all writers of one process have in common, as a file's name."""
        return f"{self.host}-{self.pid}-{self.process_start or 0}-{self.pid_namespace or 0}"

    @property
    def name(self) -> str:
        """The prefix of the writer's segment files."""
        return f"{self.host}-{self.pid}-{self.token}"


def this_writer() -> Writer:
    """A fresh writer for the current process."""
    pid = os.getpid()
    return Writer(
        host=_host(),
        pid=pid,
        process_start=_process_start(pid),
        token=secrets.token_hex(4),
        boot=_boot(),
        pid_namespace=_pid_namespace(),
    )


def is_alive(writer: Writer) -> bool | None:
    """Whether the writing process still runs; None for one that cannot be asked about from here.

    That is one on another host, of another boot or in another pid namespace; `store.presence`
    says what is told then.
    """
    if writer.host != _host() or _differ(writer.boot, _boot()) or _differ(writer.pid_namespace, _pid_namespace()):
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


def _differ(theirs: object, ours: object) -> bool:
    """Whether both are known and not the same."""
    return theirs is not None and ours is not None and theirs != ours


@functools.cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _pid_namespace() -> int | None:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def named_writer(name: str, by: float) -> Writer | None:
    """The writer that a segment's file name tells of, where the segment itself does not.

    `by` (seconds since the epoch) is when the file was last written: a process that began after it
    has only the same number. None where the name is no writer's.
    """
    found = re.fullmatch(r"(?P<host>.+)-(?P<pid>\d+)-(?P<token>[0-9a-f]+)", name)
    if found is None:
        return None
    pid = int(found["pid"])
    began = _began(pid)
    is_another = began is not None and began > by + _CLOCKS_DIFFER
    start = -1 if is_another else _process_start(pid)
    return Writer(host=found["host"], pid=pid, process_start=start, token=found["token"])


def _began(pid: int) -> float | None:
    """When the process began, in seconds since the epoch, to about a second; None where the system does not say."""
    ticks = _process_start(pid)
    try:
        boot = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
        return None if ticks is None or boot is None else int(boot[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None


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
