"""What became of a run: one outcome per trial, and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from otel_research.spans.tabular import Tabular

if TYPE_CHECKING:
    import polars as pl

Ending = Literal["ok", "failed", "timeout"]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One trial that this run made."""

    item_id: str
    condition: str | None
    repetition: int
    position: int
    """0-based place in the plan's order."""
    trial_id: str | None
    outcome: Ending
    value: Any = None
    """What the function returned; None where it raised or was cut off."""
    error: str | None = None
    """Type and text of what it raised."""


@dataclass(frozen=True, kw_only=True)
class Trials(Tabular):
    """What `run_trials` returns. Its numbers are of the run; those of the experiment are in its spans."""

    experiment_id: str
    order: str
    seed: int
    """Of the order of the trials."""
    planned: int
    """Trials of the whole plan."""
    done_before: int
    """Of those, trials that an earlier run had made."""
    ran: tuple[Ran, ...]
    """The trials of this run, as they ended."""
    warmups: int = 0
    spent_usd: float | None = None
    """Priced cost of the whole experiment at the last look; None where no budget was set."""
    unpriced_calls: int | None = None
    """Calls without a price at that look: the budget does not see them."""

    def __len__(self) -> int:
        return len(self.ran)

    def __iter__(self) -> Iterator[Ran]:
        return iter(self.ran)

    @property
    def counts(self) -> dict[str, int]:
        """Trials of this run by outcome: ok, failed, timeout."""
        found = Counter(one.outcome for one in self.ran)
        return {name: found[name] for name in ("ok", "failed", "timeout")}

    @property
    def left(self) -> int:
        """Trials of the plan that are still to be run."""
        return self.planned - self.done_before - len(self.ran)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; returned values are left out, because they may be anything."""
        return {
            "experiment_id": self.experiment_id,
            "order": self.order,
            "seed": self.seed,
            "planned": self.planned,
            "done_before": self.done_before,
            "left": self.left,
            "warmups": self.warmups,
            "spent_usd": self.spent_usd,
            "unpriced_calls": self.unpriced_calls,
            "counts": self.counts,
            "ran": [{key: value for key, value in vars(one).items() if key != "value"} for one in self.ran],
        }

    def to_polars(self) -> pl.DataFrame:
        """One row per trial of this run, in the order of the plan."""
        import polars as pl

        text, whole = pl.String(), pl.Int64()
        schema = {"item_id": text, "condition": text, "repetition": whole, "position": whole, "trial_id": text,
                  "outcome": text, "error": text}  # fmt: skip
        rows = [{name: getattr(one, name) for name in schema} for one in self.ran]
        return pl.DataFrame(rows, schema=schema).sort("position")

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count) or "none"
        return (
            f"Trials: {len(self.ran):,} run ({counts}), {self.done_before:,} done before, {self.left:,} left of "
            f"{self.planned:,}; order {self.order}, seed {self.seed}"
        )
