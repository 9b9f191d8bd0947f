"""Advice about what a run left unsaid: gentle, once, and never where there is nothing to say."""

from __future__ import annotations

from typing import Any

import pytest

import otel_research as otr
from otel_research.analysis.practice import advice
from otel_research.testing import recording


def codes(conditions: int = 2, **record: Any) -> list[str]:
    return [code for code, _ in advice(record, conditions)]


SAID = {"hypothesis": "b is faster", "sample_size": 20}


@pytest.mark.parametrize("name", ["test1", "Test", "my-experiment", "exp_02", "x", "run 3", "tmp", "new test", "a"])
def test_a_name_that_says_nothing_is_noticed(name: str) -> None:
    """Placeholders are told from names, in any case and with any number."""
    assert codes(name=name, **SAID) == ["placeholder_name"]


@pytest.mark.parametrize("name", ["test-time-compute", "short-vs-long", "run-length", "gpt-4o", "ab", "latency test"])
def test_a_name_that_says_something_is_left_alone(name: str) -> None:
    """A placeholder's word inside a name is no placeholder."""
    assert codes(name=name, **SAID) == []


def test_what_a_comparison_needs_is_asked_of_comparisons() -> None:
    """Hypothesis and sample size are missed where conditions are compared, not in a run of one, nor in an import."""
    assert codes(name="short-vs-long") == ["no_hypothesis", "no_sample_size"]
    assert codes(conditions=1, name="nightly") == []
    assert codes(name="test1", environment={"source": "import"}) == []


def test_validate_tells_it_as_information_that_costs_no_points() -> None:
    """Advice is a finding of severity info; the score is of the data and stays as it is."""
    scores, found = [], []
    for name, said in (("test1", {}), ("short-vs-long", SAID)):
        with recording() as _, otr.experiment(name, **said) as exp:
            for condition in ("a", "b"):
                with exp.arm(condition), exp.trial(item="q"):
                    pass
            quality = otr.validate(exp)
            scores.append(quality.data_quality_score)
            found.append({one.code: one.severity for one in quality.findings if one.code in ADVICE})
    assert scores[0] == scores[1]
    assert found == [dict.fromkeys(ADVICE, "info"), {}]


ADVICE = ("placeholder_name", "no_hypothesis", "no_sample_size")
