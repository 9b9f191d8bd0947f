"""What is due in the background: durability, the counts that frames do not tell, deliveries.

Never on a span's way. One daemon thread per recorder; a forked child gets one of its own.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from otel_research.capture import registry
from otel_research.capture.courier import Courier
from otel_research.capture.experiment import ExperimentCapture
from otel_research.capture.ledger import Tally
from otel_research.errors import StoreError, UnknownExperiment
from otel_research.journal.frame import END
from otel_research.journal.segment import Segment
from otel_research.store.library import Library
from otel_research.store.presence import BEAT_SECONDS

FSYNC_SECONDS = {"1s": 1.0, "0.1s": 0.1, "span": 1.0, "never": None}
"""Policy -> seconds of work that a power cut may cost."""
_AHEAD = 0.8
"""Part of those seconds between two syncs: the rest is for the sync itself."""

STOP_SECONDS = 30.0
"""How long a stop waits for open spans."""
LOOK_SECONDS, LOOK_SECONDS_AFAR = 1.0, 10.0
"""Between two looks whether an experiment of this process was stopped from outside: on disk, and in a store elsewhere."""

_logger = logging.getLogger("otel_research")


@dataclass
class Charge:
    """An experiment in the caretaker's care."""

    capture: ExperimentCapture
    library: Library
    is_guest: bool = False
    """The experiment is another process's to stop."""
    saved: int = 0
    """The version of its tally that is kept beside its frames."""
    has_failed: bool = False
    """Whether an error of its background work was logged."""
    beat_at: float = 0.0
    """When the next sign of life is due, in seconds of the monotonic clock."""
    look_at: float = 0.0
    """When to look next whether it was stopped from outside, by the same clock."""
    left_at: float | None = None
    """When that was noticed."""


class Caretaker:
    """Tends the captures of one recorder; whatever fails is counted in `tally` and logged."""

    def __init__(self, fsync: str, tally: Tally) -> None:
        interval = FSYNC_SECONDS[fsync]
        self._is_syncing = interval is not None
        self._interval = (interval or 1.0) * _AHEAD
        self._tally = tally
        # Replaced as a whole, so that the thread may walk it without a lock.
        self._charges: dict[str, Charge] = {}
        self._start_over()

    def _start_over(self) -> None:
        # Protects the replacing of the table against another.
        self._changing = threading.RLock()
        self._retired: list[Segment] = []
        # Its `put` may come in the middle of itself, from a signal handler or a `__del__`: an event's `set` may not.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._courier = Courier(self._interval)
        self._is_over = False

    def take(self, capture: ExperimentCapture, library: Library, *, is_guest: bool = False) -> None:
        """Tend an experiment from now on."""
        self._courier.take(capture.experiment_id, capture.log.writer.name, library)
        charge = Charge(capture, library, is_guest)
        capture.on_loss = lambda: self._save_or_count(charge)
        self._tend_to(charge, self._beat)
        with self._changing:
            self._charges = {**self._charges, capture.experiment_id: charge}
        self._ensure_thread()

    def let_go(self, captures: Collection[ExperimentCapture]) -> None:
        """Nothing more can come of these; their last counts are kept."""
        for charge in [charge for charge in self._charges.values() if charge.capture in captures]:
            self._tend_to(charge, self._save_counts)
        with self._changing:
            self._charges = {key: charge for key, charge in self._charges.items() if charge.capture not in captures}

    def retire(self, segment: Segment) -> None:
        """A full segment: made durable and cut in the background, not on the span's way."""
        self._retired.append(segment)
        self._wake.put(None)

    # -- durability ---------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything captured so far survive a power cut."""
        for charge in list(self._charges.values()):
            self._tend_to(charge, lambda charge: charge.capture.sync())
        self._finish_retired()

    def _finish_retired(self) -> None:
        while self._retired:
            try:
                segment = self._retired.pop()
            except IndexError:  # another thread finishes them too
                return
            try:
                segment.finish()
            except OSError as error:
                self._tally.add("error:finish")
                _logger.error("otel_research: %s could not be made durable at first: %s", segment.name, error)

    # -- deliveries ---------------------------------------------------------------------

    def deliver(self, experiment_id: str) -> None:
        """Bring what is journaled to a store that is fed; nothing to do for the others."""
        self._courier.deliver(experiment_id)

    def deliver_all(self, timeout: float) -> int:
        """The same for all, within `timeout` seconds; how many spans are still to be delivered."""
        return self._courier.deliver_all(timeout) + sum(_spilled(charge) for charge in self._charges.values())

    # -- the thread ---------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="otel-research", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        wake = self._wake
        while not self._is_over:
            with contextlib.suppress(queue.Empty):
                wake.get(timeout=self._interval)
            self._tend()

    def _tend(self) -> None:
        if self._is_syncing:
            self.sync()
        else:
            self._finish_retired()
        for charge in list(self._charges.values()):
            self._tend_to(charge, lambda charge: charge.capture.leave_removed())
            self._tend_to(charge, self._save_counts)
            self._tend_to(charge, self._beat)
            self._tend_to(charge, self._follow_a_stop)

    def _tend_to(self, charge: Charge, task: Callable[[Charge], None]) -> None:
        """One thing that is due for one experiment: if it fails, the others must not suffer."""
        try:
            task(charge)
        except Exception as error:
            self._tally.add("error:background")
            if charge.has_failed:
                return
            charge.has_failed = True
            _logger.warning(
                "otel_research: the background thread goes on after an error in experiment %s: %s",
                charge.capture.experiment_id,
                error,
            )

    def _beat(self, charge: Charge) -> None:
        """Tell those who cannot ask the system about this process that it still records."""
        now = time.monotonic()
        if now >= charge.beat_at and not charge.capture.is_stopped:
            charge.beat_at = now + BEAT_SECONDS
            charge.library.beat(charge.capture.experiment_id, charge.capture.log.writer)

    def _save_counts(self, charge: Charge) -> None:
        """Losses and errors must be known also of a process that leaves without a word."""
        capture, version = charge.capture, charge.capture.tally.version
        if charge.saved == version:
            return
        # A late span of an experiment that was deleted brings back nothing of it.
        if not capture.is_stopped or _state_of(charge) is not None:
            charge.library.journal.put_ledger(capture.experiment_id, capture.log.writer.name, capture.told())
        charge.saved = version

    def _save_or_count(self, charge: Charge) -> None:
        """The same on a span's way, which no error of ours may cross."""
        try:
            self._save_counts(charge)
        except Exception:
            self._tally.add("error:ledger")

    def _follow_a_stop(self, charge: Charge) -> None:
        """Another process may stop the experiment: this one takes no new spans of it, and what ends later is late.

        A guest leaves at once; the process that began it waits for its open spans, as at a stop of its own.
        """
        capture = charge.capture
        if capture.is_stopped or (charge.left_at is None and not _is_stopped_elsewhere(charge)):
            return
        if charge.left_at is None:
            charge.left_at = time.monotonic()
            registry.leave(capture.experiment_id)
            if not charge.is_guest:
                _logger.warning(
                    "otel_research: experiment %s was stopped from outside: it takes no new spans, and keeps those that "
                    "are open and end within %.0f seconds.",
                    capture.experiment_id,
                    STOP_SECONDS,
                )
        if charge.is_guest or not capture.open_count or time.monotonic() - charge.left_at > STOP_SECONDS:
            capture.stop()
            charge.saved = -1  # who stopped it reads from what is kept that this process took note

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Let the thread end."""
        self._is_over = True
        self._wake.put(None)
        self._courier.close()

    def after_fork(self) -> None:
        """In the child: own thread, own counts; what was full is the parent's to finish."""
        is_over = self._is_over
        self._start_over()
        self._is_over = is_over
        for charge in self._charges.values():
            charge.library.after_fork()
            charge.saved, charge.beat_at, charge.is_guest = 0, 0.0, True
        if self._charges and not is_over:
            self._ensure_thread()


def _spilled(charge: Charge) -> int:
    """Spans in a second place that a store elsewhere does not have: they come home when the experiment stops."""
    spilled = charge.capture.room.spilled
    if spilled is None or not charge.library.is_fed or not charge.library.is_spilled(charge.capture.experiment_id):
        return 0
    return spilled.appended[END]


def _is_stopped_elsewhere(charge: Charge) -> bool:
    """Whether another process has stopped it, or of a guest deleted it; its own process looks once in a while.

    One that was only taken for dead (a suspended machine) is not stopped: its next sign of life puts that right.
    """
    if charge.is_guest:
        return _state_of(charge) != "running"
    if time.monotonic() < charge.look_at:
        return False
    charge.look_at = time.monotonic() + (LOOK_SECONDS_AFAR if charge.library.is_fed else LOOK_SECONDS)
    try:
        record = charge.library.catalogue.get_experiment(charge.capture.experiment_id)
    except (UnknownExperiment, StoreError):
        return False
    return record.state != "running" and record.ended_by == "user"


def _state_of(charge: Charge) -> str | None:
    """The experiment's state in its catalogue; None where it was deleted."""
    try:
        return charge.library.catalogue.get_experiment(charge.capture.experiment_id).state
    except UnknownExperiment:
        return None
    except StoreError:
        # Nobody knows; a catalogue that is away for a while stops nothing.
        return "running"
