"""What can be received: spans, and evaluation results in log records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from otel_research.ingest.refusal import Refused

EVALUATION = "gen_ai.evaluation.result"
_TRACE, _SPAN = bytes(16), bytes(8)
_TIME = 63
"""Bits of the times that a column holds."""


class Signal(NamedTuple):
    """One kind of message: how to read it, where its members are, which of them cannot be stored."""

    name: str
    service: str
    """Of gRPC."""
    request: Callable[[], Any]
    """The class of its messages."""
    response: Callable[[], Any]
    groups: str
    scopes: str
    members: str
    is_storable: Callable[[Any], bool]
    rejected: str
    """The field of the answer that counts what was not taken."""

    def read(self, body: bytes) -> Any:
        """The message; raises `Refused` where the bytes are none."""
        from google.protobuf.message import DecodeError

        try:
            return self.request().FromString(body)
        except DecodeError as error:
            raise Refused(400, f"the body is no {self.request().DESCRIPTOR.name}: {error}.") from None

    def read_json(self, body: bytes) -> Any:
        """The same from OTLP JSON."""
        from otel_research.ingest.json_body import message_of

        return message_of(body, self.request())

    def each(self, message: Any) -> Iterator[tuple[Any, Any, Any]]:
        """(group, scope group, member) of everything in a message."""
        for group in getattr(message, self.groups):
            for scope in getattr(group, self.scopes):
                for member in getattr(scope, self.members):
                    yield group, scope, member

    def answer(self, refused: int, why: str) -> Any:
        """The response message: empty is full success."""
        made = self.response()()
        if refused:
            setattr(made.partial_success, self.rejected, refused)
            made.partial_success.error_message = why
        return made


def _traces_request() -> Any:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return ExportTraceServiceRequest


def _traces_response() -> Any:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    return ExportTraceServiceResponse


def _logs_request() -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    return ExportLogsServiceRequest


def _logs_response() -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    return ExportLogsServiceResponse


def _is_span(span: Any) -> bool:
    """Whether it has what a row needs: ids that are none of zeros, times within 63 bits."""
    trace, own = span.trace_id, span.span_id
    if len(trace) != 16 or len(own) != 8 or trace == _TRACE or own == _SPAN:
        return False
    if (span.start_time_unix_nano | span.end_time_unix_nano) >> _TIME:
        return False
    parent = span.parent_span_id
    if parent and len(parent) != 8:
        return False
    return all(not event.time_unix_nano >> _TIME for event in span.events) and all(
        len(link.trace_id) == 16 and len(link.span_id) == 8 and link.trace_id != _TRACE and link.span_id != _SPAN
        for link in span.links
    )


def _is_evaluation(record: Any) -> bool:
    """Whether it is an evaluation result with ids and a time that a row can hold."""
    said = record.event_name or next(
        (pair.value.string_value for pair in record.attributes if pair.key == "event.name"), ""
    )
    has_ids = len(record.trace_id) in (0, 16) and len(record.span_id) in (0, 8)
    has_time = not (record.time_unix_nano | record.observed_time_unix_nano) >> _TIME
    return said == EVALUATION and has_ids and has_time


TRACES = Signal(
    "traces", "opentelemetry.proto.collector.trace.v1.TraceService", _traces_request, _traces_response,
    "resource_spans", "scope_spans", "spans", _is_span, "rejected_spans",
)  # fmt: skip
LOGS = Signal(
    "logs", "opentelemetry.proto.collector.logs.v1.LogsService", _logs_request, _logs_response,
    "resource_logs", "scope_logs", "log_records", _is_evaluation, "rejected_log_records",
)  # fmt: skip
SIGNALS = (TRACES, LOGS)
