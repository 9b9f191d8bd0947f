from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from otel_research.spans import schema

Calls = Callable[..., pl.LazyFrame]


def ns(text: str) -> int:
    """Nanoseconds since the epoch of an ISO time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture
def calls() -> Calls:
    """A frame of calls with the canonical columns: one mapping per call, with defaults for what it leaves out."""
    types = schema.polars_schema(schema.ALL) | {"service_tier": pl.String(), "cache_write_1h_tokens": pl.Int64()}
    names = [name for name in types if name not in ("cost_usd", "cost_nano_usd", "cost_source")]
    defaults: dict[str, Any] = {"is_call": True, "start_ns": ns("2026-11-20T12:00:00")}

    def build(*rows: dict[str, Any]) -> pl.LazyFrame:
        filled = [dict.fromkeys(names) | defaults | row for row in rows]
        assert all(set(row) <= set(names) for row in filled)
        return pl.DataFrame(filled, schema={name: types[name] for name in names}).lazy()

    return build
