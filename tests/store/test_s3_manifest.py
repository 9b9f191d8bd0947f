"""The manifest in object storage, without a server: what was declared stays declared."""

from __future__ import annotations

from typing import Any

import pytest

from otel_research.store import manifest
from otel_research.store.manifest import Sealed
from otel_research.store.objects import Bucket
from otel_research.store.s3 import S3Store

EXPERIMENT = "e" * 32


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A bucket in memory."""
    from obstore import store

    memory = store.MemoryStore()

    def opened(*_: Any, **__: Any) -> Any:
        return memory

    monkeypatch.setattr(store, "S3Store", opened)
    return S3Store("s3://lab/x")


def declare(store: S3Store, name: str) -> None:
    entry = Sealed(name=name, file=None, rows=0, sha256=None)
    store._update(EXPERIMENT, lambda current: manifest.with_sealed(current, entry))


@pytest.mark.parametrize("others", [1, 5, 8])
def test_a_writer_that_comes_late_to_its_number_loses_nothing(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Its number may have been taken, and freed again, by writers that were faster: it looks again."""
    declare(store, "first")
    create, waiting = Bucket.create, [True]

    def overtaken(self: Bucket, name: str, content: bytes) -> bool:
        if waiting:
            waiting.clear()
            for number in range(others):
                declare(store, f"other-{number}")
        return create(self, name, content)

    monkeypatch.setattr(Bucket, "create", overtaken)
    declare(store, "slow")
    assert store._latest(EXPERIMENT).names() == {"first", "slow", *(f"other-{number}" for number in range(others))}
    assert len(store._numbers(EXPERIMENT)) <= 5
