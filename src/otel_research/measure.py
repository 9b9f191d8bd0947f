"""Points in time: `record()` for measurements of the program's own, `score()` for evaluations."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from otel_research import context
from otel_research.capture import registry
from otel_research.errors import ConfigurationError, ExperimentError, ExperimentStopped
from otel_research.handle import Experiment
from otel_research.trial import Trial, attribute_values


def record(name: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Record measurements at this moment, as a row of the current experiment.

    Args:
        name: the event's name, such as "my_app.accuracy.measured".
        measurements: become attributes `measurement.<key>`. Understood: `duration_ms` or
            `duration_us` (the row then has a duration and enters latency; at most since 1970), `cost_usd`, `model`,
            `input_tokens`, `output_tokens`, `success`.
        metadata: become attributes under their own keys.

    Raises:
        ExperimentError: no experiment is running here.
        ExperimentStopped: the experiment that is current here has been stopped.
        ConfigurationError: a name or value that cannot be recorded.
    """
    experiment = _current()
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"record() needs a name such as 'my_app.accuracy.measured', got {name!r}.")
    given = attribute_values("measurements", measurements)
    described = attribute_values("metadata", {} if metadata is None else metadata)
    reserved = sorted(key for key in described if key.startswith(("experiment.", "measurement.")))
    if reserved:
        raise ConfigurationError(f"metadata key {reserved[0]!r} is one that otel_research writes itself; rename it.")
    attributes = {"experiment.row": "record", **{f"measurement.{key}": given[key] for key in given}, **described}
    end = time.time_ns()
    start = end - _duration_ns(given, longest=end)
    span = experiment.tracer.start_span(name, attributes=attributes, start_time=start)
    span.end(end_time=end)
    experiment._check_room()


def _duration_ns(measurements: Mapping[str, Any], *, longest: int) -> int:
    for key, factor in (("duration_ms", 1_000_000), ("duration_us", 1_000)):
        value = measurements.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise ConfigurationError(f"measurement {key!r} is a number of at least 0, got {value!r}.")
        duration = int(value * factor)
        if duration > longest:
            raise ConfigurationError(f"measurement {key!r} is {value!r}: a duration that began before 1970.")
        return duration
    return 0


def score(
    name: str,
    value: float | bool | None = None,
    *,
    label: str | None = None,
    explanation: str | None = None,
    trial: Trial | str | None = None,
    experiment: Experiment | None = None,
) -> None:
    """Score a trial (by default the current one): a row of its own, after `gen_ai.evaluation.result`.

    After the run it becomes an annotation on the sealed data: pass the trial, or its id with the
    `experiment`. Either `value` or `label` is needed.

    Raises:
        ExperimentError: there is no experiment to score in.
        ConfigurationError: neither value nor label, or a value that is no number.
    """
    number = _score_value(name, value, label)
    owner = trial.experiment if isinstance(trial, Trial) else experiment
    trial_id = trial.id if isinstance(trial, Trial) else trial
    if owner is None or owner.is_recording:
        owner = owner or _current()
        _score_row(owner, name, number, label, explanation, trial, trial_id)
    else:
        owner._annotate(
            {
                "kind": "score",
                "trial_id": trial_id,
                "name": name,
                "value": number,
                "label": label,
                "explanation": explanation,
            }
        )


def _score_row(
    owner: Experiment,
    name: str,
    value: float | None,
    label: str | None,
    explanation: str | None,
    trial: Trial | str | None,
    trial_id: str | None,
) -> None:
    attributes = {
        "experiment.row": "score",
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.value": value,
        "gen_ai.evaluation.score.label": label,
        "gen_ai.evaluation.explanation": explanation,
    }
    scope = owner._scope()
    where = context.with_scope(scope if trial_id is None else scope.having(trial_id=trial_id))
    if isinstance(trial, Trial):
        where = trace.set_span_in_context(trial.span, context.with_scope(trial._scope.having(trial_id=trial_id)))
    given = {key: item for key, item in attributes.items() if item is not None}
    now = time.time_ns()
    owner.tracer.start_span("gen_ai.evaluation.result", context=where, attributes=given, start_time=now).end(
        end_time=now
    )


def _score_value(name: Any, value: Any, label: str | None) -> float | None:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"a score needs a name such as 'accuracy', got {name!r}.")
    if value is None and label is None:
        raise ConfigurationError(f"score({name!r}) needs a value or a label.")
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"the value of score {name!r} is a number, got {value!r}; text goes into label=."
        ) from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ConfigurationError(f"the value of score {name!r} is {value!r}; leave the score out where it is unknown.")
    return number


def _current() -> Experiment:
    from otel_research.lifecycle import current_experiment

    found = current_experiment()
    if found is not None:
        return found
    scope = context.current_scope() or context.last_process_scope()
    if scope is not None and scope.experiment_id not in registry.running:
        raise ExperimentStopped(
            f"experiment {scope.experiment_name!r} ({scope.experiment_id}) is stopped and takes no more rows. "
            "Start a new one, or resume it: start_experiment(name, resume=True)."
        )
    raise ExperimentError(
        "no experiment is running here. Start one: otr.start_experiment('name'), or "
        "with otr.experiment('name') as exp: ... In a thread of your own: with exp.activate(): ..."
    )


def author() -> str | None:
    """Who makes an annotation: the user's login name, if the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
