"""Experiments in a backend's own words."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_research as otr
from otel_research.testing import recording


def exported(backend: str) -> tuple[dict[str, object], dict[str, object], dict[str, object], int]:
    """Attributes of an experiment's span and of one outside, as labelled; the first as another exporter sees it."""
    labelled, plain = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=8))
    provider.add_span_processor(SimpleSpanProcessor(otr.LabelledExporter(labelled, backend)))
    provider.add_span_processor(SimpleSpanProcessor(plain))
    with recording(provider=provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("prompts", tags=("dataset:mmlu",), condition="b", session_id="s1") as exp:
            exp_id = exp.id
            with tracer.start_as_current_span("in", attributes={f"k{n}": n for n in range(8)}):
                pass
        with tracer.start_as_current_span("out", attributes={"k": 1}):
            pass
    inside, outside = labelled.get_finished_spans()
    other = plain.get_finished_spans()[0]
    assert inside.attributes is not None
    assert inside.attributes["experiment.id"] == exp_id
    assert inside.dropped_attributes == other.dropped_attributes > 0
    return (
        dict(inside.attributes),
        dict(outside.attributes or {}),
        dict(other.attributes or {}),
        inside.dropped_attributes,
    )


@pytest.mark.parametrize("backend", ["langfuse", "mlflow", "openinference"])
def test_labels_go_to_one_exporter_only(backend: str) -> None:
    """Others see the span as it was, spans outside are untouched, sessions are `session.id`, drops stay counted."""
    inside, outside, other, _ = exported(backend)
    assert outside == {"k": 1}
    assert other.items() <= inside.items()
    assert not any(key.startswith(("langfuse.", "mlflow.")) or key in ("metadata", "tag.tags") for key in other)
    assert inside["session.id"] == "s1"


def test_the_words_of_langfuse() -> None:
    """Experiment, tags and condition under its names."""
    inside, *_ = exported("langfuse")
    assert inside["langfuse.experiment.id"] == inside["experiment.id"]
    assert inside["langfuse.experiment.name"] == "prompts"
    assert inside["langfuse.trace.tags"] == ("dataset:mmlu",)
    assert inside["langfuse.trace.metadata.condition"] == "b"


def test_the_words_of_mlflow() -> None:
    """Tags of the trace: its server takes the prefix off."""
    inside, *_ = exported("mlflow")
    tags = {key: value for key, value in inside.items() if key.startswith("mlflow.traceTag.research.")}
    assert tags["mlflow.traceTag.research.experiment_name"] == "prompts"
    assert tags["mlflow.traceTag.research.condition"] == "b"
    assert tags["mlflow.traceTag.research.tags"] == "dataset:mmlu"
    assert all(isinstance(value, str) for value in tags.values())


def test_the_words_of_openinference() -> None:
    """Tags under its name, the rest as JSON in `metadata`."""
    inside, *_ = exported("openinference")
    assert inside["tag.tags"] == ("dataset:mmlu",)
    assert json.loads(str(inside["metadata"]))["experiment.condition"] == "b"


def test_an_unknown_backend_is_named() -> None:
    """The error lists those that are known."""
    with pytest.raises(otr.ConfigurationError, match=r"'nowhere'.*langfuse, mlflow, openinference"):
        otr.LabelledExporter(InMemorySpanExporter(), "nowhere")
