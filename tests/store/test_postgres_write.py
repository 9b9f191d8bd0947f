"""How rows get into PostgreSQL: straight by binary COPY, and by a merge where some are there already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import psycopg
import pytest

from otel_research.store import postgres_write
from otel_research.store.postgres import PostgresStore
from otel_research.testing import batch, rows


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that were copied into."""
    found: list[str] = []
    copy = postgres_write._copy

    def watched(connection: Any, table: str, frame: pl.DataFrame) -> None:
        found.append(table)
        copy(connection, table, frame)

    monkeypatch.setattr(postgres_write, "_copy", watched)
    return found


def test_new_rows_go_straight_and_known_ones_through_a_merge(store: PostgresStore, copies: list[str]) -> None:
    """One row that is there already sends the batch through the merge: the others come in, the known one stays."""
    store.append(batch(rows(10, name="first")))
    assert copies == ["spans"]
    store.append(batch(rows(10, first=9, name="later")))
    assert copies == ["spans", "spans", "arriving"]
    assert store.scan().sort("start_ns").collect()["name"].to_list() == ["first"] * 10 + ["later"] * 9


def test_the_merge_replaces_what_was_interrupted_and_nothing_else(store: PostgresStore) -> None:
    """In one batch with new rows, and never back."""
    store.append(batch(rows(2, status="interrupted", end_ns=None)))
    store.append(batch(rows(4)))
    store.append(batch(rows(4, status="interrupted", end_ns=None)))
    found = store.scan().collect()
    assert found["status"].to_list() == ["unset"] * 4
    assert found["end_ns"].null_count() == 0


@pytest.mark.parametrize("deadlocks", [1, 3])
def test_a_deadlock_is_tried_again(
    store: PostgresStore, copies: list[str], monkeypatch: pytest.MonkeyPatch, deadlocks: int
) -> None:
    """PostgreSQL ends one of two writers that wait for each other; that one begins anew and its rows arrive."""
    copy = postgres_write._copy

    def unlucky(connection: Any, table: str, frame: pl.DataFrame) -> None:
        copy(connection, table, frame)
        if len(copies) <= deadlocks:
            raise psycopg.errors.DeadlockDetected("deadlock detected")

    monkeypatch.setattr(postgres_write, "_copy", unlucky)
    store.append(batch(rows(5)))
    assert copies == ["spans", *["arriving"] * deadlocks]
    assert store.scan().collect().height == 5


def test_what_jsonb_cannot_hold_beside_a_known_row(store: PostgresStore, copies: list[str]) -> None:
    """Both reasons to leave the straight way in one batch."""
    store.append(batch(rows(1)))
    texts = ['{"a":1}', '{"nul":"x\\u0000y"}', "not json"]
    store.append(batch(rows(3).with_columns(attributes=pl.Series(texts))))
    assert copies[:3] == ["spans", "spans", "arriving"]
    found = store.scan().sort("start_ns").collect()["attributes"].to_list()
    assert found[1:] == texts[1:]
