"""The process that computes: it has Polars, the server has not.

Reads one JSON line per question from standard input and answers each with one line on standard
output; ends when its input ends. The server starts it when somebody looks and lets it go again.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from otel_research.dashboard.kept import Kept, Pages
from otel_research.errors import ResearchError
from otel_research.experiments import check_id
from otel_research.handle import Experiment
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.dashboard.overview import View


class Desk:
    """Answers questions about one store."""

    def __init__(self, store: str) -> None:
        self.library = Library(store)
        self._kept = Kept(self.library)
        self._pages: dict[str, Pages] = {}
        self._views: dict[str, View] = {}
        self._desks: dict[str, Any] = {}

    def experiment(self, experiment_id: str) -> Experiment:
        """The experiment as it is now, without mending anything: we only look."""
        record = self.library.catalogue.get_experiment(check_id(experiment_id))
        return Experiment(record, self.library)

    def section(self, experiment: str, name: str, fresh: bool = False) -> Any:
        """A section of an experiment; `fresh` looks whether there is anything new."""
        if fresh or experiment not in self._pages:
            self._views.pop(experiment, None)
            self._pages[experiment] = self._kept.of(self.experiment(experiment).record)
        return self._pages[experiment].once(name, lambda: self._view(experiment).section(name))

    def _view(self, experiment: str) -> View:
        from otel_research.dashboard.overview import View

        if experiment not in self._views:
            self._views[experiment] = View(self.experiment(experiment))
        return self._views[experiment]

    def forget(self, experiment: str) -> None:
        """Let an experiment's rows go."""
        self._pages.pop(experiment, None)
        self._views.pop(experiment, None)
        self._desks.pop(experiment, None)

    def news(self, experiment: str, rules: Sequence[str] = (), webhooks: Sequence[str] = ()) -> Any:
        """What happened since the last time, as (event, data)."""
        from otel_research.dashboard.news import News

        if experiment not in self._desks:
            self._desks[experiment] = News(self.experiment(experiment), rules, webhooks)
        return self._desks[experiment].told(self.library.catalogue.get_experiment(experiment).state)

    def cost(self, experiment: str) -> Any:
        """Total cost, for the list."""
        found = self.experiment(experiment)
        return self._kept.of(found.record).once("cost", lambda: _cost(found))

    def trace(self, experiment: str, trace: str) -> Any:
        """One trace."""
        from otel_research.dashboard.spans import trace as of_trace

        return of_trace(self.experiment(experiment), trace)

    def conditions(self, experiment: str) -> Any:
        """Names of conditions."""
        from otel_research.dashboard.comparing import conditions

        return conditions(self.experiment(experiment))

    def compare(self, baseline: str, candidates: list[str]) -> Any:
        """A comparison."""
        from otel_research.dashboard.comparing import comparison

        return comparison(self.experiment, baseline, candidates)

    def study(self, name: str) -> Any:
        """A study."""
        from otel_research.dashboard.comparing import study

        return study(self.library, self.experiment, name)

    def table(self, of: str, format: str, path: str, **asked: Any) -> Any:
        """A page's numbers as a file."""
        from otel_research.dashboard import tables

        made: dict[str, Callable[..., Any]] = {
            "metrics": lambda experiment: tables.metrics(self.experiment(experiment)),
            "compare": lambda **sides: tables.comparison(self.experiment, **sides),
            "study": lambda name: tables.study(self.library, self.experiment, name),
            "experiments": tables.experiments,
        }
        tables.write(made[of](**asked), format, Path(path))

    def export(self, experiment: str, format: str, path: str) -> Any:
        """The spans as a file."""
        return str(self.experiment(experiment).export(format, path))


def _cost(experiment: Experiment) -> dict[str, Any]:
    found = experiment.metrics(ci=False, toggles=_ONLY_COST)
    cost = found.cost
    return {"total_usd": cost and cost.total_usd, "unpriced": cost and cost.unpriced, "n": found.n}


_ONLY_COST = {"latency": False, "ttft": False, "tokens": False, "custom": False}


def serve(desk: Desk, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    for line in questions:
        asked = msgspec.json.decode(line)
        method: Callable[..., Any] = getattr(desk, asked["ask"])
        answer: dict[str, Any] = {"number": asked["number"]}
        try:
            answer["answer"] = method(**asked.get("with", {}))
        except ResearchError as error:
            answer["error"] = str(error)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
            answer["is_ours"] = True
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def main() -> None:
    """`python -m otel_research.dashboard.worker`, with the store in OTEL_RESEARCH_STORE."""
    # Whatever prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(Desk(os.environ["OTEL_RESEARCH_STORE"]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
