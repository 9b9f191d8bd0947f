"""The faults that `validate` looks for: one function each, rows in, faults out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from otel_research.analysis import clocks
from otel_research.analysis.notes import lost
from otel_research.analysis.stats import laws, outliers, proportions, series
from otel_research.analysis.subject import Subject, included
from otel_research.analysis.units import is_trial
from otel_research.errors import NotEnoughData
from otel_research.semconv import findings, unmapped
from otel_research.semconv.findings import ASKED
from otel_research.semconv.flags import MEANING
from otel_research.spans import schema

COMPONENTS = ("timestamps", "measurements", "validity", "uniqueness", "linkage", "capture", "clock", "design")
UNLIKELY = 0.001
"""p below which a pattern in the order or the balance of trials is a finding."""
NOTABLE = 0.1
"""Correlation below which it is none, however many rows there are."""
FAR = 3.5
SKEW_NS = 1_000_000
ASKED_FOR_KEYS = 200_000
"""Rows whose attribute keys are read one by one; more would take longer than everything else."""
_SKEW = "a child starts more than 1 ms before its parent"
_POINTS = ("record", "score")
_COLUMNS = (
    "experiment_id", "condition", "trial_id", "item_id", "repetition", "session_id", "aside", "trace_id", "span_id",
    "parent_span_id", "kind", "start_ns", "end_ns", "mono_start_ns", "mono_end_ns", "status", "duration_ms", "role", "operation",
    "request_model", "response_model", "response_id", "input_tokens", "output_tokens", "cache_read_tokens",
    "reasoning_tokens", "ttft_ms", "cost_usd", "error_type", "error_kind", "flags", "is_call", "dropped_attributes",
    "dropped_events", "dropped_links", "sample_weight",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What was found: the component it counts against (None: none), how many rows of how many."""

    code: str
    severity: Literal["info", "warning", "error"]
    text: str
    count: int
    component: str | None = None
    of: int | None = None
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The rows in memory, and the units whose latency is judged."""

    subject: Subject
    spans: pl.DataFrame
    units: pl.DataFrame
    """Trials, else calls, else root spans: latency, start, condition, item, is_outlier, residual."""
    n_outliers: int
    effective_n: float | None
    lag: float | None
    attributes: pl.LazyFrame
    """The same rows with their attributes, which are too much to hold."""


def prepare(subject: Subject, attributes: pl.LazyFrame | None = None) -> Rows:
    """One pass over the rows; their attributes are read from other rows where those are given."""
    spans = included(subject).select(*dict.fromkeys((*_COLUMNS, *ASKED)), clocks.node_of()).collect()
    keyed = included(subject if attributes is None else replace(subject, spans=attributes))
    units = _units(spans)
    units = units.with_columns(is_outlier=_outliers(units), residual=_residuals(units))
    lag, effective = _autocorrelation(units)
    return Rows(subject, spans, units, int(units["is_outlier"].sum()), effective, lag, keyed)


def headlines(rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
    """n, mean, median and p95 of the units' latency, with and without the flagged ones."""
    return _headline(rows.units), _headline(rows.units.filter(~pl.col("is_outlier")))


def _headline(units: pl.DataFrame) -> dict[str, Any]:
    x = units["duration_ms"].sort()
    known = {"mean": x.mean(), "median": x.median(), "p95": x.quantile(0.95, "linear")} if x.len() else {}
    return {"n": units.height, "mean": None, "median": None, "p95": None} | known


def _missing(rows: Rows) -> Iterator[Fault]:
    spans = rows.spans
    is_point = pl.col("role").is_in(_POINTS).fill_null(value=False)
    is_open = pl.col("status").eq_missing(pl.lit("interrupted"))
    no_time = spans.filter(pl.col("start_ns").is_null() | (pl.col("end_ns").is_null() & ~is_open & ~is_point))
    if no_time.height:
        text = f"{no_time.height:,} rows have no start or no end time"
        yield Fault("missing_timestamps", "error", text, no_time.height, "timestamps", None, _ids(no_time))
    # A failed call is not expected to report tokens; an interrupted one has no duration.
    calls = spans.filter(pl.col("is_call").fill_null(value=False) & ~_failed() & ~is_open)
    no_tokens = pl.col("input_tokens").is_null() & pl.col("output_tokens").is_null()
    is_negative = pl.col("end_ns") < pl.col("start_ns")
    no_length = pl.col("duration_ms").is_null() & ~is_negative.fill_null(value=False)
    bare = calls.filter(no_length | no_tokens)
    if bare.height:
        text = f"{bare.height:,} of {calls.height:,} calls have no duration or no tokens"
        yield Fault("missing_measurements", "warning", text, bare.height, "measurements", calls.height, _ids(bare))


def _invalid(rows: Rows) -> Iterator[Fault]:
    spans = rows.spans
    rules = {
        "negative_duration": ((pl.col("end_ns") < pl.col("start_ns")) | (pl.col("duration_ms") < 0), "ends before it starts"),
        "negative_tokens": ((pl.col("input_tokens") < 0) | (pl.col("output_tokens") < 0), "has a negative token count"),
        "cache_exceeds_input": (pl.col("cache_read_tokens") > pl.col("input_tokens"), "read more from a cache than its input"),
        "reasoning_exceeds_output": (pl.col("reasoning_tokens") > pl.col("output_tokens"), "reasoned more than its output"),
        "ttft_exceeds_duration": (pl.col("ttft_ms") > pl.col("duration_ms") + 1, "had its first token after its end"),
        "negative_cost": (pl.col("cost_usd") < 0, "has a negative cost"),
    }  # fmt: skip
    for code, (rule, what) in rules.items():
        hit = spans.filter(rule)
        if hit.height:
            yield Fault(code, "error", f"{hit.height:,} rows: {what}", hit.height, "validity", None, _ids(hit))
    named = spans.filter(pl.col("flags").is_not_null())
    flags = named.select("span_id", pl.col("flags").str.split(",").alias("flag")).explode("flag", empty_as_null=False)
    for (flag,), part in sorted(flags.partition_by("flag", as_dict=True).items()):
        text = f"{part.height:,} rows are flagged {flag!r}: {MEANING.get(flag, 'written by a newer version')}"
        yield Fault(f"flag_{flag}", "info", text, part.height, None, None, _ids(part))


def _duplicates(rows: Rows) -> Iterator[Fault]:
    spans = rows.spans.filter(pl.col("span_id").is_not_null())
    hit = spans.filter(pl.struct(schema.IDENTITY).is_duplicated())
    extra = hit.height - hit.unique(list(schema.IDENTITY)).height
    if extra:
        yield Fault("duplicates", "error", f"{extra:,} rows repeat another span", extra, "uniqueness", None, _ids(hit))
    # One that was cut off and run again after a crash is one trial.
    whole = pl.col("status").ne_missing(pl.lit("interrupted"))
    trials = spans.filter(is_trial() & pl.col("item_id").is_not_null() & pl.col("repetition").is_not_null() & whole)
    key = ["experiment_id", "condition", "item_id", "repetition"]
    twice = trials.filter(pl.struct(key).is_duplicated())
    if twice.height:
        text = f"{twice.height:,} trials share their condition, item and repetition with another"
        yield Fault("duplicate_trials", "warning", text, twice.height, "uniqueness", trials.height, _ids(twice))
    calls = spans.filter(pl.col("is_call") & pl.col("response_id").is_not_null())
    again = calls.filter(pl.col("response_id").is_duplicated())
    if again.height:
        text = f"{again.height:,} calls share a response id: cached or replayed answers are counted as calls"
        yield Fault("repeated_responses", "warning", text, again.height, "uniqueness", calls.height, _ids(again))


def _orphans(rows: Rows) -> Iterator[Fault]:
    spans = rows.spans
    parents = spans.select("trace_id", pl.col("span_id").alias("parent_span_id"), pl.col("start_ns").alias("parent_ns"))
    parents = parents.unique(["trace_id", "parent_span_id"])
    inner = spans.filter(pl.col("parent_span_id").is_not_null())
    joined = inner.join(parents, on=["trace_id", "parent_span_id"], how="left")
    alone = joined.filter(pl.col("parent_ns").is_null())
    if alone.height:
        text = f"{alone.height:,} spans name a parent that was not captured"
        yield Fault("orphans", "warning", text, alone.height, "linkage", None, _ids(alone))
    early = joined.filter(pl.col("start_ns") < pl.col("parent_ns") - SKEW_NS)
    if early.height:
        text = f"{early.height:,} spans: {_SKEW} (clocks of two machines differ)"
        yield Fault("clock_skew", "warning", text, early.height, "clock", None, _ids(early))


def _clock(rows: Rows) -> Iterator[Fault]:
    """The wall clock ran less than the monotonic one inside a span: it was set back."""
    wall, mono = pl.col("end_ns") - pl.col("start_ns"), pl.col("mono_end_ns") - pl.col("mono_start_ns")
    hit = rows.spans.filter(wall < mono - pl.max_horizontal(pl.lit(50_000_000), (mono * 0.05).cast(pl.Int64)))
    if hit.height:
        text = f"{hit.height:,} spans: the wall clock went back while they ran"
        yield Fault("clock_step", "warning", text, hit.height, "clock", None, _ids(hit))


def _nodes(rows: Rows) -> Iterator[Fault]:
    """Clocks of two nodes that differ by more than the requests between them leave open."""
    for offset in clocks.offsets(rows.spans):
        if offset.is_certain:
            ahead = "ahead of" if offset.ms > 0 else "behind"
            text = (
                f"the clock of {offset.node!r} is {abs(offset.ms):.4g} ms {ahead} that of {offset.reference!r} "
                f"(within {offset.within_ms:.2g} ms, from {offset.pairs:,} requests): times of the two do not compare"
            )
            yield Fault("node_clock_offset", "warning", text, offset.pairs, "clock")


def _capture(rows: Rows) -> Iterator[Fault]:
    spans, gone = rows.spans, lost(rows.subject)
    if gone:
        yield Fault("lost", "error", f"{gone:,} spans were lost in capture", gone, "capture", spans.height + gone)
    cut = spans.filter(pl.col("status") == "interrupted")
    if cut.height:
        text = f"{cut.height:,} spans were interrupted: their outcome is unknown"
        yield Fault("interrupted", "warning", text, cut.height, "capture", None, _ids(cut))
    dropped = spans.filter(pl.sum_horizontal("dropped_attributes", "dropped_events", "dropped_links") > 0)
    if dropped.height:
        text = f"{dropped.height:,} spans lost attributes, events or links to a limit of the SDK"
        yield Fault("dropped_attributes", "warning", text, dropped.height, "capture", None, _ids(dropped))
    hidden = spans.filter(pl.col("sample_weight").is_null())
    if hidden.height or (rows.subject.record is not None and rows.subject.record.is_unweighted):
        text = "a yes/no sampling strategy hides its probabilities: numbers are of the kept spans only"
        yield Fault("unweighted", "warning", text, hidden.height, None, None, _ids(hidden))


def _understood(rows: Rows) -> Iterator[Fault]:
    """What the spans as a whole lack, and the attribute keys that no dialect reads."""
    for found in findings(rows.spans.lazy()):
        if found.code == "known_loss" or (found.severity != "info" and found.code not in MEANING):
            count = found.value if isinstance(found.value, int) else 0
            yield Fault(found.code, found.severity, found.text, count)
    unknown = unmapped(rows.attributes.head(ASKED_FOR_KEYS))
    if unknown.height:
        of = f" of the first {ASKED_FOR_KEYS:,} rows" if rows.spans.height > ASKED_FOR_KEYS else ""
        named = ", ".join(f"{key} ({count:,})" for key, count in unknown.head(5).rows())
        text = f"{unknown.height} attribute keys{of} are in no dialect; they are kept, and in no column: {named}"
        yield Fault("unmapped_keys", "info", text, unknown.height, None, None, tuple(unknown["key"].head(5)))


def _censored(rows: Rows) -> Iterator[Fault]:
    calls = rows.spans.filter(pl.col("is_call") | (pl.col("role") == "trial"))
    cut = calls.filter(pl.col("error_kind") == "timeout")
    if cut.height:
        text = f"{cut.height:,} timeouts: their latency is a lower bound (quantiles are Kaplan-Meier)"
        yield Fault("censored", "info", text, cut.height, None, calls.height, _ids(cut))


def _far_off(rows: Rows) -> Iterator[Fault]:
    # A clean lognormal sample has 0.05 % beyond 3.5 on the log scale: more than 1 % is worth a look.
    hit = rows.units.filter(pl.col("is_outlier"))
    if rows.units.height >= 50 and hit.height > 0.01 * rows.units.height and _is_more_than_chance(rows.units, hit):
        raw = outliers.fences(rows.units["duration_ms"].to_numpy()).is_outlier.sum()
        text = f"{rows.n_outliers:,} units lie far off on the log scale ({int(raw):,} outside of Tukey's fences)"
        yield Fault("outliers", "info", text, rows.n_outliers, None, rows.units.height, _ids(hit))


def _is_more_than_chance(units: pl.DataFrame, hit: pl.DataFrame) -> bool:
    """Whether more items (units, where items are unknown) are far off than one in 200 by chance would be.

    All trials of one slow item are far off together, so they count once.
    """
    name = "span_id" if units["item_id"].null_count() else "item_id"
    expected = laws.binomial_quantile(1 - UNLIKELY, units[name].n_unique(), 0.005)
    return hit[name].n_unique() > expected


def _dependence(rows: Rows) -> Iterator[Fault]:
    if rows.lag is None or rows.effective_n is None or rows.units.height < 30:
        return
    values = rows.units.sort("start_ns")["residual"].to_numpy()
    try:
        p = series.ljung_box(values, min(10, values.size // 5)).p_value
    except NotEnoughData:
        return
    if p < UNLIKELY and abs(rows.lag) >= NOTABLE:
        text = (
            f"latencies depend on their predecessors (lag-1 {rows.lag:.2f}, Ljung-Box p = {p:.1g}): "
            f"{rows.units.height:,} units say as much as {rows.effective_n:,.0f} independent ones"
        )
        yield Fault("autocorrelation", "warning", text, rows.units.height, "design")


def _drift(rows: Rows) -> Iterator[Fault]:
    ordered = rows.units.sort("start_ns")
    if ordered.height < 30 or ordered["residual"].n_unique() < 2 or ordered["start_ns"].n_unique() < 2:
        return
    trend = series.trend(ordered["residual"].to_numpy())
    rho, p = float(trend.estimate or 0.0), trend.p_value
    if p < UNLIKELY and abs(rho) >= NOTABLE:
        text = f"latency drifts over the run (rank correlation with time {rho:+.2f}, p = {p:.1g})"
        yield Fault("drift", "warning", text, ordered.height, "design")


def _balance(rows: Rows) -> Iterator[Fault]:
    trials = rows.spans.filter(is_trial() & pl.col("condition").is_not_null())
    arms = trials.group_by("condition").agg(n=pl.len(), first=pl.col("start_ns").min(), last=pl.col("start_ns").max())
    arms = arms.sort("condition")
    if arms.height >= 2:
        p = proportions.sample_ratio(arms["n"].to_list()).p_value
        if p < UNLIKELY:
            sizes = ", ".join(f"{row['condition']} {row['n']:,}" for row in arms.rows(named=True))
            text = f"arms are of different size: {sizes} (p = {p:.1g} for equal sizes)"
            yield Fault("imbalance", "warning", text, max(arms["n"]) - min(arms["n"]), "design")
        ordered = arms.sort("first")
        apart = [after > before for before, after in zip(ordered["last"], ordered["first"][1:], strict=False)]
        if all(apart) and min(ordered["n"]) >= 3:
            text = "arms ran one after the other: a drift in time cannot be told from the effect"
            yield Fault("not_interleaved", "warning", text, trials.height, "design")
    yield from _incomplete(trials, arms.height)


def _incomplete(trials: pl.DataFrame, arms: int) -> Iterator[Fault]:
    items = trials.filter(pl.col("item_id").is_not_null())
    if arms < 2 or not items.height:
        return
    per_item = items.group_by("item_id").agg(pl.col("condition").n_unique())
    is_crossed = (per_item["condition"] > 1).any()
    holes = per_item.filter(pl.col("condition") < arms)
    # Items that belong to one arm by design are no holes; those that miss one of several are.
    if is_crossed and holes.height:
        text = f"{holes.height:,} of {per_item.height:,} items have no trial in some condition"
        examples = tuple(holes["item_id"].sort().head(5))
        yield Fault("missing_trials", "warning", text, holes.height, "design", None, examples)


def _crossover(rows: Rows) -> Iterator[Fault]:
    known = rows.spans.filter(pl.col("condition").is_not_null() & pl.col("aside").is_null())
    mixed = known.filter(pl.col("trial_id").is_not_null()).group_by("trial_id").agg(pl.col("condition").n_unique())
    mixed = mixed.filter(pl.col("condition") > 1)
    if mixed.height:
        text = f"{mixed.height:,} trials have spans of more than one condition"
        yield Fault("crossover", "error", text, mixed.height, "design", None, tuple(mixed["trial_id"].sort().head(5)))
    users = known.filter(pl.col("session_id").is_not_null() & pl.col("item_id").is_null())
    both = users.group_by("session_id").agg(pl.col("condition").n_unique()).filter(pl.col("condition") > 1)
    if both.height:
        text = f"{both.height:,} sessions saw more than one condition"
        yield Fault(
            "session_crossover", "warning", text, both.height, "design", None, tuple(both["session_id"].sort().head(5))
        )


def _models(rows: Rows) -> Iterator[Fault]:
    calls = rows.spans.filter(pl.col("is_call") & pl.col("response_model").is_not_null())
    served = (
        calls.group_by("request_model").agg(pl.col("response_model").n_unique()).filter(pl.col("response_model") > 1)
    )
    if served.height:
        names = ", ".join(sorted(str(name) for name in served["request_model"]))
        text = f"mixed served-model revisions behind one name: {names}"
        yield Fault("model_revisions", "warning", text, served.height, "design")


CHECKS: tuple[Callable[[Rows], Iterator[Fault]], ...] = (
    _missing, _invalid, _duplicates, _orphans, _clock, _nodes, _capture, _understood, _censored, _far_off, _dependence, _drift, _balance,
    _crossover, _models,
)  # fmt: skip


def _units(spans: pl.DataFrame) -> pl.DataFrame:
    """What the headline is about: trials, else calls, else root spans."""
    is_known = pl.col("duration_ms").is_finite() & (pl.col("duration_ms") >= 0) & pl.col("aside").is_null()
    known = spans.filter(is_known & (pl.col("status").ne_missing(pl.lit("interrupted"))))
    for kind in (pl.col("role") == "trial", pl.col("is_call"), pl.col("parent_span_id").is_null()):
        found = known.filter(kind.fill_null(value=False))
        if found.height:
            return found
    return known


def _outliers(units: pl.DataFrame) -> pl.Series:
    """Far off within their condition and model, on the log scale (durations of 0 on the raw one)."""
    flags = np.zeros(units.height, dtype=bool)
    parts = units.with_row_index("at").partition_by(["condition", "request_model"])
    for part in parts:
        x = part["duration_ms"].to_numpy()
        try:
            z = outliers.modified_z(np.log(x) if x.size and x.min() > 0 else x)
        except NotEnoughData:
            continue
        flags[part["at"].to_numpy()[np.abs(z) > FAR]] = True
    return pl.Series("is_outlier", flags, dtype=pl.Boolean)


def _residuals(units: pl.DataFrame) -> pl.Series:
    """Log latency less what condition, model and item explain: what is left should not depend on time."""
    x = units["duration_ms"]
    low = x.min()
    frame = units.select("condition", "request_model", "item_id").with_columns(
        x=x.log() if isinstance(low, float) and low > 0 else x
    )
    repeats = frame.filter(pl.col("item_id").is_not_null()).height > 2 * frame["item_id"].n_unique()
    keys = ["condition", "request_model", *(["item_id"] if repeats else [])]
    return frame.select(residual=pl.col("x") - pl.col("x").mean().over(keys))["residual"]


def _autocorrelation(units: pl.DataFrame) -> tuple[float | None, float | None]:
    ordered = units.filter(pl.col("start_ns").is_not_null()).sort("start_ns")
    try:
        values = ordered["residual"].to_numpy()
        return series.autocorrelation(values), series.effective_n(values)
    except NotEnoughData:
        return None, None


def _failed() -> pl.Expr:
    return pl.col("status").eq_missing(pl.lit("error")) | pl.col("error_type").is_not_null()


def _ids(rows: pl.DataFrame) -> tuple[Any, ...]:
    return tuple(rows["span_id"].drop_nulls().head(5))
