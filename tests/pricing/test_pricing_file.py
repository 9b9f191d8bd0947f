"""The user's own price file: what it may say, and what it is told when it says it wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_research import pricing
from otel_research.errors import ConfigurationError, ResearchError

CALL = {"provider": "openai", "request_model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 10}


def write(tmp_path: Path, text: str, name: str = "prices.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[price]]\nmodel = 'm'\ninput = 1\noutput = ", ["not valid TOML"]),
        ("[[price]]\nmodel = 'm'\ninptu = 1", ["price 1", "'inptu'", "Did you mean 'input'"]),
        ("[[price]]\ninput = 1", ["price 1", "'model' is missing"]),
        ("[[price]]\nmodel = 'a'\ninput = 1\noutput = 1\n[[price]]\nmodel = 'b'\noutput = -1", ["price 2 (model 'b')", "'output' is -1"]),
        ("[[price]]\nmodel = 'm'\ninput = '1'", ["'input' has to be a number"]),
        ("[[price]]\nmodel = 'm'\ninput = true", ["'input' has to be a number"]),
        ("[[price]]\nmodel = 'm'\ninput = nan", ["'input' is NaN"]),
        ("[[price]]\nmodel = 'm'\ninput = inf", ["'input' is Infinity"]),
        ("[[price]]\nmodel = 'm'\ninput = 150000", ["per million tokens", "Check the unit"]),
        ("[[price]]\nmodel = 'm'\ninput = 1e-30", ["'input' has more than 18 decimals"]),
        ("[[price]]\nmodel = 'm'", ["no price"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\nreasoning = 3", ["'reasoning' needs 'output'"]),
        ("[[price]]\nmodel = 'm'\noutput = 1\ncache_write_1h = 3", ["'cache_write_1h' needs 'input'"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\nfrom = 'soon'", ["'from' has to be a date"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\nfrom = 2026-02-01\nuntil = 2026-01-01", ["'until' has to be later"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\n[[price]]\nmodel = 'M'\ninput = 2", ["prices 1 and 2 are both for model 'M'"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\ntiers = [{ input = 2 }]", ["tier 1", "'above'"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\ntiers = [{ above = 5 }]", ["tier 1", "no price above 5"]),
        ("[[price]]\nmodel = 'm'\ninput = 1\ntiers = [{ above = 5, input = -2 }]", ["tier 1", "'input' is -2"]),
        ("price = 3", ["'price' has to be a list"]),
        ("base = 'no'", ["'base' has to be true or false"]),
        ("base = false", ["holds no price"]),
        ("prices = []", ["unknown key 'prices'", "Did you mean 'price'"]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_file_entry_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    """The message names the file, the entry and the key, and says what to write instead."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        pricing.load(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_missing_or_binary_file_is_a_research_error(tmp_path: Path) -> None:
    """A file that cannot be read is reported like any other wrong input."""
    with pytest.raises(ResearchError, match="cannot be read"):
        pricing.load(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResearchError, match="not UTF-8"):
        pricing.load(tmp_path / "bytes.toml")


def test_json_and_toml_say_the_same(calls: Any, tmp_path: Path) -> None:
    """The same entry costs the same from either format, without passing through a binary float."""
    entry = {"provider": "openai", "model": "gpt-4o-mini", "from": "2026-01-01", "input": 0.1, "output": 0.3}
    from_json = pricing.load(write(tmp_path, json.dumps({"name": "own", "price": [entry]}), "own.json"))
    toml = "name = 'own'\n[[price]]\nprovider = 'openai'\nmodel = 'gpt-4o-mini'\nfrom = 2026-01-01\ninput = 0.1\noutput = 0.3\n"
    from_toml = pricing.load(write(tmp_path, toml))
    assert from_json.entries == from_toml.entries
    assert pricing.price(calls(CALL), from_json).collect()["cost_nano_usd"].item() == 1000 * 100 + 10 * 300


def test_before_its_own_date_the_table_below_answers(calls: Any, tmp_path: Path) -> None:
    """An override counts from its date; earlier calls keep the bundled price, or none where `base` is false."""
    text = "[[price]]\nmodel = 'gpt-4o-mini'\nfrom = 2030-01-01\ninput = 1\noutput = 1\n"
    over = pricing.load(write(tmp_path, text))
    assert pricing.price(calls(CALL), over).collect()["cost_nano_usd"].item() == 1000 * 150 + 10 * 600
    alone = pricing.load(write(tmp_path, "base = false\n" + text, "alone.toml"))
    assert pricing.price(calls(CALL), alone).collect()["cost_nano_usd"].item() is None
    assert "at that time" in pricing.unpriced(calls(CALL), alone)["reason"].item()


def test_provenance_names_table_and_date(tmp_path: Path) -> None:
    """A table says where its prices come from and of when."""
    text = "name = 'acme'\ndate = 2026-11-01\n[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\n"
    assert pricing.load(write(tmp_path, text)).provenance == f"acme (2026-11-01) over {pricing.default().provenance}"
    assert pricing.default().provenance.startswith("genai-prices 0.")
    alone = pricing.load(write(tmp_path, "base = false\n" + text, "alone.toml"))
    assert alone.provenance == "acme (2026-11-01)"


def test_a_forgotten_output_price_is_not_free(calls: Any, tmp_path: Path) -> None:
    """An entry without a price for output prices embeddings, not answers."""
    table = pricing.load(write(tmp_path, "[[price]]\nmodel = 'gpt-4o-mini'\ninput = 1\n"))
    assert pricing.price(calls(CALL), table).collect()["cost_nano_usd"].item() is None
    embedding = CALL | {"output_tokens": None}
    assert pricing.price(calls(embedding), table).collect()["cost_nano_usd"].item() == 1_000_000


def test_an_own_price_of_zero_is_zero(calls: Any, tmp_path: Path) -> None:
    """A local model that the user declares free costs 0, not nothing."""
    table = pricing.load(write(tmp_path, "[[price]]\nprovider = 'ollama'\nmodel = '*'\ninput = 0\noutput = 0\n"))
    local = CALL | {"provider": "ollama", "request_model": "llama3.2"}
    out = pricing.price(calls(local), table).collect()
    assert (out["cost_usd"].item(), out["cost_source"].item()) == (0.0, "computed")


def test_products_beyond_64_bits_are_exact(calls: Any, tmp_path: Path) -> None:
    """Very fine prices times very many tokens lose nothing."""
    table = pricing.load(write(tmp_path, "[[price]]\nmodel = '*'\ninput = 9999.000000000000000001\noutput = 0\n"))
    many = CALL | {"input_tokens": 800_000_000_001}
    expected = (9_999_000_000_000_000_000_001 * 800_000_000_001 + 5 * 10**14) // 10**15
    assert pricing.price(calls(many), table).collect()["cost_nano_usd"].item() == expected
