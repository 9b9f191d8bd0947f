"""One trial: a span named "trial" around one execution of one item under one condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from otel_research.context import NEW_TRIAL, Scope, with_scope
from otel_research.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_research.handle import Experiment


class Trial:
    """A trial of an experiment, as a context manager (`with` or `async with`).

    Everything inside carries its id, item and repetition. An exception marks it failed and goes
    on; `fail` marks it failed without one. A wrong answer is no failure: score it.
    """

    def __init__(self, experiment: Experiment, scope: Scope, attributes: dict[str, Any]) -> None:
        self.experiment = experiment
        self._scope = scope.having(trial_id=NEW_TRIAL)
        self._attributes = attributes
        self.id: str | None = None
        """Hex text: the trial span's own id; None before the trial is entered."""
        self.span: Span = trace.INVALID_SPAN
        self._token: Any = None

    @property
    def item(self) -> str | None:
        """The item that the trial is about."""
        return self._scope.item_id

    @property
    def condition(self) -> str | None:
        """The arm that the trial runs in."""
        return self._scope.condition

    def __enter__(self) -> Trial:
        tracer = self.experiment.tracer
        self.span = tracer.start_span(
            "trial", context=with_scope(self._scope), attributes={"experiment.row": "trial", **self._attributes}
        )
        self.id = f"{self.span.get_span_context().span_id:016x}"
        inside = trace.set_span_in_context(self.span, with_scope(self._scope.having(trial_id=self.id)))
        self._token = otel_context.attach(inside)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        otel_context.detach(self._token)
        if error is not None:
            self._failed_by(error)
        self.span.end()

    async def __aenter__(self) -> Trial:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self.__exit__(kind, error, traceback)

    def _failed_by(self, error: BaseException) -> None:
        name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        self.span.record_exception(error)
        self.span.set_attribute("error.type", name)
        self._mark(f"{name}: {error}")

    def fail(self, reason: str) -> None:
        """Mark the trial failed: it did not work, as opposed to giving a wrong answer."""
        self._mark(str(reason))

    def _mark(self, reason: str) -> None:
        self.span.set_attributes({"experiment.trial.outcome": "failed", "experiment.trial.failure_reason": reason})
        self.span.set_status(Status(StatusCode.ERROR, reason))

    def set_attribute(self, key: str, value: Any) -> None:
        """Put an attribute on the trial's span."""
        self.span.set_attribute(key, value)

    def score(self, name: str, value: float | bool | None = None, *, label: str | None = None, explanation: str | None = None) -> None:
        """Score the trial: `otel_research.score` with this trial."""
        from otel_research.measure import score

        score(name, value, label=label, explanation=explanation, trial=self)


def item_text(item: Any) -> str | None:
    """An item's id as text; anything that is not a plain id needs one from the user."""
    if item is None or isinstance(item, str):
        return item
    if isinstance(item, int) and not isinstance(item, bool):
        return str(item)
    raise ConfigurationError(f"item={item!r} is not an id: pass text or a whole number that names the item.")
