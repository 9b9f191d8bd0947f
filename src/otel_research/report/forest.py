"""The forest of a study: every experiment's effect on one outcome, and the pooled one below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_research.report.canvas import WIDTH, Figure, Scale, line, scale_of, text, x_axis
from otel_research.report.values import interval, signed

_NAMES, _RIGHT = 200.0, WIDTH - 24.0
_TOP, _ROW = 24.0, 26.0
_INK = 'style="stroke:var(--ink);stroke-width:1.5"'
_DASHED = 'style="stroke:var(--ink);stroke-dasharray:3 3"'
_FILLED = 'style="fill:var(--ink);stroke:var(--ink)"'  # a path is not filled otherwise


def forest(pooled: Mapping[str, Any], candidate: str, baseline: str) -> Figure:
    """One outcome; from `Pooled` as plain data. The area of a square is the weight of its experiment."""
    rows, prediction = pooled["forest"], pooled["prediction"]
    bounds = [bound for one in (*rows, pooled) for bound in (one["effect"], *_ends(one["ci"]))]
    x = scale_of([0.0, *bounds, *(_ends(prediction) if prediction else ())], _NAMES, _RIGHT - 200)
    last = _TOP + _ROW * len(rows) + 6
    bottom = last + 18 + _ROW * bool(prediction)
    parts = [x_axis(x, 8, bottom, axis_label(pooled, candidate, baseline)), line(x(0), 8, x(0), bottom, _DASHED)]
    for place, row in enumerate(rows):
        parts.append(_experiment(x, _TOP + _ROW * place, row))
    parts += [_names(last, "pooled", pooled["effect"], pooled["ci"]), _diamond(x, last, pooled)]
    if prediction:
        low, high = _ends(prediction)
        parts.append(_names(last + _ROW, "a new experiment", None, prediction))
        parts.append(line(x(low), last + _ROW, x(high), last + _ROW, _DASHED))
    caption = (
        f"Squares: experiments, by area their weight; diamond: pooled; {100 * pooled['ci']['level']:g} % intervals."
        + (" Dashed: where the effect of a new experiment is expected." if prediction else "")
    )
    return Figure(f"Effect on {pooled['outcome']}, by experiment", caption, "".join(parts), bottom + 44)


def axis_label(pooled: Mapping[str, Any], candidate: str, baseline: str) -> str:
    """What the effect is a change of."""
    unit = f"% of {baseline}" if pooled["scale"] == "percent" else "difference"
    return f"{candidate} minus {baseline}, {unit}"


def _ends(found: Mapping[str, Any]) -> tuple[float, float]:
    return found["low"], found["high"]


def _experiment(x: Scale, middle: float, row: Mapping[str, Any]) -> str:
    low, high = _ends(row["ci"])
    half = max(1.5, 8 * row["weight"] ** 0.5)
    ends = "".join(line(x(end), middle - 4, x(end), middle + 4, _INK) for end in (low, high))
    square = (
        f'<rect x="{x(row["effect"]) - half:.1f}" y="{middle - half:.1f}" width="{2 * half:.1f}" '
        f'height="{2 * half:.1f}" style="fill:var(--ink)"/>'
    )
    return (
        _names(middle, row["experiment"], row["effect"], row["ci"])
        + line(x(low), middle, x(high), middle, _INK)
        + ends
        + square
    )


def _diamond(x: Scale, middle: float, pooled: Mapping[str, Any]) -> str:
    low, high = _ends(pooled["ci"])
    points: Sequence[tuple[float, float]] = (
        (x(low), middle),
        (x(pooled["effect"]), middle - 8),
        (x(high), middle),
        (x(pooled["effect"]), middle + 8),
    )
    return f'<path d="M{"L".join(f"{across:.1f},{down:.1f}" for across, down in points)}Z" {_FILLED}/>'


def _names(middle: float, name: str, value: float | None, ci: Mapping[str, Any]) -> str:
    shown = (signed(value) if value is not None else "") + interval(ci)
    return text(_NAMES - 10, middle + 4, name, anchor="end", room=26) + text(
        _RIGHT, middle + 4, shown.strip(), anchor="end", room=34
    )
