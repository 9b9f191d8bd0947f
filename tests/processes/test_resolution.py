"""Which experiment a span belongs to: context, parent, baggage, process-wide, environment; the first that answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

import otel_research as otr
from otel_research import context
from otel_research.capture import registry
from otel_research.context import BAGGAGE_KEY, SCOPE_KEY, scope_of
from otel_research.testing import recording

ORDER = ("context", "parent", "baggage", "process", "environment")


class World(NamedTuple):
    tracer: trace.Tracer
    experiments: dict[str, otr.Experiment]
    parent: trace.Span

    def context_of(self, *present: str) -> Context:
        """A context in which these answer."""
        values: dict[str, Any] = {}
        if "context" in present:
            values[SCOPE_KEY] = scope_of(self.experiments["context"].record, "context")
        if "baggage" in present:
            values[BAGGAGE_KEY] = scope_of(self.experiments["baggage"].record, "baggage")
        made = Context(values)
        return trace.set_span_in_context(self.parent, made) if "parent" in present else made


@pytest.fixture(params=["by the processor", "by a sampler"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Five experiments at once, one for each way; spans tagged by our processor, or by a sampler put there by hand."""
    monkeypatch.setenv("OTEL_RESEARCH_EXPERIMENT", "environment")
    settings: dict[str, Any] = {}
    if request.param == "by a sampler":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

        settings["provider"] = TracerProvider(sampler=otr.ExperimentSampler(ALWAYS_OFF), shutdown_on_exit=False)
    with recording("memory:", **settings) as (_, provider), ExitStack() as blocks:
        tracer = provider.get_tracer("app")
        experiments = {name: blocks.enter_context(otr.experiment(name)) for name in ("context", "parent", "baggage")}
        with experiments["parent"].arm("of the parent"):
            parent = tracer.start_span("parent")
        experiments["process"] = otr.start_experiment("process")
        (experiments["environment"],) = otr.list_experiments(name="environment")
        yield World(tracer, experiments, parent)
        parent.end()


def owner(world: World, name: str) -> list[tuple[str, str]]:
    """(experiment, source) of the spans with that name, over all experiments."""
    return [
        (experiment.name, source)
        for experiment in world.experiments.values()
        for (source,) in experiment.where({"name": name}).spans().select("experiment_source").collect().iter_rows()
    ]


@pytest.mark.parametrize("first", range(5))
def test_the_first_that_answers(world: World, first: int) -> None:
    """With those before it silent, each answers before all that come after it; the source says which it was."""
    present = ORDER[first:]
    if "process" not in present:
        otr.stop_experiment(world.experiments["process"])
    world.tracer.start_span("asked", context=world.context_of(*present)).end()
    assert owner(world, "asked") == [(ORDER[first], ORDER[first])]


@pytest.mark.parametrize(("stronger", "weaker"), [(a, b) for n, a in enumerate(ORDER) for b in ORDER[n + 1 :]])
def test_every_pair(world: World, stronger: str, weaker: str) -> None:
    """Of any two that answer, the one that stands earlier in the order wins."""
    if "process" not in (stronger, weaker):
        otr.stop_experiment(world.experiments["process"])
    world.tracer.start_span("asked", context=world.context_of(stronger, weaker)).end()
    assert owner(world, "asked") == [(stronger, stronger)]


def test_a_parents_labels_come_along(world: World) -> None:
    """A child of a span in an arm is in that arm."""
    world.tracer.start_span("child", context=world.context_of("parent")).end()
    found = world.experiments["parent"].where({"name": "child"}).spans().select("condition", "experiment_source")
    assert found.collect().rows() == [("of the parent", "parent")]


def test_no_answer_is_no_experiment(host: Any) -> None:
    """Where nothing answers the span is outside: untouched, not stored, counted."""
    host.call()
    assert host.recorder.ledger().outside == 1


def test_an_answer_that_does_not_run_here_is_final(world: World) -> None:
    """A scope of an experiment that is over keeps its spans out of the others: they are outside, not process-wide."""
    with otr.experiment("over") as over:
        pass
    stale = Context({SCOPE_KEY: scope_of(over.record, "context")})
    world.tracer.start_span("asked", context=stale).end()
    assert owner(world, "asked") == []
    assert registry.scope_of(stale) is not None
    assert context.process_scope() is not None
