"""docs/field.md from measured.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "field.md"
ORDER = ("ours", "batch", "phoenix", "phoenix-default", "langfuse", "logfire", "mlflow", "inspect")

Cells = Callable[[Mapping[str, Any]], list[str]]


def page(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/field.md."""
    parts = [f"{_HEAD} {_conditions(measured)}"]
    for name, (title, text, header, cells) in TABLES.items():
        parts += [f"## {title}", f"`nox -s field -- {name}`. {text}"]
        parts.append("\n".join(_table(measured.get(name, {}), header, cells)))
    return "\n\n".join([*parts, _TAIL]) + "\n"


def _conditions(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """On what the figures were measured."""
    rows = [row for table in measured.values() for row in table.values() if "under" in row]
    loads = [row["under"]["load"] for row in rows] or [0]
    days = " and ".join(sorted({row["day"] for row in rows}))
    priorities = " and ".join(sorted({row["under"]["priority"] for row in rows}))
    return (
        f"Measured with Python 3.11 on two cores, at priority {priorities}, on {days}, while other programs used the machine too: "
        f"its load average was {min(loads):.0f} to {max(loads):.0f}."
    )


def _table(rows: Mapping[str, Any], header: tuple[str, ...], cells: Cells) -> Iterable[str]:
    yield f"| | {' | '.join(header)} |"
    yield f"|---|{'---|' * len(header)}"
    for name in ORDER:
        row = rows.get(name)
        if row is not None:
            not_run = row.get("not run")
            shown = [f"not run: {not_run}", *[""] * (len(header) - 1)] if not_run else cells(row)
            yield f"| {row['title']} {row['version']} | {' | '.join(shown)} |"


def _burst(row: Mapping[str, Any]) -> list[str]:
    made, stored = row["made"], row["stored"]
    return [f"{made:,}", f"{stored:,}", _percent(made - stored, made)]


def _kill(row: Mapping[str, Any]) -> list[str]:
    """Inspect tells what is left, and what its own `recover` finds."""
    runs = row["stored"]
    if isinstance(runs[0], dict):
        left, recovered = ([run[which] for run in runs] for which in ("left", "recovered"))
        return [
            f"{row['made']:,}",
            f"{_each(left)}; after `recover` {_each(recovered)}",
            _percent(row["made"] - sum(recovered), row["made"]),
        ]
    return [f"{row['made']:,}", _each(runs), _percent(row["made"] - sum(runs), row["made"])]


def _each(values: list[int]) -> str:
    return ", ".join(f"{value:,}" for value in values)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if part else "0"


def _overhead(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['us']:.0f}", f"{row['bare_us']:.0f}", f"{row['ratio']:.1f}"]


def _frames(row: Mapping[str, Any]) -> list[str]:
    return [row["call"], f"{row['rows']:,}", row["unit"]]


def _cost(row: Mapping[str, Any]) -> list[str]:
    shown = [_known(row[name]) for name in ("priced", "unpriced", "total")]
    return [*shown[:2], shown[2] + (f"; {row['says']}" if row.get("says") else "")]


def _known(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else f"{value:.7f}"


def _statistics(row: Mapping[str, Any]) -> list[str]:
    of_one = ", ".join(f"`{name}`" for name in row["of_one"])
    return [of_one, "; ".join(row["of_two"]) or "none was found in its package"]


_HEAD = """# Beside the field

Other tools are made for other things: operating, tracing, evaluating. This page measures what an experiment needs, with their real
packages, set up as their documentation says, each in an environment of its own. `nox -s field` runs everything and writes this page
from `benchmarks/field/measured.json`; `nox -s "field(tool='mlflow')"` runs one tool; what stands before a table, that table.
How each is set up is one file in `benchmarks/field/tools/`.

A trial is a trace of five spans: its own, and four model calls of 18 GenAI attributes. Senders of OTLP have a backend on loopback
that takes everything (`tests/sink.py`), so a loss is the client's, not a server's; MLflow writes its own SQLite."""

_TAIL = """## What was not run

- **Langfuse's server** is PostgreSQL, ClickHouse, Redis and S3 in containers; **Logfire's** is a service with accounts. What they
  store, price and return was not asked; only their clients were run.
- **Phoenix's and MLflow's servers under load**: the first's client sent to the sink in the tables of loss and overhead, its real server
  answered for frames, cost and statistics; the second was run without its server, on SQLite.
- A column of "none was found" is a reading of the functions that evaluate, not a proof: a notebook can compute any interval from
  the exported scores."""

TABLES: dict[str, tuple[str, str, tuple[str, ...], Cells]] = {
    "burst": (
        "Lost under load",
        "20,000 spans from four threads without a pause; the program ends as the tool says it should. Langfuse leaves plain spans "
        "out, as it says, so 16,000 are for it. How many a queue loses depends on how fast the exporter gets at a core.",
        ("made", "arrived or stored", "lost"),
        _burst,
    ),
    "kill": (
        "Lost at `kill -9`",
        "875, 1,050 and 1,225 spans, a trial every 50 ms; the process kills itself as soon as the last `end()` has returned. The three "
        "lengths meet queues that are emptied every five seconds at different moments. Inspect logs its own 2,520 model calls, and is "
        "killed when the next sample begins: by then those before it have been logged, a milder test.",
        ("made in all", "arrived or stored, run by run", "lost"),
        _kill,
    ),
    "overhead": (
        "CPU per span",
        "Microseconds of the whole process until a span is delivered, flushed every 500 so that no queue is cheap by dropping, beside "
        "a bare SDK span of the same round; medians of seven rounds of 2,000 spans. [What capture costs](cost.md) has ours by setting.",
        ("µs", "bare span, µs", "ratio"),
        _overhead,
    ),
    "frames": (
        "Rows of a data frame",
        "5,000 spans (Inspect: 4,000 model calls in 1,000 samples) are there; the function is called as it is, without a limit. Phoenix's "
        "server takes spans into a queue in memory and writes a hundred at a time: it was waited for until its database had all.",
        ("call", "rows", "what a row is"),
        _frames,
    ),
    "cost": (
        "The cost of a model without a price",
        "One call of `gpt-4o-mini` and one of `house-model-7b`, 412 tokens in and 88 out (Logfire: what its OpenAI instrumentation "
        "writes on the span of a real call). In USD.",
        ("priced call", "unpriced call", "total"),
        _cost,
    ),
    "statistics": (
        "Statistics",
        "60 items, scored 0 or 1 under two conditions, by the tool's own evaluation: what it returns of one condition, and of the difference.",
        ("of one condition", "of the difference"),
        _statistics,
    ),
}
