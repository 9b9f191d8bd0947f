"""Inspect: it evaluates its own solvers and logs its own events, no OpenTelemetry spans; the model is its mock."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from field.asked import ANSWER, PROMPT, SCORES
from field.load import CALLS, PAUSE

TITLE = "Inspect"
PACKAGE = "inspect-ai"
NOT_RUN = {
    "burst": "it starts its samples itself: there is no load from outside",
    "overhead": "it makes no OpenTelemetry spans",
}
LOGS = "logs"


def _evaluate(items: int, calls: int, pause: float = 0, last: int | None = None) -> Any:
    """An evaluation of `items` samples of `calls` model calls; killed when the last one's solver has returned."""
    import asyncio

    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import Score, accuracy, ci, scorer, stderr
    from inspect_ai.solver import solver

    def answers() -> Iterator[Any]:
        while True:
            made = ModelOutput.from_content("mockllm/model", "42")
            made.usage = ModelUsage(input_tokens=PROMPT, output_tokens=ANSWER, total_tokens=PROMPT + ANSWER)
            yield made

    @solver
    def ask() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            if state.sample_id == last:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(pause)
            for _ in range(calls):
                state = await generate(state)
            return state

        return solve

    @scorer(metrics=[accuracy(), stderr(), ci()])
    def right() -> Any:
        async def score(state: Any, target: Any) -> Any:
            return Score(value=SCORES[(state.sample_id - 1) % len(SCORES)][0])

        return score

    samples = [Sample(id=number, input="What is 12 * 34?") for number in range(1, items + 1)]
    (log,) = evaluate(
        Task(dataset=samples, solver=ask(), scorer=right()),
        model=get_model("mockllm/model", custom_outputs=answers()),
        display="none",
        log_dir=LOGS,
        max_samples=1 if pause else 10,
    )
    if log.status != "success":
        raise SystemExit(f"Inspect: {log.error}")
    return log


def kill(count: int) -> dict[str, Any]:
    """Killed when one sample more begins than are counted, so that those before it have all ended."""
    print(f'{{"made": {count * CALLS}}}', flush=True)
    _evaluate(count + 1, CALLS, PAUSE, last=count + 1)
    raise AssertionError("a killed process goes on")


def stored() -> dict[str, int]:
    """Model calls in the log that is left, and after Inspect's own `recover`."""
    from inspect_ai.log import list_eval_logs, read_eval_log, recover_eval_log

    (left,) = list_eval_logs(LOGS)
    return {"left": _calls(read_eval_log(left)), "recovered": _calls(recover_eval_log(left.name))}


def _calls(log: Any) -> int:
    ended = [sample for sample in log.samples or [] if sample.error is None]
    return sum(event.event == "model" for sample in ended for event in sample.events)


def frame(count: int) -> dict[str, Any]:
    from inspect_ai.analysis import events_df, samples_df

    _evaluate(count, CALLS)
    found = events_df(LOGS, quiet=True)
    return {
        "call": "`events_df()`",
        "rows": len(found),
        "unit": f"a row per event; {int((found['event'] == 'model').sum()):,} are model calls, of {len(samples_df(LOGS, quiet=True)):,} samples",
    }


def cost() -> dict[str, Any]:
    usage = _evaluate(1, 1).stats.model_usage["mockllm/model"]
    return {"priced": "none unless the run is given prices", "unpriced": usage.total_cost, "total": usage.total_cost}


def intervals() -> dict[str, Any]:
    (scores,) = _evaluate(len(SCORES), 1).results.scores
    return {"of_one": [f"{one.group or ''} {name}".strip() for name, one in scores.metrics.items()], "of_two": []}
