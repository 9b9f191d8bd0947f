"""A segment's file while its process holds it: made durable, cut and closed, one thing at a time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from otel_research.durable import sync_folder

_FOLDERS = 3
"""The journal's folder, the experiment's and the store's: their entries have to survive a power cut too."""


class HeldFile:
    """An open file of one process. A handle is never closed, and its number given away, under a running sync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Protects the handle against two threads of which one closes it.
        self._lock = threading.RLock()
        self._is_open = True
        self._is_suspect = False
        """A sync has failed: the next one of this file would succeed, and mean nothing."""
        self._is_durable = True
        """Once closed: whether all of it is on the disk."""
        self._has_synced_folders = False

    @property
    def is_removed(self) -> bool:
        """Whether somebody has deleted the file: what is written to it goes away with us."""
        return self._is_open and os.fstat(self.number).st_nlink == 0

    def sync(self) -> None:
        """Make what was written survive a power cut. On Linux that includes what was written through a mapping."""
        with self._lock:
            if not self._is_open:
                if not self._is_durable:
                    raise OSError(errno.EIO, "it could not be made durable when it was closed", str(self.path))
                return
            # A handle of our own: a signal handler may finish the file while we wait for the disk.
            number = os.dup(self.number)
        try:
            self._sync(number)
        finally:
            os.close(number)

    def _sync(self, number: int) -> None:
        if self._is_suspect:
            raise OSError(errno.EIO, "an earlier sync of it failed", str(self.path))
        try:
            os.fdatasync(number)
        except OSError:
            self._is_suspect = True
            raise
        if not self._has_synced_folders:
            for folder in self.path.parents[:_FOLDERS]:
                sync_folder(folder)
            self._has_synced_folders = True

    def finish(self, end: int, read: Callable[[int, int], bytes]) -> None:
        """Make durable, cut at `end`, close. Idempotent.

        After a sync that failed nobody knows what the disk has: the content is written again, to
        another file that takes the name, and the error is raised all the same.
        """
        with self._lock:
            if not self._is_open:
                return
            self._is_open = self._is_durable = False
            try:
                self._sync(self.number)
                self._is_durable = True
            except OSError:
                _write_again(self.path, read(0, end))
                self._is_durable = True
                raise
            finally:
                _cut_and_close(self.number, end)

    def forsake(self, end: int) -> None:
        """Cut at `end` and close, without a promise: what lies behind has been written again elsewhere."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                _cut_and_close(self.number, end)

    def abandon(self) -> None:
        """Close the handle of a file that is the parent's; the lock may be held by a thread that is gone."""
        os.close(self.number)

    def discard(self) -> None:
        """Close and remove a file that never was a segment."""
        self._is_open = False
        os.close(self.number)
        self.path.unlink(missing_ok=True)


def _cut_and_close(number: int, end: int) -> None:
    try:
        os.ftruncate(number, end)
    finally:
        os.close(number)


def _write_again(path: Path, data: bytes) -> None:
    other = path.with_name(f".{path.name}.again.tmp")
    handle = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(other, path)
    sync_folder(path.parent)
