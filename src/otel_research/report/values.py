"""Numbers as people read them: with interval, with their reason where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


class Footnotes:
    """What has to be said of a number, numbered in the order it is met; the same text has one number."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a footnote."""
        if text not in self._texts:
            self._texts.append(text)
        return _mark(self._texts.index(text))

    def dash(self, reason: str) -> str:
        """A dash with the mark of its reason."""
        return "–" + self.mark(reason)

    def lines(self) -> list[str]:
        """The footnotes themselves."""
        return [f"{_mark(number)} {text}" for number, text in enumerate(self._texts)]


def _mark(number: int) -> str:
    return _MARKS[number] if number < len(_MARKS) else f"[{number + 1}]"


def amount(value: float | None) -> str:
    """A number with four significant digits, thousands separated; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def estimate(block: Mapping[str, Any], section: str, field: str, notes: Footnotes, scale: float = 1.0) -> str:
    """A field of a section with its interval; a dash with its reason where it is None."""
    part = block.get(section) or {}
    value = part.get(field)
    if value is None:
        return notes.dash(f"{section} {field}: {reason(block, section, field)}")
    rough = ""
    if (part.get("reliable") or {}).get(field) is False:
        rough = notes.mark(f"rough: {field} needs {amount(part['n_required'][field])} values to have an interval")
    return amount(value * scale) + rough + interval((part.get("ci") or {}).get(field), scale)


def share(block: Mapping[str, Any], section: str, field: str, notes: Footnotes) -> str:
    """The same in percent."""
    text = estimate(block, section, field, notes, 100.0)
    return text if text.startswith("–") else f"{text} %"


def cost(block: Mapping[str, Any], notes: Footnotes) -> str:
    """Total cost; what has no price is named, because unpriced is not free."""
    part = block.get("cost") or {}
    total, unpriced = part.get("total_usd"), part.get("unpriced")
    text = notes.dash(f"cost total_usd: {reason(block, 'cost', 'total_usd')}") if total is None else f"{usd(total)} USD"
    return text + (f" + {unpriced:,} unpriced" if unpriced else "")


def usd(value: float) -> str:
    """Dollars with at least four digits behind the point that mean something."""
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.3g}"


def reason(block: Mapping[str, Any], section: str, field: str) -> str:
    """Why a field is None: its own reason, or the section's."""
    reasons = block.get("reasons") or {}
    return str(reasons.get(f"{section}.{field}") or reasons.get(section) or "not known")


def interval(found: Mapping[str, Any] | None, scale: float = 1.0) -> str:
    """An interval behind its estimate; an open bound is infinite; a negative scale turns it round; "" for none."""
    if not found:
        return ""
    low, high = found.get("low"), found.get("high")
    if scale < 0:
        low, high = high, low
    shown = [
        amount(low * scale) if low is not None else "-∞",
        amount(high * scale) if high is not None else "∞",
    ]
    return f" [{shown[0]}, {shown[1]}]"


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{amount(abs(value))}"
