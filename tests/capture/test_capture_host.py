"""A host program that samples: we capture everything, its own pipeline stays exactly as it was."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import otel_research as otr
from otel_research.testing import recording

N = 400


class SeededIds(IdGenerator):
    """The same random-looking ids in every run, so that a ratio sampler decides alike."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128)

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64)


class HostProgram:
    """A provider that samples, with a simple and a batch pipeline; what it exports and what it sends out."""

    def __init__(self, sampler: Sampler) -> None:
        self.simple, self.batch = InMemorySpanExporter(), InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, id_generator=SeededIds(), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.simple))
        self.provider.add_span_processor(BatchSpanProcessor(self.batch, max_queue_size=10_000))
        self.sent: list[str] = []

    def work(self) -> None:
        """Traces of a parent and a child, each sending a request."""
        tracer = self.provider.get_tracer("app")
        for number in range(N):
            with tracer.start_as_current_span("parent", attributes={"number": number}):
                self._send()
                with tracer.start_as_current_span("child"):
                    self._send()

    def _send(self) -> None:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        self.sent.append(headers["traceparent"])

    def exported(self) -> dict[str, list[tuple[Any, ...]]]:
        self.provider.force_flush()
        pipelines = {"simple": self.simple, "batch": self.batch}
        return {name: sorted(map(_essence, found.get_finished_spans())) for name, found in pipelines.items()}


def _essence(span: ReadableSpan) -> tuple[Any, ...]:
    """What the program put on a span; our tags apart."""
    own = {key: value for key, value in (span.attributes or {}).items() if not key.startswith("experiment.")}
    return span.context.trace_id, span.context.span_id, span.context.trace_flags, span.name, sorted(own.items())


def flags(traceparent: str) -> int:
    return int(traceparent.rsplit("-", 1)[1], 16)


@pytest.mark.parametrize(
    "sampler",
    [TraceIdRatioBased(0.1), ParentBased(TraceIdRatioBased(0.1)), ALWAYS_OFF, ALWAYS_ON],
    ids=["ratio", "parent-based ratio", "off", "on"],
)
def test_everything_is_captured_and_the_host_exports_what_it_did(sampler: Sampler) -> None:
    """Whatever the host samples: 100 % is captured, its two pipelines and its outgoing headers are unchanged."""
    before = HostProgram(sampler)
    before.work()
    during = HostProgram(sampler)
    with recording(provider=during.provider), otr.experiment("host") as exp:
        during.work()
    assert during.exported() == before.exported()
    assert during.sent == before.sent
    rows = exp.spans().collect()
    assert rows.height == 2 * N
    sampled = rows.filter("is_sampled")
    assert set(sampled["span_id"]) == {f"{essence[1]:016x}" for essence in before.exported()["simple"]}
    assert exp.ledger().stored == 2 * N


def test_a_ratio_sampler_really_leaves_some_out() -> None:
    """The test above would say nothing if the sampler kept all or none: here it keeps about a tenth."""
    host = HostProgram(TraceIdRatioBased(0.1))
    host.work()
    assert N * 0.1 < len(host.exported()["simple"]) < N * 0.3
    assert {flags(sent) & 1 for sent in host.sent} == {0, 1}


def test_recorded_only_spans_are_whole() -> None:
    """A span that the host drops keeps its start attributes, later attributes, events, links and status."""
    other = SpanContext(trace_id=1, span_id=2, is_remote=True, trace_flags=TraceFlags(1))
    with recording(provider=TracerProvider(sampler=ALWAYS_OFF)) as (_, provider), otr.experiment("whole") as exp:
        tracer = provider.get_tracer("app")
        with tracer.start_as_current_span(
            "s", attributes={"early": 1}, links=[trace.Link(other, {"why": "x"})]
        ) as span:
            span.set_attribute("late", 2)
            span.add_event("happened", {"detail": "d"})
            span.set_status(trace.StatusCode.ERROR, "broke")
    row = exp.spans().collect().to_dicts()[0]
    assert '"early":1' in row["attributes"]
    assert '"late":2' in row["attributes"]
    assert '"happened"' in row["events"]
    assert '"why":"x"' in row["links"]
    assert (row["status"], row["status_message"], row["is_sampled"]) == ("error", "broke", False)


def test_a_remote_parent_that_is_not_sampled_is_followed_by_recording_only() -> None:
    """A request whose caller decided against sampling: recorded here, its flag passed on as it came."""
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    carrier = {"traceparent": f"00-{7:032x}-{8:016x}-00"}
    with recording(provider=provider), otr.experiment("remote") as exp:
        parent = propagate.extract(carrier)
        sent: dict[str, str] = {}
        # The caller's context knows nothing of our experiment: enter it as a server's middleware would.
        with exp.activate(), provider.get_tracer("app").start_as_current_span("handle", context=_joined(parent)):
            propagate.inject(sent)
    assert flags(sent["traceparent"]) & 1 == 0
    assert exporter.get_finished_spans() == ()
    row = exp.spans().collect().to_dicts()[0]
    assert (row["trace_id"], row["parent_span_id"], row["is_sampled"]) == (f"{7:032x}", f"{8:016x}", False)


def _joined(remote: Context) -> Context:
    """The current context with a remote parent, as a server's instrumentation makes it."""
    return trace.set_span_in_context(trace.get_current_span(remote))


def test_tracers_made_before_configure_are_reached() -> None:
    """A module that took its tracer at import time is captured too, and its ids no longer move `random`."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    early = provider.get_tracer("early")
    with recording(provider=provider), otr.experiment("early") as exp:
        state = random.getstate()
        early.start_span("s").end()
        assert random.getstate() == state
    assert exp.spans().collect()["name"].to_list() == ["s"]


def test_a_tracer_that_holds_a_sampler_of_its_own_keeps_it() -> None:
    """Tracers made before the host changed its sampler forward as before; closing gives each its own back."""
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    on = provider.get_tracer("made under ALWAYS_ON")
    provider.sampler = ALWAYS_OFF
    with recording(provider=provider), otr.experiment("two samplers") as exp:
        on.start_span("on").end()
        provider.get_tracer("made later").start_span("off").end()
    assert [span.name for span in exporter.get_finished_spans()] == ["on"]
    assert exp.spans().collect().height == 2
    assert on.sampler is ALWAYS_ON
    assert provider.sampler is ALWAYS_OFF
    assert provider.get_tracer("made later").sampler is ALWAYS_OFF


class Everything(SpanProcessor):
    """A third-party processor that does not look at the sampled flag."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.started.append(span.name)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span.name)


def test_a_processor_that_ignores_the_flag_sees_more_unless_it_is_wrapped() -> None:
    """The one visible change, and its remedy: `SampledOnly` shows it what it saw before."""
    bare, wrapped = Everything(), Everything()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(bare)
    provider.add_span_processor(otr.SampledOnly(wrapped))
    with recording(provider=provider), otr.experiment("third party"):
        provider.get_tracer("app").start_span("recorded only").end()
    assert bare.ended == bare.started == ["recorded only"]
    assert wrapped.ended == wrapped.started == []


def test_sampled_only_passes_sampled_spans_and_everything_else_on() -> None:
    """A wrapped processor still gets its sampled spans, flushes and shutdown."""
    calls: list[str] = []

    class Third(Everything):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            calls.append("flush")
            return False

        def shutdown(self) -> None:
            calls.append("shutdown")

    third = Third()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(otr.SampledOnly(third))
    provider.get_tracer("app").start_span("s").end()
    assert third.ended == ["s"]
    assert provider.force_flush() is False
    provider.shutdown()
    assert calls == ["flush", "shutdown"]


class Strict(Sampler):
    """A sampler of the user's that takes exactly what the SDK passes, and gives only its own attributes."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.seen: list[tuple[Any, ...]] = []

    def should_sample(  # type: ignore[override]
        self, parent_context: Any, trace_id: int, name: str, kind: Any, attributes: Any, links: Sequence[Any]
    ) -> SamplingResult:
        self.seen.append((name, kind, dict(attributes or {}), list(links)))
        return SamplingResult(self.decision, {"sampler.rule": "r1"})

    def get_description(self) -> str:
        return "Strict"


def test_a_sampler_with_exactly_the_standard_arguments_is_called_as_before() -> None:
    """It gets what the SDK gave us, once per span; dropped spans keep its attributes and the program's."""
    strict = Strict(Decision.DROP)
    with (
        recording(provider=TracerProvider(sampler=strict, shutdown_on_exit=False)) as (_, provider),
        otr.experiment("strict") as exp,
    ):
        tracer = provider.get_tracer("app")
        tracer.start_span("s", kind=trace.SpanKind.CLIENT, attributes={"a": 1}).end()
    assert strict.seen == [("s", trace.SpanKind.CLIENT, {"a": 1}, [])]
    attributes = exp.spans().collect()["attributes"][0]
    assert '"a":1' in attributes
    assert '"sampler.rule":"r1"' in attributes
    assert strict.get_description() in otr.ExperimentSampler(strict).get_description()


def test_forward_all_forwards_the_experiment_in_full() -> None:
    """With `forward_all=True` the host's pipeline gets every span of the experiment, and none more outside."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("app")
    with recording(provider=provider, forward_all=True):
        with otr.experiment("all of it"):
            tracer.start_span("inside").end()
        tracer.start_span("outside").end()
    assert [span.name for span in exporter.get_finished_spans()] == ["inside"]


def test_outside_any_experiment_nothing_changes() -> None:
    """Spans outside are sampled, exported and tagged as without us; they are not stored, only counted."""
    host = HostProgram(TraceIdRatioBased(0.1))
    without = HostProgram(TraceIdRatioBased(0.1))
    without.work()
    with recording(provider=host.provider) as (recorder, _):
        host.work()
        counted = recorder.ledger()
    assert host.exported() == without.exported()
    assert host.sent == without.sent
    assert counted.outside == len(without.exported()["simple"])
    assert (counted.started, counted.stored) == (0, 0)


def test_the_spans_of_the_host_carry_the_tags() -> None:
    """What is forwarded says which experiment, condition, trial, item and session it belongs to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with (
        recording(provider=provider),
        otr.experiment("tagged", tags=["dataset:mmlu"], factors={"prompt": "cot"}, session_id="s1") as exp,
        exp.arm("treatment", factors={"shots": 3}),
        exp.trial(item="q1", repetition=2) as trial,
    ):
        provider.get_tracer("app").start_span("s").end()
    own = dict(exporter.get_finished_spans()[0].attributes or {})
    assert own == {
        "experiment.id": exp.id,
        "experiment.name": "tagged",
        "experiment.condition": "treatment",
        "experiment.tags": ("dataset:mmlu",),
        "experiment.trial.id": trial.id,
        "experiment.item.id": "q1",
        "experiment.repetition": 2,
        "experiment.factor.prompt": "cot",
        "experiment.factor.shots": 3,
        "session.id": "s1",
    }


def test_the_sampled_flag_is_stored_beside_every_span() -> None:
    """`is_sampled` says which spans the host's backend has too."""
    provider = TracerProvider(sampler=TraceIdRatioBased(0.5), id_generator=SeededIds(), shutdown_on_exit=False)
    with recording(provider=provider), otr.experiment("half") as exp:
        made = [provider.get_tracer("app").start_span("s") for _ in range(50)]
        for span in made:
            span.end()
    stored = exp.spans().select("span_id", "is_sampled").collect()
    truth = {f"{s.get_span_context().span_id:016x}": bool(s.get_span_context().trace_flags & 1) for s in made}
    assert dict(stored.iter_rows()) == truth
    assert stored["is_sampled"].n_unique() == 2


def test_a_span_that_was_not_recorded_before_the_experiment_can_be_a_parent() -> None:
    """A span dropped outside the experiment is no obstacle: its children inside are captured with its id."""
    dropped = NonRecordingSpan(SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(0)))
    with (
        recording(provider=TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)) as (_, provider),
        trace.use_span(dropped),
        otr.experiment("inside a dropped trace") as exp,
    ):
        provider.get_tracer("app").start_span("s").end()
    rows = exp.spans().select(pl.col("parent_span_id"), "is_sampled").collect().rows()
    assert rows == [(f"{6:016x}", False)]
