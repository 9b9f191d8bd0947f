"""A model server's own spans in the client's trace: the client's row is the call, and learns what the server knows."""

from __future__ import annotations

from typing import Any

import pytest
from made_spans import CHAT, MS, START, marked, span

HTTP = {"http.request.method": "POST", "url.full": "http://x/v1/chat/completions", "http.response.status_code": 200}


def within(number: int, parent: int, attributes: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """A span inside its parent's time."""
    times = {"start_ns": START + number * MS, "end_ns": START + (40 - number) * MS, "kind": "internal"}
    return span(number, attributes, parent_span_id=f"s{parent}", **times | columns)


def client(**attributes: Any) -> dict[str, Any]:
    return span(0, CHAT | attributes, end_ns=START + 40 * MS)


def counted(rows: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(row["span_id"], row["excluded_because"]) for row in rows if row["role"] == "call"]


ENGINE = {"gen_ai.response.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12, "gen_ai.latency.time_to_first_token": 0.005}  # fmt: skip


def test_the_clients_row_is_the_call() -> None:
    """Its latency is what the experiment is about; the server's first token is told from the client's start."""
    rows = marked(
        client(),
        within(1, 0, HTTP, kind="client", scope="opentelemetry.instrumentation.httpx"),
        within(2, 1, HTTP, kind="server", scope="opentelemetry.instrumentation.fastapi"),
        within(3, 2, ENGINE, kind="server", scope="vllm.llm_engine"),
    )
    assert counted(rows) == [("s0", None), ("s3", "inner")]
    assert (rows[0]["duration_ms"], rows[0]["ttft_ms"], rows[0]["streaming"]) == (40.0, 8.0, None)


def test_a_client_without_counts_has_the_servers() -> None:
    """A stream that reported nothing."""
    rows = marked(
        client(**{"gen_ai.usage.input_tokens": None, "gen_ai.usage.output_tokens": None}),
        within(1, 0, ENGINE, kind="server", scope="vllm.llm_engine"),
    )
    assert counted(rows) == [("s0", None), ("s1", "inner")]
    assert (rows[0]["input_tokens"], rows[0]["output_tokens"]) == (40, 12)
    assert "usage_from_twin" in rows[0]["flags"]


def usage(read: int, written: int) -> dict[str, Any]:
    return CHAT | {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written}


def test_steps_inside_a_server_are_parts_of_its_request() -> None:
    """Two runs of the model and a tool between, all on the server's side: one request."""
    server = {"scope": "com.anthropic.claude-platform"}
    rows = marked(
        client(),
        within(1, 0, CHAT, kind="server", **server),
        within(2, 1, usage(10, 2), **server),
        within(3, 1, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, **server),
        within(4, 1, usage(30, 10), **server),
    )
    assert counted(rows) == [("s0", None), ("s1", "inner"), ("s2", "inner"), ("s4", "inner")]


def test_a_server_alone_stands_for_its_steps() -> None:
    """Without the client's span."""
    server = {"scope": "com.anthropic.claude-platform"}
    rows = marked(
        span(0, CHAT, kind="server", end_ns=START + 40 * MS, **server),
        within(1, 0, usage(10, 2), **server),
        within(2, 0, usage(30, 10), **server),
    )
    assert counted(rows) == [("s0", None), ("s1", "inner"), ("s2", "inner")]


@pytest.mark.parametrize("failed", [False, True])
def test_what_a_gateway_asks_are_the_requests(failed: bool) -> None:
    """Its own client's spans are those that reached a model: the rows around them only wrap."""
    error = {"status": "error"} if failed else {}
    first = within(2, 1, usage(None, None) if failed else usage(10, 2), kind="client", scope="gateway", **error)  # type: ignore[arg-type]
    rows = marked(
        client(),
        within(1, 0, CHAT, kind="server", scope="gateway"),
        first,
        within(3, 1, CHAT if failed else usage(30, 10), kind="client", scope="gateway"),
    )
    assert counted(rows) == [("s0", "wrapper"), ("s1", "wrapper"), ("s2", None), ("s3", None)]


def test_a_server_that_asks_inside_a_step_is_a_gateway_too() -> None:
    """However deep the request stands."""
    rows = marked(
        client(),
        within(1, 0, CHAT, kind="server", scope="gateway"),
        within(2, 1, CHAT, scope="gateway"),
        within(3, 2, CHAT, kind="client", scope="opentelemetry.instrumentation.openai_v2"),
    )
    assert counted(rows) == [("s0", "wrapper"), ("s1", "wrapper"), ("s2", "wrapper"), ("s3", None)]
