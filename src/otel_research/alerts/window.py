"""The last seconds or the last calls, with what they add up to."""

from __future__ import annotations

import re
from collections import OrderedDict

from otel_research.errors import ConfigurationError

Length = str | int
Key = tuple[str, str]
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Window:
    """Values by call, in the order the calls ended; a call that turns out not to count is taken back."""

    def __init__(self, length: Length) -> None:
        self.seconds, self.count = parsed(length)
        self._values: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self.total = 0.0

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: Key, time_ns: int, value: float) -> None:
        """Put a call in, and let go of those that the window has left behind."""
        self.drop(key)
        self._values[key] = (time_ns, value)
        self.total += value
        self.trim(time_ns)

    def drop(self, key: Key) -> bool:
        """Take a call back; whether it was there."""
        found = self._values.pop(key, None)
        if found is not None:
            self.total -= found[1]
        return found is not None

    def trim(self, now_ns: int) -> bool:
        """Let go of what lies too far back; whether anything did."""
        before = len(self._values)
        while self._values and self._is_old(now_ns):
            _, (_, value) = self._values.popitem(last=False)
            self.total -= value
        if not self._values:
            # Sums of floats drift; an empty window is exactly nothing.
            self.total = 0.0
        return len(self._values) != before

    def _is_old(self, now_ns: int) -> bool:
        if self.count is not None:
            return len(self._values) > self.count
        first = next(iter(self._values.values()))[0]
        return self.seconds is not None and now_ns - first > self.seconds * 1e9

    def values(self) -> list[float]:
        """The values, unordered by size."""
        return [value for _, value in self._values.values()]

    def __str__(self) -> str:
        return f"the last {self.count:,} calls" if self.count is not None else f"the last {self.seconds:g} s"


def parsed(length: object) -> tuple[float | None, int | None]:
    """(seconds, None) of "60s", (None, count) of 100; raises `ConfigurationError` for anything else."""
    if isinstance(length, int) and not isinstance(length, bool) and length > 0:
        return None, length
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", length) if isinstance(length, str) else None
    if found is None or float(found[1]) <= 0:
        raise ConfigurationError(
            f'window={length!r} is neither a time such as "60s" nor a number of calls such as 100.'
        )
    return float(found[1]) * _SECONDS[found[2]], None


def quantile(values: list[float], p: float) -> float:
    """Type 7 (linear), as everywhere; of at least one value."""
    ordered = sorted(values)
    place = p * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
