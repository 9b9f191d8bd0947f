"""What every analysis returns: a frozen value with the contract that makes it a claim.

A result says what was estimated, in which unit, from how many rows, by which method
and version, at which alpha and seed, under which assumptions, and what to be wary of.
What could not be computed is `None`, and `reasons` says why under the field's path
("latency.p99"). No field is ever NaN or infinite: estimates pass through `finite`.

The same input and seed give the same bytes: `to_json` is deterministic, and
`from_json(to_json())` is the result again.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypedDict

import msgspec
import polars as pl

from otel_research.errors import NotEnoughData, ResearchError
from otel_research.spans.tabular import Tabular

Severity = Literal["info", "warning", "error"]


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An interval of an estimate. A bound that is `None` is open: the interval is one-sided."""

    low: float | None
    high: float | None
    level: float
    method: str

    def turned(self) -> Interval:
        """The interval of the same change counted the other way."""
        return Interval(
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            level=self.level,
            method=self.method,
        )

    def __str__(self) -> str:
        return f"{number(self.low) if self.low is not None else '-∞'} to {number(self.high) if self.high is not None else '∞'}"


class Warn(msgspec.Struct, frozen=True, kw_only=True):
    """Something a reader of the result has to know."""

    code: str
    severity: Severity
    text: str
    value: float | None = None


class Row(TypedDict):
    """One line of a result as a table."""

    field: str
    value: float | None
    text: str | None
    low: float | None
    high: float | None
    reason: str | None


ROW_SCHEMA = pl.Schema(
    {
        "field": pl.String(),
        "value": pl.Float64(),
        "text": pl.String(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "reason": pl.String(),
    }
)


class Result(Tabular, msgspec.Struct, frozen=True, kw_only=True, tag_field="result", tag=True):
    """Base of every result. A subclass adds its own fields; they become its rows."""

    estimand: str
    """What is estimated, in words."""
    unit: str
    """The unit of analysis: "call", "trial", "session", "span" or the expression."""
    n: int
    """Units that entered."""
    n_units: int
    """Independent units: clusters (items) where units repeat, else n."""
    method: str
    """Function and version, e.g. "calculate_metrics/1 (polars 2.1.0)"."""
    alpha: float | None = None
    seed: int | None = None
    n_resamples: int | None = None
    assumptions: tuple[str, ...] = ()
    warnings: tuple[Warn, ...] = ()
    data_hash: str | None = None
    """Fingerprint of the values that entered, independent of their order."""
    reasons: dict[str, str] = {}
    """Path of a field that is None -> why."""

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON data; the key "result" names its kind."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_json(self) -> str:
        """The result as JSON text: the same result gives the same text, in the order in which it is shown."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The result that `to_json` wrote; raises `ResearchError` for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ResearchError(
                f'this is not the JSON of a {cls.__name__}: {exc}. Read it with the class its "result" key names.'
            ) from exc

    def require(self, path: str) -> float:
        """The number at `path` ("latency.p99"); raises `NotEnoughData` with the reason where it is None."""
        node: Any = self.to_dict()
        for part in path.split("."):
            if not isinstance(node, dict) or part not in node:
                raise ResearchError(
                    f"{type(self).__name__} has no field {path!r}. Its fields: {', '.join(self._own())}."
                )
            node = node[part]
        if node is None:
            raise NotEnoughData(f"{path} is not known: {self.reasons.get(path, 'no reason recorded')}.")
        return float(node)

    def rows(self) -> list[Row]:
        """One row per number or text of the result, in the order of its fields."""
        plain = self.to_dict()
        return list(_walk("", {name: plain[name] for name in self._own()}, self.reasons))

    def to_polars(self) -> pl.DataFrame:
        """The rows as a frame: field, value, text, low, high, reason."""
        return pl.DataFrame([dict(row) for row in self.rows()], schema=ROW_SCHEMA)

    def shown(self) -> list[Row]:
        """The rows as people see them; a subclass may leave out what says nothing new."""
        return self.rows()

    def heading(self) -> str:
        """One line: what this is, its unit and its n."""
        clusters = f" in {self.n_units:,} items" if self.n_units != self.n else ""
        return f"{type(self).__name__}: unit {self.unit}, n = {self.n:,}{clusters}"

    def to_markdown(self) -> str:
        """The heading, a table with intervals, and the warnings, as Markdown."""
        lines = [f"**{_cell(self.heading())}**", "", "| field | value | interval |", "|---|---:|---|"]
        lines += [f"| {_cell(row['field'])} | {_cell(_shown(row))} | {_cell(_range(row))} |" for row in self.shown()]
        lines += [""] * bool(self.warnings) + [f"- {w.severity}: {_cell(w.text)}" for w in self.warnings]
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> str:
        """The same for a notebook; every text is escaped."""
        body = "".join(
            f"<tr><td>{html.escape(row['field'])}</td><td style='text-align:right'>{html.escape(_shown(row))}</td>"
            f"<td>{html.escape(_range(row))}</td></tr>"
            for row in self.shown()
        )
        notes = "".join(f"<li>{html.escape(w.severity)}: {html.escape(w.text)}</li>" for w in self.warnings)
        return (
            f"<table><caption>{html.escape(self.heading())}</caption>"
            f"<thead><tr><th>field</th><th>value</th><th>interval</th></tr></thead><tbody>{body}</tbody></table>"
            + (f"<ul>{notes}</ul>" if notes else "")
        )

    def __str__(self) -> str:
        rows = self.shown()
        width = max((len(row["field"]) for row in rows), default=0)
        lines = [self.heading()]
        lines += [f"  {row['field']:<{width}}  {_shown(row):>12}  {_range(row)}".rstrip() for row in rows]
        lines += [f"  {w.severity}: {w.text}" for w in self.warnings]
        return "\n".join(lines)

    def _own(self) -> list[str]:
        return [name for name in self.__struct_fields__ if name not in Result.__struct_fields__]


def finite(value: Any) -> float | None:
    """The value as a float, or None where it is missing, NaN or infinite."""
    if value is None:
        return None
    as_float = float(value)
    return as_float if math.isfinite(as_float) else None


def number(value: float | None) -> str:
    """A number for people: thousands separated, four significant digits."""
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _walk(path: str, node: Mapping[str, Any], reasons: Mapping[str, str]) -> Iterable[Row]:
    intervals = node.get("ci") or {}
    for name, value in node.items():
        here = f"{path}.{name}" if path else name
        if name == "ci" and isinstance(value, Mapping):
            continue
        if isinstance(value, Mapping):
            if set(value) == set(Interval.__struct_fields__):
                yield _row(here, None, value, reasons, str(Interval(**value)))
            else:
                yield from _walk(here, value, reasons)
        else:
            yield _row(here, value, intervals.get(name), reasons)


def _row(path: str, value: Any, interval: Any, reasons: Mapping[str, str], text: str | None = None) -> Row:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if text is None and value is not None and not is_number:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return {
        "field": path,
        "value": finite(value) if is_number else None,
        "text": text,
        "low": interval["low"] if interval else None,
        "high": interval["high"] if interval else None,
        "reason": reasons.get(path),
    }


def _shown(row: Row) -> str:
    if row["value"] is not None:
        return number(row["value"])
    if row["text"] is not None:
        return row["text"]
    return f"– ({row['reason']})" if row["reason"] else "–"


def _range(row: Row) -> str:
    if row["low"] is None and row["high"] is None:
        return ""
    low, high = row["low"], row["high"]
    return f"[{number(low) if low is not None else '-∞'}, {number(high) if high is not None else '∞'}]"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
