"""The comparison of two conditions in the terminal: effect with interval and n, test, effect size, verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otel_research.report.values import Footnotes, amount, interval, signed

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_STYLES = {"better": "bold green", "equivalent": "green", "worse": "bold red", "invalid": "bold red"}
_ORDER = ("latency", "ttft", "cost", "tokens", "success_rate")
_ON_MEANS = ("welch", "paired_t", "clustered_welch")
"""The test of the difference in means, by design."""


def comparison_block(comparison: Mapping[str, Any]) -> Group:
    """Verdict, what was found of each outcome, failed checks. Input is `Comparison.to_dict()`."""
    from rich.console import Group
    from rich.text import Text

    notes = Footnotes()
    parts: list[RenderableType] = [_verdict(comparison), _outcomes(comparison, notes)]
    parts += [Text(f"  {line}", style="dim") for line in notes.lines()]
    failed = [check for check in comparison["checks"] if not check["passed"]]
    parts += [Text(f"  ! {check['text']}", style="red" if check["severity"] == "error" else "") for check in failed]
    parts += [Text(f"  {line}", style="dim") for line in footing(comparison)]
    parts += [part for other in comparison["others"] for part in ("", comparison_block(other))]
    return Group(*parts)


def _verdict(comparison: Mapping[str, Any]) -> Text:
    from rich.text import Text

    candidate, baseline = labels_of(comparison["candidate"], comparison["baseline"])
    text = Text(f"{candidate} against {baseline}: ", style="bold")
    text.append(comparison["verdict"].upper(), _STYLES.get(comparison["verdict"], "yellow"))
    return text.append(f"  (by {comparison['headline']}; unit {comparison['unit']})", "not bold")


def labels_of(*labels: str) -> tuple[str, ...]:
    """The conditions alone, where both sides are conditions of one experiment."""
    found = [re.fullmatch(r"(.*) \[condition=(.*)\]", label) for label in labels]
    owners = {match[1] for match in found if match}
    is_one = len(owners) == 1 and all(found)
    return tuple(match[2] for match in found if match) if is_one else labels


def _outcomes(comparison: Mapping[str, Any], notes: Footnotes) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, effect in sorted(
        comparison["effects"].items(), key=lambda pair: place_of(pair[0], comparison["headline"])
    ):
        found = Text("\n".join(effect_lines(name, effect, comparison.get("reasons") or {}, notes)))
        table.add_row(Text(name), Text(effect["verdict"], style=_STYLES.get(effect["verdict"], "yellow")), found)
    return table


def place_of(name: str, headline: str) -> tuple[int, str]:
    """The headline first, the built-in outcomes in their order, then the others by name."""
    return (-1 if name == headline else _ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def effect_lines(name: str, effect: Mapping[str, Any], reasons: Mapping[str, str], notes: Footnotes) -> Iterable[str]:
    """The estimand with its own test, then the mean with the test and the effect size that belong to it."""
    main, mean = effect["main"], effect["mean"]
    unit = "" if effect["unit"] == "1" else f" {effect['unit']}"
    test = _p(name, effect["test"], reasons, notes)
    size = _size(effect["effect_size"])
    n = f"n {' / '.join(amount(one) for one in effect['n'])}"
    # Where there is no percent the change itself says how far.
    improvement = "" if effect["improvement_pct"] is None else improvement_of(effect)
    if main["baseline"] == mean["baseline"] and main["candidate"] == mean["candidate"]:
        yield _joined(f"{effect['estimand']} {_change(main, unit)}", improvement, test, size, n)
        return
    yield _joined(f"{effect['estimand']} {_change(main, unit)}", improvement, test, n)
    raw = next((effect["tests"][key] for key in _ON_MEANS if key in effect["tests"]), None)
    yield _joined(f"mean {_change(mean, unit)}", _p(name, raw, reasons, notes) if raw else "", size)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _change(change: Mapping[str, Any], unit: str) -> str:
    text = f"{amount(change['baseline'])} → {amount(change['candidate'])}{unit}"
    found = (change.get("ci") or {}).get("difference")
    if change["difference"] is None or found is None:
        return text
    return f"{text}, difference {signed(change['difference'])}{interval(found)}"


def improvement_of(effect: Mapping[str, Any]) -> str:
    """How much better or worse, with its interval: in percent, else in the own unit; "" where it could not be computed."""
    value, unit, ci, sign = effect["improvement_pct"], unit_of(effect), effect["improvement_ci"], 1
    if value is None:
        sign = 1 if effect["direction"] == "higher" else -1
        value, ci = effect["main"]["difference"], effect["main"]["ci"].get("difference")
        unit = "" if effect["unit"] == "1" else effect["unit"]
    if value is None:
        return ""
    unit = unit and f" {unit}"
    if not value:
        return f"no change{unit and f' ({unit.strip()})'}" + interval(ci)
    # The interval counts in the direction that the word names: "12 % worse [8, 16]".
    word = "better" if sign * value > 0 else "worse"
    return f"{abs(value):.3g}{unit} {word}{interval(ci, 1 if value > 0 else -1)}"


def unit_of(effect: Mapping[str, Any]) -> str:
    """Of `improvement_pct`: a rate changes by percentage points; "percent of a percentage" misleads."""
    return "points" if effect["estimand"] == "rate" else "%"


def _size(found: Mapping[str, Any]) -> str:
    """Cohen's d of means, or h of rates."""
    if found["cohens_d"] is not None:
        return f"d {signed(found['cohens_d'])}"
    return f"h {signed(found['cohens_h'])}" if found["cohens_h"] is not None else ""


def _p(name: str, test: Mapping[str, Any], reasons: Mapping[str, str], notes: Footnotes) -> str:
    p = test["p_adjusted"] if test["p_adjusted"] is not None else test["p_value"]
    if p is None:
        return f"p {notes.dash(f'{name} p: {_why(reasons, name)}')}"
    return f"p {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'} ({test['name'].replace('_', ' ')})"


def _why(reasons: Mapping[str, str], name: str) -> str:
    """Why an outcome has no p-value: its test's reason, the outcome's, or that of the whole comparison."""
    paths = (f"effects.{name}.test", f"effects.{name}", "statistical_test")
    found = [text for path in paths for key, text in sorted(reasons.items()) if key.startswith(path)]
    return found[0] if found else "not known"


def footing(comparison: Mapping[str, Any]) -> Iterable[str]:
    """Level and correction, and what this n could have found."""
    alpha = comparison["alpha"]
    level = amount(100 * (1 - alpha)) if alpha is not None else "95"
    yield f"intervals {level} %; p of the outcomes corrected by {comparison['correction']}"
    mde = comparison.get("minimum_detectable_effect")
    if mde is not None:
        yield f"smallest change of {comparison['headline']} that this n finds with 80 % power: {mde:.3g} %"
