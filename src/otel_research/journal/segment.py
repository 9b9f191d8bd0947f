"""Places that take frames: a memory-mapped file, a written file, a buffer in memory.

A segment is append-only and has one writer. It does not lock: the log that owns it does, and
the log copies frames into `buffer` itself, because that is the hot path. A segment without a
buffer takes them by `write`.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any, Protocol

from otel_research.journal.frame import PREAMBLE

MAPPABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
"""File systems where a fallocated mapping can be written without a SIGBUS; others are written by system call."""


class Segment(Protocol):
    """What a log needs of a segment."""

    at: int
    """Where the next frame goes."""
    size: int
    """Frames end before this offset."""
    buffer: Any
    """Writable bytes of `size`, or None."""

    def write(self, data: bytes, /) -> None:
        """Append bytes where there is no buffer. On `OSError` the segment is as it was."""

    def sync(self) -> None:
        """Make what was put survive a power cut."""

    def finish(self) -> None:
        """No more frames: release what is held, cut off what is unused."""

    def abandon(self) -> None:
        """Let go without touching the bytes: in a forked child they belong to the parent."""


class MemorySegment:
    """Frames in a buffer of this process: lost with it, by declaration."""

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.size = size
        self.at = 0

    def write(self, data: bytes, /) -> None:
        """Append bytes."""
        self.buffer[self.at : self.at + len(data)] = data
        self.at += len(data)

    def sync(self) -> None:
        """Memory has nothing to make durable."""

    def finish(self) -> None:
        """Cut off what is unused."""
        del self.buffer[self.at :]
        self.size = self.at

    def abandon(self) -> None:
        """A forked child has its own copy: nothing to let go."""


class MappedSegment:
    """A pre-allocated file, mapped: a frame is durable against `kill -9` as soon as it is copied."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._file = _create(path)
        try:
            # A sparse mapping on a full disk dies with SIGBUS: take the blocks now, or fail now.
            os.posix_fallocate(self._file, 0, size)
            self.buffer = mmap.mmap(self._file, size)
        except OSError:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise
        self.at = 0
        self.write(PREAMBLE)

    def write(self, data: bytes, /) -> None:
        """Append bytes."""
        self.buffer[self.at : self.at + len(data)] = data
        self.at += len(data)

    def sync(self) -> None:
        """fdatasync: on Linux it writes back the mapping's dirty pages too, without the GIL."""
        os.fdatasync(self._file)

    def finish(self) -> None:
        """Unmap, cut off the unused blocks and make the rest durable."""
        self.buffer.close()
        try:
            os.ftruncate(self._file, self.at)
            os.fdatasync(self._file)
        finally:
            os.close(self._file)

    def abandon(self) -> None:
        """Close our handles; the parent goes on writing."""
        self.buffer.close()
        os.close(self._file)


class WrittenSegment:
    """A file written by system calls, for file systems where a mapping is not safe."""

    buffer = None

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.at = 0
        self._file = _create(path)
        try:
            self.write(PREAMBLE)
        except OSError:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise

    def write(self, data: bytes, /) -> None:
        """Append bytes; a short write is finished or taken back."""
        done = 0
        try:
            while done < len(data):
                written = os.pwrite(self._file, data[done:], self.at + done)
                if written == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                done += written
        except OSError:
            # A short write must not look like a frame with a hole behind it.
            os.ftruncate(self._file, self.at)
            raise
        self.at += done

    def sync(self) -> None:
        """fdatasync."""
        os.fdatasync(self._file)

    def finish(self) -> None:
        """Make durable and close."""
        try:
            os.fdatasync(self._file)
        finally:
            os.close(self._file)

    def abandon(self) -> None:
        """Close our handle; the parent goes on writing."""
        os.close(self._file)


def open_file_segment(path: Path, size: int) -> Segment:
    """The fastest segment that is safe on the path's file system."""
    if file_system(path.parent) in MAPPABLE:
        return MappedSegment(path, size)
    return WrittenSegment(path, size)


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def file_system(folder: Path) -> str:
    """The type of the file system that holds the folder, "unknown" where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return "unknown"
