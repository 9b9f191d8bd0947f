"""Every row is met once, whichever process wrote it, sealed or not; and its calls are those of `calculate_metrics`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import otel_research as otr
from otel_research.watching.calls import Calls
from otel_research.watching.follow import DiskFollower, follow


@pytest.fixture(params=["host", "disk_host"])
def any_host(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_a_row_is_given_once_before_and_after_the_seal(any_host: Any) -> None:
    """What was read from the journal does not come again when it is sealed; what was not, does."""
    with otr.experiment("follow") as exp:
        follower = follow(exp.library, exp.id)
        assert follower.new().is_empty()
        for _ in range(3):
            any_host.call()
        assert follower.new().height == 3
        assert follower.new().is_empty()
        for _ in range(2):
            any_host.call()
    # Sealed by now: three known rows, two that nobody had read.
    assert follower.new().height == 2
    assert follower.new().is_empty()


def test_a_follower_that_comes_late_gets_everything(any_host: Any) -> None:
    """Also of an experiment that is over."""
    with otr.experiment("late") as exp:
        for _ in range(4):
            any_host.call()
    assert follow(exp.library, exp.id).new().height == 4


def test_spans_of_another_process_come_too(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A process that records into the store is followed by its files alone."""
    code = """
import otel_research as otr
from opentelemetry import trace
otr.configure(store="disk:store")
with otr.experiment("elsewhere") as exp:
    for _ in range(7):
        with trace.get_tracer("t").start_as_current_span("s"):
            pass
print(exp.id)
"""
    run = run_python(code)
    assert run.returncode == 0, run.stderr
    from otel_research.store.disk import DiskStore

    assert DiskFollower(DiskStore(tmp_path / "store"), run.stdout.strip()).new().height == 7


def test_the_totals_are_those_of_calculate_metrics(any_host: Any) -> None:
    """Calls, failures, cost and tokens, to the nano-dollar, however the rows were cut into pieces."""
    calls = Calls()
    with otr.experiment("totals") as exp:
        follower = follow(exp.library, exp.id)
        for number in range(25):
            with any_host.tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
                any_host.call(**{"gen_ai.usage.input_tokens": 100 + number})
                with any_host.tracer.start_as_current_span(
                    "chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "no-such-model"}
                ) as span:
                    if number % 5 == 0:
                        span.set_status(StatusCode.ERROR)
                if number % 3 == 0:
                    calls.add(follower.new())
            with exp.aside("judge"):
                any_host.call()
        calls.add(follower.new())
        expected = otr.calculate_metrics(exp)
    assert expected.cost is not None
    assert expected.reliability is not None
    assert expected.tokens is not None
    totals = calls.totals
    assert totals.calls == expected.n == 50
    assert totals.failures == expected.reliability.failures == 5
    assert totals.cost_nano_usd == expected.cost.total_nano_usd
    assert totals.unpriced == expected.cost.unpriced == 25
    assert totals.tokens == expected.tokens.total


def test_a_wrapper_that_ends_later_is_not_a_second_call(host: Any) -> None:
    """The inner call counts when it ends; its wrapper, read in the next piece, changes nothing."""
    calls = Calls()
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }
    with otr.experiment("wrapped") as exp:
        follower = follow(exp.library, exp.id)
        with host.provider.get_tracer("outer").start_as_current_span("chat", attributes=attributes):
            with host.provider.get_tracer("inner").start_as_current_span("chat", attributes=attributes):
                pass
            first = calls.add(follower.new())
        second = calls.add(follower.new())
        expected = otr.calculate_metrics(exp)
    assert len(first.added) == 1
    assert len(second.added) == len(second.removed)
    assert calls.totals.calls == expected.n == 1


def test_root_spans_stand_for_calls_until_a_marker_comes(host: Any) -> None:
    """As in `calculate_metrics`: with the first GenAI span they stop."""
    calls = Calls()
    with otr.experiment("roots") as exp:
        follower = follow(exp.library, exp.id)
        for _ in range(3):
            with host.tracer.start_as_current_span("work"):
                pass
        calls.add(follower.new())
        assert calls.totals.calls == otr.calculate_metrics(exp).n == 3
        host.call()
        change = calls.add(follower.new())
        assert calls.totals.calls == otr.calculate_metrics(exp).n == 1
    assert len(change.removed) == 3
    assert calls.totals.spans == 4
