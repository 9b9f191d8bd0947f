"""Wrong data and wrong designs: each is to be named by its own finding, and by the check of the comparison it spoils."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from calibration import clean
from calibration.clean import NAMES, shared_items, two_nodes
from calibration.data import autoregressive, rows
from calibration.judged import CAUGHT, Cell, Family, Rng
from otel_research.analysis.subject import Subject

Change = Callable[[Rng, pl.DataFrame], pl.DataFrame]
IS_CALL, IS_TRIAL = pl.col("is_call").fill_null(value=False), pl.col("role") == "trial"


def one(rng: Rng, frame: pl.DataFrame, which: pl.Expr, **columns: pl.Expr) -> pl.DataFrame:
    """The frame with these columns changed in one random row of those."""
    return some(rng, frame, which, 1, **columns)


def some(rng: Rng, frame: pl.DataFrame, which: pl.Expr, count: int, **columns: pl.Expr) -> pl.DataFrame:
    """The same in so many random rows."""
    places = frame.with_row_index("at").filter(which)["at"].to_numpy()
    chosen = np.zeros(frame.height, dtype=bool)
    chosen[rng.choice(places, count, replace=False)] = True
    mark = pl.lit(pl.Series(chosen))
    whole = frame.with_columns(pl.lit(None).alias(name) for name in columns if name not in frame.columns)
    return whole.with_columns(
        pl.when(mark).then(value).otherwise(pl.col(name)).alias(name) for name, value in columns.items()
    )


def damaged(**columns: pl.Expr) -> Change:
    """One random call with these columns changed."""
    return lambda rng, frame: one(rng, frame, IS_CALL, **columns)


def twice(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """One span arrives twice."""
    return pl.concat([frame, frame[int(rng.integers(frame.height))]])


def again(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """An item's second repetition is numbered as the first, ten times."""
    return some(rng, frame, IS_TRIAL & (pl.col("repetition") == 1), 10, repetition=pl.lit(0))


def cached(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """Repetitions are answered from a cache, with the response id of the first."""
    return frame.with_columns(response_id=pl.when(IS_CALL).then(pl.lit("resp-") + pl.col("item_id")))


def two_revisions(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """The served model changes half-way."""
    late = pl.col("start_ns") > pl.col("start_ns").median()
    served = pl.when(late).then(pl.lit("m-0801")).otherwise(pl.lit("m-0601"))
    return frame.with_columns(request_model=pl.lit("m"), response_model=served)


def losing_trials(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """Three of four of the candidate's slower trials never arrive: half of all of them."""
    trials = frame.filter(IS_TRIAL & (pl.col("condition") == "candidate"))
    slow = trials.filter(pl.col("duration_ms") > trials["duration_ms"].quantile(0.25, "linear"))["trial_id"]
    gone = slow.sample(fraction=0.75, seed=int(rng.integers(2**31)))
    return frame.filter(~pl.col("trial_id").is_in(gone.implode()))


def losing_items(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """A tenth of the items has no trial in the candidate."""
    gone = [f"q{at}" for at in rng.choice(clean.ITEMS, clean.ITEMS // 10, replace=False)]
    return frame.filter(~(pl.col("item_id").is_in(gone) & (pl.col("condition") == "candidate")))


def crossed(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """A tenth of the trials has its call in the other condition."""
    other = pl.when(pl.col("condition") == "baseline").then(pl.lit("candidate")).otherwise(pl.lit("baseline"))
    return some(rng, frame, IS_CALL, frame.height // 20, condition=other)


def in_both_arms(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """A tenth of the candidate's trials is in the baseline too."""
    trials = frame.filter(IS_TRIAL & (pl.col("condition") == "candidate"))
    return pl.concat(
        [frame, trials.sample(fraction=0.1, seed=int(rng.integers(2**31))).with_columns(condition=pl.lit("baseline"))]
    )


def stalls(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """4 % of the trials hang, for 20 times as long."""
    hung = frame.filter(IS_TRIAL)["trial_id"].sample(fraction=0.04, seed=int(rng.integers(2**31)))
    long = pl.when(pl.col("trial_id").is_in(hung.implode())).then(20.0).otherwise(1.0)
    return frame.with_columns(duration_ms=pl.col("duration_ms") * long)


def warming(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """The system becomes twice as slow from the first trial to the last."""
    place = pl.col("start_ns") / pl.col("start_ns").max()
    return frame.with_columns(duration_ms=pl.col("duration_ms") * 2.0**place)


def timed_out(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """Five trials are cut off at their limit."""
    return some(
        rng, frame, IS_TRIAL, 5, error_kind=pl.lit("timeout"), error_type=pl.lit("TimeoutError"), status=pl.lit("error")
    )


def cut_off(rng: Rng, frame: pl.DataFrame) -> pl.DataFrame:
    """A trial never ends."""
    nothing = pl.lit(None)
    return one(rng, frame, IS_TRIAL, status=pl.lit("interrupted"), end_ns=nothing, duration_ms=nothing)


def slow_clock(rng: Rng) -> pl.LazyFrame:
    """The second node's clock is 100 ms ahead."""
    ahead = pl.when(pl.col("kind") == "server").then(100_000_000).otherwise(0)
    return two_nodes(rng).with_columns(pl.col("start_ns") + ahead, pl.col("end_ns") + ahead)


def wandering_users(rng: Rng) -> pl.LazyFrame:
    """A tenth of the users is in both arms."""
    frame = clean.sessions(rng)
    both = [f"u{at}" for at in range(8)]
    mixed = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("baseline")).otherwise(pl.lit("candidate"))
    return frame.with_columns(condition=pl.when(pl.col("session_id").is_in(both)).then(mixed).otherwise("condition"))


def one_after_the_other(rng: Rng) -> pl.LazyFrame:
    """One arm after the other under AR(1)."""
    return rows(rng, autoregressive(rng, 240, 0.5), NAMES[(np.arange(240) >= 120).astype(int)], None)


def dependent(rng: Rng) -> pl.LazyFrame:
    """Arms in random order under AR(1)."""
    return rows(rng, autoregressive(rng, 240, 0.5), NAMES[rng.permutation(240) % 2], None)


def few_trials(rng: Rng) -> pl.LazyFrame:
    """All calls of an arm are of four trials."""
    frame = shared_items(rng).filter("is_call")
    trial = pl.format("{}{}", "condition", pl.int_range(pl.len()).over("condition") % 4)
    return frame.with_columns(item_id=pl.lit(None, pl.String), trial_id=trial, trace_id=trial, repetition=pl.lit(None))


def changed(change: Change) -> Callable[[Rng], pl.LazyFrame]:
    """A clean experiment with a fault in it."""
    return lambda rng: change(rng, shared_items(rng).collect()).lazy()


FAULTS: tuple[tuple[str, str, Callable[[Rng], pl.LazyFrame]], ...] = (
    ("a call has no start", "missing_timestamps", changed(damaged(start_ns=pl.lit(None)))),
    ("a call reports no tokens", "missing_measurements", changed(damaged(input_tokens=pl.lit(None), output_tokens=pl.lit(None)))),
    ("a call reports no tokens", "calls_without_usage", changed(damaged(input_tokens=pl.lit(None), output_tokens=pl.lit(None)))),
    ("a call ends before it starts", "negative_duration", changed(damaged(end_ns=pl.col("start_ns") - 5))),
    ("a negative token count", "negative_tokens", changed(damaged(output_tokens=pl.lit(-1)))),
    ("a negative cost", "negative_cost", changed(damaged(cost_usd=pl.lit(-0.1)))),
    ("more read from a cache than was sent", "cache_exceeds_input", changed(damaged(cache_read_tokens=pl.lit(101)))),
    ("more reasoning than output", "reasoning_exceeds_output", changed(damaged(reasoning_tokens=pl.lit(21)))),
    ("first token after the end", "ttft_exceeds_duration", changed(damaged(ttft_ms=pl.col("duration_ms") + 5))),
    ("a row with a flag", "flag", changed(damaged(flags=pl.lit("total_mismatch")))),
    ("a span arrives twice", "duplicates", changed(twice)),
    ("ten repetitions are numbered twice", "duplicate_trials", changed(again)),
    ("repetitions answered from a cache", "repeated_responses", changed(cached)),
    ("a parent was not captured", "orphans", changed(damaged(parent_span_id=pl.lit("f" * 16)))),
    ("a call starts 2 ms before its trial", "clock_skew", changed(damaged(start_ns=pl.col("start_ns") - 2_000_000))),
    ("the clock is set back by 1 s in a call", "clock_step", changed(damaged(mono_start_ns=pl.lit(0), mono_end_ns=pl.col("end_ns") - pl.col("start_ns") + 1_000_000_000))),
    ("a node's clock is 100 ms ahead", "node_clock_offset", slow_clock),
    ("a trial never ends", "interrupted", changed(cut_off)),
    ("the SDK dropped attributes of a call", "dropped_attributes", changed(damaged(dropped_attributes=pl.lit(3)))),
    ("a call's weight is unknown", "unweighted", changed(lambda rng, frame: one(rng, frame.with_columns(sample_weight=pl.lit(1.0)), IS_CALL, sample_weight=pl.lit(None)))),
    ("agents and tools, but no model call", "no_call_spans", changed(lambda rng, frame: frame.with_columns(is_call=pl.lit(value=False), role=pl.lit("agent"), dialect=pl.lit("genai")))),
    ("token sums on agents only", "usage_only_in_rollups", changed(lambda rng, frame: frame.with_columns(is_call=pl.lit(value=False), role=pl.lit("agent"), dialect=pl.lit("genai"), rollup_output_tokens=pl.lit(9)))),
    ("a span names a model, and is no call", "uncounted_model_spans", changed(lambda rng, frame: one(rng, frame, IS_CALL, is_call=pl.lit(value=False), role=pl.lit(None), dialect=pl.lit("genai"), request_model=pl.lit("m")))),
    ("a package with a known loss", "known_loss", changed(lambda rng, frame: frame.with_columns(scope=pl.lit("opentelemetry.instrumentation.genai.dspy")))),
    ("an attribute that no dialect reads", "unmapped_keys", changed(damaged(attributes=pl.lit('{"gen_ai.request.model":"m","new.key":1}'), dialect=pl.lit("genai"), scope=pl.lit("s")))),
    ("five trials are cut off at their limit", "censored", changed(timed_out)),
    ("4 % of the trials take 20 times as long", "outliers", changed(stalls)),
    ("AR(1) rho .5, random order", "autocorrelation", dependent),
    ("twice as slow at the end as at the start", "drift", changed(warming)),
    ("half of the candidate's trials never arrive", "imbalance", changed(losing_trials)),
    ("AR(1) rho .5, one arm after the other", "not_interleaved", one_after_the_other),
    ("a tenth of the items is missing in one arm", "missing_trials", changed(losing_items)),
    ("a tenth of the calls is in the other condition", "crossover", changed(crossed)),
    ("a tenth of the users is in both arms", "session_crossover", wandering_users),
    ("the served model changes half-way", "model_revisions", changed(two_revisions)),
)  # fmt: skip

SPOILT: tuple[tuple[str, str, Callable[[Rng], pl.LazyFrame]], ...] = (
    ("half of the candidate's trials never arrive", "sample_ratio", changed(losing_trials)),
    ("a tenth of the candidate's trials is in both arms", "crossover", changed(in_both_arms)),
    ("ten repetitions are numbered twice", "duplicates", changed(again)),
    ("the served model changes half-way", "model_revisions", changed(two_revisions)),
    ("a tenth of the items is missing in one arm", "missing_items", changed(losing_items)),
    ("a trial never ends", "interrupted", changed(cut_off)),
    ("AR(1) rho .5, one arm after the other", "interleaved", one_after_the_other),
    ("all calls of an arm are of four trials", "independence", few_trials),
    ("five trials are cut off at their limit", "censoring", changed(timed_out)),
)  # fmt: skip


def _finds(make: Callable[[Rng], pl.LazyFrame], code: str) -> Callable[[Rng], bool]:
    return lambda rng: code in clean.findings(Subject(make(rng)))


def _fails(make: Callable[[Rng], pl.LazyFrame], check: str) -> Callable[[Rng], bool]:
    return lambda rng: check in clean.failed(Subject(make(rng)))


CELLS: tuple[Cell | Family, ...] = (
    *(Cell("wrong designs", what, f"validate(): {code}", _finds(make, code), CAUGHT, 60) for what, code, make in FAULTS),
    Cell("wrong designs", "capture lost a span", "validate(): lost", lambda rng: "lost" in clean.findings(clean.recorded(shared_items(rng), lost=1)), CAUGHT, 60),
    *(Cell("wrong designs", what, f"compare(): {check}", _fails(make, check), CAUGHT, 40) for what, check, make in SPOILT),
    Cell("wrong designs", "capture lost a span", "compare(): lost",
         lambda rng: "lost" in clean.failed(clean.recorded(shared_items(rng), lost=1)), CAUGHT, 40),
    Cell("wrong designs", "one trial of the declared n is missing", "compare(): declared_n",
         lambda rng: "declared_n" in clean.failed(clean.recorded(shared_items(rng), short=1)), CAUGHT, 40),
)  # fmt: skip
