"""Spark on a real standalone cluster gives the numbers of Polars, also when a worker is killed in mid-job.

python -m tests.cluster.equal --millions 10 --parts metrics compare
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from tests.cluster.standalone import EXECUTOR_MEMORY, Cluster

from otel_research.analysis import arms, metrics, series, subject
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.engines.chosen import engine_of

CLOSE = 1e-12
BITS = (
    "count", "p50", "p90", "p95", "p99", "p99_9", "median", "min", "max", "iqr", "mad", "total_nano_usd", "priced", "n", "data_hash",
)  # fmt: skip
MODELS, CONDITIONS, ERRORS = ("gpt-4o", "claude", "own model"), ("a", "b"), ("RateLimit", "Server")


def spans(n: int) -> pl.DataFrame:
    """So many calls of a day: two conditions, a thousand items, failures, missing values, asides."""
    rng = np.random.default_rng(1)
    number = pl.int_range(n, eager=True)
    latency = rng.lognormal(6, 0.8, n)
    start = 1_795_414_056_000_000_000 + np.sort(rng.integers(0, 86_400 * 10**9, n))
    failed = rng.random(n) < 0.1
    known = pl.DataFrame({"number": number, "latency": latency, "failed": failed, "input": rng.integers(10, 5000, n), "output": rng.integers(1, 900, n), "cost": rng.integers(10**5, 10**9, n)})  # fmt: skip
    at = pl.col("number")

    def one_of(names: tuple[str, ...]) -> pl.Expr:
        return pl.lit(pl.Series(names)).gather(at % len(names))

    return known.select(
        experiment_id=pl.lit("e" * 32),
        trace_id=at.cast(pl.String),
        span_id=at.cast(pl.String),
        role=pl.lit("call"),
        is_call=pl.lit(value=True),
        condition=one_of(CONDITIONS),
        aside=pl.when(at % 20 == 0).then(pl.lit("judge")),
        item_id=pl.format("item {}", at // 2 % 1000),
        start_ns=pl.Series(start),
        end_ns=pl.Series(start) + (pl.col("latency") * 1e6).cast(pl.Int64),
        duration_ms="latency",
        ttft_ms=pl.when(at % 4 > 0).then(pl.col("latency") / 5),
        status=pl.when(at % 97 == 0)
        .then(pl.lit("interrupted"))
        .when("failed")
        .then(pl.lit("error"))
        .otherwise(pl.lit("ok")),
        error_type=pl.when("failed").then(one_of(ERRORS)),
        request_model=one_of(MODELS),
        input_tokens=pl.when(at % 11 > 0).then("input"),
        output_tokens=pl.when(at % 13 > 0).then("output"),
        cost_nano_usd=pl.when(at % 3 < 2).then("cost"),
        sample_weight=pl.lit(1.0),
    )


def of_metrics(told: subject.Subject, engine: Any) -> dict[str, Any]:
    """Every number of `metrics_by`, by condition."""
    found = metrics.metrics_by(told, "condition", ci=False, engine=engine)
    return {f"{key}.{row['field']}": row["value"] for key, one in found.items() for row in one.rows()} | {
        f"{key}.data_hash": one.data_hash for key, one in found.items()
    }


def of_series(told: subject.Subject, engine: Any) -> dict[str, Any]:
    """Every window of every metric."""
    found: dict[str, Any] = {}
    for metric in series.METRICS:
        frame = series.time_series(told, metric, "1h", by="condition", engine=engine)
        found |= {
            f"{metric}[{at}].{name}": value
            for at, row in enumerate(frame.rows(named=True))
            for name, value in row.items()
        }
    return found


def of_comparison(told: subject.Subject, engine: Any) -> dict[str, Any]:
    """The sufficient statistics of `compare`: moments, sums by item, quantiles, of every outcome and both arms."""
    on = engine_of(engine)
    sides = [arms.arm(told.where({"condition": name}), "call", None, name, on) for name in CONDITIONS]
    found: dict[str, Any] = {}
    for outcome in sides[0].frames:
        for label, sample in zip(CONDITIONS, arms.samples(sides, outcome), strict=True):
            path = f"{outcome}.{label}"
            means = arms.item_means(sample, sample.distinct)
            if sample.told is None:
                found |= {f"{path}.mean": sample.mean(), f"{path}.stdev": float(sample.values.std(ddof=1)), f"{path}.total": sample.total()}  # fmt: skip
                found |= {
                    f"{path}.{name}": pl.Series(sample.values).quantile(p, "linear") for name, p in QUANTILES.items()
                }
            else:
                own = sample.told.of_values
                found |= {f"{path}.mean": own.mean, f"{path}.stdev": own.stdev, f"{path}.total": sample.total()}
                found |= {f"{path}.{name}": sample.told.quantile(p) for name, p in QUANTILES.items()}
            found |= {f"{path}.item[{at}]": float(value) for at, value in enumerate(means)}
    return found


def difference(here: dict[str, Any], there: dict[str, Any]) -> tuple[int, int, float]:
    """Numbers, those that are equal to the bit, and the largest relative distance; raises where they differ.

    Quantiles, counts and whole numbers have to be equal to the bit; quantiles of a window are the engine's own.
    """
    assert here.keys() == there.keys(), here.keys() ^ there.keys()
    same, apart = 0, 0.0
    for path, value in here.items():
        other, name = there[path], path.rpartition(".")[2]
        if value == other:
            same += 1
            continue
        is_own = "[" in path and path.partition("[")[0] in series.METRICS
        assert isinstance(value, float), (path, value, other)
        assert isinstance(other, float), (path, value, other)
        assert is_own or name not in BITS, (path, value, other)
        far = abs(other - value) / max(abs(value), 1e-300)
        assert far < (1e-9 if name == "stdev" else CLOSE) or abs(other - value) < 1e-15, (path, value, other)
        apart = max(apart, far)
    return len(here), same, apart


def killed_in_mid_job(cluster: Cluster, session: Any) -> threading.Thread:
    """A thread that kills a worker when some tasks of a running stage are done and others are not; a new one takes its place."""

    def watch() -> None:
        tracker = session.sparkContext.statusTracker()
        while True:
            for stage in tracker.getActiveStageIds():
                told = tracker.getStageInfo(stage)
                if told is not None and told.numCompletedTasks and told.numActiveTasks and told.numTasks > told.numCompletedTasks:  # fmt: skip
                    print(f"killing a worker: {told.numCompletedTasks} of {told.numTasks} tasks of stage {stage} are done", flush=True)  # fmt: skip
                    cluster.kill_worker()
                    cluster.add_worker()
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


PARTS: dict[str, Callable[[subject.Subject, Any], dict[str, Any]]] = {
    "metrics": of_metrics,
    "metrics, a worker killed": of_metrics,
    "time_series": of_series,
    "compare": of_comparison,
}


def timed(
    part: Callable[[subject.Subject, Any], dict[str, Any]], told: subject.Subject, engine: Any
) -> tuple[dict[str, Any], float]:
    """A part's numbers and its seconds."""
    began = time.perf_counter()
    return part(told, engine), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, default=10)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    asked = parser.parse_args()
    told = subject.Subject(subject.conform(spans(round(asked.millions * 1_000_000))))
    cluster = Cluster(2)
    try:
        session = connected(cluster)
        print(f"{asked.millions:g} M spans, Spark {session.version}, 2 workers of one core ({EXECUTOR_MEMORY} each)")
        locally = functools.cache(functools.partial(timed, told=told, engine=None))
        for name in asked.parts:
            part = PARTS[name]
            here, local = locally(part)
            killer = killed_in_mid_job(cluster, session) if "killed" in name else None
            there, seconds = timed(part, told, session)
            if killer is not None:
                killer.join(timeout=5)
                assert not killer.is_alive(), "no worker was killed while a job ran"
            numbers, same, apart = difference(here, there)
            print(f"{name:25} {numbers:7,} numbers, {same:7,} equal to the bit, others within {apart:.1e}; "
                  f"Polars {local:6.1f} s, Spark {seconds:6.1f} s", flush=True)  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory of this process {peak:.1f} GiB (rows and units are here, see docs/engines.md)")
        session.stop()
    finally:
        cluster.close()


def connected(cluster: Cluster) -> Any:
    """A session of this process on the cluster."""
    os.environ |= cluster.variables | {"PYSPARK_PYTHON": sys.executable}
    from pyspark.sql import SparkSession

    options = {
        "spark.executor.memory": EXECUTOR_MEMORY,
        "spark.executor.cores": "1",
        "spark.driver.memory": "10g",
        "spark.driver.maxResultSize": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",
    }
    builder = SparkSession.builder.master(cluster.url).appName("otel-research")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


if __name__ == "__main__":
    main()
