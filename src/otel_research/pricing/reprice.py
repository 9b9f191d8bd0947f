"""The same calls under two price tables: what changes, and whether the ranking of conditions survives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from otel_research.pricing.cost import instant, price, undated
from otel_research.pricing.table import PriceTable, default
from otel_research.spans.tabular import Tabular


@dataclass(frozen=True, slots=True)
class Repriced:
    """One condition's or model's cost under both tables, in US dollars.

    `before_usd` and `after_usd` are sums over the `compared` calls, those with a price under both
    tables, so that they can be set against each other; None where there is no such call.
    """

    key: str | None
    calls: int
    compared: int
    unpriced_before: int
    unpriced_after: int
    before_usd: float | None
    after_usd: float | None
    change_percent: float | None
    units: int
    before_per_unit_usd: float | None
    after_per_unit_usd: float | None


@dataclass(frozen=True, slots=True)
class Repricing(Tabular):
    """Costs under two tables. Rankings go from the cheapest condition per `unit` to the dearest.

    `ranking_survives` is None, with `reason`, where there is nothing to rank or to compare.
    """

    before: str
    after: str
    unit: str
    total: Repriced
    by_condition: tuple[Repriced, ...]
    by_model: tuple[Repriced, ...]
    ranking_before: tuple[str, ...]
    ranking_after: tuple[str, ...]
    ranking_survives: bool | None
    reason: str | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON data."""
        return asdict(self)

    def to_polars(self) -> pl.DataFrame:
        """One row per total, condition and model; `what` says which."""
        groups = (("total", (self.total,)), ("condition", self.by_condition), ("model", self.by_model))
        return pl.DataFrame([{"what": what, **asdict(row)} for what, rows in groups for row in rows])

    def to_markdown(self) -> str:
        """A table of totals per condition and model, the ranking and the notes."""
        lines = [f"| | calls | {self.before} | {self.after} | change |", "|---|---:|---:|---:|---:|"]
        for row in (*self.by_condition, *self.by_model, self.total):
            change = "unknown" if row.change_percent is None else f"{row.change_percent:+.1f} %"
            name = "total" if row is self.total else row.key or "(none)"
            lines.append(f"| {name} | {row.calls} | {_usd(row.before_usd)} | {_usd(row.after_usd)} | {change} |")
        return "\n".join([*lines, "", self.verdict(), *(f"- {note}" for note in self.notes)])

    def verdict(self) -> str:
        """Does the ranking survive, in one sentence."""
        if self.ranking_survives is None:
            return f"The ranking of conditions cannot be compared: {self.reason}."
        order = " < ".join(self.ranking_before)
        if self.ranking_survives:
            return f"The ranking of conditions by cost per {self.unit} survives: {order}."
        return f"The ranking of conditions by cost per {self.unit} changes: {order} becomes {' < '.join(self.ranking_after)}."


def reprice(
    frame: pl.LazyFrame,
    prices: PriceTable | None = None,
    at: int | date | None = None,
    before: PriceTable | None = None,
) -> Repricing:
    """Price a frame of calls twice: under `before` (the default table) and under `prices`, as of `at`.

    The first pricing always uses each call's own time. Evaluation calls (`aside`) are left out, as
    everywhere in the system's own cost. Conditions are ranked by cost per trial where every call
    of every condition belongs to a trial, else by cost per call.
    """
    old, new = before or default(), prices or default()
    calls = _both(frame, old, new, at)
    by_condition = _rows(calls, "condition")
    unit = "trial" if calls["trial_id"].null_count() == 0 and calls.height else "call"
    if unit == "call":
        by_condition = tuple(_per_call(row) for row in by_condition)
    ranking_before, ranking_after, reason = _rankings(by_condition)
    return Repricing(
        before=old.provenance,
        after=new.provenance + _as_of(at),
        unit=unit,
        total=_rows(calls.with_columns(total=pl.lit(None, pl.String)), "total", always=True)[0],
        by_condition=by_condition,
        by_model=_rows(calls, "model"),
        ranking_before=ranking_before,
        ranking_after=ranking_after,
        ranking_survives=None if reason else ranking_before == ranking_after,
        reason=reason,
        notes=_notes(calls) if at is None else (*_notes(calls), *_undated(frame, new)),
    )


def _both(frame: pl.LazyFrame, old: PriceTable, new: PriceTable, at: int | date | None) -> pl.DataFrame:
    """One row per call of the system proper: who it was, and its cost under either table."""
    present = frame.collect_schema()
    text = {
        name: (pl.col(name) if name in present else pl.lit(None, pl.String)).alias(name)
        for name in ("condition", "trial_id", "aside", "request_model")
    }
    # A reported cost is under neither table: only what both tables compute can be set side by side.
    computed = pl.when(pl.col("cost_source") == "computed").then(pl.col("cost_nano_usd"))
    first = price(frame, old).with_columns(before=computed)
    second = price(first, new, at).with_columns(after=computed)
    return (
        second.filter("is_call" if "aside" not in present else pl.col("is_call") & pl.col("aside").is_null())
        .select(text["condition"], text["trial_id"], text["request_model"].alias("model"), "before", "after")
        .with_columns(both=pl.col("before").is_not_null() & pl.col("after").is_not_null())
        .collect()
    )


def _rows(calls: pl.DataFrame, key: str, always: bool = False) -> tuple[Repriced, ...]:
    sums = [pl.col(name).filter("both").sum().alias(name) for name in ("before", "after")]
    counts = [
        pl.len().alias("calls"),
        pl.col("both").sum().alias("compared"),
        pl.col("before").null_count().alias("unpriced_before"),
        pl.col("after").null_count().alias("unpriced_after"),
        pl.col("trial_id").drop_nulls().n_unique().alias("units"),
    ]
    grouped = calls.group_by(key).agg(*counts, *sums).sort(key, nulls_last=True)
    if always and grouped.is_empty():
        return (Repriced(None, 0, 0, 0, 0, None, None, None, 0, None, None),)
    return tuple(_row(row[key], row) for row in grouped.iter_rows(named=True))


def _row(key: str | None, row: dict[str, Any]) -> Repriced:
    before, after, units, is_known = row["before"], row["after"], row["units"], row["compared"] > 0
    return Repriced(
        key=key,
        calls=row["calls"],
        compared=row["compared"],
        unpriced_before=row["unpriced_before"],
        unpriced_after=row["unpriced_after"],
        before_usd=before / 1e9 if is_known else None,
        after_usd=after / 1e9 if is_known else None,
        change_percent=100 * (after - before) / before if is_known and before else None,
        units=units,
        before_per_unit_usd=before / units / 1e9 if is_known and units else None,
        after_per_unit_usd=after / units / 1e9 if is_known and units else None,
    )


def _per_call(row: Repriced) -> Repriced:
    if row.before_usd is None or row.after_usd is None:
        return replace(row, units=row.calls, before_per_unit_usd=None, after_per_unit_usd=None)
    return replace(
        row,
        units=row.compared,
        before_per_unit_usd=row.before_usd / row.compared,
        after_per_unit_usd=row.after_usd / row.compared,
    )


def _rankings(rows: tuple[Repriced, ...]) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Conditions from cheap to dear under both tables, or why there is no ranking."""
    named = [row for row in rows if row.key is not None]
    if len(named) < 2:
        return (), (), "there are fewer than two conditions"
    blind = [str(row.key) for row in named if row.before_per_unit_usd is None]
    if blind:
        return (), (), f"no call of {', '.join(blind)} is priced under both tables"
    before = tuple(str(row.key) for row in sorted(named, key=lambda row: (row.before_per_unit_usd, row.key)))
    after = tuple(str(row.key) for row in sorted(named, key=lambda row: (row.after_per_unit_usd, row.key)))
    return before, after, None


def _notes(calls: pl.DataFrame) -> tuple[str, ...]:
    notes = []
    for column, other, which in (("before", "after", "first"), ("after", "before", "second")):
        only = calls.filter(pl.col(column).is_null() & pl.col(other).is_not_null()).height
        if only:
            notes.append(
                f"{only} calls have no price under the {which} table only; they are left out of the comparison"
            )
    neither = calls.filter(pl.col("before").is_null() & pl.col("after").is_null()).height
    if neither:
        notes.append(f"{neither} calls have no price under either table")
    return tuple(notes)


def _undated(frame: pl.LazyFrame, prices: PriceTable) -> tuple[str, ...]:
    """A price that has no date is the same at every date, which a comparison over time has to say."""
    found = undated(frame, prices)
    if found.is_empty():
        return ()
    models = ", ".join(str(model) for model in found["model"][:5])
    more = f" and {found.height - 5} more" if found.height > 5 else ""
    return (
        f"{found['calls'].sum()} calls have the same price at every date, because the table dates none: {models}{more}",
    )


def _as_of(at: int | date | None) -> str:
    moment = instant(at)
    return "" if moment is None else f" as of {datetime.fromtimestamp(moment // 10**9, UTC).date().isoformat()}"


def _usd(amount: float | None) -> str:
    return "unpriced" if amount is None else f"{amount:.6f} USD"
