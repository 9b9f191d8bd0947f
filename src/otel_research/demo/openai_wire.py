"""OpenAI's chat-completions and embeddings protocol."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

from otel_research.demo.model import Ask, Plan, Tool, body_hash, count_tokens, embedding
from otel_research.demo.wire import (
    BadRequest,
    JsonObject,
    block,
    last_question,
    message_list,
    pieces,
    required_text,
    text_of,
    tool_to_call,
)

_ERRORS = {
    400: ("invalid_request_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
}
_DIMENSIONS = 1536


class OpenAIWire:
    """Requests and answers of `POST /v1/chat/completions`."""

    def read(self, path: str, body: Mapping[str, Any]) -> Ask:
        """The request in the server's own words."""
        model = required_text(body, "model")
        messages = message_list(body)
        tools = tuple(_tool(one) for one in body.get("tools") or ())
        options = body.get("stream_options") or {}
        return Ask(
            model=model,
            texts=tuple(text_of(one.get("content")) for one in messages),
            question=last_question(messages),
            body_hash=body_hash(path, body),
            tools=tools,
            call_tool=_chosen(tools, body.get("tool_choice", "auto"), messages),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            stream=bool(body.get("stream")),
            include_usage=bool(options.get("include_usage")),
        )

    def error(self, status: int, message: str) -> JsonObject:
        """OpenAI's error object."""
        kind, code = _ERRORS.get(status, ("server_error", None))
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def answer(self, plan: Plan, ask: Ask) -> JsonObject:
        """A `chat.completion`."""
        message: JsonObject = {"role": "assistant", "content": plan.text or None, "refusal": None}
        if plan.tool_call is not None:
            message["tool_calls"] = [_call(plan)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": plan.finish}
        return {**_head(plan, "chat.completion"), "choices": [choice], "usage": _usage(plan)}

    def events(self, plan: Plan, ask: Ask) -> Iterator[tuple[float, str]]:
        """`chat.completion.chunk`s; usage in one of its own, and only where it was asked for."""
        head = _head(plan, "chat.completion.chunk")
        # With include_usage, every chunk but the last carries a null usage, as the real service's do.
        usage: JsonObject = {"usage": None} if ask.include_usage else {}

        def chunk(delta: JsonObject, finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return block({**head, "choices": [choice], **usage})

        deltas = list(_deltas(plan))
        for number, delta in enumerate(deltas):
            yield number / len(deltas), chunk(delta)
        yield 1.0, chunk({}, plan.finish)
        if ask.include_usage:
            yield 1.0, block({**head, "choices": [], "usage": _usage(plan)})
        yield 1.0, block("[DONE]")


def read_embeddings(path: str, body: Mapping[str, Any]) -> Ask:
    """A request of `POST /v1/embeddings`."""
    inputs = body.get("input")
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise BadRequest("'input' must be a text or a non-empty array of texts")
    return Ask(
        model=required_text(body, "model"), texts=tuple(texts), question=texts[-1], body_hash=body_hash(path, body)
    )


def embeddings_answer(plan: Plan, ask: Ask, body: Mapping[str, Any], seed: int) -> JsonObject:
    """An embeddings list; the client asks for base64 unless told otherwise."""
    dimensions = body.get("dimensions") or _DIMENSIONS
    as_base64 = body.get("encoding_format") == "base64"
    data = []
    for number, text in enumerate(ask.texts):
        vector: Any = embedding(seed, text, dimensions)
        if as_base64:
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": number, "embedding": vector})
    tokens = count_tokens(ask.texts)
    return {
        "object": "list",
        "data": data,
        "model": plan.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _tool(given: Any) -> Tool:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("every tool needs a function with a name")
    return Tool(function["name"], function.get("parameters") or {})


def _chosen(tools: tuple[Tool, ...], choice: Any, messages: list[JsonObject]) -> str | None:
    if isinstance(choice, dict):
        return tool_to_call(tools, str((choice.get("function") or {}).get("name")), True)
    # After a tool's result the model answers in words, unless the caller insists.
    is_wanted = choice == "required" or (choice == "auto" and messages[-1].get("role") == "user")
    return tool_to_call(tools, None, is_wanted)


def _head(plan: Plan, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{plan.id}",
        "object": kind,
        "created": int(time.time()),
        "model": plan.model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{plan.model[-8:]}",
    }


def _usage(plan: Plan) -> JsonObject:
    usage = plan.usage
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call(plan: Plan, **extra: Any) -> JsonObject:
    call = plan.tool_call
    assert call is not None
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {**extra, "id": f"call_{plan.id}", "type": "function", "function": function}


def _deltas(plan: Plan) -> Iterator[JsonObject]:
    yield {"role": "assistant", "content": None if plan.tool_call else ""}
    if plan.tool_call is None:
        for piece in pieces(plan.text):
            yield {"content": piece}
        return
    arguments = json.dumps(plan.tool_call.arguments)
    opening = _call(plan, index=0)
    opening["function"]["arguments"] = ""
    yield {"tool_calls": [opening]}
    # Arguments arrive in parts that are not JSON by themselves.
    for start in range(0, len(arguments), 16):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": arguments[start : start + 16]}}]}
