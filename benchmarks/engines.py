"""Exact percentiles by model: Polars against DuckDB on the same rows, time and peak memory, at growing sizes.

Every measurement runs in a process of its own, so that its peak memory is its own.

    python benchmarks/engines.py --millions 1 3 10
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-opus", "claude-haiku", "gemini-pro", "llama", "mistral", "own")
CHUNK = 1_000_000
WAYS = ("polars", "duckdb", "two passes on duckdb")


def write(path: Path, millions: int) -> None:
    """Latencies of so many calls, in files of a million."""
    path.mkdir()
    for number in range(millions):
        rng = np.random.default_rng(number)
        frame = pl.DataFrame({"model": rng.choice(MODELS, CHUNK), "latency_ms": rng.lognormal(6, 0.8, CHUNK)})
        frame.write_parquet(path / f"{number:03}.parquet")


def with_polars(path: Path) -> dict[str, dict[str, float]]:
    """As `calculate_metrics` does it."""
    import narwhals as nw

    from otel_research.analysis import engine

    table = pl.read_parquet(path / "*.parquet")
    spec = {name: nw.col("latency_ms").quantile(p, interpolation="linear") for name, p in engine.PLACES.items()}
    return {key[0]: found for key, found in engine.aggregate(table, ["model"], spec).items()}


def with_duckdb(path: Path) -> dict[str, dict[str, float]]:
    """In DuckDB's own SQL."""
    import duckdb

    from otel_research.analysis import engine

    places = ", ".join(f"quantile_cont(latency_ms, {p}) AS {name}" for name, p in engine.PLACES.items())
    found = duckdb.sql(f"SELECT model, {places} FROM '{path}/*.parquet' GROUP BY model").pl()
    return {row.pop("model"): row for row in found.rows(named=True)}


def in_two_passes(path: Path) -> dict[str, dict[str, float]]:
    """As `engine="duckdb"` does it: what Spark does, too."""
    import duckdb
    import narwhals as nw

    from otel_research.analysis import engine, quantiles

    frame: Any = nw.from_native(duckdb.sql(f"SELECT * FROM '{path}/*.parquet'"))
    return {key[0]: found for key, found in quantiles.linear(frame, ["model"], "latency_ms", engine.PLACES).items()}


def measure(way: str, path: Path) -> None:
    """One way, in this process: its numbers, seconds and peak memory as JSON."""
    began = time.perf_counter()
    found = dict(zip(WAYS, (with_polars, with_duckdb, in_two_passes), strict=True))[way](path)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps({"found": found, "s": seconds, "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure[0], Path(asked.measure[1]))
        return
    for millions in asked.millions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spans"
            write(path, millions)
            results = {}
            for way in WAYS:
                command = [sys.executable, __file__, "--measure", way, str(path)]
                results[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        base = results["polars"]
        for way, result in results.items():
            near = all(
                abs(result["found"][model][name] / value - 1) < 1e-12
                for model, places in base["found"].items()
                for name, value in places.items()
            )
            same = "bit-equal" if result["found"] == base["found"] else "equal to 1e-12" if near else "DIFFERENT"
            print(f"{millions:3} M spans, {way:20}: {result['s']:6.2f} s, CPU {result['cpu']:6.2f} s, "
                  f"peak {result['mib']:6,.0f} MiB, {same}")  # fmt: skip
        print(f"{millions:3} M spans: Polars / DuckDB = {base['s'] / results['duckdb']['s']:.2f} in time, "
              f"{base['cpu'] / results['duckdb']['cpu']:.2f} in CPU")  # fmt: skip


if __name__ == "__main__":
    main()
