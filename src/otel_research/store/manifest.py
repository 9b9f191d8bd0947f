"""Which Parquet files of an experiment count: `manifest/<n>.json`, the highest number wins.

A manifest is never changed: a new one is created under the next number, and a writer that
loses the race for that number reads again and merges. So a reader sees a whole state, and a
crash between any two steps leaves either the old state or the new one.

Writers wait for each other where the file system has locks. They need not: only the last two
numbers are kept, so one that was slow may create a number that others had created and freed
again. It sees a higher one then, without its change, and begins anew.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from otel_research.errors import StoreError
from otel_research.journal.reader import Counts
from otel_research.store.files import create_whole, make_folder, one_at_a_time
from otel_research.store.format_version import check_format_version

FORMAT_VERSION = 1
_NUMBER = re.compile(r"(\d+)\.json")


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed segment, or one appended batch."""

    name: str
    """The segment's or batch's name; its journal file, if still there, no longer counts."""
    file: str | None
    """The Parquet file below `parquet/`; None where the segment held no span."""
    rows: int
    sha256: str | None
    size: int | None = None
    """Bytes of the file, where it lies in object storage."""
    writer: str | None = None
    counts: Counts = msgspec.field(default_factory=Counts)
    damaged_bytes: int = 0
    carried: tuple[dict[str, Any], ...] = ()
    """RAW rows of spans that the writer had open when this segment ended; only its last entry counts."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole state of an experiment's sealed files."""

    number: int = 0
    sealed: tuple[Sealed, ...] = ()
    is_distinct: bool = False
    """Checked: no two rows share an identity, so that a scan need not look."""
    replaced: dict[str, int] = {}
    """Files that a larger one has replaced -> when (nanoseconds since the epoch): kept a while for those who read them."""
    format_version: int = FORMAT_VERSION

    def names(self) -> set[str]:
        """Segments and batches that are sealed."""
        return {entry.name for entry in self.sealed}

    def writers(self) -> set[str]:
        """The processes whose segments are sealed."""
        return {entry.writer for entry in self.sealed if entry.writer is not None}

    def carried(self, writer: str) -> tuple[dict[str, Any], ...]:
        """What the writer's last sealed segment left open."""
        entries = [entry for entry in self.sealed if entry.writer == writer]
        return entries[-1].carried if entries else ()


def latest(folder: Path) -> Manifest:
    """The manifest with the highest number, or an empty one."""
    while True:
        numbers = [int(match[1]) for path in folder.glob("*.json") if (match := _NUMBER.fullmatch(path.name))]
        if not numbers:
            return Manifest()
        # Gone already: there are higher numbers by now.
        with contextlib.suppress(FileNotFoundError):
            return _read(folder / f"{max(numbers)}.json")


def _read(path: Path) -> Manifest:
    try:
        return decoded(path.read_bytes(), path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror or error}. The Parquet files beside it are intact."
        ) from error


def decoded(data: bytes, path: Path | str) -> Manifest:
    """The manifest that JSON holds; `path` says where, for the error of one that cannot be read."""
    check_format_version(data, path, FORMAT_VERSION)
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{path} is not a readable manifest: {error}. The Parquet files beside it are intact."
        ) from error


def update(folder: Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Create the next manifest from the latest one, until the latest has the change; that one.

    `change` is asked again for every attempt; for a manifest that has its change it gives the same one back.
    """
    make_folder(folder)
    with one_at_a_time(folder):
        while True:
            current = latest(folder)
            following = msgspec.structs.replace(change(current), number=current.number + 1)
            if create_whole(folder / f"{following.number}.json", msgspec.json.encode(following)):
                newest = latest(folder)
                if newest.number == following.number or change(newest) == newest:
                    _forget_older(folder, newest.number)
                    return newest


def _forget_older(folder: Path, number: int) -> None:
    """Keep the last two: a reader may be about to open the one before."""
    for path in folder.glob("*.json"):
        match = _NUMBER.fullmatch(path.name)
        if match and int(match[1]) < number - 1:
            path.unlink(missing_ok=True)


def with_sealed(manifest: Manifest, entry: Sealed) -> Manifest:
    """The manifest with one more entry; the same name again changes nothing."""
    if entry.name in manifest.names():
        return manifest
    return msgspec.structs.replace(manifest, sealed=(*manifest.sealed, entry), is_distinct=False)


def without(manifest: Manifest, names: set[str]) -> Manifest:
    """The manifest without these segments, whose rows are not known to be distinct any more."""
    if names.isdisjoint(manifest.names()):
        return manifest
    kept = tuple(entry for entry in manifest.sealed if entry.name not in names)
    return msgspec.structs.replace(manifest, sealed=kept, is_distinct=False)
