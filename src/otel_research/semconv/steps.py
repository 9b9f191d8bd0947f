"""The expressions of a batch, step by step; each step reads the columns that the steps before it made.

What several expressions need is a column of its own (`_...`, not in the result): Polars would work a `by_word`
out again wherever it occurs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from otel_research.semconv import dialects, failures, habits, providers, times, tokens, vocabulary
from otel_research.semconv.dialect import CALL, HTTP, PREFIX, Attributes, by_word

TEXTS = (
    "operation", "request_model", "response_model", "finish_reason", "response_id", "tool_name", "agent_name",
    "conversation_id", "user_id", "error_type", "error_message", "error_level", "score_name", "score_label",
    "first_token_at", "ttft_typed", "record_model", "record_provider", "record_operation", "outcome",
    "failure_reason", "row", "inner_tool", "service_tier",
)  # fmt: skip
TRUTHS = ("streaming", "success")
_TRANSPORT = ("http.request.method", "http.method")
INVENTS_IDS = ("litellm",)
"""Scopes that give a failed call a response id of their own making."""
_INSTRUMENTED = r"(?i)(openlit|instrumentation|gen_?ai)"
_NAMED_CALL = r"^(chat|embeddings?|generate_content|text_completion|rerank) (\S+)$"

Steps = tuple[tuple[pl.Expr, ...], ...]


@lru_cache(maxsize=256)
def for_keys(present: frozenset[str], is_troubled: bool) -> Steps:
    """The steps for a batch that has these attribute keys, and perhaps failures."""
    attributes = Attributes(present)
    told = {name for name in dialects.NUMBERS if attributes.has(*dialects.keys_of(name))}
    if "cache_write_5m_tokens" in told:
        told |= {"cache_write_tokens"}
    return (
        tuple(_named()),
        (_dialect(attributes), _role(attributes), _said_operation(attributes)),
        (*_fields(attributes), *_models(attributes)),
        tuple(_words()),
        tuple(_provider()),
        tuple(habits.righted(attributes, told)),
        (tokens.silent().alias("is_silent"), *tokens.whole(told), *habits.packages(attributes)),
        (tokens.implausible(told).alias("is_implausible"), *tokens.counts(told)),
        (
            tokens.exclusive_input().alias("was_exclusive"),
            _in_buckets(attributes).alias("was_bucketed"),
            (tokens.output_from_total() | tokens.exclusive_output()).alias("was_short"),
        ),
        (
            tokens.assumed_inclusive().alias("is_assumed"),
            tokens.without_cache().alias("may_lack_cache"),
            tokens.without_thoughts().alias("may_lack_thoughts"),
        ),
        tuple(tokens.billable()),
        tuple(failures.ending() if is_troubled else failures.none()),
        tuple(times.spent(attributes)),
        (times.first_token(),),
        tuple(_by_role("reported_cost_usd" in told)),
    )


def _named() -> Iterable[pl.Expr]:
    """What the span's name and scope tell."""
    name = pl.col("name")
    yield by_word(name, lambda name: vocabulary.operation(name.str.extract(_NAMED_CALL, 1))).alias("_named_operation")
    yield by_word(name, lambda name: name.str.extract(_NAMED_CALL, 2)).alias("_named_model")
    yield providers.routes().alias("_routes")


def _dialect(attributes: Attributes) -> pl.Expr:
    """The name of the first dialect with evidence."""
    named = []
    for dialect in dialects.DIALECTS:
        keys = [pl.col(PREFIX + key).is_not_null() for key in dialect.evidence if attributes.has(key)]
        by_scope = [pl.col("scope").str.starts_with(scope) for scope in dialect.scopes]
        if keys or by_scope:
            named.append(pl.when(pl.any_horizontal(*keys, *by_scope)).then(pl.lit(dialect.name)))
    return pl.coalesce(named).alias("dialect")


def _role(attributes: Attributes) -> pl.Expr:
    """The first dialect's word on the part this span plays; else what its name or its transport says."""
    rules = [dialect.role(attributes) for dialect in dialects.DIALECTS if dialect.role]
    instrumented = by_word(pl.col("scope"), lambda scope: scope.str.extract(_INSTRUMENTED))
    # A span of an unknown package that bears nothing but the convention's name, for a model that somebody makes.
    for_model = by_word(pl.col("_named_model"), providers.owner).is_not_null()
    is_call = instrumented.is_not_null() | ((pl.col("kind") == "client") & for_model)
    by_name = pl.when(pl.col("_named_operation").is_not_null() & is_call).then(pl.lit(CALL))
    transport = pl.when(attributes.text(*_TRANSPORT).is_not_null()).then(pl.lit(HTTP))
    return pl.coalesce(*rules, by_name, transport).alias("role")


def _fields(attributes: Attributes) -> Iterable[pl.Expr]:
    """Each field's first value, whoever wrote it."""
    for name in TEXTS:
        yield attributes.text(*dialects.keys_of(name)).alias(name)
    for name in dialects.NUMBERS:
        yield attributes.number(*dialects.keys_of(name)).alias(name)
    for name in TRUTHS:
        yield attributes.truth(*dialects.keys_of(name)).alias(name)
    yield providers.said(attributes, dialects.keys_of("provider")).alias("provider")
    yield providers.by_host(attributes).alias("_by_host")


def _said_operation(attributes: Attributes) -> pl.Expr:
    """The kind of call in the convention's words, where the span says it."""
    rules = [dialect.operation(attributes) for dialect in dialects.DIALECTS if dialect.operation]
    said = by_word(attributes.text(*dialects.keys_of("operation")), vocabulary.operation)
    return pl.coalesce(said, *rules).alias("_said_operation")


def _models(attributes: Attributes) -> Iterable[pl.Expr]:
    """The model that was asked for and the one that answered, routes in front of them included."""
    response = vocabulary.given(attributes.text(*dialects.keys_of("response_model")))
    named = pl.when(pl.col("role") == CALL).then("_named_model")
    request = vocabulary.given(attributes.text(*dialects.keys_of("request_model")))
    yield response.alias("_response")
    yield pl.coalesce(request, named, response).alias("_request")
    yield (request.is_null() & named.is_null()).alias("is_model_borrowed")


def _words() -> Iterable[pl.Expr]:
    """Fields whose words differ between dialects, in one vocabulary."""
    is_call, is_record = pl.col("role") == CALL, pl.col("role") == "record"
    said = pl.col("_said_operation")
    embeds = by_word(pl.col("_request"), lambda model: model.str.to_lowercase().str.extract("(embed)")).is_not_null()
    call_operation = (
        pl.when(embeds & (said.is_null() | ~said.is_in(["embeddings", "rerank"])))
        .then(pl.lit("embeddings"))
        .otherwise(pl.coalesce(said, "_named_operation", pl.lit("chat")))
    )
    yield (
        pl.when(is_call)
        .then(call_operation)
        .when(is_record)
        .then(pl.col("record_operation"))
        .otherwise(pl.col("operation").str.to_lowercase())
        .alias("operation")
    )
    route = providers.without_route("_request")
    # OpenLIT's LangChain writes "anthropic" for a model.
    asked = pl.when((route != pl.col("provider")).fill_null(True)).then(route)
    yield pl.when(is_record).then(pl.col("record_model")).otherwise(asked).alias("request_model")
    yield providers.without_route("_response").alias("response_model")
    said_by = pl.coalesce(providers.known_host(), "provider")
    yield pl.when(is_record).then(providers.named(pl.col("record_provider"))).otherwise(said_by).alias("provider")
    yield by_word(pl.col("finish_reason"), vocabulary.finish).alias("finish_reason")
    yield by_word(pl.col("service_tier"), vocabulary.tier).alias("service_tier")
    for name in ("response_id", "tool_name", "agent_name", "conversation_id", "user_id"):
        yield vocabulary.given(pl.col(name)).alias(name)


def _provider() -> Iterable[pl.Expr]:
    is_assumed = (pl.col("role") == CALL) & pl.col("provider").is_null()
    yield pl.when(is_assumed).then(providers.assumed()).otherwise("provider").alias("provider")
    yield is_assumed.fill_null(False).alias("is_provider_assumed")


def _in_buckets(attributes: Attributes) -> pl.Expr:
    """Rows with Langfuse's own names for the parts of a call's usage, whose parts are disjoint."""

    def told(*parts: str) -> pl.Expr:
        return attributes.text(*(f"langfuse.observation.usage_details#{part}" for part in parts)).is_not_null()

    own = told("input_cache_read", "input_cache_creation", "output_reasoning")
    # Written by hand, a provider's name for the cache stands beside Langfuse's own `input`, and adds to the total.
    beside = told("input") & told("cache_read_input_tokens", "cache_creation_input_tokens")
    return tokens.in_buckets(own | (beside & ~told("input_tokens", "prompt_tokens")))


_MODEL_FACTS = (
    "provider", "request_model", "response_model", "finish_reason", "response_id", "temperature", "service_tier",
)  # fmt: skip


def _by_role(has_cost: bool) -> Iterable[pl.Expr]:
    """What a column may say depends on the role: usage counts on calls and measurements, elsewhere it is a rollup."""
    counted = pl.col("role").is_in([CALL, "record"])
    failed = pl.col("error_type").is_not_null()
    free = (
        (pl.col("reported_cost_usd") == 0) & (pl.sum_horizontal("input_tokens", "output_tokens") > 0)
        if has_cost
        else pl.lit(False)
    )
    invented = (
        failed
        & pl.col("response_id").is_not_null()
        & pl.any_horizontal(pl.col("scope").str.starts_with(scope) for scope in INVENTS_IDS)
    )
    understood = pl.col("dialect").is_not_null() | pl.col("role").is_not_null()
    for name in tokens.COUNTS:
        if name != "total_tokens":
            yield pl.when(counted).then(name).alias(name)
    for side in ("input_tokens", "output_tokens"):
        rolled = pl.when(~counted.fill_null(False) & understood).then(side)
        yield pl.coalesce(rolled, pl.col(f"rollup_{side}").cast(pl.Int64)).alias(f"rollup_{side}")
    yield free.alias("was_free")
    yield pl.when(counted & ~free.fill_null(False)).then("reported_cost_usd").alias("reported_cost_usd")
    yield invented.alias("was_invented")
    # A failed call without an answer has no answering model, only an echo of the one that was asked for.
    echo = failed & pl.col("response_id").is_null() & pl.max_horizontal("input_tokens", "output_tokens").is_null()
    for name in _MODEL_FACTS:
        gone = invented if name == "response_id" else echo if name == "response_model" else pl.lit(False)
        yield pl.when(understood & ~gone.fill_null(False)).then(name).alias(name)
