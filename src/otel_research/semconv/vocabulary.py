"""Words that differ between dialects, as tables: operations and finish reasons."""

from __future__ import annotations

import polars as pl

OPERATIONS = {
    "llm": "chat",
    "llm_call": "chat",
    "call_llm": "chat",
    "chat_streaming": "chat",
    "inference": "chat",
    "generation": "chat",
    "chat.completions": "chat",
    "chat.streaming_completions": "chat",
    "text.completions": "text_completion",
    "text.streaming_completions": "text_completion",
    "message": "chat",
    "messages": "chat",
    "generate_content": "chat",
    "generatecontent": "chat",
    "completion": "chat",
    "completions": "chat",
    "acompletion": "chat",
    "atext_completion": "text_completion",
    "achat": "chat",
    "responses": "chat",
    "response": "chat",
    "aresponses": "chat",
    "invoke_model": "chat",
    "unknown": "chat",
    "embedding": "embeddings",
    "aembedding": "embeddings",
    "aembeddings": "embeddings",
    "embed": "embeddings",
    "reranker": "rerank",
    "arerank": "rerank",
}
"""Other names -> the convention's operation, on rows that are calls."""

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "eos": "stop",
    "finish": "stop",
    "eos_token": "stop",
    "tool_use": "tool_call",
    "tool_calls": "tool_call",
    "tool-calls": "tool_call",
    "function_call": "tool_call",
    "tool_execution": "tool_call",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "incomplete": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "content-filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
}
"""Providers' words -> stop | length | tool_call | content_filter; matched in lower case."""

ORDINARY = ("auto", "default", "standard", "standard_only", "on_demand", "on-demand", "unspecified")
"""Service tiers that cost what the price list says."""
_TIER = r"^(?:service_?tier[._])?([a-z][a-z0-9_-]{0,30})$"
"""A tier is one word: printed objects of a client (`<openai.Omit object ...>`) are none."""

_NO_VALUE = ("", "None", "null", "unknown")


def operation(value: pl.Expr) -> pl.Expr:
    """The convention's operation."""
    return value.str.to_lowercase().replace(OPERATIONS)


def finish(value: pl.Expr) -> pl.Expr:
    """One of our finish reasons; a word that no table knows stays, in lower case."""
    word = value.str.extract(r"(?:FinishReason\.)?([A-Za-z][\w-]*)").str.to_lowercase()
    return pl.when(~word.is_in(["none", "null"])).then(word.replace(FINISH))


def tier(value: pl.Expr) -> pl.Expr:
    """The service tier in one word; null for the ordinary one and for what is no tier."""
    word = value.str.to_lowercase().str.strip_chars().str.extract(_TIER)
    return pl.when(~word.is_in([*ORDINARY, "none", "null", "unknown"])).then(word)


def given(value: pl.Expr) -> pl.Expr:
    """The text, or null where it only says that there is none."""
    return pl.when(~value.is_in(_NO_VALUE)).then(value)
