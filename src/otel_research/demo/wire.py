"""What a protocol has to be able to do, and what the two protocols share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from otel_research.demo.model import Ask, Plan, Tool

JsonObject = dict[str, Any]


class BadRequest(Exception):
    """The request is not one that the protocol allows; the message is for the caller."""


class Wire(Protocol):
    """Translates between a protocol's JSON and the server's own words."""

    def read(self, path: str, body: Mapping[str, Any]) -> Ask:
        """The request; raises `BadRequest`."""

    def error(self, status: int, message: str) -> JsonObject:
        """The body of an error answer."""

    def answer(self, plan: Plan, ask: Ask) -> JsonObject:
        """The body of a whole answer."""

    def events(self, plan: Plan, ask: Ask) -> Iterator[tuple[float, str]]:
        """The pieces of a streamed answer, each with the part (0 to 1) of the generation time it comes at."""


def required_text(body: Mapping[str, Any], key: str) -> str:
    """A text that the request cannot do without."""
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"you must provide a {key} parameter")
    return value


def message_list(body: Mapping[str, Any]) -> list[JsonObject]:
    """The conversation; empty or odd ones are refused."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise BadRequest("'messages' must be a non-empty array of objects")
    return messages


def text_of(content: Any) -> str:
    """The words in a message's content, which may be text, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "\n".join(str(part.get("text") or text_of(part.get("content"))) for part in parts)


def last_question(messages: list[JsonObject]) -> str:
    """What the user said last."""
    spoken = (text_of(one.get("content")) for one in reversed(messages) if one.get("role") == "user")
    return next((text for text in spoken if text), "")


def tool_to_call(tools: tuple[Tool, ...], named: str | None, is_wanted: bool) -> str | None:
    """The tool that the answer calls: the demanded one, else the first if one is wanted."""
    if named is not None:
        if not any(tool.name == named for tool in tools):
            raise BadRequest(f"tool_choice names {named!r}, which is not among the tools")
        return named
    return tools[0].name if tools and is_wanted else None


def pieces(text: str) -> list[str]:
    """A text cut into the words that a stream sends one by one."""
    words = text.split(" ")
    return [word if number == 0 else f" {word}" for number, word in enumerate(words)] if text else []


def block(data: JsonObject | str, event: str | None = None) -> str:
    """One server-sent event."""
    body = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return f"event: {event}\ndata: {body}\n\n" if event else f"data: {body}\n\n"
