"""Calls inside calls: whose nearest call above is whose, and which of the two stands for the request.

Pointers jump over the rows between by doubling, so that a deep tree costs a few passes and a cycle (foreign
data) ends. Rows are addressed by their position in the narrow frame.
"""

from __future__ import annotations

import polars as pl

_DEEPEST = 2**24
"""Deeper than any tree; pointers that still move after so many steps run in a circle."""


def parents(rows: pl.DataFrame) -> pl.Series:
    """Position of each row's parent; null for roots and for parents that are not in the frame."""
    known = rows.select(pl.col("key").alias("parent_key"), pl.col("row").alias("parent"))
    if rows["key"].n_unique() < len(rows):  # Counting is cheap; finding the first of each costs as much as the join.
        known = known.unique("parent_key", keep="first", maintain_order=True)
    found = rows.select("parent_key", "key").join(known, on="parent_key", how="left", maintain_order="left")
    return found.select(pl.when(pl.col("parent_key") != pl.col("key")).then("parent")).to_series()


def nearest(parent: pl.Series, is_wanted: pl.Series, barrier: pl.Series) -> pl.DataFrame:
    """`above`: the nearest wanted row above each row; `crossed`: the highest barrier between the two (0: none)."""
    above, crossed = parent, pl.repeat(0, len(parent), dtype=barrier.dtype, eager=True)
    steps = 1
    while steps < _DEEPEST:
        moving = above.is_not_null() & ~is_wanted.gather(above).fill_null(False)
        if not moving.any():
            return pl.DataFrame({"above": above, "crossed": crossed})
        between = pl.DataFrame({"a": crossed, "b": barrier.gather(above), "c": crossed.gather(above)})
        higher = between.select(pl.max_horizontal("a", "b", "c")).to_series()
        further = above.gather(above)
        above, crossed = further.zip_with(moving, above), higher.zip_with(moving, crossed)
        steps *= 2
    lost = above.is_not_null() & ~is_wanted.gather(above).fill_null(False)
    return pl.DataFrame({"above": above.set(lost, None), "crossed": crossed})


def under(parent: pl.Series, is_marked: pl.Series) -> pl.Series:
    """Whether the row or any row above it is marked."""
    if not is_marked.any():
        return is_marked
    found = nearest(parent, is_marked, is_marked.cast(pl.UInt8))
    return is_marked | found["above"].is_not_null()


def without_circles(above: pl.Series) -> pl.Series:
    """The pointers, with those cut that run in a circle."""
    ahead = above
    for _ in range(24):
        if ahead.null_count() == len(ahead):
            return above
        ahead = ahead.gather(ahead)
    return above.set(ahead.is_not_null(), None)


AGENT, TOOL = 1, 2
"""Barriers between two calls, by height."""
_FACTS = (
    "key", "input", "output", "cached", "failed", "family", "start", "end", "serves", "is_internal", "package", "writes_alone", "model", "answered",
)  # fmt: skip
DATED = r"[-@:](20\d\d-?\d\d-?\d\d|\d{4}|latest)$"
"""What a model's name may have more than its alias: which of its versions it is."""
CLOSE_NS = 50_000_000
"""How far apart the ends of one request may be in two rows that have little but their time in common."""


def wrapped(calls: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """Pairs (outer, inner) of calls where the outer one only wraps the inner; those where the inner one is served; nesting rows.

    Nothing but chains between them: a wrapper, but for a package that nests requests in requests (`_is_nested`). A tool
    between them, or an agent below a call with usage of its own: two calls, unless the usage is the same or the sum, or
    the times are and the usage does not contradict. An embedding inside a chat is another call. What a model server
    says of a request is the client's request.
    """
    inner = calls.filter(pl.col("above").is_not_null()).select("row", "above", "crossed", *_FACTS)
    outer = calls.select("row", *_FACTS)
    pairs = inner.join(outer, left_on="above", right_on="row", how="left", suffix="_outer")
    pairs = pairs.filter(pl.col("family").eq_missing(pl.col("family_outer")))
    has_inner, has_outer = _has_usage(""), _has_usage("_outer")
    pairs = pairs.with_columns(_is_nested().any().over("above").alias("is_nested"))
    is_apart = (pl.col("crossed") == TOOL) | ((pl.col("crossed") == AGENT) & has_outer)
    attempts_only = (pl.col("failed") & ~has_inner).all().over("above")
    stands_alone = has_outer & ~pl.col("failed_outer") & attempts_only
    nest = pairs.filter("is_nested")["above"].unique()
    is_wrapped = ~is_apart | _is_one_request().any().over("above")
    pairs = pairs.filter(is_wrapped & ~stands_alone & ~pl.col("is_nested") & ~_follows())
    is_served = _served(pairs)
    told = pairs.filter(~is_served).with_columns(
        only_outer_counts=has_outer & (~has_inner).all().over("above"),
        succeeded=(~pl.col("failed")).sum().over("above"),
        siblings=pl.len().over("above"),
    )
    names = {"above": "outer", "row": "inner"}
    return told.rename(names), pairs.filter(is_served).rename(names), nest


def _is_nested() -> pl.Expr:
    """Both rows are of one package, which says of the outer one what is neither an inner one's usage nor can be their sum.

    So does a package that asks again, or hands over to another agent, before the span of the first request has ended.
    """
    one_package = (pl.col("package") == pl.col("package_outer")) & pl.col("writes_alone") & ~pl.col("serves_outer")
    both = _has_usage("") & _has_usage("_outer") & ~pl.col("failed_outer")
    own = pl.when(one_package)
    less = [pl.col(f"{name}_outer") < own.then(name).max().over("above") for name in ("input", "output")]
    no_sum = pl.any_horizontal(*(each.fill_null(False) for each in less), _other_model())
    one_request = (_same_usage() | _without_cache()).any().over("above")
    return (one_package & both & no_sum).fill_null(False) & ~one_request


def _follows() -> pl.Expr:
    """The outer row failed, and its package asked again after that: a retry that was given the failure's span as its parent."""
    failed = pl.col("failed_outer") & ~_has_usage("_outer") & (pl.col("package") == pl.col("package_outer"))
    return failed & (pl.col("start") >= pl.col("end_outer")).all().over("above")


def _other_model() -> pl.Expr:
    """No name of the one, but for a date, is a name of the other."""
    mine, theirs = ("model", "answered"), ("model_outer", "answered_outer")
    text = {name: pl.col(name).cast(pl.String).str.replace(DATED, "") for name in (*mine, *theirs)}
    same = pl.any_horizontal(*(text[one] == text[other] for one in mine for other in theirs)).fill_null(False)
    return ~same & pl.col("model").is_not_null() & pl.col("model_outer").is_not_null()


def _without_cache() -> pl.Expr:
    """The outer row has the usage but for the cache."""
    fresh = pl.col("input") - pl.col("cached") == pl.col("input_outer")
    return (fresh & (pl.col("output") == pl.col("output_outer"))).fill_null(False)


def _served(pairs: pl.DataFrame) -> pl.Series:
    """Whether the inner row is a server's own view of the outer one: its request, or a step inside it.

    Not where it has asked a model in turn, as a gateway or an agent does: then those are the requests.
    """
    steps = pl.col("serves_outer") & pl.col("is_internal") & (pl.col("package") == pl.col("package_outer"))
    is_served = pairs.select((pl.col("serves") & ~pl.col("serves_outer")) | (steps & _has_usage("_outer"))).to_series()
    while is_served.any():
        asks = pairs["above"].filter(~is_served)
        fewer = is_served & ~pairs["row"].is_in(asks.implode())
        if fewer.sum() == is_served.sum():
            break
        is_served = fewer
    return is_served


def _is_one_request() -> pl.Expr:
    """The usage is the same; or nothing but the time can tell."""
    starts, ends = ((pl.col(name) - pl.col(f"{name}_outer")).abs() <= CLOSE_NS for name in ("start", "end"))
    silent = ~_has_usage("") | ~_has_usage("_outer")
    return _same_usage() | (silent & starts & ends)


def _same_usage() -> pl.Expr:
    """The inner row's usage or the sum of all inner rows' is the outer one's."""
    equal = pl.col("input").eq_missing(pl.col("input_outer")) & pl.col("output").eq_missing(pl.col("output_outer"))
    sums = [pl.col(name).sum().over("above") == pl.col(f"{name}_outer") for name in ("input", "output")]
    return _has_usage("_outer") & (equal | pl.all_horizontal(sums).fill_null(False))


def _has_usage(side: str) -> pl.Expr:
    return pl.col(f"input{side}").is_not_null() | pl.col(f"output{side}").is_not_null()
