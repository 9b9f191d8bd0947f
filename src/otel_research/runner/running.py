"""`run_trials` and `arun_trials`, the part of `Experiment` that runs a plan."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from otel_research.errors import ConfigurationError
from otel_research.report.progress import progress_of
from otel_research.runner import tasks, threads
from otel_research.runner.designs import conditions_of
from otel_research.runner.plan import ItemId, Key, Planned, Runs, identified, ordered
from otel_research.runner.run import Run, checked_limit
from otel_research.runner.trials import Trials

_logger = logging.getLogger("otel_research")

PLAN, AMENDMENT, RESUMPTION = "plan", "amendment", "resumption"
"""Kinds of the annotations that tell what was to be run: first, changed, gone on with."""


class RunsTrials:
    """What an experiment can do with a function and items."""

    def run_trials(
        self,
        fn: Callable[[Any, Any], Any],
        items: Iterable[Any],
        *,
        conditions: Any = None,
        repetitions: int = 1,
        item_id: ItemId = None,
        order: str = "interleaved",
        concurrency: int = 1,
        timeout: float | None = None,
        budget: float | None = None,
        resume: bool = True,
        warmup: int = 0,
        progress: bool = True,
    ) -> Trials:
        """Call `fn(item, condition)` once per item, condition and repetition, each in a trial of its own.

        What `fn` raises makes its trial failed and the run goes on. Trials that an earlier run made are not
        repeated (interrupted and excluded ones are), so that the same call goes on after a crash, and more
        `repetitions`, items or conditions top up what is there; the change is recorded as an annotation.

        Args:
            fn: sync or async. `condition` is text with `.factors`, or None without conditions.
            items: what to try: text, numbers, mappings or objects; a mapping names them; a Polars frame has rows.
            conditions: names; {factor: levels} for every combination; {name: {factor: level}}; or a design.
            repetitions: trials per item and condition.
            item_id: the field, or function, that names an item; default: text and whole numbers name themselves,
                others by their "id".
            order: "interleaved" (items shuffled, conditions shuffled within each), "random" or "sequential";
                by the experiment's seed, recorded.
            concurrency: trials at a time: threads for a sync function, tasks for an async one.
            timeout: seconds; a trial that takes longer ends there, right-censored. An async call is cancelled;
                a thread cannot be, so a sync call runs on beside the next trials.
            budget: USD of the whole experiment, earlier runs included; no trial begins once it is spent.
            resume: a trial that is there (by condition, item and repetition, whichever function made it) is not run
                again, and a warning says so where nothing is left or another function made it. False runs the whole
                plan again, its repetitions numbered after those that are there.
            warmup: trials per condition before the others, kept apart as the aside "warmup".
            progress: show a bar, on terminals only.

        Raises:
            ConfigurationError: an argument is wrong, or `fn` is async and a loop runs here (use `arun_trials`).
            BudgetExceeded: the budget was spent before the plan was done; at most the trials in flight overshoot.
            ExperimentStopped: the experiment takes no more trials.
        """
        if _is_async(fn) and tasks.has_loop():
            raise ConfigurationError("a loop is running here: `await exp.arun_trials(...)` instead of run_trials(...).")
        with _prepared(cast(Runs, self), **_arguments(locals())) as prepared:
            if _is_async(fn):
                asyncio.run(tasks.run(prepared.work, prepared.concurrency))
            else:
                threads.run(prepared.work, prepared.concurrency)
        return prepared.result()

    async def arun_trials(
        self,
        fn: Callable[[Any, Any], Awaitable[Any]] | Callable[[Any, Any], Any],
        items: Iterable[Any],
        *,
        conditions: Any = None,
        repetitions: int = 1,
        item_id: ItemId = None,
        order: str = "interleaved",
        concurrency: int = 1,
        timeout: float | None = None,
        budget: float | None = None,
        resume: bool = True,
        warmup: int = 0,
        progress: bool = True,
    ) -> Trials:
        """`run_trials` inside a running event loop; a sync `fn` runs in threads."""
        with _prepared(cast(Runs, self), **_arguments(locals())) as prepared:
            if _is_async(fn):
                await tasks.run(prepared.work, prepared.concurrency)
            else:
                await asyncio.to_thread(threads.run, prepared.work, prepared.concurrency)
        return prepared.result()


@dataclass
class _Prepared:
    """A run with what was planned around it; a block in which its progress is shown."""

    work: Run
    concurrency: int
    experiment_id: str
    order: str
    seed: int
    planned: int
    done_before: int
    warmups: int
    bar: Any

    def __enter__(self) -> _Prepared:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.__exit__(*error)

    def result(self) -> Trials:
        """What came of the run; raises where the budget ended it."""
        self.work.check_budget(f"run_trials stopped after {len(self.work.ran):,} trials")
        return Trials(
            experiment_id=self.experiment_id,
            order=self.order,
            seed=self.seed,
            planned=self.planned,
            done_before=self.done_before,
            ran=tuple(sorted(self.work.ran, key=lambda one: one.position)),
            warmups=self.warmups,
            spent_usd=self.work.spent_usd,
            unpriced_calls=self.work.unpriced_calls,
        )


def _prepared(
    experiment: Runs,
    *,
    fn: Any,
    items: Any,
    conditions: Any,
    repetitions: Any,
    item_id: ItemId,
    order: str,
    concurrency: Any,
    timeout: Any,
    budget: Any,
    resume: bool,
    warmup: Any,
    progress: bool,
) -> _Prepared:
    """Everything checked, planned and recorded; nothing is run yet."""
    if not callable(fn):
        raise ConfigurationError(f"run_trials calls fn(item, condition), got {fn!r}, which is not callable.")
    experiment._check_recording()
    many, at_once = _count("repetitions", repetitions, 1), _count("concurrency", concurrency, 1)
    limit, usd, warm = checked_limit("timeout", timeout), checked_limit("budget", budget), _count("warmup", warmup, 0)
    named, arms = identified(items, item_id), conditions_of(conditions)
    notes = [note for note in experiment.annotations() if note.get("kind") in (PLAN, AMENDMENT, RESUMPTION)]
    seed = _seed(experiment, notes)
    made = _made(experiment)
    first = 0 if resume else max((repetition for _, _, repetition in made), default=-1) + 1
    plan = ordered(named, arms, range(first, first + many), order, seed)
    # The arm around the call, else the experiment's own condition: what the trials will be stored under.
    default = experiment._scope().condition
    left = [planned for planned in plan if planned.key(default) not in made]
    function = _name_of(fn)
    described = {
        "order": order,
        "seed": seed,
        "items": len(named),
        "items_hash": hashlib.sha256("\n".join(sorted(named)).encode()).hexdigest()[:16],
        "conditions": [None if arm is None else str(arm) for arm in arms],
        "repetitions": first + many,
        "timeout": limit,
        "warmup": warm,
        "function": function,
    }
    _tell_resumed(experiment, notes, function, len(plan) - len(left), len(left))
    _record(experiment, notes, described, len(plan) - len(left), len(left))
    warmups = [Planned(item, name, arm, at, -1) for arm in arms for at, (name, item) in enumerate(_first(named, warm))]
    bar, advance = progress_of("trials", len(left), is_wanted=progress)
    work = Run(experiment, fn, left, warmups if left else [], timeout=limit, budget=usd, advance=advance)
    return _Prepared(
        work=work,
        concurrency=at_once,
        experiment_id=experiment.record.id,
        order=order,
        seed=seed,
        planned=len(plan),
        done_before=len(plan) - len(left),
        warmups=len(warmups) if left else 0,
        bar=bar,
    )


def _first(named: dict[str, Any], count: int) -> list[tuple[str, Any]]:
    """So many items, from the beginning again where there are fewer."""
    pairs = list(named.items())
    return [pairs[at % len(pairs)] for at in range(count)]


def _made(experiment: Runs) -> set[Key]:
    """Trials that are done: a failed one is data, an interrupted or excluded one is run again."""
    import polars as pl

    done = experiment.trials().filter(pl.col("outcome").is_in(["ok", "failed"]))
    return set(done.select("condition", "item_id", pl.col("repetition").fill_null(0)).collect().rows())


def _seed(experiment: Runs, notes: list[dict[str, Any]]) -> int:
    """The experiment's own, else the one that its first plan was given."""
    declared = experiment.record.seed
    if declared is not None:
        return declared
    return int(notes[0]["plan"]["seed"]) if notes else secrets.randbelow(2**32)


def _record(experiment: Runs, notes: list[dict[str, Any]], plan: dict[str, Any], done: int, left: int) -> None:
    """The trail of what was to be run: a change of the plan after trials were made is an amendment."""
    note: dict[str, Any] = {"kind": PLAN, "plan": plan, "done": done, "left": left}
    if notes:
        before = notes[-1]["plan"]
        # Plans of earlier versions do not name their function.
        known = {"function": plan["function"], **before}
        changes = {name: [known.get(name), now] for name, now in plan.items() if known.get(name) != now}
        note |= {"kind": AMENDMENT, "changes": changes} if changes else {"kind": RESUMPTION}
    experiment._annotate(note)


def _tell_resumed(experiment: Runs, notes: list[dict[str, Any]], function: str, done: int, left: int) -> None:
    """Trials are the same by condition, item and repetition, whatever made them: say so where that may surprise."""
    # The last one that had something to run.
    before = next((note["plan"].get("function") for note in reversed(notes) if note.get("left")), None)
    if not done or (left and before in (None, function)):
        return
    by = f"{done:,} of {done + left:,} trials are there already" + (f", made by {before}" if before else "")
    _logger.warning(
        "otel_research: run_trials(%s) goes on with experiment %r (%s): %s, and are not run again; %s. "
        "For other trials: resume=False, other conditions=, or an experiment of its own.",
        function,
        experiment.record.name,
        experiment.record.id,
        by,
        f"{left:,} are" if left else "so nothing is run",
    )


def _name_of(function: Any) -> str:
    """What the function is called, with its module."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "self"}


def _count(what: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{what} is a whole number from {least}, got {value!r}.")
    return value


def _is_async(fn: Any) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
