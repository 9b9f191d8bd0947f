from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from otel_research.demo.profiles import NO_FAULTS, Faults
from otel_research.demo.server import ModelServer

HAIKU: Any = "claude-haiku-4-5"
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(seed=1, faults=NO_FAULTS, latency_scale=0) as running:
        yield running


def connect(server: ModelServer, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="unused", **options)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_input_tokens_leave_out_the_cache(server: ModelServer) -> None:
    """Anthropic's input count excludes cached tokens; the ledger's includes them."""
    client = connect(server)
    for number in range(8):
        answer = client.messages.create(
            model=HAIKU, max_tokens=200, system="Be brief. " * 50, messages=user(f"What is {number} + 9?")
        )
        assert answer.stop_reason == "end_turn"
    usages = server.ledger.by_model[HAIKU]
    assert 0 < usages.cached_tokens < usages.input_tokens
    first = server.ledger.exchanges[-1]
    assert answer.usage.input_tokens == first.input_tokens - first.cached_tokens
    assert answer.usage.cache_read_input_tokens == first.cached_tokens


def test_a_streamed_message_is_whole(server: ModelServer) -> None:
    """The events add up to a message with text, stop reason and the ledger's usage."""
    with connect(server).messages.stream(model=HAIKU, max_tokens=200, messages=user("What is 3 + 4?")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert "Answer:" in text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == server.ledger.by_model[HAIKU].output_tokens


def test_tools_in_both_ways(server: ModelServer) -> None:
    """Plain and streamed tool use carry arguments that fit the schema; a result gets words."""
    client = connect(server)
    plain = client.messages.create(model=HAIKU, max_tokens=200, tools=[TOOL], messages=user("Oslo?"))
    with client.messages.stream(model=HAIKU, max_tokens=200, tools=[TOOL], messages=user("Oslo?")) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        assert message.stop_reason == "tool_use"
        use: Any = message.content[0]
        assert use.input["city"] == "Oslo?"
        assert isinstance(use.input["days"], int)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]}
    history: Any = [*user("Oslo?"), {"role": "assistant", "content": [use.to_dict()]}, result]
    final = client.messages.create(model=HAIKU, max_tokens=200, tools=[TOOL], messages=history)
    assert final.stop_reason == "end_turn"


def test_errors_are_the_protocols(server: ModelServer) -> None:
    """429 and 404 reach the client as its own error classes."""
    with pytest.raises(anthropic.NotFoundError, match="does not exist"):
        connect(server).messages.create(model="claude-0", max_tokens=5, messages=user("x"))
    with (
        ModelServer(faults=Faults(rate_limit=1, server_error=0), latency_scale=0) as strict,
        pytest.raises(anthropic.RateLimitError, match="Rate limit"),
    ):
        connect(strict, max_retries=0).messages.create(model=HAIKU, max_tokens=5, messages=user("x"))
