"""Data-quality flags of a row: every change, contradiction and known loss has a name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache

import polars as pl

from otel_research.semconv import times
from otel_research.semconv.dialect import NOTHING, by_word
from otel_research.semconv.kinds import Batch

MEANING = {
    "stream_log": "a row logged at the end of a stream; `calls` joins it with the request's row",
    "total_mismatch": "the reported total is not input + output",
    "exclusive_input_fixed": "the input left out the cache; it was added",
    "exclusive_input_assumed": "Anthropic's or Bedrock's tokens with a cache, from a stream of the AI SDK 5 or the first of 6: read as 5 writes them",
    "exclusive_output_fixed": "the output left out the reasoning; it was added (Google: what the total has more, where tools' results may be in)",
    "input_output_exchanged": "the package wrote the input as the output and the output as the input; they were exchanged back",
    "input_without_cache": "Anthropic's or Bedrock's input from a package that may leave the cache out and does not tell it",
    "output_without_reasoning": "Google's output from a package that leaves the thoughts out and does not tell them",
    "inclusive_input_assumed": "Anthropic or Bedrock tokens with a cache, from an unknown package: read as the convention says",
    "bucketed_usage": "disjoint buckets were added up (Langfuse)",
    "zero_means_unknown": "zeros were written where nothing was reported",
    "stream_without_usage": "a streamed call reported no tokens",
    "ended_early": "the span ended before its stream's first token: how long the call took is unknown",
    "usage_incomplete": "a chat that succeeded reported input or output tokens, not both",
    "implausible_tokens": "a count was negative, broken or larger than any request; it was not believed",
    "usage_missing": "a call that succeeded reported no tokens",
    "estimated_tokens": "the package estimates tokens where the provider reports none",
    "possible_partial_usage": "a failed call carries counts, which may be of the part before it broke",
    "possible_output_plus_one": "the package is known to add to a stream's output what it began with, one token or a few",
    "response_id_invented": "a failed call's response id was the package's own; it was dropped",
    "cost_zero_means_unknown": "a reported cost of 0 beside tokens was not believed",
    "provider_assumed": "the provider is told from the model's, the package's or the route's name",
    "request_model_unknown": "nothing names the model that was asked for",
    "request_model_from_response": "the model asked for is the answering one: the package writes no other",
    "model_prefix_lost": "a Bedrock model id without its vendor",
    "response_model_unconfirmed": "the answering model is the requested name word for word; packages copy it",
    "tools_inside_call": "tools ran inside: the row stands for several requests, perhaps with the last one's usage",
    "calls_written_over": "LangChain's calls wrote over the span of the function around them: it may stand for several of them",
    "cumulative_usage": "a request after a tool call, from a package some versions of which add the requests before to it (Spring AI)",
    "calls_nested": "another call of the same package, with other usage, ran inside: both count",
    "usage_without_calls": "an agent or chain has token sums, or asked a model, and in its trace no span of a call stands below it: nothing is counted",
    "unread_token_counts": "token counts under names that no vocabulary has: the row is not counted",
    "malformed_attributes": "the attributes were not a JSON object",
    "attributes_dropped": "the SDK evicted attributes",
    "error_without_status": "the failure is only in an event or attribute; the status does not say error",
    "usage_disputed": "another row of the same request has other counts; the row that stands nearest to the request was believed",
    "usage_from_twin": "the counts are from a row that was left out for this one",
    "failure_from_twin": "only a row that was left out for this one says that it failed",
    "filled_from_twin": "other facts are from a row that was left out for this one",
}
"""Every flag and what it says; rows carry them in this order."""

ESTIMATES = ("openlit.", "@openlit/", "langtrace_python_sdk.", "@langtrase/")
"""Scopes that estimate tokens of streams."""
BY_LITELLM = "opentelemetry.instrumentation.genai.dspy"
"""A scope whose streams through LiteLLM have LiteLLM's estimate; they do not say that they are streams."""
ON_BEDROCK = (
    "opentelemetry.instrumentation.botocore",
    "@opentelemetry/instrumentation-aws-sdk",
    "io.opentelemetry.aws-sdk",
)
"""Scopes that estimate where Bedrock's InvokeModel reports nothing: they divide the text's length (0.66b2)."""
PLUS_ONE = ("opentelemetry.instrumentation.anthropic", "@openlit/instrumentation-anthropic")
"""Scopes that add message_start's output count to the final one (Traceloop 0.62.4)."""
_RAISED = "_flag "
_OPTIONAL = {"@malformed", "@logfire.span_type"}
"""Columns that a batch may lack."""
_DATED = r"(-20\d\d-?\d\d-?\d\d)$"


def _bedrock(model: pl.Expr) -> pl.Expr:
    return model.str.extract(r"^(arn:|(?:[a-z-]{2,12}\.)?[a-z0-9]+\.)")


def add(batch: Batch) -> None:
    """Adds `flags`: the names, comma-separated, in the order above; null where there is none."""
    causes, raising = _steps(frozenset(_OPTIONAL & set(batch.columns)))
    batch.add(causes)
    batch.add(raising)
    raised = [name for name in MEANING if _RAISED + name in batch.columns and batch.has_any(_RAISED + name)]
    named = [pl.when(_RAISED + name).then(pl.lit(name)) for name in raised]
    listed = pl.concat_str(named, separator=",", ignore_nulls=True) if named else NOTHING
    batch.add([listed.replace("", None).alias("flags")])


@cache
def _steps(there: frozenset[str]) -> tuple[tuple[pl.Expr, ...], ...]:
    raising = (condition.fill_null(False).alias(_RAISED + name) for name, condition in _conditions(there).items())
    return tuple(_causes()), tuple(raising)


def _causes() -> Iterator[pl.Expr]:
    """What several conditions need."""
    yield (pl.col("role") == "call").alias("_is_call")
    yield (_from(ON_BEDROCK) & _estimated_vendor() & ~pl.col("_converses")).fill_null(False).alias("_is_estimated")
    yield pl.col("error_type").is_not_null().alias("_failed")
    # A request for a dated snapshot is rare; a package that writes the answering model for both is not.
    dated = by_word(pl.col("request_model"), lambda model: model.str.extract(_DATED)).is_not_null()
    copies = by_word(pl.col("scope"), lambda scope: scope.str.extract("(agents|mlflow)")).is_not_null()
    yield (dated & copies & (pl.col("request_model") == pl.col("response_model"))).alias("_is_dated")


def _conditions(there: Collection[str]) -> dict[str, pl.Expr]:
    call, failed, dated = pl.col("_is_call"), pl.col("_failed"), pl.col("_is_dated")
    silent_call = call & pl.col("input_tokens").is_null() & pl.col("output_tokens").is_null() & ~failed
    streamed = pl.col("streaming").fill_null(False)
    sum_ = pl.col("input_tokens") + pl.col("output_tokens").fill_null(0)
    fresh = sum_ - pl.sum_horizontal("cache_read_tokens", "cache_write_tokens")
    by_anthropic = (pl.col("dialect") == "traceloop") & (pl.col("name") == "anthropic.chat")
    malformed = pl.col("@malformed") if "@malformed" in there else pl.lit(False)
    is_log = pl.col("@logfire.span_type") == "log" if "@logfire.span_type" in there else pl.lit(False)
    return {
        "stream_log": call & is_log,
        "total_mismatch": call
        & (pl.col("total_tokens") != sum_)
        & ~(pl.col("was_exclusive") & (pl.col("total_tokens") == fresh)),
        "exclusive_input_fixed": call & pl.col("was_exclusive") & ~pl.col("was_bucketed"),
        "exclusive_input_assumed": call
        & (pl.col("was_exclusive") & pl.col("_is_any_version") & pl.col("fresh_input_tokens").is_null()),
        "exclusive_output_fixed": call & pl.col("was_short"),
        "input_output_exchanged": call & pl.col("was_exchanged"),
        "input_without_cache": call & pl.col("may_lack_cache"),
        "output_without_reasoning": call & pl.col("may_lack_thoughts"),
        "inclusive_input_assumed": call & pl.col("is_assumed"),
        "bucketed_usage": call & pl.col("was_bucketed"),
        "zero_means_unknown": call & pl.col("is_silent"),
        "stream_without_usage": silent_call & streamed,
        "ended_early": call & times.ended_early(),
        "usage_incomplete": call
        & ~failed
        & ~silent_call
        & (pl.col("operation") != "embeddings")
        & (pl.col("operation") != "rerank")
        & pl.any_horizontal(pl.col("input_tokens", "output_tokens").is_null()),
        "implausible_tokens": call & pl.col("is_implausible"),
        "usage_missing": silent_call & ~streamed,
        "estimated_tokens": call
        & pl.max_horizontal("input_tokens", "output_tokens").is_not_null()
        & ((streamed & _from(ESTIMATES)) | _rebuilt_by_litellm() | pl.col("_is_estimated") | pl.col("_estimates")),
        "possible_partial_usage": call & failed & pl.max_horizontal("input_tokens", "output_tokens").is_not_null(),
        "possible_output_plus_one": call
        & ((streamed & (_from(PLUS_ONE) | by_anthropic)) | (pl.col("_adds_beginning") & _perhaps_streamed()))
        & pl.col("output_tokens").is_not_null(),
        "response_id_invented": call & pl.col("was_invented"),
        "cost_zero_means_unknown": call & pl.col("was_free"),
        "provider_assumed": call & pl.col("is_provider_assumed") & pl.col("provider").is_not_null(),
        "request_model_unknown": call & pl.col("request_model").is_null(),
        "request_model_from_response": call
        & pl.col("request_model").is_not_null()
        & (pl.col("is_model_borrowed") | dated),
        "model_prefix_lost": call
        & (pl.col("provider") == "aws.bedrock")
        & by_word(pl.col("request_model"), _bedrock).is_null(),
        "response_model_unconfirmed": call & ~failed & ~dated & (pl.col("request_model") == pl.col("response_model")),
        "tools_inside_call": call
        & pl.col("inner_tool").is_not_null()
        & pl.col("finish_reason").ne_missing("tool_call"),
        "calls_written_over": call & pl.col("_written_over"),
        "unread_token_counts": pl.col("is_unread"),
        "malformed_attributes": malformed,
        "attributes_dropped": pl.col("dropped_attributes") > 0,
        "error_without_status": call & failed & pl.col("status").is_in(["ok", "unset"]),
    }


def _perhaps_streamed() -> pl.Expr:
    """LangChain's calls in JavaScript: Langfuse tells a first token, OpenLLMetry no id, OpenInference nothing of a stream."""
    scope = pl.col("scope")
    by_package = (
        pl.when(scope.str.starts_with("langfuse"))
        .then(pl.col("first_token_at").is_not_null())
        .when(scope.str.starts_with("@traceloop/"))
        .then(pl.col("response_id").is_null())
        .otherwise(True)
    )
    return pl.col("streaming").fill_null(True) & by_package.fill_null(True)


def _rebuilt_by_litellm() -> pl.Expr:
    """What DSPy got from LiteLLM's chunks has the requested model for the answering one, and an id, which DSPy's own streams lack."""
    copied = (pl.col("request_model") == pl.col("response_model")) & pl.col("response_id").is_not_null()
    return (pl.col("scope") == BY_LITELLM) & copied


def _estimated_vendor() -> pl.Expr:
    """Of these vendors' models Bedrock's InvokeModel reports no usage."""
    return by_word(pl.col("request_model"), lambda model: model.str.extract(r"(mistral\.|cohere\.)")).is_not_null()


def _from(scopes: tuple[str, ...]) -> pl.Expr:
    return pl.any_horizontal(pl.col("scope").str.starts_with(scope) for scope in scopes)
