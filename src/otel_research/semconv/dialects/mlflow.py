"""MLflow tracing: every value is JSON text, so words come in quotes."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, EVALUATOR, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "CHAT_MODEL": CALL,
    "LLM": CALL,
    "EMBEDDING": CALL,
    "RERANKER": CALL,
    "AGENT": AGENT,
    "CHAIN": CHAIN,
    "PARSER": CHAIN,
    "WORKFLOW": CHAIN,
    "TASK": CHAIN,
    "TOOL": TOOL,
    "RETRIEVER": RETRIEVAL,
    "EVALUATOR": EVALUATOR,
    "JUDGE": EVALUATOR,
}
OPERATIONS = {"CHAT_MODEL": "chat", "LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
_USAGE = "mlflow.chat.tokenUsage#"


def role(attributes: Attributes) -> pl.Expr:
    """By mlflow.spanType."""
    return words(attributes.text("mlflow.spanType"), ROLES)


def operation(attributes: Attributes) -> pl.Expr:
    """By mlflow.spanType."""
    return words(attributes.text("mlflow.spanType"), OPERATIONS)


DIALECT = Dialect(
    name="mlflow",
    versions="mlflow 3.17 autologging (openai, anthropic, langchain)",
    role=role,
    operation=operation,
    evidence=("mlflow.spanType",),
    aliases={
        "provider": ("mlflow.llm.provider", "mlflow.message.format", "metadata#ls_provider"),
        "request_model": ("model", "metadata#ls_model_name", "mlflow.spanInputs#model"),
        "response_model": ("mlflow.llm.model",),
        "input_tokens": (_USAGE + "input_tokens",),
        "output_tokens": (_USAGE + "output_tokens",),
        "total_tokens": (_USAGE + "total_tokens",),
        "cache_read_tokens": (_USAGE + "cache_read_input_tokens",),
        "cache_write_tokens": (_USAGE + "cache_creation_input_tokens",),
        "service_tier": ("mlflow.spanOutputs#service_tier", "mlflow.spanOutputs#usage.service_tier"),
        "cache_write_1h_tokens": ("mlflow.spanOutputs#usage.cache_creation.ephemeral_1h_input_tokens",),
        "reported_cost_usd": ("mlflow.llm.cost#total_cost",),
        "streaming": ("stream",),
        "temperature": ("temperature",),
        "request_seed": ("seed",),
        "finish_reason": ("mlflow.spanOutputs#choices.0.finish_reason", "mlflow.spanOutputs#stop_reason"),
        "conversation_id": ("mlflow.trace.session",),
        "user_id": ("mlflow.trace.user",),
    },
    quoted=(
        "mlflow.spanType",
        "mlflow.llm.provider",
        "mlflow.message.format",
        "mlflow.llm.model",
        "model",
        "mlflow.trace.session",
        "mlflow.trace.user",
    ),
    known=("mlflow.",),
)
