"""Metrics as a table in the terminal: one column per condition (or group), one line per number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otel_research.report.values import Footnotes, amount, cost, estimate, interval, share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Blocks = Mapping[str, Mapping[str, Any]]
"""Condition (or group) -> `Metrics.to_dict()`."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colour means condition, the same in dashboard, report and terminal (Okabe and Ito: safe for the colour-blind)."""

Line = tuple[str, list[str]]
"""A label and one cell per block."""


def metrics_parts(blocks: Blocks) -> list[RenderableType]:
    """The table, its footnotes and the results' own warnings."""
    from rich.text import Text

    notes = Footnotes()
    parts: list[RenderableType] = [_table(blocks, notes)]
    parts += [Text(f"  {line}", style="dim") for line in notes.lines()]
    parts += [Text(f"  ! {text}") for text in warnings_of(blocks)]
    return parts


def plural(unit: str, n: int) -> str:
    """The unit's word for n of it; an expression stays as it is."""
    return unit + "s" if unit in ("call", "trial", "session", "span", "item") and n != 1 else unit


def warnings_of(blocks: Blocks) -> list[str]:
    """Each warning with the groups it is about, where there are several."""
    groups: dict[str, list[str]] = {}
    for name, block in blocks.items():
        for warn in block.get("warnings", ()):
            groups.setdefault(warn["text"], []).append(name or "all")
    return [f"{', '.join(names)}: {text}" if len(blocks) > 1 else text for text, names in groups.items()]


def _table(blocks: Blocks, notes: Footnotes) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for number, name in enumerate(blocks):
        table.add_column(Text(name or "all", style=COLOURS[number % len(COLOURS)]), overflow="fold")
    for label, cells in metric_lines(list(blocks.values()), notes):
        table.add_row(Text(label), *(Text(cell) for cell in cells))
    return table


def metric_lines(blocks: list[Mapping[str, Any]], notes: Footnotes) -> Iterable[Line]:
    """Every line; a section that no block has is left out."""

    def line(label: str, section: str, cell: Any) -> Iterable[Line]:
        if any(block.get(section) is not None for block in blocks):
            yield label, [cell(block) if block.get(section) is not None else "off" for block in blocks]

    yield "n", [f"{amount(block['n'])} {plural(block['unit'], block['n'])}{_clusters(block)}" for block in blocks]
    for name in ("p50", "p95", "p99", "mean"):
        yield from line(f"latency {name}, ms", "latency", lambda b, n=name: estimate(b, "latency", n, notes))
    if any((block.get("ttft") or {}).get("count") for block in blocks):
        yield from line("first token p50, ms", "ttft", lambda b: estimate(b, "ttft", "p50", notes))
    yield from line("success rate", "reliability", lambda b: share(b, "reliability", "success_rate", notes))
    yield from line("cost", "cost", lambda b: cost(b, notes))
    per = blocks[0]["unit"] if blocks else "unit"
    yield from line(f"cost per {per}, USD", "cost", lambda b: estimate(b, "cost", "per_request_mean", notes))
    yield from line("tokens in / out", "tokens", lambda b: _tokens(b, notes))
    for name in sorted({name for block in blocks for name in block.get("custom") or {}}):
        yield name, [_custom(block, name, notes) for block in blocks]


def _tokens(block: Mapping[str, Any], notes: Footnotes) -> str:
    return f"{estimate(block, 'tokens', 'total_input', notes)} / {estimate(block, 'tokens', 'total_output', notes)}"


def _custom(block: Mapping[str, Any], name: str, notes: Footnotes) -> str:
    """A measured value by its mean and n; what a calculator gave by its numbers."""
    value = (block.get("custom") or {}).get(name)
    if not isinstance(value, Mapping):
        return amount(value) if isinstance(value, (int, float)) else notes.dash(f"{name}: {_why(block, name)}")
    if value.get("mean") is None:
        return _numbers(value) or notes.dash(f"{name}: {_why(block, name)}")
    low_high = interval((block.get("custom_ci") or {}).get(name))
    n = "" if value.get("count") is None else f" (n {amount(value['count'])})"
    return f"mean {amount(value['mean'])}{low_high}{n}"


def _numbers(value: Mapping[str, Any]) -> str:
    """Rates and amounts of a calculator; its counts only where it gives nothing else."""
    given = {key: one for key, one in value.items() if isinstance(one, (int, float)) and not isinstance(one, bool)}
    chosen = {key: one for key, one in given.items() if isinstance(one, float)}
    if not chosen and None not in value.values():
        chosen = given
    return "\n".join(f"{key} {amount(one)}" for key, one in chosen.items())


def _why(block: Mapping[str, Any], name: str) -> str:
    """The reason of a custom metric, or the first of its fields'."""
    path = f"custom.{name}"
    found = [
        text for key, text in sorted((block.get("reasons") or {}).items()) if key == path or key.startswith(path + ".")
    ]
    return found[0] if found else "not measured in this group"


def _clusters(block: Mapping[str, Any]) -> str:
    return f" of {amount(block['n_units'])} items" if block.get("n_units") not in (None, block["n"]) else ""
