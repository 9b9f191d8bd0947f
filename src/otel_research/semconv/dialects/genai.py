"""OpenTelemetry GenAI semantic conventions: today's names, then yesterday's."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import (
    AGENT,
    CALL,
    CHAIN,
    EVALUATOR,
    RETRIEVAL,
    TOOL,
    Attributes,
    Dialect,
    by_word,
    words,
)

ROLES = {
    "chat": CALL,
    "chat.completions": CALL,
    "chat.streaming_completions": CALL,
    "text.completions": CALL,
    "text.streaming_completions": CALL,
    "generate_content": CALL,
    "generatecontent": CALL,
    "text_completion": CALL,
    "completion": CALL,
    "completions": CALL,
    "message": CALL,
    "messages": CALL,
    "responses": CALL,
    "response": CALL,
    "embeddings": CALL,
    "embedding": CALL,
    "embed": CALL,
    "rerank": CALL,
    "image_generation": CALL,
    "generate_image": CALL,
    "transcription": CALL,
    "speech": CALL,
    "invoke_model": CALL,
    "inference": CALL,
    "generation": CALL,
    "llm": CALL,
    "llm_call": CALL,
    "call_llm": CALL,
    "chat_streaming": CALL,
    "invoke_agent": AGENT,
    "create_agent": AGENT,
    "agent_call": AGENT,
    "agent": AGENT,
    "plan": CHAIN,
    "user_prompt": CHAIN,
    "system_prompt": CHAIN,
    "schedule_tool_calls": CHAIN,
    "agent_step": CHAIN,
    "model_step": CHAIN,
    "model_inference": CHAIN,
    "model_chunk": CHAIN,
    "invoke_workflow": CHAIN,
    "execute_task": CHAIN,
    "chain": CHAIN,
    "framework": CHAIN,
    "workflow": CHAIN,
    "task": CHAIN,
    "parser": CHAIN,
    "prompt": CHAIN,
    "execute_event_loop_cycle": CHAIN,
    "execute_tool": TOOL,
    "tool": TOOL,
    "tool_call": TOOL,
    "retrieval": RETRIEVAL,
    "retrieve": RETRIEVAL,
    "search": RETRIEVAL,
    "evaluate": EVALUATOR,
    "evaluation": EVALUATOR,
}
"""gen_ai.operation.name -> role; a leading "a" (acompletion, aembedding) is an asynchronous call of the same kind."""


def role(attributes: Attributes) -> pl.Expr:
    """By gen_ai.operation.name. Without one, a model beside a provider is a call; without one that is known, a model beside both counts.

    Without one, what names a tool is one.
    """
    operation = attributes.text("gen_ai.operation.name")
    table = {**{f"a{name}": role for name, role in ROLES.items() if role == CALL}, **ROLES}
    asked, answered = (attributes.text(f"gen_ai.{side}.model").is_not_null() for side in ("request", "response"))
    provided = attributes.text("gen_ai.provider.name", "gen_ai.system").is_not_null()
    counted = [attributes.text(*DIALECT.aliases[f"{side}_tokens"]).is_not_null() for side in ("input", "output")]
    told = (operation.is_null() & asked & provided) | ((asked | answered) & pl.all_horizontal(counted))
    by_name = by_word(attributes.text("gen_ai.operation.name"), lambda name: words(name.str.to_lowercase(), table))
    is_tool = operation.is_null() & attributes.text("gen_ai.tool.name").is_not_null()
    return pl.coalesce(by_name, pl.when(told).then(pl.lit(CALL)).when(is_tool).then(pl.lit(TOOL)))


DIALECT = Dialect(
    name="genai",
    versions="semconv 1.28-1.43; opentelemetry-instrumentation-genai-* 1.3b0, openai-v2 2.4b0, botocore 0.66b2, "
    "google-genai 1.3b0, anthropic 2.12, mistralai 3, azure-ai-inference 1.0.0b9, agent-framework 1.23, "
    "semantic-kernel 1.45, google-adk 2.13, vllm 0.11",
    role=role,
    evidence=(
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.system",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.tool.name",
    ),
    aliases={
        "operation": ("gen_ai.operation.name",),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "input_tokens": (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "gen_ai.response.prompt_tokens",
        ),
        "output_tokens": (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "gen_ai.response.completion_tokens",
        ),
        "total_tokens": ("gen_ai.usage.total_tokens", "gen_ai.client.token.usage"),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.input_tokens.cached",
            "gen_ai.usage.cached_input_tokens",
            "gen_ai.usage.cached_tokens",
            "gen_ai.usage.cache_read_tokens",
            "gen_ai.usage.prompt_tokens_details.cached_tokens",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "gen_ai.usage.cache_creation_tokens",
        ),
        "reasoning_tokens": (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.reasoning_output_tokens",
            "gen_ai.usage.output_tokens.reasoning",
            "gen_ai.usage.thinking_tokens",
            "gen_ai.usage.thoughts_tokens",
            "gen_ai.usage.thoughts_token_count",
            "gen_ai.usage.experimental.reasoning_tokens",
            "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        ),
        "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
        "audio_input_tokens": (
            "gen_ai.usage.audio.input_tokens",
            "gen_ai.usage.audio_input_tokens",
            "gen_ai.usage.prompt_tokens_details.audio_tokens",
        ),
        "audio_output_tokens": (
            "gen_ai.usage.audio.output_tokens",
            "gen_ai.usage.audio_output_tokens",
            "gen_ai.usage.completion_tokens_details.audio_tokens",
        ),
        "image_input_tokens": ("gen_ai.usage.image.input_tokens",),
        "image_output_tokens": ("gen_ai.usage.image.output_tokens",),
        "service_tier": (
            "openai.response.service_tier",
            "gen_ai.openai.response.service_tier",
            "anthropic.response.service_tier",
            "gen_ai.response.service_tier",
            "openai.request.service_tier",
            "gen_ai.openai.request.service_tier",
            "anthropic.request.service_tier",
            "gen_ai.request.service_tier",
            "aws.bedrock.service_tier",
        ),
        "finish_reason": (
            "gen_ai.response.finish_reasons",
            "gen_ai.response.finish_reason",
            "anthropic.message.stop_reason",
            "gen_ai.finish_reason",
        ),
        "streaming": ("gen_ai.request.stream", "gen_ai.request.streaming"),
        "ttft_s": (
            "gen_ai.response.time_to_first_chunk",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.streaming.time_to_first_token",
        ),
        "served_ttft_s": ("gen_ai.latency.time_to_first_token",),
        "response_id": ("gen_ai.response.id",),
        "temperature": ("gen_ai.request.temperature",),
        "request_seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed"),
        "tool_name": ("gen_ai.tool.name",),
        "agent_name": ("gen_ai.agent.name",),
        "conversation_id": ("session.id", "gen_ai.conversation.id"),
        "user_id": ("user.id", "enduser.id", "gen_ai.user"),
        "error_type": ("error.type",),
        "error_message": ("error.message", "gen_ai.finish_reason_description"),
        "http_status": ("http.response.status_code", "http.status_code"),
        "resends": ("http.request.resend_count", "retry_attempts"),
        "reported_cost_usd": ("gen_ai.usage.cost", "gen_ai.usage.total_cost"),
        "score_name": ("gen_ai.evaluation.name",),
        "score_value": ("gen_ai.evaluation.score.value",),
        "score_label": ("gen_ai.evaluation.score.label",),
    },
    known=(
        "gen_ai.",
        "server.",
        "openai.",
        "anthropic.",
        "aws.",
        "azure.",
        "url.",
        "http.",
        "network.",
        "rpc.",
        "cloud.",
        "code.",
        "service.",
        "telemetry.",
        "deployment.",
        "thread.",
    ),
)
