"""Instrumentations that are not among the captures, each in an environment of its own, against the local model server.

    python tests/vendors/sessions.py langfuse

Run by `nox -s vendors`. Prints what was counted beside the server's own numbers; fails where a number is wrong without a flag.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.demo.ledger import Exchange
from otel_research.demo.profiles import NO_FAULTS, Faults
from otel_research.demo.server import ModelServer

LONG = "You are a careful calculator. Work it out step by step. " * 20
"""Long enough for the server's cache."""
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
REFUSING = Faults(rate_limit=1, server_error=0, slow=0, persistence=1, retry_after_ms=1)
DOUBTS = frozenset({"usage_missing", "stream_without_usage", "usage_incomplete", "estimated_tokens"})
"""Flags that say that a number is not the provider's."""


def messages(number: int) -> Any:
    return [{"role": "system", "content": LONG}, {"role": "user", "content": f"What is {number} + 17?"}]


def openai_session(client: Any) -> None:
    """Plain, streamed with and without usage, tools, a cache that is warm by then."""
    chat = client.chat.completions
    chat.create(model="gpt-4o", messages=messages(1))
    list(chat.create(model="gpt-4o-mini", messages=messages(2), stream=True, stream_options={"include_usage": True}))
    list(chat.create(model="gpt-4o-mini", messages=messages(3), stream=True))
    chat.create(model="gpt-4o", messages=messages(4), tools=[TOOL])
    chat.create(model="o4-mini", messages=messages(5))


def openai_client(module: Any, url: str) -> Any:
    return module.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def _openai(module: Any, url: str, refusing: str) -> None:
    openai_session(openai_client(module, url))
    with suppress(Exception):
        openai_client(module, refusing).chat.completions.create(model="gpt-4o", messages=messages(6))


def langfuse(provider: TracerProvider, url: str, refusing: str) -> None:
    """Langfuse's drop-in for the openai package."""
    from langfuse import Langfuse
    from langfuse import openai as module

    Langfuse(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", tracer_provider=provider)
    _openai(module, url, refusing)


def openlit(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenLIT over the openai package."""
    import openai
    import openlit as package

    package.init(disable_metrics=True)
    _openai(openai, url, refusing)


def openai_agents(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenInference over the OpenAI Agents SDK: agents and tools around the calls."""
    import openai
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
    from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

    OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)

    @function_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    for target, tools in ((url, []), (url, [weather]), (refusing, [])):
        client = openai.AsyncOpenAI(base_url=f"{target}/v1", api_key="unused", max_retries=0)
        model = OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client)
        with suppress(Exception):
            Runner.run_sync(Agent(name="solver", instructions=LONG, model=model, tools=tools), "What is 1 + 17?")


def semantic_kernel(provider: TracerProvider, url: str, refusing: str) -> None:
    """Semantic Kernel's own spans."""
    import asyncio

    os.environ["SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS"] = "true"
    import openai
    from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
    from semantic_kernel.contents import ChatHistory

    async def ask(target: str) -> None:
        client = openai.AsyncOpenAI(base_url=f"{target}/v1", api_key="unused", max_retries=0)
        service = OpenAIChatCompletion(ai_model_id="gpt-4o", async_client=client)
        history = ChatHistory(system_message=LONG)
        history.add_user_message("What is 1 + 17?")
        settings = OpenAIChatPromptExecutionSettings()
        await service.get_chat_message_contents(history, settings)
        async for _ in service.get_streaming_chat_message_contents(history, settings):
            pass

    asyncio.run(ask(url))
    with suppress(Exception):
        asyncio.run(ask(refusing))


def litellm(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenInference over LiteLLM."""
    import litellm as package
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument(tracer_provider=provider)
    for target in (url, url, refusing):
        with suppress(Exception):
            package.completion(
                model="openai/gpt-4o", messages=messages(1), api_base=f"{target}/v1", api_key="unused", num_retries=0
            )
    with suppress(Exception):
        usage = {"include_usage": True}
        options: Any = {"api_base": f"{url}/v1", "api_key": "unused", "stream": True, "stream_options": usage}
        list(package.completion(model="openai/gpt-4o-mini", messages=messages(2), **options))


def langchain(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenInference over LangChain: a prompt and a chain around the calls, streams with and without usage, tools."""
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_openai import ChatOpenAI
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider)

    def model(target: str, name: str = "gpt-4o") -> Any:
        return ChatOpenAI(model=name, base_url=f"{target}/v1", api_key="unused", max_retries=0)

    prompt = ChatPromptTemplate.from_messages([("system", LONG), ("user", "What is {number} + 17?")])
    (prompt | model(url)).invoke({"number": 1})
    (prompt | model(url)).batch([{"number": 2}, {"number": 3}])
    list(model(url, "gpt-4o-mini").stream("What is 4 + 17?", stream_usage=True))
    list(model(url, "gpt-4o-mini").stream("What is 5 + 17?", stream_usage=False))
    model(url).bind_tools([TOOL]).invoke("What is 6 + 17?")
    model(url, "o4-mini").invoke("What is 7 + 17?")
    with suppress(Exception):
        (prompt | model(refusing)).invoke({"number": 8})


def _dspy(url: str, refusing: str, engine: str) -> None:
    """Asked directly, by a module, asynchronously, as a stream, refused; all through one of DSPy's two engines."""
    import asyncio

    import dspy as package

    def model(target: str, name: str = "gpt-4o") -> Any:
        options: Any = {"api_base": f"{target}/v1", "api_key": "unused", "cache": False, "num_retries": 0}
        return package.LM(f"openai/{name}", engine=engine, **options)

    async def stream() -> None:
        async for _ in package.streamify(package.Predict("question -> answer"))(question="What is 3 + 17?"):
            pass

    model(url)("What is 1 + 17?")
    asyncio.run(model(url, "o4-mini").acall("What is 2 + 17?"))
    # The server's words are not in the form that an adapter wants: the calls are made, the module fails.
    with package.context(lm=model(url, "gpt-4o-mini")):
        with suppress(Exception):
            package.Predict("question -> answer")(question="What is 4 + 17?")
        with suppress(Exception):
            asyncio.run(stream())
    with suppress(Exception):
        model(refusing)("What is 5 + 17?")


def dspy(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenTelemetry's own instrumentation of DSPy."""
    from opentelemetry.instrumentation.genai.dspy import DSPyInstrumentor

    DSPyInstrumentor().instrument(tracer_provider=provider)
    for engine in ("auto", "litellm"):
        _dspy(url, refusing, engine)


def dspy_openinference(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenInference over DSPy and over LiteLLM, which DSPy asks only when it is told to."""
    from openinference.instrumentation.dspy import DSPyInstrumentor
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    DSPyInstrumentor().instrument(tracer_provider=provider)
    LiteLLMInstrumentor().instrument(tracer_provider=provider)
    for engine in ("auto", "litellm"):
        _dspy(url, refusing, engine)


def agentops(provider: TracerProvider, url: str, refusing: str) -> None:
    """AgentOps' own instrumentation of the openai package."""
    import openai
    from agentops.instrumentation.providers.openai.instrumentor import OpenaiInstrumentor

    OpenaiInstrumentor().instrument(tracer_provider=provider)
    _openai(openai, url, refusing)


def strands(provider: TracerProvider, url: str, refusing: str) -> None:
    """Strands Agents' own spans: agents, cycles and tools around the calls."""
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    for target, tools in ((url, []), (url, [weather]), (refusing, [])):
        options = {"base_url": f"{target}/v1", "api_key": "unused", "max_retries": 0}
        model = OpenAIModel(client_args=options, model_id="gpt-4o")
        with suppress(Exception):
            Agent(model=model, system_prompt=LONG, tools=tools, callback_handler=None)("What is 1 + 17?")


def autogen(provider: TracerProvider, url: str, refusing: str) -> None:
    """OpenInference over AutoGen."""
    import asyncio

    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient
    from openinference.instrumentation.autogen_agentchat import AutogenAgentChatInstrumentor

    AutogenAgentChatInstrumentor().instrument(tracer_provider=provider)

    async def ask(target: str) -> None:
        client = OpenAIChatCompletionClient(model="gpt-4o", base_url=f"{target}/v1", api_key="unused", max_retries=0)
        await AssistantAgent("solver", model_client=client, system_message=LONG).run(task="What is 1 + 17?")

    for target in (url, refusing):
        with suppress(Exception):
            asyncio.run(ask(target))


def traceai(provider: TracerProvider, url: str, refusing: str) -> None:
    """Future AGI's instrumentation of the openai package."""
    import openai
    from traceai_openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)
    _openai(openai, url, refusing)


def llama_index(provider: TracerProvider, url: str, refusing: str) -> None:
    """LlamaIndex's own spans, of the global provider: plain, streamed, refused."""
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike
    from llama_index.observability.otel import LlamaIndexOpenTelemetry
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    LlamaIndexOpenTelemetry(span_exporter=InMemorySpanExporter()).start_registering()
    asked = [ChatMessage(role=one["role"], content=one["content"]) for one in messages(1)]
    for target in (url, url, refusing):
        model = OpenAILike(model="gpt-4o", api_base=f"{target}/v1", api_key="unused", is_chat_model=True, max_retries=0)
        with suppress(Exception):
            model.chat(asked)
            list(model.stream_chat(asked))


SESSIONS: dict[str, Callable[[TracerProvider, str, str], None]] = {
    one.__name__: one
    for one in (
        langfuse,
        openlit,
        openai_agents,
        semantic_kernel,
        langchain,
        litellm,
        dspy,
        dspy_openinference,
        agentops,
        strands,
        autogen,
        traceai,
        llama_index,
    )
}


def run(name: str) -> tuple[list[dict[str, Any]], list[Exchange], list[str]]:
    """The rows that count, what the servers answered, and the findings."""
    from otel_research import semconv

    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    otr.configure(store="memory:", provider=provider)
    with (
        ModelServer(seed=3, faults=NO_FAULTS, latency_scale=0) as server,
        ModelServer(seed=3, faults=REFUSING, latency_scale=0) as refusing,
    ):
        # Process-wide, because some packages ask in threads of their own.
        exp = otr.start_experiment(name)
        SESSIONS[name](provider, server.url, refusing.url)
        otr.stop_experiment(exp.id)
        assert server.ledger.drain()
        assert refusing.ledger.drain()
        exchanges = [*server.ledger.exchanges, *refusing.ledger.exchanges]
    rows = exp.spans().collect()
    found = [finding.code for finding in semconv.findings(rows.lazy())]
    return rows.filter("is_call").to_dicts(), exchanges, found


def wrong(calls: list[dict[str, Any]], exchanges: list[Exchange]) -> list[str]:
    """What differs from the server without a flag."""
    problems = []
    if len(calls) != len(exchanges):
        problems.append(f"{len(calls)} calls were counted, {len(exchanges)} were made")
    answered = sorted(
        (one.model, one.input_tokens, one.output_tokens) for one in exchanges if one.outcome == "answered"
    )
    for call in calls:
        flags = set((call["flags"] or "").split(","))
        said = (call["request_model"], call["input_tokens"], call["output_tokens"])
        # A package that writes the answering model for the one asked for says so in a flag.
        asked = said[0] if "request_model_from_response" not in flags else re.sub(r"-20\d\d-\d\d-\d\d$", "", said[0])
        if call["error_type"] is None and (asked, *said[1:]) not in answered and not flags & DOUBTS:
            problems.append(f"{said} with flags {sorted(flags)} was no answer of the server")
    failures = sum(one.outcome != "answered" for one in exchanges)
    if sum(call["error_type"] is not None for call in calls) != failures:
        problems.append(f"{failures} requests failed; {[call['error_type'] for call in calls]} are the errors")
    return problems


def main(name: str) -> int:
    """Run one session and say what came of it."""
    calls, exchanges, findings = run(name)
    columns = (
        "name", "request_model", "input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "streaming",
        "error_kind", "dialect", "scope", "flags",
    )  # fmt: skip
    for call in calls:
        print(json.dumps({column: call[column] for column in columns}))
    for one in exchanges:
        told = (
            one.model,
            one.outcome,
            one.status,
            one.input_tokens,
            one.output_tokens,
            one.cached_tokens,
            one.is_stream,
        )
        print("server:", *told)
    print("findings:", ", ".join(findings))
    problems = wrong(calls, exchanges)
    print("\n".join(problems) or f"{name}: {len(calls)} of {len(exchanges)} calls, exact or flagged")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
