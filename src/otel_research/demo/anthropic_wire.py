"""Anthropic's messages protocol, where `input_tokens` leaves out what came from the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from otel_research.demo.model import Ask, Plan, Tool, body_hash
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

_ERRORS = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error"}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class AnthropicWire:
    """Requests and answers of `POST /v1/messages`."""

    def read(self, path: str, body: Mapping[str, Any]) -> Ask:
        """The request in the server's own words."""
        model = required_text(body, "model")
        messages = message_list(body)
        limit = body.get("max_tokens")
        if not isinstance(limit, int) or limit < 1:
            raise BadRequest("max_tokens: field required")
        tools = tuple(_tool(one) for one in body.get("tools") or ())
        return Ask(
            model=model,
            texts=tuple(text_of(content) for content in _contents(body, messages)),
            question=last_question(messages),
            body_hash=body_hash(path, body),
            tools=tools,
            call_tool=_chosen(tools, body.get("tool_choice") or {"type": "auto"}, messages),
            max_tokens=limit,
            stream=bool(body.get("stream")),
            include_usage=True,
        )

    def error(self, status: int, message: str) -> JsonObject:
        """Anthropic's error object."""
        return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message}}

    def answer(self, plan: Plan, ask: Ask) -> JsonObject:
        """A `message`."""
        content = _tool_use(plan) if plan.tool_call is not None else {"type": "text", "text": plan.text}
        return {
            **_head(plan),
            "content": [content],
            "stop_reason": _STOP_REASONS[plan.finish],
            "usage": {**_input_usage(plan), "output_tokens": plan.usage.output},
        }

    def events(self, plan: Plan, ask: Ask) -> Iterator[tuple[float, str]]:
        """The named events of a streamed message."""

        def event(kind: str, **data: Any) -> str:
            return block({"type": kind, **data}, event=kind)

        usage = {**_input_usage(plan), "output_tokens": 1}
        start = {**_head(plan), "content": [], "stop_reason": None, "usage": usage}
        yield 0.0, event("message_start", message=start)
        empty = {**_tool_use(plan), "input": {}} if plan.tool_call is not None else {"type": "text", "text": ""}
        yield 0.0, event("content_block_start", index=0, content_block=empty)
        deltas = list(_deltas(plan))
        for number, delta in enumerate(deltas):
            yield number / len(deltas), event("content_block_delta", index=0, delta=delta)
        yield 1.0, event("content_block_stop", index=0)
        end = {"stop_reason": _STOP_REASONS[plan.finish], "stop_sequence": None}
        yield 1.0, event("message_delta", delta=end, usage={"output_tokens": plan.usage.output})
        yield 1.0, event("message_stop")


def _contents(body: Mapping[str, Any], messages: list[JsonObject]) -> list[Any]:
    system = [body["system"]] if body.get("system") else []
    return system + [one.get("content") for one in messages]


def _tool(given: Any) -> Tool:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise BadRequest("tools: every tool needs a name")
    return Tool(given["name"], given.get("input_schema") or {})


def _chosen(tools: tuple[Tool, ...], choice: Mapping[str, Any], messages: list[JsonObject]) -> str | None:
    kind = choice.get("type")
    if kind == "tool":
        return tool_to_call(tools, str(choice.get("name")), True)
    is_after_result = '"tool_result"' in json.dumps(messages[-1], default=str)
    return tool_to_call(tools, None, kind == "any" or (kind == "auto" and not is_after_result))


def _head(plan: Plan) -> JsonObject:
    return {
        "id": f"msg_{plan.id}",
        "type": "message",
        "role": "assistant",
        "model": plan.model,
        "stop_sequence": None,
    }


def _input_usage(plan: Plan) -> JsonObject:
    return {
        "input_tokens": plan.usage.input - plan.usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": plan.usage.cached,
    }


def _tool_use(plan: Plan) -> JsonObject:
    call = plan.tool_call
    assert call is not None
    return {"type": "tool_use", "id": f"toolu_{plan.id}", "name": call.name, "input": call.arguments}


def _deltas(plan: Plan) -> Iterator[JsonObject]:
    if plan.tool_call is None:
        for piece in pieces(plan.text):
            yield {"type": "text_delta", "text": piece}
        return
    arguments = json.dumps(plan.tool_call.arguments)
    for start in range(0, len(arguments), 16):
        yield {"type": "input_json_delta", "partial_json": arguments[start : start + 16]}
