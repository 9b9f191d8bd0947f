"""What a trace's structure says against the usage of a row: the flags that no row shows by itself."""

from __future__ import annotations

import polars as pl

from otel_research.semconv import narrow, nesting

KINDS = ("cumulative_usage", "tools_inside_call", "usage_disputed", "calls_nested", "usage_without_calls")
"""Of several the first one is told."""
DOUBT = pl.Enum(KINDS)


def about(
    rows: pl.DataFrame,
    calls: pl.DataFrame,
    wrapped: pl.DataFrame,
    nest: pl.Series,
    parent: pl.Series | None,
    found: pl.DataFrame | None,
) -> pl.DataFrame:
    """`row`, `doubt`: calls whose usage may be of several requests, or of less than they stand for."""
    if parent is None or found is None:
        return pl.DataFrame(schema={"row": calls.schema["row"], "doubt": DOUBT})
    tools = _tools(rows, calls, found)
    others = (_for_another(tools, calls, wrapped), _while_another_ran(tools, calls, wrapped))
    inside = pl.concat([tools.filter(_ran_inside())["row"], *others])
    each = {"cumulative_usage": _added_up(calls, parent), "tools_inside_call": inside, "calls_nested": nest}
    told = (pl.DataFrame({"row": found}).with_columns(doubt=pl.lit(kind, DOUBT)) for kind, found in each.items())
    return pl.concat(told).unique("row", keep="first", maintain_order=True)


def told(found: pl.DataFrame, ends: pl.DataFrame, calls: pl.LazyFrame) -> pl.DataFrame:
    """`row`, `doubt` of calls that count: those `found` about them, and what the rows that are left out for them tell.

    `ends` are the rows that are left out, `because` of what, each with its `keeper`.
    """
    pairs = ends.select("row", "keeper", is_twin=pl.col("because") == "twin").drop_nulls("keeper")
    named = pl.concat([pairs["row"], pairs["keeper"]]).unique().to_frame("row")
    facts = calls.select("row", "input", "output", "holds_tools", "asks_tool").join(named.lazy(), on="row", how="semi")
    own = facts.collect(engine="streaming")
    pairs = pairs.join(own, on="row").join(own, left_on="keeper", right_on="row", suffix="_keeper")
    moved = pairs.join(found.rename({"doubt": "moved"}), on="row", how="left")
    held_tools = pl.col("holds_tools") | ((pl.col("moved") == "tools_inside_call") & pl.col("is_twin")).fill_null(False)
    differs = [pl.col(name) != pl.col(f"{name}_keeper") for name in ("input", "output")]
    doubt = (
        pl.when(held_tools & ~pl.col("asks_tool_keeper"))
        .then(pl.lit("tools_inside_call", DOUBT))
        .when(pl.any_horizontal(differs).fill_null(False))
        .then(pl.lit("usage_disputed", DOUBT))
    )
    learnt = moved.select(row="keeper", doubt=doubt).drop_nulls()
    counts = found.join(ends, on="row", how="anti")
    return pl.concat([counts, learnt]).sort("row", "doubt").unique("row", keep="first", maintain_order=True)


def _tools(rows: pl.DataFrame, calls: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Calls with each tool that ran inside, with nothing but chains between."""
    is_tool = (rows["part"] == nesting.TOOL) & (found["crossed"] == 0)
    tools = pl.DataFrame({"at": found["above"].filter(is_tool), "tool_start": rows["start_ns"].filter(is_tool)})
    return calls.join(tools.drop_nulls("at"), on="at")


def _ran_inside() -> pl.Expr:
    """A tool ran before the call ended, which then ended in an answer: it went on with another request."""
    return (pl.col("tool_start") < pl.col("end")) & ~pl.col("asks_tool").fill_null(False)


def _for_another(tools: pl.DataFrame, calls: pl.DataFrame, wrapped: pl.DataFrame) -> pl.Series:
    """Calls that stand for a row inside which a tool ran before any call did: that row's own request asked for it."""
    first_tool = tools.group_by("row").agg(pl.col("tool_start").min())
    first_call = calls.filter(pl.col("above").is_not_null()).group_by(row="above").agg(pl.col("start").min())
    asked = first_tool.join(first_call, on="row").filter(pl.col("tool_start") < pl.col("start"))
    outer = wrapped.filter(pl.col("because") == "wrapper").join(asked, on="row", how="semi")
    return outer.select(pl.coalesce("keeper", "first")).to_series().drop_nulls().alias("row")


def _while_another_ran(tools: pl.DataFrame, calls: pl.DataFrame, wrapped: pl.DataFrame) -> pl.Series:
    """Calls that stand for a row a tool of which ran in their own time: two packages, of which only one sees tools."""
    outer = wrapped.filter(pl.col("because") == "wrapper").select("row", "keeper").drop_nulls()
    mine = calls.select("start", "end", "asks_tool", keeper="row")
    both = tools.select("row", "tool_start").join(outer, on="row").join(mine, on="keeper")
    return both.filter(_ran_inside() & (pl.col("tool_start") > pl.col("start")))["keeper"].alias("row")


def _added_up(calls: pl.DataFrame, parent: pl.Series) -> pl.Series:
    """Calls after one that asked for a tool, under the same row, of a package that may add their usage up."""
    those = calls.filter("adds_up")
    siblings = those.select("row", "start", "key", "asks_tool", under=parent.gather(those["at"])).drop_nulls("under")
    before = pl.col("asks_tool").cast(pl.UInt32).cum_sum().shift(1, fill_value=0).over("under")
    return siblings.sort("start", "key").filter(before > 0)["row"]


def sums_alone(rows: pl.DataFrame, parent: pl.Series | None) -> pl.DataFrame:
    """`key`, `start_ns` of the agents and chains with sums below which is no call."""
    sums = rows["is_rollup"]
    place = ["key", "start_ns"]
    if not sums.any():
        return rows.select(place).clear()
    if parent is None:
        return rows.select(place).filter(sums)
    above = nesting.nearest(parent, sums, sums.cast(pl.UInt8))["above"]
    # A call is below the nearest sum above it, and below all sums above that one.
    reached = above.filter(rows["part"] == narrow.CALL).drop_nulls().unique()
    found = reached
    while len(reached):
        reached = above.gather(reached).drop_nulls().unique()
        reached = reached.filter(~reached.is_in(found.implode()))
        found = pl.concat([found, reached])
    # By their keys: a span that is there twice is above its calls twice, but their parent once.
    return rows.filter(sums & ~rows["key"].is_in(rows["key"].gather(found).implode())).select(place)
