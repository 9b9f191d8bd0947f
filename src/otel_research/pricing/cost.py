"""The cost of every call in a frame: what a caller asks for. The arithmetic is in `quote`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.pricing import quote
from otel_research.pricing.table import Priced, PriceTable, default

_COST_COLUMNS = ("cost_usd", "cost_nano_usd", "cost_source")
_MOST_USD = 9_000_000_000  # what an int64 of nano-dollars can hold


def price(frame: pl.LazyFrame, prices: PriceTable | None = None, at: int | date | None = None) -> pl.LazyFrame:
    """Add `cost_usd`, `cost_nano_usd` and `cost_source` to a frame of calls.

    The cost is computed from the table (`default()` if none is given) at the call's own start, or
    for every call at the instant `at` (nanoseconds since the epoch, a datetime or a date, UTC).
    Where the table or the tokens are unknown, a cost above zero that the instrumentation reported
    is taken instead; where that is missing too, all three are null. For the program's own records
    (role "record") a reported cost comes first: the program said so itself. Evaluation calls set
    aside have a cost, so that they can be reported apart; other rows that are not calls have none.
    Fractions of a nano-dollar are rounded once per call, half to even.
    """
    quoted = _quoted(frame, prices or default(), at)
    reported = _reported(frame)
    computed = pl.col("__quote").struct.field("nano")
    if "role" in frame.collect_schema():
        is_said = pl.col("role").eq_missing("record") & reported.is_not_null()
        computed = pl.when(~is_said).then(computed)
    return (
        quoted.with_columns(
            cost_nano_usd=pl.coalesce(computed, (reported * 1e9).round(0, "half_to_even").cast(pl.Int64)),
            cost_source=pl.when(computed.is_not_null())
            .then(pl.lit("computed"))
            .when(reported.is_not_null())
            .then(pl.lit("reported")),
        )
        .with_columns(cost_usd=_dollars(pl.col("cost_nano_usd")))
        .select(pl.exclude("__quote", *_COST_COLUMNS), *_COST_COLUMNS)
    )


def unpriced(frame: pl.LazyFrame, prices: PriceTable | None = None, at: int | date | None = None) -> pl.DataFrame:
    """The calls no cost can be computed for: provider, model, calls, reason, and how many have a reported cost.

    `model` is the one that answered, else the one that was asked for. Most calls first.
    """
    reason = pl.col("__quote").struct.field("reason")
    return (
        _quoted(frame, prices or default(), at, explain=True)
        .filter(reason.is_not_null())
        .select(
            _text(frame, "provider"),
            pl.coalesce(_text(frame, "response_model"), _text(frame, "request_model")).alias("model"),
            reason.alias("reason"),
            _reported(frame).is_not_null().alias("reported"),
        )
        .group_by("provider", "model", "reason")
        .agg(pl.len().cast(pl.Int64).alias("calls"), pl.col("reported").sum().cast(pl.Int64))
        .select("provider", "model", "calls", "reason", "reported")
        .sort("calls", "provider", "model", "reason", descending=[True, False, False, False])
        .collect()
    )


def gap(frame: pl.LazyFrame, prices: PriceTable | None = None, at: int | date | None = None) -> pl.DataFrame:
    """Computed against reported cost per provider and model, over the calls that have both.

    Columns: provider, model, calls, computed_usd, reported_usd, gap_usd (reported - computed) and
    gap_percent of the computed cost (null where that is zero).
    """
    computed = pl.col("__quote").struct.field("nano")
    both = (
        _quoted(frame, prices or default(), at)
        .select(
            _text(frame, "provider"),
            pl.coalesce(_text(frame, "response_model"), _text(frame, "request_model")).alias("model"),
            computed.alias("computed"),
            (_reported(frame) * 1e9).round(0, "half_to_even").cast(pl.Int64).alias("reported"),
        )
        .drop_nulls(["computed", "reported"])
        .group_by("provider", "model")
        .agg(pl.len().cast(pl.Int64).alias("calls"), pl.col("computed", "reported").sum())
    )
    difference = pl.col("reported") - pl.col("computed")
    return (
        both.select(
            "provider",
            "model",
            "calls",
            computed_usd=_dollars(pl.col("computed")),
            reported_usd=_dollars(pl.col("reported")),
            gap_usd=_dollars(difference),
            gap_percent=pl.when(pl.col("computed") != 0).then(100 * difference / pl.col("computed")),
        )
        .sort("provider", "model")
        .collect()
    )


def undated(frame: pl.LazyFrame, prices: PriceTable | None = None) -> pl.DataFrame:
    """The priced calls whose model has one price for all times in the table: provider, model, calls.

    Their cost is the price of the table's own date, whenever the call was made. Most calls first.
    """
    table = prices or default()
    who = ("provider", "response_model", "request_model", "service_tier")
    counted = (
        price(frame, table)
        .filter(pl.col("cost_source") == "computed")
        .select(_text(frame, name) for name in who)
        .group_by(who)
        .len("calls")
        .collect()
    )
    has_no_date = [_has_no_date(table.find(*row)) for row in counted.select(who).iter_rows()]
    return (
        counted.filter(pl.Series(has_no_date, dtype=pl.Boolean))
        .group_by("provider", pl.coalesce("response_model", "request_model").alias("model"))
        .agg(pl.col("calls").sum().cast(pl.Int64))
        .sort("calls", "provider", "model", descending=[True, False, False])
    )


def _has_no_date(found: Priced | str) -> bool:
    return isinstance(found, Priced) and not found.changes[0]


def instant(at: int | date | None) -> int | None:
    """Nanoseconds since the epoch of an instant given as such, as a datetime or as a date (UTC)."""
    if at is None or isinstance(at, int):
        return at
    moment = at if isinstance(at, datetime) else datetime.combine(at, time())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _dollars(nano: pl.Expr) -> pl.Expr:
    """Nano-dollars as dollars, the same float wherever a row stands.

    Polars divides by a constant with its reciprocal in some places of a column and not in others,
    which differs in the last bit; by a column of that constant it always divides.
    """
    return nano / (nano.is_not_null().cast(pl.Float64) * 1e9)


def _text(frame: pl.LazyFrame, name: str) -> pl.Expr:
    present = name in frame.collect_schema()
    return (pl.col(name) if present else pl.lit(None, pl.String)).alias(name)


def _reported(frame: pl.LazyFrame) -> pl.Expr:
    """The reported cost where it says something: 0 is what instrumentations write for "unknown"."""
    if "reported_cost_usd" not in frame.collect_schema():
        return pl.lit(None, pl.Float64)
    cost = pl.col("reported_cost_usd").cast(pl.Float64)
    return pl.when(_is_priced(frame) & (cost > 0) & (cost < _MOST_USD)).then(cost)


def _is_priced(frame: pl.LazyFrame) -> pl.Expr:
    """Calls, and the evaluation calls that only their being set aside keeps from counting."""
    if "excluded_because" not in frame.collect_schema():
        return pl.col("is_call")
    return pl.col("is_call") | pl.col("excluded_because").eq_missing("aside")


def _quoted(frame: pl.LazyFrame, table: PriceTable, at: int | date | None, explain: bool = False) -> pl.LazyFrame:
    """The frame with `__quote`: the computed cost and, where asked for, why there is none."""
    present = frame.collect_schema()
    if "is_call" not in present:
        raise ConfigurationError(
            "pricing needs the column 'is_call', which is missing from the frame. "
            "Mark the calls first: semconv.calls.mark(frame); exp.spans() has done so."
        )
    inputs = [
        (_input(frame, name).cast(dtype) if name in present else pl.lit(None, dtype)).alias(name)
        for name, dtype in quote.READ.items()
    ]
    at_ns = instant(at)

    def quote_batch(batch: pl.Series) -> pl.Series:
        return quote.batch(batch.struct.unnest(), table, at_ns, explain)

    quoted = pl.struct(inputs).map_batches(quote_batch, return_dtype=quote.QUOTE, is_elementwise=True)
    return frame.with_columns(quoted.alias("__quote"))


def _input(frame: pl.LazyFrame, name: str) -> pl.Expr:
    return _is_priced(frame) if name == "is_call" else pl.col(name)
