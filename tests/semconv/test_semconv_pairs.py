"""Which rows of several packages are one request: concurrency, ends that say nothing, what a left-out row may tell."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from made_spans import CHAT, MS, START, marked, one, span

from otel_research.semconv.calls import mark

SILENT = {key: value for key, value in CHAT.items() if "usage" not in key}
STREAM = SILENT | {"gen_ai.request.stream": True}
A, B, C = "package.a", "package.b", "package.c"


def row(
    name: str, start: float, end: float | None, attributes: dict[str, Any], scope: str, trace: str = "", **columns: Any
) -> dict[str, Any]:
    """A span, in a trace of its own where none is named; times in milliseconds."""
    place = {"start_ns": START + int(start * MS), "end_ns": None if end is None else START + int(end * MS)}
    broken = {"status": "interrupted"} if end is None else {}
    return span(0, attributes, span_id=name, trace_id=trace or name, scope=scope, **place | broken | columns)


def first_token(ms: float) -> str:
    return json.dumps([{"name": "First Token Stream Event", "time_ns": START + int(ms * MS), "attributes": {}}])


def verdicts(rows: list[dict[str, Any]]) -> dict[str, str | None]:
    return {row["span_id"]: row["excluded_because"] for row in rows}


@pytest.mark.parametrize("trials", [3, 12, 40])
def test_calls_of_many_trials_at_once_find_their_partners(trials: int) -> None:
    """Rows of other trials in between are no neighbours."""
    rows = [
        one
        for n in range(trials)
        for one in (
            row(f"a{n}", n * 0.1, 1000 + n, CHAT, A, trial_id=f"t{n}"),
            row(f"b{n}", 5 + n * 0.1, 999 + n, CHAT, B, trial_id=f"t{n}"),
        )
    ]
    assert sum(found["is_call"] for found in marked(*rows)) == trials


def test_no_request_has_two_rows_of_one_package() -> None:
    """Three packages see two requests at once: a third one's row is no bridge between them."""
    rows = marked(
        row("b1", 0, 800, CHAT, B),
        row("a1", 0.65, 806, CHAT, A),
        row("c1", 2.2, 539, CHAT, C),
        row("b0", 36.9, 830, CHAT, B),
        row("c0", 37.8, 772, CHAT, C),
        row("a0", 39, 900, CHAT, A),
    )
    assert sum(found["is_call"] for found in rows) == 2


def test_an_end_that_says_nothing_chooses_no_partner() -> None:
    """The row that begins with it is its client's, though another one ends nearer."""
    told = STREAM | {"session.id": "mine"}
    rows = marked(
        row("a1", 0, 1, told, A, events=first_token(300)),
        row("b1", 0.5, 5000, CHAT, B),
        row("b2", 15, 400, CHAT, B),
    )
    assert verdicts(rows) == {"a1": "twin", "b1": None, "b2": None}
    assert [found["conversation_id"] for found in rows] == ["mine", "mine", None]


def test_half_of_a_stream_is_enough_where_the_counts_are_equal() -> None:
    assert verdicts(marked(row("a", 0, 198, CHAT, A), row("b", 9, 223, CHAT, B))) == {"a": None, "b": "twin"}
    assert verdicts(marked(row("a", 0, 198, CHAT, A), row("b", 150, 350, CHAT, B))) == {"a": None, "b": None}


def test_a_silent_stream_is_not_lost_in_another_call() -> None:
    """Another model, or a start that is not its own."""
    mini = CHAT | {"gen_ai.request.model": "gpt-4o-mini"}
    dated = CHAT | {"gen_ai.request.model": "gpt-4o-2024-08-06"}
    assert verdicts(marked(row("a", 0, 284, STREAM, A), row("b", 46, 828, CHAT, B))) == {"a": None, "b": None}
    assert verdicts(marked(row("a", 0, 40, STREAM, A), row("b", 1, 828, mini, B))) == {"a": None, "b": None}
    assert verdicts(marked(row("a", 0, 40, STREAM, A), row("b", 1, 828, dated, B))) == {"a": "twin", "b": None}


def test_a_row_that_nobody_ended_tells_of_no_failure() -> None:
    answered = STREAM | {"gen_ai.response.id": "r"}
    for client in (CHAT, answered):
        rows = marked(row("a", 0, None, SILENT, A), row("b", 0.5, 900, client, B))
        assert verdicts(rows) == {"a": "twin", "b": None}
        assert rows[1]["error_type"] is None


def wrapper(outer: dict[str, Any], inner: dict[str, Any], scope: str = A, **columns: Any) -> list[dict[str, Any]]:
    return marked(row("w", 0, 50, outer, scope, **columns), row("c", 1, 49, inner, A, "w", parent_span_id="w"))


def test_a_failure_is_told_where_nobody_tells_of_an_answer() -> None:
    """A wrapper may have failed at what it made of a good answer."""
    failed: dict[str, Any] = {"status": "error", "scope": B}
    silent = wrapper(SILENT, STREAM, **failed)[1]
    assert (silent["error_type"], "failure_from_twin" in silent["flags"]) == ("error", True)
    answered = wrapper(SILENT, STREAM | {"gen_ai.response.finish_reasons": ["stop"]}, **failed)[1]
    assert (answered["error_type"], answered["flags"]) == (None, "stream_without_usage")
    assert wrapper(SILENT, CHAT, **failed)[1]["error_type"] is None


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ({"gen_ai.usage.input_tokens": 30}, {"gen_ai.usage.cache_read.input_tokens": 10}),
        ({"gen_ai.usage.input_tokens": 41}, {"gen_ai.request.model": "gpt-4o-2024-08-06"}),
    ],
    ids=["without the cache", "an alias"],
)
def test_a_wrapper_of_the_same_package_may_count_otherwise(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    rows = wrapper(CHAT | outer, CHAT | inner)
    assert verdicts(rows) == {"w": "wrapper", "c": None}
    assert rows[1]["flags"] == "usage_disputed"


def test_another_packages_views_do_not_make_a_sum() -> None:
    """A sum of two requests, each of which a second package sees too."""
    total = CHAT | {"gen_ai.usage.input_tokens": 80, "gen_ai.usage.output_tokens": 24}
    below: dict[str, Any] = {"trace": "w", "parent_span_id": "w"}
    rows = marked(
        row("w", 0, 100, total, A),
        row("a1", 1, 40, CHAT, A, **below),
        row("b1", 2, 39, CHAT, B, **below),
        row("a2", 50, 90, CHAT, A, **below),
        row("b2", 51, 89, CHAT, B, **below),
    )
    assert sum(found["is_call"] for found in rows) == 2
    assert verdicts(rows)["w"] == "wrapper"


def test_a_row_that_is_its_own_parent_counts() -> None:
    twice = [row("a", 0, 10, CHAT, A, parent_span_id="a")] * 2
    assert [found["is_call"] for found in marked(*twice)] == [True, True]


def test_a_frame_that_is_marked_again_has_each_flag_once() -> None:
    frame = pl.DataFrame(wrapper(CHAT | {"gen_ai.usage.input_tokens": 30}, CHAT, scope=B))
    again = mark(frame.lazy()).collect()
    assert again["flags"].to_list() == frame["flags"].to_list() == [None, "usage_disputed"]


DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize("attributes", ["{}", '{"a":' + DEEP + "}"])
def test_a_deep_event_stops_nothing(attributes: str) -> None:
    events = '[{"name":"metadata","attributes":{"total_tokens":' + DEEP + "}}]"
    assert one(attributes, events=events)["role"] is None


def test_only_its_own_packages_event_of_any_name_has_counts() -> None:
    """An event "metadata" may be anybody's."""
    silent = {key: value for key, value in CHAT.items() if "usage" not in key}
    counts = '"attributes":{"prompt_tokens":7,"gen_ai.usage.input_tokens":7}}]'
    assert one(silent, events='[{"name":"metadata",' + counts)["input_tokens"] is None
    assert one(silent, events='[{"name":"metadata",' + counts, scope="monocle_apptrace")["input_tokens"] == 7
    assert one(silent, events='[{"name":"gen_ai.usage",' + counts)["input_tokens"] == 7


def test_a_call_without_duration_that_counts_is_a_call() -> None:
    """A mere event of a call has no model and no counts."""
    kind = {"openinference.span.kind": "LLM"}
    counts = {"llm.token_count.prompt": 40, "llm.token_count.completion": 12}
    beeai = {"scope": "openinference.instrumentation.beeai"}
    assert one(kind | counts, end_ns=START, **beeai)["input_tokens"] == 40
    assert one(kind, end_ns=START, **beeai)["role"] == "chain"
    assert one(kind, **beeai)["role"] == one(kind, end_ns=START)["role"] == "call"


def test_an_answer_to_nothing_has_an_unknown_input() -> None:
    nothing = CHAT | {"gen_ai.usage.input_tokens": 0}
    assert one(nothing)["input_tokens"] is None
    assert one(nothing | {"gen_ai.usage.audio.input_tokens": 5})["input_tokens"] == 0
    assert one(nothing | {"gen_ai.usage.output_tokens": 0})["flags"] == "zero_means_unknown,usage_missing"


@pytest.mark.parametrize(("method", "flagged"), [("InvokeModel", True), ("Converse", False)])
def test_bedrocks_converse_has_usage_of_every_vendor(method: str, flagged: bool) -> None:
    attributes = CHAT | {"gen_ai.provider.name": "aws.bedrock", "rpc.method": method}
    scope = "opentelemetry.instrumentation.botocore.bedrock-runtime"
    mistral = one(attributes | {"gen_ai.request.model": "mistral.mistral-large"}, scope=scope)
    claude = one(attributes | {"gen_ai.request.model": "anthropic.claude-sonnet"}, scope=scope)
    assert (mistral["flags"] == "estimated_tokens") == flagged
    assert (claude["flags"] == "input_without_cache") == flagged
