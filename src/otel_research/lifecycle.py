"""Starting, stopping and finding experiments."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

import msgspec
from opentelemetry import context as otel_context

from otel_research import context, recorder
from otel_research.capture import registry
from otel_research.declare import checked_calculators, declared, resumed
from otel_research.environment import captured
from otel_research.errors import ConfigurationError, ExperimentRunning, ExperimentStopped, StoreError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, State, check_id
from otel_research.handle import Experiment
from otel_research.journal.writer import this_writer
from otel_research.recorder import Recorder
from otel_research.store.base import Store
from otel_research.store.library import Library

_logger = logging.getLogger("otel_research")

Function = TypeVar("Function", bound=Callable[..., Any])
STATES: tuple[State, ...] = get_args(State)
STOP_SECONDS = 30.0
"""How long `stop_experiment` waits for open spans."""

# id -> the handle of every experiment that this process runs.
_live: dict[str, Experiment] = {}
# Experiments that a thread is stopping: the second one to ask is told so.
_stopping: set[str] = set()
# Protects the process-wide experiment (one at most) and the set of those that are being stopped.
_changing = threading.RLock()


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
    arguments = dict(locals())
    with _changing:
        process = context.process_scope()
        if process is not None and process.experiment_id in registry.running and process.source == "process":
            raise ExperimentRunning(
                f"experiment {process.experiment_name!r} ({process.experiment_id}) runs in this process, so {name!r} "
                "cannot start process-wide. Stop it first, or scope the new one: "
                f"with otr.experiment({name!r}) as exp: ..."
            )
        begun = begin(arguments)
        context.set_process_scope(context.scope_of(begun.record, "process"))
    return begun


def begin(arguments: dict[str, Any]) -> Experiment:
    """Make or resume the record and take spans for it; the caller makes it current."""
    store, resume = arguments.pop("store"), arguments.pop("resume")
    calculators = checked_calculators(arguments.pop("custom_metrics"))
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


def _environment(earlier: ExperimentRecord | None) -> dict[str, Any]:
    """Where this runs, and where it ran before it was resumed."""
    now = {**captured(), "writer": msgspec.to_builtins(this_writer())}
    if earlier is None:
        return now
    before = dict(earlier.environment)
    return {**now, "earlier": [*before.pop("earlier", []), before]}


def stop_experiment(experiment_id: str | Experiment, timeout: float = STOP_SECONDS) -> Experiment:
    """Stop an experiment: wait for its open spans, seal it, keep its ledger.

    Spans that end within `timeout` seconds are kept; later ones are quarantined and counted as late.
    The spans that the caller itself stands in (its current span and those above it) cannot end
    before this returns: they are not waited for, and a warning says so.

    Raises:
        UnknownExperiment: no experiment has that id.
        ExperimentStopped: it is stopped already.
        StoreError: the disk has no room to seal it, or refuses; nothing is lost, and it can be stopped again.
    """
    chosen = experiment_id if isinstance(experiment_id, Experiment) else get_experiment(experiment_id)
    chosen = _live.get(chosen.id, chosen)
    with _changing:
        if chosen.state != "running" or chosen.id in _stopping:
            state = "being stopped" if chosen.id in _stopping else chosen.state
            raise ExperimentStopped(f"experiment {chosen.name!r} ({chosen.id}) is {state} already; its data are kept.")
        _stopping.add(chosen.id)
        process = context.process_scope()
        if process is not None and process.experiment_id == chosen.id:
            context.set_process_scope(None)
    try:
        active = recorder.current()
        if active is not None:
            active.end(chosen.id, timeout)
        chosen._sealed(stopped_ns=time.time_ns())
        _live.pop(chosen.id, None)
    except (OSError, StoreError) as error:
        raise StoreError(
            f"experiment {chosen.name!r} ({chosen.id}) takes no more spans and what it has is safe in its journal, "
            f"but it cannot be sealed: {error}. Make room or mend the folder, then stop it again."
        ) from error
    finally:
        _stopping.discard(chosen.id)
    return chosen


def _let_go(begun: Experiment) -> None:
    """The end of a block: stop what this process began; a forked child leaves what its parent began."""
    if begun.is_inherited:
        _leave(begun)
    elif begun.state == "running" and begun.id not in _stopping:
        stop_experiment(begun)


def _leave(begun: Experiment) -> None:
    """A forked child goes: its spans stay in the experiment, which is its parent's to stop."""
    if begun.recorder is not None:
        begun.recorder.end(begun.id, timeout=0.0)
    begun._save_ledger()
    begun._leave()
    _live.pop(begun.id, None)


def stop_all(active: Recorder) -> None:
    """At the recorder's end: stop what this process started. Spans that are open are interrupted."""
    for begun in list(_live.values()):
        if begun.recorder is not active:
            continue
        try:
            if begun.is_inherited:
                _leave(begun)
            elif begun.id not in _stopping:
                stop_experiment(begun, timeout=0.0)
        except (StoreError, OSError) as error:
            # The program ends; whoever opens the experiment next seals it. The others must not suffer.
            _logger.error("otel_research: %s", error)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment with that id, from the recorder's store or the default one.

    Raises `UnknownExperiment`.
    """
    try:
        check_id(experiment_id)
    except ConfigurationError as error:
        raise UnknownExperiment(str(error)) from None
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
    if state is not None and state not in STATES:
        raise ConfigurationError(f"state={state!r} is not a state: use one of {', '.join(STATES)}.")
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


class experiment:
    """An experiment scoped to a block or a function; takes what `start_experiment` takes.

    As a context manager (`with` or `async with`) it gives the `Experiment`; as a decorator of a
    function (sync, async or a generator of either kind) every call is an experiment of its own.
    It is stopped at the end.
    """

    def __init__(self, name: str, **declarations: Any) -> None:
        known = inspect.signature(start_experiment).parameters
        unknown = sorted(set(declarations) - set(known))
        if unknown:
            raise TypeError(f"experiment() got unexpected arguments: {', '.join(unknown)}")
        defaults = {key: parameter.default for key, parameter in known.items() if key != "name"}
        self._arguments = {**defaults, **declarations, "name": name}
        # What is open, so that one object may be entered again, also by another thread or task meanwhile.
        self._entered: list[tuple[Experiment, object]] = []

    def __enter__(self) -> Experiment:
        begun = begin(dict(self._arguments))
        token = otel_context.attach(context.with_scope(context.scope_of(begun.record, "context")))
        self._entered.append((begun, token))
        return begun

    def __exit__(self, *exc_info: object) -> None:
        _let_go(self._left())

    async def __aenter__(self) -> Experiment:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        begun = self._left()
        if _is_in_asyncio():
            # In a thread: spans of other tasks can end only while the loop runs.
            await asyncio.to_thread(_let_go, begun)
        else:
            _let_go(begun)

    def _left(self) -> Experiment:
        """The experiment that this thread or task entered last."""
        here = context.context_scope()
        mine = [entry for entry in self._entered if here is not None and entry[0].id == here.experiment_id]
        entry = (mine or self._entered)[-1]
        self._entered.remove(entry)
        otel_context.detach(cast(Any, entry[1]))
        return entry[0]

    def __call__(self, function: Function) -> Function:
        """Every call of the function is an experiment of its own."""
        name, declarations = self._arguments["name"], {k: v for k, v in self._arguments.items() if k != "name"}

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with experiment(name, **declarations):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            async with experiment(name, **declarations):
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def run_generator(*args: Any, **kwargs: Any) -> Any:
            apart, block = context.Apart(), experiment(name, **declarations)
            apart.run(block.__enter__)
            try:
                return (yield from apart.driven(function(*args, **kwargs)))
            finally:
                apart.run(block.__exit__)

        @functools.wraps(function)
        async def run_async_generator(*args: Any, **kwargs: Any) -> Any:
            apart, block = context.Apart(), experiment(name, **declarations)
            apart.run(block.__enter__)
            generator = function(*args, **kwargs)
            step = generator.__anext__()
            try:
                while True:
                    produced = await apart.awaited(step)
                    try:
                        step = generator.asend((yield produced))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = generator.athrow(error)
            except StopAsyncIteration:
                return
            finally:
                await apart.awaited(generator.aclose())
                await apart.awaited(block.__aexit__())

        kinds = (
            (inspect.isasyncgenfunction, run_async_generator),
            (inspect.isgeneratorfunction, run_generator),
            (inspect.iscoroutinefunction, run_async),
        )
        called = getattr(function, "__call__", function)  # noqa: B004 - an object's own, which may be async
        for is_kind, wrapper in kinds:
            if is_kind(function) or is_kind(called):
                return cast(Function, wrapper)
        return cast(Function, run)


def _is_in_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
