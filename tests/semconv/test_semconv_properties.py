"""What must not change the totals: order, batches, wrappers, a second instrumentation."""

from __future__ import annotations

import json
from typing import Any

import captures
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_research.semconv import normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema

# One instrumentation each, several vocabularies, twins and rollups among them; small, so that many examples run.
NAMES = (
    "otel_genai__smolagents_plus_openai.jsonl",
    "traceloop__groq.jsonl",
    "openinference__smolagents.jsonl",
    "vercel_ai_v7_legacy__ai_sdk.jsonl",
    "otel_botocore__bedrock__content_true.jsonl",
    "logfire__anthropic.jsonl",
    "otel_genai_plus_openinference__openai.jsonl",
    "openinference__langchain_plus_openai.jsonl",
)
QUICK = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
CAPTURE = st.sampled_from(NAMES)
WRAPPERS = st.sampled_from(["chain", "agent", "llm", "genai agent", "genai chat"])


def totals(frame: pl.LazyFrame) -> list[tuple[Any, ...]]:
    """Calls, failures and tokens per requested model."""
    calls = frame.filter("is_call").group_by("request_model").agg(
        pl.len(),
        pl.col("error_type").count(),
        *(pl.col(name).sum() for name in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")),
    )  # fmt: skip
    return calls.sort("request_model").collect().rows()


def truth(name: str) -> list[tuple[Any, ...]]:
    return totals(captures.marked(name).lazy())


@QUICK
@given(CAPTURE, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(name: str, random: Any) -> None:
    """Rows in any order give the same totals."""
    rows = captures.raw(name).to_dicts()
    random.shuffle(rows)
    assert totals(mark(normalise(frame_of(rows).lazy()))) == truth(name)


@QUICK
@given(CAPTURE, st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_batches_change_nothing(name: str, sizes: list[int]) -> None:
    """Normalised batch by batch, of whatever sizes, then put together and marked: the same rows."""
    raw, parts, at, turn = captures.raw(name), [], 0, 0
    while at < len(raw):
        size = sizes[turn % len(sizes)]
        parts.append(normalise(raw.slice(at, size).lazy()).collect())
        at, turn = at + size, turn + 1
    assert mark(pl.concat(parts).lazy()).collect().equals(captures.marked(name))


@QUICK
@given(CAPTURE, st.data())
def test_wrappers_change_nothing(name: str, data: st.DataObject) -> None:
    """Chains, agents and even model spans put around calls, with the calls' own usage on them, change no total."""
    rows = captures.raw(name).to_dicts()
    calls = captures.marked(name).filter("is_call", pl.col("operation") == "chat").to_dicts()
    chosen = data.draw(st.lists(st.sampled_from(calls), unique_by=lambda row: row["span_id"], max_size=5))
    by_id = {row["span_id"]: row for row in rows}
    for number, call in enumerate(chosen):
        inner = by_id[call["span_id"]]
        for level in range(data.draw(st.integers(1, 3))):
            outer = wrapper(call, data.draw(WRAPPERS), f"{number:08x}{level:08x}", inner)
            inner["parent_span_id"] = outer["span_id"]
            rows.append(outer)
            inner = outer
    assert totals(mark(normalise(frame_of(rows).lazy()))) == truth(name)


@QUICK
@given(CAPTURE, st.data(), st.booleans(), st.booleans())
def test_a_second_instrumentation_changes_nothing(
    name: str, data: st.DataObject, same_trace: bool, has_id: bool
) -> None:
    """A twin of a call from another package, in the same or another trace, with or without an id, changes no total."""
    rows = captures.raw(name).to_dicts()
    calls = captures.marked(name).filter("is_call").to_dicts()
    chosen = data.draw(st.lists(st.sampled_from(calls), unique_by=lambda row: row["span_id"], min_size=1))
    for number, call in enumerate(chosen):
        early, late = data.draw(st.integers(-400_000, 900_000)), data.draw(st.integers(0, 900_000))
        twin = wrapper(call, "llm", f"{number:016x}", call)
        start = call["start_ns"] - round((call["duration_ms"] or 0) * 1e6) if is_log(call) else call["start_ns"]
        twin |= {"start_ns": start - early, "end_ns": call["end_ns"] + (late if early >= 0 else -late)}
        twin["trace_id"] = call["trace_id"] if same_trace else f"{number:032x}"
        twin["parent_span_id"] = call["parent_span_id"] if same_trace else None
        if has_id and call["response_id"]:
            told = json.loads(twin["attributes"]) | {"gen_ai.response.id": call["response_id"]}
            twin["attributes"] = json.dumps(told)
        rows.append(twin)
    assert totals(mark(normalise(frame_of(rows).lazy()))) == truth(name)


def is_log(row: dict[str, Any]) -> bool:
    return "stream_log" in (row["flags"] or "")


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW))


def wrapper(call: dict[str, Any], kind: str, span_id: str, inner: dict[str, Any]) -> dict[str, Any]:
    """A span around `inner` that repeats what `call` says, in the words of another package."""
    used = {
        "llm.token_count.prompt": call["input_tokens"],
        "llm.token_count.completion": call["output_tokens"],
        "llm.model_name": call["request_model"],
        "openinference.span.kind": {"llm": "LLM", "agent": "AGENT", "chain": "CHAIN"}.get(kind),
    }
    if kind.startswith("genai"):
        used = {
            "gen_ai.operation.name": {"genai agent": "invoke_agent", "genai chat": "chat"}[kind],
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": call["request_model"],
            "gen_ai.usage.input_tokens": call["input_tokens"],
            "gen_ai.usage.output_tokens": call["output_tokens"],
        }
    failed = call["error_type"] is not None
    return {name: inner[name] for name in schema.names(schema.RAW)} | {
        "span_id": span_id,
        "name": f"wrapped {kind}",
        "scope": "openinference.instrumentation.another",
        "scope_version": "1",
        "start_ns": inner["start_ns"] - 200_000,
        "end_ns": inner["end_ns"] + 300_000,
        "status": "error" if failed else "ok",
        "status_message": call["error_type"],
        "attributes": json.dumps({key: value for key, value in used.items() if value is not None}),
        "events": "[]",
    }
