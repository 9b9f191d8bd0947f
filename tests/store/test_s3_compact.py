"""Small objects become larger ones: fewer requests for readers, and no moment in which a span is missing or there twice."""

from __future__ import annotations

import threading
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.store import s3_compact
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.objects import Bucket
from otel_research.store.s3 import S3Store
from otel_research.testing import batch, rows

OWNER = "e" * 32
MIB = 1 << 20


def entry(name: str, size: int | None) -> Sealed:
    return Sealed(name=name, file=None if size == 0 else f"{name}.parquet", rows=1, sha256="x", size=size)


def manifest_of(**sizes: int | None) -> Manifest:
    return Manifest(number=1, sealed=tuple(entry(name, size) for name, size in sizes.items()))


def names(store: S3Store) -> list[str]:
    return [each.file for each in store._latest(OWNER).sealed if each.file]


def objects(bucket: str) -> list[str]:
    return [name.rpartition("/")[2] for name in Bucket(bucket, "c").names(f"{OWNER}/parquet")]


def test_only_small_neighbours_are_merged() -> None:
    """A large file between two, or one whose size nobody noted, keeps them apart: the first of two rows of a span counts."""
    current = manifest_of(a=MIB, b=MIB, nothing=0, c=MIB, large=9 * MIB, d=MIB, unknown=None, e=MIB, f=MIB)
    found = [[each.name for each in group] for group in s3_compact.groups(current, 2)]
    assert found == [["a", "b", "c"], ["e", "f"]]
    assert [len(group) for group in s3_compact.groups(current, 3)] == [3]


def test_what_is_merged_fits_into_memory() -> None:
    """A group is closed where the next file would make it larger than it may be."""
    current = manifest_of(**{f"f{number}": 7 * MIB for number in range(10)})
    assert [len(group) for group in s3_compact.groups(current, 2)] == [4, 4, 2]


def test_the_merged_file_stands_where_the_first_stood() -> None:
    """And of two writers that merge the same files one does."""
    current = manifest_of(large=9 * MIB, a=MIB, b=MIB, other=9 * MIB)
    (group,) = s3_compact.groups(current, 2)
    merged = s3_compact.with_merged(current, group, entry("ab", 2 * MIB), now_ns=5)
    assert [each.name for each in merged.sealed] == ["large", "ab", "other"]
    assert merged.replaced == {"a.parquet": 5, "b.parquet": 5}
    assert s3_compact.with_merged(merged, group, entry("again", 2 * MIB), now_ns=6) == merged


def test_a_long_run_has_few_objects(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs there are never many, at its end one; who began to read before reads on; the old ones go after an hour."""
    monkeypatch.setattr(s3_compact, "MANY", 5)
    store = S3Store(f"s3://{s3_bucket}/c")
    most = 0
    for number in range(12):
        store.append(batch(rows(10, first=number * 10)))
        most = max(most, len(names(store)))
    assert most < 5
    began = store.scan(OWNER)
    store.settle(OWNER)
    assert len(names(store)) == 1
    assert began.collect().height == 120
    assert store._latest(OWNER).is_distinct
    assert len(objects(s3_bucket)) > 12
    monkeypatch.setattr(s3_compact, "GRACE_SECONDS", 0.0)
    store.settle(OWNER)
    assert objects(s3_bucket) == names(store)
    assert store._latest(OWNER).replaced == {}
    found = store.scan(OWNER).collect()
    assert found.height == found["span_id"].n_unique() == 120
    assert found["start_ns"].is_sorted()


def test_each_span_once_and_ended_before_interrupted(s3_bucket: str) -> None:
    """Rows that share an identity are one after the merge, the one that a reader saw before it."""
    store = S3Store(f"s3://{s3_bucket}/c")
    store.append(batch(rows(3, status="interrupted", end_ns=None)))
    store.append(batch(rows(2, name="first")))
    store.append(batch(rows(2, name="second")))
    before = store.scan(OWNER).sort("start_ns").collect()
    store.settle(OWNER)
    assert len(names(store)) == 1
    assert store._scanned(OWNER, store._latest(OWNER).sealed).collect().height == 3
    assert store.scan(OWNER).sort("start_ns").collect().equals(before)
    assert before["name"].to_list()[:2] == ["first", "first"]


def test_readers_and_writers_at_the_same_time(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three writers that merge each other's files, and a reader that finds each span once and never fewer than before."""
    monkeypatch.setattr(s3_compact, "MANY", 3)
    url = f"s3://{s3_bucket}/c"
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            store = S3Store(url)
            for at in range(6):
                store.append(batch(rows(5, first=(number * 6 + at) * 5)))
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    seen, reader = [0], S3Store(url)
    while any(writer.is_alive() for writer in writers):
        found = reader.scan(OWNER).select("span_id").collect()["span_id"]
        assert found.n_unique() == found.len()
        seen.append(found.len())
    assert failed == []
    assert seen == sorted(seen)
    reader.settle(OWNER)
    assert reader.scan(OWNER).select(pl.len()).collect().item() == 90
    assert len(names(reader)) == 1
    unused = set(objects(s3_bucket)) - set(names(reader)) - set(reader._latest(OWNER).replaced)
    assert unused == set()


def test_a_merge_that_breaks_off_changes_nothing(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploaded and not declared: readers see the files as before, and the next one merges them."""
    store = S3Store(f"s3://{s3_bucket}/c")
    for number in range(3):
        store.append(batch(rows(10, first=number * 10)))
    with monkeypatch.context() as changed:

        def broken(*arguments: Any) -> None:
            raise otr.errors.StoreUnreachable("killed here")

        changed.setattr(S3Store, "_update", broken)
        with pytest.raises(otr.StoreError, match="killed here"):
            store.settle(OWNER)
    assert len(names(store)) == 3
    assert store.scan(OWNER).collect().height == 30
    store.settle(OWNER)
    assert len(names(store)) == 1
    assert store.scan(OWNER).collect().height == 30
