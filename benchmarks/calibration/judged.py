"""One simulated cell, what came of it, and the band it is judged by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
SIZE, CONSERVATIVE, COVERAGE, COVERAGE_LOW = (0.03, 0.07), (0.0, 0.07), (0.93, 0.97), (0.93, 1.0)
POWER, REPORTED = (0.78, 0.82), None
CAUGHT, SILENT = (0.95, 1.0), (0.0, 0.02)
Band = tuple[float, float] | None
Rng = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """One simulation: `hit` draws data once and says whether the event (rejection, coverage) happened.

    None: an interval was refused; it counts neither way.
    """

    section: str
    situation: str
    method: str
    hit: Callable[[Rng], bool | None]
    band: Band
    n: int = 2000

    @property
    def name(self) -> str:
        """What it is called, and seeded by."""
        return f"{self.section}: {self.situation}: {self.method}"

    @property
    def rows(self) -> list[tuple[tuple[str, ...], str]]:
        """(situations it can be shown for, method) of its row."""
        return [((self.situation,), self.method)]

    def outcomes(self, make: Callable[[str], Rng], n: int) -> list[Outcome]:
        """Its share of hits in n simulations."""
        rng = make(self.name)
        hits = [hit for hit in (self.hit(rng) for _ in range(n)) if hit is not None]
        return [outcome(self.section, self.situation, self.method, hits, self.band)]


@dataclass(frozen=True)
class Family:
    """Events that are looked for in the same simulations, of one or several situations.

    `draws` simulates a situation once and says which events happened; of several situations each event is judged
    in the one where it happens most often.
    """

    section: str
    draws: Mapping[str, Callable[[Rng], Iterable[str]]]
    method: str
    """With {} for the event."""
    events: Mapping[str, Band]
    n: int

    @property
    def name(self) -> str:
        """What it is called, and seeded by."""
        return f"{self.section}: {'; '.join(self.draws)}: {self.method}"

    @property
    def rows(self) -> list[tuple[tuple[str, ...], str]]:
        """(situations it can be shown for, method) of each row."""
        return [((*self.draws, self._everywhere), self.method.format(event)) for event in self.events]

    @property
    def _everywhere(self) -> str:
        return f"each of the {len(self.draws)}"

    def outcomes(self, make: Callable[[str], Rng], n: int) -> list[Outcome]:
        """The share of each event in n simulations, where it is largest."""
        found: dict[str, list[frozenset[str]]] = {}
        for situation, draw in self.draws.items():
            rng = make(f"{self.section}: {situation}: {self.method}")
            found[situation] = [frozenset(draw(rng)) for _ in range(n)]
        unknown = {event for sets in found.values() for events in sets for event in events} - set(self.events)
        if unknown:
            raise LookupError(f"{self.name}: no band for {', '.join(sorted(unknown))}")
        return [self._worst(event, band, found) for event, band in self.events.items()]

    def _worst(self, event: str, band: Band, found: Mapping[str, list[frozenset[str]]]) -> Outcome:
        counts = {situation: sum(event in events for events in sets) for situation, sets in found.items()}
        worst = max(counts, key=lambda situation: counts[situation])
        hits = [event in events for events in found[worst]]
        situation = worst if counts[worst] or len(counts) == 1 else self._everywhere
        return outcome(self.section, situation, self.method.format(event), hits, band)


def outcome(section: str, situation: str, method: str, hits: list[bool], band: Band) -> Outcome:
    """The share of hits with twice its Monte Carlo standard error; never below that of a share of 5 %."""
    share, n = float(np.mean(hits)), len(hits)
    error = 2 * math.sqrt(max(share * (1 - share), 0.0475 * 0.05) / n)
    return Outcome(f"{section}: {situation}: {method}", section, situation, method, n, share, error, band)


@dataclass(frozen=True)
class Outcome:
    """A cell's share of hits, and whether its band holds within Monte Carlo error."""

    cell: str
    section: str
    situation: str
    method: str
    n: int
    share: float
    error: float
    band: Band

    @property
    def holds(self) -> bool:
        """Inside the band, give or take two standard errors of the simulation."""
        return self.band is None or self.band[0] - self.error <= self.share <= self.band[1] + self.error
