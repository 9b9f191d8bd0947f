"""The driver for async functions: tasks of the running loop."""

from __future__ import annotations

import asyncio

from otel_research.runner.plan import Planned
from otel_research.runner.run import Attempt, Run

GRACE_SECONDS = 5.0
"""How long the end of a run waits for functions that were cancelled at their limit."""


def has_loop() -> bool:
    """Whether a loop runs in this thread: what blocks here would stop it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def run(work: Run, concurrency: int) -> None:
    """Every trial of the run, `concurrency` at a time."""
    late: set[asyncio.Task[object]] = set()
    try:
        for planned in work.warm_up():
            await _one(work, planned, late, is_warmup=True)
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(_drain(work, late))
    finally:
        if late:
            await asyncio.wait(late, timeout=GRACE_SECONDS)
    if work.aborted is not None:
        raise work.aborted


async def _drain(work: Run, late: set[asyncio.Task[object]]) -> None:
    try:
        # A look at the cost reads the spans, so it must not hold up the loop.
        while (planned := await asyncio.to_thread(work.next) if work.has_budget else work.next()) is not None:
            await _one(work, planned, late)
    except Exception as error:
        # The other workers finish what they are at; a group would cancel it.
        work.abort(error)


async def _one(work: Run, planned: Planned, late: set[asyncio.Task[object]], *, is_warmup: bool = False) -> None:
    with work.attempt(planned, is_warmup=is_warmup) as made:
        try:
            if work.timeout is None:
                made.value = await work.function(planned.item, planned.condition)
            else:
                await _within(work, planned, made, work.timeout, late)
        except asyncio.CancelledError as error:
            here = asyncio.current_task()
            if here is not None and here.cancelling():
                raise
            raise RuntimeError("the function was cancelled from within") from error


async def _within(work: Run, planned: Planned, made: Attempt, limit: float, late: set[asyncio.Task[object]]) -> None:
    """The call as a task; at the limit it is cancelled, and the trial ends there, however long it takes to let go."""

    async def call() -> object:
        return await work.function(planned.item, planned.condition)

    task = asyncio.create_task(call())
    try:
        done, _ = await asyncio.wait({task}, timeout=limit)
    except BaseException:
        task.cancel()
        raise
    if done:
        made.value = task.result()
        return
    made.cut_off(limit)
    late.add(task)
    task.add_done_callback(_seen)
    task.cancel()


def _seen(task: asyncio.Task[object]) -> None:
    """What a function raises after its limit is nobody's: its trial is over."""
    if not task.cancelled():
        task.exception()
