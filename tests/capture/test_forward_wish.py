"""`forward=` of an experiment: what goes on to the program's own backend while it runs; all is captured."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

import otel_research as otr
from otel_research.capture import registry
from otel_research.errors import ConfigurationError
from otel_research.testing import recording


@pytest.mark.parametrize(
    ("host", "forward_all", "wish", "expected"),
    [
        (ALWAYS_ON, False, None, ["in", "deep", "out"]),
        (ALWAYS_ON, False, "none", ["out"]),
        (ALWAYS_ON, True, "none", ["out"]),
        (ALWAYS_OFF, False, "sampled", []),
        (ALWAYS_OFF, True, "sampled", []),
        (ALWAYS_OFF, False, "all", ["in", "deep"]),
        (ALWAYS_OFF, True, None, ["in", "deep"]),
    ],
)
def test_an_experiment_says_what_is_forwarded(
    host: Sampler, forward_all: bool, wish: str | None, expected: list[str]
) -> None:
    """Its wish beats `forward_all`; spans outside it, and what is captured, stay as they are."""
    seen = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(host), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(seen))
    with recording(provider=provider, forward_all=forward_all):
        tracer = provider.get_tracer("app")
        with otr.experiment("x", forward=wish) as exp, tracer.start_as_current_span("in"):  # noqa: SIM117
            with tracer.start_as_current_span("deep"):
                pass
        with tracer.start_as_current_span("out"):
            pass
        assert exp.ledger().stored == 2
        assert sorted(span.name for span in seen.get_finished_spans()) == sorted(expected)


def test_two_experiments_at_once_have_wishes_of_their_own() -> None:
    seen = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(seen))
    with recording(provider=provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("kept here", forward="none") as outer:
            tracer.start_span("a").end()
            with otr.experiment("shown") as inner:
                tracer.start_span("b").end()
        assert (outer.ledger().stored, inner.ledger().stored) == (1, 1)
        assert [span.name for span in seen.get_finished_spans()] == ["b"]


def test_a_wish_ends_with_its_experiment() -> None:
    """Otherwise every later span would be asked for it, in a program that has no such experiment any more."""
    with recording():
        with otr.experiment("over", forward="none"):
            assert list(registry.forwarding.values()) == ["none"]
        assert registry.forwarding == {}


def test_an_unknown_wish_is_refused() -> None:
    with recording(), pytest.raises(ConfigurationError, match="sampled, all, none"):
        otr.start_experiment("x", forward="some")
