"""What a run left unsaid that its reader will miss: advice for the next run, never a fault of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLACEHOLDER = re.compile(
    r"[a-z][-_ ]?\d*"
    r"|(?:(?:my|new|the|a|first)[-_ ]?)?"
    r"(?:test|testing|tmp|temp|foo|bar|baz|asdf|untitled|unnamed|experiment|exp|try|trial|run|stuff)"
    r"[-_ ]?(?:v?\d+|final|new|copy)?",
    re.IGNORECASE,
)
"""Names that say nothing of the question, with or without a number: test1, my-experiment, run_2, x."""


def advice(record: Mapping[str, Any], conditions: int) -> Iterator[tuple[str, str]]:
    """(code, sentence) for each thing that an experiment's record lacks.

    A hypothesis and a sample size are missed only where several conditions are compared: a single
    one makes no claim. What was imported was declared by nobody, so nothing is asked of it.

    Args:
        record: the experiment's record as plain data: `name`, `hypothesis`, `sample_size`, `environment`.
        conditions: how many conditions its rows have.
    """
    if (record.get("environment") or {}).get("source") == "import":
        return
    name = record.get("name") or ""
    if _PLACEHOLDER.fullmatch(name.strip()):
        yield "placeholder_name", f"the name {name!r} does not say what was asked; name it after its question"
    if conditions < 2:
        return
    if not record.get("hypothesis"):
        yield "no_hypothesis", "no hypothesis was declared: say before a run what is expected, hypothesis=..."
    if not record.get("sample_size"):
        yield (
            "no_sample_size",
            "no sample size was declared: sample_size=... (`power` plans it), so that n follows no result",
        )
