"""Forked workers that leave without a word."""

from __future__ import annotations

import os

from otel_research.selftest.scenario import Host, Scenario

WORKERS = 8
SPANS = 100


def program(host: Host) -> None:
    """Workers of a pre-forking server: forked while we record, gone by `os._exit`."""
    with host.recording() as tracer:
        children = []
        for _ in range(WORKERS):
            child = os.fork()
            if child == 0:
                host.calls(tracer, SPANS)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)


SCENARIO = Scenario(
    name="fork",
    says=f"{WORKERS} forked workers make {SPANS} spans each and leave by os._exit",
    program=program,
    expected=WORKERS * SPANS,
)
