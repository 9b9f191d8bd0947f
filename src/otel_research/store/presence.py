"""Whether the processes that record an experiment still run.

The system is asked where it can say: of a process of this machine, since this boot, in our pid
namespace. Of any other (a node that shares the folder, a container) only its sign of life tells:
a file `alive/<process>` that its background thread touches every `BEAT_SECONDS`, on no span's
way. One that was silent for `GONE_SECONDS` counts as gone. It may have been suspended, so its
segments are not removed but set aside, and it takes them back when it goes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container
from pathlib import Path

from otel_research.journal.reader import Contents
from otel_research.journal.writer import Writer, is_alive, named_writer
from otel_research.store import manifest
from otel_research.store.tail import SegmentFile

BEAT_SECONDS = 30.0
"""Seconds between two signs of life."""
GONE_SECONDS = 600.0
"""Silence, in seconds, after which a process that cannot be asked counts as gone: the clocks of nodes may differ by less."""

UNNAMED_SECONDS = 5.0
"""How old, in seconds, a segment has to be that does not say who writes it."""


def beat(folder: Path, writer: Writer) -> None:
    """This process records the experiment in the folder, if it is (still) there."""
    sign = _sign(folder, writer)
    with contextlib.suppress(FileNotFoundError):
        sign.parent.mkdir(mode=0o700, exist_ok=True)
        sign.touch(mode=0o600)


def leave(folder: Path, writer: Writer) -> None:
    """It no longer does."""
    _sign(folder, writer).unlink(missing_ok=True)


def is_gone(folder: Path, writer: Writer, trace: Path | None = None) -> bool:
    """Whether a process that wrote here is gone; `trace` is a file of its own that also tells when it was active.

    Without any sign of a process that cannot be asked nothing is known, and it is not gone.
    """
    known = is_alive(writer)
    if known is not None:
        return not known
    seen = [moment for path in (_sign(folder, writer), trace) if (moment := _touched(path)) is not None]
    return bool(seen) and time.time() - max(seen) > GONE_SECONDS


def _sign(folder: Path, writer: Writer) -> Path:
    return folder / "alive" / writer.process


def _touched(path: Path | None) -> float | None:
    with contextlib.suppress(FileNotFoundError):
        return None if path is None else path.stat().st_mtime
    return None


def has_gone(writer: Writer | None, segment: Path) -> bool:
    """The same for the writer of a segment.

    A process may be killed before it says there who it is. Then the file's name tells, once the
    file is some seconds old: in a younger one that is perhaps just being written.
    """
    if writer is None:
        written = _touched(segment)
        if written is None or time.time() - written < UNNAMED_SECONDS:
            return False
        writer = named_writer(segment.stem.rpartition("-")[0], by=written)
    return writer is not None and is_gone(segment.parents[1], writer, segment)


def is_complete(file: SegmentFile) -> bool:
    """Whether the process that wrote the segment has gone, so that it takes no more frames."""
    return has_gone(_writer_of(file), file.path)


def _writer_of(file: SegmentFile) -> Writer | None:
    """Who wrote the segment, as far as it can be read."""
    contents = Contents()
    contents.next_segment(file.name)
    try:
        with file.path.open("rb") as source:
            head = source.read(64 * 1024)
    except FileNotFoundError:  # another process has just sealed it
        return None
    for _ in contents.spans(head):
        break
    return contents.writer


def forget(file: SegmentFile, *, is_ours: bool) -> None:
    """Remove a sealed segment; one whose process was only silent for long is set aside, or left if it came back."""
    writer = None if is_ours else _writer_of(file)
    if writer is None or is_alive(writer) is False:
        file.path.unlink(missing_ok=True)
    elif has_gone(writer, file.path):
        aside = file.path.parent / "aside"
        with contextlib.suppress(FileNotFoundError):
            aside.mkdir(mode=0o700, exist_ok=True)
            os.rename(file.path, aside / file.path.name)


def take_back(folder: Path, writers: Container[str]) -> bool:
    """Undo the sealing of segments that these writers still write to; whether there were any.

    Call it after `beat`: from then on nobody sets them aside again.
    """
    found = [path for path in folder.glob("journal/aside/*.wal") if path.stem.rpartition("-")[0] in writers]
    for path in found:
        os.rename(path, path.parents[1] / path.name)
    names = {path.stem for path in found}
    if names:
        manifest.update(folder / "manifest", lambda current: manifest.without(current, names))
    return bool(found)
