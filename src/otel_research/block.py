"""`experiment`: an experiment scoped to a block or to every call of a function."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast
from weakref import WeakSet

from opentelemetry import context as otel_context

from otel_research import context, lifecycle
from otel_research.handle import Experiment
from otel_research.recorder import Recorder
from otel_research.runner import tasks

_logger = logging.getLogger("otel_research")
_have_told: WeakSet[Recorder] = WeakSet()
"""Recorders that have told of spans beside a block: a server has many, and one word is enough."""

Function = TypeVar("Function", bound=Callable[..., Any])


class _Entered(NamedTuple):
    """A block that is open."""

    begun: Experiment
    token: object
    outside: int
    """Spans outside of any experiment by then."""


class experiment:
    """An experiment scoped to a block or a function; takes what `start_experiment` takes.

    As a context manager (`with` or `async with`) it gives the `Experiment`; as a decorator of a
    function (sync, async or a generator of either kind) every call is an experiment of its own.
    It is stopped at the end.
    """

    def __init__(self, name: str, **declarations: Any) -> None:
        self._arguments = lifecycle.arguments_of(name, **declarations)
        # What is open, so that one object may be entered again, also by another thread or task meanwhile.
        self._entered: list[_Entered] = []

    def __enter__(self) -> Experiment:
        begun = lifecycle.begin(dict(self._arguments))
        token = otel_context.attach(context.with_scope(context.scope_of(begun.record, "context")))
        self._entered.append(_Entered(begun, token, _outside(begun)))
        return begun

    def __exit__(self, *exc_info: object) -> None:
        lifecycle.let_go(self._left())

    async def __aenter__(self) -> Experiment:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        begun = self._left()
        if tasks.has_loop():
            # In a thread: spans of other tasks can end only while the loop runs.
            await asyncio.to_thread(lifecycle.let_go, begun)
        else:
            lifecycle.let_go(begun)

    def _left(self) -> Experiment:
        """The experiment that this thread or task entered last."""
        here = context.context_scope()
        mine = [entry for entry in self._entered if here is not None and entry.begun.id == here.experiment_id]
        entry = (mine or self._entered)[-1]
        self._entered.remove(entry)
        otel_context.detach(cast(Any, entry.token))
        _tell_of_others(entry.begun, _outside(entry.begun) - entry.outside)
        return entry.begun

    def __call__(self, function: Function) -> Function:
        """Every call of the function is an experiment of its own."""
        name, declarations = self._arguments["name"], {k: v for k, v in self._arguments.items() if k != "name"}

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with experiment(name, **declarations):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            async with experiment(name, **declarations):
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def run_generator(*args: Any, **kwargs: Any) -> Any:
            apart, block = context.Apart(), experiment(name, **declarations)
            apart.run(block.__enter__)
            try:
                return (yield from apart.driven(function(*args, **kwargs)))
            finally:
                apart.run(block.__exit__)

        @functools.wraps(function)
        async def run_async_generator(*args: Any, **kwargs: Any) -> Any:
            apart, block = context.Apart(), experiment(name, **declarations)
            apart.run(block.__enter__)
            generator = function(*args, **kwargs)
            step = generator.__anext__()
            try:
                while True:
                    produced = await apart.awaited(step)
                    try:
                        step = generator.asend((yield produced))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = generator.athrow(error)
            except StopAsyncIteration:
                return
            finally:
                await apart.awaited(generator.aclose())
                await apart.awaited(block.__aexit__())

        kinds = (
            (inspect.isasyncgenfunction, run_async_generator),
            (inspect.isgeneratorfunction, run_generator),
            (inspect.iscoroutinefunction, run_async),
        )
        called = getattr(function, "__call__", function)  # noqa: B004 - an object's own, which may be async
        for is_kind, wrapper in kinds:
            if is_kind(function) or is_kind(called):
                return cast(Function, wrapper)
        return cast(Function, run)


def _outside(begun: Experiment) -> int:
    return 0 if begun.recorder is None else begun.recorder.tally["outside"]


def _tell_of_others(begun: Experiment, spans: int) -> None:
    """A block does not reach into threads by itself: what was missed there looks like what never was."""
    if spans == 0 or begun.recorder is None or begun.recorder in _have_told:
        return
    _have_told.add(begun.recorder)
    _logger.warning(
        "otel_research: while the block of experiment %r was open, %d span(s) ended that belong to no experiment. If threads "
        "or executors of the block made them, they are missing in it: configure(threads=True) or otr.carry(function) brings "
        "it there, and start_experiment(...) holds for the whole process. Told once.",
        begun.name, spans,
    )  # fmt: skip
