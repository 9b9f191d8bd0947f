"""A forked child of a process that has used Polars: its threads are gone, so the child must not need them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import otel_research as otr

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_a_childs_own_experiment_is_sealed_by_who_opens_it_next(
    disk_host: Any, wait_for: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child starts, stops and leaves without Polars; the parent finds the experiment stopped, whole and sealed."""
    pl.DataFrame({"a": range(100_000)}).lazy().group_by("a").len().collect()
    child = os.fork()
    if child == 0:
        for name in ("collect", "select", "lazy"):
            for kind in (pl.LazyFrame, pl.DataFrame):
                if hasattr(kind, name):
                    setattr(kind, name, lambda *_, **__: os._exit(3))
        try:
            with otr.experiment("a child's") as exp:
                for _ in range(5):
                    disk_host.call()
            disk_host.recorder.close()
            assert (exp.state, exp.content_hash) == ("stopped", None)
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    (exp,) = otr.list_experiments(name="a child's")
    assert exp.state == "stopped"
    assert exp.ended_by == "user"
    assert exp.content_hash is not None
    assert exp.spans().collect().height == 5
    folder = disk_host.recorder.library.store.folder(exp.id)
    assert list((folder / "journal").glob("*.wal")) == []
    assert (exp.ledger().stored, exp.ledger().is_balanced) == (5, True)


def test_a_child_that_takes_part_leaves_without_polars(disk_host: Any, wait_for: Callable[[int], None]) -> None:
    """Its spans are in its parent's experiment, and the parent seals them."""
    with otr.experiment("both") as exp:
        disk_host.call()
        exp.spans().collect()
        child = os.fork()
        if child == 0:
            pl.LazyFrame.collect = lambda *_, **__: os._exit(3)  # type: ignore[assignment, method-assign]
            disk_host.call()
            disk_host.recorder.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    assert exp.spans().collect().height == 2
    assert (exp.ledger().stored, exp.ledger().is_balanced) == (2, True)
