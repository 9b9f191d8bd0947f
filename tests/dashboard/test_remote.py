"""A dashboard on another machine than the run: both only share the store elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CALL

import otel_research as otr
from otel_research.dashboard.catalogue import Shelf
from otel_research.dashboard.worker import Desk
from otel_research.testing import recording


@pytest.fixture(params=["postgres", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('s3_bucket')}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def host(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Records on one machine; who looks from now on is on another one, with a local disk of its own."""
    (tmp_path / "run").mkdir()
    (tmp_path / "dashboard").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with recording(url) as (recorder, provider):
        monkeypatch.chdir(tmp_path / "dashboard")
        yield recorder, provider.get_tracer("app")


def test_a_run_elsewhere_is_listed_followed_and_told_to_its_end(host: Any, url: str) -> None:
    """Captured while it runs and after it, the latest spans, the numbers, what is new, that it is over."""
    recorder, tracer = host

    def call(condition: str) -> None:
        with exp.arm(condition), exp.trial(item="q1"), tracer.start_as_current_span("chat", attributes=CALL):
            pass
        recorder.delivered(exp.id)

    shelf, desk = Shelf(url), Desk(url)
    with otr.experiment("elsewhere") as exp:
        call("a")
        (line,) = shelf.listed()
        assert (line["state"], line["stored"], line["lost"], line["last_ns"]) == ("running", 2, 0, None)
        assert [name for name, _ in desk.news(exp.id)[0]] == ["metrics_update"]
        call("b")
        (line,) = shelf.listed()
        assert line["stored"] == 4
        assert line["last_ns"] > line["started_ns"]
        head = desk.section(exp.id, "head", fresh=True)
        assert (head["conditions"], head["ledger"]["stored"]) == (["a", "b"], 4)
        assert desk.section(exp.id, "tail")["spans"][0]["condition"] == "b"
        assert [part["metrics"]["n"] for part in desk.section(exp.id, "metrics")["conditions"]] == [1, 1]
    events, state = desk.news(exp.id)
    assert (events[-1], state) == (("state", {"state": "stopped"}), "stopped")
    (line,) = shelf.listed()
    assert (line["state"], line["stored"], line["lost"]) == ("stopped", 4, 0)
    assert desk.section(exp.id, "head", fresh=True)["ledger"]["stored"] == 4
