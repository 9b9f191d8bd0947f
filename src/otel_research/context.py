"""Which experiment is current, and with which condition, trial, item and session.

One frozen `Scope` says it all. It travels in the OpenTelemetry context (so it crosses tasks
and `to_thread` like a span does); the process-wide experiment is the fallback where contexts
do not reach (threads, executors). A scope never changes: `arm`, `trial` and `session` make a
new one from it.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_research.experiments import ExperimentRecord

SCOPE_KEY = otel_context.create_key("otel-research-scope")
BAGGAGE_KEY = otel_context.create_key("otel-research-baggage")
"""A scope that came in with a request; `capture.baggage`."""
ENV_PREFIX = "OTEL_RESEARCH_"
NEW_TRIAL = "new"
"""As a scope's trial id: the next span is a trial, and its own span id becomes the id."""


class Scope(msgspec.Struct, frozen=True, kw_only=True, dict=True, eq=False):
    """The labels that every span started here carries."""

    experiment_id: str
    experiment_name: str
    tags: tuple[str, ...] = ()
    condition: str | None = None
    trial_id: str | None = None
    item_id: str | None = None
    repetition: int | None = None
    session_id: str | None = None
    factors: tuple[tuple[str, Any], ...] = ()
    aside: str | None = None
    source: str = "context"

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The `experiment.*` attributes, as the sampler or the processor writes them on a span."""
        values: dict[str, Any] = {"experiment.id": self.experiment_id, "experiment.name": self.experiment_name}
        optional = {
            "experiment.condition": self.condition,
            "experiment.tags": self.tags or None,
            "experiment.trial.id": None if self.trial_id == NEW_TRIAL else self.trial_id,
            "experiment.item.id": self.item_id,
            "experiment.repetition": self.repetition,
            "experiment.aside": self.aside,
            "session.id": self.session_id,
        }
        values.update({key: value for key, value in optional.items() if value is not None})
        values.update({f"experiment.factor.{name}": level for name, level in self.factors})
        return values

    def missing_from(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Our attributes for a span that has these; a session that the instrumentation names is kept.

        They go behind the span's own: the SDK evicts the oldest first when a span has too many.
        """
        ours = self.attributes
        if "session.id" in ours and "session.id" in given:
            return {key: value for key, value in ours.items() if key != "session.id"}
        return ours

    @cached_property
    def labels(self) -> msgspec.Raw:
        """The same for our own record, encoded once per scope: `spans.record.Labels`."""
        fields = (
            self.experiment_id,
            self.condition,
            self.trial_id,
            self.item_id,
            self.repetition,
            self.session_id,
            dict(self.factors) or None,
            self.source,
            self.aside,
        )
        try:
            return msgspec.Raw(msgspec.msgpack.encode(fields))
        except (OverflowError, UnicodeEncodeError, TypeError, ValueError):
            # A huge integer or a lone surrogate in a label must not cost the span.
            return msgspec.Raw(msgspec.msgpack.encode(tuple(_encodable(field) for field in fields)))

    @cached_property
    def tags_and_labels(self) -> tuple[dict[str, Any], msgspec.Raw]:
        """Both at once, for the hot path."""
        return self.attributes, self.labels

    def having(self, **changes: Any) -> Scope:
        """A new scope with some labels replaced."""
        return msgspec.structs.replace(self, **changes)

    def from_source(self, source: str) -> Scope:
        """The same labels, resolved another way; made once per scope and source."""
        made: Scope | None = self.__dict__.get(source)
        if made is None:
            made = self.__dict__[source] = self.having(source=source)
        return made


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def scope_of(record: ExperimentRecord, source: str) -> Scope:
    """The scope that an experiment itself gives, before any arm or trial."""
    return Scope(
        experiment_id=record.id,
        experiment_name=record.name,
        tags=tuple(record.tags),
        condition=record.condition,
        session_id=record.session_id,
        factors=tuple(record.factors.items()),
        source=source,
    )


# The process-wide experiment. Replaced as a whole, never mutated, so reading needs no lock.
_process_scope: Scope | None = None
_last_process_scope: Scope | None = None
# The one that the environment started or joined: what holds while the program has none of its own.
_environment_scope: Scope | None = None


def process_scope() -> Scope | None:
    """The scope of the process-wide experiment, if one runs."""
    return _process_scope


def set_process_scope(scope: Scope | None) -> None:
    """Make `scope` the fallback of every thread and task of this process."""
    global _process_scope, _last_process_scope
    _last_process_scope = _process_scope or _last_process_scope
    _process_scope = scope or _environment_scope


def environment_scope() -> Scope | None:
    """The scope of the experiment that the environment started or joined, if one runs."""
    return _environment_scope


def set_environment_scope(scope: Scope | None) -> None:
    """Make `scope` what holds while the program has no process-wide experiment of its own."""
    global _environment_scope
    is_program_s = _process_scope is not _environment_scope
    _environment_scope = scope
    set_process_scope(_process_scope if is_program_s else scope)


def withdraw(experiment_id: str) -> None:
    """No thread falls back on this experiment any more."""
    if _environment_scope is not None and _environment_scope.experiment_id == experiment_id:
        set_environment_scope(None)
    if _process_scope is not None and _process_scope.experiment_id == experiment_id:
        set_process_scope(None)


def last_process_scope() -> Scope | None:
    """The one that ran before, so that a call that comes too late can be told which it missed."""
    return _last_process_scope


def context_scope(context: otel_context.Context | None = None) -> Scope | None:
    """The scope of the given OpenTelemetry context, or of the current one."""
    return otel_context.get_value(SCOPE_KEY, context)  # type: ignore[return-value]


def current_scope() -> Scope | None:
    """Context first, then baggage, then the process-wide experiment."""
    return context_scope() or baggage_scope() or _process_scope


def baggage_scope(context: otel_context.Context | None = None) -> Scope | None:
    """The scope that came in with the request which is served in this context."""
    return otel_context.get_value(BAGGAGE_KEY, context)  # type: ignore[return-value]


def with_scope(scope: Scope | None) -> otel_context.Context:
    """A copy of the current context that carries `scope`."""
    return otel_context.set_value(SCOPE_KEY, scope)


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Make `scope` current in this thread or task for the block."""
    token = otel_context.attach(with_scope(scope))
    try:
        yield scope
    finally:
        otel_context.detach(token)


@contextmanager
def uninstrumented() -> Iterator[None]:
    """For the block, instrumentations make no spans of what we do ourselves: a driver's would come back to be written."""
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        otel_context.detach(token)


class Apart:
    """A context of its own for a generator: what it makes current stays inside it, across its yields.

    A plain generator runs in the context of whoever asks for the next value, so an experiment
    entered in it would leak to the caller between two values.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function inside."""
        return self._context.run(function, *args)

    def driven(self, generator: Any) -> Generator[Any, Any, Any]:
        """The generator's values, each step made inside."""
        step, argument = generator.send, None
        while True:
            try:
                produced = self.run(step, argument)
            except StopIteration as end:
                return end.value
            try:
                step, argument = generator.send, (yield produced)
            except GeneratorExit:
                self.run(generator.close)
                raise
            except BaseException as error:
                step, argument = generator.throw, error

    def awaited(self, awaitable: Any) -> Awaitable[Any]:
        """The awaitable, each of its steps made inside."""
        return _Awaited(self, awaitable)


class _Awaited:
    def __init__(self, apart: Apart, awaitable: Any) -> None:
        self._apart = apart
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._apart.driven(self._awaitable.__await__()))


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every `OTEL_RESEARCH_*` variable that is set and not empty, without its prefix, lower case.

    The one place where the package reads its environment.
    """
    source = os.environ if environ is None else environ
    return {
        key.removeprefix(ENV_PREFIX).lower(): value
        for key, value in source.items()
        if key.startswith(ENV_PREFIX) and value.strip()
    }
