"""A backend on loopback that keeps what it is sent over OTLP/HTTP, and answers whatever else is asked with an empty yes."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received(NamedTuple):
    """One span as it arrived: OTLP's messages, and the attributes of span and resource by key."""

    scope: str
    span: Any
    attributes: dict[str, bytes]
    resource: dict[str, bytes]

    @property
    def ids(self) -> tuple[bytes, bytes, bytes]:
        """Trace, span and parent."""
        return self.span.trace_id, self.span.span_id, self.span.parent_span_id


class Sink(ThreadingHTTPServer):
    """Keeps every span of every request whose path ends in `/traces`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        # Appended to by the threads of the requests; a list's own methods are atomic.
        self.received: list[Received] = []

    @property
    def url(self) -> str:
        """The root: `/v1/traces` below it is OTLP's usual path."""
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            shared = _by_key(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.received.append(Received(scope.scope.name, span, _by_key(span.attributes), shared))


def _by_key(attributes: Any) -> dict[str, bytes]:
    return {one.key: one.value.SerializeToString(deterministic=True) for one in attributes}


class _Receiver(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/traces"):
            self.server.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        # Logfire asks whose token it has.
        self._answer(b'{"project_name": "local", "project_url": "http://localhost"}', "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[Sink]:
    """A sink that answers until the block ends."""
    with Sink() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()
