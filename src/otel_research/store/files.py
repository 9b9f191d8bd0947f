"""Files that are complete or absent: written beside, made durable, then renamed.

Spans hold what people said to models, so files and folders of ours are their owner's alone (0600, 0700).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otel_research.durable import sync_file, sync_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LEFT_SECONDS = 3600.0
"""Age, in seconds, after which nobody writes to a temporary file any more; clocks of nodes may differ by less."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, for this user alone; one that is there stays as it is."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        # Not `parents=True`, which makes those above with the permissions of the umask.
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private(path: Path) -> Path:
    """The path, as an empty file that only this user can read: whoever writes to it by name leaves it so."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block succeeds.

    On any error the temporary file is removed and `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield private(temporary)
        sync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file's content, atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def create_whole(path: Path, data: bytes) -> bool:
    """Create the file with this content; False, and no change, where it exists already."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        private(temporary).write_bytes(data)
        sync_file(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


# Protect what the lock of the file protects between the threads of this process: one a folder, while it is in use.
_locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
# Protects the table of them.
_choosing = threading.RLock()


def _lock_of(folder: Path) -> Any:
    """Its own thread can take it again: a signal handler may seal in the middle of sealing, which is repeatable."""
    with _choosing:
        return _locks.setdefault(os.path.realpath(folder), threading.RLock())


def _after_fork() -> None:
    global _locks, _choosing
    _locks, _choosing = weakref.WeakValueDictionary(), threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """The block runs in one thread of one process at a time, where the file system has locks.

    A record lock: unlike `flock` it is not shared with a child that is forked meanwhile.
    """
    if not folder.is_dir():
        yield
        return
    with _lock_of(folder):
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.lockf(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a crash left of files that were being written; a young one may be somebody's at this moment."""
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()
