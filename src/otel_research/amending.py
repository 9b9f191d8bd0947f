"""The part of an `Experiment` that changes its plan in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otel_research.declare import amended
from otel_research.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

    from otel_research.experiments import ExperimentRecord


class Amendable:
    """Mixed into `Experiment`: what was declared stays, and what is said later stands beside it."""

    if TYPE_CHECKING:

        @property
        def record(self) -> ExperimentRecord:
            """The declaration."""

        def spans(self) -> pl.LazyFrame:
            """The rows."""

        def annotations(self) -> Sequence[dict[str, Any]]:
            """The notes."""

        def _annotate(self, note: dict[str, Any]) -> None: ...

    def amend(
        self,
        *,
        reason: str,
        hypothesis: str | None = None,
        sample_size: int | None = None,
        primary: str | Sequence[str] | None = None,
        direction: str | Mapping[str, str] | None = None,
        margin: float | Mapping[str, float] | None = None,
    ) -> None:
        """Change the plan after it was declared: an append-only note with author, time, reason and the trials so far.

        The declaration in the record is not touched; `compare`, its methods paragraph and reports say what was amended.
        A raised `sample_size` withholds p-values until it is reached, a lowered one does not give them earlier; other
        changes are told and change no number.

        Args:
            reason: why, for a reader to judge.
            hypothesis: as in `start_experiment`, and so are those below; what is left out stays as it was.
            sample_size: n per condition, in units of analysis.
            primary: the declared outcomes.
            direction: "lower" or "higher" is better, for the primary outcome or by outcome.
            margin: equivalence margin in the outcome's unit, for the primary outcome or by outcome.

        Raises:
            ConfigurationError: there is no reason, or nothing differs from what was said last.
        """
        from otel_research.analysis import amendments

        if not isinstance(reason, str) or not reason.strip():
            raise ConfigurationError("an amendment needs a reason that a reader can judge.")
        now = {"hypothesis": hypothesis, "sample_size": sample_size, "primary": primary, "direction": direction,
               "margin": margin}  # fmt: skip
        said = {name: getattr(self.record, name) for name in now} | amendments.latest(self.annotations())
        changes = amended(said, now)
        if not changes:
            raise ConfigurationError("nothing is amended: what is given is what was said before, or nothing is.")
        self._annotate({"kind": "amendment", "changes": changes, "reason": reason, "trials": _trials(self.spans())})


def _trials(spans: pl.LazyFrame) -> int:
    import polars as pl

    return int(spans.select((pl.col("role") == "trial").sum()).collect().item() or 0)
