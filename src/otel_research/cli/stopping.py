"""The stop rule of `otel-research watch --stop`: looks at two conditions of a run that hold however many there are.

Each look is `interim`'s: with a declared n it spends alpha, without one it reads a confidence sequence. It is recorded
in the experiment, so that the next one, by whomever, pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_research.errors import NotEnoughData

if TYPE_CHECKING:
    import polars as pl

    from otel_research import Experiment
    from otel_research.analysis.interim import Interim

GROWTH = 1.1
"""A look comes when the run has so many times the spans of the look before: 50 looks from 10 trials to 1,000."""
FEWEST = 10
"""Trials of each condition before the first look: below that the normal law of the boundaries is not to be trusted."""


class StopRule:
    """Whether one condition of a running experiment is shown to be better or worse than another."""

    def __init__(
        self, experiment: Experiment, baseline: str, candidate: str, *, metric: str | None = None, alpha: float = 0.05
    ) -> None:
        self._experiment = experiment
        self._conditions = (baseline, candidate)
        self._metric, self._alpha = metric, alpha
        self._next = 0.0
        """Spans at which to look again."""
        self._seen = -1
        self.last: Interim | None = None
        """The latest look."""
        self.why = "no span of the run has been seen"
        """Why there has been no look."""

    @property
    def exit_code(self) -> int:
        """0 the candidate is better, 1 it is worse, 3 neither was shown."""
        return {"better": 0, "worse": 1}.get(self.last.verdict if self.last else "", 3)

    def look(self, spans: int, *, is_last: bool = False) -> dict[str, Any] | None:
        """What a look says, as plain data; None where it is not time for one, or too early.

        Args:
            spans: how many the run has now.
            is_last: look whatever has come since the last look.
        """
        if spans == self._seen or (spans < self._next and not is_last):
            return None
        self._seen, self._next = spans, GROWTH * spans
        try:
            found = self._interim()
        except NotEnoughData as error:
            self.why = str(error)
            return None
        self.last = found
        # Under a baseline that is not above 0 there is no percentage: the difference is told.
        ci = found.improvement_ci or found.gain_ci
        return {
            name: getattr(found, name)
            for name in ("outcome", "baseline", "candidate", "rule", "look", "n", "fraction", "improvement_pct", "gain",
                         "stop", "verdict")
        } | {"low": ci and ci.low, "high": ci and ci.high, "unit": found.change_unit}  # fmt: skip

    def _interim(self) -> Interim:
        from otel_research.numbers import interim

        sides = [self._experiment.where({"condition": condition}) for condition in self._conditions]
        for condition, side in zip(self._conditions, sides, strict=True):
            units = _ended(side.spans())
            if units < FEWEST:
                raise NotEnoughData(f"condition {condition!r} has {units} of {FEWEST} trials (or calls) yet.")
        return interim(*sides, metric=self._metric, alpha=self._alpha)


def _ended(spans: pl.LazyFrame) -> int:
    """Trials that have ended; calls, where there are no trials."""
    import polars as pl

    ended = spans.filter(pl.col("status").ne_missing(pl.lit("interrupted")))
    counts = ended.select(trials=(pl.col("role") == "trial").sum(), calls=pl.col("is_call").sum()).collect()
    trials, calls = counts.row(0)
    return int(trials or calls or 0)
