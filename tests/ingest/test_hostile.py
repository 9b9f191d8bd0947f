"""What must be refused, in the words of HTTP and of gRPC; the server lives on and nothing stored is harmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from receivers import PROTOBUF, Served, message, packed

from otel_research.errors import ConfigurationError
from otel_research.handle import Experiment
from otel_research.ingest.receiver import Receiver

MIB = 1 << 20
GOOD = message(1, 2).SerializeToString()
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """400 MiB of zeros in 400 KiB."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(400)), packer.flush()])


def _deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "ten megabytes": (413, {"body": message(*range(1), padding="x" * 10_000_000).SerializeToString()}),
    "ten megabytes, packed": (
        413,
        {"body": packed(message(1, padding="x" * 10_000_000).SerializeToString()), "content_encoding": "gzip"},
    ),
    "a length that is no number": (400, {"body": b"", "content_length": "-5"}),
    "truncated protobuf": (400, {"body": GOOD[:-7]}),
    "no protobuf": (400, {"body": b"\xff" * 100}),
    "text": (400, {"body": b"hello"}),
    "damaged gzip": (400, {"body": packed(GOOD)[:-12] + b"abcd", "content_encoding": "gzip"}),
    "cut gzip": (400, {"body": packed(GOOD)[:20], "content_encoding": "gzip"}),
    "no gzip": (400, {"body": GOOD, "content_encoding": "gzip"}),
    "another compression": (415, {"body": GOOD, "content_encoding": "br"}),
    "another content type": (415, {"body": GOOD, "content_type": "text/plain"}),
    "no JSON": (400, {"body": b"{", "content_type": "application/json"}),
    "JSON that is no request": (400, {"body": b'{"resourceSpans": 5}', "content_type": "application/json"}),
    "deep JSON": (400, {"body": _deep(200_000), "content_type": "application/json"}),
    "ids that are no hex": (
        400,
        {
            "body": b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}',
            "content_type": "application/json",
        },
    ),
    "an unknown path": (404, {"body": GOOD, "path": "/v1/spans"}),
    "metrics": (404, {"body": GOOD, "path": "/v1/metrics"}),
    "GET": (405, {"body": b"", "method": "GET"}),
    "a web page": (403, {"body": GOOD, "origin": "https://evil.example"}),
}


def test_what_is_refused_harms_nothing(
    serve: Callable[..., Served], found: Callable[..., Experiment], bomb: bytes
) -> None:
    """Every refusal has its status and says why, and what was stored before is stored after, whole."""
    served = serve()
    assert served.post(GOOD)[0] == 200
    cases = CASES | {"a zip bomb": (413, {"body": bomb, "content_encoding": "gzip"})}
    for case, (status, request) in cases.items():
        given, headers, body = served.post(**request)
        assert given == status, case
        if request.get("content_type") == "application/json":
            assert json.loads(body)["message"], case
        elif case != "a length that is no number":
            assert headers["content-type"] == PROTOBUF, case
            assert Status.FromString(body).message, case
    import psutil

    assert psutil.Process(served.process.pid).memory_info().rss < 400 * MIB
    assert served.post(message(3).SerializeToString())[0] == 200
    assert served.stop() == 0
    assert sorted(found().spans().collect()["name"]) == ["work 1", "work 2", "work 3"]
    ledger = found().ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (3, 0, True)


def _call(served: Served, body: bytes, **options: Any) -> tuple[grpc.StatusCode, bytes]:
    with grpc.insecure_channel(f"127.0.0.1:{served.ports['grpc']}") as channel:
        try:
            return grpc.StatusCode.OK, channel.unary_unary(options.pop("path", EXPORT))(body, timeout=30, **options)
        except grpc.RpcError as error:
            return error.code(), error.details().encode()  # type: ignore[attr-defined]


def test_the_same_over_grpc(serve: Callable[..., Served], found: Callable[..., Experiment]) -> None:
    """Too large, packed or not, torn, and an unknown method: each its code; good ones go on being taken."""
    served = serve()
    big = bytes(100 * MIB)
    codes = grpc.StatusCode
    assert _call(served, GOOD)[0] is codes.OK
    assert _call(served, GOOD[:-7])[0] is codes.INVALID_ARGUMENT
    assert _call(served, message(1, padding="x" * 10_000_000).SerializeToString())[0] is codes.RESOURCE_EXHAUSTED
    assert _call(served, big, compression=grpc.Compression.Gzip)[0] is codes.RESOURCE_EXHAUSTED
    assert _call(served, GOOD, path=EXPORT + "All")[0] is codes.UNIMPLEMENTED
    assert _call(served, message(3).SerializeToString())[0] is codes.OK
    assert sorted(found().spans().collect()["name"]) == ["work 1", "work 2", "work 3"]


def test_a_token_is_demanded(serve: Callable[..., Served], found: Callable[..., Experiment]) -> None:
    """With a token nobody sends without it, by either door."""
    served = serve("--otlp-token", "sesame")
    for given in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "sesame"},
        {"authorization": "Bearer sesamé"},
    ):
        assert served.post(GOOD, **{name: text.encode() for name, text in given.items()})[0] == 401  # type: ignore[arg-type]
    assert served.post(GOOD, authorization="Bearer sesame")[0] == 200
    assert _call(served, GOOD)[0] is grpc.StatusCode.UNAUTHENTICATED
    assert _call(served, GOOD, metadata=[("authorization", "Bearer wrong")])[0] is grpc.StatusCode.UNAUTHENTICATED
    assert _call(served, GOOD, metadata=[("authorization", "Bearer sesame")])[0] is grpc.StatusCode.OK
    assert found().spans().collect().height == 2


def test_from_outside_a_token_is_needed() -> None:
    """A receiver that others can reach does not start without a token."""
    with pytest.raises(ConfigurationError, match="--otlp-token"):
        Receiver("memory:", "0.0.0.0", 0, 0)


def test_content_that_must_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a content policy is set the receiver does not start: it could not keep it."""
    monkeypatch.setenv("OTEL_RESEARCH_CONTENT", "drop")
    with pytest.raises(ConfigurationError, match="OTEL_RESEARCH_CONTENT=drop"):
        Receiver("memory:", "127.0.0.1", 0, 0)


def test_what_cannot_be_stored_is_told_and_counted(
    serve: Callable[..., Served], found: Callable[..., Experiment]
) -> None:
    """Spans without valid ids or times are refused by themselves, as a partial success, and counted."""
    served = serve()
    mixed = message(1, 2, 3, 4, 5, 6)
    spans = mixed.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = bytes(16)
    spans[1].span_id = b"short"
    spans[2].end_time_unix_nano = 2**64 - 1
    spans[3].links.add(trace_id=b"", span_id=b"")
    status, _, body = served.post(mixed.SerializeToString())
    told = ExportTraceServiceResponse.FromString(body).partial_success
    assert (status, told.rejected_spans) == (200, 4)
    assert "4 spans have no valid ids or times" in told.error_message
    assert served.stop() == 0
    ledger = found().ledger()
    assert sorted(found().spans().collect()["name"]) == ["work 5", "work 6"]
    assert (ledger.received, ledger.stored, dict(ledger.lost)) == (6, 2, {"invalid": 4})
    assert ledger.is_balanced


def test_full_success_says_nothing(serve: Callable[..., Served]) -> None:
    """A full success has an empty answer, in the sender's encoding."""
    served = serve()
    assert served.post(GOOD)[1:][1] == b""
    status, headers, body = served.post(b'{"resourceSpans": []}', content_type="application/json; charset=utf-8")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {})
    assert served.post(b"")[0] == 200


def test_a_port_that_is_taken(serve: Callable[..., Served]) -> None:
    """A port that was asked for and is taken is an error that names the option; nothing half begins."""
    served = serve()
    with pytest.raises(ConfigurationError, match="--otlp-grpc"):
        Receiver("memory:", "127.0.0.1", 0, served.ports["grpc"])
