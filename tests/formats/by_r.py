"""R reads what was exported: the program of `docs/exports.md`, run by R itself (`nox -s r`)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.testing import recording

PAGE = Path(__file__).parents[2] / "docs/exports.md"
TEXTS = ['He said "a,b";\r\nthen\nleft é\U0001f600', "NA", "a 'quote' # and\\", "true"]
SHOWN = """
cat(toJSON(list(
  text = spans$prompt, number = spans$k, unpriced = is.na(spans$cost_usd), year = format(spans$timestamp, "%Y"),
  microsecond = round(as.numeric(spans$timestamp) %% 1 * 1e6), duration_us = spans$duration_us,
  tokens = sums$input_tokens, usd = sums$cost_usd, p = welch$p.value, ratio = exp(diff(welch$estimate)),
  line_text = lines$attributes$prompt, line_number = lines$attributes$k, line_us = lines$duration_us
), digits = NA))
"""
"""What the page's program has read and computed, as JSON."""


def program() -> str:
    """The page's R, which reads `spans.csv` and `spans.jsonl`."""
    (block,) = re.findall(r"```r\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(block)


def recorded() -> otr.Experiment:
    """Twenty calls of two conditions; every fourth does not know its output, so it has no price."""
    with recording() as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("for R") as exp:
            for number in range(20):
                call: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
                call |= {"k": -number / 4, "prompt": TEXTS[number % 4], "gen_ai.usage.input_tokens": 90 + number}
                call |= {} if number % 4 == 3 else {"gen_ai.usage.output_tokens": 5}
                start = 1_700_000_000_123_456_000 + number * 1_000_001_000
                with exp.arm("ab"[number % 2]):
                    span = tracer.start_span("chat gpt-4o-mini", attributes=call, start_time=start)
                    span.end(start + (100 + number * (1 + number % 2)) * 1_234_567)
    return exp


def test_r_reads_every_value_and_computes_our_numbers(tmp_path: Path) -> None:
    """Texts, numbers, times and what is unknown arrive in R as they are; its sums and its Welch test are ours."""
    exp = recorded()
    for kind in ("csv", "jsonl"):
        otr.export(exp, kind, tmp_path / f"spans.{kind}")
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", program() + SHOWN], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    spans = exp.spans().sort("start_ns").collect()
    by_condition = spans.sort("condition").group_by("condition", maintain_order=True)
    durations = (spans["duration_ms"] * 1000).to_list()

    texts = [TEXTS[number % 4] for number in range(20)]
    assert told["line_text"] == texts
    # R reads any line break of a text file as its own.
    assert told["text"] == [text.replace("\r\n", "\n") for text in texts]
    assert told["number"] == told["line_number"] == [-number / 4 for number in range(20)]
    assert told["unpriced"] == spans["cost_usd"].is_null().to_list()
    assert told["unpriced"].count(True) == 5
    assert set(told["year"]) == {"2023"}
    assert told["microsecond"] == [(start // 1000) % 1_000_000 for start in spans["start_ns"]]
    assert told["duration_us"] == told["line_us"] == pytest.approx(durations, rel=1e-15)
    assert told["tokens"] == by_condition.agg(pl.col("input_tokens").sum())["input_tokens"].to_list()
    assert told["usd"] == pytest.approx(by_condition.agg(pl.col("cost_usd").sum())["cost_usd"].to_list(), rel=1e-12)

    compared = otr.compare(exp.where({"condition": "a"}), exp.where({"condition": "b"}), metrics="latency")
    effect = compared.effects["latency"]
    assert (told["p"], told["ratio"]) == (
        [pytest.approx(effect.test.p_value, rel=1e-9)],
        [pytest.approx(1 + effect.main.percent / 100, rel=1e-12)],
    )
