"""One request seen by two instrumentations, in different traces or side by side; and streams logged in two rows.

Evidence, strongest first: the provider's response id with overlapping times; equal usage, one inside the other's
time; no contradiction in usage and nearly the same time, for the same model. Two trials, two response ids
or two experiments are never one request. Partners are matched one to one per pair of scopes, the closest in time
first, so that concurrent calls never merge.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from otel_research.semconv.nesting import CLOSE_NS

SLACK_NS = 1_000_000
"""How far the inner interval may stick out: two reads of one clock."""
LOG_SLACK_NS = 250_000_000
"""How long after its request a stream may begin to be read."""
NEIGHBOURS = 8
"""How many later rows in time are looked at for a partner."""
_ASKED = 2**64 - 1
"""Stands for "the request's row" beside a log row of the same scope; larger than any scope, so it stays right."""
_ROUNDS = 16
_FACTS = (
    "row",
    "scope",
    "is_scoped",
    "start",
    "end",
    "input",
    "output",
    "model",
    "answered",
    "trial",
    "response",
    "failed",
)
_NONE = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})


def pairs(calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs (left, right) of rows that are one request; `calls` are the rows that no wrapper rule excluded."""
    if calls["scope"].n_unique() < 2:
        return _NONE
    rules = (
        (["owner", "family", "response"], _overlap()),
        (["owner", "family", "input", "output"], _contained() & _alike() & _counted() & _one_answer()),
        (["owner", "family"], _contained() & _alike() & _close() & _agree() & _one_answer() & _scoped()),
    )
    found = [
        _neighbours(calls, keys, holds).with_columns(strength=pl.lit(strength))
        for strength, (keys, holds) in enumerate(rules)
    ]
    return _one_to_one(pl.concat(found))


def logs(calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs (left: the log row, right: its request's row) of streams that one scope writes in two rows."""
    written = calls.filter("is_log").with_columns(at=pl.col("start"))
    if written.is_empty():
        return _NONE
    silent = ~pl.col("is_log") & pl.col("input").is_null() & pl.col("output").is_null()
    asked = (
        calls.filter(silent & pl.col("end").is_not_null())
        .with_columns(at=pl.col("end"))
        .select("row", "owner", "package", "model", "at")
    )
    by = ["owner", "package", "model"]
    near = [
        written.sort("at", "key").join_asof(
            asked.sort("at", "row"), on="at", by=by, strategy=way, tolerance=LOG_SLACK_NS, suffix="_r", coalesce=False,
            check_sortedness=False,
        )
        for way in ("backward", "forward")
    ]  # fmt: skip
    found = pl.concat(near).filter(pl.col("row_r").is_not_null()).select(
        left="row", right="row_r", scope="package", scope_r=pl.lit(_ASKED, dtype=pl.UInt64), strength=pl.lit(0),
        gap=(pl.col("at") - pl.col("at_r")).abs(),
    )  # fmt: skip
    return _one_to_one(found.unique())


def _neighbours(calls: pl.DataFrame, keys: Sequence[str], holds: pl.Expr) -> pl.DataFrame:
    """Pairs of rows near in time, equal in `keys`, of different scopes, for which the condition holds."""
    several = pl.col("scope").n_unique().over(keys) > 1
    rows = calls.filter(*(pl.col(key).is_not_null() for key in keys if key == "response")).filter(several)
    rows = rows.sort(*keys, "start", "key").select(*dict.fromkeys((*keys, *_FACTS)))
    found = []
    for distance in range(1, max(1, min(NEIGHBOURS, len(rows) - 1)) + 1):
        later = rows.slice(distance).rename({name: f"{name}_r" for name in rows.columns})
        beside = pl.concat([rows.head(len(later)), later], how="horizontal")
        equal = pl.all_horizontal(pl.col(key).eq_missing(pl.col(f"{key}_r")) for key in keys)
        found.append(beside.filter(equal & (pl.col("scope") != pl.col("scope_r")) & _one_trial() & holds).select(_PAIR))
    return pl.concat(found)


def _gap() -> pl.Expr:
    return (pl.col("start") - pl.col("start_r")).abs() + (pl.col("end") - pl.col("end_r")).abs()


_PAIR = (
    pl.col("row").alias("left"),
    pl.col("row_r").alias("right"),
    "scope",
    "scope_r",
    _gap().alias("gap"),
)


def _overlap() -> pl.Expr:
    return (pl.col("start") <= pl.col("end_r") + SLACK_NS) & (pl.col("start_r") <= pl.col("end") + SLACK_NS)


def _contained() -> pl.Expr:
    """One interval inside the other; the left one never starts after the right one."""
    right_inside = pl.col("end_r") <= pl.col("end") + SLACK_NS
    left_inside = (pl.col("start") >= pl.col("start_r") - SLACK_NS) & (pl.col("end") <= pl.col("end_r") + SLACK_NS)
    return _overlap() & (right_inside | left_inside)


def _close() -> pl.Expr:
    starts, ends = (pl.col("start") - pl.col("start_r")).abs(), (pl.col("end") - pl.col("end_r")).abs()
    return (starts <= CLOSE_NS) & (ends <= CLOSE_NS)


def _one_trial() -> pl.Expr:
    """Not of two trials: those are two requests, however alike and concurrent."""
    return (pl.col("trial") == pl.col("trial_r")).fill_null(True)


def _one_answer() -> pl.Expr:
    """Not with two response ids that both are known and differ."""
    return (pl.col("response") == pl.col("response_r")).fill_null(True)


def _scoped() -> pl.Expr:
    return pl.col("is_scoped") & pl.col("is_scoped_r")


def _counted() -> pl.Expr:
    return pl.col("input").is_not_null() | pl.col("output").is_not_null()


def _agree() -> pl.Expr:
    """Usage on one side only, or equal in one of the two counts (packages that miscount one of them)."""
    unknown = pl.col("input").is_null() & pl.col("output").is_null()
    unknown_r = pl.col("input_r").is_null() & pl.col("output_r").is_null()
    equal = (pl.col("input") == pl.col("input_r")) | (pl.col("output") == pl.col("output_r"))
    # A failure without usage beside a success with all of it: two requests.
    answered = pl.col("input").is_not_null() & pl.col("output").is_not_null() & ~pl.col("failed")
    answered_r = pl.col("input_r").is_not_null() & pl.col("output_r").is_not_null() & ~pl.col("failed_r")
    apart = (answered & pl.col("failed_r") & unknown_r) | (answered_r & pl.col("failed") & unknown)
    return (unknown | unknown_r | equal.fill_null(False)) & ~apart


def _alike() -> pl.Expr:
    """No two models that are both known and different (a version or a vendor's prefix is no difference)."""
    mine, theirs = ("model", "answered"), ("model_r", "answered_r")
    text = {name: pl.col(name).cast(pl.String) for name in (*mine, *theirs)}
    same = [
        text[one].str.starts_with(text[other]) | text[other].str.starts_with(text[one])
        for one in mine
        for other in theirs
    ]
    return pl.any_horizontal(*same).fill_null(False) | pl.col("model").is_null() | pl.col("model_r").is_null()


def _one_to_one(found: pl.DataFrame) -> pl.DataFrame:
    """The best pairs, each row at most once per pair of scopes: both must be the other's best, in a few rounds."""
    # From here on a pair has no direction in time: the smaller scope stands left.
    turned = pl.col("scope") > pl.col("scope_r")
    open_ = found.select(
        left=pl.when(turned).then("right").otherwise("left"),
        right=pl.when(turned).then("left").otherwise("right"),
        scopes=pl.min_horizontal("scope", "scope_r").hash(1) ^ pl.max_horizontal("scope", "scope_r").hash(2),
        order=pl.struct(
            "strength", "gap", low=pl.min_horizontal("left", "right"), high=pl.max_horizontal("left", "right")
        ).rank("min"),
    ).unique(["left", "right"], keep="any")
    accepted = [_NONE]
    for _ in range(_ROUNDS):
        best = pl.col("order") == pl.col("order").min()
        chosen = open_.filter(best.over("scopes", "left") & best.over("scopes", "right"))
        if chosen.is_empty():
            break
        accepted.append(chosen.select(pl.col("left", "right").cast(pl.UInt32)))
        for side in ("left", "right"):
            open_ = open_.join(chosen.select("scopes", side), on=["scopes", side], how="anti")
    return pl.concat(accepted)


def clusters(count: int, linked: pl.DataFrame) -> pl.Series:
    """A label per row: rows that are linked, also through others, share the smallest position among them."""
    label = pl.int_range(count, dtype=pl.UInt32, eager=True)
    both = pl.concat([linked, linked.select(left="right", right="left")])
    while True:
        near = both.select("left", other=label.gather(both["right"])).group_by("left").agg(pl.col("other").min())
        lower = near.filter(pl.col("other") < label.gather(near["left"]))
        if lower.is_empty():
            return label
        label = label.scatter(lower["left"], lower["other"])
