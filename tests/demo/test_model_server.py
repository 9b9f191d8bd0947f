from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context

from otel_research.demo.profiles import NO_FAULTS, Faults
from otel_research.demo.server import ModelServer
from otel_research.errors import ResearchError

WEATHER = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(seed=1, faults=NO_FAULTS, latency_scale=0) as running:
        yield running


def connect(server: ModelServer, **options: Any) -> openai.OpenAI:
    plain = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=server.base_url, api_key="unused", http_client=plain, **options)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_plain_answer_has_usage_in_parts(server: ModelServer) -> None:
    """The real client gets text, the dated model name and usage with cached and reasoning tokens."""
    answer = connect(server).chat.completions.create(
        model="o4-mini", messages=user("What is 12 * 34?" + " please" * 200)
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "o4-mini-2025-04-16"
    usage = answer.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details is not None
    assert 0 < (usage.completion_tokens_details.reasoning_tokens or 0) < usage.completion_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert server.ledger.by_model["o4-mini"].cached_tokens == usage.prompt_tokens_details.cached_tokens


def test_a_stream_is_the_plain_answer_in_pieces(server: ModelServer) -> None:
    """Streamed pieces add up to a text, and usage comes last, only where it was asked for."""
    client = connect(server)
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=user("What is 2 + 3?"), stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Answer:" in text
    assert len(chunks) > 5
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    bare = list(client.chat.completions.create(model="gpt-4o", messages=user("What is 2 + 3?"), stream=True))
    assert all(chunk.usage is None for chunk in bare)
    assert bare[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_answered(server: ModelServer, stream: bool) -> None:
    """A user's message with tools gets a call with arguments that parse; a tool's result gets words."""
    client, tools = connect(server), [{"type": "function", "function": WEATHER}]
    if stream:
        with client.chat.completions.stream(model="gpt-4o", messages=user("Oslo?"), tools=tools) as events:  # type: ignore[arg-type]
            message: Any = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(model="gpt-4o", messages=user("Oslo?"), tools=tools).choices[0].message  # type: ignore[call-overload]
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo?"}
    history = [*user("Oslo?"), message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    final = client.chat.completions.create(model="gpt-4o", messages=history, tools=tools)  # type: ignore[call-overload]
    assert final.choices[0].message.content
    assert final.choices[0].message.tool_calls is None


def test_embeddings_in_both_encodings(server: ModelServer) -> None:
    """The vector is the same whether the client asks for base64 (its default) or floats."""
    create = connect(server).embeddings.create
    packed = create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
    plain = create(model="text-embedding-3-small", input=["a", "b"], dimensions=8, encoding_format="float")
    assert len(packed.data) == 2
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, rel=1e-6)
    assert server.ledger.by_model["text-embedding-3-small"].input_tokens == packed.usage.total_tokens * 2


def test_wrong_requests_get_the_protocols_errors(server: ModelServer) -> None:
    """An unknown model is a 404 that lists the known ones; a body without messages is a 400."""
    client = connect(server)
    with pytest.raises(openai.NotFoundError, match=r"'gpt-9' does not exist.*gpt-4o"):
        client.chat.completions.create(model="gpt-9", messages=user("x"))
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="gpt-4o", messages=[])
    assert len(server.ledger) == 0


def test_the_ledger_tells_requests_from_calls() -> None:
    """A client's retries are requests of one call; errors are counted by status, tokens once."""
    faults = Faults(rate_limit=0.3, server_error=0.2, slow=0, persistence=0.4, retry_after_ms=1)
    with ModelServer(seed=2, faults=faults, latency_scale=0) as server:
        client, usages, failed = connect(server, max_retries=1), [], 0
        for number in range(60):
            try:
                usages.append(client.chat.completions.create(model="gpt-4o", messages=user(f"{number} + 1")).usage)
            except (openai.RateLimitError, openai.InternalServerError):
                failed += 1
        totals = server.ledger.by_model["gpt-4o"]
        assert failed > 0
        assert server.ledger.calls == 60
        assert server.ledger.answered == totals.answered == 60 - failed
        assert sum(server.ledger.errors.values()) == len(server.ledger) - server.ledger.answered
        assert set(server.ledger.errors) == {429, 500}
        assert totals.input_tokens == sum(usage.prompt_tokens for usage in usages if usage)
        assert totals.output_tokens == sum(usage.completion_tokens for usage in usages if usage)


def test_two_servers_with_one_seed_answer_alike() -> None:
    """Same seed, same requests in another order: the same answers, failures and tokens."""
    found = []
    for order in (range(30), reversed(range(30))):
        with ModelServer(seed=5, faults=Faults(rate_limit=0.2), latency_scale=0) as server:
            client, answers = connect(server, max_retries=0), {}
            for number in order:
                try:
                    answer = client.chat.completions.create(model="gpt-4o-mini", messages=user(f"{number} * 7"))
                    answers[number] = answer.choices[0].message.content
                except openai.APIStatusError as error:
                    answers[number] = str(error.status_code)
            found.append((answers, server.ledger.to_dict()))
    assert found[0] == found[1]


def test_a_caller_that_hangs_up_is_abandoned_at_once() -> None:
    """A cancelled request is settled as abandoned when the caller goes, not when its time is over."""

    async def main(server: ModelServer) -> None:
        plain = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="unused", http_client=plain) as client:
            request = asyncio.ensure_future(client.chat.completions.create(model="gpt-4o", messages=user("1 + 1")))
            await asyncio.sleep(0.3)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    with ModelServer(seed=1, faults=NO_FAULTS, latency_scale=1000) as server:
        asyncio.run(main(server))
        assert server.ledger.drain(timeout=5)
        assert (server.ledger.abandoned, server.ledger.answered) == (1, 0)
        assert server.ledger.by_model["gpt-4o"].output_tokens == 0


def test_closing_is_quick_and_leaves_no_thread() -> None:
    """A server under way with a slow answer closes at once, and nothing of it stays."""
    before = set(threading.enumerate())
    server = ModelServer(seed=1, faults=NO_FAULTS, latency_scale=1000).start()
    errors: list[Exception] = []

    def call() -> None:
        try:
            connect(server, max_retries=0).chat.completions.create(model="gpt-4o", messages=user("1 + 1"))
        except openai.APIError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    deadline = time.monotonic() + 10
    while "1 in flight" not in repr(server.ledger):
        assert time.monotonic() < deadline, "the request never arrived"
        time.sleep(0.01)
    started = time.perf_counter()
    server.close()
    server.close()
    took = time.perf_counter() - started
    caller.join(5)
    assert took < 5
    assert len(errors) == 1
    assert set(threading.enumerate()) <= before
    with pytest.raises(ResearchError, match="not running"):
        _ = server.base_url


def test_the_server_does_not_see_its_starters_context(server: ModelServer) -> None:
    """What is current where the server was started is not current in its handlers, and instrumentation is off."""
    seen: list[tuple[object, object]] = []
    token = otel_context.attach(otel_context.set_value("starter", True))
    try:
        with ModelServer(seed=1, faults=NO_FAULTS, latency_scale=0) as inner:
            settle = inner.ledger.settled

            def spy(exchange: Any) -> None:
                seen.append(
                    (
                        otel_context.get_value("starter"),
                        otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY),
                    )
                )
                settle(exchange)

            inner.ledger.settled = spy  # type: ignore[method-assign]
            connect(inner).chat.completions.create(model="gpt-4o", messages=user("1 + 1"))
    finally:
        otel_context.detach(token)
    assert seen == [(None, True)]


def test_a_taken_port_is_a_clear_error() -> None:
    """The message names the port and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ResearchError, match=f"port {port}.*port=0"):
            ModelServer(port=port).start()
