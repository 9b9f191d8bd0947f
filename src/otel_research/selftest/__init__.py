"""Does this machine lose spans? Programs that are treated badly, and a check of what they left.

    scenario    what is done to a program, and what it is given
    process     runs a scenario's program in a process of its own, which says on a pipe what has ended
    outcome     what the program said against what the store holds
    burst, slow_backend, sigkill, fork, spawn, pool, disk_full      the scenarios, one per file

`otel-research selftest` runs them all; `tests/crash` runs the same programs harder.
"""

from otel_research.selftest import burst, disk_full, fork, pool, sigkill, slow_backend, spawn
from otel_research.selftest.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    burst.SCENARIO,
    slow_backend.SCENARIO,
    sigkill.SCENARIO,
    fork.SCENARIO,
    spawn.SCENARIO,
    pool.SCENARIO,
    disk_full.SCENARIO,
)
"""In the order in which they run."""


def named(name: str) -> Scenario:
    """The scenario with that name."""
    return next(scenario for scenario in SCENARIOS if scenario.name == name)
