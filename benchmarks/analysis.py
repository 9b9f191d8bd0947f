"""What analyses cost: compare 2 x 500,000 spans with bootstrap, and all metrics of 1 M spans by condition.

python benchmarks/analysis.py [--spans 500000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import polars as pl

import otel_research as otr
from otel_research.spans import schema


def calls(n: int, condition: str, factor: float, seed: int, *, items: int | None) -> pl.DataFrame:
    """Priced calls with heavy-tailed latency, each in a trace of its own; `items` gives each one an item id."""
    rng = np.random.default_rng(seed)
    at = pl.int_range(n, eager=True)
    frame = pl.DataFrame(
        {
            "experiment_id": ["e" * 32] * n,
            "condition": [condition] * n,
            "trace_id": at.cast(pl.String) + condition,
            "span_id": at.cast(pl.String),
            "item_id": [None] * n if items is None else rng.integers(0, items, n).astype(str),
            "start_ns": at * 1_000_000,
            "duration_ms": factor * rng.lognormal(6, 0.5, n),
            "status": np.where(rng.random(n) < 0.01, "error", "ok"),
            "role": ["call"] * n,
            "is_call": [True] * n,
            "request_model": ["m"] * n,
            "cost_nano_usd": rng.integers(10**5, 10**6, n),
            "input_tokens": rng.integers(10, 1000, n),
            "output_tokens": rng.integers(10, 500, n),
        },
        schema_overrides={"item_id": pl.String},
    )
    have, want = set(frame.columns), schema.polars_schema(schema.ALL)
    missing = [pl.lit(None, kind).alias(name) for name, kind in want.items() if name not in {*have, "sample_weight"}]
    return frame.with_columns(*missing, sample_weight=pl.lit(1.0)).cast({name: want[name] for name in have})


def timed(what: str, run: object) -> None:
    """Print the best of three: on the clock, and of all threads' work."""
    taken, worked = [], []
    for _ in range(3):
        start, used = time.perf_counter(), time.process_time()
        run()  # type: ignore[operator]
        taken.append(time.perf_counter() - start)
        worked.append(time.process_time() - used)
    print(f"{what:<70} {min(taken):6.2f} s ({min(worked):.2f} s of CPU)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spans", type=int, default=500_000, help="per condition")
    n = parser.parse_args().spans
    for items in (None, 1000):
        a, b = (calls(n, name, factor, at, items=items) for at, (name, factor) in enumerate((("a", 1.0), ("b", 0.95))))
        what = "no items" if items is None else f"{items:,} items"
        timed(f"compare 2 x {n:,} spans, bootstrap, {what}", lambda a=a, b=b: otr.compare(a.lazy(), b.lazy()))
        both = pl.concat([a, b]).lazy()
        timed(f"metrics of {2 * n:,} spans by condition, no intervals, {what}",
              lambda both=both: otr.metrics_by(both, "condition", ci=False))  # fmt: skip


if __name__ == "__main__":
    main()
