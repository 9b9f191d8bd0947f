"""A production set-up beside us: its backend receives exactly what it received without us."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hooks.conftest import Run, Stored, whole
from tests.sink import Sink, listening

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


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as made:
        yield made


def test_a_tenth_goes_out_as_before(sink: Sink, run: Run, tmp_path: Path, store: str, stored: Stored) -> None:
    """A 10 % sampler with an OTLP exporter: the same spans with the same ids arrive there; here all 2,000 are stored."""
    program = tmp_path / "host.py"
    received = {}
    for recorded in (False, True):
        program.write_text(f"RECORDED = {recorded}\n{HOST}")
        sink.received.clear()
        where = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{sink.url}/v1/traces"}
        done = run(sys.executable, program, OTEL_RESEARCH_EXPERIMENT="beside", OTEL_RESEARCH_STORE=store, **where)
        assert done.returncode == 0, done.stderr
        received[recorded] = sorted((one.span.name, *one.ids) for one in sink.received)
    assert 0 < len(received[False]) < 400
    assert received[True] == received[False]
    assert whole(stored()) == (2000, 0)
    # The tags are the one thing that our presence adds to what is forwarded.
    assert {key for one in sink.received for key in one.attributes} == {"experiment.id", "experiment.name"}
