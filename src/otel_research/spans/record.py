"""One span on its way in: the msgpack payload of a journal frame.

A payload has two parts, each a msgpack array: the *origin* (what is known when a span starts: its ids, the
experiment's labels, its start) and the *state* (name and attributes; for an end also time,
status, events, links). The origin is encoded once, when the span starts, and used again for its
end, so every frame stands alone. The usual span is encoded by `capture.processor` itself, to the
same bytes; the functions here take any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from otel_research.spans import values

KINDS = ("internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error", "interrupted")
INTERRUPTED = STATUSES.index("interrupted")
_INT64_MAX = 2**63 - 1


# What a column cannot hold is refused when a record is decoded: as damage, before it is a row among others.
Int64 = Annotated[int, msgspec.Meta(ge=-_INT64_MAX - 1, le=_INT64_MAX)]
TraceId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
SpanId = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
KindNumber = Annotated[int, msgspec.Meta(ge=0, lt=len(KINDS))]
StatusNumber = Annotated[int, msgspec.Meta(ge=0, lt=len(STATUSES))]


class Labels(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the experiment says about a span; encoded once per scope (`context.Scope.labels`)."""

    experiment_id: str
    condition: str | None
    trial_id: str | None
    item_id: str | None
    repetition: Int64 | None
    session_id: str | None
    factors: dict[str, Any] | None
    source: str
    aside: str | None


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a span when it starts."""

    trace_id: TraceId
    span_id: SpanId
    parent_span_id: SpanId | None
    labels: Labels
    scope: int
    resource: int
    kind: KindNumber
    start_ns: int | float
    mono_start_ns: Int64 | None
    is_sampled: int


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a span says of itself, at its start or at its end; fields that are left out have these defaults."""

    name: Any
    attributes: Any
    """None, a mapping, a list (the number of a shape, then the values), or tagged JSON text."""
    end_ns: int | float | None = None
    """None for a start."""
    mono_end_ns: Int64 | None = None
    status: StatusNumber = INTERRUPTED
    status_message: str | None = None
    weight: float | None = 1.0
    events: list[tuple[Any, Any, Any]] | str | None = None
    links: list[tuple[TraceId, SpanId, Any]] | str | None = None
    dropped: tuple[Int64, Int64, Int64] | None = None


class SpanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One start or end of a span, as journaled."""

    origin: Origin
    state: State


class Definition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a number stands for: a scope, a resource, a shape (the keys of an attribute mapping) or the experiment."""

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
_decode_pair = msgspec.msgpack.Decoder(SpanRecord).decode
decode_definition = msgspec.msgpack.Decoder(Definition).decode
_decode_left_out = msgspec.msgpack.Decoder(tuple[bytes, str]).decode

# What msgpack raises for a value that it cannot hold (a huge integer, a lone surrogate, a foreign object)
# or for a mapping that another thread changes meanwhile.
_REFUSED = (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError, RuntimeError)

# The origin is an array of ten (one byte) that begins with the ids: `bin 8`, two bytes before the data.
_TRACE = slice(3, 19)
_SPAN = slice(21, 29)
KEY = slice(3, 29)
ORIGIN_HEAD = b"\x9a\xc4\x10"
"""How every origin begins."""
_PARENT_KIND, _PARENT, _BIN_8 = 29, slice(31, 39), 0xC4
_PAIR = b"\x92"
"""msgpack's array of two, which a payload is without its first byte: two writes less on the hot path."""


def decode_span(payload: bytes) -> SpanRecord:
    """The record that a start or end frame holds."""
    return _decode_pair(_PAIR + payload)


def key_of(payload: bytes) -> bytes:
    """What names a span: the ids in an encoded record or origin, as they lie there, without decoding the rest."""
    return payload[KEY]


def key_from(trace_id: str, span_id: str) -> bytes:
    """The same from ids as hex text."""
    return bytes.fromhex(f"{trace_id}c408{span_id}")


def ids_of(payload: bytes) -> tuple[int, int]:
    """The same as the SDK's integers."""
    return int.from_bytes(payload[_TRACE], "big"), int.from_bytes(payload[_SPAN], "big")


def parent_of(origin: bytes) -> tuple[int, int] | None:
    """The ids of the parent of an encoded record or origin; None for a root."""
    if origin[_PARENT_KIND] != _BIN_8:
        return None
    return int.from_bytes(origin[_TRACE], "big"), int.from_bytes(origin[_PARENT], "big")


def encode_left_out(reason: str, origin: bytes) -> bytes:
    """The payload for a span that ended and was not kept."""
    return encode_msgpack((key_of(origin), reason))


def decode_left_out(payload: bytes) -> tuple[str, bytes]:
    """(reason, span key) of such a payload."""
    key, reason = _decode_left_out(payload)
    return reason, key


def encode_origin(span: Any, labels: msgspec.Raw, scope: int, resource: int, mono_start_ns: int | None) -> bytes:
    """The first part of a payload, from an SDK span (or a `PublicView` of one)."""
    context = span._context
    parent = span._parent
    return encode_msgpack(
        (
            context[0].to_bytes(16, "big"),
            context[1].to_bytes(8, "big"),
            None if parent is None else parent[1].to_bytes(8, "big"),
            labels,
            scope,
            resource,
            span._kind._value_,
            span._start_time,
            mono_start_ns,
            context[3] & 1,
        )
    )


def encode_start(
    origin: bytes, span: Any, attributes: Mapping[str, Any] | None, written: Any, weight: float = 1.0
) -> bytes:
    """The start record of a span: so that one that never ends is data.

    `written` is what stands for the attributes: they themselves, or [number of their keys, *values].
    """
    try:
        if weight == 1.0:
            return origin + encode_msgpack((span._name, written))
        return origin + encode_msgpack((span._name, written, None, None, INTERRUPTED, None, weight))
    except _REFUSED:
        return origin + encode_msgpack(_made_safe((span._name, attributes, None, None, INTERRUPTED, None, weight)))


def encode_end(
    origin: bytes,
    span: Any,
    mono_end_ns: int | None,
    weight: float | None,
    attributes: Mapping[str, Any] | None,
    written: Any,
) -> bytes:
    """The end record of an ended span; `written` as for a start."""
    status = span._status
    events = span._events
    links = span._links
    fields: tuple[Any, ...] = (
        span._name,
        written,
        span._end_time,
        mono_end_ns,
        status._status_code._value_,
        status._description,
        weight,
    )
    if events._dq or links._dq or events.dropped or links.dropped or span._attributes.dropped:
        fields = (
            *fields,
            [event_fields(event) for event in events] or None,
            [link_fields(link) for link in links] or None,
            (span._attributes.dropped, events.dropped, links.dropped),
        )
    try:
        return origin + encode_msgpack(fields)
    except _REFUSED:
        return origin + encode_msgpack(_made_safe((fields[0], attributes, *fields[2:])))


def _made_safe(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same fields with the free-form ones as tagged JSON text, which every reader knows by its type."""
    safe = dict(zip(State.__struct_fields__, fields, strict=False))
    safe["name"] = as_text(safe["name"])
    safe["status_message"] = None if safe["status_message"] is None else as_text(safe["status_message"])
    safe["end_ns"] = None if safe["end_ns"] is None else as_time(safe["end_ns"])
    for name in ("attributes", "events", "links"):
        if safe.get(name) is not None:
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


def as_time(value: Any) -> int:
    """A reported time as int64 nanoseconds: what is out of range becomes the nearest time that is not.

    Raises `ValueError` or `TypeError` for what is no time: NaN, text.
    """
    if value != value:
        raise ValueError("NaN is not a time")
    return int(max(-_INT64_MAX, min(_INT64_MAX, value)))


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
