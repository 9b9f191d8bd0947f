"""Run a command as an experiment: whatever it is, what it starts included, until it ends."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from otel_research.context import ENV_PREFIX
from otel_research.errors import MissingExtra
from otel_research.hooks.asked import named_after, program

if TYPE_CHECKING:
    from otel_research.handle import Experiment

_AUTO = "opentelemetry.instrumentation.auto_instrumentation"
_TOLD_ON = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


class Ran(NamedTuple):
    """A command that has ended: how, and the experiment that it was."""

    code: int
    experiment: Experiment


def launch(
    words: Sequence[str],
    *,
    name: str | None = None,
    condition: str | None = None,
    store: str | None = None,
    tags: Sequence[str] = (),
    session: str | None = None,
    stdout: IO[bytes] | int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ran:
    """Run a command in an experiment of its own; Python programs in it are instrumented on the way.

    The experiment is ours and not the command's, so that any number of processes may join, and so
    that it is stopped properly however they end. What is left out is what the environment says; `variables` are the
    command's beside those of this process.

    Raises:
        MissingExtra: `opentelemetry-instrumentation` is not installed.
        ConfigurationError: an argument is wrong, or the store is one that a process cannot share.
    """
    from otel_research import lifecycle, recorder
    from otel_research.processes.children import child_env

    path = instrumenting_path(os.environ.get("PYTHONPATH", ""))
    # The command's experiment is the one begun here; by its name this process would begin another one.
    inherited = {key: os.environ.pop(ENV_PREFIX + key, "") for key in ("EXPERIMENT", "EXPERIMENT_ID")}
    active = recorder.configure(store=store)
    begun = lifecycle.start_experiment(
        name or named_after(inherited["EXPERIMENT"], program(list(words)), Path(words[0]).name),
        condition=condition,
        tags=tags,
        session_id=session,
    )
    try:
        code = _wait_for(words, {**os.environ, **(variables or {}), **child_env(), "PYTHONPATH": path}, stdout)
    finally:
        lifecycle.stop_experiment(begun, timeout=0.0)
        active.flush()
    return Ran(code, begun)


def instrumenting_path(there: str) -> str:
    """A PYTHONPATH on which every Python instruments itself when it starts, as under `opentelemetry-instrument`."""
    try:
        found = importlib.util.find_spec(_AUTO)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("opentelemetry-instrumentation", "auto")
    folder = str(Path(next(iter(found.submodule_search_locations))).resolve())
    return os.pathsep.join([folder, *(part for part in there.split(os.pathsep) if part and part != folder)])


def _wait_for(words: Sequence[str], environment: dict[str, str], stdout: IO[bytes] | int | None) -> int:
    """The command's exit code, as a shell would give it: 128 + the signal that ended it."""
    process = subprocess.Popen(words, env=environment, stdout=stdout)
    with _passing_signals(process.send_signal):
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _passing_signals(send: Callable[[int], None]) -> Iterator[None]:
    """Signals to us are the command's. Ctrl-C reaches it anyway: it is in the terminal's group, as we are."""
    before = {one: signal.signal(one, lambda number, _: send(number)) for one in _TOLD_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
