"""A receiver in a process of its own, and bodies to send to it."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START = 1_795_414_056_080_254_720
SECOND = 1_000_000_000
PROTOBUF = "application/x-protobuf"


@dataclass
class Served:
    """`otel-research serve` as a process."""

    store: Path
    options: tuple[str, ...] = ()
    ports: dict[str, int] = field(default_factory=dict)

    def start(self) -> Served:
        code = "from otel_research.cli import main; main()"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COVERAGE"))}
        kept |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        kept |= {"XDG_STATE_HOME": str(self.store.parent / "state")}
        ports = [part for name in ("http", "grpc") for part in (f"--otlp-{name}", str(self.ports.get(name, 0)))]
        command = [sys.executable, "-c", code, "serve", "--port", "0", *ports, "--store", f"disk:{self.store}"]
        self.process = subprocess.Popen([*command, *self.options], env=kept, text=True, stdout=subprocess.PIPE)
        told = ""
        assert self.process.stdout is not None
        while "OTLP (grpc)" not in told:
            line = self.process.stdout.readline()
            assert line, f"it ended: {told}"
            told += line
        self.ports = {"http": _port(told, "http/protobuf"), "grpc": _port(told, "grpc")}
        return self

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def grpc(self) -> str:
        return f"http://127.0.0.1:{self.ports['grpc']}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def post(
        self, body: bytes, path: str = "/v1/traces", method: str = "POST", **headers: str
    ) -> tuple[int, Any, bytes]:
        """(status, headers, body) of one request; headers with underscores for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=60)
        given = {"content_type": PROTOBUF} | headers
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in given.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _port(told: str, way: str) -> int:
    found = re.search(rf"OTLP \({way}\): https?://127.0.0.1:(\d+)", told)
    assert found is not None, told
    return int(found[1])


def message(*numbers: int, resource: dict[str, str] | None = None, **attributes: str) -> ExportTraceServiceRequest:
    """An export request with spans of these numbers; `experiment__id="…"` becomes an attribute of each."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    for key, text in (resource or {"service.name": "elsewhere"}).items():
        group.resource.attributes.add(key=key).value.string_value = text
    scope = group.scope_spans.add()
    scope.scope.name, scope.scope.version = "elsewhere", "1.0"
    for number in numbers:
        span = scope.spans.add(
            trace_id=(number + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name=f"work {number}",
            kind=3,
            start_time_unix_nano=START + number,
            end_time_unix_nano=START + number + SECOND,
        )
        span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-4o-mini"
        for key, text in attributes.items():
            span.attributes.add(key=key.replace("__", ".")).value.string_value = text
    return made


def packed(body: bytes) -> bytes:
    return gzip.compress(body, 1)


def wait_for_port(port: int) -> None:
    """Wait until something listens there."""
    import socket

    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.05)
