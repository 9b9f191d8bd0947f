"""An experiment worth archiving: two conditions, trials, scores, an aside, an exclusion, a cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import CALL

import otel_research as otr
from otel_research.testing import recording


def run(name: str = "to keep", store: str = "memory:", sessions: tuple[str, ...] = ("one", "two")) -> otr.Experiment:
    """Run it; the experiment, stopped."""
    with recording(store) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment(name, hypothesis="b is faster", primary="latency", sample_size=6, seed=7) as exp:
            for item in range(6):
                for condition in ("a", "b"):
                    with (
                        exp.session(sessions[item % len(sessions)]),
                        exp.arm(condition),
                        exp.trial(item=f"q{item}") as trial,
                    ):
                        with tracer.start_as_current_span("chat", attributes={**CALL, "nan": float("nan")}):
                            pass
                        trial.score("accuracy", item % 2)
            with exp.aside("judge"), tracer.start_as_current_span("chat", attributes=CALL):
                pass
        exp.exclude({"item_id": "q5"}, reason="the network was down")
    return exp


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> otr.Experiment:
    """One that was stopped, in a disk store of the test's."""
    monkeypatch.chdir(tmp_path)
    return run(store=f"disk:{tmp_path / 'store'}")
