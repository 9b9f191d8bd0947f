"""The price of one unit of each kind, in whole numbers, so that a sum never depends on its order.

A rate is an integer number of 1e-24 US dollars per unit. genai-prices quotes dollars per million
tokens with up to 18 decimals, so nothing is rounded before the cost of the whole call is known.

Token kinds nest: cached and audio tokens are part of the input, reasoning is part of the output.
`deltas` turns nested prices into plain factors: a cached token costs the input price plus
(cache price - input price), so a call's cost is a sum of products and needs no subtraction of counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

SCALE = 10**24
"""Parts of a US dollar that one step of a rate stands for."""

PER_NANO = SCALE // 10**9

PARENT: dict[str, str] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "reasoning": "output",
    "audio_output": "output",
    "image_input": "input",
    "image_output": "output",
}
KINDS: tuple[str, ...] = ("input", "output", *PARENT, "request")
"""Kinds of unit this package counts on a call; everything else a table prices is out of reach."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per unit for the kinds a table prices; a kind that is absent costs what its parent costs."""

    usd: dict[str, Fraction]
    priced_cached_audio: bool = False
    """The table prices audio read from a cache apart; spans do not say how much of either is both."""
    priced_cached_image: bool = False
    """The same for images."""

    @property
    def is_flat(self) -> bool:
        """Only the request has a price, whatever its tokens."""
        return self.usd.keys() == {"request"}

    def effective(self, kind: str) -> Fraction:
        """Dollars for one unit of a kind, its parent's where it has no price of its own."""
        while kind not in self.usd:
            if kind not in PARENT:
                return Fraction(0)
            kind = PARENT[kind]
        return self.usd[kind]

    def deltas(self) -> dict[str, int]:
        """The factor of each kind's count, in steps of 1e-24 dollars."""
        factors = {}
        for kind in KINDS:
            own = self.effective(kind)
            parent = self.effective(PARENT[kind]) if kind in PARENT else Fraction(0)
            factors[kind] = round((own - parent) * SCALE)
        return factors
