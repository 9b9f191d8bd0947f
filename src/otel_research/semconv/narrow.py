"""The narrow columns that decide which rows repeat another: what is above what, and what tells one call from another."""

from __future__ import annotations

import polars as pl

from otel_research.semconv import nesting
from otel_research.semconv.dialect import HTTP, by_word

_VENDOR = r"^(?:[a-z]{2,6}\.)?(?:anthropic|amazon|meta|mistral|cohere|openai|google|deepseek)\."
_FOREVER = 2**61
EVALUATORS = r"(?i)(?:^|[._-])(ragas|autoevals|openevals|phoenix[._]evals|continuous_eval|uptrain)(?:$|[._-])"
"""Scopes of packages that only judge; those that also trace the system say which span judges (`semconv` roles)."""
_PARTS = {"agent": nesting.AGENT, "tool": nesting.TOOL}
CALL = 3
"""What a row is in a tree of calls; everything else is 0."""
_FAMILIES = {"embeddings": 1, "rerank": 2}
ADDS_UP = "org.springframework"
"""Beginning of a scope that in some versions adds the requests before a tool call to the one after it."""
ONE_REQUEST = "gcp.vertex.agent"
"""A scope whose calls are one request each, though the tools that it asks for run below it (ADK)."""
CALL_BELOW = ("ai", "strands-agents")
"""Scopes whose agents and chains have a call below, unless its stream was left, broken or aborted (AI SDK, Strands)."""
PLATFORMS = ("braintrust", "laminar", "langfuse", "langsmith", "mlflow", "openlit")
"""Dialects whose packages write what several instrumentations see under one scope: an outer row's numbers may be another's."""
BUCKETS = 256
"""Traces are dealt into so many: whatever is above or below a row is in the row's own."""
_NUMBER = pl.UInt8()


def identity(span: str) -> pl.Expr:
    """Experiment, trace and span as one number."""
    return _trace() ^ pl.col(span).hash(3)


def _trace() -> pl.Expr:
    return pl.col("experiment_id").hash(1) ^ pl.col("trace_id").hash(2)


def bucket() -> pl.Expr:
    """The number of the bucket that the row's trace is in."""
    return (_trace() % BUCKETS).cast(pl.UInt8).alias("bucket")


def place() -> list[pl.Expr]:
    """Which row it is that something is told of."""
    return [bucket(), pl.col("id").alias("key"), pl.col("start_ns")]


def counts() -> pl.Expr:
    """A call, or a measurement that names a model and took time."""
    measured = (
        (pl.col("role") == "record") & pl.col("request_model").is_not_null() & pl.col("duration_ms").is_not_null()
    )
    return ((pl.col("role") == "call") | measured).fill_null(False)


def is_request() -> pl.Expr:
    """Rows of an HTTP client that know nothing of models."""
    return ((pl.col("role") == HTTP) & pl.col("dialect").is_null()).fill_null(False)


def links() -> list[pl.Expr]:
    """What is above what, and which rows have further facts: needed of every row."""
    part = _number("role", _PARTS)
    apart = (pl.col("role") == "evaluator").fill_null(False) | pl.col("aside").is_not_null() | _evaluates()
    return [
        *place(),
        pl.when(pl.col("parent_span_id").is_not_null()).then(identity("parent_span_id")).alias("parent_key"),
        pl.when(counts()).then(pl.lit(CALL, dtype=_NUMBER)).otherwise(part).alias("part"),
        apart.alias("is_aside"),
        is_request().alias("is_request"),
        _stands_for_calls().alias("is_rollup"),
    ]


def _stands_for_calls() -> pl.Expr:
    """Agents and chains with token sums, or with a model, of packages that write a call below each."""
    is_above = pl.col("role").is_in(["agent", "chain"])
    sums = pl.col("rollup_input_tokens").is_not_null() | pl.col("rollup_output_tokens").is_not_null()
    has_call = is_above & pl.col("request_model").is_not_null() & pl.col("error_type").is_null()
    promised = pl.col("scope").is_in(CALL_BELOW) & has_call
    return (((is_above | pl.col("role").is_null()) & sums) | promised).fill_null(False)


def facts() -> list[pl.Expr]:
    """What tells one call from another: needed of calls only."""
    is_log = _has_flag("stream_log")
    length = (pl.col("duration_ms").fill_null(0) * 1e6).cast(pl.Int64)
    return [
        *place(),
        (pl.col("start_ns") - pl.when(is_log).then(length).otherwise(0)).alias("start"),
        pl.col("end_ns").fill_null(_FOREVER).alias("end"),
        # Never ended, or ended when the stream was opened: the span's end is not the request's.
        (pl.col("end_ns").is_null() | _has_flag("ended_early")).alias("is_open"),
        _has_flag("stream_without_usage").alias("is_silent_stream"),
        _has_flag("tools_inside_call").alias("holds_tools"),
        is_log.alias("is_log"),
        (pl.col("kind") == "server").fill_null(False).alias("serves"),
        (pl.col("kind") == "internal").fill_null(False).alias("is_internal"),
        (pl.col("role") == "record").alias("is_record"),
        pl.col("input_tokens").alias("input"),
        pl.col("output_tokens").alias("output"),
        pl.sum_horizontal("cache_read_tokens", "cache_write_tokens").alias("cached"),
        pl.col("error_type").is_not_null().alias("failed"),
        ((pl.col("finish_reason") == "tool_call") | (pl.col("scope") == ONE_REQUEST))
        .fill_null(False)
        .alias("asks_tool"),
        pl.col("scope").str.starts_with(ADDS_UP).fill_null(False).alias("adds_up"),
        _number("operation", _FAMILIES).alias("family"),
        # Spans without a scope (some exports have none) are told apart by how they were written.
        pl.when(pl.col("scope").is_not_null())
        .then(pl.col("scope").hash(4))
        .otherwise(pl.col("dialect").hash(8) ^ pl.col("name").hash(9))
        .alias("scope"),
        pl.col("scope").fill_null("").hash(4).alias("package"),
        (pl.col("scope").fill_null("") != "").alias("is_scoped"),
        ((pl.col("scope").fill_null("") != "") & ~pl.col("dialect").is_in(PLATFORMS))
        .fill_null(True)
        .alias("writes_alone"),
        pl.col("experiment_id").hash(1).alias("owner"),
        pl.when(pl.col("trial_id").is_not_null()).then(pl.col("trial_id").hash(7)).alias("trial"),
        pl.when(pl.col("response_id").is_not_null()).then(pl.col("response_id").hash(5)).alias("response"),
        _tail("request_model").cast(pl.Categorical).alias("model"),
        _tail("response_model").cast(pl.Categorical).alias("answered"),
    ]


def _has_flag(name: str) -> pl.Expr:
    return pl.col("flags").str.contains(name, literal=True).fill_null(False)


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
