"""What became of every span: per process and per experiment."""

from __future__ import annotations

import html
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Counts of spans, by what became of them.

    For locally made spans `started == ended + open + interrupted`; always
    `ended + received == stored + filtered + sampled_out + duplicates + late + lost_total`.
    """

    started: int = 0
    ended: int = 0
    open: int = 0
    """Started and not ended, in a process that still runs."""
    interrupted: int = 0
    """Started and never ended: the process died or the experiment was stopped."""
    received: int = 0
    """Not made here: from a receiver, an import or an exporter."""
    stored: int = 0
    filtered: int = 0
    """Left out by the experiment's event filter."""
    sampled_out: int = 0
    """Left out by the experiment's sampling rate or strategy."""
    duplicates: int = 0
    """Second copies of a span that is stored once."""
    late: int = 0
    """Ended after the experiment was stopped: quarantined."""
    outside: int = 0
    """Spans outside any experiment: seen, not ours."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Not stored although they should have been, by reason."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Errors that were swallowed and cost no span, by where they happened."""

    overhead: Mapping[str, Any] = field(default_factory=dict)
    """What observing cost, measured in the run: `hooks_us_per_span`, beside `bare_span_us`; see `capture.overhead`."""

    @property
    def lost_total(self) -> int:
        """All losses, whatever the reason."""
        return sum(self.lost.values())

    @property
    def is_balanced(self) -> bool:
        """Whether both equations hold."""
        kept = self.stored + self.filtered + self.sampled_out + self.duplicates + self.late + self.lost_total
        return self.started == self.ended + self.open + self.interrupted and self.ended + self.received == kept

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **asdict(self),
            "lost": dict(self.lost),
            "errors": dict(self.errors),
            "overhead": dict(self.overhead),
        }

    def _repr_html_(self) -> str:
        """The counts as a table for a notebook; losses row by row, each with its reason."""
        counts = {name: value for name, value in self.to_dict().items() if isinstance(value, int)}
        counts |= {f"lost: {reason}": number for reason, number in self.lost.items()}
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{value:,}</td></tr>" for name, value in counts.items())
        return f"<table><caption>{html.escape(str(self))}</caption><tbody>{rows}</tbody></table>"

    def __str__(self) -> str:
        reasons = ", ".join(f"{number} {reason}" for reason, number in self.lost.items())
        return f"{self.stored} stored, {self.lost_total} lost" + (f" ({reasons})" if reasons else "")


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum of several ledgers."""
    sums: dict[str, Any] = {item.name: 0 for item in fields(Ledger)}
    sums["lost"], sums["errors"], sums["overhead"] = {}, {}, {}
    for ledger in ledgers:
        for name, value in ledger.to_dict().items():
            if name == "overhead":
                sums[name] = better(sums[name], value)
            elif name in ("lost", "errors"):
                for reason, number in value.items():
                    sums[name][reason] = sums[name].get(reason, 0) + number
            else:
                sums[name] += value
    return Ledger(**sums)


def better(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """The measurement of overhead that rests on more spans."""
    return second if second.get("spans_timed", 0) > first.get("spans_timed", 0) else first


class Tally:
    """Counters of what is rare: the common outcomes are counted by the journal's frames."""

    def __init__(self) -> None:
        # Protects the counts between threads. Within one, a signal handler or a `__del__` may come in the
        # middle of `add`: the additions there call nothing, so that none of them can be half done.
        self._lock = threading.RLock()
        self._counts: defaultdict[str, int] = defaultdict(int)
        self.version = 0
        """Grows with every count: a copy of an older version is out of date."""

    def add(self, name: str, number: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[name] += number
            self.version += 1

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def under(self, prefix: str) -> dict[str, int]:
        """name -> count for the names that begin with `prefix:`."""
        with self._lock:
            counts = dict(self._counts)
        return {
            name.removeprefix(prefix + ":"): number for name, number in counts.items() if name.startswith(prefix + ":")
        }

    def restart(self) -> None:
        """From zero: in a forked child nothing has happened yet, and the lock may be held by a thread that is gone."""
        self._lock = threading.RLock()
        self._counts = defaultdict(int)
