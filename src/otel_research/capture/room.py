"""What happens when a frame cannot be written: wait, spill, refuse or raise; always counted."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Literal

from otel_research.errors import ConfigurationError, StoreFull
from otel_research.journal.log import Log

Overload = Literal["block", "spill", "refuse", "raise"]
POLICIES: tuple[Overload, ...] = ("block", "spill", "refuse", "raise")

WAIT_SECONDS = 30.0
"""How long `block` waits for room, once; after that it refuses until there is room again."""
_POLL_SECONDS = 0.05
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.log = log
        self._policy = policy
        self._spill = spill
        self._spilled: Log | None = None
        self._wait_seconds = wait_seconds
        self._sleep = sleep
        self._refused_at: int | None = None
        """Frames appended when the last one was refused: more since then means there was room again."""
        self.failure: OSError | None = None
        """The last error that cost a span; `raise` brings it to the experiment's next call."""

    def without(self, kind: int, payload: bytes, error: OSError | ValueError) -> str | None:
        """A frame could not be appended: None where it is stored after all, else the reason why not."""
        error = _as_os_error(error)
        appended = sum(self.log.appended)
        is_refusing = self._refused_at is not None and appended <= self._refused_at
        if self._policy == "spill" and self._spill is not None and self._written_elsewhere(kind, payload):
            return None
        if self._policy in ("block", "spill") and not is_refusing and self._waited(kind, payload):
            return None
        if not is_refusing:
            _logger.error(
                "otel_research cannot store spans: %s. They are counted as lost until there is room; "
                "free space or choose another store.",
                error,
            )
        self._refused_at = appended
        self.failure = error
        return "full" if error.errno in _NO_ROOM else "write_error"

    def _waited(self, kind: int, payload: bytes) -> bool:
        """Try again until there is room or the time is over; once, then refuse."""
        deadline = time.monotonic() + self._wait_seconds
        while time.monotonic() < deadline:
            self._sleep(_POLL_SECONDS)
            try:
                self.log.append(kind, payload)
            except (OSError, ValueError):
                continue
            return True
        return False

    def _written_elsewhere(self, kind: int, payload: bytes) -> bool:
        try:
            if self._spilled is None and self._spill is not None:
                self._spilled = self._spill()
            if self._spilled is not None:
                self._spilled.append(kind, payload)
                return True
        except (OSError, ValueError):
            pass
        return False

    def check(self) -> None:
        """Under `raise`: the experiment's next call of ours tells that a span was lost."""
        failure, self.failure = self.failure, None
        if self._policy == "raise" and failure is not None:
            raise StoreFull(f"a span could not be stored: {failure}. Free space or choose another store.") from failure


def _as_os_error(error: OSError | ValueError) -> OSError:
    return error if isinstance(error, OSError) else OSError(errno.EIO, str(error))
