"""Which experiments this process records, and which of them a new span belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.trace.propagation import _SPAN_KEY

from otel_research import context as research_context
from otel_research.context import BAGGAGE_KEY, SCOPE_KEY, Scope
from otel_research.spans.record import parent_of

if TYPE_CHECKING:
    from otel_research.capture.experiment import ExperimentCapture

# Replaced as wholes by one thread at a time (under the recorder's lock), read without one.
running: dict[str, ExperimentCapture] = {}
"""Experiments that take spans in this process."""

Entry = tuple["ExperimentCapture", Scope, bytes]
"""(capture, scope, encoded origin) of a span."""

open_spans: dict[tuple[int, int], Entry] = {}
"""(trace id, span id) -> every span of an experiment whose end is not written yet.

Single dict operations are atomic, so it needs no lock. Keyed by id because the SDK hands
`on_end` another object than `on_start`.
"""

SCOPE_MARK = "_otel_research_scope"
"""Where a span object that we took keeps its scope: what anybody writes into its attributes says nothing to us."""

unstarted: dict[tuple[int, int], ExperimentCapture] = {}
"""Open spans of which an error of ours has cost the start: at their end they are counted as lost."""

forwarding: dict[str, str] = {}
"""Running experiments that say for themselves what goes on to the program's backends: "sampled", "all" or "none"."""

begun: set[str] = set()
"""The experiments that this process has recorded: spans that name another one are not ours."""

inherited: dict[tuple[int, int], Entry] = {}
"""In a forked child: the spans that were open in the parent, which the child may end a second time."""


def _current() -> Callable[[], otel_context.Context]:
    """How to get the current context: of the usual runtime context its variable, which is two calls less."""
    variable = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    if isinstance(variable, ContextVar) and variable.get() is otel_context.get_current():
        return variable.get
    return otel_context.get_current


current = _current()
"""The current OpenTelemetry context of this thread or task."""


def leave(experiment_id: str) -> None:
    """Take no more spans of an experiment."""
    running.pop(experiment_id, None)
    forwarding.pop(experiment_id, None)


def after_fork() -> None:
    """In the child: what is open is the parent's."""
    inherited.clear()
    inherited.update(open_spans)
    open_spans.clear()
    unstarted.clear()


def around_here() -> Iterator[tuple[tuple[int, int], Entry]]:
    """The open spans that the caller stands in: its current span, that one's parent, and so on."""
    span = current().get(_SPAN_KEY)
    context = None if span is None else span.get_span_context()  # type: ignore[attr-defined]
    key = None if context is None else (context[0], context[1])
    while key is not None and (entry := open_spans.get(key)) is not None:
        yield key, entry
        key = parent_of(entry[2])


def resolve(parent_context: otel_context.Context | None) -> Scope | None:
    """The scope a span started in this context gets; None outside any running experiment."""
    if not running:
        return None
    scope = scope_of(parent_context)
    return scope if scope is not None and scope.experiment_id in running else None


def scope_of(parent_context: otel_context.Context | None) -> Scope | None:
    """The scope that holds in this context, whether or not its experiment runs.

    The first that answers: the context, the parent span's experiment, baggage, the process-wide
    experiment, the one that the environment started or joined.
    """
    here = current() if parent_context is None else parent_context
    scope: Scope | None = here.get(SCOPE_KEY)  # type: ignore[assignment]
    if scope is not None:
        return scope
    parent = here.get(_SPAN_KEY)
    if parent is not None:
        context = parent.get_span_context()  # type: ignore[attr-defined]
        entry = open_spans.get((context[0], context[1]))
        if entry is not None:
            return entry[1].from_source("parent")
        ended: Scope | None = getattr(parent, SCOPE_MARK, None)
        if ended is not None:
            return ended.from_source("parent")
    told: Scope | None = here.get(BAGGAGE_KEY)  # type: ignore[assignment]
    return research_context._process_scope if told is None else told
