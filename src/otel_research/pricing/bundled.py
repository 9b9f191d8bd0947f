"""The table that ships with genai-prices, read through its own rules.

Which price is valid at an instant is always asked of the library (`ModelInfo.get_prices`); this
file only finds the instants at which the answer can change, and turns an answer into `Rates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from otel_research.pricing.names import BEDROCK_VENDORS, GATEWAYS, provider_id
from otel_research.pricing.rates import Rates

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider

DAY_NS = 86_400 * 10**9

# genai-prices' word for a price, ours for the kind of unit, and how many units one price is for.
_UNITS: dict[str, tuple[str, int]] = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "input_audio_mtok": ("audio_input", 10**6),
    "output_audio_mtok": ("audio_output", 10**6),
    "input_image_mtok": ("image_input", 10**6),
    "output_image_mtok": ("image_output", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "requests_kcount": ("request", 10**3),
}


@cache
def snapshot() -> DataSnapshot:
    """The bundled table, whatever the program has set for itself with `set_custom_snapshot`."""
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)


@cache
def release() -> str:
    """The table's name and version."""
    return f"genai-prices {version('genai-prices')}"


def find(provider: str | None, model: str) -> tuple[Provider, ModelInfo] | str:
    """The table's entry for a model, or why there is none.

    Without a provider the table's own rules decide by the model's name; a gateway's model is
    looked up under the vendor in its name (`litellm`, `openai/gpt-4o`).
    """
    table = snapshot()
    vendor, slash, bare = model.partition("/")
    asked: list[tuple[str | None, str]] = [(provider, model)]
    if provider in GATEWAYS or provider is None:
        asked = [(provider_id(vendor), bare), (None, model)] if slash else [(None, model)]
    elif slash and vendor.lower() == provider:
        asked.append((provider, bare))
    elif provider == "aws":
        asked += [(provider, f"{maker}.{model}") for maker in BEDROCK_VENDORS]
    for provider_name, model_name in asked:
        try:
            return table.find_provider_model(model_name, None, provider_name, None)
        except LookupError:
            continue
    return _why_not_found(provider, model)


def _why_not_found(provider: str | None, model: str) -> str:
    from genai_prices.data_snapshot import find_provider_by_id

    if provider is None:
        return f"model '{model}' is not in {release()}, and no provider is known"
    if provider not in GATEWAYS and find_provider_by_id(snapshot().providers, provider) is None:
        return f"provider '{provider}' is not in {release()}"
    return f"model '{model}' is not in {release()} under provider '{provider}'"


def rates(provider: Provider, model: ModelInfo, tier: str | None, at_ns: int, input_tokens: int) -> Rates | str:
    """What a unit of each kind costs at an instant and a size of prompt, or why that is not known."""
    at = datetime.fromtimestamp(at_ns // 10**9, UTC)
    context = _context(provider, model, tier, at)
    if tier is not None and context is None:
        return f"{release()} has no '{tier}' price for model '{model.id}'"
    return _as_rates(model.get_prices(at, context), model, input_tokens)


def _context(provider: Provider, model: ModelInfo, tier: str | None, at: datetime) -> dict[str, str] | None:
    """The price context a service tier stands for, where the table has a price for it at that time."""
    if tier is None or not any(model is own for own in provider.models):
        return None
    for context in ({"processing": tier}, {"service_tier": tier}, {"speed": tier}):
        if any(_applies(variant, context, at) for variant in model.price_variants or ()):
            return context
    return None


def _applies(variant: PriceVariant, context: dict[str, str], at: datetime) -> bool:
    active = variant.constraint is None or variant.constraint.active(at)
    return active and all(context.get(key) == value for key, value in variant.when.items())


def _as_rates(prices: ModelPrice, model: ModelInfo, input_tokens: int) -> Rates | str:
    from genai_prices.types import TieredPrices

    usd: dict[str, Fraction] = {}
    quoted = {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}
    for key, value in quoted.items():
        if key not in _UNITS:
            continue
        kind, per = _UNITS[key]
        price: Decimal = _tier_price(value, input_tokens) if isinstance(value, TieredPrices) else value
        usd[kind] = Fraction(price) / per
    if "input" in usd or "output" in usd:
        return Rates(
            usd,
            priced_cached_audio="cache_audio_read_mtok" in quoted,
            priced_cached_image="cache_image_read_mtok" in quoted,
        )
    if quoted:
        return f"{release()} prices model '{model.id}' by {', '.join(sorted(quoted))}, not by token"
    return f"{release()} lists model '{model.id}' without a price"


def _tier_price(tiered: object, input_tokens: int) -> Decimal:
    """The price of the tier a prompt falls in; above a threshold every token pays that tier's price."""
    from genai_prices.types import TieredPrices

    assert isinstance(tiered, TieredPrices)
    reached = [tier.price for tier in tiered.tiers if input_tokens > tier.start]
    return reached[-1] if reached else tiered.base


def thresholds(model: ModelInfo) -> set[int]:
    """Prompt sizes above which another tier applies."""
    from genai_prices.types import TieredPrices

    tiered = (value for prices in _all_prices(model) for value in vars(prices).values())
    return {tier.start for value in tiered if isinstance(value, TieredPrices) for tier in value.tiers}


def changes(model: ModelInfo) -> tuple[set[int], set[int]]:
    """When the price can change: instants (ns since the epoch) and times of day (ns since midnight, UTC)."""
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    dates: set[int] = set()
    hours: set[int] = set()
    for constraint in _constraints(model):
        if isinstance(constraint, StartDateConstraint):
            midnight = datetime.combine(constraint.start_date, time(), UTC)
            dates.add(int(midnight.timestamp()) * 10**9)
        elif isinstance(constraint, TimeOfDateConstraint):
            hours |= {_since_midnight(constraint.start_time), _since_midnight(constraint.end_time)}
    return dates, hours


def _since_midnight(clock: time) -> int:
    """Nanoseconds since midnight UTC of a time of day (naive ones are UTC, as in the library)."""
    aware = clock if clock.tzinfo else clock.replace(tzinfo=UTC)
    moment = datetime.combine(datetime(2000, 1, 1).date(), aware)
    return int(moment.timestamp() * 10**9) % DAY_NS


def _all_prices(model: ModelInfo) -> Iterator[ModelPrice]:
    if isinstance(model.prices, list):
        yield from (conditional.prices for conditional in model.prices)
    else:
        yield model.prices
    yield from (variant.prices for variant in model.price_variants or ())


def _constraints(model: ModelInfo) -> Iterator[object]:
    if isinstance(model.prices, list):
        yield from (conditional.constraint for conditional in model.prices)
    yield from (variant.constraint for variant in model.price_variants or ())
