"""A disk that has refused to make something durable: left alone for longer each time."""

from __future__ import annotations

import time

_LONGEST_PAUSE = 60.0
"""Seconds between two attempts to sync on a disk that refuses."""


class Doubt:
    """Whether what is in the current segment may be on no disk, and when to try again."""

    def __init__(self) -> None:
        self._failures = 0
        self._next_try = 0.0

    def __bool__(self) -> bool:
        return self._failures > 0

    @property
    def is_fresh(self) -> bool:
        """Whether it is too early for another attempt."""
        return bool(self) and time.monotonic() < self._next_try

    def grow(self) -> None:
        """Another attempt failed."""
        self._failures += 1
        self._next_try = time.monotonic() + min(2.0**self._failures, _LONGEST_PAUSE)

    def end(self) -> None:
        """An attempt succeeded."""
        self._failures = 0
