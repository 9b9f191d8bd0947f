"""What holds for every frame of calls."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import genai_prices
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_research import pricing
from otel_research.errors import ConfigurationError
from otel_research.pricing import bundled

START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
YEAR = 365 * 86_400 * 10**9
MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5.6-sol"),
    ("anthropic", "claude-sonnet-4-5"),
    ("deepseek", "deepseek-chat"),
    ("x-ai", "grok-4"),
    ("nobody", "gpt-4o"),
    ("openai", "no-such-model"),
    ("openai", "whisper-1"),
    (None, None),
]

count = st.one_of(st.none(), st.integers(-3, 400_000), st.just(2**62))
row = st.builds(
    lambda model, **counts: {"provider": model[0], "request_model": model[1], **counts},
    model=st.sampled_from(MODELS),
    input_tokens=count,
    output_tokens=count,
    cache_read_tokens=count,
    cache_write_tokens=count,
    reasoning_tokens=count,
    audio_input_tokens=st.one_of(st.none(), st.integers(0, 20)),
    start_ns=st.one_of(st.none(), st.integers(START, START + YEAR)),
    reported_cost_usd=st.one_of(st.none(), st.sampled_from([0.0, -1.0, 0.25, 1e300, float("inf"), float("nan")])),
    is_call=st.one_of(st.none(), st.booleans()),
)
relaxed = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(rows=st.lists(row, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_order_and_batches_never_matter(calls: Any, rows: list[dict[str, Any]], seed: int) -> None:
    """A call costs the same wherever it stands, and in whichever batch it comes."""
    together = pricing.price(calls(*rows)).collect()
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = pricing.price(calls(*(rows[place] for place in order))).collect()
    alone = pl.concat([pricing.price(calls(one)).collect() for one in rows])
    assert together[order].equals(shuffled)
    assert together.equals(alone)
    assert together["cost_nano_usd"].sum() == shuffled["cost_nano_usd"].sum()


@relaxed
@given(rows=st.lists(row, min_size=1, max_size=12))
def test_unknown_is_never_zero(calls: Any, rows: list[dict[str, Any]]) -> None:
    """Without a call, a known model and known, possible token counts there is no computed cost; nothing is free."""
    priced = pricing.price(calls(*rows)).collect()
    for given_row, out in zip(rows, priced.iter_rows(named=True), strict=True):
        tokens = given_row["input_tokens"], given_row["output_tokens"]
        if not given_row["is_call"]:
            assert (out["cost_nano_usd"], out["cost_source"]) == (None, None)
        elif None in tokens or min(tokens) < 0 or given_row["provider"] == "nobody" or given_row["start_ns"] is None:
            assert out["cost_source"] in (None, "reported")
        assert (out["cost_nano_usd"] is None) == (out["cost_usd"] is None) == (out["cost_source"] is None)
        if out["cost_nano_usd"] == 0:
            assert tokens == (0, 0)
        if out["cost_source"] == "reported":
            assert out["cost_usd"] == given_row["reported_cost_usd"] == 0.25


@relaxed
@given(rows=st.lists(row, min_size=1, max_size=12))
def test_every_call_is_priced_or_listed(calls: Any, rows: list[dict[str, Any]]) -> None:
    """Calls with a computed cost and calls in `unpriced` add up to all calls, each with a reason."""
    frame = calls(*rows)
    computed = pricing.price(frame).filter(pl.col("cost_source") == "computed").collect().height
    missing = pricing.unpriced(frame)
    assert computed + missing["calls"].sum() == sum(bool(one["is_call"]) for one in rows)
    assert missing["reason"].null_count() == 0
    assert all(missing["reason"].str.len_chars() > 10)


def every_model() -> list[tuple[str, str]]:
    return [(provider.id, model.id) for provider in bundled.snapshot().providers for model in provider.models]


def test_every_model_of_the_table_agrees_with_the_library(calls: Any) -> None:
    """For each model of the bundled table the column-wise cost is the library's own, rounded to nano-dollars."""
    draw = random.Random(11)
    rows: list[dict[str, Any]] = []
    expected: list[int | None] = []
    for provider, model in every_model():
        size = draw.choice([900, 200_000, 200_001, 300_000])
        row = {
            "input_tokens": size,
            "cache_read_tokens": draw.choice([0, 300]),
            "cache_write_tokens": draw.choice([0, 77]),
            "output_tokens": 411,
            "reasoning_tokens": draw.choice([0, 97]),
            "start_ns": START + draw.randrange(YEAR),
        }
        rows.append(row | {"provider": provider, "response_model": model, "is_call": True})
        expected.append(by_the_library(provider, model, row))
    actual = pricing.price(calls(*rows)).collect()["cost_nano_usd"].to_list()
    compared = [(got, want) for got, want in zip(actual, expected, strict=True) if got is not None]
    assert len(compared) > 1_500
    assert [got for got, _ in compared] == [want for _, want in compared]


def by_the_library(provider: str, model: str, row: dict[str, int]) -> int | None:
    usage = genai_prices.Usage(
        input_tokens=row["input_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"],
        output_reasoning_tokens=row["reasoning_tokens"],
    )
    at = datetime.fromtimestamp(row["start_ns"] // 10**9, UTC)
    try:
        result = genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
    except (LookupError, ValueError):
        return None
    return int((result.total_price * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


def test_the_library_is_asked_once_per_model_and_interval(calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls of one model in one price interval look the price up once."""
    asked: list[str] = []
    original = bundled.rates
    monkeypatch.setattr(bundled, "rates", lambda *args: asked.append(args[1].id) or original(*args))
    row = {"provider": "openai", "request_model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 5}
    table = pricing.PriceTable()
    pricing.price(calls(row | {"start_ns": START}), table).collect()
    pricing.price(calls(*[row | {"start_ns": START + number} for number in range(1000)]), table).collect()
    assert asked == ["gpt-4o-mini"]


def test_pricing_is_lazy_and_streams(calls: Any) -> None:
    """Nothing is computed before `collect`, and the streaming engine gives the same."""
    rows = [{"provider": "openai", "request_model": "gpt-4o", "input_tokens": n, "output_tokens": n} for n in range(50)]
    lazy = pricing.price(calls(*rows))
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect(engine="streaming").equals(lazy.collect())


def test_pricing_twice_is_pricing_once(calls: Any) -> None:
    """A frame that has cost columns already gets them anew, in the same place."""
    frame = calls({"provider": "openai", "request_model": "gpt-4o", "input_tokens": 1, "output_tokens": 1})
    once = pricing.price(frame)
    assert pricing.price(once).collect().equals(once.collect())
    assert once.collect_schema().names()[-3:] == ["cost_usd", "cost_nano_usd", "cost_source"]


def test_a_frame_without_marked_calls_is_refused() -> None:
    """Which rows are calls has to be known: pricing wrappers too would double the cost."""
    with pytest.raises(ConfigurationError, match=r"is_call.*semconv\.calls\.mark"):
        pricing.price(pl.LazyFrame({"input_tokens": [1]}))


def test_an_empty_frame_has_the_columns(calls: Any) -> None:
    """No rows in, no rows out, with the three columns in their types."""
    out = pricing.price(calls()).collect()
    assert out.height == 0
    assert out.schema["cost_nano_usd"] == pl.Int64
    assert out.schema["cost_source"] == pl.String
