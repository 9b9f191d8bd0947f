"""What happens when a frame cannot be written: wait, spill, refuse or raise; always counted."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from otel_research.errors import ConfigurationError, StoreError, StoreFull
from otel_research.journal.frame import END, START
from otel_research.journal.log import Log, LogClosed
from otel_research.journal.opener import NO_ROOM
from otel_research.spans.record import key_of

Overload = Literal["block", "spill", "refuse", "raise"]
POLICIES: tuple[Overload, ...] = ("block", "spill", "refuse", "raise")

WAIT_SECONDS = 30.0
"""How long `block` waits for room; after that it refuses until there is room again."""
_POLL_SECONDS = 0.05

_logger = logging.getLogger("otel_research")


def check_overload(policy: object) -> Overload:
    """The policy, or a clear refusal."""
    if policy in POLICIES:
        return policy
    raise ConfigurationError(f"overload={policy!r} is not a policy: use one of {', '.join(POLICIES)}.")


class Room:
    """What to do with a frame that its log could not take; never raises on a span's way.

    `spill` gives a log elsewhere, made when it is first needed; None where there is no second place.
    """

    def __init__(
        self,
        log: Log,
        policy: Overload,
        *,
        spill: Callable[[], Log] | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.log = log
        self.spilled: Log | None = None
        """The log in the second place, once something went there."""
        self._policy = policy
        self._open_spill = spill
        self._wait_seconds = wait_seconds
        # Protects what is known of the fullness, and the making of the second log.
        self._lock = threading.RLock()
        self._deadline: float | None = None
        """While there is no room: until when threads wait for it."""
        self._appended = 0
        """Ends that the log had taken when it became full: more since then means that there was room again."""
        self._started_there: set[bytes] = set()
        self.announced_at_home = 0
        """Ends that were spilled and whose starts were not."""
        self.failure: OSError | None = None
        """The last error that cost a span; `raise` brings it to the experiment's next call."""
        self._is_closed = False

    def appended(self, kind: int) -> int:
        """Frames of a kind that were stored, in either place."""
        return self.log.appended[kind] + (0 if self.spilled is None else self.spilled.appended[kind])

    def without(self, kind: int, payload: bytes, error: OSError) -> str | None:
        """A frame could not be appended: None where it is stored after all, else the reason why not."""
        if self._policy == "spill" and self._written_elsewhere(kind, payload):
            return None
        deadline, is_first = self._full()
        if self._policy in ("block", "spill") and error.errno in NO_ROOM and self._waited(kind, payload, deadline):
            return None
        self.failure = error
        if is_first:
            _logger.error(
                "otel_research cannot store spans: %s. They are counted as lost until there is room; "
                "free space or choose another store.",
                error,
            )
        return reason_of(error)

    def _full(self) -> tuple[float, bool]:
        """(until when to wait, whether this is news)."""
        with self._lock:
            appended = self.log.appended[END]
            is_first = self._deadline is None or appended > self._appended
            if is_first:
                self._deadline, self._appended = time.monotonic() + self._wait_seconds, appended
            assert self._deadline is not None
            return self._deadline, is_first

    def _waited(self, kind: int, payload: bytes, deadline: float) -> bool:
        """Try again until there is room or the time, which all threads share, is over."""
        while time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            try:
                self.log.append(kind, payload)
            except OSError:
                continue
            return True
        return False

    def _written_elsewhere(self, kind: int, payload: bytes) -> bool:
        try:
            with self._lock:
                if self._is_closed:
                    raise LogClosed
                if self.spilled is None and self._open_spill is not None:
                    spilled = self._open_spill()
                    # The numbers in the payload mean what they mean at home.
                    spilled.adopt(self.log)
                    if self.spilled is None:  # who interrupted us may have been first; ours has no file yet
                        self.spilled = spilled
                    _logger.warning("otel_research: there is no room, so spans go to the second place for a while.")
            if self.spilled is None:
                return False
            self.spilled.catch_up(self.log)
            self.spilled.append(kind, payload)
            self._note_spilled(kind, payload)
        except (OSError, StoreError):
            return False
        return True

    def _note_spilled(self, kind: int, payload: bytes) -> None:
        if kind == START:
            self._started_there.add(key_of(payload))
        elif kind == END:
            try:
                self._started_there.remove(key_of(payload))
            except KeyError:
                with self._lock:
                    self.announced_at_home += 1

    def check(self) -> None:
        """Under `raise`: the experiment's next call of ours tells that a span was lost."""
        failure, self.failure = self.failure, None
        if self._policy == "raise" and failure is not None:
            raise StoreFull(f"a span could not be stored: {failure}. Free space or choose another store.") from failure

    def close(self) -> None:
        """No more frames, in neither place."""
        with self._lock:
            self._is_closed = True
        self.log.close()
        if self.spilled is not None:
            self.spilled.close()

    def after_fork(self) -> None:
        """In the child: nothing is known yet, and the lock may be held by a thread that is gone."""
        self._lock = threading.RLock()
        self._deadline, self._appended = None, 0
        self._started_there, self.announced_at_home = set(), 0
        self.failure = None
        if self.spilled is not None:
            self.spilled.after_fork()


def reason_of(error: OSError) -> str:
    """The reason under which a span is counted as lost."""
    if error.errno in NO_ROOM:
        return "full"
    return "too_large" if error.errno == errno.EMSGSIZE else "write_error"
