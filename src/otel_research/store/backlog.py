"""How far each destination of a journal has come, kept beside it, and who brings it there.

    <experiment>/feed/<destination>/<writer>.json     rows delivered per segment; which process delivers
    <experiment>/feed/<destination>/catalogue         the record, annotations or counts wait for the destination
    <experiment>/feed/<destination>/record            the record does: the local one is newer

Every process delivers what it writes. What a process cannot deliver any more (it is gone), or never
could (a forked child), is claimed by the first that finds it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from otel_research.errors import ConfigurationError
from otel_research.journal.writer import Writer, named_writer, this_writer
from otel_research.store import presence
from otel_research.store.by_offset import Cursor
from otel_research.store.files import make_folder, one_at_a_time, write_whole
from otel_research.store.format_version import check_format_version

FORMAT_VERSION = 1


class Progress(msgspec.Struct, kw_only=True):
    """How far one writer's spans have come on their way to one destination."""

    destination: str
    by: Writer | None = None
    """The process that delivers them."""
    rows: Cursor = {}
    format_version: int = FORMAT_VERSION


def key_of(destination: str) -> str:
    """The folder's name of a destination."""
    return hashlib.sha256(destination.encode()).hexdigest()[:16]


class Backlog:
    """The progress files of one experiment and one destination."""

    def __init__(self, folder: Path, destination: str) -> None:
        self.folder = folder / "feed" / key_of(destination)
        self._destination = destination
        self._mine = this_writer()
        self._known: dict[str, Progress] = {}

    @property
    def exists(self) -> bool:
        """Whether something was, or may still be, on its way."""
        return self.folder.is_dir()

    def claim(self, writer: str) -> bool:
        """Take the delivery of a writer's spans; False where a living process has it."""
        if writer in self._known:
            return True
        make_folder(self.folder)
        with one_at_a_time(self.folder):
            found = self._read(writer)
            if found.by is not None and not self._is_mine(found.by) and not self._has_gone(found.by, writer):
                return False
            found.by = self._mine
            self._known[writer] = found
            self._write(writer)
        return True

    def _is_mine(self, by: Writer) -> bool:
        return by.pid == os.getpid() and by.process == self._mine.process

    def _has_gone(self, by: Writer, writer: str) -> bool:
        return presence.is_gone(self.folder.parents[1], by, self.folder / f"{writer}.json")

    def has_gone(self, writer: str) -> bool:
        """Whether a writer whose spans this process delivers is known to be gone, by its name alone."""
        path = self.folder / f"{writer}.json"
        if not self.claim(writer):
            return False
        named = named_writer(writer, by=path.stat().st_mtime)
        return named is not None and presence.is_gone(self.folder.parents[1], named, path)

    def _read(self, writer: str) -> Progress:
        path = self.folder / f"{writer}.json"
        try:
            data = path.read_bytes()
            check_format_version(data, path, FORMAT_VERSION)
            return msgspec.json.decode(data, type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            # Without it delivery begins anew, which costs time and changes nothing.
            return Progress(destination=self._destination)

    def _write(self, writer: str) -> None:
        write_whole(self.folder / f"{writer}.json", msgspec.json.encode(self._known[writer]))

    def cursor(self, writer: str) -> Cursor:
        """Rows per segment that the destination has."""
        return dict(self._known[writer].rows) if writer in self._known else {}

    def advance(self, writer: str, cursor: Cursor) -> None:
        """The destination has the rows up to here."""
        self._known[writer].rows = cursor
        self._write(writer)

    @property
    def claimed(self) -> list[str]:
        """Writers whose spans this process delivers."""
        return list(self._known)

    # -- the record and the annotations -----------------------------------------------------

    @property
    def is_catalogue_waiting(self) -> bool:
        """Whether the destination lacks the record's last state, annotations or counts."""
        return (self.folder / "catalogue").exists()

    @property
    def is_record_waiting(self) -> bool:
        """Whether it lacks the record's last state: only then the local record is the newer one."""
        return (self.folder / "record").exists()

    def note_catalogue(self, *, is_waiting: bool) -> None:
        """Remember whether it does."""
        if is_waiting:
            self._mark("catalogue")
        else:
            for name in ("record", "catalogue"):
                (self.folder / name).unlink(missing_ok=True)

    def note_record(self) -> None:
        """Remember that the record waits."""
        self._mark("record")
        self.note_catalogue(is_waiting=True)

    def _mark(self, name: str) -> None:
        make_folder(self.folder)
        (self.folder / name).touch(mode=0o600)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else says what waits, or that nothing does.

        The lock is that of the experiment's folder: this one goes when everything has arrived.
        """
        home = self.folder.parents[1]
        make_folder(home)
        with one_at_a_time(home):
            yield

    def finish(self) -> None:
        """Every span has arrived and no more will come; what is said of the experiment in this moment still waits."""
        with self.alone():
            if self.is_catalogue_waiting:
                return
            self._known.clear()
            for path in self.folder.glob("*"):
                path.unlink(missing_ok=True)
            for path in (self.folder / ".lock", self.folder):
                try:
                    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
                except OSError:
                    return


_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_LEAST = 1 << 20


def check_limit(limit: int | str | None) -> int | None:
    """The backlog limit in bytes, from a number or text such as "512MiB"; None is no limit."""
    if limit is None:
        return None
    found = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", str(limit).strip())
    size = None if found is None or isinstance(limit, bool) else _UNITS.get(found[2].upper())
    if found is None or size is None or int(found[1]) * size < _LEAST:
        raise ConfigurationError(f"backlog={limit!r} is no size of at least 1MiB. Write bytes, or text such as '2GiB'.")
    return int(found[1]) * size


class Limit:
    """What the journal of each experiment may hold, in bytes, while its store takes no spans; None: no limit."""

    def __init__(self, limit: int | None) -> None:
        self._bytes = limit
        self._reached: set[Path] = set()
        """Journals that were refused a segment."""

    def check(self, journal: Path, size: int) -> None:
        """Raise as a full disk does where another segment of that size would take the journal beyond the limit."""
        if self._bytes is None:
            return
        held = sum(map(_blocks, journal.glob("*.wal")))
        if held + size > self._bytes:
            self._reached.add(journal)
            raise OSError(
                errno.EDQUOT,
                f"the local journal is at its limit of {self._bytes:,} bytes (configure(backlog=...)) "
                "while its store takes no spans",
                str(journal),
            )

    def was_reached(self, journal: Path) -> bool:
        """Whether a segment was refused there since the last time this was asked."""
        is_reached = journal in self._reached
        self._reached.discard(journal)
        return is_reached


def _blocks(path: Path) -> int:
    """Bytes on the disk; none of a segment that was delivered, and removed, while we looked."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
