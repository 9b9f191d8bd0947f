"""Pages of experiments that are over are computed once: kept for the user, as long as nothing about them changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stores import Made

import otel_research as otr
from otel_research.dashboard import overview
from otel_research.dashboard.kept import version_of
from otel_research.dashboard.worker import Desk
from otel_research.handle import Experiment
from otel_research.store.library import Library


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def computing_fails(view: object) -> Any:
    raise AssertionError("computed again")


def test_a_second_visit_computes_nothing(cache: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of another server: the same sections and the same cost, from the user's own folder."""
    exp = made.ids["ablation"]
    first = Desk(made.url)
    told = [first.section(exp, name, fresh=name == "head") for name in ("head", "metrics", "quality")]
    cost = first.cost(exp)
    monkeypatch.setattr(overview, "View", computing_fails)
    monkeypatch.setattr(Experiment, "metrics", computing_fails, raising=False)
    again = Desk(made.url)
    found = [again.section(exp, name, fresh=name == "head") for name in ("head", "metrics", "quality")]
    assert json.dumps(found) == json.dumps(told)
    assert again.cost(exp) == cost
    assert {path.stat().st_mode & 0o777 for path in cache.rglob("*.json")} == {0o600}


def test_what_can_still_change_is_computed_anew(cache: Path, disk_host: Any) -> None:
    """A running experiment has no version; a note on one that is over makes another one."""
    with otr.experiment("kept") as exp:
        disk_host.call()
        library = Library(exp.library.url)
        assert version_of(library, exp.record) is None
    record = library.get(exp.id)
    before = version_of(library, record)
    assert before == version_of(Library(exp.library.url), record) is not None
    desk = Desk(library.url)
    assert desk.section(exp.id, "notes", fresh=True)["others"] == []
    exp.exclude({"item_id": "q1"}, reason="the question was wrong")
    assert version_of(library, record) != before
    assert len(desk.section(exp.id, "notes", fresh=True)["others"]) == 1
    assert len(list(cache.rglob("notes.json"))) == 1


def test_what_was_deleted_is_not_kept(cache: Path, disk_host: Any) -> None:
    """The next question about the store forgets the pages of experiments that it does not have any more."""
    made = []
    for name in ("deleted", "stays"):
        with otr.experiment(name) as exp:
            disk_host.call()
        made.append(exp)
    url = made[0].library.url
    for exp in made:
        Desk(url).section(exp.id, "head", fresh=True)
    assert len(list(cache.rglob("head.json"))) == 2
    Library(url).delete(made[0].record)
    Desk(url).section(made[1].id, "head", fresh=True)
    assert [made[1].id in str(path) for path in cache.rglob("head.json")] == [True]


def test_a_damaged_page_or_a_folder_that_cannot_be_written_costs_only_time(cache: Path, made: Made) -> None:
    """It is computed again."""
    exp = made.ids["ablation"]
    told = Desk(made.url).section(exp, "notes", fresh=True)
    (path,) = cache.rglob("notes.json")
    path.write_bytes(b'{"alerts": [')
    assert Desk(made.url).section(exp, "notes", fresh=True) == told
    for kept in sorted(cache.rglob("*"), reverse=True):
        kept.rmdir() if kept.is_dir() else kept.unlink()
    cache.rmdir()
    cache.write_text("not a folder")
    assert Desk(made.url).section(exp, "notes", fresh=True) == told
