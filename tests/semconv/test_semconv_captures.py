"""Every capture against the provider's own numbers: exact, or flagged."""

from __future__ import annotations

from collections.abc import Iterable

import captures
import polars as pl
import pytest
from captures import COUNTS, Pair

CAPTURES = pytest.mark.parametrize("name", captures.names())
NO_CALLS = (
    "autogen_native__autogen.jsonl",
    "openinference__crewai.jsonl",
    "otel_genai__agno__default.jsonl",
    "otel_genai__llama_index__default.jsonl",
    "otel_genai__openai_agents__default.jsonl",
    "otel_genai__smolagents__default.jsonl",
    "traceloop__crewai.jsonl",
    "traceloop__llama_index.jsonl",
)
SILENT = {"usage_missing", "stream_without_usage"}
DOUBTFUL_COUNT = SILENT | {"possible_partial_usage", "tools_inside_call"}
DOUBTFUL_MODEL = {
    "request_model_from_response",
    "request_model_unknown",
    "model_prefix_lost",
    "usage_missing",
}
PROVIDERS = {"bedrock": "aws.bedrock", "google": "gcp.gemini", "mistral": "mistral_ai"}
KINDS = {
    None: None,
    "rate_limit": "rate_limit",
    "server_error": "api_error",
    "overloaded": "api_error",
    "connection": "api_error",
    "stream_aborted_by_server": "api_error",
    "invalid_request": "invalid_request",
    "not_found": "invalid_request",
    "timeout": "timeout",
}


def wrong(pairs: Iterable[Pair], ours: str, theirs: str) -> list[str]:
    return [
        f"{pair}: {ours} is {pair.row[ours]}, was {pair.call[theirs]}"
        for pair in pairs
        if (pair.row[ours] or 0) != (pair.call[theirs] or 0)
    ]


@CAPTURES
def test_every_row_survives_in_order(name: str) -> None:
    """Neither normalising nor marking adds, drops or moves a row, or touches a raw column."""
    raw = captures.raw(name)
    assert captures.marked(name).select(raw.columns).equals(raw)


@CAPTURES
def test_a_call_is_counted_once(name: str) -> None:
    """Every call that has a span has exactly one row that counts, and no other row counts."""
    counted = {row["span_id"] for call in captures.seen(name) for row in captures.rows_of(name, call)}
    if name in NO_CALLS:
        assert not captures.marked(name)["is_call"].any()
        return
    assert [call["case"] for call in captures.seen(name) if len(captures.rows_of(name, call)) != 1] == []
    assert set(captures.marked(name).filter("is_call")["span_id"]) == counted


@CAPTURES
def test_counts_are_exact_or_flagged(name: str) -> None:
    """Input and output tokens are the provider's; where a span lacks them the row says so."""
    sure = [pair for pair in captures.pairs(name) if not pair.flags & DOUBTFUL_COUNT]
    for ours in ("input_tokens", "output_tokens"):
        assert wrong(sure, ours, COUNTS[ours]) == []


@CAPTURES
def test_details_are_exact_or_unknown(name: str) -> None:
    """Cached and reasoning tokens are the provider's or null; null is counted in a finding, never a zero."""
    codes = {finding.code for finding in captures.found(name)}
    for ours, code in (
        ("cache_read_tokens", "cached_tokens_unknown"),
        ("cache_write_tokens", "cached_tokens_unknown"),
        ("reasoning_tokens", "reasoning_tokens_unknown"),
    ):
        known = [pair for pair in captures.pairs(name) if pair.row[ours] is not None]
        assert wrong(known, ours, COUNTS[ours]) == []
        lost = [pair for pair in captures.pairs(name) if pair.row[ours] is None and pair.call[COUNTS[ours]]]
        assert not lost or code in codes or all(pair.flags & SILENT for pair in lost)


@CAPTURES
def test_unknown_is_never_zero(name: str) -> None:
    """A call whose provider reported no usage has null tokens, not 0."""
    silent = [
        pair for pair in captures.pairs(name) if not pair.call["usage_reported"] and not pair.flags & DOUBTFUL_COUNT
    ]
    assert [str(pair) for pair in silent if pair.row["input_tokens"] is not None] == []


@CAPTURES
def test_models_are_exact_or_flagged(name: str) -> None:
    """The requested model is the provider's, or a flag says why it cannot be; so is the answering one."""
    pairs = captures.pairs(name)
    asked = [pair for pair in pairs if pair.row["request_model"] != pair.call["request_model"]]
    assert [str(pair) for pair in asked if not pair.flags & DOUBTFUL_MODEL] == []
    answered = [
        pair
        for pair in pairs
        if pair.row["response_model"] not in (None, pair.call["response_model"]) and not pair.call["error"]
    ]
    doubts = {*DOUBTFUL_MODEL, "response_model_unconfirmed"}
    assert [str(pair) for pair in answered if not pair.flags & doubts] == []


@CAPTURES
def test_operations_are_exact(name: str) -> None:
    """Chat, text completion or embeddings, as the provider was asked."""
    odd = [pair for pair in captures.pairs(name) if pair.row["operation"] != pair.call["operation"]]
    assert [str(pair) for pair in odd if not pair.flags & {"usage_missing"}] == []


@CAPTURES
def test_providers_are_exact_or_flagged(name: str) -> None:
    """The provider in the convention's words; a compatible server on our host passes for OpenAI."""
    for pair in captures.pairs(name):
        expected = pair.call["provider"]
        if expected in ("azure", "openrouter"):
            expected = "openai"
        told = pair.row["provider"]
        assert told == PROVIDERS.get(expected, expected) or (told is None and pair.flags & DOUBTFUL_MODEL), str(pair)


@CAPTURES
def test_failures_are_found(name: str) -> None:
    """A call failed if and only if the provider or the client saw it fail; a stream cut off in silence is flagged."""
    for pair in captures.pairs(name):
        failed = pair.row["error_type"] is not None
        assert failed == (pair.call["error"] is not None) or pair.flags & SILENT, str(pair)
        if failed:
            # "other" is allowed where the spans have the client's class and no message (agent-framework).
            assert pair.row["error_kind"] in (KINDS[pair.call["error"]], "other"), str(pair)


@CAPTURES
def test_streams_are_known_or_unknown(name: str) -> None:
    """`streaming` is never wrong; it may be null."""
    known = [pair for pair in captures.pairs(name) if pair.row["streaming"] is not None]
    assert [str(pair) for pair in known if pair.row["streaming"] != bool(pair.call["streaming"])] == []


@CAPTURES
def test_a_first_token_comes_within_the_call(name: str) -> None:
    """Time to first token is in milliseconds whatever unit was written: after the start, before the end."""
    frame = captures.marked(name).filter("is_call", pl.col("ttft_ms").is_not_null())
    assert frame.filter((pl.col("ttft_ms") < 5) | (pl.col("ttft_ms") > pl.col("duration_ms") + 1)).is_empty()


@CAPTURES
def test_calls_without_a_span_are_said(name: str) -> None:
    """Where calls have no span at all, the frame has a finding that says which kind is missing."""
    missing = [call for call in captures.truth()[name]["calls"] if call not in captures.seen(name)]
    codes = {finding.code for finding in captures.found(name)}
    assert not missing or codes & {"no_call_spans", "known_loss"}
    assert ("no_call_spans" in codes) == (name in NO_CALLS)


@CAPTURES
def test_what_a_reference_recovers_we_recover(name: str) -> None:
    """Where the reference mapping is exact for all calls, or for all that have a span, our totals are the truth."""
    verdict = captures.recoverable()[name]
    if verdict["exact_for_all_calls"]:
        calls = captures.truth()[name]["calls"]
    elif verdict["exact_for_calls_with_a_span"]:
        calls = captures.seen(name)
    else:
        assert captures.found(name) or any(pair.flags for pair in captures.pairs(name))
        return
    ours = captures.marked(name).filter("is_call")
    assert len(ours) == len(calls)
    for column in ("input_tokens", "output_tokens"):
        assert ours[column].sum() == sum(call[COUNTS[column]] or 0 for call in calls)
    silent = sum(bool(pair.flags & SILENT) and pair.call["error"] is not None for pair in captures.pairs(name))
    assert ours["error_type"].count() == sum(call["error"] is not None for call in calls) - silent


@CAPTURES
def test_totals_per_requested_model(name: str) -> None:
    """Calls and tokens per requested model are the provider's, wherever no row doubts its model or its counts."""
    pairs = captures.pairs(name)
    if any(pair.flags & (DOUBTFUL_MODEL | DOUBTFUL_COUNT) for pair in pairs):
        assert captures.found(name)
        return
    ours = totals((pair.row["request_model"], pair.row["input_tokens"], pair.row["output_tokens"]) for pair in pairs)
    keys = ("request_model", "input_tokens_total", "output_tokens_total")
    assert ours == totals(tuple(pair.call[key] for key in keys) for pair in pairs)


def totals(calls: Iterable[tuple[str, int | None, int | None]]) -> dict[str, list[int]]:
    """Per model: calls, input tokens, output tokens."""
    sums: dict[str, list[int]] = {}
    for model, given, answered in calls:
        one = (1, given or 0, answered or 0)
        sums[model] = [old + new for old, new in zip(sums.get(model, [0, 0, 0]), one, strict=True)]
    return sums
