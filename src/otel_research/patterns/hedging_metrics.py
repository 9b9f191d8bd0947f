"""What an experiment says about its hedged requests: how often, how useful, how dear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_research.patterns.tree import attribute, costs, flag, number, rate, read

if TYPE_CHECKING:
    import polars as pl


class HedgingMetrics:
    """A metric calculator over the spans of `Hedge`.

    Pass it to `start_experiment(custom_metrics=[HedgingMetrics()])`, or call `calculate`.
    """

    name = "hedging"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        """Counts, rates (0 to 1), milliseconds and US dollars; None where it cannot be computed.

        `hedge_rate` is the share of requests that sent a hedge, `win_rate` the share of
        those that a hedge answered. `latency_saved_ms` is the mean per request, see
        `latency_saved_method`. `extra_cost_usd` sums the priced calls of losing attempts;
        a cancelled call reports no usage, so it counts in `extra_unpriced_calls` instead.
        """
        import polars as pl

        mine, calls = read(spans, ["hedging.request", "hedging.primary", "hedging.hedge"])
        requests = _requests(mine)
        attempts = _attempts(mine, requests, costs(calls))
        fired = requests.filter(pl.col("fired"))
        saved, method = latency_saved(requests, attempts)
        return {
            "requests": requests.height,
            "hedged": fired.height,
            "hedge_rate": rate(fired.height, requests.height),
            "won": int(fired["won"].sum()),
            "win_rate": rate(int(fired["won"].sum()), fired.height),
            "hedges": int((attempts["number"] > 0).sum()),
            "cancelled": int((attempts["outcome"] == "cancelled").sum()),
            "failed_attempts": int((attempts["outcome"] == "failed").sum()),
            "strategies": sorted(requests["strategy"].drop_nulls().unique().to_list()),
            "mean_delay_ms": requests["delay_ms"].mean(),
            "latency_saved_ms": saved,
            "latency_saved_method": method,
            **_extra(attempts, requests.height),
        }


def _requests(mine: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return mine.filter(pl.col("name") == "hedging.request").select(
        "trace_id",
        pl.col("span_id").alias("request"),
        flag("hedging.fired").fill_null(False).alias("fired"),
        flag("hedging.won").fill_null(False).alias("won"),
        attribute("hedging.strategy").alias("strategy"),
        number("hedging.delay_ms").alias("delay_ms"),
        number("hedging.winner").alias("winner"),
        ((pl.col("end_ns") - pl.col("start_ns")) / 1e6).alias("request_ms"),
    )


def _attempts(mine: pl.DataFrame, requests: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    attempts = mine.filter(pl.col("name") != "hedging.request").select(
        "trace_id",
        "span_id",
        pl.col("parent_span_id").alias("request"),
        number("hedging.attempt").alias("number"),
        attribute("hedging.outcome").alias("outcome"),
        ((pl.col("end_ns") - pl.col("start_ns")) / 1e6).alias("ms"),
    )
    return attempts.join(requests.select("trace_id", "request", "winner"), on=["trace_id", "request"], how="left").join(
        priced, left_on=["trace_id", "span_id"], right_on=["trace_id", "owner"], how="left"
    )


def _extra(attempts: pl.DataFrame, requests: int) -> dict[str, Any]:
    """What hedging cost: the attempts whose answer was not used, where another one's was."""
    import polars as pl

    losers = attempts.filter(pl.col("winner").is_not_null() & (pl.col("number") != pl.col("winner")))
    calls, unpriced = int(losers["calls"].sum()), int(losers["unpriced"].sum())
    sent = int((attempts["number"] > 0).sum())
    return {
        "extra_requests_per_request": rate(sent, requests),
        "extra_cost_usd": float(losers["priced_usd"].sum()) if calls > unpriced else (None if calls else 0.0),
        "extra_calls": calls,
        "extra_unpriced_calls": unpriced,
    }


def latency_saved(requests: pl.DataFrame, attempts: pl.DataFrame) -> tuple[float | None, str]:
    """Mean latency saved per request (ms) and how it is known.

    "observed": every first attempt ran to its end, so what it would have taken is known.
    "kaplan_meier_lower_bound": some were cancelled, that is right-censored. What they would
    have taken is estimated from all attempts (Kaplan and Meier 1958) up to the longest one
    seen to its end, and requests are cut there too; what lies beyond is not counted.
    "not_identified": every attempt that outlasted the delay was cancelled, so the spans
    do not tell; `Hedge(cancel_losers=False)` lets them finish.
    """
    import polars as pl

    answered = requests.filter(pl.col("winner").is_not_null())
    if answered.is_empty():
        return None, "no_answered_requests"
    first = attempts.filter(pl.col("number") == 0).join(answered, on=["trace_id", "request"])
    ended = first.filter(pl.col("outcome") == "answered")
    if ended.height == first.height:
        return _mean((ended["ms"] - ended["request_ms"]).clip(lower_bound=0)), "observed"
    usable = attempts.filter(pl.col("outcome").is_in(["answered", "cancelled"]) & pl.col("ms").is_not_null())
    is_complete = usable["outcome"] == "answered"
    horizon = _float(usable.filter(is_complete)["ms"].max())
    without = restricted_mean(usable["ms"].to_list(), is_complete.to_list())
    with_hedges = _mean(answered["request_ms"].clip(upper_bound=horizon))
    is_known = horizon is not None and horizon > (_float(answered["delay_ms"].min()) or 0.0)
    if not is_known or without is None or with_hedges is None:
        return None, "not_identified"
    return without - with_hedges, "kaplan_meier_lower_bound"


def _mean(values: pl.Series) -> float | None:
    return _float(values.mean())


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def restricted_mean(durations: list[float], is_complete: list[bool]) -> float | None:
    """Area under the Kaplan-Meier survival curve up to the longest complete duration.

    Complete durations at a time are counted before those cut off at the same time.
    """
    ordered = sorted(zip(durations, (not complete for complete in is_complete), strict=True))
    if all(is_cut for _, is_cut in ordered):
        return None
    at_risk, survival, area, since = len(ordered), 1.0, 0.0, 0.0
    for duration, is_cut in ordered:
        if not is_cut:
            area += survival * (duration - since)
            since = duration
            survival *= 1 - 1 / at_risk
        at_risk -= 1
    return area
