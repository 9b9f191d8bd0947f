"""An experiment as it runs: in the terminal, in a notebook, or as lines of JSON."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from otel_research.report.values import amount, usd

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

POLL_SECONDS = 1.0
SHOWN = 8
"""Spans, and alerts, that the view lists."""
_HEADINGS = ("span", "condition", "status", "ms", "USD")


def follow(experiment: Any, seconds: float | None, *, everything: bool = True) -> Iterator[dict[str, Any]]:
    """The experiment's events until it is over or `seconds` have gone by; what was there before is in the totals."""
    from otel_research.watching.events import alert, event
    from otel_research.watching.watcher import FULL_SECONDS, Watcher

    told: list[dict[str, Any]] = []
    watcher = Watcher(experiment, in_background=False)
    watcher.subscribe(told.append)
    # Alerts are read from the experiment's record, whoever evaluates the rules.
    noted, full_at, spans = 0, float("-inf"), -1
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    yield event("metrics_update", experiment.id, watcher.now())
    while True:
        # The state first: what ended before it changed is then read before we leave.
        state = experiment.library.catalogue.get_experiment(experiment.id).state
        watcher.catch_up()
        yield from told
        told.clear()
        notes = experiment.annotations()
        yield from (event("alert", experiment.id, alert(note)) for note in notes[noted:] if note.get("kind") == "alert")
        noted = len(notes)
        now = watcher.now()
        is_last = state != "running" or time.monotonic() > deadline
        if everything and now["total_spans"] != spans and (is_last or time.monotonic() - full_at > FULL_SECONDS):
            full_at, spans = time.monotonic(), now["total_spans"]
            yield event("full_metrics", experiment.id, experiment.metrics(ci=False).to_dict())
        if is_last:
            yield event("state", experiment.id, {"state": state})
            return
        time.sleep(POLL_SECONDS)


class Rule(Protocol):
    """When to stop watching."""

    def look(self, spans: int, *, is_last: bool = False) -> dict[str, Any] | None:
        """What a look at so many spans says, with `stop`; None where there is none to take."""


def until(events: Iterator[dict[str, Any]], rule: Rule | None) -> Iterator[dict[str, Any]]:
    """The events, and the looks of a rule among them; over when it says so."""
    from otel_research.watching.events import event

    spans = 0
    for told in events:
        spans = told["data"]["total_spans"] if told["event"] == "metrics_update" else spans
        found = None
        if rule is not None and told["event"] in ("metrics_update", "state"):
            found = rule.look(spans, is_last=told["event"] == "state")
        if found is not None:
            yield event("look", told["experiment_id"], found)
        yield told
        if found is not None and found["stop"]:
            return


def lines(experiment: Any, say: Callable[[str], Any], *, seconds: float | None, rule: Rule | None = None) -> None:
    """Every event as one line of JSON; until the rule stops it, where there is one."""
    with suppress(KeyboardInterrupt):
        for event in until(follow(experiment, seconds), rule):
            say(json.dumps(event, ensure_ascii=False, allow_nan=False))


class View:
    """What the last events amount to."""

    def __init__(self, name: str, id: str, state: str) -> None:
        self.name, self.id, self.state = name, id, state
        self.rolling: Mapping[str, Any] = {}
        self.full: Mapping[str, Any] = {}
        self.spans: list[Mapping[str, Any]] = []
        self.alerts: list[Mapping[str, Any]] = []
        self.look: Mapping[str, Any] | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        data = event["data"]
        if event["event"] == "span":
            self.spans = [data, *self.spans][:SHOWN]
        elif event["event"] == "alert":
            self.alerts = [data, *self.alerts][:SHOWN]
        elif event["event"] == "metrics_update":
            self.rolling = data
        elif event["event"] == "full_metrics":
            self.full = data
        elif event["event"] == "look":
            self.look = data
        elif event["event"] == "state":
            self.state = data["state"]

    def facts(self) -> list[tuple[str, str]]:
        """The numbers as people read them."""
        now, latency = self.rolling, self.full.get("latency") or {}
        failures = self.full.get("reliability") or {}
        unpriced = f" + {now['unpriced']:,} unpriced" if now.get("unpriced") else ""
        rate = now.get("error_rate")
        types = ", ".join(f"{kind} {number:,}" for kind, number in (failures.get("error_types") or {}).items())
        looks = [] if self.look is None else [(f"look {self.look['look']}", _look(self.look))]
        return [
            ("captured", f"{now.get('total_spans', 0):,} spans, {now.get('total_calls', 0):,} calls"),
            ("latency", " · ".join(f"{name} {_ms(latency.get(name))}" for name in ("p50", "p95", "p99"))),
            (f"last {now.get('recent_count', 0)} calls", f"{_ms(now.get('average_latency_ms'))} on average"),
            (
                "error rate",
                ("–" if rate is None else f"{100 * rate:.3g} %") + (f"   all failures: {types}" if types else ""),
            ),
            ("cost", ("–" if now.get("total_cost_usd") is None else f"{usd(now['total_cost_usd'])} USD") + unpriced),
            ("tokens", "–" if now.get("total_tokens") is None else f"{now['total_tokens']:,}"),
            *looks,
        ]

    def block(self) -> Group:
        """For the terminal."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        title = Text(self.name, style="bold")
        title.append(f"  {self.id}  ", "dim")
        title.append(self.state, "green" if self.state == "running" else "dim")
        numbers = Table.grid(padding=(0, 3))
        for name, value in self.facts():
            numbers.add_row(Text(name, style="dim"), Text(value))
        spans = Table(box=None, pad_edge=False, header_style="dim", expand=False)
        for heading, side in (
            *((heading, "left") for heading in _HEADINGS[:3]),
            *((heading, "right") for heading in _HEADINGS[3:]),
        ):
            spans.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis", max_width=48)  # type: ignore[arg-type]
        for span in self.spans:
            name, condition, status, took, cost = map(_plain, _line(span))
            is_bad = span["error_type"] or span["status"] == "error"
            spans.add_row(Text(name), Text(condition), Text(status, style="red" if is_bad else "dim"), took, cost)
        told = [
            Text(
                f"{'✓' if one['state'] == 'resolved' else '!'} {_plain(one['text'])}",
                style="green" if one["state"] == "resolved" else "bold red",
            )
            for one in self.alerts
        ]
        parts: list[RenderableType] = [title, numbers, *told]
        if self.spans:
            parts += ["", spans]
        return Group(*parts)

    def __repr__(self) -> str:
        """Where a notebook is shown without HTML."""
        return "\n".join(
            [f"{self.name}  {self.id}  {self.state}", *(f"{name}: {value}" for name, value in self.facts())]
        )

    def _repr_html_(self) -> str:
        caption = f"<b>{html.escape(self.name)}</b> {html.escape(self.id)} ({html.escape(self.state)})"
        told = "".join(f"<li>{html.escape(one['text'])} ({html.escape(one['state'])})</li>" for one in self.alerts)
        latest = _rows("th", [_HEADINGS]) + _rows("td", map(_line, self.spans)) if self.spans else ""
        return "".join(
            (
                f"<div>{caption}</div><table><tbody>{_rows('td', self.facts())}</tbody></table>",
                f"<ul>{told}</ul>" if told else "",
                f"<table><tbody>{latest}</tbody></table>" if latest else "",
            )
        )


def _rows(kind: str, rows: Iterable[Sequence[str]]) -> str:
    return "".join(
        f"<tr>{''.join(f'<{kind}>{html.escape(_plain(cell))}</{kind}>' for cell in row)}</tr>" for row in rows
    )


def _line(span: Mapping[str, Any]) -> tuple[str, ...]:
    """A span as the view lists it, under `_HEADINGS`."""
    cost = span["cost_usd"]
    status = span["error_type"] or span["status"]
    return span["name"], span["condition"] or "", status, amount(span["duration_ms"]), "" if cost is None else usd(cost)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{amount(value)} ms"


def _look(told: Mapping[str, Any]) -> str:
    """A look in one line: what was found so far, and whether it is enough."""
    percent = told["improvement_pct"]
    value, unit = (told["gain"], "") if percent is None else (percent, f" {told['unit']}")
    share = "" if told["fraction"] is None else f" of the declared n: {100 * told['fraction']:.0f} %"
    sides = f"{_plain(told['candidate'])} against {_plain(told['baseline'])}"
    found = f"{value:+.3g}{unit} [{amount(told['low'])}, {amount(told['high'])}]"
    return f"{told['verdict']}: {told['outcome']} {found}, {sides}, n {told['n']:,}{share}"


def live(experiment: Any, *, seconds: float | None = None, rule: Rule | None = None) -> None:
    """Show the experiment until it is over, or the rule stops it; in a notebook the output is replaced, elsewhere the terminal's lines."""
    view = View(experiment.name, experiment.id, experiment.record.state)
    show, close = _notebook(view) or _terminal()
    with suppress(KeyboardInterrupt):
        shown_at = float("-inf")
        for event in until(follow(experiment, seconds), rule):
            view.take(event)
            if time.monotonic() - shown_at > 0.25 or event["event"] in ("state", "look"):
                show(view)
                shown_at = time.monotonic()
    close(view)


def _notebook(view: View) -> tuple[Callable[[View], Any], Callable[[View], Any]] | None:
    """How to show a view in a Jupyter notebook; None outside of one."""
    import sys

    shell = sys.modules.get("IPython")
    ipython = None if shell is None else shell.get_ipython()
    if ipython is None or not hasattr(ipython, "kernel"):
        return None
    handle = shell.display.display(view, display_id=True)  # type: ignore[union-attr]
    return handle.update, handle.update


def _terminal() -> tuple[Callable[[View], Any], Callable[[View], Any]]:
    """In a terminal the block is drawn over itself; elsewhere only the last one is printed."""
    from otel_research.report.terminal import console

    out = console()
    if not out.is_terminal:
        return (lambda view: None), (lambda view: out.print(view.block()))
    from rich.live import Live

    screen = Live(console=out, auto_refresh=False)
    screen.start()

    def close(view: View) -> None:
        screen.update(view.block(), refresh=True)
        screen.stop()

    return (lambda view: screen.update(view.block(), refresh=True)), close


def _plain(text: str) -> str:
    """Without what would move the terminal's cursor or turn the line round."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
