"""The manifest: what was declared stays declared, whoever writes at the same time."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import otel_research as otr
from otel_research.errors import ResearchError
from otel_research.store import disk, manifest, seal
from otel_research.store.disk import DiskStore
from otel_research.store.library import Library
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.tail import SegmentFile
from otel_research.testing import batch, recording, rows

EXPERIMENT = "e" * 32


def entry(name: str) -> Sealed:
    return Sealed(name=name, file=None, rows=0, sha256=None)


def declare(folder: Path, name: str) -> Manifest:
    return manifest.update(folder, functools.partial(manifest.with_sealed, entry=entry(name)))


@pytest.mark.parametrize("others", [1, 2, 3, 5])
def test_a_writer_that_comes_late_to_its_number_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Its number may have been taken, and freed again, by writers that were faster: it looks again. Without locks."""
    monkeypatch.setattr(manifest, "one_at_a_time", contextlib.nullcontext)
    declare(tmp_path, "first")
    create, waiting = manifest.create_whole, [True]

    def overtaken(path: Path, data: bytes) -> bool:
        if waiting:
            waiting.clear()
            for number in range(others):
                declare(tmp_path, f"other-{number}")
        return create(path, data)

    monkeypatch.setattr(manifest, "create_whole", overtaken)
    declared = declare(tmp_path, "slow")
    wanted = {"first", "slow", *(f"other-{number}" for number in range(others))}
    assert manifest.latest(tmp_path).names() == declared.names() == wanted


def test_a_number_that_others_have_built_on_is_not_declared_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds its entry in a later manifest is done."""
    create, made = manifest.create_whole, []

    def followed(path: Path, data: bytes) -> bool:
        is_created = create(path, data)
        if not made:
            made.append(path)
            declare(tmp_path, "other")
        return is_created

    monkeypatch.setattr(manifest, "one_at_a_time", contextlib.nullcontext)
    monkeypatch.setattr(manifest, "create_whole", followed)
    assert [one.name for one in declare(tmp_path, "mine").sealed] == ["mine", "other"]
    assert manifest.latest(tmp_path).number == 2


def test_a_manifest_that_goes_while_it_is_opened_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that was slow between the listing and the opening gets the state of now, not an error."""
    declare(tmp_path, "first")
    read, waiting = Path.read_bytes, [True]

    def slow(path: Path) -> bytes:
        if waiting:
            waiting.clear()
            for number in range(3):
                declare(tmp_path, f"other-{number}")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", slow)
    assert len(manifest.latest(tmp_path).sealed) == 4


APPEND = """
import sys
from otel_research.store.disk import DiskStore
from otel_research.testing import batch, rows
store, first = DiskStore(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 25):
    store.append(batch(rows(1, first=number)))
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three processes, a row at a time: every row is there when they have left."""
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), str(100 * number)]) for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert DiskStore(tmp_path).scan(EXPERIMENT).collect().height == 75


def test_a_batch_of_several_experiments_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    """An id that cannot be one refuses the batch before anything of it is stored."""
    store = DiskStore(tmp_path)
    with pytest.raises(ResearchError, match="NOT-AN-ID"):
        store.append(batch(pl.concat([rows(2, "a" * 32), rows(2, "NOT-AN-ID")])))
    assert store.scan("a" * 32).collect().is_empty()


def test_a_seal_beside_a_reader_takes_no_segment_from_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that goes between the listing and the opening is no error: another process has sealed it."""
    with recording(f"disk:{tmp_path}") as (_, provider), otr.experiment("sealed meanwhile") as exp:
        provider.get_tracer("app").start_span("a").end()
        listed = disk.segment_files

        def sealed_meanwhile(folder: Path) -> dict[str, list[SegmentFile]]:
            found = listed(folder)
            for files in found.values():
                for file in files:
                    file.path.rename(file.path.with_suffix(".gone"))
            return found

        monkeypatch.setattr(disk, "segment_files", sealed_meanwhile)
        assert [record.state for record in Library(f"disk:{tmp_path}").find()] == ["running"]
        monkeypatch.undo()
        for path in tmp_path.glob("*/journal/*.gone"):
            path.rename(path.with_suffix(".wal"))
    assert exp.ledger().stored == 1


def test_what_is_added_during_the_look_for_copies_is_not_taken_as_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same span, appended again at that moment, comes back once."""
    store, is_distinct, waiting = DiskStore(tmp_path), seal.rows.is_distinct, [True]
    store.append(batch(rows(1)))

    def added_meanwhile(frame: pl.LazyFrame) -> bool:
        found = is_distinct(frame)
        if waiting:
            waiting.clear()
            store.append(batch(rows(2)))
        return found

    monkeypatch.setattr(seal.rows, "is_distinct", added_meanwhile)
    store.seal(EXPERIMENT, is_over=True)
    assert not manifest.latest(tmp_path / EXPERIMENT / "manifest").is_distinct
    assert store.scan(EXPERIMENT).collect().height == 2
