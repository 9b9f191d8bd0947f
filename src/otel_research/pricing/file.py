"""Read the user's own price file: dated overrides and private models, in TOML or JSON.

    name = "acme contract"
    date = 2026-11-01
    base = true                     # what is not here comes from the bundled table; false: nothing does

    [[price]]
    provider = "openai"             # optional: any provider
    model = "gpt-4o*"               # `*` stands for anything
    from = 2026-10-01               # optional; UTC; `until` is the first instant no longer covered
    service_tier = "batch"          # optional: the ordinary tier
    input = 2.0                     # US dollars per million tokens
    output = 8.0
    cache_read = 0.5                # a kind without a price costs what its parent costs
    request = 0.001                 # US dollars per request
    tiers = [{ above = 200000, input = 4.0, output = 12.0 }]

Prices are read as decimals, never through a binary float.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any

from otel_research.errors import ConfigurationError
from otel_research.pricing.names import provider_id, tier_name
from otel_research.pricing.rates import KINDS, PARENT, SCALE, Rates
from otel_research.pricing.table import Entry, PriceTable

_TOP = ("name", "date", "base", "price")
_ENTRY = ("provider", "model", "from", "until", "service_tier", "tiers", *KINDS)
_TIER = ("above", *(kind for kind in KINDS if kind != "request"))
_MOST_PER_TOKEN = 10_000  # US dollars per million tokens; more is a price per thousand gone wrong


def load(path: str | Path) -> PriceTable:
    """The price table of a TOML or JSON file.

    A price file has an optional `name`, `date` and `base`, and a list `price` of entries; see this
    module's head for the keys. Raises `ConfigurationError` naming the file, the entry and the key.
    """
    source = Path(path)
    document = _parse(source)
    where = f"price file {source}"
    _only(document, _TOP, where)
    raw = document.get("price", [])
    if not isinstance(raw, list) or not all(isinstance(entry, dict) for entry in raw):
        raise ConfigurationError(f"{where}: 'price' has to be a list of entries ([[price]] in TOML).")
    base = document.get("base", True)
    if not isinstance(base, bool):
        raise ConfigurationError(f"{where}: 'base' has to be true or false, not {base!r}.")
    entries = tuple(_entry(entry, f"{where}, price {number}") for number, entry in enumerate(raw, start=1))
    if not entries and not base:
        raise ConfigurationError(f"{where} holds no price. Add a [[price]] entry, or leave out base = false.")
    _refuse_twins(entries, where)
    day = document.get("date")
    stamp = (
        None if day is None else datetime.fromtimestamp(_moment(day, "date", where) // 10**9, UTC).date().isoformat()
    )
    return PriceTable(name=str(document.get("name", source.name)), date=stamp, entries=entries, base=base)


def _parse(source: Path) -> dict[str, Any]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(f"price file {source} cannot be read: {exc.strerror or exc}.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"price file {source} is not UTF-8 text. Save it as UTF-8.") from exc
    try:
        if source.suffix.lower() == ".json":
            document = json.loads(text, parse_float=Decimal)
        else:
            document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, InvalidOperation) as exc:
        kind = "JSON" if source.suffix.lower() == ".json" else "TOML"
        raise ConfigurationError(f"price file {source} is not valid {kind}: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"price file {source} has to hold an object with a list 'price'.")
    return document


def _only(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Known keys: {', '.join(known)}."
            raise ConfigurationError(f"{where}: unknown key '{key}'.{hint}")


def _entry(given: Mapping[str, Any], where: str) -> Entry:
    _only(given, _ENTRY, where)
    model = given.get("model")
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"{where}: 'model' is missing. Give the model's name as it is on the spans.")
    where = f"{where} (model '{model}')"
    for key in ("provider", "service_tier"):
        if not isinstance(given.get(key, ""), str):
            raise ConfigurationError(f"{where}: '{key}' has to be text, not {given[key]!r}.")
    bounds = {key: _moment(given[key], key, where) if key in given else None for key in ("from", "until")}
    if bounds["from"] is not None and bounds["until"] is not None and bounds["from"] >= bounds["until"]:
        raise ConfigurationError(f"{where}: 'until' has to be later than 'from'.")
    rates = _rates({key: given[key] for key in KINDS if key in given}, where)
    return Entry(
        model=model.strip(),
        rates=rates,
        provider=provider_id(given.get("provider")),
        service_tier=tier_name(given.get("service_tier")),
        from_ns=bounds["from"],
        until_ns=bounds["until"],
        tiers=_tiers(given.get("tiers", []), rates, where),
    )


def _rates(given: Mapping[str, Any], where: str) -> Rates:
    usd = {kind: _amount(value, kind, where) / (1 if kind == "request" else 10**6) for kind, value in given.items()}
    if not usd.keys() & {"input", "output", "request"}:
        raise ConfigurationError(f"{where}: no price. Give 'input' and 'output' in US dollars per million tokens.")
    for kind in usd:
        root = PARENT.get(PARENT.get(kind, ""), PARENT.get(kind, kind))
        if root not in usd:
            raise ConfigurationError(f"{where}: '{kind}' needs '{root}' beside it, which is the price of the rest.")
    return Rates(usd)


def _amount(value: Any, key: str, where: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ConfigurationError(f"{where}: '{key}' has to be a number of US dollars, not {value!r}.")
    if not Decimal(value).is_finite() or value < 0:
        raise ConfigurationError(f"{where}: '{key}' is {value}; a price is a finite number of at least 0.")
    if value > _MOST_PER_TOKEN:
        unit = "per request" if key == "request" else "per million tokens"
        raise ConfigurationError(f"{where}: '{key}' is {value} US dollars {unit}. Check the unit.")
    amount = Fraction(value)
    if (amount / 10**6 * SCALE).denominator != 1:
        raise ConfigurationError(f"{where}: '{key}' has more than 18 decimals.")
    return amount


def _tiers(given: Any, base: Rates, where: str) -> tuple[tuple[int, Rates], ...]:
    """The tiers in order of size; a kind that a tier does not price keeps the price below it."""
    if not isinstance(given, list) or not all(isinstance(tier, dict) for tier in given):
        raise ConfigurationError(f"{where}: 'tiers' has to be a list of tables like {{ above = 200000, input = 4.0 }}.")
    tiers: dict[int, Rates] = {}
    for number, tier in enumerate(given, start=1):
        place = f"{where}, tier {number}"
        _only(tier, _TIER, place)
        above = tier.get("above")
        if isinstance(above, bool) or not isinstance(above, int) or above < 0 or above in tiers:
            raise ConfigurationError(f"{place}: 'above' has to be a number of input tokens that no other tier has.")
        amounts = {kind: _amount(tier[kind], kind, place) / 10**6 for kind in KINDS if kind in tier}
        if not amounts:
            raise ConfigurationError(f"{place}: no price above {above} tokens is given.")
        tiers[above] = Rates(base.usd | amounts)
    return tuple(sorted(tiers.items(), key=lambda tier: tier[0]))


def _moment(value: Any, key: str, where: str) -> int:
    """Nanoseconds since the epoch of a date or time; without a zone it is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{where}: '{key}' has to be a date such as 2026-11-01.")
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _refuse_twins(entries: tuple[Entry, ...], where: str) -> None:
    """Two entries that say different things about the same model at the same time are a mistake."""
    seen: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries, start=1):
        key = (entry.provider, entry.model.lower(), entry.service_tier, entry.from_ns)
        if key in seen:
            raise ConfigurationError(
                f"{where}: prices {seen[key]} and {number} are both for model '{entry.model}' from the same time. "
                "Remove one, or give them different 'from' dates."
            )
        seen[key] = number
