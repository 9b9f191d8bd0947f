"""What `configure` does when the environment names an experiment: start it, or join it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from otel_research import context, lifecycle
from otel_research.processes.carrier import Carried
from otel_research.processes.joining import join

if TYPE_CHECKING:
    from otel_research.handle import Experiment
    from otel_research.recorder import Recorder

_logger = logging.getLogger("otel_research")


def begin_what_is_told() -> Experiment | None:
    """Start `OTEL_RESEARCH_EXPERIMENT` or join `OTEL_RESEARCH_EXPERIMENT_ID`, process-wide; None: neither is set.

    With both set the id is joined, and the name is for a store that does not know it. The
    program's own process-wide experiment nests inside: while it runs, spans are its own.

    Raises `ConfigurationError`, or what `join_experiment` raises.
    """
    told = Carried.read()
    if told.experiment_id is not None:
        return join(told, None, {}, source="environment")
    if told.experiment is None:
        return None
    # Condition, tags and session come from the environment to every experiment that says nothing of them.
    begun = lifecycle.begin(lifecycle.arguments_of(told.experiment, factors=told.factors))
    context.set_environment_scope(told.scope(begun.record, "environment"))
    return begun


def defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `start_experiment`, with the environment's labels where code gave none."""
    told = Carried.read()
    said = {"condition": told.condition, "session_id": told.session, "tags": told.tags}
    return {**arguments, **{name: value for name, value in said.items() if value and arguments[name] in (None, ())}}


def start_quietly(**settings: Any) -> Recorder | None:
    """For zero-code hooks: `configure(**settings)` as the environment says, never an exception.

    What is wrong is logged, and the program runs on unrecorded (None).
    """
    from otel_research.recorder import configure

    try:
        return configure(**settings)
    except Exception as error:
        _logger.error("otel_research: nothing is recorded, because recording could not be set up: %s", error)
        return None
