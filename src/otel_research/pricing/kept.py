"""The prices that were used, kept as data: so that a cost can be computed again without the table it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import polars as pl

from otel_research.pricing.cost import price
from otel_research.pricing.rates import Rates
from otel_research.pricing.table import Priced, PriceTable, default


def used(frame: pl.LazyFrame, table: PriceTable | None = None) -> dict[str, Any]:
    """Every price that the calls of a marked frame ask for, as JSON data; `again` makes a table of it."""
    # Of its own, so that what it has found afterwards is what these calls asked for.
    fresh = replace(table or default())
    price(frame, fresh).select("cost_nano_usd").collect()
    found = sorted(fresh._found.items(), key=lambda item: tuple(part or "" for part in item[0]))
    return {"table": fresh.provenance, "models": [_model(key, priced) for key, priced in found]}


def _model(key: tuple[str | None, ...], priced: Priced | str) -> dict[str, Any]:
    if isinstance(priced, str):
        return {"asked": list(key), "reason": priced}
    rates = [{"place": list(place), **_rates(found)} for place, found in sorted(priced._found.items())]
    return {"asked": list(key), "changes": [list(edges) for edges in priced.changes], "rates": rates}


def _rates(found: Rates | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"reason": found}
    flags = {item.name: getattr(found, item.name) for item in fields(Rates) if item.name != "usd"}
    return {"usd": {kind: str(value) for kind, value in found.usd.items()}, **flags}


def again(kept: Mapping[str, Any]) -> PriceTable:
    """A table that knows the kept prices and no others."""
    name = str(kept["table"])
    table = PriceTable(name=name, base=False)
    table._found.update({tuple(model["asked"]): _priced(model, name) for model in kept["models"]})
    return table


def _priced(model: Mapping[str, Any], name: str) -> Priced | str:
    if "reason" in model:
        return str(model["reason"])
    priced = Priced((), None, None, name, f"{name} was not asked for this price when it was kept")
    # What is computed from a table is given here.
    priced.__dict__["changes"] = tuple(list(edges) for edges in model["changes"])
    for kept in model["rates"]:
        first, second, third = kept["place"]
        priced._found[first, second, third] = _kept_rates(kept)
    return priced


def _kept_rates(kept: Mapping[str, Any]) -> Rates | str:
    if "reason" in kept:
        return str(kept["reason"])
    flags = {item.name: bool(kept[item.name]) for item in fields(Rates) if item.name in kept and item.name != "usd"}
    return Rates({kind: Fraction(value) for kind, value in kept["usd"].items()}, **flags)
