"""What was said to a model is its user's alone: everything that is kept on a disk is 0600, in folders of 0700."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.store.remotes import Remote

import otel_research as otr
from otel_research.archive.erase import erase
from otel_research.store.disk import DiskStore
from otel_research.testing import batch, recording, rows


@pytest.fixture(autouse=True)
def _generous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The umask of a program that never thought of it."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o002)
    yield
    os.umask(before)


def open_to_others(*places: Path) -> list[str]:
    """What in these places others may read, places included."""
    found = [path for place in places for path in (place, *place.rglob("*"))]
    assert any(path.is_file() for path in found)
    return [f"{path} {path.stat().st_mode & 0o777:o}" for path in found if path.stat().st_mode & 0o077]


def recorded(store: object, sessions: int = 2) -> otr.Experiment:
    """An experiment with everything that leaves a file: segments, records, ledgers, annotations."""
    with recording(store) as (_, provider), otr.experiment("private") as exp:  # type: ignore[arg-type]
        for number in range(sessions):
            with exp.session(f"user-{number}"), exp.arm("a"), exp.trial(item=f"q{number}"):
                provider.get_tracer("x").start_span("s", attributes={"gen_ai.prompt": "secret"}).end()
    exp.exclude({"name": "s"}, reason="to leave an annotation")
    return exp


def test_a_store_on_disk_is_its_users(tmp_path: Path) -> None:
    """Live journal, sealed Parquet, manifests, record, ledger and annotations, and the folders above that we made."""
    root = tmp_path / "made by us" / "store"
    exp = recorded(f"disk:{root}")
    DiskStore(root).append(batch(rows(2)))
    with recording(f"disk:{root}") as (_, provider):
        running = otr.start_experiment("still runs")
        provider.get_tracer("x").start_span("s").end()
        assert open_to_others(tmp_path / "made by us") == []
        otr.stop_experiment(running)
    assert exp.spans().collect().height == 4
    assert open_to_others(tmp_path / "made by us") == []


def test_the_journal_of_a_store_elsewhere_is_its_users(tmp_path: Path) -> None:
    """Progress files and what waits while the store is away."""
    remote = Remote(tmp_path / "remote")
    remote.cut_off()
    recorded(remote)
    assert open_to_others(Path(".otel_research")) == []


def test_an_archive_is_its_users(tmp_path: Path) -> None:
    """As it is made, after an erasure, and restored; whoever publishes it opens it up on purpose."""
    exp = recorded(f"disk:{tmp_path / 'store'}")
    archive = Path(exp.archive(path=tmp_path / "kept" / "x.archive"))
    assert open_to_others(tmp_path / "kept") == []
    assert erase(archive, "session_id", "user-0", "asked for")["rows"] > 0
    assert open_to_others(tmp_path / "kept") == []
    assert pl.scan_parquet(archive / "spans" / "*.parquet").select(pl.len()).collect().item() == 2


def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    """Who shares a store with a group has made its folder so."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    recorded(f"disk:{shared}")
    assert shared.stat().st_mode & 0o777 == 0o775
