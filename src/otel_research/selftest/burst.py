"""As many spans as four threads can make."""

from __future__ import annotations

from otel_research.selftest.scenario import Host, Scenario, in_threads

THREADS = 4
SPANS = 50_000


def program(host: Host) -> None:
    """Make them at full speed, and leave by the door."""
    with host.recording() as tracer:
        in_threads(THREADS, lambda: host.calls(tracer, SPANS // THREADS))


SCENARIO = Scenario(
    name="burst", says=f"{SPANS:,} spans at once from {THREADS} threads", program=program, expected=SPANS
)
