"""`kill -9` in the middle of four threads' work."""

from __future__ import annotations

from otel_research.selftest.scenario import Host, Scenario, in_threads

THREADS = 4
KILLED_AFTER = 5_000


def program(host: Host) -> None:
    """Spans without end; each is said to have ended as soon as it has."""
    with host.recording() as tracer:

        def work() -> None:
            while True:
                host.call(tracer)

        in_threads(THREADS, work)


SCENARIO = Scenario(
    name="kill -9",
    says=f"SIGKILL after {KILLED_AFTER:,} spans, {THREADS} threads at work",
    program=program,
    kill_after=KILLED_AFTER,
)
