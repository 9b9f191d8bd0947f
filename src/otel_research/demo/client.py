"""The real `openai` client, instrumented by a real instrumentation from PyPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from otel_research.demo.questions import Question, read_answer
from otel_research.errors import MissingExtra

if TYPE_CHECKING:
    import openai

INSTRUMENTATIONS = (
    ("opentelemetry.instrumentation.genai.openai", "opentelemetry-instrumentation-genai-openai"),
    ("openinference.instrumentation.openai", "openinference-instrumentation-openai"),
)
"""Module and distribution of the instrumentations the demo can use, the preferred one first."""

_INSTRUCTIONS = (
    "You are a careful calculator. You are asked for the value of one sum, difference or product of two "
    "whole numbers. Work it out step by step in a few words, check every digit, carry over the tens, and "
    "compare the result with a rough estimate before you state it. End with 'Answer:' followed by the number "
    "alone, without separators, units or a full stop. Never answer with a range, and never with words."
)
_RETRIES = 1
_TIMEOUT = 30.0


def need_demo() -> None:
    """Raise `MissingExtra` for the first piece that is not installed: one extra brings all of them, the server's too."""
    for package in ("openai", "starlette", "uvicorn"):
        if find_spec(package) is None:
            raise MissingExtra(package, "demo")
    _instrumentor()


@contextmanager
def instrumented() -> Iterator[str]:
    """Spans for every call of the `openai` client inside; gives the instrumentation's distribution.

    An instrumentation that is already active, say by `opentelemetry-instrument`, is used as
    it is and stays: two of them would make two spans of every call.
    """
    instrumentor, distribution = _instrumentor()
    was_active = instrumentor.is_instrumented_by_opentelemetry
    if not was_active:
        instrumentor.instrument()
    try:
        yield distribution
    finally:
        if not was_active:
            instrumentor.uninstrument()


def _instrumentor() -> tuple[Any, str]:
    found = []
    for module, distribution in INSTRUMENTATIONS:
        try:
            found.append((import_module(module).OpenAIInstrumentor(), distribution))
        except ModuleNotFoundError:
            continue
    active = [one for one in found if one[0].is_instrumented_by_opentelemetry]
    if not found:
        raise MissingExtra(INSTRUMENTATIONS[0][1], "demo")
    return (active or found)[0]


@asynccontextmanager
async def connect(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client for the model server; a proxy set in the environment stays out of loopback traffic."""
    import openai

    plain = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="unused", max_retries=_RETRIES, timeout=_TIMEOUT, http_client=plain
    ) as client:
        yield client


async def ask(client: openai.AsyncOpenAI, model: str, question: Question, seed: int) -> int | None:
    """The number a model answers with, streamed; None where its answer holds none."""
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": question.text}],
        temperature=0.2,
        seed=seed,
        stream=True,
        # Without this a stream reports no usage, and the call would be unpriced.
        stream_options={"include_usage": True},
    )
    async with stream:
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    return read_answer("".join(parts))
