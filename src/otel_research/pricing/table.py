"""A price table: the user's own dated entries over the table that ships with genai-prices."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING

from otel_research.pricing import bundled
from otel_research.pricing.names import is_snapshot_of, provider_id, tier_name
from otel_research.pricing.rates import Rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider


@dataclass(frozen=True, slots=True)
class Entry:
    """One price of the user's own: which model, from when until when, how much.

    `model` may hold `*`. `tiers` are (prompt size, rates): above that many input tokens the whole
    call is charged at those rates. Times are nanoseconds since the epoch; `until_ns` is exclusive.
    """

    model: str
    rates: Rates
    provider: str | None = None
    service_tier: str | None = None
    from_ns: int | None = None
    until_ns: int | None = None
    tiers: tuple[tuple[int, Rates], ...] = ()

    def covers(self, provider: str | None, model: str, service_tier: str | None) -> bool:
        """Is this entry about the model, at any time?"""
        if self.service_tier != service_tier or self.provider not in (None, provider):
            return False
        return fnmatchcase(model.lower(), self.model.lower())

    def is_valid(self, at_ns: int) -> bool:
        """Is this entry's price in force at the instant?"""
        return (self.from_ns is None or at_ns >= self.from_ns) and (self.until_ns is None or at_ns < self.until_ns)

    def rank(self) -> tuple[bool, bool, int, float]:
        """How specific the entry is; of several in force the highest counts."""
        start = float("-inf") if self.from_ns is None else float(self.from_ns)
        return "*" not in self.model, self.provider is not None, len(self.model), start

    def at_size(self, input_tokens: int) -> Rates:
        """The rates for a prompt of that size."""
        reached = [rates for above, rates in self.tiers if input_tokens > above]
        return reached[-1] if reached else self.rates


@dataclass(frozen=True, eq=False)
class Priced:
    """Everything a table knows about one model in one service tier."""

    entries: tuple[Entry, ...]
    base: tuple[Provider, ModelInfo] | None
    service_tier: str | None
    table: str
    why_no_base: str
    _found: dict[tuple[int, int, int], Rates | str] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def changes(self) -> tuple[list[int], list[int], list[int]]:
        """Where the price can change, in order: instants (ns), times of day (ns since midnight UTC), prompt sizes."""
        dates, hours = bundled.changes(self.base[1]) if self.base else (set(), set())
        sizes = bundled.thresholds(self.base[1]) if self.base else set()
        for entry in self.entries:
            dates |= {bound for bound in (entry.from_ns, entry.until_ns) if bound is not None}
            sizes |= {above for above, _ in entry.tiers}
        return sorted(dates), sorted(hours), sorted(sizes)

    def rates(self, at_ns: int, input_tokens: int) -> Rates | str:
        """The rates in force, or why there are none; asked for once per interval between two changes."""
        dates, hours, sizes = self.changes
        # A tier begins above its size, so the size itself still belongs to the tier below.
        place = bisect(dates, at_ns), bisect(hours, at_ns % bundled.DAY_NS), bisect(sizes, input_tokens - 1)
        if place not in self._found:
            self._found[place] = self._ask(at_ns, input_tokens)
        return self._found[place]

    def _ask(self, at_ns: int, input_tokens: int) -> Rates | str:
        valid = [entry for entry in self.entries if entry.is_valid(at_ns)]
        if valid:
            return max(valid, key=Entry.rank).at_size(input_tokens)
        if self.base is not None:
            return bundled.rates(*self.base, self.service_tier, at_ns, input_tokens)
        if not self.entries:
            return self.why_no_base
        return f"{self.table} has no price for model '{self.entries[0].model}' at that time"


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Prices by provider, model, time, prompt size and service tier.

    `load(path)` makes one from the user's file, `default()` is the bundled table alone. `entries`
    are looked at first; where none is in force the bundled table answers, unless `base` is False.
    """

    name: str = ""
    date: str | None = None
    entries: tuple[Entry, ...] = ()
    base: bool = True
    _found: dict[tuple[str | None, ...], Priced | str] = field(default_factory=dict, init=False, repr=False)

    @property
    def provenance(self) -> str:
        """Which tables the prices come from, for every place a cost is shown."""
        own = f"{self.name} ({self.date})" if self.date else self.name
        return " over ".join(part for part in (own, bundled.release() if self.base else "") if part)

    def find(
        self, provider: str | None, response_model: str | None, request_model: str | None, service_tier: str | None
    ) -> Priced | str:
        """What the table knows about a call's model, or why it knows nothing. Looked up once, then remembered.

        The model that answered is the one that is billed. The one that was asked for is used where
        the answer does not say, or where the answer is only a dated snapshot of it.
        """
        key = (provider, response_model, request_model, service_tier)
        if key not in self._found:
            self._found[key] = self._search(*key)
        return self._found[key]

    def _search(
        self, provider: str | None, response_model: str | None, request_model: str | None, service_tier: str | None
    ) -> Priced | str:
        answered, asked = response_model or None, request_model or None
        models = [answered] if answered else []
        if asked and (answered is None or is_snapshot_of(answered, asked)):
            models.append(asked)
        if not models:
            return "the call names no model"
        found = [self._look_up(provider_id(provider), model, tier_name(service_tier)) for model in models]
        known = [priced for priced in found if priced.entries or priced.base]
        return known[0] if known else found[0].why_no_base

    def _look_up(self, provider: str | None, model: str, tier: str | None) -> Priced:
        entries = tuple(entry for entry in self.entries if entry.covers(provider, model, tier))
        base = bundled.find(provider, model) if self.base else f"model '{model}' is not in {self.name}"
        if isinstance(base, str):
            return Priced(entries, None, tier, self.name, base)
        return Priced(entries, base, tier, self.name, "")


@cache
def default() -> PriceTable:
    """The table that ships with genai-prices: offline, the same numbers on every machine."""
    return PriceTable()
