"""Times as other tools write them, as nanoseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_FINE = re.compile(r"[.,]\d{6}(\d{1,3})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A time in these units is between 1973 and 2286.
_UNITS = ((10**8, 10**10, 10**9), (10**11, 10**13, 10**6), (10**14, 10**16, 10**3), (10**17, 10**19, 1))


def nanoseconds_of(value: Any) -> int | None:
    """ISO 8601 text (UTC where it names no zone), or a whole number of seconds, milli-, micro- or nanoseconds.

    The unit of a number is told by its size. None where there is no time; raises ValueError for anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        # `datetime` drops what is below a microsecond.
        fine = _FINE.search(value)
        nanos = int(fine[1].ljust(3, "0")) if fine else 0
        return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000 + nanos
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        for low, high, factor in _UNITS:
            if low <= value < high:
                return value * factor
    raise ValueError(f"{value!r} is no time")
