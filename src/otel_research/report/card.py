"""An experiment, or a part of one, as a small table for a notebook; every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from otel_research.experiments import ExperimentRecord


def experiment(record: ExperimentRecord, ledger: Any) -> str:
    """What was declared, how it stands, and what became of its spans."""
    facts = {
        "id": record.id,
        "state": record.state if record.ended_by in (None, "user") else f"{record.state} (by a {record.ended_by})",
        "hypothesis": record.hypothesis,
        "tags": ", ".join(record.tags),
        "sample size": record.sample_size,
        "spans": str(ledger),
    }
    return table(record.name, {name: value for name, value in facts.items() if value})


def table(caption: str, facts: Mapping[str, object]) -> str:
    """Names and values below a caption."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><caption>{html.escape(caption)}</caption><tbody>{rows}</tbody></table>"
