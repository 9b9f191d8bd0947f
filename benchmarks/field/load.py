"""The spans that every tool is given, in a process of its own: `python load.py TOOL DEED BACKEND`, JSON on stdout.

A trial is one trace: a span, and four model calls of 18 GenAI attributes below it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[0:1] = [str(root / "benchmarks"), str(root)]  # not this folder: it has a file `tools`

from field.tools import Tracing, named
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from opentelemetry.trace import TracerProvider as Provider

from capture import GENAI

CALLS = 4
PER_TRIAL = 1 + CALLS

BURST = 4_000
"""Trials as fast as four threads can make them: 20,000 spans."""
KILLED, PAUSE = (175, 210, 245), 0.05
"""Trials before the process kills itself, run by run, and seconds between two: 9 to 12 seconds, so that a queue that is emptied
every five is met soon after, in between and long after."""
ROUNDS, ROUND = 7, 400
"""Of the overhead: rounds, and trials in each (2,000 spans)."""
FLUSHED = 100
"""Trials between two flushes of the overhead: 500 spans, which fit into every tool's queue, so that none is cheap by dropping."""


def trial(tracer: Tracer) -> None:
    """One trace of `PER_TRIAL` spans."""
    with tracer.start_as_current_span("trial"):
        for _ in range(CALLS):
            with tracer.start_as_current_span("chat gpt-4o-mini", attributes=GENAI):
                pass


def trials(tracer: Tracer, count: int) -> None:
    for _ in range(count):
        trial(tracer)


def burst(tracing: Tracing, count: int = BURST) -> dict[str, Any]:
    """Made by four threads without a pause; the program ends as its tool says it should."""
    tracer = tracing.provider.get_tracer("program")
    threads = [threading.Thread(target=trials, args=(tracer, count // 4)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    tracing.close()
    return {"made": count * PER_TRIAL}


def kill(tracing: Tracing, count: int = KILLED[1]) -> dict[str, Any]:
    """One trial after the other with a pause; killed right after the last span's `end()` has returned."""
    tracer = tracing.provider.get_tracer("program")
    for _ in range(count):
        time.sleep(PAUSE)
        trial(tracer)
    print(json.dumps({"made": count * PER_TRIAL}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def overhead(tracing: Tracing) -> dict[str, Any]:
    """CPU of the whole process for a span, until it is delivered, beside a bare SDK span of the same round."""
    bare = TracerProvider(shutdown_on_exit=False)
    _cpu(bare, lambda: None, FLUSHED), _cpu(tracing.provider, tracing.flush, FLUSHED)
    rounds = [(_cpu(bare, lambda: None, ROUND), _cpu(tracing.provider, tracing.flush, ROUND)) for _ in range(ROUNDS)]
    tracing.close()
    return {
        "made": (ROUNDS * ROUND + FLUSHED) * PER_TRIAL,
        "us": statistics.median(theirs for _, theirs in rounds),
        "bare_us": statistics.median(base for base, _ in rounds),
        "ratio": statistics.median(theirs / base for base, theirs in rounds),
    }


def _cpu(provider: Provider, flush: Callable[[], object], count: int) -> float:
    """Microseconds of CPU per span."""
    tracer = provider.get_tracer("program")
    gc.collect()
    before = time.process_time()
    for _ in range(count // FLUSHED):
        trials(tracer, FLUSHED)
        flush()
    return (time.process_time() - before) / (count * PER_TRIAL) * 1e6


DEEDS: dict[str, Callable[..., dict[str, Any]]] = {"burst": burst, "kill": kill, "overhead": overhead}

if __name__ == "__main__":
    name, deed, backend, *count = sys.argv[1:]
    print(json.dumps(DEEDS[deed](named(name).trace(backend), *map(int, count))))
