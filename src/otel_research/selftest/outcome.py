"""What a program said against what the store holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_research.capture.accounts import of_experiment
from otel_research.capture.ledger import Ledger, total
from otel_research.selftest.process import Ran, run
from otel_research.selftest.scenario import Scenario


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scenario, judged."""

    name: str
    says: str
    ended: int
    """Spans whose `end()` had returned, as the program said."""
    stored: int
    """Of those, the ones that the store gives back."""
    seconds: float
    ledger: Ledger
    trouble: str | None
    """Why the scenario did not do what it says; None if it did."""

    @property
    def lost(self) -> int:
        """Spans that ended and are not there."""
        return self.ended - self.stored

    @property
    def is_ok(self) -> bool:
        """Everything there, nothing counted as lost, the ledger adds up, and the scenario ran as it says."""
        return self.lost == 0 and self.ledger.lost_total == 0 and self.ledger.is_balanced and self.trouble is None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "says": self.says,
            "ended": self.ended,
            "stored": self.stored,
            "lost": self.lost,
            "ok": self.is_ok,
            "seconds": round(self.seconds, 2),
            "ledger": self.ledger.to_dict(),
            "trouble": self.trouble,
        }


def judge(scenario: Scenario, folder: Path, runs: Callable[[Scenario, Path], Ran] = run) -> Outcome:
    """Run a scenario against a fresh store in `folder`, then read the store as anybody would."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    ran = runs(scenario, folder)
    stored, ledger = _read(folder)
    return Outcome(
        name=scenario.name,
        says=scenario.says,
        ended=len(ran.said),
        stored=len(stored & set(ran.said)),
        seconds=time.monotonic() - began,
        ledger=ledger,
        trouble=_trouble(scenario, ran),
    )


def _trouble(scenario: Scenario, ran: Ran) -> str | None:
    told = ran.output.strip().rpartition("\n")[2]
    if len(set(ran.said)) != len(ran.said):
        return "the program gave two spans one id"
    if scenario.expected is not None and (ran.exit_code != 0 or len(ran.said) != scenario.expected):
        said = f"{len(ran.said):,} of {scenario.expected:,} spans made"
        return f"the program ended with {ran.exit_code}, {said}: {told or 'it printed nothing'}"
    if scenario.kill_after is not None and (ran.exit_code != -9 or len(ran.said) < scenario.kill_after):
        return f"the program was not killed in its work (exit {ran.exit_code}): {told or 'it printed nothing'}"
    return None


def _read(folder: Path) -> tuple[set[int], Ledger]:
    """(ids of the spans that ended and are stored, the ledger of all experiments there)."""
    import polars as pl

    from otel_research.store.library import Library

    library = Library(f"disk:{folder}")
    stored: set[int] = set()
    ledgers = []
    for record in library.find(include_hidden=True):
        ended = library.scan(record.id).filter(~pl.col("status").eq_missing("interrupted"))
        stored |= {int(span_id, 16) for span_id in ended.select("span_id").collect()["span_id"]}
        ledgers.append(of_experiment(library, record.id, is_running=record.state == "running"))
    library.store.close()
    return stored, total(ledgers)
