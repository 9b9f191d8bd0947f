"""Event filter, sampling and content policy where they meet the user's code: errors, counts, the experiment's own rows."""

from __future__ import annotations

import json
import logging
import math
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

import otel_research as otr
from otel_research.capture.rules import Rules
from otel_research.testing import recording


def make(host: Any, *names: str) -> None:
    for name in names:
        host.tracer.start_span(name, attributes={"gen_ai.input.messages": "hello", "n": 1}).end()


def test_a_filter_keeps_what_it_says_and_counts_the_rest(host: Any) -> None:
    """The filter sees the ended span; the experiment's own rows pass it."""
    seen: list[Any] = []

    def only_calls(span: Any) -> bool:
        seen.append((span.name, span.end_time is not None, dict(span.attributes)["n"]))
        return span.name == "call"

    with otr.experiment("filter", event_filter=only_calls) as exp, exp.trial(item="q"):
        make(host, "call", "noise", "call")
        otr.record("r", {"x": 1})
        otr.score("s", 1.0)
    assert seen == [("call", True, 1), ("noise", True, 1), ("call", True, 1)]
    assert sorted(exp.spans().collect()["name"]) == ["call", "call", "gen_ai.evaluation.result", "r", "trial"]
    assert (exp.ledger().filtered, exp.ledger().stored) == (1, 5)
    assert exp.ledger().is_balanced


def test_a_filter_that_raises_keeps_the_span(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is counted and said once; the program does not notice."""

    def broken(span: Any) -> bool:
        raise KeyError("oops")

    caplog.set_level(logging.WARNING, logger="otel_research")
    with otr.experiment("broken", event_filter=broken) as exp:
        make(host, "a", "b", "c")
    assert exp.spans().collect().height == 3
    assert exp.ledger().errors == {"event_filter": 3}
    assert exp.ledger().filtered == 0
    assert len([record for record in caplog.records if "event_filter" in record.message]) == 1


def test_a_strategy_that_raises_or_answers_nonsense_keeps_the_span(host: Any) -> None:
    """No probability can be trusted then: kept, with the error counted."""
    answers = iter([2.0, -1.0, float("nan"), "often", None])

    with otr.experiment("strategy", sampling_strategy=lambda span: next(answers)) as exp:
        make(host, *"abcdef")  # the last one finds the answers used up
    assert exp.spans().collect().height == 6
    assert exp.ledger().errors == {"sampling_strategy": 6}


def test_a_rate_keeps_whole_traces_with_their_weight(host: Any) -> None:
    """Parents and children share their fate; kept ones weigh 1/rate; the ledger counts the others."""
    with otr.experiment("rate", sampling_rate=0.25) as exp:
        for _ in range(200):
            with host.tracer.start_as_current_span("parent"):
                host.tracer.start_span("child").end()
    rows = exp.spans().collect()
    per_trace = rows.group_by("trace_id").len()["len"]
    assert set(per_trace) == {2}
    assert 20 <= per_trace.len() <= 90
    assert set(rows["sample_weight"]) == {4.0}
    assert exp.ledger().sampled_out == 400 - rows.height
    assert exp.ledger().is_balanced


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("full", "hello"), ("hash", "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"), ("drop", None),
     (lambda key, value: "***" if "messages" in key else value, "***")],
)  # fmt: skip
def test_the_content_policy_is_applied_before_anything_is_written(policy: Any, kept: str | None) -> None:
    """Prompts and completions: whole, as a hash, not at all, or as the user's function says; the rest stays."""
    with recording(content=policy) as (recorder, provider), otr.experiment("content") as exp:
        tracer = provider.get_tracer("t")
        tracer.start_span("s", attributes={"gen_ai.input.messages": "hello", "n": 1}).end()
        tracer.start_span("open", attributes={"gen_ai.input.messages": "hello"})
        otr.stop_experiment(exp, timeout=0)
        buffers = b"".join(bytes(held.segment.buffer) for held in recorder.library.store._held[exp.id].segments)
    for row in exp.spans().collect().to_dicts():
        assert json.loads(row["attributes"]).get("gen_ai.input.messages") == kept
    assert policy == "full" or b"hello" not in buffers
    from otel_research.capture import registry

    registry.open_spans.clear()  # the one left open on purpose


def test_a_redaction_that_raises_loses_the_value_not_the_span(host: Any) -> None:
    """What could not be redacted is not written; the span and the count of the error are."""

    def broken(key: str, value: Any) -> Any:
        raise RuntimeError("no")

    host.recorder.close()
    with recording(content=broken) as (_, provider), otr.experiment("redaction") as exp:
        provider.get_tracer("t").start_span("s", attributes={"secret": "hello"}).end()
    row = exp.spans().collect().to_dicts()[0]
    assert "hello" not in row["attributes"]
    assert exp.ledger().errors["content"] >= 1


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("probability", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("made", ["random", "counted"])
def test_a_rate_and_a_strategy_together_estimate_the_true_total(rate: float, probability: float, made: str) -> None:
    """The two decide independently of each other, so that the weights add up to what was made (4 standard errors)."""
    count, random = 20_000, Random(7)
    rules = Rules(
        event_filter=None, sampling_rate=rate, sampling_strategy=lambda span: probability, on_error=lambda *_: None
    )
    total = 0.0
    for number in range(count):
        trace_id = random.getrandbits(128) if made == "random" else number + 1
        total += rules.decide(SimpleNamespace(context=SimpleNamespace(trace_id=trace_id)), is_own=False).weight or 0.0
    keep = rate * probability
    assert abs(total / count - 1) < 4 * math.sqrt((1 - keep) / keep / count)


def test_an_error_that_cannot_be_told_costs_no_span(host: Any) -> None:
    """A filter's error whose own text raises is counted like any other."""

    class Untold(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def broken(span: Any) -> bool:
        raise Untold

    with otr.experiment("untold", event_filter=broken) as exp:
        make(host, "a", "b")
    assert exp.spans().collect().height == exp.ledger().stored == 2
    assert (exp.ledger().errors, exp.ledger().lost) == ({"event_filter": 2}, {})
