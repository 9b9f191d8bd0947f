from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl
import pytest

from otel_research.demo.model import Ask, Plan, Tool, body_hash, embedding, plan
from otel_research.demo.profiles import NO_FAULTS, PROFILES, Faults, ModelProfile
from otel_research.demo.questions import questions, read_answer, solve
from otel_research.errors import ConfigurationError

MINI = next(profile for profile in PROFILES if profile.name == "gpt-4o-mini")


def asking(question: str = "What is 12 * 34?", **more: Any) -> Ask:
    return Ask(model=MINI.name, texts=(question,), question=question, body_hash=question, **more)


def many(count: int, profile: ModelProfile = MINI, faults: Faults = NO_FAULTS) -> Iterator[tuple[Plan, int]]:
    for one in questions(count, seed=3):
        yield plan(asking(one.text), profile, seed=1, faults=faults), one.answer


def test_same_seed_and_request_give_the_same_answer() -> None:
    """An answer is a function of seed, request and attempt, and each of the three matters."""
    first = plan(asking(), MINI, seed=1)
    assert plan(asking(), MINI, seed=1) == first
    assert plan(asking(), MINI, seed=2) != first
    assert plan(asking(), MINI, seed=1, attempt=1) != first
    assert plan(asking("What is 12 * 35?"), MINI, seed=1) != first


def test_the_order_of_a_bodys_keys_does_not_matter() -> None:
    """Two bodies with the same content are the same request; another path is another one."""
    assert body_hash("/p", {"a": 1, "b": [2]}) == body_hash("/p", {"b": [2], "a": 1})
    assert body_hash("/p", {"a": 1}) != body_hash("/q", {"a": 1})


def test_models_are_as_accurate_as_their_profile() -> None:
    """Better models answer more questions right, and every answer is a number."""
    right = {}
    for accuracy in (0.6, 0.95):
        profile = msgspec.structs.replace(MINI, accuracy=accuracy)
        given = [(read_answer(decided.text), answer) for decided, answer in many(2000, profile)]
        assert all(isinstance(one, int) for one, _ in given)
        right[accuracy] = sum(one == answer for one, answer in given) / len(given)
    assert right[0.6] == pytest.approx(0.6, abs=0.06)
    assert right[0.95] == pytest.approx(0.95, abs=0.06)


def test_models_err_together_on_hard_questions() -> None:
    """A question has a difficulty for all models, so their errors are positively correlated."""
    others = [profile for profile in PROFILES if profile.name in ("gpt-4o-mini", "gpt-4.1-nano")]
    frame = pl.DataFrame(
        {
            profile.name: [float(read_answer(decided.text) == answer) for decided, answer in many(3000, profile)]
            for profile in others
        }
    )
    assert frame.select(pl.corr("gpt-4o-mini", "gpt-4.1-nano")).item() > 0.03


def test_latency_has_the_profiles_median_and_a_heavy_tail() -> None:
    """Half of the answers come within the median; the 99th percentile is far beyond a lognormal's."""
    latencies = pl.Series([decided.delay_ms for decided, _ in many(4000)])
    assert latencies.median() == pytest.approx(MINI.median_ms, rel=0.06)
    assert (latencies.quantile(0.99, "linear") or 0) > 2.5 * MINI.median_ms


def test_failures_come_at_their_rate_and_in_bursts() -> None:
    """429 and 500 have the stated rates, and an attempt after a failed one fails more often."""
    faults = Faults(rate_limit=0.1, server_error=0.05, persistence=0.5)
    decided = [plan(asking(f"{n} + 1"), MINI, seed=1, faults=faults) for n in range(4000)]
    again = [plan(asking(f"{n} + 1"), MINI, seed=1, attempt=1, failed_before=True, faults=faults) for n in range(2000)]
    assert sum(one.status == 429 for one in decided) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(one.status == 500 for one in decided) / 4000 == pytest.approx(0.05, abs=0.015)
    assert sum(one.is_failure for one in again) / 2000 == pytest.approx(0.5, abs=0.04)
    assert all((one.retry_after_ms is not None) == one.is_failure for one in decided)
    assert all(one.usage.output == 0 for one in decided if one.is_failure)


def test_parts_of_a_count_never_exceed_it() -> None:
    """Cached tokens are part of the input, reasoning tokens of the output."""
    thinker = next(profile for profile in PROFILES if profile.name == "o4-mini")
    usages = [plan(asking("x " * n), thinker, seed=1, faults=NO_FAULTS).usage for n in range(1, 300)]
    assert all(0 <= one.cached <= one.input and 0 < one.reasoning < one.output for one in usages)
    assert any(one.cached for one in usages)


def test_a_token_limit_cuts_the_answer() -> None:
    """An answer longer than `max_tokens` ends with the finish reason "length"."""
    cut = plan(asking(max_tokens=3), MINI, seed=1, faults=NO_FAULTS)
    assert (cut.finish, len(cut.text), cut.usage.output) == ("length", 12, 3)


def test_tool_arguments_fit_the_schema() -> None:
    """A tool call names the tool and fills every required property with a value of its type."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "days", "unit"],
    }
    decided = plan(
        asking("Oslo?", tools=(Tool("weather", schema),), call_tool="weather"), MINI, seed=1, faults=NO_FAULTS
    )
    assert decided.tool_call is not None
    arguments = decided.tool_call.arguments
    assert decided.finish == "tool_calls"
    assert isinstance(arguments["days"], int)
    assert (arguments["city"], arguments["unit"] in ("C", "F")) == ("Oslo?", True)


def test_other_questions_can_have_answers_too() -> None:
    """The caller may give the right answers to questions that are not sums."""
    sure = msgspec.structs.replace(MINI, accuracy=1.0)
    decided = plan(asking("Capital of Norway?"), sure, seed=1, faults=NO_FAULTS, answers={"Capital of Norway?": "Oslo"})
    assert decided.text.endswith("Answer: Oslo")


def test_embeddings_are_unit_vectors_of_their_text() -> None:
    """Equal texts have equal vectors of length one, other texts others."""
    assert embedding(1, "a", 16) == embedding(1, "a", 16) != embedding(1, "b", 16)
    assert sum(part * part for part in embedding(1, "a", 16)) == pytest.approx(1)


def test_questions_are_seeded_and_solvable() -> None:
    """The same seed gives the same questions, and the server finds their answers in their words."""
    assert questions(20, seed=5) == questions(20, seed=5) != questions(20, seed=6)
    assert all(solve(one.text) == one.answer for one in questions(200, seed=5))
    assert solve("How are you?") is None
    assert read_answer("take 12, then Answer: -408") == -408
    assert read_answer("none") is None


@pytest.mark.parametrize("rates", [{"rate_limit": 1.5}, {"slow": -0.1}, {"rate_limit": 0.6, "server_error": 0.6}])
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    """A rate that is no probability is named when it is given."""
    with pytest.raises(ConfigurationError, match="Faults"):
        Faults(**rates)
