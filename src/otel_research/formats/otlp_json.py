"""OTLP in JSON: one decoded document -> spans and log records.

Lenient where writers differ: ids in hex or base64, numbers as text or as numbers, enums by
name or number, keys in camelCase or snake_case. Strict about what makes a span: its ids.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from otel_research.formats.otlp_rows import (
    KINDS,
    STATUSES,
    Link,
    Log,
    Moment,
    Origin,
    Span,
    hex_id,
    nanoseconds,
)
from otel_research.spans import values

_KIND_NAMES = ("unspecified", *KINDS[1:])
_SNAKE = re.compile(r"_([a-z0-9])")
_DEEPEST = 100

Found = tuple[Origin, Span | Log | str]
"""A span, a log record, or why what stood there is neither."""


def read(document: Any) -> Iterator[Found]:
    """Every span and log record of a document, in order; raises ValueError where it is not OTLP at all."""
    if isinstance(document, list):
        for part in document:
            yield from read(part)
        return
    if not isinstance(document, dict):
        raise ValueError(f"not OTLP: {_kind(document)} where an object was expected")
    if "resource_spans" in document or "resource_logs" in document:
        document = _camel(document)
    known = [key for key in ("resourceSpans", "resourceLogs", "resourceMetrics", "batches") if key in document]
    if not known:
        shown = ", ".join(list(document)[:5]) or "none"
        raise ValueError(f"not OTLP: an object with the keys {shown}, where resourceSpans or resourceLogs was expected")
    for group in (*_list(document, "resourceSpans"), *_list(document, "batches")):
        yield from _members(group, ("scopeSpans", "instrumentationLibrarySpans"), "spans", span)
    for group in _list(document, "resourceLogs"):
        yield from _members(group, ("scopeLogs", "instrumentationLibraryLogs"), "logRecords", log)
    if "resourceMetrics" in document:
        yield Origin("{}", "", None), "metrics are neither spans nor evaluation results"


def _members(group: Any, scopes: tuple[str, str], key: str, convert: Any) -> Iterator[Found]:
    resource = values.to_json(attributes(_dict(group, "resource")))
    for name in scopes:
        for scope_group in _list(group, name):
            scope = _dict(scope_group, "scope") or _dict(scope_group, "instrumentationLibrary")
            origin = Origin(resource, _str(scope.get("name")), _str(scope.get("version")) or None)
            for member in _list(scope_group, key):
                yield origin, _converted(member, convert)


def _converted(member: Any, convert: Any) -> Span | Log | str:
    try:
        converted: Span | Log = convert(member)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as exc:
        return f"{convert.__name__} {_label(member)}cannot be read: {exc}"
    return converted


def span(member: dict[str, Any]) -> Span:
    """One span object."""
    get = member.get
    status = get("status") or {}
    events, links = get("events"), get("links")
    return Span(
        trace_id=read_id(get("traceId"), 16),
        span_id=read_id(get("spanId"), 8),
        parent_span_id=_optional_id(get("parentSpanId"), 8),
        name=_str(get("name")),
        kind=_enum(get("kind", 0), "SPAN_KIND_", _KIND_NAMES),
        start_ns=nanoseconds(_int(get("startTimeUnixNano", 0))),
        end_ns=nanoseconds(_int(get("endTimeUnixNano", 0))),
        attributes=attributes(member),
        events=[_event(event) for event in events] if events else [],
        links=[link(entry) for entry in links] if links else [],
        status=_enum(status.get("code", 0), "STATUS_CODE_", STATUSES),
        status_message=status.get("message") or None,
        flags=_int(get("flags", 0)),
        dropped=(
            _int(get("droppedAttributesCount", 0)),
            _int(get("droppedEventsCount", 0)),
            _int(get("droppedLinksCount", 0)),
        ),
    )


def log(member: dict[str, Any]) -> Log:
    """One log record object."""
    said = attributes(member)
    observed = _int(member.get("observedTimeUnixNano", 0))
    return Log(
        event=_str(member.get("eventName")) or _str(said.get("event.name")),
        trace_id=_optional_id(member.get("traceId"), 16),
        span_id=_optional_id(member.get("spanId"), 8),
        time_ns=nanoseconds(_int(member.get("timeUnixNano", 0)) or observed),
        attributes=said,
    )


def _event(event: dict[str, Any]) -> Moment:
    return Moment(_str(event.get("name")), nanoseconds(_int(event.get("timeUnixNano", 0))), attributes(event))


def link(entry: dict[str, Any]) -> Link:
    """One link object."""
    return Link(read_id(entry.get("traceId"), 16), read_id(entry.get("spanId"), 8), attributes(entry))


def attributes(owner: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a resource, span, event, link or log record, as Python values."""
    found: dict[str, Any] = {}
    for pair in owner.get("attributes") or ():
        key, value = pair.get("key"), pair.get("value")
        # Most values are text: the short way for those.
        text = value.get("stringValue") if type(value) is dict else None
        found[key if type(key) is str else _str(key)] = _value(value) if text is None else text
    return found


def _value(value: Any, depth: int = 0) -> Any:
    """An `AnyValue` as a Python value; what is not in the standard stays as it is, so that it loses nothing else."""
    if not value:
        return None
    if not isinstance(value, dict) or depth > _DEEPEST:
        return value
    try:
        # One key in every case that occurs: what is set of the `oneof`.
        for kind, content in value.items():
            if kind == "stringValue" or kind == "boolValue":
                return content
            if kind == "intValue":
                return _int(content)
            if kind == "doubleValue":
                return float(content)
            if kind == "arrayValue":
                return [_value(item, depth + 1) for item in content.get("values") or ()]
            if kind == "kvlistValue":
                pairs = content.get("values") or ()
                return {_str(pair.get("key")): _value(pair.get("value"), depth + 1) for pair in pairs}
            if kind == "bytesValue":
                return base64.b64decode(content)
    except (ValueError, TypeError, AttributeError):
        pass
    return value


def read_id(value: Any, size: int) -> str:
    """An id in hex (the standard), or in base64 (what a protobuf library writes by itself)."""
    if not isinstance(value, str) or not value:
        raise ValueError("an id is missing")
    if len(value) != 2 * size:
        padded = value + "=" * (-len(value) % 4)
        try:
            return hex_id(base64.b64decode(padded, validate=True).hex(), size)
        except (binascii.Error, ValueError):
            raise ValueError(f"'{value[:40]}' is no id of {size} bytes, neither in hex nor in base64") from None
    return hex_id(value, size)


def _optional_id(value: Any, size: int) -> str | None:
    """An id that may be absent: missing, empty or all zeros."""
    if not value or (isinstance(value, str) and not value.strip("0")):
        return None
    if isinstance(value, str) and not value.strip("A="):
        return None  # zeros in base64
    return read_id(value, size)


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None:
        return 0
    raise ValueError(f"{_kind(value)} where a whole number was expected")


def _enum(value: Any, prefix: str, names: tuple[str, ...]) -> int:
    if isinstance(value, str) and not value.isdigit():
        short = value.removeprefix(prefix).lower()
        return names.index(short) if short in names else 0
    number = _int(value)
    return number if 0 <= number < len(names) else 0


def _str(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _dict(owner: Any, key: str) -> dict[str, Any]:
    value = owner.get(key) if isinstance(owner, dict) else None
    return value if isinstance(value, dict) else {}


def _list(owner: Any, key: str) -> list[Any]:
    value = owner.get(key) if isinstance(owner, dict) else None
    return value if isinstance(value, list) else []


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _label(member: Any) -> str:
    name = member.get("name") if isinstance(member, dict) else None
    return f"'{name[:60]}' " if isinstance(name, str) else ""


def _camel(value: Any) -> Any:
    """The same document with keys in camelCase; attribute keys are values in OTLP and stay."""
    if isinstance(value, dict):
        return {_SNAKE.sub(lambda found: found[1].upper(), key): _camel(item) for key, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list) else value
