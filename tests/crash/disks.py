"""Small file systems of a test's own, and a way to cut their power. They need root; what is refused is said by name."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
"""Nothing more reaches the disk from this moment on, the file system's own journal included."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def _mounted(folder: Path, *mount: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run("mount", *mount, str(folder))
    except (OSError, FileNotFoundError) as error:
        pytest.skip(f"this machine refuses to mount: {error}")
    try:
        yield folder
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    for _ in range(300):
        try:
            return _run("umount", str(folder))
        except OSError:
            time.sleep(
                0.1
            )  # on a busy machine what was killed lets go late; a mount of the same image would be the dead one
    return _run("umount", "--lazy", str(folder))


@contextmanager
def tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory that is full soon."""
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "none") as place:
        yield place


class PowerDisk:
    """An ext4 file system in a file. `cut()` is a power failure: what had not reached the disk is gone."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image
        with image.open("wb") as file:
            file.truncate(96 << 20)
        _run("mkfs.ext4", "-q", "-F", str(image))

    @contextmanager
    def on(self) -> Iterator[Path]:
        """Mounted: the second time it is the disk after the power came back."""
        with _mounted(self.folder, "-o", "loop", str(self._image)) as place:
            yield place

    def cut(self) -> None:
        """Now."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)
