"""Places that take frames: a memory-mapped file, a written file, a buffer in memory.

A segment is append-only and belongs to one log of one process. `write` takes a whole frame at
once and may be called from any thread: for the mapped ones it is the mapping's own method, a
single copy that no other thread of the interpreter can come between.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from pathlib import Path
from typing import Any, Protocol

from otel_research.journal.frame import HEADER, HEADER_SIZE, MAGIC, preamble
from otel_research.journal.held import HeldFile

MAPPABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
"""File systems where a fallocated mapping can be written without a SIGBUS; others are written by system call."""


class Segment(Protocol):
    """What a log needs of a segment."""

    name: str
    size: int
    """No frame ends beyond this offset."""

    def write(self, data: bytes, /) -> Any:
        """Append a frame. `ValueError`: it does not fit, or the segment takes no more. `OSError`: it is as it was."""

    def sync(self) -> None:
        """Make what was written survive a power cut."""

    @property
    def is_removed(self) -> bool:
        """Whether its file has no name any more: nobody will read what is written to it."""

    @property
    def at(self) -> int:
        """Where the next frame goes."""

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were written."""

    def close(self) -> int:
        """From now on `write` raises; where the last frame ends. What was written can still be read."""

    def reopen(self) -> None:
        """Take frames again after `close`: there was no room for another segment."""

    def finish(self) -> None:
        """No more frames: release what is held, cut off what is unused, make the rest durable."""

    def forsake(self, end: int) -> None:
        """The same where it cannot be made durable: what lies beyond `end` is written again elsewhere."""

    def discard(self) -> None:
        """Remove it: no frame of it was ever vouched for."""

    def abandon(self) -> None:
        """Let go without touching the bytes: in a forked child they belong to the parent."""


class _Nowhere:
    """The segment before the first frame: full, so that the first frame opens one."""

    name = ""
    at = size = 0
    is_removed = False

    def write(self, data: bytes, /) -> None:
        """Nothing fits."""
        raise ValueError("no segment is open")

    def read(self, start: int, end: int) -> bytes:
        """Nothing was written."""
        return b""

    def forsake(self, end: int) -> None:
        """Nothing to do."""

    def close(self) -> int:
        """Nothing to do."""
        return 0

    def sync(self) -> None:
        """Nothing to do."""

    finish = abandon = reopen = discard = sync


NOWHERE: Segment = _Nowhere()


class _Mapped:
    """Frames in a mapping."""

    def __init__(self, name: str, size: int, mapping: mmap.mmap) -> None:
        self.name = name
        self.size = size
        self.mapping = mapping
        self.write = mapping.write
        self._end: int | None = None
        mapping.write(preamble(name))

    @property
    def at(self) -> int:
        """Where the next frame goes."""
        return self.mapping.tell() if self._end is None else self._end

    def close(self) -> int:
        """From now on `write` raises; where the last frame ends."""
        if self._end is None:
            at = self.mapping.tell()
            self.mapping.seek(0, os.SEEK_END)
            # A thread that came between the two lines has put whole frames there.
            while self.mapping[at : at + len(MAGIC)] == MAGIC:
                at += HEADER_SIZE + HEADER.unpack_from(self.mapping, at)[2]
            self._end = at
        return self._end

    def reopen(self) -> None:
        """Take frames again after `close`."""
        if self._end is not None:
            self.mapping.seek(self._end)
            self._end = None


class MemorySegment(_Mapped):
    """Frames in memory of this process: lost with it, by declaration."""

    is_removed = False

    def __init__(self, name: str, size: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        super().__init__(name, size, mmap.mmap(-1, size, **private))
        self._kept: bytes | None = None

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were written."""
        return self.mapping[start:end] if self._kept is None else self._kept[start:end]

    def sync(self) -> None:
        """Memory has nothing to make durable."""

    def finish(self) -> None:
        """Give back what is unused."""
        if self._kept is None:
            self._kept = self.mapping[: self.close()]
            self.size = len(self._kept)
            self.mapping.close()

    def forsake(self, end: int) -> None:
        """Never needed: memory is always in sync."""

    def discard(self) -> None:
        """Never needed: memory takes what fits."""

    def abandon(self) -> None:
        """A forked child has a copy of its own: nothing to let go."""


class MappedSegment(_Mapped):
    """A pre-allocated file, mapped: a frame is durable against `kill -9` as soon as it is copied."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._held = HeldFile(path)
        try:
            # A sparse mapping on a full disk dies with SIGBUS: take the blocks now, or fail now.
            os.posix_fallocate(self._held.number, 0, size)
            super().__init__(path.stem, size, mmap.mmap(self._held.number, size))
        except OSError:
            self._held.discard()
            raise

    @property
    def is_removed(self) -> bool:
        """Whether its file has no name any more."""
        return self._held.is_removed

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        self._held.sync()

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were written."""
        return self.mapping[start:end]

    def finish(self) -> None:
        """Make durable, cut off the unused blocks, unmap."""
        try:
            self._held.finish(self.close(), self.read)
        finally:
            self.mapping.close()

    def forsake(self, end: int) -> None:
        """Keep what was durable; the rest has been written again elsewhere."""
        self.close()
        self._held.forsake(end)
        self.mapping.close()

    def discard(self) -> None:
        """Remove the file."""
        self.mapping.close()
        self._held.discard()

    def abandon(self) -> None:
        """Close our handles; the parent goes on writing."""
        self.mapping.close()
        self._held.abandon()


class WrittenSegment:
    """A file written by system calls, for file systems where a mapping is not safe."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.name = path.stem
        self.size = self._room = size
        self.at = 0
        # Protects the position: one frame after another, each whole.
        self._lock = threading.RLock()
        self._is_busy = False
        self._finishes_later = False
        self._held = HeldFile(path)
        try:
            self._append(preamble(self.name))
        except OSError:
            self._held.discard()
            raise

    @property
    def is_removed(self) -> bool:
        """Whether its file has no name any more."""
        return self._held.is_removed

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        self._held.sync()

    def write(self, data: bytes, /) -> None:
        """Append a frame; a short write is finished or taken back.

        One that comes in the middle of another of its thread (from a signal handler, a `__del__`)
        does not fit: it belongs to the next segment.
        """
        with self._lock:
            if self._is_busy:
                raise ValueError("the segment is in the middle of a frame")
            self._is_busy = True
            try:
                if self.at + len(data) > self.size:
                    raise ValueError("the segment is full")
                self._append(data)
            finally:
                self._is_busy = False
        if self._finishes_later:
            self.finish()

    def _append(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                written = os.pwrite(self._held.number, data[done:], self.at + done)
                if written == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                done += written
        except OSError:
            # A short write must not look like a frame with a hole behind it.
            os.ftruncate(self._held.number, self.at)
            raise
        self.at += done

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were written."""
        return os.pread(self._held.number, end - start, start)

    def close(self) -> int:
        """From now on `write` raises; where the last frame ends."""
        with self._lock:
            self.size = 0
            return self.at

    def reopen(self) -> None:
        """Take frames again after `close`."""
        with self._lock:
            self.size = self._room

    def finish(self) -> None:
        """Make durable and close; in the middle of a frame, after it."""
        with self._lock:
            self._finishes_later = self._is_busy
            if not self._is_busy:
                self._held.finish(self.close(), self.read)

    def forsake(self, end: int) -> None:
        """Keep what was durable; the rest has been written again elsewhere."""
        self.close()
        self._held.forsake(end)

    def discard(self) -> None:
        """Remove the file."""
        self._held.discard()

    def abandon(self) -> None:
        """Close our handle; the parent goes on writing."""
        self._held.abandon()


def open_file_segment(path: Path, size: int) -> Segment:
    """The fastest segment that is safe on the path's file system."""
    if file_system(path.parent) in MAPPABLE:
        return MappedSegment(path, size)
    return WrittenSegment(path, size)


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
