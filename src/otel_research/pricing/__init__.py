"""What a call costs: dated price tables, computed per call, never guessed.

A price is found once per provider, model and price interval, then multiplied column-wise in
whole numbers. A model the table does not know, or a call whose tokens are unknown, is unpriced
(null, with a reason from `unpriced`), never free.
"""

from otel_research.pricing.cost import gap, price, undated, unpriced
from otel_research.pricing.file import load
from otel_research.pricing.reprice import Repricing, reprice
from otel_research.pricing.table import PriceTable, default

__all__ = ["PriceTable", "Repricing", "default", "gap", "load", "price", "reprice", "undated", "unpriced"]
