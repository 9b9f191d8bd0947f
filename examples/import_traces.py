"""Someone else's traces as an experiment: a file that a Collector wrote, before anyone thought of comparing.

The spans carry no condition, trial or item. What tells the groups apart is in the data (here the
model), so they can be compared. But nobody assigned them at random: what differs may be the questions.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import otel_research as otr

chance = random.Random(9)
START = 1_795_414_056_000_000_000


def span(number: int, model: str, median_ms: float) -> dict:
    """One call, as OTLP in JSON has it: ids in hexadecimal, nanoseconds as text."""
    begun = START + number * 1_000_000_000
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": f"chat {model}",
        "kind": 3,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + int(1e6 * median_ms * chance.lognormvariate(0, 0.3))),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": model}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "900"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": str(chance.randint(50, 150))}},
        ],
    }


# The Collector's `file` exporter writes one request per line. Here it writes 200 calls in four of them.
calls = [span(n, *(("gpt-4o", 800) if n % 2 else ("gpt-4o-mini", 600))) for n in range(200)]
requests = [{"resourceSpans": [{"scopeSpans": [{"spans": calls[at : at + 50]}]}]} for at in range(0, 200, 50)]
torn = json.dumps(requests[0])[:500]  # the last line of a file that was cut off while it was written
Path("traces.jsonl").write_text("\n".join([*map(json.dumps, requests), torn]) + "\n")

# What can be read is imported, what cannot is told with its line. The same file again changes nothing.
(exp,) = otr.import_spans("traces.jsonl", name="last week")
(again,) = otr.import_spans("traces.jsonl")
assert again.id == exp.id
assert exp.spans().collect().height == 200

for model, metrics in otr.metrics_by(exp, "request_model").items():
    print(f"{model:12} median {metrics.latency.median:.0f} ms, {metrics.cost.total_usd:.4f} USD, n = {metrics.n}")
print(otr.compare(exp.where({"request_model": "gpt-4o"}), exp.where({"request_model": "gpt-4o-mini"})).summary())
quality = otr.validate(exp)
print(f"data quality {quality.data_quality_score:.0f} of 100", *(found.text for found in quality.findings), sep="\n  ")
