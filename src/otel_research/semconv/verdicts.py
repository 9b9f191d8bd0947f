"""The narrow pass of `calls.mark`: which rows stand for another and are left out."""

from __future__ import annotations

import polars as pl

from otel_research.semconv import nesting, transport, twins
from otel_research.semconv.dialect import by_word

SCHEMA = {
    "id": pl.UInt64(),
    "start_ns": pl.Int64(),
    "because": pl.String(),
    "doubt": pl.String(),
    "attempts": pl.Int64(),
    "backoff_ms": pl.Float64(),
    "keeper": pl.UInt64(),
    "keeper_start_ns": pl.Int64(),
}
_VENDOR = r"^(?:[a-z]{2,6}\.)?(?:anthropic|amazon|meta|mistral|cohere|openai|google|deepseek)\."
_FOREVER = 2**61
EVALUATORS = r"(?i)(?:^|[._-])(ragas|autoevals|openevals|phoenix[._]evals|continuous_eval|uptrain)(?:$|[._-])"
"""Scopes of packages that only judge; those that also trace the system say which span judges (`semconv` roles)."""
_PARTS = {"agent": nesting.AGENT, "tool": nesting.TOOL}
CALL = 3
"""What a row is in a tree of calls; everything else is 0."""
_FAMILIES = {"embeddings": 1, "rerank": 2}
_CHAIN = 16
"""Rows stand for rows that stand for others at most 2**16 deep."""
_NO_ROW = pl.lit(None, dtype=pl.UInt32)
_NUMBER = pl.UInt8()


def identity(span: str) -> pl.Expr:
    """Experiment, trace and span as one number."""
    return pl.col("experiment_id").hash(1) ^ pl.col("trace_id").hash(2) ^ pl.col(span).hash(3)


def counts() -> pl.Expr:
    """A call, or a measurement that names a model and took time."""
    measured = (
        (pl.col("role") == "record") & pl.col("request_model").is_not_null() & pl.col("duration_ms").is_not_null()
    )
    return ((pl.col("role") == "call") | measured).fill_null(False)


def links() -> list[pl.Expr]:
    """What is above what: needed of every row."""
    part = _number("role", _PARTS)
    apart = (pl.col("role") == "evaluator").fill_null(False) | pl.col("aside").is_not_null() | _evaluates()
    return [
        pl.col("id").alias("key"),
        pl.col("start_ns"),
        pl.when(pl.col("parent_span_id").is_not_null()).then(identity("parent_span_id")).alias("parent_key"),
        pl.when(counts()).then(pl.lit(CALL, dtype=_NUMBER)).otherwise(part).alias("part"),
        apart.alias("is_aside"),
    ]


def facts() -> list[pl.Expr]:
    """What tells one call from another: needed of calls only."""
    is_log = pl.col("flags").str.contains("stream_log", literal=True).fill_null(False)
    length = (pl.col("duration_ms").fill_null(0) * 1e6).cast(pl.Int64)
    return [
        pl.col("id").alias("key"),
        (pl.col("start_ns") - pl.when(is_log).then(length).otherwise(0)).alias("start"),
        pl.col("end_ns").fill_null(_FOREVER).alias("end"),
        is_log.alias("is_log"),
        (pl.col("role") == "record").alias("is_record"),
        pl.col("input_tokens").alias("input"),
        pl.col("output_tokens").alias("output"),
        pl.col("error_type").is_not_null().alias("failed"),
        (pl.col("finish_reason") == "tool_call").fill_null(False).alias("asks_tool"),
        _number("operation", _FAMILIES).alias("family"),
        # Spans without a scope (some exports have none) are told apart by how they were written.
        pl.when(pl.col("scope").is_not_null())
        .then(pl.col("scope").hash(4))
        .otherwise(pl.col("dialect").hash(8) ^ pl.col("name").hash(9))
        .alias("scope"),
        pl.col("scope").fill_null("").hash(4).alias("package"),
        (pl.col("scope").fill_null("") != "").alias("is_scoped"),
        pl.col("experiment_id").hash(1).alias("owner"),
        pl.when(pl.col("trial_id").is_not_null()).then(pl.col("trial_id").hash(7)).alias("trial"),
        pl.when(pl.col("response_id").is_not_null()).then(pl.col("response_id").hash(5)).alias("response"),
        _tail("request_model").cast(pl.Categorical).alias("model"),
        _tail("response_model").cast(pl.Categorical).alias("answered"),
    ]


def _number(words: str, table: dict[str, int]) -> pl.Expr:
    """The word's number, 0 for any other. `replace_strict` would hold all rows' words, and what is read beside them."""
    chosen = [pl.when(pl.col(words) == word).then(pl.lit(number, dtype=_NUMBER)) for word, number in table.items()]
    return pl.coalesce(*chosen, pl.lit(0, dtype=_NUMBER))


def _evaluates() -> pl.Expr:
    """Spans of packages whose only business is to judge."""
    return by_word(pl.col("scope"), lambda scope: scope.str.extract(EVALUATORS)).is_not_null()


def _tail(model: str) -> pl.Expr:
    """A model's own name: `gpt-4o` of `openai/gpt-4o`, `claude-x` of `us.anthropic.claude-x`."""
    return by_word(
        pl.col(model), lambda name: name.str.to_lowercase().str.replace(r"^.*[/]", "").str.replace(_VENDOR, "")
    )


def decide(rows: pl.DataFrame, calls: pl.DataFrame, requests: pl.DataFrame) -> pl.DataFrame:
    """One line per call that is left out (with the one that stands for it) or that carries a doubt.

    `rows` are the `links` of every row, `calls` the `facts` of those that are calls, `requests` the `transport.facts`
    of those that are requests; both with their position `at` in `rows`.
    """
    calls = calls.with_row_index("row").with_columns(start_ns=rows["start_ns"].gather(calls["at"]))
    parent = _parents(rows)
    found = None if parent is None else nesting.nearest(parent, rows["part"] == CALL, rows["part"])
    calls = calls.with_columns(_above(rows, calls["at"], parent, found))
    wrapped = _wrapped(nesting.wrapped(calls))
    linked = pl.concat([twins.pairs(_without(calls, wrapped)), _logs(calls, wrapped)])
    left_out = pl.concat([wrapped.drop("first"), _twins(calls, linked)]).unique(
        "row", keep="first", maintain_order=True
    )
    resent = transport.NONE if found is None else transport.retries(requests, rows["start_ns"], found)
    return _lines(calls, left_out, _tools(rows, parent), resent)


def _without(calls: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """The other calls. Where none is left out, which is usual, they are not copied."""
    return calls if left_out.is_empty() else calls.join(left_out, on="row", how="anti", maintain_order="left")


def _parents(rows: pl.DataFrame) -> pl.Series | None:
    """Position of each row's parent; None where no row has one."""
    return nesting.parents(rows.with_row_index("row")) if rows["parent_key"].null_count() < len(rows) else None


def _above(rows: pl.DataFrame, at: pl.Series, parent: pl.Series | None, found: pl.DataFrame | None) -> list[pl.Series]:
    """Per call: the nearest call above, what lies between, and whether it is part of an evaluation."""
    if parent is None or found is None:
        nothing = pl.repeat(None, len(at), dtype=pl.UInt32, eager=True)
        none = {"above": nothing, "crossed": nothing.cast(pl.UInt8), "aside": rows["is_aside"].gather(at)}
        return [series.alias(name) for name, series in none.items()]
    place = pl.repeat(None, len(rows), dtype=pl.UInt32, eager=True).scatter(at, pl.int_range(len(at), eager=True))
    above = nesting.without_circles(place.gather(found["above"].gather(at)))
    aside = nesting.under(parent, rows["is_aside"]).gather(at)
    return [above.alias("above"), found["crossed"].gather(at).alias("crossed"), aside.alias("aside")]


def _tools(rows: pl.DataFrame, parent: pl.Series | None) -> pl.DataFrame:
    """Tools with the position of the row above them."""
    above = parent if parent is not None else pl.repeat(None, len(rows), dtype=pl.UInt32, eager=True)
    tools = rows.select("start_ns", "part", at=above).filter(pl.col("part") == nesting.TOOL)
    return tools.select("at", tool_start="start_ns").drop_nulls("at")


def _wrapped(pairs: pl.DataFrame) -> pl.DataFrame:
    """Outer rows that an inner one stands for; inner ones, where only the outer has the usage of several.

    `keeper` stands for the row (null where several may), `first` is one of those.
    """
    fit = pl.when(pl.col("succeeded") == 0).then("siblings").otherwise("succeeded")
    pairs = pairs.with_columns(fit=fit, is_fit=~pl.col("failed") | (pl.col("succeeded") == 0))
    outer_stays = pl.col("only_outer_counts") & (pl.col("fit") > 1)
    inner = pairs.filter(outer_stays).select(row="inner", because=pl.lit("inner"), keeper="outer", first="outer")
    fits = pl.col("inner").filter("is_fit").first()
    outer = (
        pairs.filter(~outer_stays)
        .group_by("outer", maintain_order=True)
        .agg(
            keeper=pl.when(pl.col("fit").first() == 1).then(fits).otherwise(_NO_ROW),
            first=fits,
            because=pl.lit("wrapper"),
        )
        .select(row="outer", because="because", keeper="keeper", first="first")
    )
    return pl.concat([outer, inner]).unique("row", keep="first", maintain_order=True)


def _logs(calls: pl.DataFrame, wrapped: pl.DataFrame) -> pl.DataFrame:
    """Log rows with the row of their request, or with one that stands for it."""
    pairs = twins.logs(calls)
    if pairs.is_empty():
        return pairs
    to = _resolved(wrapped.select("row", keeper=pl.coalesce("keeper", "first")))
    moved = pairs.join(to, left_on="right", right_on="row", how="left", maintain_order="left")
    return moved.select("left", right=pl.coalesce("keeper", "right")).filter(pl.col("left") != pl.col("right"))


def _twins(calls: pl.DataFrame, linked: pl.DataFrame) -> pl.DataFrame:
    """Of rows that are one request: all but the one that stays (counted, not a log, the innermost)."""
    if linked.is_empty():
        return pl.DataFrame(schema={"row": pl.UInt32, "because": pl.String, "keeper": pl.UInt32})
    label = twins.clusters(len(calls), linked)
    silent = pl.col("input").is_null() & pl.col("output").is_null()
    members = calls.join(pl.concat([linked["left"], linked["right"]]).unique().to_frame("row"), on="row", how="semi")
    members = members.with_columns(
        label=label.gather(members["row"]), silent=silent.cast(pl.Int8), length=pl.col("end") - pl.col("start")
    )
    members = members.sort("label", "is_record", "silent", "is_log", "length", pl.col("start").neg(), "key")
    first = {name: pl.col(name).first().over("label") for name in ("row", "is_log", "package")}
    its_request = first["is_log"] & (pl.col("package") == first["package"])
    because = (
        pl.when("is_log")
        .then(pl.lit("stream_log"))
        .when(its_request)
        .then(pl.lit("stream_request"))
        .otherwise(pl.lit("twin"))
    )
    return members.select("row", because=because, keeper=first["row"]).filter(pl.col("row") != pl.col("keeper"))


def _resolved(left_out: pl.DataFrame) -> pl.DataFrame:
    """`row`, `keeper`: chains of rows that stand for each other followed to their end."""
    ends = left_out.select("row", "keeper")
    for _ in range(_CHAIN):
        further = ends.join(ends, left_on="keeper", right_on="row", how="left", suffix="_next", maintain_order="left")
        if further["keeper_next"].null_count() == len(further):
            break
        ends = further.select("row", keeper=pl.coalesce("keeper_next", "keeper"))
    return ends


def _ran_inside() -> pl.Expr:
    """A tool ran before the call ended, which then ended in an answer: it went on with another request."""
    return (pl.col("tool_start") < pl.col("end")) & ~pl.col("asks_tool").fill_null(False)


def _lines(calls: pl.DataFrame, left_out: pl.DataFrame, tools: pl.DataFrame, resent: pl.DataFrame) -> pl.DataFrame:
    ends = left_out.select("row", "because").join(_resolved(left_out), on="row", how="left", maintain_order="left")
    stays = _without(calls, left_out)
    apart = stays.filter("aside").select("row", because=pl.lit("aside"), keeper=_NO_ROW)
    with_tools = stays.join(tools, on="at", how="inner").filter(_ran_inside())
    doubtful = with_tools.select("row").unique().with_columns(doubt=pl.lit("tools_inside_call"))
    lines = pl.concat([ends, apart]).join(doubtful, on="row", how="full", coalesce=True)
    lines = lines.join(_resent(calls, ends, resent), on="row", how="full", coalesce=True)
    own = calls.select("row", id="key", start_ns="start_ns")
    keepers = own.rename({"row": "keeper", "id": "keeper_id", "start_ns": "keeper_start_ns"})
    told = lines.join(own, on="row", how="left").join(keepers, on="keeper", how="left")
    return told.select("id", "start_ns", "because", "doubt", *transport.FACTS, "keeper_id", "keeper_start_ns").rename(
        {"keeper_id": "keeper"}
    )


def _resent(calls: pl.DataFrame, ends: pl.DataFrame, resent: pl.DataFrame) -> pl.DataFrame:
    """What is known of a call's attempts, on the row that stands for it."""
    own = resent.join(calls.select("at", "row"), on="at", how="inner").select("row", *transport.FACTS)
    moved = own.join(ends.select("row", "keeper"), on="row", how="left")
    moved = moved.with_columns(row=pl.coalesce("keeper", "row")).drop("keeper").sort("attempts", descending=True)
    return moved.unique("row", keep="first", maintain_order=True)
