"""Small files of OTLP, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

START = 1_795_414_056_000_000_000
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue"}
    return {kinds[type(value)]: str(value) if type(value) is int else value}


def span(number: int, **attributes: Any) -> dict[str, Any]:
    """The n-th call: a trace of its own, a second after the one before, half a second long."""
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(START + number * 10**9),
        "endTimeUnixNano": str(START + number * 10**9 + 5 * 10**8),
        "attributes": pairs({**CALL, **attributes}),
    }


def line(*spans: dict[str, Any], **resource: str) -> str:
    """One export request."""
    scope = {"scope": {"name": "instr", "version": "1"}, "spans": list(spans)}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": pairs(resource)}, "scopeSpans": [scope]}]}) + "\n"


def log_line(number: int, event: str = "gen_ai.evaluation.result", **attributes: Any) -> str:
    """One log record that points at the n-th call."""
    record = {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "timeUnixNano": str(START + number * 10**9 + 10**8),
        "eventName": event,
        "attributes": pairs(attributes),
    }
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}) + "\n"


def written(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.encode() for part in lines))
    return path
