"""What is fast by design. Ratios and counts decide; seconds are printed (`pytest -s`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import polars as pl

import otel_research as otr
from otel_research.testing import recording

N = 20_000


def seconds(function: Callable[[], Any], rounds: int = 3) -> float:
    """The best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


def cpu(function: Callable[[], Any]) -> float:
    """Seconds of CPU that the call takes in this thread."""
    began = time.thread_time()
    function()
    return time.thread_time() - began


def test_twenty_thousand_spans_to_a_frame(tmp_path: Path) -> None:
    """A sealed experiment of 20,000 calls is a frame in about a tenth of a second: less than it takes to make them."""
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 9}
    with recording(f"disk:{tmp_path}") as (_, provider):
        tracer = provider.get_tracer("x")
        began = time.perf_counter()
        with otr.experiment("speed") as exp:
            for number in range(N):
                tracer.start_span("chat gpt-4o-mini", attributes={**call, "number": number}).end()
            making = time.perf_counter() - began
            live = time.perf_counter()
            assert exp.spans().select(pl.len()).collect().item() == N
            live = time.perf_counter() - live
        assert exp.spans().collect().height == N
        sealed = seconds(lambda: exp.spans().collect())
    print(f"\n{N} spans: made in {making:.2f} s, first read while running {live:.2f} s, sealed {sealed:.3f} s")
    assert sealed < 0.7 * making


def test_importing_is_quick_and_light(run_python: Callable[..., CompletedProcess[str]]) -> None:
    """`import otel_research` loads no data frame, statistics, terminal or exporter library, and adds little to the SDK."""
    run = run_python("""
import json, sys, time
began = time.perf_counter()
import opentelemetry.sdk.trace
sdk = time.perf_counter() - began
began = time.perf_counter()
import otel_research
ours = time.perf_counter() - began
print(json.dumps([sdk, ours, sorted(sys.modules)]))
""")
    assert run.returncode == 0, run.stderr
    sdk, ours, modules = json.loads(run.stdout)
    heavy = (
        "polars",
        "pyarrow",
        "pandas",
        "numpy",
        "scipy",
        "statsmodels",
        "rich",
        "click",
        "narwhals",
        "genai_prices",
        "duckdb",
    )
    assert [name for name in modules if name.split(".")[0] in heavy] == []
    assert [name for name in modules if name.startswith(("opentelemetry.exporter", "grpc", "requests"))] == []
    print(f"\nimport: the SDK {sdk:.2f} s, then otel_research {ours:.2f} s")
    assert ours < sdk


def test_a_span_outside_costs_next_to_nothing() -> None:
    """With a recorder but no experiment, spans cost about what they cost without us."""
    from opentelemetry.sdk.trace import TracerProvider

    def work(provider: TracerProvider) -> Callable[[], None]:
        tracer = provider.get_tracer("x")

        def make() -> None:
            for _ in range(2000):
                tracer.start_span("s", attributes={"a": 1}).end()

        return make

    bare = work(TracerProvider(shutdown_on_exit=False))
    with recording() as (recorder, provider):
        with_us = work(provider)
        # CPU of this thread, because other programs take turns with it; interleaved, so that a slow moment hits both.
        pairs = [(cpu(bare), cpu(with_us)) for _ in range(8)]
        assert recorder.ledger().outside == 8 * 2000
    ratio = min(ours for _, ours in pairs) / min(theirs for theirs, _ in pairs)
    print(f"\na span outside any experiment: {ratio:.2f} of a bare one")
    assert ratio < 2.0
