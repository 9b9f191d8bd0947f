"""Clean experiments: whatever a check says of one is a false alarm, counted code by code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from calibration.data import arms, clustered, items, rows
from calibration.judged import SILENT, Cell, Family, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.quality import validate
from otel_research.analysis.subject import Subject
from otel_research.experiments import ExperimentRecord

ITEMS, REPEATS = 40, 2
NAMES = np.array(["baseline", "candidate"])

CODES = (
    "missing_timestamps", "missing_measurements", "negative_duration", "negative_tokens", "negative_cost",
    "cache_exceeds_input", "reasoning_exceeds_output", "ttft_exceeds_duration", "flag", "duplicates",
    "duplicate_trials", "repeated_responses", "orphans", "clock_skew", "clock_step", "node_clock_offset", "lost",
    "interrupted", "dropped_attributes", "unweighted", "no_call_spans", "usage_only_in_rollups",
    "uncounted_model_spans", "calls_without_usage", "known_loss", "unmapped_keys", "censored", "outliers",
    "autocorrelation", "drift", "imbalance", "not_interleaved", "missing_trials", "crossover", "session_crossover",
    "model_revisions",
)  # fmt: skip
"""Every finding of `validate` about data ("flag": any of the flags of a row)."""

CHECKS = (
    "sample_ratio", "crossover", "duplicates", "lost", "model_revisions", "missing_items", "interrupted",
    "interleaved", "independence", "censoring", "declared_n",
)  # fmt: skip
"""Every check of `compare`."""


def shared_items(rng: Rng) -> pl.LazyFrame:
    """40 items, 2 trials of each in either arm, in random order; one model, one call per trial."""
    item, arm = np.repeat(np.arange(ITEMS), 2 * REPEATS), np.tile([0, 1] * REPEATS, ITEMS)
    order = rng.permutation(item.size)
    labels = [f"q{at}" for at in item[order]]
    return rows(rng, clustered(rng, item)[order], NAMES[arm[order]], labels)


def coin_flips(rng: Rng) -> pl.LazyFrame:
    """300 trials without items whose arm a coin decides; a heavy tail (log-normal, sigma 1.2)."""
    return rows(rng, rng.lognormal(6.5, 1.2, 300), NAMES[rng.integers(0, 2, 300)], None)


def two_models(rng: Rng) -> pl.LazyFrame:
    """30 items, 1 to 4 trials of each in either arm; two models of different speed, everything reported."""
    item = np.repeat(np.arange(30), 2 * rng.integers(1, 5, 30))
    arm = np.arange(item.size) % 2
    order = rng.permutation(item.size)
    item, arm = item[order], arm[order]
    slow = rng.integers(0, 2, 30)[item]
    latency = clustered(rng, item) * np.where(slow, 3.0, 1.0)
    made = rows(rng, latency, NAMES[arm], [f"q{at}" for at in item])
    name = pl.when(pl.Series(np.tile(slow, 2)) == 1).then(pl.lit("large")).otherwise(pl.lit("small"))
    n = 2 * item.size
    read, thought = (pl.Series(rng.integers(0, limit + 1, n)) for limit in (100, 20))
    is_call = pl.col("is_call")
    return made.with_columns(
        request_model=pl.when(is_call).then(name),
        response_model=pl.when(is_call).then(name + "-0601"),
        response_id=pl.when(is_call).then(pl.lit("r-") + pl.col("span_id")),
        cache_read_tokens=pl.when(is_call).then(read),
        reasoning_tokens=pl.when(is_call).then(thought),
        ttft_ms=pl.when(is_call).then(pl.col("duration_ms") * pl.Series(rng.uniform(0.05, 0.9, n))),
    )


def two_nodes(rng: Rng) -> pl.LazyFrame:
    """As `shared_items`, each call with a server span on a second node of the same time, 1 to 30 ms away each way."""
    both = shared_items(rng).collect()
    calls = both.filter("is_call")
    there, back = (pl.Series(np.round(rng.lognormal(1.2, 0.8, calls.height) * 1e6).astype(np.int64)) for _ in "ab")
    server = calls.select(
        "experiment_id", "condition", "trial_id", "item_id", "trace_id", parent_span_id="span_id",
        span_id=pl.col("span_id") + "s", status=pl.lit("ok"), kind=pl.lit("server"), is_call=pl.lit(value=False),
        resource=pl.lit('{"host.name":"two"}'), start_ns=pl.col("start_ns") + there, end_ns=pl.col("end_ns") - back,
    ).filter(pl.col("end_ns") > pl.col("start_ns")).with_columns(
        duration_ms=(pl.col("end_ns") - pl.col("start_ns")) / 1e6
    )  # fmt: skip
    kind = pl.when("is_call").then(pl.lit("client")).otherwise(pl.lit("internal"))
    mine = both.with_columns(kind=kind, resource=pl.lit('{"host.name":"one"}'), mono_start_ns=pl.col("start_ns"),
                             mono_end_ns=pl.col("end_ns") + pl.Series(rng.integers(-10**5, 10**5, both.height)))  # fmt: skip
    return pl.concat([mine, server], how="diagonal").lazy()


def sessions(rng: Rng) -> pl.LazyFrame:
    """80 users, each in one arm, with 1 to 8 calls; users come and go at random."""
    user = rng.permutation(items(rng, 80))
    arm = rng.permutation(80) % 2
    made = rows(rng, clustered(rng, user), NAMES[arm[user]], None)
    return made.filter("is_call").with_columns(
        session_id=pl.Series([f"u{at}" for at in user]), trial_id=pl.lit(None), parent_span_id=pl.lit(None)
    )


DESIGNS: dict[str, Callable[[Rng], pl.LazyFrame]] = {
    "40 shared items, random order": shared_items,
    "arm by coin flip, sigma 1.2": coin_flips,
    "two models, 1 to 4 trials per item": two_models,
    "two nodes, client and server spans": two_nodes,
    "80 users, 1 to 8 calls each": sessions,
}


def findings(whole: Subject) -> set[str]:
    """The codes that `validate` finds; those of rows' flags as "flag"."""
    return {"flag" if one.code.startswith("flag_") else one.code for one in validate(whole).findings}


def recorded(frame: pl.LazyFrame, *, short: int = 0, lost: int = 0) -> Subject:
    """The rows with what the record says of them: the declared n (short by so many trials) and spans lost in capture."""
    trials = frame.filter(pl.col("role") == "trial") if _has_trials(frame) else frame
    have = int(trials.group_by("condition").len().select(pl.col("len").min()).collect().item())
    record = ExperimentRecord(id="aa", name="recorded", sample_size=have + short)
    return Subject(frame, record, ledger={"lost": {"full": lost} if lost else {}})


def _has_trials(frame: pl.LazyFrame) -> bool:
    return not frame.filter(pl.col("role") == "trial").head(1).collect().is_empty()


def failed(whole: Subject) -> set[str]:
    """The checks that `compare` fails."""
    return {check.name for check in compare(*arms(whole), metrics="latency").checks if not check.passed}


def _draws(judge: Callable[[pl.LazyFrame], set[str]]) -> dict[str, Callable[[Rng], set[str]]]:
    return {name: (lambda rng, make=make: judge(make(rng))) for name, make in DESIGNS.items()}


CELLS: tuple[Cell | Family, ...] = (
    Family(
        "false alarms of validate()",
        _draws(lambda frame: findings(Subject(frame))),
        "{}",
        dict.fromkeys(CODES, SILENT),
        500,
    ),
    Family(
        "false alarms of compare()'s checks",
        _draws(lambda frame: failed(recorded(frame))),
        "{}",
        dict.fromkeys(CHECKS, SILENT),
        100,
    ),
)
