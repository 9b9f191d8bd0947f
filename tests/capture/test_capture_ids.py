"""Ids: never from the global `random`, never the same in two processes."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.testing import SequentialIds, recording

SEEDED = """
import random, sys
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(shutdown_on_exit=False)
tracer = provider.get_tracer("app")
random.seed(42)
if sys.argv[1] == "with":
    import otel_research as otr
    otr.configure(store="memory:", provider=provider)
    exp = otr.start_experiment("seeded")
numbers, ids = [], []
for _ in range(3):
    if sys.argv[1] == "with":
        with exp.trial(item="q"):
            with tracer.start_as_current_span("s") as span:
                ids.append(span.get_span_context().trace_id)
        otr.record("r", {"x": 1.0})
        otr.score("s", 1.0)
    numbers.append(random.random())
print(numbers, ids, sep="|")
"""


def test_a_seeded_program_draws_the_same_numbers_with_and_without_us(
    run_python: Callable[..., CompletedProcess[str]],
) -> None:
    """`random.seed(42)`: the same numbers with and without us, and yet other ids in every process."""
    first, second, without = (run_python(SEEDED, how) for how in ("with", "with", "without"))
    assert first.returncode == second.returncode == without.returncode == 0, first.stderr + without.stderr
    (numbers, ids), (_, other_ids), (expected, _) = (run.stdout.split("|") for run in (first, second, without))
    assert numbers == expected
    assert ids != other_ids
    assert len(set(json.loads(ids))) == 3


def test_ids_are_valid_and_distinct() -> None:
    """Ids are within their width, never zero, and as good as never repeat."""
    made = otr.ExperimentIdGenerator()
    traces = {made.generate_trace_id() for _ in range(1000)}
    spans = {made.generate_span_id() for _ in range(1000)}
    assert len(traces) == len(spans) == 1000
    assert 0 < min(traces) <= max(traces) < 1 << 128
    assert 0 < min(spans) <= max(spans) < 1 << 64
    assert max(traces) > 1 << 64
    assert made.is_trace_id_random() is True


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_other_ids_than_its_parent(wait_for: Callable[[int], None]) -> None:
    """The generator's state is not shared over a fork."""
    made = otr.ExperimentIdGenerator()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, made.generate_trace_id().to_bytes(16, "big"))
        os._exit(0)
    wait_for(child)
    theirs = int.from_bytes(os.read(read, 16), "big")
    os.close(read)
    os.close(write)
    assert theirs != made.generate_trace_id()


def test_a_generator_that_the_host_chose_stays() -> None:
    """Only the SDK's stock generator is replaced: X-Ray ids, say, keep their form."""
    provider = TracerProvider(id_generator=SequentialIds(), shutdown_on_exit=False)
    chosen = provider.id_generator
    with recording(provider=provider), otr.experiment("own ids") as exp:
        provider.get_tracer("app").start_span("s").end()
    assert provider.id_generator is chosen
    assert exp.spans().collect()["span_id"].to_list() == [f"{1:016x}"]


def test_the_stock_generator_is_replaced_for_good() -> None:
    """After the recorder has closed, spans still do not move the program's random numbers."""
    with recording() as (_, provider):
        pass
    state = random.getstate()
    provider.get_tracer("app").start_span("s").end()
    assert random.getstate() == state
