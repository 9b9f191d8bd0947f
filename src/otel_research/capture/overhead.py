"""What observing costs, measured in the run: our two hooks, timed for one span in 64."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_research.capture.ids import ExperimentIdGenerator

MASK = 63
"""A span is timed when these bits of its id are 0: ids are random, and it needs no counter."""
_KEPT = 4096


class Watched:
    """The latest timings of one hook, in nanoseconds."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=_KEPT)

    def watch(self, hook: Callable[..., None], *arguments: Any) -> None:
        """Call the hook and keep how long it took."""
        before = time.perf_counter_ns()
        hook(*arguments, is_watched=True)
        self._times.append(time.perf_counter_ns() - before)

    @property
    def count(self) -> int:
        """How many calls were timed."""
        return len(self._times)

    def median_us(self) -> float | None:
        """The median in microseconds: a thread switch during a call must not count. None without a timing."""
        times = list(self._times)
        return statistics.median(times) / 1000 if times else None

    def clear(self) -> None:
        """Forget the timings."""
        self._times.clear()


starts = Watched()
ends = Watched()


def measured() -> dict[str, float | int | None]:
    """What one span costs more because it is observed, beside what it costs anyway; microseconds.

    None where no span of this process was timed yet.
    """
    start_us, end_us = starts.median_us(), ends.median_us()
    hooks_us = None if start_us is None or end_us is None else start_us + end_us
    return {
        "spans_timed": ends.count,
        "hooks_us_per_span": None if hooks_us is None else round(hooks_us, 3),
        "bare_span_us": None if hooks_us is None else round(bare_span_us(), 3),
    }


_bare_us: float | None = None


def bare_span_us(rounds: int = 5, spans: int = 100) -> float:
    """What a span of the SDK alone costs in this process; measured once, in a few milliseconds."""
    global _bare_us
    if _bare_us is None:
        # Ids of our own: the stock generator would move the program's random numbers. A resource of
        # our own: the SDK's detectors start threads, which an interpreter that ends refuses.
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource({}), shutdown_on_exit=False, id_generator=ExperimentIdGenerator()
        )
        tracer = provider.get_tracer("otel_research.overhead")
        _bare_us = min(_round(tracer, spans) for _ in range(rounds))
    return _bare_us


def _round(tracer: Any, spans: int) -> float:
    before = time.perf_counter_ns()
    for _ in range(spans):
        tracer.start_span("bare", attributes={"a": 1, "b": "x"}).end()
    return (time.perf_counter_ns() - before) / spans / 1000
