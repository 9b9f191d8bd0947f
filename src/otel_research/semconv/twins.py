"""One request seen by two instrumentations, in different traces or side by side; and streams logged in two rows.

Evidence, strongest first: the provider's response id with overlapping times; equal usage, one inside the other's
time or half of it; no contradiction in usage and nearly the same time, for the same model; two failures that end
together, after one that began with the longer (a client's retries inside a framework's one call). Where a row's end is not
the request's (never ended, ended when a stream was opened, left at its first chunk), its start must do. Two trials, two response ids
or two experiments are never one request. Partners are matched one to one per pair of scopes, the closest in time
first, so that concurrent calls never merge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from otel_research.semconv.nesting import CLOSE_NS

SLACK_NS = 1_000_000
"""How far the inner interval may stick out: two reads of one clock."""
LOG_SLACK_NS = 250_000_000
"""How long after its request a stream may begin to be read."""
AT_ONCE = 1_000_000
"""About so many calls are read together."""
VERSION = r"^[-@:.]?(v?\d[\w.:-]*|latest|preview|exp)$"
"""What a model's name may have more than another name of it."""
OPEN_NS = 20_000_000
"""How far apart the starts of one request may be in two rows of which one does not tell its end."""
LEFT_NS = 10_000_000
"""The same, where one was perhaps ended too early."""
NEIGHBOURS = 64
"""So many later rows of the same trial are looked at for a partner, as long as they begin early enough."""
_ASKED = 2**64 - 1
"""Stands for "the request's row" beside a log row of the same scope; larger than any scope, so it stays right."""
_ROUNDS = 16
_FACTS = (
    "row",
    "scope",
    "is_scoped",
    "start",
    "end",
    "is_open",
    "is_silent_stream",
    "input",
    "output",
    "model",
    "answered",
    "trial",
    "response",
    "failed",
)
_FOUND = {
    "left": pl.UInt32(),
    "right": pl.UInt32(),
    "scope": pl.UInt64(),
    "scope_r": pl.UInt64(),
    "gap": pl.Int64(),
    "strength": pl.UInt8(),
}


Parts = Iterator[tuple[pl.DataFrame, pl.Expr]]
"""Calls that are read together, and which of the pairs in them are this part's."""


class _Rule(NamedTuple):
    """What makes a pair of two rows of different scopes."""

    parts: Callable[[pl.LazyFrame, Sequence[str]], Parts]
    keys: Sequence[str]
    """What is equal in both, beside the trial."""
    until: pl.Expr
    """When the later one begins at the latest."""
    counts: pl.Expr
    """What the counts of the two allow: told by two columns, so that the rest need not be looked at."""
    holds: pl.Expr
    also: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame] | None = None
    """Which of the pairs found are so beside the part's other rows."""


def pairs(calls: pl.LazyFrame) -> pl.DataFrame:
    """Pairs (left, right) of rows that are one request; `calls` are the rows that no wrapper rule excluded.

    They are read several times, part by part, so that memory grows with the pairs and not with the calls.
    """
    asks, same, all_ = ["owner", "family"], _alike() & _one_answer(), pl.lit(True)
    rules = (
        _Rule(_alike_parts, [*asks, "response"], _ends(), all_, _overlap()),
        _Rule(_alike_parts, [*asks, "input", "output"], _ends(), all_, _same_usage() & same),
        _Rule(
            _near_parts,
            asks,
            pl.col("start") + CLOSE_NS,
            _compatible(),
            _inside() & _close() & _not_apart() & _scoped() & same,
        ),
        _Rule(_failed_parts, [*asks, "model"], _ends(), all_, _contained() & _end_together() & _scoped(), _retried),
    )
    found = pl.DataFrame(schema=_FOUND)
    for strength, rule in enumerate(rules):
        for part, mine in rule.parts(calls, rule.keys):
            more = _neighbours(part, rule, mine)
            more = more if rule.also is None else rule.also(more, part)
            more = more.with_columns(strength=pl.lit(strength, dtype=pl.UInt8))
            # Found by a stronger rule already: the pair is the same, and so is its gap.
            found = pl.concat([found, more.join(found, on=["left", "right"], how="anti")])
    return _one_per_scope(_one_to_one(found), found)


def _alike_parts(calls: pl.LazyFrame, keys: Sequence[str]) -> Parts:
    """Calls that are equal in the keys are in one part; those that know none of what tells calls apart are in none."""
    known = [pl.col(key).is_not_null() for key in keys if key not in {"owner", "family"}]
    rows = calls.filter(pl.any_horizontal(known))
    count = _how_many(rows)
    for number in range(count):
        mine = pl.struct(keys).hash(10) % count == number if count > 1 else pl.lit(True)
        yield rows.filter(mine).collect(engine="streaming"), pl.lit(True)


def _failed_parts(calls: pl.LazyFrame, keys: Sequence[str]) -> Parts:
    """The same, of calls that failed and know no usage."""
    return _alike_parts(calls.filter(pl.col("failed") & ~pl.col("is_open") & _unknown()), keys)


def _retried(found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose longer row began together with an earlier attempt of the shorter row's package."""
    by = ["owner", "family", "model", "scope"]
    facts = rows.select("row", *by, "start", "end")
    both = found.select("left", "right").join(facts, left_on="left", right_on="row")
    both = both.join(facts.select("row", "scope", "start", "end"), left_on="right", right_on="row", suffix="_r")
    is_outer = pl.col("end") - pl.col("start") >= pl.col("end_r") - pl.col("start_r")
    last = both.select(
        "left", "right", "owner", "family", "model", scope=pl.when(is_outer).then("scope_r").otherwise("scope"),
        at=pl.when(is_outer).then("start").otherwise("start_r"), asked=pl.when(is_outer).then("start_r").otherwise("start"),
    )  # fmt: skip
    first = facts.select(*by, "end", at="start").sort("at")
    near = last.sort("at").join_asof(
        first, on="at", by=by, strategy="nearest", tolerance=CLOSE_NS, check_sortedness=False
    )
    return found.join(near.filter(pl.col("end") < pl.col("asked")), on=["left", "right"], how="semi")


def _near_parts(calls: pl.LazyFrame, keys: Sequence[str]) -> Parts:
    """Calls that begin one after the other are in one part, which overlaps the next one by what can be a pair."""
    count = _how_many(calls)
    starts = calls.select("start").collect(engine="streaming")["start"].sort() if count > 1 else None
    bounds = [starts[len(starts) * number // count] for number in range(1, count)] if starts is not None else []
    for since, until in pairwise([None, *bounds, None]):
        begins = pl.lit(True) if since is None else pl.col("start") >= since
        ends = pl.lit(True) if until is None else pl.col("start") < until + CLOSE_NS
        mine = pl.lit(True) if until is None else pl.col("start") < until
        yield calls.filter(begins & ends).collect(engine="streaming"), mine


def logs(calls: pl.LazyFrame) -> pl.DataFrame:
    """Pairs (left: the log row, right: its request's row) of streams that one scope writes in two rows."""
    by = ["owner", "package", "model"]
    written = calls.filter("is_log").select("row", "key", *by, at="start").collect(engine="streaming")
    silent = ~pl.col("is_log") & pl.col("input").is_null() & pl.col("output").is_null()
    asked = calls.filter(silent & pl.col("end").is_not_null()).select("row", *by, at="end").collect(engine="streaming")
    near = [
        written.sort("at", "key", "row").join_asof(
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


def _neighbours(calls: pl.DataFrame, rule: _Rule, mine: pl.Expr) -> pl.DataFrame:
    """The rule's pairs among these calls, of those that are `mine`."""
    keys = [*rule.keys, "trial"]
    ordered = calls.sort(*keys, "start", "key", "row")
    rows = ordered.select(*_FACTS, group=pl.struct(keys).rle_id(), until=rule.until)
    group, scope, start, last = (rows[name] for name in ("group", "scope", "start", "until"))
    counts = rows.select("input", "output")
    found = [pl.DataFrame(schema=_FOUND).drop("strength")]
    left = pl.int_range(len(rows), dtype=pl.UInt32, eager=True)
    for distance in range(1, NEIGHBOURS + 1):
        left = left.filter(left < max(0, len(rows) - distance))
        right = left + distance
        # What begins too late for a row does so for all rows further down.
        left = left.filter((group.gather(left) == group.gather(right)) & (start.gather(right) <= last.gather(left)))
        if left.is_empty():
            break
        other = left.filter(scope.gather(left) != scope.gather(left + distance))
        other = other.filter(_beside(counts, other, distance).with_columns(allowed=rule.counts)["allowed"])
        found.append(_beside(rows, other, distance).filter(_overlap()).filter(rule.holds & mine).select(_PAIR))
    return pl.concat(found)


def _beside(rows: pl.DataFrame, left: pl.Series, distance: int) -> pl.DataFrame:
    """The rows beside those that are so much further down."""
    return rows[left].hstack(rows[left + distance].select(pl.all().name.suffix("_r")))


def _how_many(calls: pl.LazyFrame) -> int:
    return max(1, -(-int(calls.select(pl.len()).collect().item()) // AT_ONCE))


def _gap() -> pl.Expr:
    ends = (pl.col("end") - pl.col("end_r")).abs()
    is_open = pl.col("is_open") | pl.col("is_open_r")
    return (pl.col("start") - pl.col("start_r")).abs() + pl.when(is_open).then(0).otherwise(ends)


_PAIR = (
    pl.col("row").alias("left"),
    pl.col("row_r").alias("right"),
    "scope",
    "scope_r",
    _gap().alias("gap"),
)


def _ends() -> pl.Expr:
    """When the last row begins that may overlap; at the earliest the row's own start."""
    ends = pl.when("is_open").then(pl.col("start") + OPEN_NS).otherwise(pl.col("end") + SLACK_NS)
    return pl.max_horizontal("start", ends)


def _overlap() -> pl.Expr:
    """Of two rows in the order of their starts; an end that is not the request's says nothing."""
    return (pl.col("start_r") <= pl.col("end") + SLACK_NS) | _begin_together()


def _inside() -> pl.Expr:
    """One interval inside the other; where an end is not the request's, they need only begin together."""
    return _contained() | _begin_together()


def _mostly_together() -> pl.Expr:
    """Half of the shorter one is in the other: two packages that end a stream at another moment."""
    shared = pl.min_horizontal("end", "end_r") - pl.col("start_r")
    lengths = (pl.col("end") - pl.col("start"), pl.col("end_r") - pl.col("start_r"))
    return shared * 2 >= pl.min_horizontal(*lengths)


def _contained() -> pl.Expr:
    """One interval inside the other; the left one never starts after the right one."""
    right_inside = pl.col("end_r") <= pl.col("end") + SLACK_NS
    left_inside = (pl.col("start") >= pl.col("start_r") - SLACK_NS) & (pl.col("end") <= pl.col("end_r") + SLACK_NS)
    return _overlap() & (right_inside | left_inside)


def _close() -> pl.Expr:
    starts, ends = (pl.col("start") - pl.col("start_r")).abs(), (pl.col("end") - pl.col("end_r")).abs()
    return ((starts <= CLOSE_NS) & (ends <= CLOSE_NS)) | _begin_together()


def _end_together() -> pl.Expr:
    return (pl.col("end") - pl.col("end_r")).abs() <= CLOSE_NS


def _begin_together() -> pl.Expr:
    """Where one end is not the request's, or may not be: a stream that reported nothing was perhaps left at its first chunk."""
    apart = (pl.col("start") - pl.col("start_r")).abs()
    left = (pl.col("is_silent_stream") | pl.col("is_silent_stream_r")) & (apart <= LEFT_NS) & _mostly_together()
    return ((pl.col("is_open") | pl.col("is_open_r")) & (apart <= OPEN_NS)) | left


def _one_answer() -> pl.Expr:
    """Not with two response ids that both are known and differ."""
    return (pl.col("response") == pl.col("response_r")).fill_null(True)


def _scoped() -> pl.Expr:
    return pl.col("is_scoped") & pl.col("is_scoped_r")


def _same_usage() -> pl.Expr:
    """Of rows with equal counts: one inside the other; where both counts are known, half of one in the other."""
    asked, answered = pl.col("input").is_not_null(), pl.col("output").is_not_null()
    return (asked | answered) & (_inside() | (asked & answered & _mostly_together()))


def _unknown(side: str = "") -> pl.Expr:
    return pl.col(f"input{side}").is_null() & pl.col(f"output{side}").is_null()


def _compatible() -> pl.Expr:
    """Usage on one side only, or equal in one of the two counts (packages that miscount one of them)."""
    equal = (pl.col("input") == pl.col("input_r")) | (pl.col("output") == pl.col("output_r"))
    return (_unknown() | _unknown("_r") | equal).fill_null(False)


def _not_apart() -> pl.Expr:
    # A failure without usage beside a success with all of it: two requests.
    answered = pl.col("input").is_not_null() & pl.col("output").is_not_null() & ~pl.col("failed")
    answered_r = pl.col("input_r").is_not_null() & pl.col("output_r").is_not_null() & ~pl.col("failed_r")
    # One that was never ended did not fail: nobody knows how it did.
    failed, failed_r = pl.col("failed") & ~pl.col("is_open"), pl.col("failed_r") & ~pl.col("is_open_r")
    return ~((answered & failed_r & _unknown("_r")) | (answered_r & failed & _unknown()))


def _alike() -> pl.Expr:
    """No two models that are both known and different (which version it is, or a vendor's prefix, is no difference)."""
    mine, theirs = ("model", "answered"), ("model_r", "answered_r")
    text = {name: pl.col(name).cast(pl.String) for name in (*mine, *theirs)}
    same = [_is_version(text[one], text[other]) for one in mine for other in theirs]
    return pl.any_horizontal(*same).fill_null(False) | pl.col("model").is_null() | pl.col("model_r").is_null()


def _is_version(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """The longer name is the shorter one and says which of its versions."""
    longer = pl.when(one.str.len_bytes() >= other.str.len_bytes()).then(one).otherwise(other)
    shorter = pl.when(one.str.len_bytes() >= other.str.len_bytes()).then(other).otherwise(one)
    rest = longer.str.strip_prefix(shorter)
    return longer.str.starts_with(shorter) & ((rest == "") | rest.str.contains(VERSION))


def _one_per_scope(linked: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The pairs, without those that would make one request of two rows of one scope, by way of a third scope's."""
    if pl.concat([found["scope"], found["scope_r"]]).n_unique() < 3:
        return linked
    sides = [found.select(row=row, scope=scope) for row, scope in (("left", "scope"), ("right", "scope_r"))]
    members = clusters(linked).join(pl.concat(sides).unique(), on="row")
    twice = members.filter(pl.struct("label", "scope").is_duplicated())["label"].unique()
    if twice.is_empty():
        return linked
    tangled = members.filter(pl.col("label").is_in(twice.implode()))["row"]
    inside = pl.col("left").is_in(tangled.implode()) & pl.col("right").is_in(tangled.implode())
    return pl.concat([linked.filter(~inside), _joined(found.filter(inside), linked.schema)])


def _joined(found: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The best pairs first; one whose rows' requests have a scope in common already is none."""
    best = found.sort("strength", "gap", pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right"))
    request: dict[int, dict[int, int]] = {}
    """Per row: the rows of its request, each with its scope."""
    kept = []
    for left, right, scope, scope_r in best.select("left", "right", "scope", "scope_r").iter_rows():
        one, other = request.get(left, {left: scope}), request.get(right, {right: scope_r})
        if not {*one.values()} & {*other.values()}:
            kept.append((left, right))
            both = one | other
            request |= dict.fromkeys(both, both)
    return pl.DataFrame(kept, schema=schema, orient="row")


def _one_to_one(found: pl.DataFrame) -> pl.DataFrame:
    """The best pairs, each row at most once per pair of scopes: both must be the other's best, in a few rounds."""
    # From here on a pair has no direction in time: the smaller scope stands left.
    turned = pl.col("scope") > pl.col("scope_r")
    every = found.sort(
        "strength", "gap", pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right")
    ).select(
        left=pl.when(turned).then("right").otherwise("left"),
        right=pl.when(turned).then("left").otherwise("right"),
        scopes=pl.min_horizontal("scope", "scope_r").hash(1) ^ pl.max_horizontal("scope", "scope_r").hash(2),
    )
    open_ = every.unique(["left", "right"], keep="first", maintain_order=True).with_row_index("order")
    only = ~pl.col("left").is_duplicated() & ~pl.col("right").is_duplicated()  # As usual.
    accepted, open_ = [open_.filter(only).select("left", "right")], open_.filter(~only)
    for _ in range(_ROUNDS):
        best = pl.col("order") == pl.col("order").min()
        chosen = open_.filter(best.over("scopes", "left") & best.over("scopes", "right"))
        if chosen.is_empty():
            break
        accepted.append(chosen.select("left", "right"))
        for side in ("left", "right"):
            open_ = open_.join(chosen.select("scopes", side), on=["scopes", side], how="anti")
    return pl.concat(accepted)


def clusters(linked: pl.DataFrame) -> pl.DataFrame:
    """`row` and `label` of every row that is linked; rows that are linked, also through others, share their label."""
    rows = pl.concat([linked["left"], linked["right"]]).unique().sort()
    left, right = (rows.search_sorted(linked[side]) for side in ("left", "right"))
    both = pl.DataFrame({"at": pl.concat([left, right]), "to": pl.concat([right, left])})
    label = pl.int_range(len(rows), dtype=pl.UInt32, eager=True)
    while True:
        near = both.select("at", label=label.gather(both["to"])).group_by("at").agg(pl.col("label").min())
        lower = near.filter(pl.col("label") < label.gather(near["at"]))
        if lower.is_empty():
            return pl.DataFrame({"row": rows, "label": label})
        label = label.scatter(lower["at"], lower["label"])
