"""A backend that cannot keep up, on the same provider."""

from __future__ import annotations

import os

from otel_research.selftest.scenario import Host, Scenario

SECONDS = 0.5
"""How long the backend takes for a batch of 512 spans: 50,000 spans would take it 49 s."""
SPANS = 50_000


def program(host: Host) -> None:
    """A burst, while the batch processor beside us waits for its backend and drops."""
    from otel_research.testing import SlowBackend

    with host.recording(forward=SlowBackend(SECONDS)) as tracer:
        host.calls(tracer, SPANS)
        from otel_research import recorder

        current = recorder.current()
        assert current is not None
        current.flush()
        # The batch processor would wait for its backend at the exit; we do not need a good end.
        os._exit(0)


SCENARIO = Scenario(
    name="slow backend",
    says=f"{SPANS:,} spans beside an exporter that takes {SECONDS * 1000:.0f} ms a batch",
    program=program,
    expected=SPANS,
)
