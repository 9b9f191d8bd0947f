"""Which experiments this process records, and which of them a new span belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import get_current
from opentelemetry.trace.propagation import _SPAN_KEY

from otel_research.context import SCOPE_KEY, Scope, process_scope

if TYPE_CHECKING:
    from otel_research.capture.experiment import ExperimentCapture

# Replaced as wholes by one thread at a time (under the recorder's lock), read without one.
running: dict[str, ExperimentCapture] = {}
"""Experiments that take spans in this process."""

open_spans: dict[tuple[int, int], tuple[ExperimentCapture, Scope, int]] = {}
"""(trace id, span id) -> (capture, scope, monotonic start) of every span of an experiment that has not ended.

Single dict operations are atomic, so it needs no lock. Keyed by id because the SDK hands
`on_end` another object than `on_start`.
"""

inherited: dict[tuple[int, int], tuple[ExperimentCapture, Scope, int]] = {}
"""In a forked child: the spans that were open in the parent, which the child may end a second time."""


def after_fork() -> None:
    """In the child: what is open is the parent's."""
    inherited.clear()
    inherited.update(open_spans)
    open_spans.clear()


def resolve(parent_context: otel_context.Context | None) -> Scope | None:
    """The scope a span started in this context gets; None outside any running experiment.

    The first that answers: the context, the parent span's experiment, the process-wide
    experiment (which the environment may have started).
    """
    if not running:
        return None
    current = get_current() if parent_context is None else parent_context
    scope: Scope | None = current.get(SCOPE_KEY)  # type: ignore[assignment]
    if scope is None:
        parent = current.get(_SPAN_KEY)
        if parent is not None:
            scope = _parent_scope(parent)
        if scope is None:
            scope = process_scope()
    return scope if scope is not None and scope.experiment_id in running else None


def _parent_scope(parent: Any) -> Scope | None:
    context = parent.get_span_context()
    entry = open_spans.get((context.trace_id, context.span_id))
    return None if entry is None else entry[1].from_source("parent")
