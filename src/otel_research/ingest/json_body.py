"""OTLP JSON as the protobuf message it stands for, so that one encoding is journaled."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from otel_research.ingest.refusal import Refused

_IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


def message_of(body: bytes, kind: Any) -> Any:
    """The message in the body. Raises `Refused` (400) where it is not JSON, or not that message's JSON."""
    from google.protobuf.json_format import ParseError

    try:
        return message_from(json.loads(body), kind)
    except (ValueError, RecursionError, ParseError, binascii.Error) as error:
        raise Refused(400, f"the body is no {kind.DESCRIPTOR.name} in OTLP JSON: {str(error)[:300]}.") from None


def message_from(document: Any, kind: Any) -> Any:
    """The message that a decoded document of OTLP JSON stands for; raises what protobuf's own parser raises."""
    from google.protobuf.json_format import ParseDict

    return ParseDict(_with_bytes(document), kind(), ignore_unknown_fields=True)


def _with_bytes(value: Any, *, is_value: bool = False) -> Any:
    """OTLP writes ids in hex where protobuf's own JSON has base64. Inside attribute values the names mean nothing."""
    if isinstance(value, list):
        return [_with_bytes(item, is_value=is_value) for item in value]
    if not isinstance(value, dict) or is_value:
        return value
    return {
        key: _base64(item) if key in _IDS and isinstance(item, str) else _with_bytes(item, is_value=key == "attributes")
        for key, item in value.items()
    }


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()
