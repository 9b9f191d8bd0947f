"""How many spans a second the receiver validates and journals on one core, and what converting inline would cost.

python benchmarks/receiver.py --bodies 400
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_research.ingest.inbox import Inbox
from otel_research.ingest.signals import TRACES
from otel_research.journal.received import Received
from otel_research.spans.batch import from_rows
from otel_research.store.library import Library
from otel_research.store.received import rows_of

PER_BODY = 512
ID = "0123456789abcdef0123456789abcdef"
GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-0123456789",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 300,
    "server.address": "api.openai.com",
}


def body(number: int, *, is_named: bool) -> bytes:
    """One export request, as an SDK's batch processor sends it."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bench"
    scope = group.scope_spans.add()
    scope.scope.name = "bench"
    for place in range(number * PER_BODY, (number + 1) * PER_BODY):
        span = scope.spans.add(
            trace_id=(place + 1).to_bytes(16, "big"),
            span_id=(place + 1).to_bytes(8, "big"),
            name="chat gpt-4o-mini",
            kind=3,
            start_time_unix_nano=1_795_414_056_000_000_000 + place,
            end_time_unix_nano=1_795_414_057_000_000_000 + place,
        )
        attributes = ({"experiment.id": ID, "experiment.condition": "a"} if is_named else {}) | GENAI
        for key, value in attributes.items():
            held = span.attributes.add(key=key).value
            if isinstance(value, int):
                held.int_value = value
            else:
                held.string_value = value
    return message.SerializeToString()


def rate(bodies: list[bytes], take: Callable[[bytes], object]) -> float:
    """Spans per second of this thread's CPU time: a loaded machine does not slow it down."""
    began = time.thread_time()
    for one in bodies:
        take(one)
    return len(bodies) * PER_BODY / (time.thread_time() - began)


def convert(one: bytes) -> object:
    """Parse and convert, as a receiver that stores rows would before it answers."""
    return from_rows(list(rows_of(Received(ID, "traces", PER_BODY, 0, one))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=400)
    count = parser.parse_args().bodies
    print(f"{count} requests of {PER_BODY} spans; spans/s of one core (CPU time)")
    for is_named in (False, True):
        bodies = [body(number, is_named=is_named) for number in range(count)]
        size = len(bodies[-1]) / PER_BODY
        with tempfile.TemporaryDirectory() as folder:
            inbox = Inbox(Library(f"disk:{Path(folder) / 'store'}"))
            journaled = rate(bodies, lambda one, inbox=inbox: inbox.take(TRACES, TRACES.read(one), one))  # type: ignore[misc]
            inbox.close()
        parsed = rate(bodies, TRACES.read)
        converted = rate(bodies[: max(1, count // 10)], convert)
        who = "each span names its experiment" if is_named else "spans name no experiment"
        print(f"{who} ({size:.0f} bytes a span): validate and journal {journaled:,.0f}; parse alone {parsed:,.0f}; "
              f"convert inline {converted:,.0f} ({journaled / converted:.1f}x slower)")  # fmt: skip


if __name__ == "__main__":
    main()
