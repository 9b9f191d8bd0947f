"""Changes of a plan after it was declared: notes beside the declaration, which stays as it was.

An amendment changes no number by itself, with one exception: a sample size that was raised withholds p-values until the
larger n is in. One that was lowered does not give them earlier, else looking at the data could buy them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

AMENDMENT = "amendment"
"""Kind of the note: {"kind": "amendment", "changes": {name: [before, now]}, "reason", "trials", "author", "time_ns"}."""


def of(annotations: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The amendments among the notes, in their order; those of a run's plan (topping up) count."""
    return [note for note in annotations if note.get("kind") == AMENDMENT]


def sample_sizes(annotations: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Every sample size that was declared later."""
    for note in of(annotations):
        change = (note.get("changes") or {}).get("sample_size")
        if change and isinstance(change[1], int):
            yield change[1]


def latest(annotations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """{name: value} of what was last said about each part of the plan that was amended."""
    return {name: pair[1] for note in of(annotations) for name, pair in (note.get("changes") or {}).items()}


def sentence(note: Mapping[str, Any]) -> str:
    """One amendment: when, after how many trials, what, why."""
    time_ns, trials = note.get("time_ns"), note.get("trials", note.get("done"))
    when = "" if time_ns is None else f" on {datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M} UTC"
    after = "" if trials is None else f" after {trials:,} trials"
    changes = ", ".join(
        f"{name} {_shown(old)} -> {_shown(new)}" for name, (old, new) in (note.get("changes") or {}).items()
    )
    why = f" ({note['reason']})" if note.get("reason") else ""
    return f"the plan was amended{when}{after}: {changes}{why}"


def _shown(value: Any) -> str:
    return "none" if value in (None, (), [], {}) else str(value)
