"""What goes to other processes: an environment for those that are started, functions for those that run."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_research import context, lifecycle, measure, recorder
from otel_research.context import ENV_PREFIX
from otel_research.errors import ConfigurationError, ResearchError
from otel_research.handle import Experiment
from otel_research.processes.carrier import Carried
from otel_research.processes.joining import enlisted
from otel_research.redaction import without_password

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_logger = logging.getLogger("otel_research")
_STORE = ENV_PREFIX + "STORE"


def child_env() -> dict[str, str]:
    """Environment variables for a process that is to record into the current experiment.

    Lay them over the environment: `subprocess.run(..., env={**os.environ, **otr.child_env()})`. They
    carry the experiment's id, its store (made absolute) and the labels that hold here: condition,
    session, trial, item, repetition, factors, aside. An empty value means unset. In the child,
    `configure()` or the first experiment joins; `join_experiment(child_env)` does so from a pool's
    initializer. A password in a store's URL goes along only where the environment has it already.
    Where recording is disabled nothing is carried: {}.

    Raises:
        ExperimentError: no experiment is running here.
        ConfigurationError: the experiment's store cannot be reached from another process.
    """
    experiment = measure._current()
    active = experiment.recorder
    if active is None or active.settings.is_disabled:
        return {}
    scope = context_of(experiment)
    return Carried.of(scope, _address(experiment)).written()


def context_of(experiment: Experiment) -> context.Scope:
    """The labels that a span started here would carry."""
    return experiment._scope()


def _address(experiment: Experiment) -> str:
    """The store as a URL that means the same in another process, without a secret that was not in the environment."""
    url = _url(experiment)
    if url is None or url.startswith("memory:"):
        raise ConfigurationError(
            f"experiment {experiment.name!r} ({experiment.id}) is in a store that another process cannot reach "
            f"({experiment.library.url}). Use one that has a URL, for example store='disk:PATH'."
        )
    return url if os.environ.get(_STORE) == url else without_password(url)


def _url(experiment: Experiment) -> str | None:
    active = experiment.recorder
    named = None if active is None else active.url_of(experiment.library)
    return named or getattr(experiment.library.store, "url", None)


class Carry(Generic[Parameters, Result]):
    """A function together with the experiment, the labels and the parent span of where it was carried from."""

    def __init__(self, function: Callable[Parameters, Result], variables: Mapping[str, str], parent: dict[str, str]):
        self.function = function
        self.variables = dict(variables)
        self.parent = parent
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)

    def __repr__(self) -> str:
        return f"<carried {self.function!r}>"

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        """Call the function in the experiment, joining it where this process does not record it yet."""
        if inspect.iscoroutinefunction(self.function):
            return self._awaited(*args, **kwargs)  # type: ignore[return-value]
        with self._inside():
            return self.function(*args, **kwargs)

    async def _awaited(self, *args: Any, **kwargs: Any) -> Any:
        with self._inside():
            return await self.function(*args, **kwargs)  # type: ignore[misc]

    @contextmanager
    def _inside(self) -> Iterator[None]:
        token = otel_context.attach(self._context())
        try:
            yield
        finally:
            otel_context.detach(token)

    def _context(self) -> otel_context.Context:
        """The context of where it was carried from; the one of here where the experiment cannot be joined."""
        carried = Carried.read(self.variables)
        try:
            experiment = enlisted(carried, None, {}, source=None)
        except ResearchError as error:
            # The work goes on: it is not the worker's fault that nobody records it.
            _logger.warning("otel_research: %r runs unrecorded: %s", self.function, error)
            return otel_context.get_current()
        here = context.with_scope(carried.scope(experiment.record, "context"))
        return TraceContextTextMapPropagator().extract(self.parent, here)


def carry(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, so that it runs in the experiment, arm, trial and trace of here, wherever it runs.

    For workers that outlive a trial: `pool.submit(otr.carry(work), item)`, joblib's
    `delayed(otr.carry(work))(item)`, a Ray task that calls it. In a process that does not record the
    experiment yet it joins first. Can be pickled if the function can. Outside any experiment, and
    where recording is disabled, it is the function itself; where the experiment cannot be joined (it
    is stopped by then, or its store is another process's memory) the function runs unrecorded and a
    warning says so.
    """
    experiment = lifecycle.current_experiment()
    if experiment is None or (active := recorder.current()) is None or active.settings.is_disabled:
        return function
    parent: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        TraceContextTextMapPropagator().inject(parent)
    url = _url(experiment)
    address = None if url is None or url.startswith("memory:") else _address(experiment)
    variables = Carried.of(context_of(experiment), address).written({})
    return Carry(function, variables, parent)
