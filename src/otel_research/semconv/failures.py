"""What went wrong, in one vocabulary: the original word stays in `error_type`, its kind beside it.

Where a failure is written differs: `error.type`, a status, an exception event, a provider's word, an HTTP code.
An exception event alone also occurs on success (a cancelled reader, a closed generator), so those do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from otel_research.semconv.dialects import keys_of
from otel_research.semconv.vocabulary import given

BENIGN = r"(CancelledError|GeneratorExit|StopIteration|StopAsyncIteration)$"

_CODE_IN_TEXT = r"(?i)(?:code|status|http)\D{0,12}([45]\d\d)\b"
_CODE = r"^([45]\d\d)$"

KINDS: tuple[tuple[str, str], ...] = (
    ("interrupted", r"(?i)^interrupted$"),
    ("cancelled", r"(?i)cancel|GeneratorExit|KeyboardInterrupt"),
    ("timeout", r"(?i)time.?d? ?out|timeout|deadline"),
    ("rate_limit", r"(?i)rate.?limit|throttl|too.?many.?request|quota|resource.?exhausted"),
    ("content_filter", r"(?i)content.?filter|content.?policy|safety|guardrail|moderation|blocked"),
    ("tool_error", r"(?i)tool.?(call|execution|error|exception)|ToolException|ModelRetry"),
    (
        "invalid_request",
        r"(?i)bad.?request|invalid|not.?found|unprocessable|authenticat|permission|unauthor|forbidden|validation"
        r"|unsupported|context.?length",
    ),
    (
        "api_error",
        r"(?i)internal.?server|server.?error|api.?error|overload|unavailable|connect|bad.?gateway|remote.?protocol"
        r"|service.?error|incomplete.?read|peer.?closed",
    ),
)
"""Kind -> what betrays it, in the order of asking; the type is asked first, then the HTTP status, the message last."""


def by_words(text: pl.Expr) -> pl.Expr:
    """The kind that the text betrays; null where none."""
    rules = [pl.when(text.str.contains(pattern)).then(pl.lit(kind)) for kind, pattern in KINDS]
    return pl.coalesce(rules)


def by_status(code: pl.Expr) -> pl.Expr:
    """The kind that an HTTP status means."""
    return (
        pl.when(code == 429)
        .then(pl.lit("rate_limit"))
        .when(code.is_in([408.0, 504.0]))
        .then(pl.lit("timeout"))
        .when(code >= 500)
        .then(pl.lit("api_error"))
        .when(code >= 400)
        .then(pl.lit("invalid_request"))
    )


def kind(error: pl.Expr, status: pl.Expr, message: pl.Expr, role: pl.Expr) -> pl.Expr:
    """The kind of a failure; a failed tool without a clearer word is a tool error."""
    fallback = pl.when(role == "tool").then(pl.lit("tool_error")).otherwise(pl.lit("other"))
    code = pl.coalesce(status, number_in(error, _CODE), number_in(message, _CODE_IN_TEXT))
    return pl.when(error.is_not_null()).then(pl.coalesce(by_words(error), by_status(code), by_words(message), fallback))


def number_in(text: pl.Expr, pattern: str) -> pl.Expr:
    """The HTTP status that the pattern finds in the text."""
    return text.str.extract(pattern).cast(pl.Float64, strict=False)


def class_in_front(message: pl.Expr) -> pl.Expr:
    """`RateLimitError` of "RateLimitError('Error code: 429 ...')" or of "openai.RateLimitError: ..."."""
    return message.str.extract(r"^\s*([A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit))\b")


STOPPED = "error"
"""The finish reason of an answer that did not come, or not to its end."""
STOPS = "@mastra/"
"""Beginning of scopes that write it and no status (others write it of good answers: OpenTelemetry's LangChain 1.3b0)."""
SDK_OF_AI = "ai"
"""A scope that adds an event to each failure: a status without one is another's, for all spans of the trace."""


def _answered() -> pl.Expr:
    ended = pl.col("finish_reason").is_not_null() & (pl.col("finish_reason") != STOPPED)
    silent = pl.col("exception_type").is_null() & pl.col("exception_message").is_null()
    return ((pl.col("scope") == SDK_OF_AI) & ended & pl.col("output_tokens").is_not_null() & silent).fill_null(False)


def _stopped() -> pl.Expr:
    counted = pl.max_horizontal("input_tokens", "output_tokens") > 0
    said = pl.col("scope").str.starts_with(STOPS) & (pl.col("finish_reason") == STOPPED)
    return said.fill_null(False) & ~counted.fill_null(False)


FIELDS = ("error_type", "error_level", "error_message", "http_status", "success", "outcome")
"""Fields that may tell of a failure, beside the status and the exception event."""


def may_have(frame: pl.DataFrame, has: Callable[..., bool]) -> bool:
    """Whether any row of the batch may have failed: most batches have none, and need not be asked further."""
    if has(*(key for field in FIELDS for key in keys_of(field))):
        return True
    if frame["scope"].str.starts_with(STOPS).any():
        return True
    raised = frame["exception_type"].null_count() + frame["exception_message"].null_count() < 2 * len(frame)
    return raised or bool(frame["status"].is_in(["error", "interrupted"]).any())


def none() -> Iterable[pl.Expr]:
    """The columns of `ending` for a batch without failures."""
    yield pl.lit(None, dtype=pl.String).alias("error_type")
    yield pl.lit(None, dtype=pl.String).alias("error_kind")
    yield (pl.col("resends") + 1).cast(pl.Int64).alias("attempts")


def ending() -> Iterable[pl.Expr]:
    """How the span ended: the original error, its kind, how many requests it took."""
    raised = pl.col("exception_type")
    texts = ("exception_message", "error_message", "status_message")
    level = pl.col("error_level").str.to_uppercase() == "ERROR"
    broken = ((pl.col("status") == "error") & ~_answered()) | level.fill_null(False)
    clear = pl.when(~raised.is_in(["Exception", "builtins.Exception"])).then(raised)
    code = pl.col("http_status").cast(pl.Int64).cast(pl.String)
    refused = pl.when(pl.col("http_status") >= 400).then(code)
    word = pl.coalesce(clear, *(class_in_front(pl.col(name)) for name in texts), raised, refused)
    said = pl.coalesce(given(pl.col("error_type")), pl.when(broken).then(pl.coalesce(word, pl.lit("error"))))
    is_benign = raised.str.contains(BENIGN).fill_null(False)
    only_event = pl.when((pl.col("role") == "call") & ~is_benign).then(word)
    unfinished = pl.when((pl.col("role") == "call") & _stopped()).then(pl.lit(STOPPED))
    gave_up = pl.when(pl.col("outcome") == "failed").then(pl.coalesce("failure_reason", pl.lit("failed")))
    error = (
        pl.when(pl.col("status") == "interrupted")
        .then(pl.lit("interrupted"))
        .when(pl.col("role") == "trial")
        .then(pl.coalesce(said, gave_up))
        .when(pl.col("role") == "record")
        .then(pl.coalesce(said, pl.when(~pl.col("success")).then(pl.lit("failure"))))
        .otherwise(pl.coalesce(said, only_event, unfinished))
    )
    yield error.alias("error_type")
    yield kind(error, pl.col("http_status"), pl.coalesce(texts), pl.col("role")).alias("error_kind")
    yield (pl.col("resends") + 1).cast(pl.Int64).alias("attempts")
