"""Starting, stopping and finding experiments."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from opentelemetry import context as otel_context

from otel_research import context, recorder
from otel_research.capture import registry
from otel_research.declare import declared
from otel_research.environment import captured
from otel_research.errors import ExperimentRunning, ExperimentStopped, UnknownExperiment
from otel_research.experiments import ExperimentRecord, State
from otel_research.handle import Experiment
from otel_research.journal.writer import this_writer
from otel_research.recorder import Recorder
from otel_research.store.base import Store
from otel_research.store.library import Library

Function = TypeVar("Function", bound=Callable[..., Any])
STOP_SECONDS = 30.0
"""How long `stop_experiment` waits for open spans."""

# id -> the handle of every experiment that this process runs.
_live: dict[str, Experiment] = {}


def start_experiment(
    name: str,
    *,
    hypothesis: str | None = None,
    condition: str | None = None,
    tags: Sequence[str] = (),
    sample_size: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    primary: str | Sequence[str] | None = None,
    direction: str | Mapping[str, str] | None = None,
    margin: float | Mapping[str, float] | None = None,
    metrics: Mapping[str, Any] | None = None,
    custom_metrics: Sequence[Any] = (),
    event_filter: Callable[[Any], bool] | None = None,
    sampling_rate: float | None = None,
    sampling_strategy: Callable[[Any], float | bool] | None = None,
    session_id: str | None = None,
    study: str | None = None,
    factors: Mapping[str, Any] | None = None,
    seed: int | None = None,
    store: str | Store | None = None,
    resume: bool = False,
) -> Experiment:
    """Start an experiment that every span of this process belongs to until it is stopped.

    `experiment(...)` takes the same arguments and is scoped to a block.

    Args:
        name: what it is called; need not be unique.
        hypothesis: the sentence that the experiment is to test.
        condition: the arm of every span that no `arm(...)` says otherwise of.
        tags: labels; "dataset:mmlu" is found under "dataset".
        sample_size: declared n per condition, in units of analysis.
        metadata: JSON data kept with the experiment.
        primary: the declared outcomes: what a correction for many comparisons covers.
        direction: "lower" or "higher" is better, for the primary outcome or by outcome.
        margin: equivalence margin in the outcome's unit, for the primary outcome or by outcome.
        metrics: which metrics to derive, {"latency": True, "cost": False, "custom": ["accuracy"]}.
        custom_metrics: `MetricCalculator` objects: `name`, `calculate(spans: pl.LazyFrame) -> Mapping`.
        event_filter: (span) -> bool: which instrumented spans to keep; what it leaves out is counted.
        sampling_rate: 0 < rate <= 1: whole traces are kept, with weight 1/rate.
        sampling_strategy: (span) -> keep probability (weight 1/p) or bool (no weight: results are flagged).
        session_id: the session of every span.
        study: a name that joins experiments.
        factors: factor levels of every span.
        seed: the seed that the program uses, kept with the experiment.
        store: another store than the recorder's.
        resume: go on with the latest experiment of this name, if there is one.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
        ExperimentRunning: another process-wide experiment runs.
        StoreError: the store cannot take the experiment.
    """
    arguments = {key: value for key, value in locals().items()}
    process = context.process_scope()
    if process is not None and process.experiment_id in registry.running and process.source == "process":
        raise ExperimentRunning(
            f"experiment {process.experiment_name!r} ({process.experiment_id}) runs in this process, so {name!r} cannot "
            "start process-wide. Stop it first, or scope the new one: "
            f"with otr.experiment({name!r}) as exp: ..."
        )
    begun = begin(arguments)
    context.set_process_scope(context.scope_of(begun.record, "process"))
    return begun


def begin(arguments: dict[str, Any]) -> Experiment:
    """Make or resume the record and take spans for it; the caller makes it current."""
    store, resume = arguments.pop("store"), arguments.pop("resume")
    calculators = tuple(arguments.pop("custom_metrics"))
    rules = {name: arguments[name] for name in ("event_filter", "sampling_rate", "sampling_strategy")}
    record = declared(arguments)
    active = recorder.current_or_default()
    library = active.library_for(store)
    record = msgspec.structs.replace(
        _resumed(library, record) if resume else record,
        content=active.settings.content if isinstance(active.settings.content, str) else "callable",
        environment={**captured(), "writer": msgspec.to_builtins(this_writer())},
    )
    library.catalogue.put_experiment(record)
    capture = active.begin(record, library, rules)
    experiment = Experiment(record, library, recorder=active, capture=capture, custom_metrics=calculators)
    _live[record.id] = experiment
    return experiment


def _resumed(library: Library, record: ExperimentRecord) -> ExperimentRecord:
    """The latest experiment of the same name, running again; the new record where there is none."""
    found = library.find(name=record.name, include_hidden=True)
    if not found:
        return record
    earlier = found[-1]
    if earlier.state == "archived":
        raise ExperimentStopped(f"experiment {earlier.name!r} ({earlier.id}) is archived; start a new one.")
    return msgspec.structs.replace(earlier, state="running", ended_by=None, stopped_ns=None, content_hash=None)


def stop_experiment(experiment_id: str | Experiment, timeout: float = STOP_SECONDS) -> Experiment:
    """Stop an experiment: wait for its open spans, seal it, keep its ledger.

    Spans that end within `timeout` seconds are kept; later ones are quarantined and counted as late.

    Raises:
        UnknownExperiment: no experiment has that id.
        ExperimentStopped: it is stopped already.
    """
    chosen = experiment_id if isinstance(experiment_id, Experiment) else get_experiment(experiment_id)
    chosen = _live.get(chosen.id, chosen)
    if chosen.state != "running":
        raise ExperimentStopped(
            f"experiment {chosen.name!r} ({chosen.id}) is {chosen.state} already; its data are complete."
        )
    process = context.process_scope()
    if process is not None and process.experiment_id == chosen.id:
        context.set_process_scope(None)
    active = recorder.current()
    if active is not None:
        active.end(chosen.id, timeout)
    chosen._sealed(stopped_ns=time.time_ns())
    _live.pop(chosen.id, None)
    return chosen


def stop_all(active: Recorder) -> None:
    """At the recorder's end: stop what this process started. Spans that are open are interrupted."""
    for experiment in list(_live.values()):
        if experiment.recorder is active:
            stop_experiment(experiment, timeout=0.0)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment with that id, from the recorder's store or the default one.

    Raises `UnknownExperiment`.
    """
    if experiment_id in _live:
        return _live[experiment_id]
    libraries = _libraries()
    for library in libraries:
        try:
            return Experiment(library.get(experiment_id), library)
        except UnknownExperiment:
            if library is libraries[-1]:
                raise
    raise AssertionError("there is always a library")


def list_experiments(
    state: State | None = None,
    name: str | None = None,
    tag: str | None = None,
    study: str | None = None,
    include_hidden: bool = False,
) -> list[Experiment]:
    """The experiments that match everything given, oldest first.

    `tag="dataset"` matches "dataset:mmlu" too; `tag="dataset:mmlu"` only that and below.
    """
    found: dict[str, Experiment] = {}
    for library in _libraries():
        for record in library.find(state=state, name=name, tag=tag, study=study, include_hidden=include_hidden):
            found.setdefault(record.id, _live.get(record.id) or Experiment(record, library))
    return sorted(found.values(), key=lambda experiment: (experiment.record.started_ns, experiment.id))


def _libraries() -> list[Library]:
    active = recorder.current()
    if active is not None:
        return [active.library, *active._libraries.values()]
    return [Library(recorder._settings(None, None, None, False, None, None, None, None).store)]


def current_experiment() -> Experiment | None:
    """The experiment that a span started here would belong to."""
    scope = registry.resolve(None)
    return None if scope is None else _live.get(scope.experiment_id)


class experiment:  # noqa: N801 - reads as a function: `with otr.experiment("name") as exp`
    """An experiment scoped to a block or a function; takes what `start_experiment` takes.

    As a context manager (`with` or `async with`) it gives the `Experiment`; as a decorator of a
    sync or async function every call is an experiment of its own. It is stopped at the end.
    """

    def __init__(self, name: str, **declarations: Any) -> None:
        known = inspect.signature(start_experiment).parameters
        unknown = sorted(set(declarations) - set(known))
        if unknown:
            raise TypeError(f"experiment() got unexpected arguments: {', '.join(unknown)}")
        defaults = {key: parameter.default for key, parameter in known.items() if key != "name"}
        self._arguments = {**defaults, **declarations, "name": name}
        # A stack, so that one decorated function may call itself.
        self._entered: list[tuple[Experiment, object]] = []

    def __enter__(self) -> Experiment:
        begun = begin(dict(self._arguments))
        token = otel_context.attach(context.with_scope(context.scope_of(begun.record, "context")))
        self._entered.append((begun, token))
        return begun

    def __exit__(self, *exc_info: object) -> None:
        begun, token = self._entered.pop()
        otel_context.detach(cast(Any, token))
        if begun.state == "running":
            stop_experiment(begun)

    async def __aenter__(self) -> Experiment:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__(*exc_info)

    def __call__(self, function: Function) -> Function:
        name, declarations = self._arguments["name"], {k: v for k, v in self._arguments.items() if k != "name"}

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with experiment(name, **declarations):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            with experiment(name, **declarations):
                return await function(*args, **kwargs)

        return cast(Function, run_async if inspect.iscoroutinefunction(function) else run)
