"""What the core install does without any extra; `nox -s layers` runs it where there is none."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import otel_research as otr
from otel_research.cli import main
from otel_research.testing import recording


def test_an_experiment_from_its_spans_to_its_numbers_and_files(tmp_path: Path) -> None:
    """Capture, metrics, a comparison, an export and the list need nothing but the core."""
    store = f"disk:{tmp_path / 'store'}"
    call: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
    }
    with recording(store) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("core") as exp:
            for number in range(40):
                with exp.arm("a" if number % 2 else "b"), exp.trial(item=number // 2):
                    start = 1_700_000_000_000_000_000 + number * 10**9
                    length = (100 + number if number % 2 else 300 + number) * 10**6
                    tracer.start_span("chat gpt-4o-mini", attributes=call, start_time=start).end(start + length)
        metrics = otr.calculate_metrics(exp)
        assert (metrics.latency.count, metrics.tokens.total_input) == (40, 4000)
        assert metrics.cost.total_usd > 0
        compared = otr.compare(exp.where({"condition": "b"}), exp.where({"condition": "a"}))
        assert compared.verdict
        path = otr.export(exp, "csv", tmp_path / "spans.csv")
        with path.open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 80
    listed = CliRunner().invoke(main, ["ls", "--json", "--store", store])
    assert listed.exit_code == 0, listed.output
    assert [found["name"] for found in json.loads(listed.stdout)] == ["core"]
