"""A gate in CI: the prompts' tests are trials, and the build fails unless the new prompt is shown to be better.

In your repository the tests stay in `tests/` and CI has two lines:

    pytest --research --research-name prompts --research-store disk:runs
    otel-research compare prompts:long prompts:short --store disk:runs

Here one file is both: pytest collects the test below, and `main` is what CI does.
"""

from __future__ import annotations

import random
import sys
import time

import pytest
from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")
PROMPTS = {"long": "Think about it at length, then answer.", "short": "Answer."}


def answer(question: str, prompt: str) -> str:
    """What is tested. The "model" takes as long as the prompt is, and as hard as the question is."""
    hardness = random.Random(question).lognormvariate(0, 0.6)
    with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
        time.sleep(0.0004 * len(prompt) * hardness)
    return "42"


def arms(questions: int) -> list:
    """Every question under both prompts; the mark names item and condition, which is what pairs them."""
    return [
        pytest.param(f"q{number}", prompt, marks=pytest.mark.research(item=f"q{number}", condition=condition))
        for number in range(questions)
        for condition, prompt in PROMPTS.items()
    ]


@pytest.mark.parametrize(("question", "prompt"), arms(16))
def test_answer(question: str, prompt: str) -> None:
    # An ordinary test: if it fails, so does its trial, and the reliability of that prompt goes down.
    assert answer(question, prompt) == "42"


def main() -> int:
    options = ["--research", "--research-name=prompts", "--research-store=disk:runs"]
    failed = pytest.main(["-q", "--disable-warnings", "-p", "no:cacheprovider", *options, __file__])
    if failed:
        return int(failed)
    otr.configure(store="disk:runs")
    (run,) = otr.list_experiments(name="prompts")
    comparison = otr.compare(run.where({"condition": "long"}), run.where({"condition": "short"}))
    print(comparison.summary())
    comparison.assert_improved("latency")  # an AssertionError, with the numbers, is a red build
    return 0


if __name__ == "__main__":
    sys.exit(main())
