"""Blocks for the terminal: the end of a run, metrics, experiments.

Input is plain JSON data (what `--json` prints), so text and JSON cannot disagree. A number
that is not known prints a dash and a footnote with the reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_research.report.metrics import COLOURS, Blocks, metrics_parts, plural
from otel_research.report.values import amount

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from otel_research.experiments import ExperimentRecord


def console() -> Console:
    """Standard output: colour on a terminal, plain text elsewhere; numbers are not highlighted."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def show(block: RenderableType) -> None:
    """Print a block whole: a command to copy is not cut at the terminal's width."""
    console().print(block, crop=False)


def end_of_run(result: Mapping[str, Any]) -> Group:
    """The block at the end of a run, from `ledger, experiment, conditions, comparison, files`."""
    from rich.console import Group

    experiment = result["experiment"]
    parts: list[RenderableType] = [_title(experiment), captured(result["ledger"])]
    if not result["conditions"]:
        return Group(*parts)  # nothing was measured: no number to show, nothing to look at next
    parts += [_sizes(result["conditions"]), "", *metrics_parts(result["conditions"])]
    if result.get("comparison"):
        from otel_research.report.comparison import comparison_block

        parts += ["", comparison_block(result["comparison"])]
    if result.get("check"):
        parts += ["", _check(result["check"])]
    parts += ["", _where(result["files"]), _next(experiment, result["files"])]
    return Group(*parts, *_advice(experiment, result["conditions"]))


def _advice(experiment: Mapping[str, Any], conditions: Blocks) -> Iterable[RenderableType]:
    """What the next run should declare, dimmed and last: nothing where nothing is missing."""
    from otel_research.analysis.practice import advice

    told = [text for _, text in advice(experiment, len(conditions))]
    return ["", _plain("Next time:\n" + "\n".join(f"  {text}" for text in told), "dim")] if told else []


def metrics_block(experiment: Mapping[str, Any], ledger: Mapping[str, Any], blocks: Blocks) -> Group:
    """One column of metrics per group, under what was captured and lost."""
    from rich.console import Group

    return Group(_title(experiment), captured(ledger), *metrics_parts(blocks))


def captured(ledger: Mapping[str, Any]) -> Text:
    """What became of every span: the first thing to know of a run."""
    lost = ledger.get("lost") or {}
    number = sum(lost.values())
    text = _plain(f"captured {ledger['stored']:,} spans · lost ")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(lost.items()))
    text.append(f"{number:,}" + (f" ({reasons})" if reasons else ""), "bold red" if number else "bold green")
    for name in ("interrupted", "filtered", "sampled_out", "duplicates", "late", "open"):
        if ledger.get(name):
            text.append(f" · {ledger[name]:,} {name.replace('_', ' ')}")
    text.append(_observing(ledger.get("overhead") or {}), "dim")
    return text


def _observing(overhead: Mapping[str, Any]) -> str:
    """What observation itself cost, measured in the run; nothing where no span was timed (one in 64 is)."""
    ours, theirs = overhead.get("hooks_us_per_span"), overhead.get("bare_span_us")
    if ours is None or theirs is None:
        return ""
    timed = f"{overhead['spans_timed']:,} {plural('span', overhead['spans_timed'])} timed"
    return f"\nobserving took {ours:.1f} µs a span, beside {theirs:.1f} µs for the span itself ({timed})"


def experiments_table(records: Sequence[ExperimentRecord], url: str) -> Group:
    """One line per experiment of a store."""
    from rich.console import Group
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "state", "started (UTC)", "ran", "tags"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for record in records:
        state = record.state + (" (crash)" if record.ended_by == "crash" else "")
        ran = _seconds(record.started_ns, record.stopped_ns)
        table.add_row(
            record.id[:12], _plain(record.name), state, _moment(record.started_ns), ran, ", ".join(record.tags)
        )
    number = len(records)
    return Group(table, _plain(f"{number:,} experiment{'s' if number != 1 else ''} in {url}", "dim"))


def experiment_block(shown: Mapping[str, Any]) -> Group:
    """What one experiment declared and holds."""
    from rich.console import Group

    experiment = shown["experiment"]
    facts = [
        (name, experiment.get(name)) for name in ("hypothesis", "condition", "tags", "sample_size", "study", "seed")
    ]
    facts += [(name, experiment.get(name)) for name in ("started_at", "stopped_at", "content_hash")]
    facts += [(f"metadata.{name}", value) for name, value in (experiment.get("metadata") or {}).items()]
    facts += list(_environment(experiment.get("environment") or {}))
    table = _grid()
    for name, value in facts:
        if value not in (None, (), [], {}, ""):
            table.add_row(_plain(name, "dim"), _plain(_words(value)))
    parts: list[RenderableType] = [
        _title(experiment),
        captured(shown["ledger"]),
        table,
        "",
        _counts_table(shown["conditions"]),
    ]
    return Group(*parts, "", *_understanding(shown))


def _understanding(shown: Mapping[str, Any]) -> Iterable[Text]:
    """What is to be known before the numbers are quoted: doubts about the spans, prices, calls without one."""
    marks = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "dim")}
    for finding in shown["findings"]:
        mark, style = marks[finding["severity"]]
        yield _plain(f"{mark} {finding['text']}", style)
    if shown["unmapped"]:
        first = ", ".join(list(shown["unmapped"])[:5])
        yield _plain(f"· {len(shown['unmapped'])} attribute keys are in no dialect ({first}); they are kept", "dim")
    for row in shown["unpriced"]:
        calls = f"{row['calls']:,} {plural('call', row['calls'])} of {row['model'] or 'an unnamed model'}"
        yield _plain(f"! unpriced: {calls} ({row['reason']})", "yellow")
    yield _plain(f"prices: {shown['prices']}", "dim")


def _environment(environment: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    git = environment.get("git") or {}
    if git.get("commit"):
        yield "git", f"{git['commit'][:12]}{' with uncommitted changes' if git.get('is_dirty') else ''}"
    yield "python", environment.get("python")
    yield "platform", environment.get("platform")
    yield "command", environment.get("command")
    yield "imported from", ", ".join(str(entry["file"]) for entry in environment.get("imported") or ())


def _counts_table(conditions: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.table import Table

    columns = ("spans", "calls", "trials", "errors", "interrupted")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("condition", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for number, (name, counts) in enumerate(conditions.items()):
        label = _plain(name or "(none)", COLOURS[number % len(COLOURS)])
        table.add_row(label, *(f"{counts[column]:,}" for column in columns))
    return table


def _title(experiment: Mapping[str, Any]) -> Text:
    state = experiment["state"] + (" (crash)" if experiment.get("ended_by") == "crash" else "")
    text = _plain(experiment["name"], "bold")
    text.append(f"  {experiment['id']}  {state}", "dim" if experiment["state"] != "running" else "yellow")
    return text


def _sizes(blocks: Blocks) -> Text:
    sizes = (
        f"{name or 'all'} {amount(block['n'])} {plural(block['unit'], block['n'])}" for name, block in blocks.items()
    )
    return _plain("n: " + " · ".join(sizes))


def _check(check: Mapping[str, Any]) -> Text:
    if check["agrees"]:
        calls = check["calls"]["server"]
        return _plain(f"The server's own count agrees: {calls:,} calls, their failures and every token.", "green")
    wrong = [name for name, pair in check.items() if isinstance(pair, Mapping) and pair["server"] != pair["experiment"]]
    return _plain(f"The server counted something else: {', '.join(wrong)} (see --json, check).", "bold red")


def _where(files: Mapping[str, str]) -> Table:
    table = _grid()
    for name, path in files.items():
        table.add_row(_plain(name, "dim"), _plain(_near(path)))
    return table


def _next(experiment: Mapping[str, Any], files: Mapping[str, str]) -> Text:
    """The three commands one would type next, each in one line, so that it can be copied."""
    store = f" --store {shlex.quote('disk:' + _near(files['store']))}" if files.get("store") else ""
    short = experiment["id"][:12]
    commands = (f"metrics {short} --by condition", f"show {short}", f"export {short} --format parquet")
    text = _plain("Next:\n" + "\n".join(f"  otel-research {command}{store}" for command in commands))
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _near(path: str) -> str:
    """The path as one types it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _grid() -> Table:
    """Two columns, name and value, that fold and never cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    return table


def _plain(text: str, style: str = "") -> Text:
    """Text as it is: a name with brackets in it is no markup."""
    from rich.text import Text

    return Text(str(text), style=style)


def _words(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)


def _moment(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _seconds(start: int, stop: int | None) -> str:
    return "" if stop is None else f"{(stop - start) / 1e9:,.1f} s"


def doctor_block(told: Mapping[str, Any]) -> Group:
    """What `diagnose` found: the findings first, then what it looked at."""
    from rich.console import Group

    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red")}
    lines: list[RenderableType] = []
    for finding in told["findings"]:
        mark, style = marks[finding["severity"]]
        line = _plain(f"{mark} ", style)
        lines.append(line.append(finding["text"], "" if finding["severity"] == "ok" else style))
    facts = {
        "store": told["store"],
        "provider": f"{told['provider']['type']}{' (built by otel-research)' if told['provider']['is_ours'] else ''}",
        "sampler": told["provider"]["sampler"],
        "processors": ", ".join(one["exporter"] or one["type"] for one in told["processors"]),
        "clock": f"{told['clock']['utc']}, resolution {told['clock']['resolution_ns']} ns",
        **told["environment"],
    }
    table = _grid()
    for name, value in facts.items():
        table.add_row(_plain(name, "dim"), _plain(value, "dim"))
    return Group(*lines, "", table)
