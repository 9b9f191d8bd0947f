"""The columns of a span, each with its type and its meaning: the contract between all rooms.

Three groups, by who fills them and when:

- RAW: as captured. A store keeps them unchanged; nothing is ever derived into them.
- CANONICAL: derived from one row alone by `semconv.normalise`, in the vocabulary of
  OpenTelemetry GenAI. Stored beside the raw ones and recomputable from them at any time.
- DERIVED: need other rows (`semconv.calls.mark`) or a price table (`pricing.price`);
  computed when a frame is read.

`exp.spans()` returns the three groups in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import polars as pl

Type = Literal["text", "int", "float", "bool"]


class Column(NamedTuple):
    """One column: name, logical type and what it means."""

    name: str
    type: Type
    doc: str


RAW: tuple[Column, ...] = (
    Column("experiment_id", "text", "the experiment's id, hex text"),
    Column("condition", "text", "the arm the span was recorded in; null outside any"),
    Column("trial_id", "text", "span id of the enclosing trial span (the trial span carries its own)"),
    Column("item_id", "text", "the item (question, document) that the trial is about"),
    Column("repetition", "int", "0-based repetition of the item within its condition"),
    Column("session_id", "text", "session declared by `exp.session`; else null (see CANONICAL session)"),
    Column("factors", "text", "JSON object of factor levels; null where there are none"),
    Column(
        "experiment_source",
        "text",
        '"context" | "thread" | "parent" | "baggage" | "process" | "environment" | "attributes"',
    ),
    Column("aside", "text", "name of the `aside` block (evaluation calls); null in the system proper"),
    Column("sample_weight", "float", "1/keep probability; null where a yes/no strategy hides it"),
    Column("trace_id", "text", "32 hex digits"),
    Column("span_id", "text", "16 hex digits"),
    Column("parent_span_id", "text", "16 hex digits; null for a root span"),
    Column("name", "text", "the span's name"),
    Column("kind", "text", '"internal" | "server" | "client" | "producer" | "consumer"'),
    Column("start_ns", "int", "start, nanoseconds since the Unix epoch, as the instrumentation reported it"),
    Column("end_ns", "int", "end, the same clock; null for an interrupted span"),
    Column("mono_start_ns", "int", "monotonic clock at `on_start`; null for imported spans"),
    Column("mono_end_ns", "int", "monotonic clock at `on_end`; null for imported or interrupted spans"),
    Column("last_seen_ns", "int", "interrupted spans only: the last journal activity of the process they died with"),
    Column("status", "text", '"ok" | "error" | "unset" | "interrupted"'),
    Column("status_message", "text", "the status description; null where there is none"),
    Column("scope", "text", "instrumentation scope: the package that made the span"),
    Column("scope_version", "text", "version of that package"),
    Column("resource", "text", "JSON object of the resource's attributes"),
    Column("is_sampled", "bool", "the W3C sampled flag: was the span also forwarded by the host's sampling decision"),
    Column("attributes", "text", "JSON object, as emitted; values JSON cannot hold are tagged (see spans.values)"),
    Column("events", "text", "JSON array of {name, time_ns, attributes}"),
    Column("links", "text", "JSON array of {trace_id, span_id, attributes}"),
    Column("dropped_attributes", "int", "attributes the SDK evicted before we saw the span"),
    Column("dropped_events", "int", "events the SDK evicted"),
    Column("dropped_links", "int", "links the SDK evicted"),
)

CANONICAL: tuple[Column, ...] = (
    Column("duration_ms", "float", "(end_ns - start_ns) / 1e6; null where interrupted, negative or a point in time"),
    Column(
        "role",
        "text",
        '"call" | "agent" | "chain" | "tool" | "retrieval" | "evaluator" | "http" | "trial" | "record" | "score"; null: none of these',
    ),
    Column("dialect", "text", "the vocabulary that explained the row; null where none did"),
    Column("operation", "text", "chat | text_completion | embeddings | rerank | invoke_agent | execute_tool | ..."),
    Column("provider", "text", "gen_ai.provider.name, normalised"),
    Column("request_model", "text", "the model that was asked for"),
    Column("response_model", "text", "the model that answered"),
    Column(
        "service_tier", "text", "batch | flex | priority | ... as the provider says; null = unknown or the ordinary one"
    ),
    Column("input_tokens", "int", "billable input, cached tokens included; null = unknown"),
    Column("output_tokens", "int", "billable output, reasoning included; null = unknown"),
    Column("cache_read_tokens", "int", "part of input_tokens read from a cache"),
    Column("cache_write_tokens", "int", "part of input_tokens written to a cache"),
    Column(
        "cache_write_1h_tokens", "int", "part of cache_write_tokens kept for an hour, which costs more; null = unknown"
    ),
    Column("reasoning_tokens", "int", "part of output_tokens spent on reasoning"),
    Column("audio_input_tokens", "int", "part of input_tokens that is audio"),
    Column("audio_output_tokens", "int", "part of output_tokens that is audio"),
    Column("image_input_tokens", "int", "part of input_tokens that is images"),
    Column("image_output_tokens", "int", "part of output_tokens that is images"),
    Column("reported_cost_usd", "float", "cost as the instrumentation reported it"),
    Column("ttft_ms", "float", "time to the first token or chunk"),
    Column("streaming", "bool", "null = unknown"),
    Column("finish_reason", "text", "stop | length | tool_call | content_filter | ... (first choice)"),
    Column("response_id", "text", "the provider's id of the response"),
    Column("temperature", "float", "requested sampling temperature"),
    Column("request_seed", "int", "requested seed"),
    Column("tool_name", "text", "the tool that ran"),
    Column("agent_name", "text", "the agent"),
    Column("conversation_id", "text", "gen_ai.conversation.id or a dialect's session"),
    Column("user_id", "text", "end user, as the instrumentation names it"),
    Column("error_type", "text", "the original error: class, code or provider's word; null = no failure seen"),
    Column(
        "error_kind",
        "text",
        "timeout | rate_limit | api_error | invalid_request | content_filter | tool_error | cancelled | interrupted | other",
    ),
    Column(
        "attempts", "int", "requests sent for this call, from what the client or its HTTP requests say; null = unknown"
    ),
    Column(
        "rollup_input_tokens", "int", "input tokens that an agent, chain or workflow row repeats; never part of a sum"
    ),
    Column(
        "rollup_output_tokens", "int", "output tokens that an agent, chain or workflow row repeats; never part of a sum"
    ),
    Column("score_name", "text", "evaluation name on a score row"),
    Column("score_value", "float", "evaluation value on a score row"),
    Column("score_label", "text", "evaluation label on a score row"),
    Column(
        "evaluations",
        "text",
        "results that events, judges and annotations left on this row: JSON array of {name, value, label, explanation, source}",
    ),
    Column("flags", "text", "comma-separated data-quality flags of this row; null = none"),
)

DERIVED: tuple[Column, ...] = (
    Column("is_call", "bool", "this row is the one that counts for its request to a model"),
    Column("excluded_because", "text", "why a row that looks like a call does not count; null otherwise"),
    Column(
        "backoff_ms",
        "float",
        "time of the call between attempts; duration_ms - backoff_ms is work; null = one attempt or unknown",
    ),
    Column("cost_usd", "float", "cost of the call in US dollars; null = unpriced"),
    Column("cost_nano_usd", "int", "the same in nano-dollars, exact under summation"),
    Column("cost_source", "text", '"reported" | "computed"; null = unpriced'),
)

STORED = RAW + CANONICAL
ALL = RAW + CANONICAL + DERIVED

IDENTITY = ("experiment_id", "trace_id", "span_id", "start_ns")
"""Two rows equal in these are one span: an ended one replaces an interrupted one, else the first wins."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """The columns' names, in order."""
    return [column.name for column in columns]


def polars_schema(columns: tuple[Column, ...] = ALL) -> pl.Schema:
    """The columns as a Polars schema."""
    import polars as pl

    types = {"text": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
    return pl.Schema({column.name: types[column.type]() for column in columns})
