"""One span on its way in: the msgpack payload of a journal frame.

`encode` runs inside `on_end`, on the user's thread, for every span: it is the hot path.
It reads the SDK span through its slots where a check at import showed that they hold
what the public properties return, and through the public properties otherwise.
Three kinds of payload exist: a definition (scope or resource, referred to by number),
the start of a span and the end of a span. A start has `end_ns` None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from otel_research.spans import values

KINDS = ("internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error", "interrupted")
INTERRUPTED = STATUSES.index("interrupted")


class Labels(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the experiment says about a span; encoded once per scope (`context.Scope.labels`)."""

    experiment_id: str
    condition: str | None
    trial_id: str | None
    item_id: str | None
    repetition: int | None
    session_id: str | None
    factors: dict[str, Any] | None
    source: str
    aside: str | None


class SpanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One start or end of a span, as journaled."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    labels: Labels
    scope: int
    resource: int
    name: str
    kind: int
    start_ns: int
    end_ns: int | None
    mono_start_ns: int | None
    mono_end_ns: int | None
    status: int
    status_message: str | None
    is_sampled: int
    weight: float | None
    attributes: Any
    events: Any
    links: Any
    dropped: tuple[int, int, int] | None


class Definition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A scope or resource, written once per segment (and repeated) and referred to by number."""

    number: int
    what: str
    name: str
    version: str | None
    attributes: Any


def _fallback(value: Any) -> Any:
    """Mappings that are no dict, as dicts; anything else is refused, so that the slow path tags it."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value))


encode_msgpack = msgspec.msgpack.Encoder(enc_hook=_fallback).encode
decode_span = msgspec.msgpack.Decoder(SpanRecord).decode
decode_definition = msgspec.msgpack.Decoder(Definition).decode

# What msgpack raises for a value that it cannot hold (a huge integer, a lone surrogate, a foreign object)
# or for a mapping that another thread changes meanwhile.
_REFUSED = (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError, RuntimeError)


# A record is a msgpack array of 20 (three bytes), then the ids as `bin 8` (two bytes each before the data).
_TRACE = slice(5, 21)
_SPAN = slice(23, 31)


def key_of(payload: bytes) -> bytes:
    """Trace id and span id of an encoded record, without decoding the rest."""
    return payload[_TRACE] + payload[_SPAN]


def encode_left_out(reason: str, trace_id: int, span_id: int) -> bytes:
    """The payload for a span that ended and was not kept."""
    return encode_msgpack((trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big"), reason))


def decode_left_out(payload: bytes) -> tuple[str, bytes]:
    """(reason, span key) of such a payload."""
    key, reason = msgspec.msgpack.decode(payload)
    return reason, key


def encode_end(
    span: Any,
    labels: msgspec.Raw,
    scope: int,
    resource: int,
    mono_start_ns: int | None,
    mono_end_ns: int | None,
    weight: float | None,
    attributes: Mapping[str, Any] | None,
) -> bytes:
    """The end record of an SDK span (`ReadableSpan`, or a `PublicView` of one)."""
    context = span._context
    parent = span._parent
    events = span._events
    links = span._links
    status = span._status
    fields = (
        context[0].to_bytes(16, "big"),
        context[1].to_bytes(8, "big"),
        None if parent is None else parent[1].to_bytes(8, "big"),
        labels,
        scope,
        resource,
        span._name,
        span._kind._value_,
        span._start_time,
        span._end_time,
        mono_start_ns,
        mono_end_ns,
        status.status_code._value_,
        status.description,
        context[3] & 1,
        weight,
        attributes,
        [event_fields(event) for event in events] if events else None,
        [link_fields(link) for link in links] if links else None,
        dropped_counts(span),
    )
    try:
        return encode_msgpack(fields)
    except _REFUSED:
        return encode_msgpack(_made_safe(fields))


def encode_start(
    span: Any,
    labels: msgspec.Raw,
    scope: int,
    resource: int,
    mono_start_ns: int,
    attributes: Mapping[str, Any] | None,
) -> bytes:
    """The start record of a span: so that one that never ends is data."""
    context = span._context
    parent = span._parent
    fields = (
        context[0].to_bytes(16, "big"),
        context[1].to_bytes(8, "big"),
        None if parent is None else parent[1].to_bytes(8, "big"),
        labels,
        scope,
        resource,
        span._name,
        span._kind._value_,
        span._start_time,
        None,
        mono_start_ns,
        None,
        INTERRUPTED,
        None,
        context[3] & 1,
        1.0,
        attributes,
        None,
        None,
        None,
    )
    try:
        return encode_msgpack(fields)
    except _REFUSED:
        return encode_msgpack(_made_safe(fields))


def _made_safe(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same fields with the free-form ones as tagged JSON text, which every reader knows by its type."""
    names = SpanRecord.__struct_fields__
    safe = dict(zip(names, fields, strict=True))
    safe["name"] = as_text(safe["name"])
    safe["status_message"] = None if safe["status_message"] is None else as_text(safe["status_message"])
    for name in ("attributes", "events", "links"):
        if safe[name] is not None:
            safe[name] = values.to_json(_with_hex_ids(name, safe[name]))
    return tuple(safe.values())


def _with_hex_ids(name: str, content: Any) -> Any:
    if name == "attributes":
        return content
    if name == "events":
        return events_as_json(content)
    return links_as_json(content)


def events_as_json(events: Any) -> list[dict[str, Any]]:
    """Event tuples as the objects of the `events` column."""
    return [{"name": name, "time_ns": time_ns, "attributes": attributes or {}} for name, time_ns, attributes in events]


def links_as_json(links: Any) -> list[dict[str, Any]]:
    """Link tuples as the objects of the `links` column."""
    return [
        {"trace_id": trace_id.hex(), "span_id": span_id.hex(), "attributes": attributes or {}}
        for trace_id, span_id, attributes in links
    ]


def as_text(value: Any) -> str:
    """Any text, with what UTF-8 cannot hold escaped."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def event_fields(event: Any) -> tuple[str, int, dict[str, Any] | None]:
    """(name, time_ns, attributes) of an SDK event."""
    attributes = event.attributes
    return event.name, event.timestamp, dict(attributes) if attributes else None


def link_fields(link: Any) -> tuple[bytes, bytes, dict[str, Any] | None]:
    """(trace id, span id, attributes) of an SDK link."""
    context = link.context
    attributes = link.attributes
    return (
        context.trace_id.to_bytes(16, "big"),
        context.span_id.to_bytes(8, "big"),
        dict(attributes) if attributes else None,
    )


def dropped_counts(span: Any) -> tuple[int, int, int] | None:
    """(attributes, events, links) that the SDK evicted, or None for none at all."""
    attributes, events, links = span._attributes.dropped, span._events.dropped, span._links.dropped
    return (attributes, events, links) if attributes or events or links else None
