"""What every tool is asked besides to trace: two calls, of a model with a price and of one without, and 60 scores twice."""

from __future__ import annotations

import random
import time

from opentelemetry.trace import TracerProvider

PRICED, UNPRICED = "gpt-4o-mini", "house-model-7b"
PROMPT, ANSWER = 412, 88
"""Tokens of a call."""

_chance = random.Random(5)
SCORES = [(float(_chance.random() < 0.5), float(_chance.random() < 0.8)) for _ in range(60)]
"""Of 60 items: whether the control and the candidate were right."""


def call(provider: TracerProvider, model: str) -> None:
    """A model call that has its tokens in OpenTelemetry's words and in OpenInference's, so that every tool can read it."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": PROMPT,
        "gen_ai.usage.output_tokens": ANSWER,
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": model,
        "llm.token_count.prompt": PROMPT,
        "llm.token_count.completion": ANSWER,
        "llm.token_count.total": PROMPT + ANSWER,
    }
    with provider.get_tracer("program").start_as_current_span(f"chat {model}", attributes=attributes):
        time.sleep(0.001)
