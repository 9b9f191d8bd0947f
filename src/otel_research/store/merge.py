"""Copies of one experiment, from nodes that share no storage, made one again.

A copy is a folder as the disk store writes it, whole or in part. Everything in it has a name that
says whose it is, so merging is a union; where both sides have something of the same name, the one
that knows more wins. So the order does not matter, again changes nothing, and a copy that was
taken while its process still wrote is overtaken by a later one.

    segments, sealed or not    the one with more frames (they are only ever appended to)
    ledgers                    a process's last word before an earlier one, then the higher counts
    annotations                the union, in the order of their time
    the record                 the owner's before one without an owner, then the further one
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from otel_research.errors import StoreError
from otel_research.experiments import ExperimentRecord
from otel_research.journal.frame import format_of, preamble_of
from otel_research.journal.reader import Contents, Counts, check_format
from otel_research.journal.received import Received
from otel_research.spans.record import SpanRecord
from otel_research.store import manifest
from otel_research.store.catalogue import DiskCatalogue, decoded
from otel_research.store.files import make_folder, replacing, write_whole
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.tail import is_segment_name

_STATES = ("running", "stopped", "archived")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A journal file of a copy: its real name, also where the file has another, and what it tells."""

    path: Path
    name: str
    experiment_id: str | None
    experiment_name: str | None
    frames: int
    end: int
    """Behind this offset there is no frame: zeros, or one that was being written when the copy was taken."""


def is_segment(path: Path) -> bool:
    """Whether the file begins as a journal segment does."""
    if not path.is_file():  # looking into a pipe would take from it
        return False
    try:
        with path.open("rb") as file:
            return format_of(file.read(300)) is not None
    except OSError:
        return False


def read_segment(path: Path) -> Segment:
    """What a journal file tells of itself. Raises `StoreError` where it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}.") from error
    check_format(data, path)
    name = preamble_of(data)[1]
    if name is None or not is_segment_name(f"{name}.wal"):
        raise StoreError(f"{path} is not a journal segment of otel-research: its first line does not say so.")
    contents = Contents()
    contents.next_segment(name)
    owner: tuple[str, str] | None = None
    for record, definitions in contents.spans(data):
        owner = owner or (_owner(record), definitions.experiment.name)
    for record, definitions in contents.open_spans():
        owner = owner or (record.origin.labels.experiment_id, definitions.experiment.name)
    found, called = owner or (None, None)
    return Segment(
        path=path,
        name=name,
        experiment_id=found,
        experiment_name=called,
        frames=_frames(contents.counts),
        end=contents.position,
    )


def _owner(record: SpanRecord | Received) -> str:
    return record.experiment_id if isinstance(record, Received) else record.origin.labels.experiment_id


def _frames(counts: Counts) -> int:
    return counts.started + counts.ended + sum(counts.left_out.values())


def merge_folder(home: Path, copy: Path) -> None:
    """Take in what a copy of the experiment's folder has; the record is the caller's to merge.

    Raises `StoreError` where the copy is not whole; what was taken in until then is whole.
    """
    _merge_sealed(home, copy)
    for part in ("journal", "journal/aside", "late"):
        for path in sorted((copy / part).glob("*.wal")):
            merge_segment(home, read_segment(path), part="late" if part == "late" else "journal")
    _merge_ledgers(home, copy)
    _merge_annotations(home, copy)


def merge_segment(home: Path, segment: Segment, *, part: str = "journal") -> None:
    """Take in one journal file, if it has more frames than what is known of it."""
    there = home / part / f"{segment.name}.wal"
    known = -1
    if part == "journal":
        entries = [entry for entry in manifest.latest(home / "manifest").sealed if entry.name == segment.name]
        known = max((_frames(entry.counts) for entry in entries), default=known)
    if there.exists():
        if there.samefile(segment.path):
            return
        known = max(known, read_segment(there).frames)
    if segment.frames <= known:
        return
    make_folder(there.parent)
    with replacing(there) as temporary:
        with segment.path.open("rb") as file:
            temporary.write_bytes(file.read(segment.end))
        # Nobody writes to a copy: its own age must not make its process look alive.
        os.utime(temporary, (0, 0))
    if part == "journal":
        # Only now: until here what was sealed of it is in force.
        _forget_sealed(home, segment.name)


def _forget_sealed(home: Path, name: str) -> None:
    if name in manifest.latest(home / "manifest").names():
        manifest.update(home / "manifest", lambda current: manifest.without(current, {name}))


def _merge_sealed(home: Path, copy: Path) -> None:
    """Sealed segments and appended batches, with their Parquet files."""
    known = {entry.name: entry for entry in manifest.latest(home / "manifest").sealed}
    news = [
        entry
        for entry in manifest.latest(copy / "manifest").sealed
        if entry.name not in known or _frames(entry.counts) > _frames(known[entry.name].counts)
    ]
    for entry in news:
        if entry.file is not None:
            _bring(copy / "parquet" / entry.file, home / "parquet" / entry.file)
    if news:
        manifest.update(home / "manifest", lambda current: _with(current, news))


def _bring(source: Path, target: Path) -> None:
    if not source.exists():
        raise StoreError(
            f"{source} is missing, which the manifest beside it names: the copy is not whole. Copy it again."
        )
    if target.exists() and target.samefile(source):
        return
    make_folder(target.parent)
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _with(current: Manifest, news: list[Sealed]) -> Manifest:
    merged = {entry.name: entry for entry in current.sealed}
    for entry in news:
        known = merged.get(entry.name)
        if known is None or _frames(entry.counts) > _frames(known.counts):
            merged[entry.name] = entry
    # In the order of a writer's segments, because what one leaves open the next carries on.
    sealed = tuple(sorted(merged.values(), key=lambda entry: entry.name))
    return current if sealed == current.sealed else msgspec.structs.replace(current, sealed=sealed, is_distinct=False)


def _merge_ledgers(home: Path, copy: Path) -> None:
    for path in sorted((copy / "ledger").glob("*.json")):
        there = home / "ledger" / path.name
        told = path.read_bytes()
        if not there.exists() or _weight(told) > _weight(there.read_bytes()):
            make_folder(there.parent)
            write_whole(there, told)


def _weight(told: bytes) -> tuple[Any, ...]:
    ledger = msgspec.json.decode(told)
    counts = (ledger.get(name) or 0 for name in ("started", "ended", "received", "late"))
    return bool(ledger.get("is_final")), *counts, told


def _merge_annotations(home: Path, copy: Path) -> None:
    there = home / "annotations.jsonl"
    known = _lines(there)
    merged = dict.fromkeys((*known, *_lines(copy / "annotations.jsonl")))
    if len(merged) > len(known):
        ordered = sorted(merged, key=lambda line: (msgspec.json.decode(line).get("time_ns") or 0, line))
        make_folder(home)
        write_whole(there, b"".join(line + b"\n" for line in ordered))


def _lines(path: Path) -> list[bytes]:
    return list(_whole(path.read_bytes().splitlines())) if path.exists() else []


def _whole(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        try:
            msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        yield line


def further(first: ExperimentRecord, second: ExperimentRecord) -> ExperimentRecord:
    """Of two records of one experiment the one that counts; the same whichever comes first."""
    return max(first, second, key=_rank)


def _rank(record: ExperimentRecord) -> tuple[Any, ...]:
    # What is computed from the rows differs from node to node and says nothing about the record.
    bare = msgspec.structs.replace(record, content_hash=None, ledger={})
    is_owned = not record.environment.get("is_shared")
    text = msgspec.json.encode(bare)
    return is_owned, _STATES.index(record.state), record.stopped_ns or 0, -record.started_ns, text


def copies_in(folder: Path) -> list[Path]:
    """The folders of experiments in a copy: the folder itself, or those of a whole store."""
    if any((folder / part).exists() for part in ("experiment.json", "journal", "manifest")):
        return [folder]
    return sorted(
        path for path in folder.iterdir() if (path / "experiment.json").exists() or (path / "journal").exists()
    )


def record_in(copy: Path) -> ExperimentRecord | None:
    """The record in a copy, or None where it has none. Raises `StoreError` where it cannot be read."""
    if not (copy / "experiment.json").exists():
        return None
    return decoded((copy / "experiment.json").read_bytes(), copy / "experiment.json")


def sealed_in(folder: Path) -> tuple[Sealed, ...]:
    """What is sealed of an experiment."""
    return manifest.latest(folder / "manifest").sealed


def is_disk(place: object) -> bool:
    """Whether a place keeps experiments as folders, so that copies can be merged into it."""
    return isinstance(place, DiskCatalogue)
