"""The recorder: one per process, set up by `configure()`; owns the captures and their durability."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from otel_research.capture import baggage, forward, logs, meters, registry, threads
from otel_research.capture.caretaker import Caretaker
from otel_research.capture.content import Policy
from otel_research.capture.experiment import ExperimentCapture
from otel_research.capture.host import Host
from otel_research.capture.ledger import Ledger, Tally, total
from otel_research.capture.room import Overload
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.journal.log import Log
from otel_research.settings import Settings, absolute, settings_from
from otel_research.store.base import Store
from otel_research.store.library import Library

CLOSING_SECONDS = 2.0
"""How long the end of a program waits for a store elsewhere to take what is left."""

_logger = logging.getLogger("otel_research")


class Flushed(NamedTuple):
    """What a flush can vouch for: spans that are durable, spans lost, spans not yet delivered."""

    kept: int
    lost: int
    pending: int


class Recorder:
    """Captures experiments into a store. Made by `configure()`; `close()` lets the host go as it was.

    Safe to use from any thread. A forked child goes on recording into segments of its own.
    """

    def __init__(self, settings: Settings, *, local_root: Path | None = None) -> None:
        # First, because a bad argument must not leave a global provider behind.
        forwarding = forward.processors(settings.forward)
        self._prepare(settings, Library(settings.store, local_root=local_root, backlog=settings.backlog))
        self.host = Host(self, settings.provider, forward=forwarding, forward_all=settings.forward_all)
        logs.attach(self)
        baggage.attach(settings.baggage)
        threads.attach(settings.threads)
        meters.export(_ledger_of_current)
        _on_fork(self)

    def _prepare(self, settings: Settings, library: Library) -> None:
        self.settings = settings
        self.library = library
        self.tally = Tally()
        # Protects the table of captures; never held on a span's way.
        self._lock = threading.RLock()
        self.captures: dict[str, ExperimentCapture] = {}
        self._past = Ledger()
        """What experiments counted that are over."""
        self._libraries: dict[str, Library] = {}
        self._caretaker = Caretaker(settings.fsync, self.tally)
        self.is_closed = False
        self.is_from_outside = False
        """Made by a hook before the program ran: then what the program configures must not break it."""

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"{len(self.captures)} experiments"
        return f"<Recorder {self.library.url} {state}, {self.ledger()}>"

    @property
    def provider(self) -> Any:
        """The TracerProvider that spans come from; it is built now if the program has set none."""
        return self.host.provider

    @property
    def is_own_provider(self) -> bool:
        """Whether that one is ours, and not the program's."""
        return self.host.is_own

    # -- experiments --------------------------------------------------------------------

    def library_for(self, store: str | Store | None) -> Library:
        """The library of a store that an experiment names, or our own."""
        if store is None:
            return self.library
        named = absolute(store)
        key = named if isinstance(named, str) else f"object:{id(named)}"
        with self._lock:
            if key not in self._libraries:
                self._libraries[key] = Library(named, backlog=self.settings.backlog)
            return self._libraries[key]

    def url_of(self, library: Library) -> str | None:
        """The URL that a library was asked for by, as it was written; None for a store that is an object."""
        known = {self.settings.store: self.library} if isinstance(self.settings.store, str) else {}
        known |= {key: other for key, other in self._libraries.items() if not key.startswith("object:")}
        return next((url for url, other in known.items() if other is library), None)

    def begin(
        self,
        record: ExperimentRecord,
        library: Library,
        rules: dict[str, Any],
        *,
        content: Policy | None = None,
        is_guest: bool = False,
    ) -> ExperimentCapture:
        """Take spans of an experiment from now on; as a guest, until the one who began it stops it."""
        self._settle()
        self.host.follow()  # the program may have set its providers since `configure()`
        logs.attach(self)
        capture = self._made_capture(record, library, rules, content, is_guest=is_guest)
        with self._lock:
            self.captures = {**self.captures, record.id: capture}
            registry.running[record.id] = capture
            registry.begun.add(record.id)
            if record.forward is not None:
                registry.forwarding[record.id] = record.forward
        self._caretaker.take(capture, library, is_guest=is_guest)
        return capture

    def _made_capture(
        self,
        record: ExperimentRecord,
        library: Library,
        rules: dict[str, Any],
        content: Policy | None,
        *,
        is_guest: bool = False,
    ) -> ExperimentCapture:
        settings = self.settings
        capture = ExperimentCapture(
            record.id,
            library.journal.open_log(record.id, self._caretaker.retire),
            open_quarantine=lambda: library.journal.open_log(record.id, is_quarantine=True),
            content=settings.content if content is None else content,
            overload=settings.overload,
            starts=settings.starts,
            sync_each=settings.fsync == "span",
            spill=self._spill_of(library, record.id),
            **rules,
        )
        capture.name = record.name
        # A guest is seen from now on: an experiment lives as long as one of its processes.
        capture.log.introduce(record.name, tuple(record.tags), is_guest=is_guest)
        return capture

    def _spill_of(self, library: Library, experiment_id: str) -> Callable[[], Log] | None:
        """How to open the second place of an experiment, where the policy wants one and there is one."""
        if self.settings.overload != "spill":
            return None
        library.spill_to(None if self.settings.spill is None else Path(self.settings.spill))
        library.note_spill(experiment_id)
        return None if library.spill is None else lambda: library.open_spill(experiment_id)

    def _settle(self) -> None:
        """Let go of the experiments that are over; what they counted stays."""
        with self._lock:
            over = [capture for capture in self.captures.values() if capture.is_over]
            self.captures = {key: capture for key, capture in self.captures.items() if capture not in over}
            self._past = total([self._past, *(capture.ledger() for capture in over)])
        self._caretaker.let_go(over)

    def end(self, experiment_id: str, timeout: float) -> ExperimentCapture | None:
        """Take no new spans, wait for those that are open; what ends later is late."""
        capture = self.captures.get(experiment_id)
        if capture is None or capture.is_stopped:
            return capture
        with self._lock:
            registry.leave(experiment_id)
        capture.wait_for_open(timeout)
        capture.stop()
        capture.sync()
        return capture

    def delivered(self, experiment_id: str) -> None:
        """Bring what is journaled to a store that is fed; nothing to do for the others."""
        self._caretaker.deliver(experiment_id)

    # -- durability ---------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything captured so far survive a power cut."""
        self._caretaker.sync()

    def flush(self, timeout: float = 30.0) -> Flushed:
        """Make durable and deliver what was captured by now; answers how much, never a bare True.

        `timeout` in seconds bounds the wait for a store that is fed from the journal.
        """
        stored = self.ledger().stored
        with self._lock:
            framed = [(capture, capture.framed_ends) for capture in self.captures.values()]
        self.sync()
        # What the disk refuses to make durable nobody can vouch for.
        undurable = sum(max(0, ends - capture.durable_ends) for capture, ends in framed)
        pending = self._caretaker.deliver_all(timeout) + undurable
        ledger = self.ledger()
        # What ends meanwhile is neither synced nor delivered; what could not be made durable has left `stored`.
        return Flushed(kept=min(stored, ledger.stored) - pending, lost=ledger.lost_total, pending=pending)

    def ledger(self) -> Ledger:
        """What became of every span in this process, all experiments together."""
        own = Ledger(outside=self.tally["outside"], errors=self.tally.under("error"))
        with self._lock:
            return total([own, self._past, *(capture.ledger() for capture in self.captures.values())])

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Stop what this process started, make everything durable, give the host its sampler back. Idempotent."""
        if self.is_closed:
            return
        from otel_research import lifecycle

        try:
            lifecycle.stop_all(self)
            # Not long: a store that is away now gets the rest from whoever opens the experiment next.
            self.flush(timeout=CLOSING_SECONDS)
        finally:
            # Also when the store fails: the host gets its sampler back.
            self.is_closed = True
            self._caretaker.close()
            self._detach()
            for experiment_id in list(self.captures):
                registry.leave(experiment_id)
            forget(self)

    def _detach(self) -> None:
        self.host.close()
        logs.detach(self)
        baggage.detach()
        threads.detach()

    def after_fork(self) -> None:
        """In the child: own lock, own thread, own segments, own counts."""
        self._lock = threading.RLock()
        self.tally.restart()
        self._past = Ledger()
        for capture in self.captures.values():
            capture.after_fork()
        self._caretaker.after_fork()
        self.host.after_fork()


# The recorder of this process; see `configure`.
_current: Recorder | None = None
_configuring = threading.RLock()


def configure(
    store: str | Store | None = None,
    provider: Any = None,
    forward: Any = None,
    forward_all: bool = False,
    overload: Overload | None = None,
    fsync: str | None = None,
    starts: bool | None = None,
    content: Policy | None = None,
    spill: str | Path | None = None,
    backlog: int | str | None = None,
    baggage: Sequence[str] = (),
    threads: bool = False,
) -> Recorder:
    """Set up capture for this process; see the parameters for what each answers.

    Args:
        store: "disk:PATH", "memory:", "postgresql://…", "s3://bucket/prefix" or a `Store`; default: OTEL_RESEARCH_STORE, else "disk:.otel_research".
        provider: the TracerProvider to extend; default: the global one if it is an SDK provider,
            else one is built and made global when the first experiment or span needs it.
        forward: "otlp", a SpanExporter, a SpanProcessor or a list: where spans also go.
        forward_all: False leaves the provider's own sampling decision to govern what is forwarded.
        overload: "block", "spill", "refuse" or "raise": what happens when there is no room.
        fsync: "1s", "0.1s", "span" or "never": what a power cut may cost.
        starts: journal the start of spans too, so that a span that never ends is data.
        content: "full", "hash", "drop" or callable(key, value): what may be written of prompts and completions.
        spill: a folder, on another disk, where spans go under overload="spill" while there is no room.
        backlog: bytes ("2GiB") that an experiment's local journal may hold while a store elsewhere takes no
            spans; at the limit `overload` decides. Default: what the disk holds.
        baggage: hosts ("api.internal", "localhost:8000", ".internal") whose requests say, as random ids, which
            experiment and trial they belong to, and from whose like such ids are taken; default: none, ever.
        threads: carry the experiment, arm and trial of here into threads and executors that are started
            here (patches `Thread.start` and `ThreadPoolExecutor.submit`); without it a thread falls back
            on the process-wide experiment.

    Again with the same arguments it changes nothing; with others it is an error until `close()`.

    Raises:
        ConfigurationError: an argument is wrong, or contradicts the running recorder.
        StoreError: the store cannot be opened.
    """
    global _current
    settings = settings_from(
        store, provider, forward, forward_all, overload, fsync, starts, content, spill, backlog, baggage, threads
    )
    with _configuring:
        if _current is not None and not _current.is_closed:
            if _current.settings.is_same(settings):
                return _current
            if _current.is_from_outside:
                _tell_of_the_run(_current, settings)
                return _current
            raise ConfigurationError(
                f"otel_research is configured already, with store {_current.library.url} and other settings. "
                "Call close() on that recorder first, or leave this configure() out."
            )
        _current = _made(settings)
        return _current


def _tell_of_the_run(active: Recorder, asked: Settings) -> None:
    """The run was set up from outside and goes on as it was; the program's wishes are for when it runs alone."""
    if not dataclasses.replace(asked, provider=active.settings.provider).is_same(active.settings):
        _logger.warning(
            "otel_research: this run is recorded into %s, as its environment says; other arguments of the "
            "program's configure() hold when it is run without that.",
            active.library.url,
        )


def _made(settings: Settings) -> Recorder:
    """A recorder, with the experiment that the environment names; none at all where that cannot be."""
    global _current
    from otel_research.processes import disabled, starting

    made = _current = disabled.DisabledRecorder(settings) if settings.is_disabled else Recorder(settings)
    try:
        starting.begin_what_is_told()
    except BaseException:
        made.close()
        raise
    return made


def current() -> Recorder | None:
    """The recorder of this process, if one is set up and open."""
    return None if _current is None or _current.is_closed else _current


def current_or_default() -> Recorder:
    """The recorder of this process; set up with defaults where there is none."""
    return current() or configure()


def _ledger_of_current() -> Ledger | None:
    recorder = current()
    return None if recorder is None else recorder.ledger()


def forget(recorder: Recorder) -> None:
    """Make room for another `configure()`."""
    global _current
    if _current is recorder:
        _current = None


def _on_fork(recorder: Recorder) -> None:
    """Weakly: a registration cannot be taken back, and must not keep a closed recorder alive."""
    if not hasattr(os, "register_at_fork"):
        return
    forked = weakref.WeakMethod(recorder.after_fork)

    def in_child() -> None:
        method = forked()
        if method is not None:
            method()

    os.register_at_fork(after_in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.after_fork)


@atexit.register
def _close_at_exit() -> None:
    if _current is not None:
        try:
            _current.close()
        except Exception:
            _logger.exception("otel_research: the end was not clean; what was captured is in the store's journal.")
