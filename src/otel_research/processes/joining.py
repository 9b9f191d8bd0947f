"""`join_experiment`: record into an experiment that another process, or another machine, began."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from otel_research import context, lifecycle, recorder
from otel_research.capture.content import stricter
from otel_research.errors import ExperimentError, ExperimentStopped, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_factors, check_id, check_label, check_name
from otel_research.handle import Experiment
from otel_research.processes.carrier import Carried
from otel_research.settings import absolute, same_store
from otel_research.store.base import Store
from otel_research.store.library import Library


def join_experiment(
    experiment_id: str | Mapping[str, str],
    *,
    name: str | None = None,
    condition: str | None = None,
    tags: Sequence[str] = (),
    session_id: str | None = None,
    factors: Mapping[str, Any] | None = None,
    event_filter: Callable[[Any], bool] | None = None,
    sampling_strategy: Callable[[Any], float | bool] | None = None,
    store: str | Store | None = None,
) -> Experiment:
    """Record this process's spans into an experiment that another one began.

    It stays the other's: leaving (`stop_experiment`, or the end of this process) stops nothing for
    the others, and what ends here after its owner stopped it is late (noticed within a second).
    Every process writes files of its own, so the store may be a shared folder, on NFS too.
    Joining what this process records already changes nothing.

    Args:
        experiment_id: its id, or what `child_env()` gave: then the store and all labels are the ones from there.
        name: for nodes that share no storage, and for job arrays without a coordinator: where the
            store does not know the id, the experiment is begun here under this name. It has no owner
            and is over when all its processes are.
        condition: the arm of this process's spans, where no `arm(...)` says otherwise.
        tags: more tags on this process's spans.
        session_id: the session of this process's spans.
        factors: factor levels of this process's spans.
        event_filter: as for `start_experiment`; functions do not travel, so each process passes its own.
        sampling_strategy: the same. A `sampling_rate` is the experiment's and holds here too.
        store: where the experiment is; default: the recorder's store.

    Raises:
        UnknownExperiment: the store does not know the id, and no `name` was given.
        ExperimentStopped: it is stopped or archived.
        ExperimentRunning: another process-wide experiment runs here.
        ConfigurationError: an argument is wrong.
    """
    carried = Carried.read(experiment_id) if isinstance(experiment_id, Mapping) else Carried()
    if isinstance(experiment_id, str):
        carried = msgspec.structs.replace(carried, experiment_id=lifecycle.known_id(experiment_id))
    said = Carried(
        experiment=None if name is None else check_name(name),
        condition=check_label("condition", condition),
        tags=tuple(tags),
        session=check_label("session_id", session_id),
        factors=check_factors(factors),
    )
    rules = {"event_filter": event_filter, "sampling_strategy": sampling_strategy}
    return join(_over(said, carried), store, rules, source="process")


def _over(said: Carried, carried: Carried) -> Carried:
    """What is said here wins over what was carried here."""
    given = {field: value for field, value in msgspec.structs.asdict(said).items() if value not in (None, (), {})}
    return msgspec.structs.replace(carried, **given)


def join(carried: Carried, store: str | Store | None, rules: dict[str, Any], *, source: str) -> Experiment:
    """Join what is carried, process-wide; `source` tells how its spans will say they were resolved."""
    if carried.experiment_id is None:
        raise UnknownExperiment(
            "there is no experiment id to join: pass an id, or what otr.child_env() gave inside the experiment."
        )
    with lifecycle.changing:
        joined = enlisted(carried, store, rules, source=source)
        scope = carried.scope(joined.record, source)
        if source == "environment":
            context.set_environment_scope(scope)
        else:
            context.set_process_scope(scope)
    return joined


def enlisted(carried: Carried, store: str | Store | None, rules: dict[str, Any], *, source: str | None) -> Experiment:
    """This process takes spans of the experiment from now on; the caller makes it current."""
    experiment_id = check_id(carried.experiment_id)
    with lifecycle.changing:
        there = lifecycle.live(experiment_id)
        if there is not None:
            return there
        if source == "process":
            lifecycle.check_nothing_runs(experiment_id)
        active = recorder.current() or recorder.configure(store=store or carried.store)
        # The environment that `configure` reads may have said the same.
        there = lifecycle.live(experiment_id)
        if there is not None:
            return there
        library = active.library_for(_other(active, store or carried.store))
        record = _running(library, carried)
        capture = active.begin(
            record,
            library,
            {"event_filter": None, "sampling_strategy": None, "sampling_rate": record.sampling_rate, **rules},
            content=stricter(active.settings.content, record.content),
            is_guest=True,
        )
        joined = Experiment(record, library, recorder=active, capture=capture, base=carried.scope(record, "context"))
        lifecycle.register(joined)
        # From its first moment on the process is accounted for, also if it leaves without a word.
        joined._save_ledger()
    return joined


def _other(active: recorder.Recorder, store: str | Store | None) -> str | Store | None:
    """The store if it is another one than the recorder's."""
    if store is None:
        return None
    return None if same_store(absolute(store), active.settings.store) else store


def _running(library: Library, carried: Carried) -> ExperimentRecord:
    """The record of the experiment to join."""
    experiment_id = check_id(carried.experiment_id)
    try:
        record = library.get(experiment_id)
    except UnknownExperiment as error:
        if carried.experiment is None:
            raise UnknownExperiment(
                f"{error} To join, use the store that it was started in (now {library.url}); where nodes share "
                "no storage, pass name=... (or OTEL_RESEARCH_EXPERIMENT) and import this node's part later."
            ) from None
        return _begun_here(library, experiment_id, carried)
    if record.state == "stopped" and is_shared(record):
        # Nobody stopped it: all its processes had gone, as between two jobs of an array.
        record = msgspec.structs.replace(record, state="running", ended_by=None, stopped_ns=None, content_hash=None)
        library.catalogue.put_experiment(record)
    if record.state != "running":
        raise ExperimentStopped(
            f"experiment {record.name!r} ({experiment_id}) is {record.state} and takes no more spans, so it cannot be "
            "joined. Start a new one, or resume it where it was started: start_experiment(name, resume=True)."
        )
    return record


def _begun_here(library: Library, experiment_id: str, carried: Carried) -> ExperimentRecord:
    """The record of an experiment without an owner."""
    if carried.experiment is None:
        raise ExperimentError("an experiment that is begun here needs a name.")
    record = ExperimentRecord(
        id=experiment_id,
        name=carried.experiment,
        tags=carried.tags,
        started_ns=time.time_ns(),
        environment={**lifecycle.described(), "is_shared": True},
    )
    library.catalogue.put_experiment(record)
    return record


def is_shared(record: ExperimentRecord) -> bool:
    """Whether it has no owner: it was begun by id, and is over when all its processes are."""
    return bool(record.environment.get("is_shared"))
