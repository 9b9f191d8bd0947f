"""A crash at any step of sealing leaves each row exactly once, and the next sealing finishes the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from segments import EXPERIMENT, end, log_in, start

from otel_research.journal.frame import END, START
from otel_research.spans.record import Definition
from otel_research.store import seal
from otel_research.store.disk import DiskStore

pytestmark = pytest.mark.once  # what files hold after a crash
SPANS = 40
LEFT_OPEN = {37}
CARRIED = {5}
"""Starts in the first segment, ends in the last one."""


class Crash(BaseException):
    """The process is gone: nothing catches it."""


def journal(root: Path) -> None:
    """Two segments of a dead process: spans that end, one that is carried along, one that never ends."""
    log = log_in(root / EXPERIMENT / "journal")
    log.numbers.definitions = [_definition(0, "scope", "app"), _definition(1, "resource", "")]
    log.numbers.single = list(log.numbers.definitions)
    for number in range(SPANS):
        log.append(START, start(number))
        if number not in LEFT_OPEN | CARRIED:
            log.append(END, end(number))
        if number == 20:
            log.roll()
    for number in CARRIED:
        log.append(END, end(number))
    log.roll()
    assert len(list((root / EXPERIMENT / "journal").glob("*.wal"))) == 2


def _definition(number: int, what: str, name: str) -> bytes:
    from otel_research.spans.record import encode_msgpack

    return encode_msgpack(Definition(number, what, name, None, {}))


def sealed(root: Path, step: Callable[[str], None] = lambda name: None) -> None:
    seal.seal(root / EXPERIMENT, is_growing=lambda file: False, is_final=lambda writer: True, step=step)


def assert_each_row_once(root: Path) -> None:
    rows = DiskStore(root).scan(EXPERIMENT).collect()
    numbers = rows["attributes"].str.json_path_match("$.number").cast(pl.Int64)
    assert sorted(numbers) == list(range(SPANS))
    interrupted = rows.filter(pl.col("status") == "interrupted")
    assert set(interrupted["attributes"].str.json_path_match("$.number").cast(pl.Int64)) == LEFT_OPEN


def assert_finished(root: Path) -> None:
    """A second sealing has nothing left to do, and no file is left over that counts."""
    sealed(root)
    assert list((root / EXPERIMENT / "journal").glob("*.wal")) == []
    assert_each_row_once(root)
    counts, still_open = DiskStore(root).counts(EXPERIMENT)
    assert (counts.started, counts.ended, counts.unannounced, still_open) == (SPANS, SPANS - 1, 0, 0)


STEPS = ("os.replace", "os.link", "os.unlink", "os.fsync", "polars.DataFrame.write_parquet")
"""What sealing does to the disk."""


@contextmanager
def dying(at: int) -> Iterator[list[str]]:
    """The process dies before the step with this number, counted over all kinds; nothing happens after it."""
    taken: list[str] = []

    def dies(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            taken.append(name)
            if len(taken) > at:
                raise Crash(name)
            return real(*args, **kwargs)

        return step

    patches = [
        mock.patch(target, dies(target, getattr(pl.DataFrame if "polars" in target else os, target.rpartition(".")[2])))
        for target in STEPS
    ]
    for patch in patches:
        patch.start()
    try:
        yield taken
    finally:
        for patch in patches:
            patch.stop()


def steps_of_a_seal(root: Path) -> int:
    journal(root)
    with dying(10_000) as taken:
        sealed(root)
    assert set(taken) == set(STEPS)
    return len(taken)


def test_a_crash_at_every_system_call(tmp_path: Path) -> None:
    """Before every write, sync, rename, link and unlink of sealing two segments: before one is after the one before it."""
    number = steps_of_a_seal(tmp_path / "whole")
    assert number > 15
    for at in range(number):
        root = tmp_path / f"{at}"
        journal(root)
        with dying(at), pytest.raises(Crash):
            sealed(root)
        assert_each_row_once(root)
        assert_finished(root)


@pytest.mark.parametrize("name", ["convert", "declare", "forget"])
def test_a_reader_between_the_steps(tmp_path: Path, name: str) -> None:
    """Whoever reads while another process seals sees each row once."""
    journal(tmp_path)
    seen = []

    def look(step: str) -> None:
        if step == name:
            assert_each_row_once(tmp_path)
            seen.append(step)

    sealed(tmp_path, look)
    assert len(seen) == 2
    assert_finished(tmp_path)


def test_a_reader_that_was_open_before(tmp_path: Path) -> None:
    """A store that has read the journal already, and caches it, sees the same rows at every step."""
    journal(tmp_path)
    reader = DiskStore(tmp_path)
    before = reader.scan(EXPERIMENT).sort("span_id").collect()

    def look(step: str) -> None:
        now = reader.scan(EXPERIMENT).sort("span_id").collect()
        assert now.select(before.columns).equals(before), step

    sealed(tmp_path, look)
    look("end")


def test_what_a_crash_left_half_written_is_removed_by_the_next_seal(tmp_path: Path) -> None:
    """Temporary files that nobody can be writing any more; a young one, and what is not ours, stay."""
    journal(tmp_path)
    folder = tmp_path / EXPERIMENT
    old = [folder / ".experiment.json.0123abcd.tmp", folder / "parquet" / ".x.parquet.0123abcd.tmp"]
    young, foreign = folder / "parquet" / ".y.parquet.0123abcd.tmp", folder / ".notes.tmp"
    (folder / "parquet").mkdir()
    for path in (*old, young, foreign):
        path.write_bytes(b"half")
        os.utime(path, None if path is young else (1, 1))
    sealed(tmp_path)
    assert [path for path in (*old, young, foreign) if path.exists()] == [young, foreign]
    assert_each_row_once(tmp_path)
