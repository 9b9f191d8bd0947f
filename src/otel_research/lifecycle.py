"""Starting, stopping and finding experiments."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from otel_research import context, keeping, recorder
from otel_research.capture import registry
from otel_research.capture.caretaker import STOP_SECONDS
from otel_research.declare import checked_alerts, checked_calculators, declared, resumed
from otel_research.environment import captured
from otel_research.errors import ConfigurationError, ExperimentRunning, ExperimentStopped, StoreError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, State, check_id, is_id
from otel_research.handle import Experiment
from otel_research.journal.writer import this_writer
from otel_research.recorder import Recorder
from otel_research.settings import absolute
from otel_research.store.base import Store
from otel_research.store.library import Library

_logger = logging.getLogger("otel_research")

STATES: tuple[State, ...] = get_args(State)

# id -> the handle of every experiment that this process runs.
_live: dict[str, Experiment] = {}
# Experiments that a thread is stopping: the second one to ask is told so.
_stopping: set[str] = set()
# Protects the process-wide experiment (one at most) and the set of those that are being stopped.
changing = threading.RLock()


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
    forward: Literal["sampled", "all", "none"] | None = None,
    alerts: Sequence[Any] = (),
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
        forward: which spans go on to the program's backends: "sampled" (what its own sampler samples), "all" or "none";
            None is what `configure(forward_all=...)` says. Capture is complete with each of them.
        alerts: rules of `otel_research.alerts` (and sinks for them), evaluated while it runs.
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
    arguments = dict(locals())
    with changing:
        check_nothing_runs(name)
        begun = begin(arguments)
        context.set_process_scope(context.scope_of(begun.record, "process"))
    return begun


def check_nothing_runs(name: str) -> None:
    """Complain where a process-wide experiment of the program's own runs; inside the environment's one may begin."""
    process = context.process_scope()
    if process is not None and process.experiment_id in registry.running and process.source == "process":
        raise ExperimentRunning(
            f"experiment {process.experiment_name!r} ({process.experiment_id}) runs in this process, so {name!r} "
            "cannot start process-wide. Stop it first, or scope the new one: "
            f"with otr.experiment({name!r}) as exp: ..."
        )


def begin(arguments: dict[str, Any]) -> Experiment:
    """Make or resume the record and take spans for it; the caller makes it current."""
    from otel_research.processes.starting import defaults

    arguments = defaults(arguments)
    store, resume = arguments.pop("store"), arguments.pop("resume")
    calculators = checked_calculators(arguments.pop("custom_metrics"))
    alert_rules, sinks = checked_alerts(arguments.pop("alerts"))
    rules = {name: arguments[name] for name in ("event_filter", "sampling_rate", "sampling_strategy")}
    record = declared(arguments)
    active = recorder.current_or_default()
    library = active.library_for(store)
    earlier = _earlier(library, record.name) if resume else None
    record = msgspec.structs.replace(
        record if earlier is None else resumed(earlier, record),
        content=active.settings.content if isinstance(active.settings.content, str) else "callable",
        environment=_environment(earlier),
    )
    library.catalogue.put_experiment(record)
    capture = active.begin(record, library, rules)
    experiment = Experiment(record, library, recorder=active, capture=capture, custom_metrics=calculators)
    _live[record.id] = experiment
    if alert_rules:
        experiment.alert(*alert_rules, sinks=sinks)
    return experiment


def _earlier(library: Library, name: str) -> ExperimentRecord | None:
    """The latest experiment of that name, if it can go on."""
    found = library.find(name=name, include_hidden=True)
    if not found:
        return None
    latest = found[-1]
    if latest.state == "archived":
        raise ExperimentStopped(f"experiment {name!r} ({latest.id}) is archived; start a new one.")
    if latest.state == "running":
        where = "in this process" if latest.id in _live else "in another process"
        raise ExperimentRunning(
            f"experiment {name!r} ({latest.id}) still runs {where}, so it cannot be resumed. Stop it first, "
            "or start a new one without resume=True."
        )
    return latest


def described() -> dict[str, Any]:
    """Where this runs, in which process, and inside which experiment of the environment's."""
    around = context.environment_scope()
    inside = {} if around is None else {"inside": around.experiment_id}
    return {**captured(), "writer": msgspec.to_builtins(this_writer()), **inside}


def _environment(earlier: ExperimentRecord | None) -> dict[str, Any]:
    """Where this runs, and where it ran before it was resumed."""
    now = described()
    if earlier is None:
        return now
    before = dict(earlier.environment)
    return {**now, "earlier": [*before.pop("earlier", []), before]}


def stop_experiment(experiment_id: str | Experiment, timeout: float = STOP_SECONDS) -> Experiment:
    """Stop an experiment: wait for its open spans, seal it, keep its ledger.

    Spans that end within `timeout` seconds are kept; later ones are quarantined and counted as late.
    The spans that the caller itself stands in (its current span and those above it) cannot end
    before this returns: they are not waited for, and a warning says so.
    In a process that joined it (or was forked since) this is only leaving: it goes on for the others.
    In any other process it is a stop from outside: those that record it notice within a second (10 in a store
    elsewhere), take no new spans and seal what they have when they end; this waits for them to notice.

    Raises:
        UnknownExperiment: no experiment has that id.
        ExperimentStopped: it is stopped already.
        StoreError: the disk has no room to seal it, or refuses; nothing is lost, and it can be stopped again.
    """
    chosen = experiment_id if isinstance(experiment_id, Experiment) else get_experiment(experiment_id)
    chosen = _live.get(chosen.id, chosen)
    if chosen.is_guest and chosen.id in _live:
        _leave(chosen, timeout)
        return chosen
    is_mine = chosen.id in _live
    with changing:
        # One of ours that was stopped from outside is still to be sealed here.
        if (chosen.state != "running" and not is_mine) or chosen.id in _stopping:
            state = "being stopped" if chosen.id in _stopping else chosen.state
            raise ExperimentStopped(f"experiment {chosen.name!r} ({chosen.id}) is {state} already; its data are kept.")
        _stopping.add(chosen.id)
        context.withdraw(chosen.id)
    try:
        active = recorder.current()
        if active is not None:
            active.end(chosen.id, timeout)
        if not is_mine and not keeping.stopped_outside(chosen, timeout):
            return chosen
        keeping.sealed(chosen, stopped_ns=time.time_ns())
        _live.pop(chosen.id, None)
    except (OSError, StoreError) as error:
        raise StoreError(
            f"experiment {chosen.name!r} ({chosen.id}) takes no more spans and what it has is safe in its journal, "
            f"but it cannot be sealed: {error}. Make room or mend the folder, then stop it again."
        ) from error
    finally:
        _stopping.discard(chosen.id)
    return chosen


def let_go(begun: Experiment) -> None:
    """The end of a block: stop what this process began; a forked child leaves what its parent began."""
    if begun.is_guest:
        _leave(begun)
    elif begun.id in _live and begun.id not in _stopping:
        stop_experiment(begun)


def _leave(begun: Experiment, timeout: float = 0.0) -> None:
    """A guest goes: its spans stay in the experiment, which is another process's to stop."""
    context.withdraw(begun.id)
    if begun.recorder is not None:
        begun.recorder.end(begun.id, timeout)
    begun._save_ledger()
    begun._leave()
    _live.pop(begun.id, None)


def live(experiment_id: str) -> Experiment | None:
    """The experiment, if this process records it."""
    return _live.get(experiment_id)


def register(joined: Experiment) -> None:
    """This process records it from now on."""
    _live[joined.id] = joined


def arguments_of(name: str, **declarations: Any) -> dict[str, Any]:
    """All arguments of `start_experiment`, the others at their defaults."""
    known = inspect.signature(start_experiment).parameters
    unknown = sorted(set(declarations) - set(known))
    if unknown:
        raise TypeError(f"experiment() got unexpected arguments: {', '.join(unknown)}")
    defaults = {key: parameter.default for key, parameter in known.items() if key != "name"}
    return {**defaults, **declarations, "name": name}


def stop_all(active: Recorder) -> None:
    """At the recorder's end: stop what this process started. Spans that are open are interrupted."""
    for begun in list(_live.values()):
        if begun.recorder is not active:
            continue
        try:
            if begun.is_guest:
                _leave(begun)
            elif begun.id not in _stopping:
                stop_experiment(begun, timeout=0.0)
        except (StoreError, OSError) as error:
            # The program ends; whoever opens the experiment next seals it. The others must not suffer.
            _logger.error("otel_research: %s", error)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment with that id, from the recorder's store or the default one; also by the beginning of its id, or its name.

    Raises `UnknownExperiment`; `ConfigurationError` with the ids where several have that name (or beginning).
    """
    libraries, unknown = _libraries(), None
    if is_id(experiment_id):
        if experiment_id in _live:
            return _live[experiment_id]
        for library in libraries:
            try:
                return Experiment(library.get(experiment_id), library)
            except UnknownExperiment as error:
                unknown = error
    found = meant_by(experiment_id, libraries)
    if len(found) > 1:
        told = ", ".join(f"{each.id} (started {each.started_at:%Y-%m-%d %H:%M:%S})" for each in found)
        raise ConfigurationError(f"{len(found)} experiments are called {experiment_id!r}: {told}. Say which by its id.")
    if not found:
        raise unknown or UnknownExperiment(
            f"no experiment {experiment_id!r} in {' and '.join(library.url for library in libraries)}; "
            "otr.list_experiments() (or `otel-research ls`) has those that are there."
        )
    return found[0]


def meant_by(text: object, libraries: Sequence[Library]) -> list[Experiment]:
    """The experiments whose id begins so, or that are called so."""
    from otel_research.store.wanted import meant

    homes = {
        record.id: (record, library) for library in reversed(libraries) for record in library.find(include_hidden=True)
    }
    found = meant((record for record, _ in homes.values()), text) if isinstance(text, str) else []
    return [_live.get(each.id) or Experiment(*homes[each.id]) for each in found]


def known_id(experiment_id: object) -> str:
    """The id, if any experiment can have it; raises `UnknownExperiment`."""
    try:
        return check_id(experiment_id)
    except ConfigurationError as error:
        raise UnknownExperiment(str(error)) from None


def list_experiments(
    state: State | None = None,
    name: str | None = None,
    tag: str | None = None,
    study: str | None = None,
    include_hidden: bool = False,
) -> list[Experiment]:
    """The experiments that match everything given, oldest first.

    `tag="dataset"` matches "dataset:mmlu" too; `tag="dataset:mmlu"` only that and below. Raises `ConfigurationError`
    for a state that is none.
    """
    if state is not None and state not in STATES:
        raise ConfigurationError(f"state={state!r} is not a state: use one of {', '.join(STATES)}.")
    found: dict[str, Experiment] = {}
    for library in _libraries():
        for record in library.find(state=state, name=name, tag=tag, study=study, include_hidden=include_hidden):
            found.setdefault(record.id, _live.get(record.id) or Experiment(record, library))
    return sorted(found.values(), key=lambda experiment: (experiment.record.started_ns, experiment.id))


def _libraries() -> list[Library]:
    active = recorder.current()
    mine = [] if active is None else [active.library, *active._libraries.values()]
    if active is None or active.settings.is_disabled:
        # What was recorded earlier can be read while nothing is recorded.
        mine.append(Library(absolute(context.environment().get("store") if active is None else active.settings.store)))
    return mine


def current_experiment() -> Experiment | None:
    """The experiment that a span started here would belong to; None where it would be outside."""
    active = recorder.current()
    is_disabled = active is not None and active.settings.is_disabled
    scope = registry.scope_of(None) if is_disabled else registry.resolve(None)
    return None if scope is None else _live.get(scope.experiment_id)
