"""The hooks write the usual span out in one piece; the careful way takes any span. Both write the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode

import otel_research as otr
from otel_research.capture import attach, experiment, processor
from otel_research.capture.sampler import ExperimentSampler
from otel_research.journal.frame import DEFINITION, END, META, START, seeds_of
from otel_research.journal.reader import frames
from otel_research.testing import SequentialIds, recording

BEGAN = 1_700_000_000_000_000_000


def work(tracer: Any) -> None:
    """Spans of every usual shape, at fixed times."""
    many = {f"key.{number}": f"value {number}" for number in range(20)}
    for number, attributes in enumerate(({}, {"a": 1, "b": "x"}, many, {"f": 1.5, "list": (1, 2), "yes": True})):
        at = BEGAN + number * 1_000_000
        span = tracer.start_span(f"span {number}", attributes=attributes, start_time=at)
        span.set_attribute("later", number)
        if number == 1:
            span.set_status(Status(StatusCode.ERROR, "no answer"))
        with _inside(span):
            tracer.start_span("child", start_time=at + 1).end(at + 2)
        span.end(at + 5)


def _inside(span: Any) -> Any:
    from opentelemetry import trace

    return trace.use_span(span, end_on_exit=False)


def journaled(monkeypatch: pytest.MonkeyPatch, *, is_plain: bool, starts: bool) -> list[tuple[int, bytes]]:
    """The frames of the work, by the short way or by the careful one."""
    for module in (processor, experiment):
        monkeypatch.setattr(module, "monotonic_ns", lambda: 42)
    provider = TracerProvider(shutdown_on_exit=False, id_generator=SequentialIds(), sampler=ALWAYS_ON)
    with recording(provider=provider, starts=starts) as (recorder, _):
        exp = otr.start_experiment("bytes", condition="a", session_id="s", factors={"prompt": "cot"})
        capture = recorder.captures[exp.id]
        assert capture.is_plain, "the usual case is the short way"
        capture.is_plain = is_plain
        work(provider.get_tracer("app", "1"))
        segment = capture.log._segment
        found = [
            (frame.kind, frame.payload.replace(exp.id.encode(), b"e" * 32))
            for frame in frames(segment.read(0, segment.at), seeds_of(segment.name))
            if frame.kind not in (META, DEFINITION)
        ]
        assert exp.ledger().is_balanced
    return found


@pytest.mark.parametrize("starts", [True, False])
def test_both_ways_write_the_same_bytes(monkeypatch: pytest.MonkeyPatch, starts: bool) -> None:
    """Frame by frame, start and end: a reader cannot tell which way a span took."""
    short = journaled(monkeypatch, is_plain=True, starts=starts)
    careful = journaled(monkeypatch, is_plain=False, starts=starts)
    assert [kind for kind, _ in short].count(END) == 8
    assert [kind for kind, _ in short].count(START) == (8 if starts else 0)
    assert short == careful


def test_a_sampler_that_drops_nothing_is_left_alone() -> None:
    """Around `ALWAYS_ON` a sampler of ours would cost and do nothing; around the SDK's default it is needed."""
    always = TracerProvider(shutdown_on_exit=False, sampler=ALWAYS_ON)
    usual = TracerProvider(shutdown_on_exit=False)
    with recording(provider=always):
        assert always.sampler is ALWAYS_ON
    with recording(provider=usual):
        assert isinstance(usual.sampler, ExperimentSampler)
    assert not isinstance(usual.sampler, ExperimentSampler)
    assert next(type(found).__name__ for found in attach.processors_of(always)) == "ExperimentSpanProcessor"
