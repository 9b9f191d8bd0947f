"""Drawing by hand: a figure, its axes and its marks, as SVG text without a library.

Colours that carry no condition are CSS variables, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_research.report.files import write_whole
from otel_research.report.metrics import COLOURS
from otel_research.report.values import amount

WIDTH = 720
_LIGHT = "--paper:#ffffff;--ink:#1b2330;--faint:#59626f;--grid:#e2e6eb"
_DARK = "--paper:#14181e;--ink:#e8ebf0;--faint:#a3acb9;--grid:#2b323c"
THEME = (
    f":root{{color-scheme:light dark;{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"@media print{{:root{{color-scheme:light;{_LIGHT}}}}}"
)
"""Ink, paper and grid for both themes; paper is printed light."""
MARKS = (
    ".otr text{font:12px system-ui,sans-serif;fill:var(--ink)}.otr .faint{fill:var(--faint)}"
    ".otr .axis{stroke:var(--faint)}.otr .grid{stroke:var(--grid)}.otr line,.otr path{fill:none}"
)
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def escaped(text: object) -> str:
    """Text for SVG and HTML: no markup, and no character that XML forbids."""
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(text)), quote=True)


@dataclass(frozen=True)
class Figure:
    """A drawing with its title and what a reader has to know of it; a notebook shows it as it is."""

    title: str
    caption: str
    body: str
    """The SVG elements."""
    height: float

    def svg(self, *, alone: bool = True) -> str:
        """The SVG element; `alone` brings its own colours and paper, as a file or a notebook's cell needs."""
        style = f"<style>{THEME.replace(':root', 'svg.otr')}{MARKS}</style>" if alone else ""
        paper = '<rect width="100%" height="100%" style="fill:var(--paper)"/>' if alone else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="otr" role="img" viewBox="0 0 {WIDTH} {self.height:g}" '
            f'width="{WIDTH}" height="{self.height:g}"><title>{escaped(self.title)}</title>'
            f"<desc>{escaped(self.caption)}</desc>{style}{paper}{self.body}</svg>"
        )

    def save(self, path: str | Path) -> Path:
        """Write the drawing as an SVG file; the path."""
        return write_whole(path, self.svg() + "\n", (".svg",))

    def _repr_svg_(self) -> str:
        return self.svg()


@dataclass(frozen=True)
class Scale:
    """From values to places on the paper."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, at = (math.log10(one) if self.is_log else one for one in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values inside, about five of them."""
        if self.is_log:
            found = self._decades((1, 2, 5))
            return found if len(found) <= 8 else self._decades((1,))
        raw = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(step * k, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _decades(self, factors: Sequence[int]) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = [factor * 10.0**power for power in powers for factor in factors]
        return [one for one in every if self.low * 0.999 <= one <= self.high * 1.001]


def scale_of(values: Iterable[float], start: float, end: float, *, from_zero: bool = False) -> Scale:
    """A scale over the values: logarithmic where they span more than a factor of 30 above zero."""
    known = list(values)
    low, high = min(known), max(known)
    if low > 0 and high / low > 30 and not from_zero:
        return Scale(low * 0.9, high * 1.1, start, end, is_log=True)
    low = 0.0 if from_zero or 0 < low < high / 4 else low
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return Scale(low if low == 0 else low - room, high + room, start, end)


def colour(number: int) -> str:
    """The colour of the condition at this place."""
    return COLOURS[number % len(COLOURS)]


def stroke(number: int) -> str:
    """The line of a condition: a colour, and a dash where the colours come round again."""
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    return f'stroke="{colour(number)}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")


def text(x: float, y: float, words: object, *, anchor: str = "start", kind: str = "ink", room: int = 0) -> str:
    """Words on the paper; with `room`, only so many characters are shown, the whole on pointing at them."""
    whole = str(words)
    shown = whole if not room or len(whole) <= room else whole[: room - 1] + "…"
    tip = f"<title>{escaped(whole)}</title>" if shown != whole else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{tip}{escaped(shown)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str = 'class="axis"') -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def x_axis(scale: Scale, top: float, bottom: float, label: str) -> str:
    """Ticks, grid and label below a drawing."""
    parts = [line(scale(tick), top, scale(tick), bottom, 'class="grid"') for tick in scale.ticks()]
    parts += [text(scale(tick), bottom + 16, amount(tick), anchor="middle", kind="faint") for tick in scale.ticks()]
    middle = (scale.start + scale.end) / 2
    return "".join(
        [
            *parts,
            line(scale.start, bottom, scale.end, bottom),
            text(middle, bottom + 34, label, anchor="middle", kind="faint"),
        ]
    )


def y_axis(scale: Scale, left: float, right: float, label: str) -> str:
    """Ticks, grid and label beside a drawing."""
    parts = [line(left, scale(tick), right, scale(tick), 'class="grid"') for tick in scale.ticks()]
    parts += [text(left - 8, scale(tick) + 4, amount(tick), anchor="end", kind="faint") for tick in scale.ticks()]
    return "".join([*parts, line(left, scale.start, left, scale.end), text(left, scale.end - 10, label, kind="faint")])


def legend(names: Sequence[str], y: float, left: float) -> tuple[str, float]:
    """A key of the conditions, in rows, and the height it took."""
    parts, x, down = [], left, y
    for number, name in enumerate(names):
        width = 40 + 7 * min(len(name or "all"), 30)
        if x + width > WIDTH and x > left:
            x, down = left, down + 18
        parts += [
            line(x, down - 4, x + 18, down - 4, stroke(number)),
            text(x + 24, down, name or "all", room=30),
        ]
        x += width
    return "".join(parts), down - y + 18
