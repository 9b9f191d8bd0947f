"""A `ProcessPoolExecutor` of forked workers."""

from __future__ import annotations

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import trace

from otel_research.selftest.scenario import Host, Scenario, ended_call

WORKERS = 4
TASKS = 80
SPANS = 10


def work(tracer: trace.Tracer, task: int) -> list[int]:
    """In a worker: the ids of the spans of one task."""
    return [ended_call(tracer, task) for _ in range(SPANS)]


_tracer: trace.Tracer | None = None


def _task(task: int) -> list[int]:
    assert _tracer is not None
    return work(_tracer, task)


def program(host: Host) -> None:
    """Tasks on a pool of forked workers, which inherit the recording and need no call of ours."""
    global _tracer
    with host.recording() as _tracer:
        forked = functools.partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("fork"))
        with forked(WORKERS) as pool:
            for span_ids in pool.map(_task, range(TASKS)):
                host.say(*span_ids)


SCENARIO = Scenario(
    name="pool",
    says=f"{TASKS} tasks on a ProcessPoolExecutor of {WORKERS} forked workers",
    program=program,
    expected=TASKS * SPANS,
)
