"""Drivers for functions that are not async: the caller's own thread, or several."""

from __future__ import annotations

import contextvars
import inspect
import threading
from typing import Any

from otel_research.runner.plan import Planned
from otel_research.runner.run import Attempt, NotAsync, Run


def run(work: Run, concurrency: int) -> None:
    """Every trial of the run, `concurrency` at a time; one at a time in the caller's thread.

    A time limit needs a thread per trial. A thread cannot be killed: at the limit its trial is cut off, and
    what the function does afterwards still belongs to the trial, whose end it does not move.
    """
    for planned in work.warm_up():
        _one(work, planned, is_warmup=True)
    if concurrency == 1:
        _drain(work)
    else:
        workers = [_started(_drain, work) for _ in range(concurrency)]
        try:
            for worker in workers:
                worker.join()
        except BaseException as error:
            # Ctrl-C: the trials in flight end as they would, no other begins.
            work.abort(error)
            for worker in workers:
                worker.join()
            raise
    if work.aborted is not None:
        raise work.aborted


def _drain(work: Run) -> None:
    """One worker: trial after trial until there is none."""
    try:
        while (planned := work.next()) is not None:
            _one(work, planned)
    except BaseException as error:
        work.abort(error)


def _one(work: Run, planned: Planned, *, is_warmup: bool = False) -> None:
    with work.attempt(planned, is_warmup=is_warmup) as made:
        if work.timeout is None:
            made.value = work.function(planned.item, planned.condition)
        else:
            _within(work, planned, made, work.timeout)
        if inspect.iscoroutine(made.value):
            made.value.close()
            raise NotAsync(
                f"{work.function!r} returned a coroutine, but is not an async function itself: make it `async def`."
            )


def _within(work: Run, planned: Planned, made: Attempt, limit: float) -> None:
    """The call in a thread of its own; what it returns or raises counts if it does so within the limit."""
    answer: dict[str, Any] = {}

    def call() -> None:
        try:
            answer["value"] = work.function(planned.item, planned.condition)
        except BaseException as error:
            answer["error"] = error

    worker = _started(call)
    worker.join(limit)
    if worker.is_alive():
        made.cut_off(limit)
    elif "error" in answer:
        raise answer["error"]
    else:
        made.value = answer["value"]


def _started(target: Any, *args: Any) -> threading.Thread:
    """A thread in a copy of this context, which threads do not inherit by themselves."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(target, *args), daemon=True)
    thread.start()
    return thread
