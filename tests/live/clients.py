"""Real clients under real instrumentations, each doing the same at the local model server.

Every client asks plainly, in a stream, asynchronously, with tools and where it is refused.
Proxies of the environment stay out of loopback traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anthropic
import httpx2
import openai
from opentelemetry.sdk.trace import TracerProvider

SYSTEM = "You are a careful calculator. Work it out step by step. " * 20
"""Long enough for the server's cache."""
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
ANTHROPIC_TOOL: Any = {"name": "weather", "input_schema": CITY}
HAIKU: Any = "claude-haiku-4-5"
SUMS = tuple(f"What is {number} + 17?" for number in range(3))

Use = Callable[[TracerProvider, str], AbstractContextManager["Client"]]
"""(provider, server's root) -> a client whose calls are spans of the provider, for a block."""


class Client:
    """What a test asks of a client."""

    def plain(self, question: str) -> None:
        raise NotImplementedError

    def stream(self, question: str) -> None:
        raise NotImplementedError

    async def plain_async(self, question: str) -> None:
        raise NotImplementedError

    async def stream_async(self, question: str) -> None:
        raise NotImplementedError

    def tools(self, question: str) -> None:
        raise NotImplementedError


class OpenAI(Client):
    """The openai package."""

    def __init__(self, url: str) -> None:
        self._options: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "unused", "max_retries": 0}
        self._client = openai.OpenAI(**self._options, http_client=openai.DefaultHttpxClient(trust_env=False))

    def _async(self) -> openai.AsyncOpenAI:
        # One per call: connections belong to the event loop they were made in.
        return openai.AsyncOpenAI(**self._options, http_client=openai.DefaultAsyncHttpxClient(trust_env=False))

    def plain(self, question: str) -> None:
        self._client.chat.completions.create(model="gpt-4o", messages=_openai(question), temperature=0.2, seed=7)

    def stream(self, question: str) -> None:
        usage: Any = {"include_usage": True}
        made = self._client.chat.completions.create(
            model="gpt-4o-mini", messages=_openai(question), stream=True, stream_options=usage
        )
        assert list(made)

    async def plain_async(self, question: str) -> None:
        async with self._async() as client:
            await client.chat.completions.create(model="o4-mini", messages=_openai(question))

    async def stream_async(self, question: str) -> None:
        usage: Any = {"include_usage": True}
        async with self._async() as client:
            made = await client.chat.completions.create(
                model="o4-mini", messages=_openai(question), stream=True, stream_options=usage
            )
            assert [chunk async for chunk in made]

    def tools(self, question: str) -> None:
        made = self._client.chat.completions.create(model="gpt-4o", messages=_openai(question), tools=[OPENAI_TOOL])
        assert made.choices[0].finish_reason == "tool_calls"


def _openai(question: str) -> Any:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


class Anthropic(Client):
    """The anthropic package; `traces` says whether it makes spans itself."""

    def __init__(self, url: str, provider: TracerProvider, *, traces: bool) -> None:
        telemetry: Any = {"tracer_provider": provider, "traces": traces}
        self._options: dict[str, Any] = {
            "base_url": url, "api_key": "unused", "max_retries": 0, "open_telemetry": telemetry
        }  # fmt: skip
        self._client = anthropic.Anthropic(**self._options, http_client=httpx2.Client(trust_env=False))

    def _async(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(**self._options, http_client=httpx2.AsyncClient(trust_env=False))

    def plain(self, question: str) -> None:
        self._client.messages.create(**_anthropic(question))

    def stream(self, question: str) -> None:
        with self._client.messages.stream(**_anthropic(question)) as events:
            assert events.get_final_message().content

    async def plain_async(self, question: str) -> None:
        async with self._async() as client:
            await client.messages.create(**_anthropic(question))

    async def stream_async(self, question: str) -> None:
        async with self._async() as client, client.messages.stream(**_anthropic(question)) as events:
            assert (await events.get_final_message()).content

    def tools(self, question: str) -> None:
        made = self._client.messages.create(**_anthropic(question), tools=[ANTHROPIC_TOOL])
        assert made.stop_reason == "tool_use"


def _anthropic(question: str) -> dict[str, Any]:
    return {
        "model": HAIKU,
        "max_tokens": 200,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": question}],
    }


class PydanticAI(Client):
    """pydantic-ai with its own spans, on top of an openai client without an instrumentation."""

    def __init__(self, url: str, provider: TracerProvider) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.capabilities import Instrumentation
        from pydantic_ai.models.instrumented import InstrumentationSettings
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        self._url = url
        spans = Instrumentation(settings=InstrumentationSettings(tracer_provider=provider))

        def agent(name: str, *tools: Any) -> Any:
            # A connection belongs to the event loop it was made in, and every synchronous run has its own.
            http = openai.DefaultAsyncHttpxClient(trust_env=False)
            client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=http)
            model = OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))
            return Agent(model, instructions=SYSTEM, tools=tools, capabilities=[spans])

        self._agent = agent

    def plain(self, question: str) -> None:
        assert self._agent("gpt-4o").run_sync(question).output

    def stream(self, question: str) -> None:
        assert list(self._agent("gpt-4o-mini").run_stream_sync(question).stream_text())

    async def plain_async(self, question: str) -> None:
        assert (await self._agent("o4-mini").run(question)).output

    async def stream_async(self, question: str) -> None:
        async with self._agent("o4-mini").run_stream(question) as made:
            assert [text async for text in made.stream_text()]

    def tools(self, question: str) -> None:
        def weather(city: str) -> str:
            return f"rain in {city}"

        assert self._agent("gpt-4o", weather).run_sync(question).output


@contextmanager
def _instrumented(instrumentor: Any, provider: TracerProvider, client: Client) -> Iterator[Client]:
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield client
    finally:
        instrumentor.uninstrument()


def genai_openai(provider: TracerProvider, url: str) -> AbstractContextManager[Client]:
    """openai, by OpenTelemetry's own instrumentation."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    return _instrumented(OpenAIInstrumentor(), provider, OpenAI(url))


def openinference_openai(provider: TracerProvider, url: str) -> AbstractContextManager[Client]:
    """openai, by OpenInference."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    return _instrumented(OpenAIInstrumentor(), provider, OpenAI(url))


@contextmanager
def anthropic_native(provider: TracerProvider, url: str) -> Iterator[Client]:
    """anthropic, by itself."""
    yield Anthropic(url, provider, traces=True)


def openinference_anthropic(provider: TracerProvider, url: str) -> AbstractContextManager[Client]:
    """anthropic, by OpenInference alone."""
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    return _instrumented(AnthropicInstrumentor(), provider, Anthropic(url, provider, traces=False))


def both_anthropic(provider: TracerProvider, url: str) -> AbstractContextManager[Client]:
    """anthropic, by itself and by OpenInference: two spans of every call."""
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    return _instrumented(AnthropicInstrumentor(), provider, Anthropic(url, provider, traces=True))


@contextmanager
def pydantic_ai(provider: TracerProvider, url: str) -> Iterator[Client]:
    """pydantic-ai, by itself: agents, tools and calls."""
    yield PydanticAI(url, provider)


@contextmanager
def pydantic_ai_over_openai(provider: TracerProvider, url: str) -> Iterator[Client]:
    """pydantic-ai by itself, and the openai client below it by OpenTelemetry's instrumentation."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    with _instrumented(OpenAIInstrumentor(), provider, PydanticAI(url, provider)) as client:
        yield client


CLIENTS: tuple[Use, ...] = (
    genai_openai,
    openinference_openai,
    anthropic_native,
    openinference_anthropic,
    both_anthropic,
    pydantic_ai,
    pydantic_ai_over_openai,
)
