"""Instrumentations without a capture, as their documentation or source says they write: one call each, read right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from made_spans import MS, START, marked, one, span

GPT = {"request_model": "gpt-4o", "input_tokens": 40, "output_tokens": 12}
CLAUDE = {"request_model": "anthropic.claude-sonnet-4-5-20250929-v1:0", "input_tokens": 40, "output_tokens": 12}

CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "azure ai inference": (
        "azure.ai.inference",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "az.ai.inference", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "server.address": "x.services.ai.azure.com"},
        GPT | {"provider": "azure.ai.inference"},
    ),
    "azure openai by its host": (
        "opentelemetry.instrumentation.genai.openai",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "server.address": "mine.openai.azure.com"},
        GPT | {"provider": "azure.ai.openai"},
    ),
    "traceloop vertex": (
        "opentelemetry.instrumentation.vertexai",
        {"gen_ai.system": "Google", "llm.request.type": "completion", "gen_ai.request.model": "gemini-2.5-flash", "gen_ai.response.model": "gemini-2.5-flash", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12, "llm.usage.total_tokens": 52},
        {"request_model": "gemini-2.5-flash", "input_tokens": 40, "output_tokens": 12, "provider": "gcp.gemini"},
    ),
    "traceloop cohere, counts as doubles": (
        "opentelemetry.instrumentation.cohere",
        {"gen_ai.system": "Cohere", "llm.request.type": "chat", "gen_ai.request.model": "command-r", "gen_ai.usage.prompt_tokens": 40.0, "gen_ai.usage.completion_tokens": 12.0, "llm.usage.total_tokens": 52.0},
        {"request_model": "command-r", "input_tokens": 40, "output_tokens": 12, "provider": "cohere"},
    ),
    "traceloop together": (
        "opentelemetry.instrumentation.together",
        {"gen_ai.system": "TogetherAI", "llm.request.type": "chat", "gen_ai.request.model": "meta-llama/Llama-3-8b", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12},
        {"request_model": "meta-llama/Llama-3-8b", "input_tokens": 40, "output_tokens": 12, "provider": "together_ai"},
    ),
    "traceloop of 2023": (
        "opentelemetry.instrumentation.openai.v1",
        {"llm.vendor": "OpenAI", "llm.request.type": "chat", "llm.request.model": "gpt-4o", "llm.response.model": "gpt-4o-2024-08-06", "llm.usage.prompt_tokens": 40, "llm.usage.completion_tokens": 12, "llm.usage.total_tokens": 52},
        GPT | {"provider": "openai", "response_model": "gpt-4o-2024-08-06"},
    ),
    "traceloop for node": (
        "@traceloop/instrumentation-openai",
        {"gen_ai.system": "OpenAI", "llm.request.type": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": "40", "gen_ai.usage.completion_tokens": "12", "llm.usage.total_tokens": "52"},
        GPT | {"provider": "openai", "operation": "chat"},
    ),
    "bedrock converse": (
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "aws.bedrock", "gen_ai.request.model": CLAUDE["request_model"], "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.cache_read.input_tokens": 30, "rpc.service": "Bedrock Runtime"},
        CLAUDE | {"provider": "aws.bedrock", "cache_read_tokens": 30},
    ),
    "bedrock invoke model": (
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        {"gen_ai.operation.name": "text_completion", "gen_ai.system": "aws.bedrock", "gen_ai.request.model": "amazon.titan-text-premier-v1:0", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12},
        {"request_model": "amazon.titan-text-premier-v1:0", "operation": "text_completion", "input_tokens": 40},
    ),
    "openinference groq": (
        "openinference.instrumentation.groq",
        {"openinference.span.kind": "LLM", "llm.model_name": "llama-3.3-70b", "llm.provider": "groq", "llm.token_count.prompt": 40, "llm.token_count.completion": 12, "llm.token_count.total": 52, "llm.invocation_parameters": '{"model": "llama-3.3-70b", "temperature": 0.5}'},
        {"request_model": "llama-3.3-70b", "provider": "groq", "input_tokens": 40, "output_tokens": 12, "temperature": 0.5},
    ),
    "spring ai": (
        "org.springframework.boot",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.usage.input_tokens": "40", "gen_ai.usage.output_tokens": "12", "gen_ai.usage.total_tokens": "52", "gen_ai.request.temperature": "0.7", "gen_ai.response.finish_reasons": '["STOP"]'},
        GPT | {"finish_reason": "stop", "temperature": 0.7},
    ),
    "langchain4j": (
        "io.quarkus.opentelemetry",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.response.finish_reasons": ["STOP"]},
        GPT | {"provider": "openai", "finish_reason": "stop"},
    ),
    "semantic kernel for .net": (
        "Microsoft.SemanticKernel.Diagnostics",
        {"gen_ai.operation.name": "chat.completions", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.prompt_tokens": 40, "gen_ai.response.completion_tokens": 12},
        GPT,
    ),
    "microsoft.extensions.ai": (
        "Experimental.Microsoft.Extensions.AI",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "azure.ai.openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12},
        GPT | {"provider": "azure.ai.openai"},
    ),
    "vercel 4": (
        "ai",
        {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o", "ai.model.provider": "openai.chat", "ai.usage.promptTokens": 40, "ai.usage.completionTokens": 12, "ai.response.finishReason": "tool-calls", "gen_ai.system": "openai.chat", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12},
        GPT | {"provider": "openai", "finish_reason": "tool_call", "streaming": False},
    ),
    "vercel 5": (
        "ai",
        {"ai.operationId": "ai.streamText.doStream", "ai.model.id": "gpt-4o", "ai.model.provider": "openai.responses", "ai.usage.inputTokens": 40, "ai.usage.outputTokens": 12, "ai.usage.totalTokens": 52, "ai.usage.cachedInputTokens": 30, "ai.usage.reasoningTokens": 4, "ai.response.msToFirstChunk": 3.5},
        GPT | {"cache_read_tokens": 30, "reasoning_tokens": 4, "streaming": True, "ttft_ms": 3.5},
    ),
    "mastra": (
        "@mastra/otel",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.cached_input_tokens": 30, "gen_ai.usage.reasoning_tokens": 4, "mastra.span.type": "model_generation"},
        GPT | {"cache_read_tokens": 30, "reasoning_tokens": 4},
    ),
    "langfuse 3": (
        "langfuse-sdk",
        {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o", "langfuse.observation.usage_details": '{"input": 40, "output": 12, "total": 52}', "langfuse.observation.model.parameters": '{"temperature": 0.5}'},
        GPT | {"temperature": 0.5},
    ),
    "mlflow 2": (
        "mlflow.openai",
        {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.spanInputs": '{"model": "gpt-4o", "messages": []}', "mlflow.chat.tokenUsage": '{"input_tokens": 40, "output_tokens": 12, "total_tokens": 52}'},
        GPT,
    ),
    "braintrust": (
        "braintrust",
        {"braintrust.span_attributes": '{"type": "llm"}', "braintrust.metadata": '{"model": "gpt-4o", "provider": "openai"}', "braintrust.metrics": '{"prompt_tokens": 40, "completion_tokens": 12, "tokens": 52, "prompt_cached_tokens": 30, "time_to_first_token": 0.004}'},
        GPT | {"provider": "openai", "cache_read_tokens": 30, "ttft_ms": 4.0},
    ),
    "deepeval": (
        "deepeval_tracer",
        {"confident.span.type": "llm", "confident.llm.model": "gpt-4o", "confident.llm.input_token_count": 40.0, "confident.llm.output_token_count": 12.0},
        GPT,
    ),
    "trulens": (
        "trulens",
        {"ai.observability.span_type": "generation", "ai.observability.cost.model": "gpt-4o", "ai.observability.cost.num_prompt_tokens": 40, "ai.observability.cost.num_completion_tokens": 12, "ai.observability.cost.cost": 0.5},
        GPT | {"reported_cost_usd": 0.5},
    ),
    "judgeval, the input beside the cache": (
        "judgeval",
        {"judgment.span_kind": "llm", "judgment.llm.model": "gpt-4o", "judgment.llm.provider": "openai", "judgment.usage.non_cached_input_tokens": 10, "judgment.usage.cache_read_input_tokens": 30, "judgment.usage.cache_creation_input_tokens": 0, "judgment.usage.output_tokens": 12},
        GPT | {"cache_read_tokens": 30},
    ),
    "agentops": (
        "openai",
        {"agentops.span.kind": "llm", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12, "gen_ai.request.streaming": True, "gen_ai.streaming.time_to_first_token": 0.004},
        GPT | {"streaming": True, "ttft_ms": 4.0},
    ),
    "langtrace": (
        "langtrace_python_sdk.instrumentation.openai.instrumentation",
        {"langtrace.service.name": "OpenAI", "langtrace.service.type": "llm", "langtrace.sdk.name": "langtrace-python-sdk", "gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.request.stream": True, "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.total_tokens": 52, "gen_ai.usage.cached_tokens": 30},
        GPT | {"dialect": "langtrace", "cache_read_tokens": 30, "streaming": True, "flags": "estimated_tokens"},
    ),
    "traceai": (
        "traceai_openai",
        {"gen_ai.span.kind": "LLM", "gen_ai.provider.name": "openai", "gen_ai.request.parameters": '{"model": "gpt-4o"}', "gen_ai.request.model": "gpt-4o-2024-08-06", "gen_ai.usage.total_tokens": 52, "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.output.messages.0.message.role": "assistant"},
        GPT,
    ),
    "traceai stream": (
        "traceai_openai",
        {"gen_ai.span.kind": "LLM", "gen_ai.provider.name": "openai", "gen_ai.request.parameters": '{"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}}', "gen_ai.usage.total_tokens": 52, "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12},
        GPT | {"streaming": True},
    ),
    "ag2": (
        "opentelemetry.instrumentation.ag2",
        {"ag2.span.type": "llm", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.cache_read_input_tokens": 30, "gen_ai.usage.thinking_tokens": 4},
        GPT | {"cache_read_tokens": 30, "reasoning_tokens": 4},
    ),
    "sentry": (
        "sentry",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.input_tokens.cached": 30, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.output_tokens.reasoning": 4, "gen_ai.usage.total_tokens": 52},
        GPT | {"cache_read_tokens": 30, "reasoning_tokens": 4},
    ),
    "pydantic ai 1": (
        "pydantic-ai",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.details.reasoning_tokens": 4, "events": "[]", "model_request_parameters": "{}"},
        GPT | {"reasoning_tokens": 4},
    ),
    "openinference decision": (
        "openinference.instrumentation.typesafe",
        {"openinference.span.kind": "DECISION", "decision.model_name": "gpt-4o", "decision.provider": "openai", "decision.token_count.input": 40, "decision.token_count.output": 12},
        GPT,
    ),
    "watsonx, by the old names": (
        "opentelemetry.instrumentation.watsonx",
        {"gen_ai.system": "Watsonx", "llm.request.type": "completion", "gen_ai.request.model": "ibm/granite", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12},
        {"request_model": "ibm/granite", "provider": "ibm.watsonx.ai", "operation": "text_completion", "input_tokens": 40},
    ),
    "google adk": (
        "gcp.vertex.agent",
        {"gen_ai.operation.name": "generate_content", "gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gcp.vertex.agent.session_id": "s"},
        {"request_model": "gemini-2.5-pro", "provider": "gcp.gemini", "operation": "chat", "input_tokens": 40, "output_tokens": 12},
    ),
    "pipecat": (
        "pipecat",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.output.type": "text", "stream": True, "metrics.ttfb": 0.004, "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.cache_read.input_tokens": 30},
        GPT | {"ttft_ms": 4.0, "streaming": True, "cache_read_tokens": 30},
    ),
    "livekit": (
        "livekit-agents",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.input_cached_tokens": 30, "lk.llm_metrics": '{"type": "llm_metrics", "ttft": 0.004, "prompt_tokens": 40, "completion_tokens": 12}'},
        GPT | {"dialect": "livekit", "ttft_ms": 4.0, "cache_read_tokens": 30},
    ),
    "livekit, counts in its metrics only": (
        "livekit-agents",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "lk.llm_metrics": '{"prompt_tokens": 40, "completion_tokens": 12, "prompt_cached_tokens": 30, "total_tokens": 52}'},
        GPT | {"cache_read_tokens": 30},
    ),
    "honeyhive, written by hand": (
        "honeyhive.1",
        {"honeyhive_event_type": "model", "honeyhive_config.model": "gpt-4o", "honeyhive_config.provider": "openai", "honeyhive_metadata.prompt_tokens": 40, "honeyhive_metadata.completion_tokens": 12, "honeyhive_metadata.total_tokens": 52, "honeyhive_metrics.cost": 0.5},
        GPT | {"dialect": "honeyhive", "provider": "openai", "reported_cost_usd": 0.5},
    ),
    "vllm": (
        "vllm.llm_engine",
        {"gen_ai.response.model": "meta-llama/Llama-3-8B", "gen_ai.request.id": "cmpl-1", "gen_ai.request.temperature": 0.7, "gen_ai.request.n": 1, "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12, "gen_ai.latency.time_in_queue": 0.001, "gen_ai.latency.time_to_first_token": 0.004},
        {"response_model": "meta-llama/Llama-3-8B", "input_tokens": 40, "output_tokens": 12, "ttft_ms": 4.0, "streaming": None},
    ),
    "gemini cli": (
        "gemini-cli",
        {"gen_ai.operation.name": "llm_call", "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.agent.name": "gemini-cli", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.conversation.id": "c"},
        {"request_model": "gemini-2.5-pro", "operation": "chat", "input_tokens": 40, "output_tokens": 12},
    ),
    "an operation that nobody knows yet": (
        "acme",
        {"gen_ai.operation.name": "dream", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12},
        GPT | {"operation": "dream"},
    ),
    "openrouter, broadcast": (
        "openrouter",
        {"gen_ai.provider.name": "OpenAI", "gen_ai.request.model": "openai/gpt-4o", "gen_ai.response.model": "openai/gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.total_tokens": 52, "gen_ai.usage.input_cost": 0.1, "gen_ai.usage.output_cost": 0.4, "gen_ai.usage.total_cost": 0.5, "gen_ai.response.finish_reason": "stop"},
        {"request_model": "openai/gpt-4o", "input_tokens": 40, "output_tokens": 12, "reported_cost_usd": 0.5, "finish_reason": "stop"},
    ),
    "bifrost": (
        "bifrost",
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12, "gen_ai.usage.total_tokens": 52, "gen_ai.usage.cost": 0.5},
        GPT | {"reported_cost_usd": 0.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_read_as_documented(name: str) -> None:
    """Model, provider, counts and times stand in our columns, and the row counts as one call."""
    scope, attributes, expected = CALLS[name]
    row = one(attributes, scope=scope)
    assert {column: row[column] for column in expected} == expected
    assert row["is_call"]


PARENTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "vercel 4": ({"ai.operationId": "ai.generateText", "ai.model.id": "gpt-4o", "ai.usage.promptTokens": 40, "ai.usage.completionTokens": 12}, "chain"),
    "an operation that nobody knows yet": ({"gen_ai.operation.name": "dream", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12}, None),
    "gemini cli": ({"gen_ai.operation.name": "agent_call", "gen_ai.agent.name": "solver"}, "agent"),
    "openai agents": ({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "solver", "gen_ai.usage.input_tokens": 40}, "agent"),
    "langgraph": ({"gen_ai.operation.name": "invoke_workflow", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12}, "chain"),
    "crewai": ({"gen_ai.operation.name": "execute_task", "gen_ai.usage.input_tokens": 40}, "chain"),
    "mastra": ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12}, "agent"),
    "autogen core": ({"gen_ai.operation.name": "create_agent", "gen_ai.system": "autogen"}, "agent"),
    "spring ai advisor": ({"gen_ai.operation.name": "framework", "gen_ai.system": "spring_ai"}, "chain"),
    "langtrace": ({"langtrace.service.type": "framework", "langtrace.service.name": "CrewAI"}, "chain"),
    "traceai": ({"fi.span.kind": "AGENT", "gen_ai.agent.name": "solver"}, "agent"),
    "agentops": ({"agentops.span.kind": "agent", "agent.name": "solver"}, "agent"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARENTS)
def test_what_stands_around_a_call_is_no_call(name: str) -> None:
    """A parent that repeats a model and its counts keeps its role; the call below it counts once."""
    attributes, role = PARENTS[name]
    inner = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai",
             "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12}  # fmt: skip
    times = {"start_ns": START + MS, "end_ns": START + 9 * MS}
    rows = marked(span(0, attributes, scope="somebody"), span(1, inner, parent_span_id="s0", **times))
    assert [(row["role"], row["is_call"]) for row in rows] == [(role, False), ("call", True)]


def test_an_unknown_operation_around_a_call_does_not_count_twice() -> None:
    """It names the model and repeats the counts."""
    outer = {"gen_ai.operation.name": "dream", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12}  # fmt: skip
    times = {"start_ns": START + MS, "end_ns": START + 9 * MS}
    rows = marked(span(0, outer, scope="acme"), span(1, outer | {"gen_ai.operation.name": "chat"}, parent_span_id="s0", **times))  # fmt: skip
    assert [row["excluded_because"] for row in rows] == ["wrapper", None]


def test_counts_that_stand_only_in_events_are_unknown_and_flagged() -> None:
    """A call whose counts nobody put on the span has none, and says so."""
    events = [{"name": "gen_ai.choice", "time_ns": START, "attributes": {"usage": '{"prompt_tokens": 40}'}}]
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}
    row = one(attributes, events=json.dumps(events))
    assert (row["input_tokens"], "usage_missing" in row["flags"]) == (None, True)


MODEL = {"span_id": "OpenAILike.chat-1", "model_dict.class_name": "OpenAILike", "model_dict.model_name": "gpt-4o"}
ANSWER = {
    "span_id": "OpenAILike.chat-1",
    "response.raw.id": "chatcmpl-1",
    "response.raw.model": "gpt-4o-2024-08-06",
    "response.raw.choices": '[{"finish_reason": "stop", "index": 0}]',
    "response.raw.usage.prompt_tokens": 40,
    "response.raw.usage.completion_tokens": 12,
    "response.raw.usage.total_tokens": 52,
    "response.raw.usage.prompt_tokens_details.cached_tokens": 30,
}


def of_llama_index(*events: tuple[str, dict[str, Any]], **columns: Any) -> dict[str, Any]:
    """Its span, which has no attributes, below the method that was called, and beside another's."""
    written = json.dumps([{"name": name, "time_ns": START, "attributes": given} for name, given in events])
    its = {"scope": "llamaindex.opentelemetry.tracer", "kind": "internal", "events": written} | columns
    other = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
    rows = marked(
        span(0, "{}", scope="llamaindex.opentelemetry.tracer"),
        span(1, "{}", parent_span_id="s0", **its),
        span(2, other),
    )
    assert [(row["role"], row["request_model"]) for row in (rows[0], rows[2])] == [
        (None, None),
        ("call", "gpt-4o-mini"),
    ]
    return rows[1]


def test_llama_index_has_its_calls_in_events() -> None:
    """Model, counts and ids; the method around it is no call."""
    row = of_llama_index(("LLMChatStartEvent", MODEL), ("LLMChatEndEvent", ANSWER))
    expected = GPT | {
        "is_call": True, "operation": "chat", "response_model": "gpt-4o-2024-08-06", "response_id": "chatcmpl-1",
        "finish_reason": "stop", "cache_read_tokens": 30, "dialect": "llama_index", "streaming": None,
        "attributes": "{}",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("choices", ['[{"finish_reason": "st', "", "{}", "[1]", 3, None])
def test_a_cut_answer_of_llama_index_is_still_a_call(choices: Any) -> None:
    """A limit on the length of attributes cuts the choices; the counts stand beside them."""
    row = of_llama_index(("LLMChatStartEvent", MODEL), ("LLMChatEndEvent", ANSWER | {"response.raw.choices": choices}))
    assert {name: row[name] for name in GPT} == GPT
    assert (row["is_call"], row["finish_reason"]) == (True, None)


def test_a_stream_of_llama_index_ends_before_its_answer() -> None:
    """The span has the beginning only: unknown, and flagged."""
    row = of_llama_index(("LLMChatStartEvent", MODEL | {"span_id": "OpenAILike.stream_chat-1"}))
    assert (row["streaming"], row["input_tokens"]) == (True, None)
    assert "stream_without_usage" in row["flags"]


@pytest.mark.parametrize("events", ["[", "null", '{"Event": 1}', '[1, "LLMChatEndEvent"]', None])
def test_events_that_cannot_be_read_change_nothing(events: str | None) -> None:
    """The row keeps its place, with nothing known."""
    row = of_llama_index(events=events)
    assert (row["role"], row["is_call"]) == (None, False)


CLAUDE_CODE = {"scope": "com.anthropic.claude_code.tracing", "kind": "internal"}
REQUEST = {"span.type": "llm_request", "model": "claude-opus-5", "gen_ai.system": "anthropic", "gen_ai.request.model": "claude-opus-5"}  # fmt: skip


def test_claude_code_writes_plain_words() -> None:
    """The input beside the cache, the first token in milliseconds, the tool's name; a turn is no call."""
    told = {"input_tokens": 2, "output_tokens": 1200, "cache_read_tokens": 84_562, "cache_creation_tokens": 7_096, "ttft_ms": 5, "success": True, "stop_reason": "tool_use", "attempt": 1}  # fmt: skip
    turn, call, tool = marked(
        span(0, {"span.type": "interaction", "session.id": "s"}, name="claude_code.interaction", **CLAUDE_CODE),
        span(1, REQUEST | told, name="claude_code.llm_request", parent_span_id="s0", **CLAUDE_CODE),
        span(2, {"tool_name": "Bash"}, name="claude_code.tool", parent_span_id="s0", **CLAUDE_CODE),
    )
    assert (turn["role"], tool["role"], tool["tool_name"]) == ("agent", "tool", "Bash")
    assert call["is_call"]
    assert call["flags"] is None
    assert (call["input_tokens"], call["output_tokens"]) == (2 + 84_562 + 7_096, 1200)
    assert (call["cache_read_tokens"], call["cache_write_tokens"]) == (84_562, 7_096)
    assert (call["ttft_ms"], call["finish_reason"], call["attempts"]) == (5.0, "tool_call", 1)


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"status_code": 429}, "rate_limit"), ({"status_code": 529}, "api_error"), ({"error": "Request timed out"}, "timeout")],
)  # fmt: skip
def test_a_request_of_claude_code_failed_where_it_says_so(told: dict[str, Any], kind: str) -> None:
    """Its status need not say it."""
    row = one(REQUEST | {"success": False, "attempt": 11} | told, name="claude_code.llm_request", **CLAUDE_CODE)
    assert (row["error_kind"], row["attempts"], row["is_call"]) == (kind, 11, True)


@pytest.mark.parametrize("broken", ["{", "[]", "3", None])
def test_attributes_of_claude_code_that_cannot_be_read_change_nothing(broken: str | None) -> None:
    """No exception, no invented number."""
    row = one(broken, name="claude_code.llm_request", **CLAUDE_CODE)
    assert (row["input_tokens"], row["error_type"]) == (None, None)


def test_plain_words_of_others_mean_nothing() -> None:
    """`input_tokens` of another scope is the program's own."""
    row = one(REQUEST | {"input_tokens": 5, "success": False}, scope="mine", name="claude_code.llm_request")
    assert (row["input_tokens"], row["error_type"]) == (None, None)


def test_nodes_of_livekit_name_a_model_and_are_no_calls() -> None:
    """The request below a node is the call; speech has none."""
    named = {"gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
    lk = {"scope": "livekit-agents", "kind": "internal"}
    rows = marked(
        span(0, {"lk.generation_id": "g"}, name="agent_turn", **lk),
        span(1, named | {"lk.response.ttft": 0.4}, name="llm_node", parent_span_id="s0", **lk),
        span(2, {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 12} | named, name="llm_request", parent_span_id="s1", **lk),
        span(3, named | {"lk.response.ttfb": 0.2}, name="tts_node", parent_span_id="s0", **lk),
        span(4, {"lk.function_tool.name": "weather"}, name="function_tool", parent_span_id="s0", **lk),
    )  # fmt: skip
    assert [row["is_call"] for row in rows] == [False, False, True, False, False]
    assert rows[4]["tool_name"] == "weather"
