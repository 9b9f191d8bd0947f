"""The block of `otel-research selftest`, from its JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from otel_research.report.terminal import captured

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text


def selftest_block(told: Mapping[str, Any]) -> Group:
    """One line per scenario, what went wrong, the ledger of all, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    verdict = Text("Nothing was lost on this machine.", "bold green")
    if not told["ok"]:
        verdict = Text(f"{told['lost']:,} spans were lost; see the lines marked ✗.", "bold red")
    return Group(_table(told["scenarios"]), *_troubles(told["scenarios"]), "", captured(told["ledger"]), verdict)


def _table(scenarios: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("scenario", overflow="fold")
    for name in ("ended", "stored", "lost", "seconds"):
        table.add_column(name, justify="right", overflow="fold")
    for row in scenarios:
        mark = Text("✓", "green") if row["ok"] else Text("✗", "bold red")
        numbers = (f"{row['ended']:,}", f"{row['stored']:,}", f"{row['lost']:,}", f"{row['seconds']:.1f}")
        table.add_row(mark, Text(f"{row['name']}: {row['says']}"), *numbers)
    return table


def _troubles(scenarios: list[dict[str, Any]]) -> Iterator[Text]:
    from rich.text import Text

    for row in scenarios:
        if row["trouble"] is not None:
            yield Text(f"✗ {row['name']}: {row['trouble']}", "bold red")
        if row["ledger"]["lost"]:
            yield Text(f"✗ {row['name']}: counted as lost: {row['ledger']['lost']}", "bold red")
