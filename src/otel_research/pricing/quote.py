"""The cost of one batch of rows, in columns and whole numbers.

A price is found once per cell: provider, model, service tier, price interval and prompt-size tier
that occurs. The rows are then placed in their cells by binary search and multiplied column-wise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd

import polars as pl

from otel_research.pricing.bundled import DAY_NS
from otel_research.pricing.rates import KINDS, PER_NANO, Rates
from otel_research.pricing.table import Priced, PriceTable

# Kind of unit -> the column that counts it.
_COUNTS: dict[str, str] = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens",
    "audio_input": "audio_input_tokens",
    "audio_output": "audio_output_tokens",
    "image_input": "image_input_tokens",
    "image_output": "image_output_tokens",
}
_WHO = ("provider", "response_model", "request_model", "service_tier")

READ: dict[str, type[pl.DataType]] = {
    "is_call": pl.Boolean,
    **dict.fromkeys(_WHO, pl.String),
    **dict.fromkeys(_COUNTS.values(), pl.Int64),
    "start_ns": pl.Int64,
    "error_type": pl.String,
}
"""The columns a price depends on."""

QUOTE = pl.Struct({"nano": pl.Int64, "reason": pl.String})
"""What a row gets: nano-dollars, or (where asked for) why there are none."""

_MOST_TOKENS = 10**12
_FLAGS = ("needs_input", "needs_output", "has_output_price", "cached_audio", "cached_image")


def batch(rows: pl.DataFrame, table: PriceTable, at_ns: int | None, explain: bool) -> pl.Series:
    """Quote every row of a frame with the columns `READ`; rows that are not calls get nothing."""
    is_call = rows["is_call"].fill_null(False)
    calls = rows.filter(is_call)
    if at_ns is not None:
        calls = calls.with_columns(start_ns=pl.lit(at_ns, pl.Int64))
    quoted = _quote(calls, table, explain) if len(calls) else pl.DataFrame(schema=QUOTE.to_schema())
    places = is_call.arg_true()
    columns = {}
    for name, dtype in QUOTE.to_schema().items():
        blank = pl.Series(name, [None], dtype=dtype).new_from_index(0, len(rows))
        columns[name] = quoted[name].cast(dtype) if len(calls) == len(rows) else blank.scatter(places, quoted[name])
    return pl.DataFrame(columns).to_struct("__quote")


def _quote(calls: pl.DataFrame, table: PriceTable, explain: bool) -> pl.DataFrame:
    who, models = _models(calls, table)
    edges = _edges(models)
    placed = calls.join(who, on=_WHO, how="left", nulls_equal=True, maintain_order="left")
    placed = placed.with_columns(_cell(placed, *edges).alias("cell"))
    cells = placed.group_by("cell").agg(pl.col("who").first(), pl.col("start_ns", "input_tokens").drop_nulls().first())
    cells = cells.sort("cell")
    found = [_find(models[row[0]], row[1], row[2]) for row in cells.select("who", "start_ns", "input_tokens").rows()]
    index = cells["cell"].search_sorted(placed["cell"])
    return _verdict(placed, found, index, explain)


def _models(calls: pl.DataFrame, table: PriceTable) -> tuple[pl.DataFrame, list[Priced | str]]:
    """A number for every provider, model and tier that calls name, and what the table knows of it."""
    named = calls.select(_WHO).unique()
    models = [table.find(row[0], row[1], row[2], row[3]) for row in named.iter_rows()]
    return named.with_columns(pl.int_range(len(models), dtype=pl.Int64).alias("who")), models


def _edges(models: Iterable[Priced | str]) -> tuple[list[int], list[int], list[int]]:
    """Every instant, time of day and prompt size at which some model's price changes, in order."""
    dates: set[int] = set()
    hours: set[int] = set()
    sizes: set[int] = set()
    for model in models:
        if isinstance(model, Priced):
            for edges, own in zip((dates, hours, sizes), model.changes, strict=True):
                edges.update(own)
    return sorted(dates), sorted(hours), sorted(sizes)


def _cell(rows: pl.DataFrame, dates: list[int], hours: list[int], sizes: list[int]) -> pl.Series:
    """One number per row for who, when, at what time of day and how large: one price for all its rows."""
    cell = rows["who"]
    start = rows["start_ns"].fill_null(0)
    # A tier begins above its size, so the size itself still belongs to the tier below.
    placed = ((start, dates), (start % DAY_NS, hours), (rows["input_tokens"].fill_null(0) - 1, sizes))
    for values, edges in placed:
        if edges:
            place = pl.Series(edges, dtype=pl.Int64).search_sorted(values, side="right")
            cell = cell * (len(edges) + 1) + place.cast(pl.Int64)
    return cell


def _find(model: Priced | str, start_ns: int | None, input_tokens: int | None) -> Rates | str:
    """The rates that all calls of one cell share, or why there are none; any call of it gives the same."""
    if isinstance(model, str):
        return model
    if start_ns is None:
        return "the call has no start time"
    return model.rates(start_ns, input_tokens or 0)


def _verdict(rows: pl.DataFrame, found: list[Rates | str], index: pl.Series, explain: bool) -> pl.DataFrame:
    """Per call the cost in nano-dollars, and where asked for the first reason there is none."""
    known = {kind: column for kind, column in _COUNTS.items() if rows[column].null_count() < len(rows)}
    rates = [entry if isinstance(entry, Rates) else None for entry in found]
    facts = pl.DataFrame(
        {
            "no_rate": pl.Series([entry if isinstance(entry, str) else None for entry in found], dtype=pl.String),
            **{
                flag: pl.Series([rate and _flags(rate)[place] for rate in rates], dtype=pl.Boolean)
                for place, flag in enumerate(_FLAGS)
            },
        }
    )
    rows = rows.with_columns(facts.drop("no_rate")[index].get_columns())
    problems = _problems(known)
    has_rate = pl.Series([rate is not None for rate in rates], dtype=pl.Boolean).gather(index)
    nano = _nano(rows, rates, index, known)
    is_sound = rows.select(~pl.any_horizontal(condition for condition, _ in problems)).to_series()
    nano = pl.select(pl.when(has_rate & is_sound).then(nano)).to_series().alias("nano")
    if not explain:
        return pl.DataFrame([nano, pl.Series("reason", [None], dtype=pl.String).new_from_index(0, len(rows))])
    reason = pl.lit("the cost is too large to be true")
    for condition, text in reversed(problems):
        reason = pl.when(condition).then(pl.lit(text)).otherwise(reason)
    return rows.with_columns(facts["no_rate"].gather(index), nano).select(
        "nano", reason=pl.when(pl.col("nano").is_null()).then(pl.coalesce("no_rate", reason))
    )


def _flags(rates: Rates) -> tuple[bool, ...]:
    """What the rates ask of a call, in the order of `_FLAGS`."""
    needs_output = any(rates.effective(kind) for kind in ("output", "reasoning", "audio_output", "image_output"))
    cached = rates.priced_cached_audio, rates.priced_cached_image
    return not rates.is_flat, needs_output, rates.is_flat or "output" in rates.usd, *cached


def _problems(known: Mapping[str, str]) -> list[tuple[pl.Expr, str]]:
    """What keeps a call from having a computed cost, the first that applies; every condition is true or false."""
    count = {kind: pl.col(column).fill_null(0) if kind in known else pl.lit(0) for kind, column in _COUNTS.items()}
    flag = {name: pl.col(name).fill_null(False) for name in _FLAGS}
    lacks_input = pl.col("input_tokens").is_null() & flag["needs_input"]
    lacks_output = pl.col("output_tokens").is_null() & flag["needs_output"]
    is_unknown = lacks_input | lacks_output
    is_negative = [count[kind] < 0 for kind in known]
    is_huge = [count[kind] > _MOST_TOKENS for kind in known]
    parts_in = count["cache_read"] + count["cache_write"] + count["audio_input"] + count["image_input"]
    parts_out = count["reasoning"] + count["audio_output"] + count["image_output"]
    return [
        (is_unknown & pl.col("error_type").is_not_null(), "the call failed without token counts"),
        (is_unknown, "token counts are unknown"),
        (pl.col("start_ns").is_null(), "the call has no start time"),
        (pl.any_horizontal(pl.lit(False), *is_negative), "a token count is negative"),
        (pl.any_horizontal(pl.lit(False), *is_huge), "a token count is too large to be true"),
        (parts_in > count["input"], "cached, audio and image tokens exceed the input tokens"),
        (count["cache_write_1h"] > count["cache_write"], "tokens cached for an hour exceed the tokens cached"),
        (parts_out > count["output"], "reasoning, audio and image tokens exceed the output tokens"),
        (~flag["has_output_price"] & (count["output"] > 0), "the table has no price for output tokens"),
        (
            flag["cached_audio"] & (count["cache_read"] > 0) & (count["audio_input"] > 0),
            "how many of the cached tokens are audio is unknown",
        ),
        (
            flag["cached_image"] & (count["cache_read"] > 0) & (count["image_input"] > 0),
            "how many of the cached tokens are images is unknown",
        ),
    ]


def _nano(rows: pl.DataFrame, rates: list[Rates | None], index: pl.Series, known: Mapping[str, str]) -> pl.Series:
    """Sum of count times rate in whole numbers, rounded once to nano-dollars, half to even."""
    deltas = [rate.deltas() if rate else dict.fromkeys(KINDS, 0) for rate in rates]
    used = [kind for kind in KINDS if any(delta[kind] for delta in deltas) and (kind in known or kind == "request")]
    # The largest step all rates share: with it the products usually fit 64 bits, which is 8 times faster.
    step = gcd(PER_NANO, *(delta[kind] for delta in deltas for kind in used))
    most = {kind: _MOST_TOKENS if kind != "request" else 1 for kind in used}
    for kind in used:
        if kind in known:
            largest = rows[known[kind]].max()
            most[kind] = min(_MOST_TOKENS, largest) if isinstance(largest, int) else 0
    bound = sum(most[kind] * max(abs(delta[kind]) // step for delta in deltas) for kind in used)
    dtype = pl.Int64 if bound < 2**61 else pl.Int128
    total = pl.zeros(len(rows), dtype=dtype, eager=True)
    for kind in used:
        rate = pl.Series([delta[kind] // step for delta in deltas], dtype=dtype).gather(index)
        total = total + (rate if kind == "request" else rows[known[kind]].fill_null(0).cast(dtype) * rate)
    whole = pl.col("total") // (PER_NANO // step)
    rest = (pl.col("total") - whole * (PER_NANO // step)) * 2
    is_up = (rest > PER_NANO // step) | ((rest == PER_NANO // step) & (whole % 2 == 1))
    rounded = (whole + is_up.cast(dtype)).cast(pl.Int64, strict=False)
    return total.rename("total").to_frame().select(rounded).to_series()
