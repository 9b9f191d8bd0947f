"""Validate, journal, answer; everything else happens in the background, or when somebody reads."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from otel_research.errors import ConfigurationError, ResearchError, StoreUnreachable
from otel_research.experiments import ExperimentRecord, check_name, is_id, new_id
from otel_research.ingest.desk import ORIGIN, Desk
from otel_research.ingest.owners import Owners, Part
from otel_research.ingest.refusal import Refused
from otel_research.ingest.signals import Signal
from otel_research.journal.log import LogClosed
from otel_research.store.library import Library
from otel_research.store.mirror import Mirror

DEFAULT_NAME = "received"
MOST_OPEN = 512
"""Experiments that are received for at the same time: each has a journal segment of its own open."""
IDLE_SECONDS = 600.0
"""After so long without a span an experiment is put away; the next span opens it again."""
_HURRIED = 5.0
"""The same in seconds while more than half of `MOST_OPEN` are open."""
RETRY_SECONDS = 5
_ROUND = 0.8

_logger = logging.getLogger("otel_research")


class Taken(NamedTuple):
    """What became of one message."""

    stored: int
    refused: int
    why: str
    """Of the refused ones."""


class Inbox:
    """Receives for the experiments of one library.

    `take` may be called from several threads, one at a time each; when it returns, what it took
    survives `kill -9` of this process, and a power cut after about a second.

    Args:
        library: where the experiments are.
        experiment: id or name of the experiment of spans that name none.
    """

    def __init__(self, library: Library, experiment: str = DEFAULT_NAME) -> None:
        self._library = library
        self._default = _default(library, experiment)
        self._owners = Owners()
        self._desks: dict[str, Desk] = {}
        # Protects the table of desks, and the order of messages.
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """Since the start: "stored", and "refused:REASON"."""
        self._failing: set[str] = set()
        """Experiments whose last background task failed, which was said."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="otel-research-receiver", daemon=True)
        self._thread.start()

    def take(self, signal: Signal, message: Any, body: bytes | None = None) -> Taken:
        """Journal a message; `body` is its bytes, where they are at hand.

        Raises `Refused`: 400 for what can never be stored, 429 and 503 for what can be, later.
        """
        with self._lock:
            found = self._owners.sort(signal, message, body)
            stored, why = 0, Counter({"invalid": found.refused} if found.refused else {})
            for part in found.parts:
                try:
                    self._put(signal, part)
                    stored += part.ended + part.interrupted
                except Refused as refusal:
                    if refusal.retry_after is not None:
                        # The sender sends all of it again; what is stored already is stored once.
                        raise
                    why[refusal.why] += part.ended + part.interrupted
            self.counts["stored"] += stored
            for reason, number in why.items():
                self.counts[f"refused:{reason}"] += number
            self._note_invalid(found.parts, found.refused)
        return Taken(
            stored, why.total(), "; ".join(f"{number} {_said(reason, signal)}" for reason, number in why.items())
        )

    def _note_invalid(self, parts: list[Part], refused: int) -> None:
        """What cannot be stored is counted with the experiment that the message is of."""
        owner = (parts[0].experiment_id if parts else None) or self._default[0]
        if refused and owner in self._desks:
            self._desks[owner].refused["invalid"] += refused

    def _put(self, signal: Signal, part: Part) -> None:
        for _ in range(2):
            desk = self._desk(part)
            try:
                desk.take(signal.name, part.body, part.ended, part.interrupted)
                return
            except LogClosed:
                # It was put away in this moment.
                self._desks.pop(desk.experiment_id, None)
            except OSError as error:
                raise self._later(f"the journal takes nothing now: {error.strerror or error}") from error
        raise self._later("the experiment is just being put away")

    def _desk(self, part: Part) -> Desk:
        experiment_id = part.experiment_id or self._default[0]
        desk = self._desks.get(experiment_id)
        if desk is not None:
            return desk
        if len(self._desks) >= MOST_OPEN:
            raise Refused(429, f"{MOST_OPEN} experiments are being received already.", retry_after=RETRY_SECONDS)
        name = part.name if part.experiment_id is not None else self._default[1]
        try:
            desk = Desk(experiment_id, _name(name), self._library)
        except (OSError, ResearchError) as error:
            raise self._later(f"the store takes no experiment now: {error}") from error
        self._desks[experiment_id] = desk
        return desk

    def _later(self, why: str) -> Refused:
        self.counts["deferred"] += 1
        return Refused(503, why, retry_after=RETRY_SECONDS)

    # -- in the background --------------------------------------------------------------------

    def _work(self) -> None:
        while not self._is_over.wait(_ROUND):
            for desk in list(self._desks.values()):
                self._guarded(desk, lambda desk=desk: self._tend(desk))
            self._put_away()

    def _tend(self, desk: Desk) -> None:
        desk.log.sync()  # before anything that could fail: a sender has its answer
        if not desk.has_gone():
            desk.tend()
            return
        with self._lock:
            self._desks.pop(desk.experiment_id, None)
        desk.log.close()

    def _put_away(self) -> None:
        longest = IDLE_SECONDS if len(self._desks) < MOST_OPEN // 2 else _HURRIED
        for desk in list(self._desks.values()):
            if time.monotonic() - desk.used_at > longest:
                with self._lock:
                    self._desks.pop(desk.experiment_id, None)
                self._guarded(desk, desk.close)

    def _guarded(self, desk: Desk, task: Any) -> None:
        """One thing that is due for one experiment: if it fails, what was received is in the journal all the same."""
        try:
            task()
            self._failing.discard(desk.experiment_id)
        except Exception as error:
            self.counts["error:background"] += 1
            if desk.experiment_id in self._failing:
                return
            self._failing.add(desk.experiment_id)
            _logger.warning("otel_research: the receiver goes on after an error in %s: %s", desk.experiment_id, error)

    def close(self) -> None:
        """Take no more; seal what was received. Idempotent."""
        self._is_over.set()
        self._thread.join()
        with self._lock:
            desks, self._desks = list(self._desks.values()), {}
        for desk in desks:
            self._guarded(desk, desk.close)


def _said(reason: str, signal: Signal) -> str:
    if reason != "invalid":
        return reason
    if signal.name == "logs":
        return "log records are no gen_ai.evaluation.result, or have no valid ids or times"
    return "spans have no valid ids or times"


def _name(wanted: str | None) -> str:
    """What a new experiment is called; a span may say anything."""
    with contextlib.suppress(ConfigurationError):
        return check_name(wanted)
    return DEFAULT_NAME


def _default(library: Library, wanted: str) -> tuple[str, str]:
    """(id, name) of the experiment for spans that name none: one that goes on, or a new one.

    A receiver that is started again goes on with the experiment it had: a sender that did not get
    its answer sends again, and only there its spans are known.
    """
    known = [record for record in _known(library) if record.state != "archived"]
    for record in known:
        if record.id == wanted:
            return record.id, record.name
    goes_on = [record for record in known if record.name == wanted and _is_open(record)]
    if goes_on:
        return goes_on[-1].id, goes_on[-1].name
    return (wanted, DEFAULT_NAME) if is_id(wanted) and len(wanted) == 32 else (new_id(), check_name(wanted))


def _known(library: Library) -> list[ExperimentRecord]:
    """Every record; while the store is away those that wait for it here."""
    try:
        return library.find(include_hidden=True)
    except StoreUnreachable:
        if not isinstance(library.catalogue, Mirror):
            raise
        return library.catalogue.waiting()


def _is_open(record: ExperimentRecord) -> bool:
    return record.state == "running" or record.environment.get("source") == ORIGIN
