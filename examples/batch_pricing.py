"""What did an offline batch cost, and what would it have cost otherwise? From its result file alone.

Providers answer batches hours later, at their own price. The file of results has tokens but no
times: so it becomes spans with a service tier, whose cost is known and whose latency means nothing.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")
chance = random.Random(12)
MODELS = {"large": "gpt-4o-2024-08-06", "small": "gpt-4o-mini-2024-07-18"}


def result(custom_id: str, model: str) -> dict:
    """A line of the file that a batch ends with (OpenAI's form, shortened)."""
    usage = {"prompt_tokens": 900, "completion_tokens": chance.randint(80, 160)}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": {"model": model, "usage": usage}}}


lines = [result(f"{arm}/q{item}", model) for arm, model in MODELS.items() for item in range(40)]
Path("results.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")

# One trial per result: its id says which condition and item it was.
with otr.experiment("batch", metrics={"latency": False}) as exp:
    for line in Path("results.jsonl").read_text().splitlines():
        answer = json.loads(line)
        arm, item = answer["custom_id"].split("/")
        body = answer["response"]["body"]
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": body["model"],
            "gen_ai.response.model": body["model"],
            "gen_ai.usage.input_tokens": body["usage"]["prompt_tokens"],
            "gen_ai.usage.output_tokens": body["usage"]["completion_tokens"],
            "openai.response.service_tier": "batch",  # without it the calls would be priced as ordinary ones
        }
        with exp.arm(arm), exp.trial(item=item), tracer.start_as_current_span("chat", attributes=attributes):
            pass

for condition, metrics in otr.metrics_by(exp, "condition", unit="trial").items():
    print(f"{condition}: {metrics.cost.total_usd:.5f} USD for {metrics.n} results, unpriced: {metrics.cost.unpriced}")

# A question about money needs no new run: the same tokens under another dated table. A price file
# overrides what it names; the rest comes from the bundled table. Here: what if we had not waited?
Path("ordinary.toml").write_text(
    """
name = "as ordinary requests"
date = 2026-11-01

[[price]]
provider = "openai"
model = "gpt-4o-mini*"
service_tier = "batch"
input = 0.15      # US dollars per million tokens
output = 0.6

[[price]]
provider = "openai"
model = "gpt-4o-2024*"
service_tier = "batch"
input = 2.5
output = 10.0
"""
)
ordinary = otr.reprice(exp, prices="ordinary.toml")
for row in ordinary.by_condition:
    print(f"{row.key}: {row.before_usd:.5f} -> {row.after_usd:.5f} USD ({row.change_percent:+.0f} %)")
print("cheapest first:", ", ".join(ordinary.ranking_after), "; the ranking survives:", ordinary.ranking_survives)
assert ordinary.total.unpriced_after == 0
assert round(ordinary.total.change_percent) == 100
