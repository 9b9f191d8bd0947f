"""The events of one Inspect sample as spans: model calls, tools, and the steps around them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from otel_research.formats.otlp_rows import Row
from otel_research.formats.stamps import nanoseconds_of
from otel_research.spans import values

Event = dict[str, Any]
Name = Callable[[str], str]
_STOPS = {"tool_calls": "tool_call", "max_tokens": "length", "model_length": "length"}
_CONFIG = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}


def rows(events: list[Event], sample: dict[str, Any], common: Row, name_of: Name) -> Iterator[Row]:
    """One row per model call, tool and span of the sample; `common` holds what all its rows share."""
    tree = _Tree(events, common["parent_span_id"], name_of)
    for number, event in enumerate(tree.events):
        made = _ROWS.get(event.get("event", ""))
        row = made(event, sample) if made else None
        if row is None:
            continue
        place = event.get("span_id")
        own = event.get("id") if event["event"] == "span_begin" else None
        if own is not None:
            place, row["end_ns"] = event.get("parent_id"), tree.ends.get(own)
        attributes = {key: value for key, value in row.pop("said").items() if value is not None}
        yield (
            common
            | row
            | {
                "span_id": name_of(str(own or event.get("uuid") or f"event {number}")),
                "parent_span_id": tree.parent(place, event),
                "start_ns": nanoseconds_of(event.get("timestamp")),
                "aside": tree.scorer(own or place, event),
                "attributes": values.to_json(attributes),
            }
        )


class _Tree:
    """Where each event stands: below which span, and whether inside a scorer."""

    def __init__(self, events: list[Event], root: str, name_of: Name) -> None:
        self.root, self.name_of = root, name_of
        self.events = list(_flat(events))
        self.begun = {
            event["id"]: event for event in self.events if event.get("event") == "span_begin" and "id" in event
        }
        self.ends = {
            event["id"]: nanoseconds_of(event.get("timestamp"))
            for event in self.events
            if event.get("event") == "span_end" and "id" in event
        }

    def parent(self, place: str | None, event: Event) -> str:
        """The row id of the span an event belongs to; the trial where it names none."""
        known = place if place in self.begun else None
        return self.name_of(str(known)) if known is not None else self.root

    def scorer(self, place: str | None, event: Event) -> str | None:
        """The name of the scorer an event is part of, or None."""
        seen: set[str] = set()
        while place is not None and place in self.begun and place not in seen:
            seen.add(place)
            begun = self.begun[place]
            if begun.get("type") in ("scorer", "scorers"):
                return str(begun.get("name") or "scorer")
            place = begun.get("parent_id")
        told = event.get("scorer_step")
        return str(told) if told else None


def _flat(events: list[Event], scorer: str | None = None) -> Iterator[Event]:
    """Every event, those that older logs nest inside tools and subtasks included.

    Older logs mark their steps with `step` events in place of spans; what is inside a scorer's
    step carries the scorer's name as `scorer_step`.
    """
    for event in events:
        if event.get("event") == "step" and event.get("type") == "scorer":
            scorer = str(event.get("name") or "scorer") if event.get("action") == "begin" else None
        yield event | {"scorer_step": scorer} if scorer else event
        inner = event.get("events")
        if isinstance(inner, list):
            yield from _flat([each for each in inner if isinstance(each, dict)], scorer)


def _model(event: Event, sample: dict[str, Any]) -> Row:
    """A model event as the span a GenAI instrumentation would have made of it."""
    output, config = event.get("output") or {}, event.get("config") or {}
    usage = output.get("usage") or {}
    provider, _, model = str(event.get("model") or "").partition("/")
    from_cache = event.get("cache") == "read"
    error = event.get("error")
    choices = output.get("choices") or [{}]
    stop = choices[0].get("stop_reason")
    said: dict[str, Any] = {
        # Inspect answered from its own cache: nothing was sent, so nothing was spent.
        "gen_ai.operation.name": None if from_cache else "chat",
        "gen_ai.provider.name": (provider or None) if model else None,
        "gen_ai.request.model": model or provider or None,
        "gen_ai.response.model": output.get("model") if choices != [{}] else None,
        "gen_ai.response.finish_reasons": [_STOPS.get(stop, stop)] if stop else None,
        "gen_ai.input.messages": _json(_messages(event, sample)),
        "gen_ai.output.messages": _json([choice["message"] for choice in choices if "message" in choice]),
        "http.request.resend_count": event.get("retries"),
        "inspect.event.uuid": event.get("uuid"),
        "inspect.role": event.get("role"),
        "inspect.cache": event.get("cache"),
        "inspect.working_time": event.get("working_time"),
        "error.type": _error_type(error) if error else None,
    }
    said |= {key: config.get(name) for name, key in _CONFIG.items()}
    said |= {f"inspect.cached.{key}": value for key, value in usage.items()} if from_cache else _tokens(usage)
    return {
        "name": f"chat {event.get('model')}",
        "kind": "client",
        "end_ns": nanoseconds_of(event.get("completed")),
        "status": "error" if error else "interrupted" if event.get("pending") else "ok",
        "status_message": str(error) if error else None,
        "said": said,
    }


def _tokens(usage: dict[str, Any]) -> dict[str, Any]:
    """Token counts in the convention's sense: Inspect leaves cached tokens out of the input."""
    if not usage:
        return {}
    read, write = usage.get("input_tokens_cache_read"), usage.get("input_tokens_cache_write")
    return {
        "gen_ai.usage.input_tokens": (usage.get("input_tokens") or 0) + (read or 0) + (write or 0),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": read,
        "gen_ai.usage.cache_write.input_tokens": write,
        "gen_ai.usage.reasoning.output_tokens": usage.get("reasoning_tokens"),
        "gen_ai.usage.cost": usage.get("total_cost"),
    }


def _messages(event: Event, sample: dict[str, Any]) -> list[Any]:
    """What was sent: in the event, or in the sample's pool of messages that the event points into."""
    refs = event.get("input_refs")
    if not refs:
        return event.get("input") or []
    pool = (sample.get("events_data") or {}).get("messages") or []
    return [message for low, high in refs for message in pool[low:high]]


def _error_type(error: Any) -> str:
    """The class that an error's text begins with, where it does."""
    head = str(error).partition("(")[0].partition(":")[0].strip()
    return head if head.replace(".", "").replace("_", "").isalnum() and len(head) < 80 else "_OTHER"


def _tool(event: Event, sample: dict[str, Any]) -> Row:
    error = event.get("error") or {}
    return {
        "name": f"execute_tool {event.get('function')}",
        "end_ns": nanoseconds_of(event.get("completed")),
        "status": "error" if error or event.get("failed") else "ok",
        "status_message": error.get("message"),
        "said": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": event.get("function"),
            "gen_ai.tool.call.id": event.get("id"),
            "gen_ai.tool.call.arguments": _json(event.get("arguments")),
            "gen_ai.tool.call.result": _json(event.get("result")),
            "error.type": error.get("type"),
            "inspect.event.uuid": event.get("uuid"),
        },
    }


def _step(event: Event, sample: dict[str, Any]) -> Row:
    """A span of Inspect's own: a solver, a scorer, an agent."""
    return {
        "name": str(event.get("name") or event.get("type") or "span"),
        "status": "unset",
        "said": {"inspect.span.type": event.get("type"), "inspect.span.id": event.get("id")},
    }


_ROWS: dict[str, Callable[[Event, dict[str, Any]], Row | None]] = {"model": _model, "tool": _tool, "span_begin": _step}


def _json(value: Any) -> str | None:
    if value is None or value == []:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
