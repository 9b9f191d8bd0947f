"""One thing at a time, also within a thread that is interrupted in the middle of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Turn:
    """A lock that its own thread can take again, and that then says so.

    A signal handler or a `__del__` may end a span while the thread it runs in is inside the block.
    It must not wait for that thread, nor change what is half changed: where the turn `is_nested`
    it leaves its part for `later`, which comes before the block ends, alone again.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._later: deque[Callable[[], None]] = deque()

    @property
    def is_nested(self) -> bool:
        """Inside the block: whether the same thread is in the middle of another one."""
        return self._depth > 1

    def later(self, action: Callable[[], None]) -> None:
        """Do it at the end of the block that was interrupted. It must not raise."""
        self._later.append(action)

    def __enter__(self) -> Turn:
        self._lock.acquire()
        self._depth += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._depth == 1:
                self._catch_up()
            else:
                self._depth -= 1
        finally:
            self._lock.release()

    def _catch_up(self) -> None:
        while True:
            while self._later:
                self._later.popleft()()
            # From here on who interrupts has a turn of its own; before, it left something for us.
            self._depth = 0
            if not self._later:
                return
            self._depth = 1
