"""A disk that fills up in the middle of the work, and has room again a second later."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from otel_research.selftest.scenario import Host, Scenario

BEFORE = 1_000
AFTER = 6_000
"""Spans made once the disk is full: more than the open segment has room for."""
FULL_SECONDS = 1.0
_MEGABYTES = 24
_SMALL = "small-disk"
"""The folder that a small file system is mounted on, below the store's."""


def program(host: Host) -> None:
    """Work, no room, work that has to wait, room."""
    small = host.folder / _SMALL
    store = Host(small if small.is_dir() else host.folder, host.pipe)
    with store.recording(overload="block") as tracer:
        store.calls(tracer, BEFORE)
        free = fill(small).unlink if small.is_dir() else _limit()
        began = time.monotonic()
        threading.Timer(FULL_SECONDS, free).start()
        store.calls(tracer, AFTER)
        if time.monotonic() - began < FULL_SECONDS / 2:
            raise RuntimeError("the disk was not full: nothing had to wait for room")


def fill(folder: Path) -> Path:
    """Take all the room there is; the file that has it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def _limit() -> Callable[[], None]:
    """Without a file system of our own: no file of this process may grow or be made."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_small_disk(command: list[str], folder: Path) -> list[str]:
    """The command in a mount namespace with a small file system below the folder, where the machine allows it.

    What the program left there is copied out before the file system goes with the namespace.
    """
    unshare = _unshare()
    if unshare is None:
        return command
    small = folder / _SMALL
    script = (
        f'mkdir -p "$1" && mount -t tmpfs -o size={_MEGABYTES}m none "$1" || exit 99; small=$1; to=$2; shift 2; '
        '"$@"; code=$?; cp -a "$small/." "$to"; exit $code'
    )
    return [*unshare, "sh", "-c", script, "sh", str(small), str(folder), *command]


def _unshare() -> list[str] | None:
    if shutil.which("unshare") is None:
        return None
    as_root = ["unshare", "--mount"]
    command = as_root if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    probe = [*command, "sh", "-c", "mount -t tmpfs none /mnt"]
    return command if subprocess.run(probe, capture_output=True, timeout=10).returncode == 0 else None


SCENARIO = Scenario(
    name="disk full",
    says=f"no room on the disk for {FULL_SECONDS:.0f} s, overload='block'",
    program=program,
    expected=BEFORE + AFTER,
    wrap=on_a_small_disk,
)
