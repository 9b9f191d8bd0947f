"""OTLP in protobuf: bytes -> spans and log records.

A file holds one message (an export request or a TracesData, which are the same on the wire),
or many, each behind its length: a varint, or the collector's four bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from otel_research.formats.otlp_json import Found
from otel_research.formats.otlp_rows import KINDS, STATUSES, Link, Log, Moment, Origin, Span, hex_id, nanoseconds
from otel_research.spans import values

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

_GROUP = 0x0A
"""Tag of field 1, length-delimited: how every resource group of an export request begins."""


class Torn(ValueError):
    """The bytes end, or stop making sense, inside a message."""


def groups(data: bytes) -> Iterator[bytes]:
    """The resource groups of every message in the data; raises `Torn` where it breaks off.

    All that stands before the break has been given by then.
    """
    if not data:
        return
    if _is_message(data):
        yield from _fields(data)
        return
    length = _varint_length if _is_delimited(data, _varint_length) else _four_bytes
    if length is _four_bytes and not _is_delimited(data, _four_bytes):
        raise Torn("neither OTLP JSON nor OTLP protobuf")
    place = 0
    while place < len(data):
        size, start = length(data, place)
        yield from _fields(data[start : start + size])
        if start + size > len(data):
            raise Torn("the last message is cut off")
        place = start + size


def _is_message(data: bytes) -> bool:
    """Does the data begin like a bare message: a group, then the end, another group, or a cut?"""
    if data[0] != _GROUP:
        return False
    try:
        size, start = _varint_length(data, 1)
    except Torn:
        return False
    end = start + size
    return (end >= len(data) or data[end] == _GROUP) and data[start : start + 1] in (b"\n", b"\x12", b"\x1a", b"")


def _is_delimited(data: bytes, length: Any) -> bool:
    """Does a message stand behind the first length?"""
    try:
        size, start = length(data, 0)
    except Torn:
        return False
    return size > 0 and _is_message(data[start : start + size] or b"\0")


def _varint_length(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise Torn("a length is cut off")


def _four_bytes(data: bytes, place: int) -> tuple[int, int]:
    if place + 4 > len(data):
        raise Torn("a length is cut off")
    return int.from_bytes(data[place : place + 4], "big"), place + 4


def _fields(message: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(message):
        if message[place] != _GROUP:
            raise Torn("something other than a resource group stands in the message")
        size, start = _varint_length(message, place + 1)
        if start + size > len(message):
            raise Torn("the last message is cut off")
        yield message[start : start + size]
        place = start + size


def read(group: bytes) -> Iterator[Found]:
    """Every span, or every log record, of one resource group; raises ValueError where it is neither."""
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

    # The groups of spans, logs and metrics look alike from outside; what is inside has ids, or times, or neither.
    spans = _parsed(ResourceSpans, group)
    if spans is not None and any(span.trace_id for scope in spans.scope_spans for span in scope.spans):
        yield from spans_in(spans)
        return
    logs = _parsed(ResourceLogs, group)
    if logs is not None and any(
        record.time_unix_nano or record.observed_time_unix_nano
        for scope in logs.scope_logs
        for record in scope.log_records
    ):
        yield from logs_in(logs)
    elif spans is None or any(scope.spans for scope in spans.scope_spans):
        raise ValueError("neither spans nor log records in OTLP protobuf")


def _parsed(kind: Any, group: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(group)
    except DecodeError:
        return None


def spans_request(body: bytes) -> Any:
    """The `ExportTraceServiceRequest` that the bytes hold; raises protobuf's `DecodeError`."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return ExportTraceServiceRequest.FromString(body)


def logs_request(body: bytes) -> Any:
    """The `ExportLogsServiceRequest` that the bytes hold; raises protobuf's `DecodeError`."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    return ExportLogsServiceRequest.FromString(body)


def spans_in(group: Any) -> Iterator[Found]:
    """The spans of a `ResourceSpans`."""
    resource = values.to_json(attributes(group.resource.attributes))
    for scope_group in group.scope_spans:
        origin = Origin(resource, scope_group.scope.name, scope_group.scope.version or None)
        for message in scope_group.spans:
            try:
                yield origin, span(message)
            except ValueError as exc:
                yield origin, f"span '{message.name[:60]}' cannot be read: {exc}"


def logs_in(group: Any) -> Iterator[Found]:
    """The log records of a `ResourceLogs`."""
    resource = values.to_json(attributes(group.resource.attributes))
    for scope_group in group.scope_logs:
        origin = Origin(resource, scope_group.scope.name, scope_group.scope.version or None)
        for record in scope_group.log_records:
            try:
                yield origin, log(record)
            except ValueError as exc:
                yield origin, f"log record cannot be read: {exc}"


def span(message: Any) -> Span:
    """One span message."""
    return Span(
        trace_id=hex_id(message.trace_id.hex(), 16),
        span_id=hex_id(message.span_id.hex(), 8),
        parent_span_id=_optional_id(message.parent_span_id, 8),
        name=message.name,
        kind=message.kind if 0 <= message.kind < len(KINDS) else 0,
        start_ns=nanoseconds(message.start_time_unix_nano),
        end_ns=nanoseconds(message.end_time_unix_nano),
        attributes=attributes(message.attributes),
        events=[Moment(e.name, nanoseconds(e.time_unix_nano), attributes(e.attributes)) for e in message.events],
        links=[
            Link(hex_id(link.trace_id.hex(), 16), hex_id(link.span_id.hex(), 8), attributes(link.attributes))
            for link in message.links
        ],
        status=message.status.code if 0 <= message.status.code < len(STATUSES) else 0,
        status_message=message.status.message or None,
        flags=message.flags,
        dropped=(message.dropped_attributes_count, message.dropped_events_count, message.dropped_links_count),
    )


def log(record: Any) -> Log:
    """One log record message."""
    said = attributes(record.attributes)
    named = said.get("event.name")
    return Log(
        event=record.event_name or (named if isinstance(named, str) else ""),
        trace_id=_optional_id(record.trace_id, 16),
        span_id=_optional_id(record.span_id, 8),
        time_ns=nanoseconds(record.time_unix_nano or record.observed_time_unix_nano),
        attributes=said,
    )


def _optional_id(digits: bytes, size: int) -> str | None:
    return hex_id(digits.hex(), size) if digits.strip(b"\0") else None


def attributes(pairs: Any) -> dict[str, Any]:
    """Pairs of key and `AnyValue` as Python values."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)
