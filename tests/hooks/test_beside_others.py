"""A production set-up beside us: its backend receives exactly what it received without us."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.hooks.conftest import Run, Stored, whole

HOST = """
import random
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

class Repeated(IdGenerator):
    bits = random.Random(7).getrandbits
    def generate_span_id(self): return self.bits(64)
    def generate_trace_id(self): return self.bits(128)

provider = TracerProvider(sampler=ParentBasedTraceIdRatio(0.1), id_generator=Repeated())
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
if RECORDED:
    import otel_research as otr
    otr.configure()
tracer = trace.get_tracer("app")
for number in range(1000):
    with tracer.start_as_current_span(f"work {number}"):
        with tracer.start_as_current_span(f"inner {number}"):
            pass
provider.shutdown()
"""
"""10 % of the traces go to an OTLP backend; ids come from the host's own generator, so both runs decide alike."""


class Sink(ThreadingHTTPServer):
    """An OTLP/HTTP backend on loopback that keeps what it is sent: the name, ids and headers of every span."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans: list[tuple[str, bytes, bytes, bytes]] = []
        self.keys: set[str] = set()

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append((span.name, span.trace_id, span.span_id, span.parent_span_id))
                    self.keys |= {attribute.key for attribute in span.attributes}


class Receiver(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_tenth_goes_out_as_before(sink: Sink, run: Run, tmp_path: Path, store: str, stored: Stored) -> None:
    """A 10 % sampler with an OTLP exporter: the same spans with the same ids arrive there; here all 2,000 are stored."""
    program = tmp_path / "host.py"
    received = {}
    for recorded in (False, True):
        program.write_text(f"RECORDED = {recorded}\n{HOST}")
        sink.spans.clear()
        where = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{sink.server_port}/v1/traces"}
        done = run(sys.executable, program, OTEL_RESEARCH_EXPERIMENT="beside", OTEL_RESEARCH_STORE=store, **where)
        assert done.returncode == 0, done.stderr
        received[recorded] = sorted(sink.spans)
    assert 0 < len(received[False]) < 400
    assert received[True] == received[False]
    assert whole(stored()) == (2000, 0)
    # The tags are the one thing that our presence adds to what is forwarded.
    assert sink.keys == {"experiment.id", "experiment.name"}
