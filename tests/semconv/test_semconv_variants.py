"""Captures in variants: what loses nothing changes nothing; what loses something leaves right, unknown or flagged numbers."""

from __future__ import annotations

from functools import cache
from typing import Any

import captures
import polars as pl
import pytest
from captures import COUNTS
from variants import HARMFUL, HARMLESS, Row, apply

from otel_research.semconv import findings, normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema

DOUBTS = frozenset({
    "usage_missing", "stream_without_usage", "usage_incomplete", "zero_means_unknown", "possible_partial_usage",
    "tools_inside_call", "implausible_tokens", "inclusive_input_assumed", "total_mismatch", "exclusive_input_fixed",
    "exclusive_output_fixed", "possible_output_plus_one", "estimated_tokens",
})  # fmt: skip
BY_NAME = ("haystack_native__haystack.jsonl", "openinference__llama_index.jsonl", "openlit__anthropic.jsonl")
"""Captures some of whose rows say what they are by nothing but their name."""
UNEQUAL = {
    # Without a scope only usage or an answer's id can tell that two rows are one request.
    "no scope": ("litellm_otel_plus_openai__litellm.jsonl", "openinference__langchain_plus_openai.jsonl", "traceloop__anthropic.jsonl"),
    "other span names": BY_NAME,
}  # fmt: skip
"""Variant -> captures where other rows count than in the original."""
CACHE_BESIDE = ("bedrock", "openlit")
"""Packages that leave the cache out of the input: with the cache unwritten too, only a finding can tell."""


@cache
def every_row() -> list[Row]:
    return [row | {"experiment_id": name} for name in captures.names() for row in captures.raw(name).to_dicts()]


def marked(rows: list[Row]) -> dict[tuple[str, str], dict[str, Any]]:
    frame = pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW))
    found = mark(normalise(frame.lazy())).collect().to_dicts()
    return {(row["experiment_id"], row["span_id"]): row for row in found}


@cache
def original() -> dict[tuple[str, str], dict[str, Any]]:
    return marked(every_row())


@cache
def truth() -> dict[tuple[str, str], dict[str, Any]]:
    """The provider's word on the row of each call."""
    return {(name, pair.row["span_id"]): pair.call for name in captures.names() for pair in captures.pairs(name)}


@pytest.mark.parametrize("variant", HARMLESS)
def test_what_loses_nothing_changes_nothing(variant: str) -> None:
    """The same rows count, with the same counts, operations and kinds of failure."""
    columns = ("is_call", *COUNTS, "operation", "error_kind", "error_type")
    found = marked(apply(every_row(), HARMLESS[variant]))
    differing = [
        (key, name, original()[key][name], row[name])
        for key, row in found.items()
        for name in columns
        if row[name] != original()[key][name]
    ]
    assert differing == []


@pytest.mark.parametrize("variant", HARMFUL)
def test_what_loses_something_is_right_unknown_or_flagged(variant: str) -> None:
    """No count is wrong without a flag, and none is missing without one."""
    wrong = []
    for key, row in marked(apply(every_row(), HARMFUL[variant])).items():
        call = truth().get(key)
        if call is None or not row["is_call"] or set((row["flags"] or "").split(",")) & DOUBTS:
            continue
        if variant == "no cached tokens" and any(word in key[0] for word in CACHE_BESIDE):
            continue
        for ours, theirs in COUNTS.items():
            if row[ours] is not None and row[ours] != (call[theirs] or 0):
                wrong.append((key, ours, call[theirs], row[ours], row["flags"]))
        if row["input_tokens"] is None and call["usage_reported"]:
            wrong.append((key, "unknown", row["flags"]))
    assert wrong == []


@pytest.mark.parametrize("variant", HARMFUL)
def test_what_loses_something_still_counts_the_same_calls(variant: str) -> None:
    """The same number of calls per capture counts, whatever is missing from their rows."""
    found = marked(apply(every_row(), HARMFUL[variant]))
    assert {
        name
        for name in captures.names()
        if sum(row["is_call"] for key, row in found.items() if key[0] == name)
        != sum(row["is_call"] for key, row in original().items() if key[0] == name)
    } <= {*UNEQUAL.get(variant, ()), *ONE_MORE}


ONE_MORE = ("openinference__langchain_plus_openai.jsonl",)
"""Two rows of a slow stream whose usage and ids are both gone: counted twice, each flagged as without usage."""


def test_an_unwritten_cache_is_a_finding() -> None:
    """Where no call says what came from a cache, the frame says that this is unknown."""
    rows = [row for row in every_row() if "bedrock" in row["experiment_id"]]
    frame = pl.DataFrame(apply(rows, HARMFUL["no cached tokens"]), schema=schema.polars_schema(schema.RAW))
    assert "cached_tokens_unknown" in {one.code for one in findings(mark(normalise(frame.lazy())))}


def test_captures_in_one_trace_do_not_mix() -> None:
    """All captures in one experiment and one trace, one after the other: as many calls and tokens as in all apart."""
    rows = distinct()
    hours = {name: number * 3600 * 10**9 for number, name in enumerate(captures.names())}
    own = [
        row
        | {"experiment_id": "e", "trace_id": "t" * 32}
        | {end: row[end] + hours[row["experiment_id"]] for end in ("start_ns", "end_ns")}
        for row in rows
    ]
    assert totals(marked_rows(own)) == totals(marked_rows(rows))


def test_experiments_at_the_same_time_do_not_mix() -> None:
    """Experiments whose rows stand in one frame never share a call, however alike and concurrent."""
    first = {name: min(row["start_ns"] for row in captures.raw(name).to_dicts()) for name in captures.names()}
    rows = [
        row | {"start_ns": row["start_ns"] - first[row["experiment_id"]], "end_ns": row["end_ns"] - first[row["experiment_id"]]}
        for row in every_row()
    ]  # fmt: skip
    assert totals(marked_rows(rows)) == totals(list(original().values()))


def distinct() -> list[Row]:
    """The rows of captures whose span ids are their own."""
    seen: set[str] = set()
    rows = []
    for name in captures.names():
        own = {row["span_id"] for row in captures.raw(name).to_dicts()}
        if not own & seen:
            rows += [row | {"experiment_id": name} for row in captures.raw(name).to_dicts()]
            seen |= own
    assert len(rows) > 1000
    return rows


def marked_rows(rows: list[Row]) -> list[dict[str, Any]]:
    return mark(normalise(pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW)).lazy())).collect().to_dicts()


def totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    calls = [row for row in rows if row["is_call"]]
    return {name: sum(row[name] or 0 for row in calls) for name in COUNTS} | {"calls": len(calls)}
