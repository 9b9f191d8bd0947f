"""What the experiments of a comparison declared: outcomes, directions, margins, sample sizes, switches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otel_research.analysis import amendments
from otel_research.analysis.arms import LOWER, Arm, named
from otel_research.analysis.comparison import Direction
from otel_research.experiments import ExperimentRecord

Margin = float | str


def records(a: Arm, b: Arm) -> Iterator[ExperimentRecord]:
    """The records behind the arms, the baseline's first."""
    for arm in (a, b):
        if arm.subject is not None and arm.subject.record is not None:
            yield arm.subject.record


def primary(a: Arm, b: Arm, names: list[str]) -> list[str]:
    """The declared outcomes that are compared; all of them where none is declared."""
    declared = dict.fromkeys(named(name) for record in records(a, b) for name in record.primary)
    return [name for name in declared if name in names] or names


def family(a: Arm, b: Arm, name: str) -> int:
    """How many declared outcomes share alpha with this one; 1 for one that none declared."""
    outcomes = {named(each) for record in records(a, b) for each in record.primary}
    return len(outcomes) if name in outcomes else 1


def sample_size(a: Arm, b: Arm) -> int | None:
    """The declared n per arm, the largest one where arms or amendments differ."""
    first = [record.sample_size for record in records(a, b) if record.sample_size]
    later = [size for arm in (a, b) if arm.subject for size in amendments.sample_sizes(arm.subject.annotations)]
    return max([*first, *later], default=None)


def direction(a: Arm, b: Arm, name: str) -> Direction:
    """Which direction is better: as declared, else lower for times, money and tokens."""
    for record in records(a, b):
        for outcome, which in record.direction.items():
            if named(outcome) == name:
                return "lower" if which == "lower" else "higher"
    return "lower" if name in LOWER else "higher"


def margin(
    a: Arm, b: Arm, name: str, asked: Margin | Mapping[str, Margin] | None, *, is_headline: bool
) -> Margin | None:
    """The equivalence margin that was asked for, else the declared one."""
    if isinstance(asked, Mapping):
        if name in asked:
            return asked[name]
    elif asked is not None and is_headline:
        return asked
    return next((record.margin[name] for record in records(a, b) if name in record.margin), None)


def is_on(a: Arm, b: Arm, name: str) -> bool:
    """Whether `metrics=` of neither experiment switched the outcome off."""
    return not any(
        named(switch) == name and value is False for record in records(a, b) for switch, value in record.metrics.items()
    )


def is_time(name: str) -> bool:
    """Whether the outcome is a time, which is compared by its geometric mean."""
    return name in ("latency", "ttft")
