"""Numbers warn of what capture lost, whatever state their experiment is in."""

from __future__ import annotations

import logging

import pytest

import otel_research as otr
from otel_research.store.memory import MemoryStore
from otel_research.testing import recording


def told(exp: otr.Experiment) -> list[float | None]:
    return [warning.value for warning in otr.calculate_metrics(exp, unit="span").warnings if warning.code == "lost"]


def test_the_numbers_of_a_running_experiment_warn_of_losses(caplog: pytest.LogCaptureFixture) -> None:
    """Not only once it has been stopped: who looks while it runs must know."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")
    with recording(MemoryStore(limit=100_000), overload="refuse") as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("running") as exp:
            tracer.start_span("first").end()
            assert told(exp) == []
            for _ in range(400):
                tracer.start_span("s").end()
            lost = exp.ledger().lost_total
            assert lost > 0
            assert told(exp) == [lost]
        assert told(exp) == [exp.ledger().lost_total]
