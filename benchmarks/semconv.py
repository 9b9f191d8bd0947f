"""How long `normalise` and `mark` take: seconds, rows per second, linearity and peak memory.

    python benchmarks/semconv.py [rows ...]

Each size runs in a fresh process, because peak memory is the process's. Per trace: a trial, an agent that repeats
the sum, two calls of 18 GenAI attributes and a tool ("mixed"); or one call only ("calls"); or a trial and one call that
two packages wrote ("twins"). The spans are in a Parquet file, as in a store. Three steps are timed: `normalise` into a second file (what sealing does), `mark` over that file
(what every analysis does), and both in one plan.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from otel_research.semconv import normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema
from otel_research.store.seal import ROW_GROUP

SIZES = (300_000, 1_000_000, 3_000_000)
START = 1_790_000_000_000_000_000
AT_ONCE = 200_000
CALL = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "127.0.0.1", "server.port": 18080, "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 50, "gen_ai.request.seed": 7, "gen_ai.request.stream": True,
    "gen_ai.response.finish_reasons": ["stop"], "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-NUMBER", "gen_ai.usage.input_tokens": "INPUT",
    "gen_ai.usage.output_tokens": "OUTPUT", "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.response.time_to_first_chunk": 0.000002, "openai.response.service_tier": "default",
    "openai.response.system_fingerprint": "fp_fake01",
}  # fmt: skip
AGENT = {
    "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "gen_ai.usage.input_tokens": "INPUT",
    "gen_ai.usage.output_tokens": "OUTPUT",
}  # fmt: skip
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
SHAPES = {"mixed": 5, "calls": 1, "twins": 3}
"""Spans per trace."""
PACKAGE, OTHER = "opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.openai_v2"
TRIAL = {"experiment.row": "trial"}


def spans(first: int, count: int, shape: str) -> pl.DataFrame:
    """`count` spans from number `first` on."""
    n = pl.col("n")
    size = SHAPES[shape]
    part, trace = n % size, n // size
    base = 10**15
    head = n - part
    if shape == "mixed":
        parent = pl.when(part == 1).then(head + base).when(part > 1).then(head + 1 + base)
    else:
        parent = pl.when(part > 0).then(head + base)
        part = part.replace_strict({"calls": {0: 2}, "twins": {0: 0, 1: 2, 2: 3}}[shape], return_dtype=pl.Int64)
    attributes = (
        pl.when(part == 0)
        .then(text(TRIAL))
        .when(part == 1)
        .then(text(AGENT))
        .when(part == 4)
        .then(text(TOOL))
        .otherwise(text(CALL))
    )
    package = pl.when(part == 3).then(pl.lit(OTHER)).otherwise(pl.lit(PACKAGE)) if shape == "twins" else pl.lit(PACKAGE)
    scope = pl.when(part == 0).then(pl.lit("otel_research")).otherwise(package)
    late = part * (100 if shape == "twins" else 10_000)
    columns = {
        "experiment_id": pl.lit("e" * 32),
        "trace_id": pl.concat_str(pl.lit("0" * 16), (trace + base).cast(pl.String)),
        "span_id": (n + base).cast(pl.String),
        "parent_span_id": parent.cast(pl.String),
        "name": pl.when(part.is_in([2, 3])).then(pl.lit("chat gpt-4o-mini")).otherwise(pl.lit("step")),
        "kind": pl.lit("client"),
        "start_ns": START + trace * 1_000_000 + late,
        "end_ns": START + trace * 1_000_000 + late + 5_000,
        "status": pl.lit("unset"),
        "scope": scope,
        "scope_version": pl.lit("1.3b0"),
        "attributes": attributes,
        "events": pl.lit("[]"),
        "links": pl.lit("[]"),
    }
    types = schema.polars_schema(schema.RAW)
    every = [columns.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in types.items()]
    call = trace if shape == "twins" else n
    return pl.DataFrame({"n": pl.int_range(first, first + count, eager=True)}).with_columns(call=call).select(every)


def text(attributes: dict[str, object]) -> pl.Expr:
    """The attributes as JSON text, with the call's own number, input and output tokens filled in."""
    own = {"NUMBER": pl.col("call"), '"INPUT"': pl.col("call") % 1000 + 40, '"OUTPUT"': pl.col("call") % 300 + 12}
    pieces = re.split("|".join(f"({word})" for word in own), json.dumps(attributes, separators=(",", ":")))
    return pl.concat_str(own[piece].cast(pl.String) if piece in own else pl.lit(piece) for piece in pieces if piece)


def write(path: Path, rows: int, shape: str) -> None:
    """A file of that many spans, written piece by piece."""
    pieces = [path.with_suffix(f".{first}") for first in range(0, rows, AT_ONCE)]
    for first, piece in zip(range(0, rows, AT_ONCE), pieces, strict=True):
        spans(first, min(AT_ONCE, rows - first), shape).write_parquet(piece)
    pl.scan_parquet(pieces).sink_parquet(path, row_group_size=ROW_GROUP)
    for piece in pieces:
        piece.unlink()


def totals(frame: pl.LazyFrame) -> dict[str, int]:
    """What a metric asks: how many calls, how many tokens."""
    calls = frame.filter("is_call").select(pl.len(), pl.col("input_tokens").sum(), pl.col("output_tokens").sum())
    return dict(calls.collect(engine="streaming").row(0, named=True))


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds, seconds of processors, and result."""
    before, used = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - before, time.process_time() - used, result


def measure(step: str, raw: Path, normalised: Path) -> None:
    """One step in this process; prints one line of JSON."""
    idle = peak_mb()
    steps: dict[str, Callable[[], object]] = {
        "normalise": lambda: normalise(pl.scan_parquet(raw)).sink_parquet(normalised, row_group_size=ROW_GROUP),
        "mark": lambda: totals(mark(pl.scan_parquet(normalised))),
        "both": lambda: totals(mark(normalise(pl.scan_parquet(raw)))),
        "mark to file": lambda: mark(pl.scan_parquet(normalised)).sink_parquet(normalised.with_suffix(".marked")),
    }
    seconds, cpu, result = timed(steps[step])
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mb": peak_mb() - idle, "result": result}, default=str))


def peak_mb() -> float:
    """The most that this program has held. `getrusage` would count what the process held before it became this program."""
    said = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert said is not None
    return int(said[1]) / 1024


def main(sizes: list[int]) -> None:
    """Every shape, size and step."""
    print(f"{'shape':6} {'rows':>10}  {'step':14} {'seconds':>8} {'cpu s':>8} {'rows/s':>10} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            for rows in sizes:
                raw, normalised = Path(folder) / "raw.parquet", Path(folder) / "normalised.parquet"
                write(raw, rows, shape)
                for step in ("normalise", "mark", "mark to file", "both"):
                    command = [sys.executable, __file__, "--step", step, str(raw), str(normalised)]
                    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    rate = rows / done["seconds"]
                    print(
                        f"{shape:6} {rows:>10,}  {step:14} {done['seconds']:>8.2f} {done['cpu']:>8.2f} {rate:>10,.0f} {done['mb']:>8,.0f}"
                    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        measure(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main([int(rows) for rows in sys.argv[1:]] or list(SIZES))
