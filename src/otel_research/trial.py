"""One trial: a span named "trial" around one execution of one item under one condition."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

import msgspec
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from otel_research.context import NEW_TRIAL, Scope, with_scope
from otel_research.errors import ConfigurationError, told
from otel_research.experiments import check_json, check_label

if TYPE_CHECKING:
    from otel_research.handle import Experiment

_PLAIN = (str, bool, int, float)


class Trial:
    """A trial of an experiment, as a context manager (`with` or `async with`).

    Everything inside carries its id, item and repetition. An exception marks it failed and goes
    on; `fail` marks it failed without one. A wrong answer is no failure: score it.
    """

    def __init__(self, experiment: Experiment, scope: Scope, attributes: dict[str, Any]) -> None:
        self.experiment = experiment
        self._scope = scope.having(trial_id=NEW_TRIAL)
        self._attributes = attribute_values("trial attributes", attributes)
        self.id: str | None = None
        """Hex text: the trial span's own id; None before the trial is entered, or where the SDK makes no spans."""
        self.span: Span = trace.INVALID_SPAN
        self._token: Any = None
        self._end_ns: int | None = None

    @property
    def item(self) -> str | None:
        """The item that the trial is about."""
        return self._scope.item_id

    @property
    def condition(self) -> str | None:
        """The arm that the trial runs in."""
        return self._scope.condition

    def __enter__(self) -> Trial:
        self.experiment._check_budget()
        tracer = self.experiment.tracer
        self.span = tracer.start_span(
            "trial", context=with_scope(self._scope), attributes={**self._attributes, "experiment.row": "trial"}
        )
        self.id = _id_of(self.span)
        inside = trace.set_span_in_context(self.span, with_scope(self._scope.having(trial_id=self.id)))
        self._token = otel_context.attach(inside)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        otel_context.detach(self._token)
        try:
            if error is not None:
                self._failed_by(error)
        finally:
            self.span.end(end_time=self._end_ns)

    async def __aenter__(self) -> Trial:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self.__exit__(kind, error, traceback)

    def _failed_by(self, error: BaseException) -> None:
        name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        with contextlib.suppress(Exception):  # the SDK asks the error for its text
            self.span.record_exception(error)
        self.span.set_attribute("error.type", name)
        self._mark(f"{name}: {told(error)}")

    def fail(self, reason: str) -> None:
        """Mark the trial failed: it did not work, as opposed to giving a wrong answer."""
        self._mark(str(reason))

    def cut_off(self, limit: float) -> None:
        """Mark the trial as not answered within `limit` seconds: it ends there, right-censored in every analysis."""
        self.span.set_attribute("error.type", "TimeoutError")
        self._mark(f"TimeoutError: no answer within {limit:g} s")
        start = getattr(self.span, "start_time", None)
        self._end_ns = None if start is None else start + round(limit * 1e9)

    def _mark(self, reason: str) -> None:
        self.span.set_attributes({"experiment.trial.outcome": "failed", "experiment.trial.failure_reason": reason})
        self.span.set_status(Status(StatusCode.ERROR, reason))

    def set_attribute(self, key: str, value: Any) -> None:
        """Put an attribute on the trial's span."""
        self.span.set_attribute(key, value)

    def score(
        self, name: str, value: float | bool | None = None, *, label: str | None = None, explanation: str | None = None
    ) -> None:
        """Score the trial: `otel_research.score` with this trial."""
        from otel_research.measure import score

        score(name, value, label=label, explanation=explanation, trial=self)


def _id_of(span: Span) -> str | None:
    """The span's id; None for one that was not made (the SDK is disabled, or this tracer)."""
    found = span.get_span_context()
    return f"{found.span_id:016x}" if found is not None and found.is_valid else None


def item_text(item: Any) -> str | None:
    """An item's id as text; anything that is not a plain id needs one from the user."""
    if item is None:
        return None
    if isinstance(item, str):
        return check_label("item", item)
    if not isinstance(item, bool) and isinstance(item, SupportsIndex):
        return str(operator.index(item))
    raise ConfigurationError(f"item={item!r} is not an id: pass text or a whole number that names the item.")


def repetition_number(repetition: Any) -> int:
    """The repetition, if it is a count from 0."""
    if not isinstance(repetition, bool) and isinstance(repetition, SupportsIndex) and operator.index(repetition) >= 0:
        return operator.index(repetition)
    raise ConfigurationError(f"repetition={repetition!r} is not a whole number from 0.")


def attribute_values(what: str, values: Any) -> dict[str, Any]:
    """The mapping as attributes of a span: None is left out, JSON that OpenTelemetry has no type for becomes text.

    Raises `ConfigurationError` naming the key that is not JSON.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{what} is a mapping such as {{'key': 'value'}}, got {values!r}.")
    return {key: _attribute(what, key, value) for key, value in values.items() if value is not None}


def _attribute(what: str, key: Any, value: Any) -> Any:
    if not isinstance(key, str) or not key:
        raise ConfigurationError(f"{what} keys are text, got {key!r}.")
    if hasattr(value, "tolist"):  # NumPy's and Torch's scalars and arrays
        value = value.tolist()
    is_list = isinstance(value, (list, tuple))
    if isinstance(value, _PLAIN) or (
        is_list and len({type(item) for item in value}) <= 1 and all(isinstance(item, _PLAIN) for item in value)
    ):
        return value
    if is_list or isinstance(value, Mapping):
        return msgspec.json.encode(check_json(what, {key: value})[key]).decode()
    raise ConfigurationError(
        f"{what}[{key!r}] is a {type(value).__name__}, which is not JSON; "
        "use numbers, text, booleans, lists or mappings of them."
    )
