"""Runs the aggregations that the sections need, and hands each group its raw numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from otel_research.analysis import engine, fingerprint, sections
from otel_research.analysis.engine import Frame, Key
from otel_research.analysis.stats import survival, weighted
from otel_research.analysis.units import AMOUNTS, Tables

_MARKED = ("start_ns", "latency_ms", "weight", "is_failed", "cost_nano_usd", "input_tokens", "output_tokens")
_READ = (
    "item_id", "latency_ms", "ttft_ms", "weight", "is_failed", "is_interrupted", "is_censored", "is_wasted", "error", "model",
    *AMOUNTS, fingerprint.LOW, fingerprint.HIGH,
)  # fmt: skip
"""What some expression reads: the rest is not sent to an engine."""
_AVERAGED = ("input_tokens", "output_tokens")
_NO_TIME = "no unit has a usable duration"
_NO_TTFT = {"call": "no time to first token was recorded", "span": "no time to first token was recorded"}


@dataclass
class Draft:
    """One group's sections while they are put together."""

    n: int
    n_units: int
    data_hash: str
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    aside: dict[str, sections.Aside] = field(default_factory=dict)
    is_weighted: bool = False
    unweighted: int = 0
    """Rows whose weight is unknown: a yes/no sampling strategy hid it."""


def drafts(table: Tables, on: dict[str, bool]) -> dict[Key, Draft]:
    """Every group's sections, without intervals; with no group key the one key is ()."""
    # Once: sending the rows to a cluster costs more than summing them there.
    units = _sent(table, fingerprint.with_marks(table.units, _MARKED))
    # Together, because each grouping of the rows costs as much as several sums of them.
    heads = engine.aggregate(units, table.keys, _head_spec() | _outcome_spec())
    found = {key: _head(raw) for key, raw in heads.items()}
    none = table.reason or ""
    for name, column in (("latency", "latency_ms"), ("ttft", "ttft_ms")):
        if on[name]:
            _samples(found, table, units, heads, name, column, none)
    if on["reliability"]:
        _reliability(found, table, heads, none)
    if on["cost"] or on["tokens"]:
        _amounts(found, table, units, on, none)
    _asides(found, table)
    return found


def _sent(table: Tables, frame: pl.DataFrame) -> Frame:
    """The columns that are read, where they are aggregated."""
    narrow = frame.select(*table.keys, *(name for name in _READ if name in frame.columns))
    return engine.apart(narrow, table.keys) if table.engine is None else table.on_engine(narrow)


def _head_spec() -> dict[str, nw.Expr]:
    return {
        "n": nw.len(),
        "items": nw.col("item_id").n_unique(),
        "unknown_items": nw.col("item_id").is_null().cast(nw.Int64).sum(),
        "low": nw.col(fingerprint.LOW).sum(),
        "high": nw.col(fingerprint.HIGH).sum(),
        "weight_min": nw.col("weight").min(),
        "weight_max": nw.col("weight").max(),
        "unweighted": nw.col("weight").is_null().cast(nw.Int64).sum(),
    }


def _head(raw: dict[str, Any]) -> Draft:
    n, unknown = int(raw["n"]), int(raw["unknown_items"] or 0)
    return Draft(
        n=n,
        n_units=n if unknown else int(raw["items"] or 0),
        data_hash=fingerprint.digest(n, raw["low"], raw["high"]),
        is_weighted=bool(raw["weight_max"] is not None and (raw["weight_min"] != 1 or raw["weight_max"] != 1)),
        unweighted=int(raw["unweighted"] or 0),
    )


def _samples(
    found: dict[Key, Draft],
    table: Tables,
    units: Frame,
    heads: dict[Key, dict[str, Any]],
    name: str,
    column: str,
    none: str,
) -> None:
    described = engine.describe(units, table.keys, column)
    why = none or (
        _NO_TIME if name == "latency" else _NO_TTFT.get(table.unit, f"a {table.unit} has none: use unit='call'")
    )
    for key, draft in found.items():
        raw = described[key]
        cut = int(heads[key]["censored"] or 0) if name == "latency" else 0
        if raw["count"] and (cut or raw["weight_min"] != raw["weight_max"]):
            raw |= _one_by_one(rows_of(table.units, table.keys, key), column, cut)
        draft.parts[name] = sections.sample(raw, cut, name, why, draft.reasons)


def _one_by_one(rows: pl.DataFrame, column: str, cut: int) -> dict[str, Any]:
    """Numbers that need the values themselves: under unequal weights, and with timeouts."""
    known = rows.filter(pl.col(column).is_not_null())
    values, weights = known[column].to_numpy(), known["weight"].fill_null(1.0).to_numpy()
    numbers = weighted.describe(values, weights, engine.QUANTILES)
    if cut:
        probs = engine.QUANTILES | {"q1": 0.25, "q3": 0.75}
        points = survival.kaplan_meier_quantiles(values, ~known["is_censored"].to_numpy(), probs.values(), weights)
        numbers |= dict(zip(probs, points, strict=True))
    return numbers


def _outcome_spec() -> dict[str, nw.Expr]:
    weight = nw.col("weight").fill_null(1.0)
    return {
        "censored": nw.when(~nw.col("latency_ms").is_null()).then(nw.col("is_censored").cast(nw.Int64)).sum(),
        "total": weight.sum(),
        "failures": (nw.col("is_failed").cast(nw.Int64) * weight).sum(),
        "interrupted": engine.count("is_interrupted"),
        "weighted_interrupted": (nw.col("is_interrupted").cast(nw.Int64) * weight).sum(),
        "busy_ms": engine.exact("latency_ms", 1e6),
        "n_timed": nw.col("latency_ms").count(),
    }


def _reliability(found: dict[Key, Draft], table: Tables, heads: dict[Key, dict[str, Any]], none: str) -> None:
    for key, raw in heads.items():
        found[key].parts["reliability"] = sections.reliability(raw, none, found[key].reasons) | {"error_types": {}}
    failed = table.units.filter(pl.col("is_failed"))
    stands_for = {"n": nw.col("weight").fill_null(1.0).sum()}
    counted = engine.aggregate(_sent(table, failed), [*table.keys, "error"], stands_for)
    for (*head, error), raw in sorted(counted.items(), key=lambda pair: (-pair[1]["n"], str(pair[0][-1]))):
        found[tuple(head)].parts["reliability"]["error_types"][error or "error"] = sections.whole(raw["n"])


def _amounts(found: dict[Key, Draft], table: Tables, units: Frame, on: dict[str, bool], none: str) -> None:
    requests = units if table.calls is table.units else _sent(table, table.calls)
    calls = engine.aggregate(requests, table.keys, _call_spec())
    models = engine.aggregate(requests, [*table.keys, "model"], _model_spec())
    of_units = engine.with_medians(units, table.keys, _unit_spec(), {"median": "cost_nano_usd"})
    nothing = dict.fromkeys(_call_spec()) | {"is_whole": True}
    for key, draft in found.items():
        whole = {"is_whole": not draft.is_weighted}
        raw = calls[key] | whole if key in calls else nothing
        means = _unit_means(of_units[key], table, key)
        if on["cost"]:
            draft.parts["cost"] = sections.cost(means, raw, none, draft.reasons)
            draft.parts["cost"] |= {"by_model": {}, "unpriced_models": ()}
        if on["tokens"]:
            draft.parts["tokens"] = sections.tokens(means, raw, none, draft.reasons) | {"by_model": {}}
    for (*head, model), raw in sorted(models.items(), key=lambda pair: str(pair[0][-1])):
        owner = found.get(tuple(head))
        if owner is not None:
            _model(owner, model, raw, on)


def _call_spec() -> dict[str, nw.Expr]:
    nano, weight = nw.col("cost_nano_usd"), nw.col("weight").fill_null(1.0)
    # Whole nanoseconds: their sum does not depend on the order of the rows.
    ns = (nw.col("latency_ms") * weight * 1e6).round()
    has_input, has_output = ~nw.col("input_tokens").is_null(), ~nw.col("output_tokens").is_null()
    timed = ~nw.col("latency_ms").is_null()
    return {
        "priced": nano.count(),
        "unpriced": nano.is_null().cast(nw.Int64).sum(),
        "cost": (nano * weight).sum(),
        "nano": nano.sum(),
        "reported": engine.exact("reported_cost_usd", 1e9),
        "n_reported": nw.col("reported_cost_usd").count(),
        "wasted": nw.when(nw.col("is_wasted")).then(nano * weight).otherwise(0.0).sum(),
        "input": engine.total("input_tokens"),
        "output": engine.total("output_tokens"),
        "cached": engine.total("cache_read_tokens"),
        "written": engine.total("cache_write_tokens"),
        "reasoning": engine.total("reasoning_tokens"),
        "n_input": nw.col("input_tokens").count(),
        "n_output": nw.col("output_tokens").count(),
        "n_cached": nw.col("cache_read_tokens").count(),
        "n_written": nw.col("cache_write_tokens").count(),
        "n_reasoning": nw.col("reasoning_tokens").count(),
        "unknown": (~has_input & ~has_output).cast(nw.Int64).sum(),
        "timed_input": nw.when(timed).then(nw.col("input_tokens") * weight).sum(),
        "timed_output": nw.when(timed).then(nw.col("output_tokens") * weight).sum(),
        "input_ms": nw.when(has_input).then(ns).sum() * 1e-6,
        "output_ms": nw.when(has_output).then(ns).sum() * 1e-6,
    }


def _model_spec() -> dict[str, nw.Expr]:
    names = ("priced", "unpriced", "cost", "input", "output", "n_input", "n_output")
    return {name: expression for name, expression in _call_spec().items() if name in names}


def _unit_spec() -> dict[str, nw.Expr]:
    nano, weight = nw.col("cost_nano_usd"), nw.col("weight").fill_null(1.0)
    succeeded = ~nw.col("is_failed") & ~nw.col("is_interrupted")
    return {
        "paid": (nano * weight).sum(),
        "paid_weight": nw.when(~nano.is_null()).then(weight).sum(),
        "paid_successes": nw.when(succeeded & ~nano.is_null()).then(weight).sum(),
        "weight_min": nw.when(~nano.is_null()).then(nw.col("weight")).min(),
        "weight_max": nw.when(~nano.is_null()).then(nw.col("weight")).max(),
        **{f"{part}_{name}": made for name in _AVERAGED for part, made in _mean_parts(name).items()},
    }


def _mean_parts(column: str) -> dict[str, nw.Expr]:
    """What a weighted mean is a ratio of; divided here, because engines differ in what they do about 0."""
    weight = nw.when(~nw.col(column).is_null()).then(nw.col("weight").fill_null(1.0))
    return {"sum": (nw.col(column) * weight).sum(), "weight": weight.sum()}


def _unit_means(raw: dict[str, Any], table: Tables, key: Key) -> dict[str, Any]:
    raw["mean"] = raw["paid"] / raw["paid_weight"] if raw["paid_weight"] else None
    for name, column in zip(("avg_input", "avg_output"), _AVERAGED, strict=True):
        weight = raw[f"weight_{column}"]
        raw[name] = raw[f"sum_{column}"] / weight if weight else None
    if raw["weight_min"] != raw["weight_max"]:
        rows = rows_of(table.units, table.keys, key).filter(pl.col("cost_nano_usd").is_not_null()).sort("cost_nano_usd")
        values = rows["cost_nano_usd"].to_numpy().astype(np.float64)
        raw["median"] = weighted.quantiles(values, rows["weight"].fill_null(1.0).to_numpy(), [0.5])[0]
    return raw


def _model(draft: Draft, model: str, raw: dict[str, Any], on: dict[str, bool]) -> None:
    if on["cost"]:
        part = draft.parts["cost"]
        part["by_model"][model] = raw["cost"] / 1e9 if raw["priced"] else None
        if raw["unpriced"]:
            part["unpriced_models"] = (*part["unpriced_models"], model)
        if not raw["priced"]:
            draft.reasons[f"cost.by_model.{model}"] = "this model has no price in the table"
    if on["tokens"]:
        used = {side: sections.whole(raw[side]) if raw[f"n_{side}"] else None for side in ("input", "output")}
        draft.parts["tokens"]["by_model"][model] = used
        for side, value in used.items():
            if value is None:
                draft.reasons[f"tokens.by_model.{model}.{side}"] = "no call of this model reported it"


def _asides(found: dict[Key, Draft], table: Tables) -> None:
    is_apart = pl.col("excluded_because").str.contains("aside").fill_null(value=False)
    calls = table.rows.filter(pl.col("aside").is_not_null() & (pl.col("is_call") | is_apart))
    if not calls.height:
        return
    sent = table.on_engine(calls.select(*table.keys, "aside", *_OF_ASIDES))
    groups = engine.with_medians(sent, [*table.keys, "aside"], _aside_spec(), {"p50": "latency_ms"})
    for (*head, name), raw in sorted(groups.items(), key=lambda pair: str(pair[0][-1])):
        draft = found.get(tuple(head))
        if draft is None:
            continue
        raw["mean"] = raw["timed_ms"] / raw["timed_weight"] if raw["timed_weight"] else None
        if raw["weight_min"] != raw["weight_max"]:
            rows = rows_of(calls, (*table.keys, "aside"), (*head, name)).drop_nulls("latency_ms").sort("latency_ms")
            weights = rows["weight"].fill_null(1.0).to_numpy()
            raw["p50"] = weighted.quantiles(rows["latency_ms"].to_numpy(), weights, [0.5])[0]
        draft.aside[name] = sections.aside(raw)
        _aside_reasons(draft, name)


_OF_ASIDES = (
    "latency_ms", "weight", "is_failed", "is_interrupted", "cost_nano_usd", "input_tokens", "output_tokens",
)  # fmt: skip
"""What `_aside_spec` reads: attributes and texts are not sent to a cluster."""


def _aside_spec() -> dict[str, nw.Expr]:
    """Totals by weight, as everywhere; how many had no price and how many were cut off are counts of rows."""
    latency, weight = nw.col("latency_ms"), nw.col("weight").fill_null(1.0)
    timed = nw.when(~latency.is_null())
    return {
        "total": weight.sum(),
        "failures": (nw.col("is_failed").cast(nw.Int64) * weight).sum(),
        "interrupted": engine.count("is_interrupted"),
        "timed_ms": engine.exact("latency_ms", 1e6),
        "timed_weight": timed.then(weight).sum(),
        "weight_min": timed.then(nw.col("weight")).min(),
        "weight_max": timed.then(nw.col("weight")).max(),
        "priced": nw.col("cost_nano_usd").count(),
        "unpriced": nw.col("cost_nano_usd").is_null().cast(nw.Int64).sum(),
        "cost": (nw.col("cost_nano_usd") * weight).sum(),
        "input": engine.total("input_tokens"),
        "n_input": nw.col("input_tokens").count(),
        "output": engine.total("output_tokens"),
        "n_output": nw.col("output_tokens").count(),
    }


def _aside_reasons(draft: Draft, name: str) -> None:
    why = {"total_usd": "no call of it has a price", "latency_mean": _NO_TIME, "latency_p50": _NO_TIME}
    for part in sections.Aside.__struct_fields__:
        if getattr(draft.aside[name], part) is None:
            draft.reasons[f"aside.{name}.{part}"] = why.get(part, "no call of it reported it")


def rows_of(frame: pl.DataFrame, keys: tuple[str, ...], key: Key) -> pl.DataFrame:
    """The rows of one group."""
    parts = [pl.col(name).eq_missing(pl.lit(value)) for name, value in zip(keys, key, strict=True)]
    return frame.filter(*parts) if parts else frame
