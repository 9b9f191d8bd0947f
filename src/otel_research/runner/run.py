"""One run of a plan: hands out its trials, keeps what came of them, stops at the budget.

Drivers differ in who calls the user's function; each of them asks `next` for a trial and runs it inside
`attempt`, so that what a trial is, and what an error in it means, is said once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from otel_research.errors import BudgetExceeded, ConfigurationError, told
from otel_research.runner.plan import Planned, Runs
from otel_research.runner.trials import Ending, Ran
from otel_research.trial import Trial

WARMUP = "warmup"
"""Warm-up trials are an aside of this name: captured, and no part of any number."""


class NotAsync(ConfigurationError):
    """A function hides that it is async, so no trial of it would mean anything."""


class Run:
    """What is left of a plan, shared by the workers of one run."""

    def __init__(
        self,
        experiment: Runs,
        function: Callable[[Any, Any], Any],
        left: list[Planned],
        warmups: list[Planned],
        *,
        timeout: float | None,
        budget: float | None,
        advance: Callable[[], None],
    ) -> None:
        self.experiment = experiment
        self.function = function
        self.timeout = timeout
        self.ran: list[Ran] = []
        self.spent_usd: float | None = None
        self.unpriced_calls: int | None = None
        self.aborted: BaseException | None = None
        self.is_over_budget = False
        self._budget = budget
        self._advance = advance
        self._warmups = warmups
        self._left = deque(left)
        # Guards the queue, the results and the look at the cost: one worker looks, the others wait for its answer.
        self._lock = threading.Lock()
        self._has_news = True

    @property
    def has_budget(self) -> bool:
        """Whether `next` looks at the cost, which takes a while."""
        return self._budget is not None

    def next(self) -> Planned | None:
        """The next trial; None where there is none, the budget is spent or the run was aborted."""
        with self._lock:
            if not self._left or self.aborted is not None or self._is_spent():
                return None
            return self._left.popleft()

    def warm_up(self) -> Iterator[Planned]:
        """The warm-up trials, unless the run has ended."""
        for planned in self._warmups:
            if self.aborted is None:
                yield planned

    @contextmanager
    def attempt(self, planned: Planned, *, is_warmup: bool = False) -> Iterator[Attempt]:
        """The trial around one call; what the call raises marks it and goes no further, unless it ends programs."""
        made = Attempt()
        with ExitStack() as inside:
            if planned.condition is not None:
                inside.enter_context(self.experiment.arm(str(planned.condition), planned.condition.factors))
            if is_warmup:
                inside.enter_context(self.experiment.aside(WARMUP))
            attributes = {"experiment.trial.position": planned.position}
            trial = self.experiment.trial(planned.item_id, planned.repetition, **attributes)
            try:
                with trial:
                    made.trial = trial
                    yield made
            except BaseException as error:
                if not isinstance(error, Exception) or isinstance(error, (NotAsync, BudgetExceeded)):
                    self.abort(error, trial)
                    raise
                made.outcome, made.error = "failed", error
        if not is_warmup:
            self._keep(planned, made)

    def abort(self, error: BaseException, trial: Trial | None = None) -> None:
        """Hand out no more trials; the one that was cut off is no result and will be run again."""
        self.aborted = self.aborted or error
        if trial is not None and trial.id is not None:
            self.experiment.exclude(trial.id, reason=f"the run was aborted by {type(error).__name__}")

    def _keep(self, planned: Planned, made: Attempt) -> None:
        error = made.error
        kept = Ran(
            item_id=planned.item_id,
            condition=made.trial.condition if made.trial is not None else None,
            repetition=planned.repetition,
            position=planned.position,
            trial_id=made.trial.id if made.trial is not None else None,
            outcome=made.outcome,
            value=made.value,
            error=None if error is None else f"{type(error).__name__}: {told(error)}",
        )
        with self._lock:
            self.ran.append(kept)
            self._has_news = True
        self._advance()

    def _is_spent(self) -> bool:
        """Whether the experiment's calls, this run's and earlier ones', have cost the budget."""
        if self._budget is None or not self._has_news:
            return self.is_over_budget
        self._has_news = False
        self.spent_usd, self.unpriced_calls = cost_of(self.experiment)
        self.is_over_budget = self.spent_usd >= self._budget
        return self.is_over_budget

    def check_budget(self, describe: str) -> None:
        """Raises `BudgetExceeded` where the budget has ended the run."""
        if self.is_over_budget and self._left:
            raise BudgetExceeded(
                f"{describe}: {self.spent_usd:.6g} USD are spent and the budget is {self._budget:.6g}; {len(self._left):,} "
                "trials are not run. Run again with a higher budget to go on: trials that are done are not repeated."
            )


class Attempt:
    """What became of one call."""

    def __init__(self) -> None:
        self.trial: Trial | None = None
        self.outcome: Ending = "ok"
        self.value: Any = None
        self.error: BaseException | None = None

    def cut_off(self, limit: float) -> None:
        """The limit was reached: the trial ends there, its true length is longer (right-censored)."""
        assert self.trial is not None
        self.outcome, self.error = "timeout", TimeoutError(f"no answer within {limit:g} s")
        self.trial.cut_off(limit)


def cost_of(experiment: Runs) -> tuple[float, int]:
    """USD of every priced call of the experiment, evaluation calls and warm-ups included; calls without a price."""
    import polars as pl

    calls = experiment.spans().filter(pl.col("is_call").fill_null(value=False))
    cost = pl.col("cost_nano_usd")
    total, unpriced = calls.select(cost.sum(), unpriced=cost.is_null().sum()).collect().row(0)
    return float(total or 0) / 1e9, int(unpriced)


def checked_limit(what: str, value: Any) -> float | None:
    """A positive number or None."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < float("inf"):
        raise ConfigurationError(f"{what} is a number above 0, got {value!r}.")
    return float(value)
