"""The figures of a report, each from plain data: condition -> numbers. Colour means condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_research.report.canvas import (
    WIDTH,
    Figure,
    Scale,
    colour,
    legend,
    line,
    scale_of,
    stroke,
    text,
    x_axis,
    y_axis,
)
from otel_research.report.comparison import place_of, unit_of
from otel_research.report.metrics import Blocks, plural
from otel_research.report.values import amount, interval, usd

_LEFT, _RIGHT, _NAMES = 70.0, WIDTH - 24.0, 200.0
_PERCENTILES = ("p50", "p95", "p99")
_SHADES = (1.0, 0.65, 0.4, 0.25)


def nothing(title: str, why: str) -> Figure:
    """A figure that cannot be drawn says why."""
    return Figure(title, why, text(_LEFT, 24, f"not drawn: {why}", kind="faint", room=100), 40)


def latency(
    steps: Mapping[str, Sequence[tuple[float, float]]],
    counts: Mapping[str, int],
    unit: str,
    censored: int,
    unknown: int,
) -> Figure:
    """Empirical distribution: condition -> (milliseconds, share of units at or below), in rising order."""
    title = f"Latency: share of {plural(unit, 2)} at or below"
    values = [ms for points in steps.values() for ms, _ in points]
    if not values:
        return nothing(title, f"no {unit} has a known latency")
    key, taken = legend(list(steps), 16, _LEFT)
    top, bottom = 32 + taken, 270 + taken
    x, y = scale_of(values, _LEFT, _RIGHT), Scale(0.0, 1.0, bottom, top)
    parts = [key, x_axis(x, top, bottom, "latency, ms" + (" (logarithmic)" if x.is_log else ""))]
    parts.append(y_axis(y, _LEFT, _RIGHT, ""))
    for number, points in enumerate(steps.values()):
        if points:
            parts.append(f'<path d="{_stairs(points, x, y)}" {stroke(number)}/>')
    shown = ", ".join(f"{name or 'all'} {amount(n)}" for name, n in counts.items())
    thinned = [name or "all" for name, points in steps.items() if len(points) < counts[name]]
    note = f" Drawn at {max(map(len, steps.values()))} ranks: {', '.join(thinned)}." if thinned else ""
    if censored:
        note += f" {amount(censored)} timeouts stand at the time they were given up."
    if unknown:
        note += f" {amount(unknown)} without a known latency (interrupted ones among them) are not in it."
    return Figure(title, f"Empirical distribution function; n: {shown}.{note}", "".join(parts), bottom + 44)


def _stairs(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    first = points[0]
    path = [f"M{x(first[0]):.1f},{y(0):.1f}V{y(first[1]):.1f}"]
    path += [f"H{x(ms):.1f}V{y(share):.1f}" for ms, share in points[1:]]
    return "".join([*path, f"H{x.end:.1f}"])


def percentiles(blocks: Blocks) -> Figure:
    """Percentiles of latency as bars with their intervals; one that is rough is hollow."""
    title = "Latency percentiles with their intervals"
    rows = [
        (number, name, wanted, (block.get("latency") or {}).get(wanted), block)
        for wanted in _PERCENTILES
        for number, (name, block) in enumerate(blocks.items())
    ]
    known = [value for *_, value, _ in rows if value is not None]
    if not known:
        return nothing(title, "no latency is known")
    bounds = [b for _, _, wanted, _, block in rows for b in _bounds(block, wanted) if b is not None]
    x = scale_of([0.0, *known, *bounds], _NAMES, _RIGHT - 190, from_zero=True)
    bottom = 14.0 + 22 * len(rows) + 10 * len(_PERCENTILES)
    parts = [x_axis(x, 8, bottom, "latency, ms")]
    for place, (number, name, wanted, value, block) in enumerate(rows):
        middle = 22.0 + 22 * place + 10 * (place // len(blocks))
        parts.append(text(_NAMES - 10, middle + 4, f"{wanted}  {_short(name)}", anchor="end"))
        parts.append(_bar(x, middle, number, wanted, value, block))
    level = _level(blocks)
    return Figure(title, f"Whiskers: {level}. Hollow: too few units for an interval.", "".join(parts), bottom + 44)


def _bar(x: Scale, middle: float, number: int, wanted: str, value: float | None, block: Mapping[str, Any]) -> str:
    if value is None:
        return text(x.start + 6, middle + 4, "not known", kind="faint")
    is_rough = ((block.get("latency") or {}).get("reliable") or {}).get(wanted) is False
    fill = f'fill="none" stroke="{colour(number)}"' if is_rough else f'fill="{colour(number)}"'
    parts = [f'<rect x="{x(0):.1f}" y="{middle - 7:.1f}" width="{x(value) - x(0):.1f}" height="14" {fill}/>']
    low, high = _bounds(block, wanted)
    if low is not None and high is not None:
        parts.append(_whisker(x(low), x(high), middle))
    found = ((block.get("latency") or {}).get("ci") or {}).get(wanted)
    parts.append(
        text(_RIGHT, middle + 4, amount(value) + (interval(found) or (" (rough)" if is_rough else "")), anchor="end")
    )
    return "".join(parts)


def _bounds(block: Mapping[str, Any], wanted: str) -> tuple[float | None, float | None]:
    found = ((block.get("latency") or {}).get("ci") or {}).get(wanted) or {}
    return found.get("low"), found.get("high")


def _level(blocks: Blocks) -> str:
    for block in blocks.values():
        for found in ((block.get("latency") or {}).get("ci") or {}).values():
            return f"{100 * found['level']:g} % interval"
    return "none, too few units"


def _whisker(left: float, right: float, y: float) -> str:
    ink = 'style="stroke:var(--ink);stroke-width:1.5"'
    ends = "".join(line(at, y - 4, at, y + 4, ink) for at in (left, right))
    return line(left, y, right, y, ink) + ends


def effects(comparison: Mapping[str, Any]) -> Figure:
    """Forest of effects: improvement of every outcome with its interval; right of zero is better."""
    title = "Effect on each outcome"
    found = sorted(comparison["effects"].items(), key=lambda pair: place_of(pair[0], comparison["headline"]))
    rows = [(name, e) for name, e in found if e["improvement_pct"] is not None]
    if not rows:
        return nothing(title, "no outcome has a change in percent that could be computed")
    ends = [b for _, e in rows for b in (e["improvement_pct"], *_ends(e)) if b is not None]
    x = scale_of([0.0, *ends], _NAMES, _RIGHT - 190)
    bottom = 16.0 + 26 * len(rows)
    parts = [x_axis(x, 8, bottom, "improvement, % (rates: points); right of zero is better")]
    parts.append(line(x(0), 8, x(0), bottom, 'style="stroke:var(--ink);stroke-dasharray:3 3"'))
    for place, (name, effect) in enumerate(rows):
        parts.append(_effect(x, 24.0 + 26 * place, name, effect))
    missing = [name for name, e in found if e["improvement_pct"] is None]
    caption = f"Improvement of {comparison['candidate']} over {comparison['baseline']}, interval of its own estimand."
    return Figure(
        title,
        caption + (f" No change in percent: {', '.join(missing)}." if missing else ""),
        "".join(parts),
        bottom + 44,
    )


def _ends(effect: Mapping[str, Any]) -> tuple[float | None, float | None]:
    found = effect["improvement_ci"] or {}
    return found.get("low"), found.get("high")


def _effect(x: Scale, middle: float, name: str, effect: Mapping[str, Any]) -> str:
    value, (low, high) = effect["improvement_pct"], _ends(effect)
    parts = [text(_NAMES - 10, middle + 4, name, anchor="end", room=26)]
    if effect["improvement_ci"]:
        # An open bound runs to the edge, without an end mark.
        left, right = x.start if low is None else x(low), x.end if high is None else x(high)
        ink = 'style="stroke:var(--ink);stroke-width:1.5"'
        parts.append(line(left, middle, right, middle, ink))
        parts += [line(x(end), middle - 4, x(end), middle + 4, ink) for end in (low, high) if end is not None]
    parts.append(f'<rect x="{x(value) - 5:.1f}" y="{middle - 5:.1f}" width="10" height="10" style="fill:var(--ink)"/>')
    unit = unit_of(effect)
    shown = f"{value:{'+' if value else ''}.3g} {unit}{interval(effect['improvement_ci'])}"
    return "".join([*parts, text(_RIGHT, middle + 4, shown, anchor="end", room=34)])


def cost(blocks: Blocks) -> Figure:
    """Total cost per condition, stacked by model; what has no price is named beside the bar."""
    title = "Cost by model, USD"
    stacks = {name: _models(block) for name, block in blocks.items()}
    totals = {name: sum(models.values()) for name, models in stacks.items()}
    if not any(totals.values()):
        return nothing(title, "no call has a known price")
    x = scale_of([0.0, *totals.values()], _NAMES, _RIGHT - 190, from_zero=True)
    parts, down = [], 12.0
    for number, (name, models) in enumerate(stacks.items()):
        parts.append(_stack(x, down, number, models))
        parts.append(text(_NAMES - 10, down + 15, _short(name), anchor="end"))
        unpriced = (blocks[name].get("cost") or {}).get("unpriced")
        words = usd(totals[name]) if totals[name] else "not known"
        parts.append(text(_RIGHT, down + 15, words + (f" + {unpriced:,} unpriced" if unpriced else ""), anchor="end"))
        ranked = sorted(models, key=lambda model: -models[model])
        shown = " · ".join(f"{model} {usd(models[model])}" for model in ranked)
        parts.append(text(_NAMES, down + 36, shown, kind="faint", room=76))
        down += 50
    axis = x_axis(x, 8, down, "USD")
    return Figure(
        title, "Darkest: the dearest model of the condition. Unpriced is not free.", axis + "".join(parts), down + 44
    )


def _models(block: Mapping[str, Any]) -> dict[str, float]:
    found = (block.get("cost") or {}).get("by_model") or {}
    return {model: value for model, value in found.items() if isinstance(value, (int, float)) and value > 0}


def _stack(x: Scale, top: float, number: int, models: Mapping[str, float]) -> str:
    parts, at = [], 0.0
    for place, model in enumerate(sorted(models, key=lambda name: -models[name])):
        shade = _SHADES[min(place, len(_SHADES) - 1)]
        parts.append(
            f'<rect x="{x(at):.1f}" y="{top:.1f}" width="{x(at + models[model]) - x(at):.1f}" height="20" '
            f'fill="{colour(number)}" fill-opacity="{shade}" style="stroke:var(--paper)"/>'
        )
        at += models[model]
    return "".join(parts)


def timeline(points: Mapping[str, Sequence[tuple[float, float, bool]]], counts: Mapping[str, int], unit: str) -> Figure:
    """When each unit ran and how long it took: condition -> (seconds since the first, ms, has failed)."""
    title = f"The run: every {unit} by its start"
    every = [point for some in points.values() for point in some]
    if not every:
        return nothing(title, f"no {unit} has a known latency")
    key, taken = legend(list(points), 16, _LEFT)
    top, bottom = 40 + taken, 270 + taken
    last = max(seconds for seconds, _, _ in every) or 1.0
    x = Scale(0.0, last * 1.02, _LEFT, _RIGHT)
    y = scale_of([ms for _, ms, _ in every], bottom, top)
    label = "latency, ms" + (" (logarithmic)" if y.is_log else "")
    parts = [key, x_axis(x, top, bottom, "seconds since the first start"), y_axis(y, _LEFT, _RIGHT, label)]
    for number, some in enumerate(points.values()):
        parts += [_point(x(seconds), y(ms), number, failed) for seconds, ms, failed in some]
    shown, whole = len(every), sum(counts.values())
    note = f" {amount(shown)} of {amount(whole)} are drawn, evenly by rank of start." if shown < whole else ""
    return Figure(title, f"Crosses failed. No smoothing; gaps are gaps.{note}", "".join(parts), bottom + 44)


def _point(x: float, y: float, number: int, failed: bool) -> str:
    if failed:
        return f'<path d="M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6" stroke="{colour(number)}" stroke-width="1.5"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour(number)}" fill-opacity="0.85"/>'


def _short(name: str) -> str:
    whole = name or "all"
    return whole if len(whole) <= 20 else whole[:19] + "…"
