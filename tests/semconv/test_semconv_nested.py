"""Requests inside requests, sums with no call below, and what a trace says against a row's usage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from made_spans import CHAT, MS, START, marked, span

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 90}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}


def within(number: int, parent: int | None, attributes: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """A span inside its parent's time; those with higher numbers begin later."""
    place = {"start_ns": START + number * MS, "end_ns": START + (90 - number) * MS}
    above = {} if parent is None else {"parent_span_id": f"s{parent}"}
    return span(number, attributes, **place | above | columns)


def usage(read: int | None, written: int | None, **attributes: Any) -> dict[str, Any]:
    counts = {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written}
    return CHAT | {key: value for key, value in counts.items() if value is not None} | attributes


def counted(rows: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(row["span_id"], row["excluded_because"]) for row in rows if row["role"] == "call"]


def flagged(rows: list[dict[str, Any]], flag: str) -> list[str]:
    return [row["span_id"] for row in rows if flag in (row["flags"] or "")]


def test_a_request_that_ends_after_the_next_is_one_of_its_own() -> None:
    """A package whose span stays open while it asks again: what it says of the outer one can be no sum."""
    rows = marked(within(0, None, usage(100, 20)), within(1, 0, usage(150, 30)))
    assert counted(rows) == [("s0", None), ("s1", None)]
    assert flagged(rows, "calls_nested") == ["s0"]


def test_so_it_is_beside_an_attempt_that_failed() -> None:
    failure = {key: value for key, value in CHAT.items() if "usage" not in key}
    rows = marked(
        within(0, None, usage(100, 20)),
        within(1, 0, failure, status="error"),
        within(2, 0, usage(150, 30)),
    )
    assert counted(rows) == [("s0", None), ("s1", None), ("s2", None)]


def test_another_model_is_another_request() -> None:
    """A question to a small model on the way to the large one."""
    rows = marked(
        within(0, None, usage(2000, 300)), within(1, 0, usage(100, 5, **{"gen_ai.request.model": "gpt-4o-mini"}))
    )
    assert counted(rows) == [("s0", None), ("s1", None)]


@pytest.mark.parametrize(
    "outer", [(150, 30), (250, 50), (400, 80), (None, None)], ids=["one", "sum", "more", "nothing"]
)
def test_what_may_be_a_sum_only_wraps(outer: tuple[int | None, int | None]) -> None:
    told = usage(*outer) if outer[0] else {key: value for key, value in CHAT.items() if "usage" not in key}
    rows = marked(within(0, None, told), within(1, 0, usage(100, 20)), within(2, 0, usage(150, 30)))
    assert counted(rows) == [("s0", "wrapper"), ("s1", None), ("s2", None)]
    assert not flagged(rows, "calls_nested")


def test_two_packages_see_one_request() -> None:
    """Their numbers may differ."""
    rows = marked(
        within(0, None, usage(30, 10), scope="opentelemetry.instrumentation.langchain"), within(1, 0, usage(40, 12))
    )
    assert counted(rows) == [("s0", "wrapper"), ("s1", None)]


def test_so_do_two_instrumentations_under_one_scope() -> None:
    """A platform's package writes all that it sees under its own name."""
    mine = {"scope": "langfuse-sdk"}
    outer = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.usage_details": '{"input": 30, "output": 10}',
    }
    inner = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.usage_details": '{"input": 40, "output": 12}',
    }
    rows = marked(within(0, None, outer, **mine), within(1, 0, inner, **mine))
    assert counted(rows) == [("s0", "wrapper"), ("s1", None)]


@pytest.mark.parametrize("parts", [1, 0], ids=["a call below", "none"])
def test_sums_with_no_call_below_are_said(parts: int) -> None:
    """However deep the call stands, and whatever else the trace has."""
    below = [within(3, 2, CHAT)] if parts else []
    rows = marked(
        within(0, None, AGENT),
        within(1, 0, TOOL),
        within(2, 1, AGENT),
        *below,
        within(4, None, AGENT),
        within(5, None, CHAT),
    )
    assert flagged(rows, "usage_without_calls") == (["s4"] if parts else ["s0", "s2", "s4"])


def test_a_row_that_stands_for_one_that_asked_for_a_tool_says_so() -> None:
    """The first request's usage is nowhere: the outer row repeats the last one's."""
    rows = marked(within(0, None, CHAT), within(1, 0, TOOL), within(2, 0, CHAT))
    assert counted(rows) == [("s0", "wrapper"), ("s2", None)]
    assert flagged(rows, "tools_inside_call") == ["s2"]
    rows = marked(within(0, None, CHAT), within(1, 0, CHAT, end_ns=START + 2 * MS), within(3, 0, TOOL))
    assert not flagged(rows, "tools_inside_call")


def test_a_tool_in_the_time_of_the_row_that_counts_is_inside_it() -> None:
    """Two packages see a client that calls functions by itself; one of them sees the function."""
    rows = marked(within(0, None, CHAT), within(1, 0, CHAT, scope="another"), within(2, 0, TOOL))
    assert counted(rows) == [("s0", "wrapper"), ("s1", None)]
    assert flagged(rows, "tools_inside_call") == ["s1"]


def test_rows_of_one_request_that_disagree_say_so() -> None:
    rows = marked(within(0, None, usage(45, 12)), within(1, 0, CHAT, scope="another"))
    assert flagged(rows, "usage_disputed") == ["s1"]
    rows = marked(within(0, None, CHAT), within(1, 0, CHAT, scope="another"))
    assert not flagged(rows, "usage_disputed")


def test_a_stream_that_was_ended_when_it_was_opened() -> None:
    """Its duration is unknown, and the row of the client that read it stands for it, though they do not overlap."""
    first = [{"name": "First Token Stream Event", "time_ns": START + 40 * MS, "attributes": {}}]
    lazy = within(0, None, CHAT, end_ns=START + MS, events=json.dumps(first), scope="another")
    rows = marked(lazy)
    assert (rows[0]["duration_ms"], rows[0]["ttft_ms"], rows[0]["is_call"]) == (None, 40.0, True)
    assert flagged(rows, "ended_early") == ["s0"]
    assert counted(marked(lazy, within(3, None, CHAT))) == [("s0", "twin"), ("s3", None)]
    assert counted(marked(lazy, within(60, None, CHAT))) == [("s0", None), ("s60", None)]


def test_a_row_that_was_never_ended_is_its_clients() -> None:
    """One package forgot a request that broke; the other's row has its end."""
    nothing = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    forgotten = within(0, None, nothing, end_ns=None, status="interrupted", scope="another")
    rows = marked(forgotten, within(2, None, nothing, status="error"))
    assert counted(rows) == [("s0", "twin"), ("s2", None)]


def test_a_tool_below_a_step_of_a_call_is_inside_it() -> None:
    step = {"gen_ai.operation.name": "chain"}
    rows = marked(within(0, None, CHAT), within(1, 0, step), within(2, 1, TOOL))
    assert flagged(rows, "tools_inside_call") == ["s0"]


def test_what_may_be_added_up_is_said() -> None:
    """Spring AI: the request after a tool call; not the first one, not one of another parent or of none."""
    spring = {"scope": "org.springframework.boot"}
    asks = usage(100, 20, **{"gen_ai.response.finish_reasons": ["TOOL_CALLS"]})
    rows = marked(
        within(0, None, {"spring.ai.kind": "chat_client"}, **spring),
        within(1, 0, asks, **spring),
        within(2, 0, {"spring.ai.kind": "tool_call"}, **spring),
        within(3, 0, usage(250, 50), **spring),
        within(4, None, asks, **spring),
        within(5, None, CHAT, **spring),
    )
    assert flagged(rows, "cumulative_usage") == ["s3"]
    assert [row["role"] for row in rows] == ["chain", "call", "tool", "call", "call", "call"]


@pytest.mark.parametrize(
    ("attributes", "unread"),
    [
        ('{"tfy.input_tokens":10}', True),
        ('{"output":"{\\"inputTokens\\": 150}"}', True),
        ('{"x.usage.totalTokenCount":"12"}', True),
        ('{"x.generated_tokens":10}', True),
        ('{"max_output_tokens":10}', False),
        ('{"config":"{\\"input_token_limit\\": 4000}"}', False),
        ('{"csrf_token_input":123,"reasoning_tokens_cost":1.5}', False),
        ('{"note":"the input tokens were 5"}', False),
        ('{"llm.output_tokens":0}', False),
        (None, False),
        ("no JSON", False),
    ],
)
def test_counts_under_unknown_names_are_said(attributes: str | None, unread: bool) -> None:
    rows = marked(span(0, attributes, scope="somebody"), span(1, CHAT))
    assert flagged(rows, "unread_token_counts") == (["s0"] if unread else [])
