"""Before the declared n every interval holds at every look, and for all outcomes that are judged together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frames import Rows

from otel_research.analysis.compare import compare
from otel_research.analysis.interim import interim
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord


def arms(effect: float = 1.0, conditions: str = "ab", **record: Any) -> list[Subject]:
    """40 of 200 declared trials of each condition; the later conditions take `effect` times as long."""
    rng = np.random.default_rng(4)
    rows = Rows()
    for at in range(40):
        for condition in conditions:
            length = float(rng.lognormal(5, 0.4)) * (1.0 if condition == "a" else effect)
            failed = {"status": "error"} if rng.random() < 0.2 else {}
            rows.trial(length, condition=condition, item_id=f"{condition}{at}", call_usd=float(rng.lognormal(-5, 0.3)),
                       call_input_tokens=int(rng.integers(50, 150)), call_output_tokens=5, **failed)  # fmt: skip
    whole = Subject(rows.frame(), ExperimentRecord(id="e" * 32, name="run", sample_size=200, **record))
    return [whole.where({"condition": condition}) for condition in conditions]


def level_of(found: Any, name: str) -> float:
    ci = found.effects[name].improvement_ci
    assert "confidence sequence" in ci.method
    return float(ci.level)


def test_intervals_of_the_primary_outcomes_share_alpha_and_so_do_those_of_the_rest() -> None:
    found = compare(*arms(primary=("latency", "cost", "tokens")))
    assert [level_of(found, name) for name in ("latency", "cost", "tokens")] == pytest.approx([1 - 0.05 / 3] * 3)
    assert level_of(found, "success_rate") == pytest.approx(0.95)
    assert found.effects["cost"].mean.ci["difference"].level == pytest.approx(1 - 0.05 / 3)
    assert "Bonferroni over 3" in found.effects["latency"].improvement_ci.method  # type: ignore[union-attr]
    alone = compare(*arms(primary=("latency",)), metrics="latency").effects["latency"].improvement_ci
    shared = found.effects["latency"].improvement_ci
    assert alone is not None
    assert shared is not None
    assert shared.low < alone.low < alone.high < shared.high  # type: ignore[operator]


def test_several_candidates_share_it_too_and_nobody_does_without_a_correction() -> None:
    base, *others = arms(conditions="abc", primary=("latency", "cost"))
    found = compare(base, others)
    assert level_of(found, "latency") == level_of(found.others[0], "cost") == pytest.approx(1 - 0.05 / 4)
    assert level_of(compare(base, others, correction="none"), "latency") == pytest.approx(0.95)


def test_a_claim_that_only_one_outcome_alone_supports_is_not_made_of_three() -> None:
    effect = 0.7
    assert compare(*arms(effect, primary=("latency",)), metrics="latency").verdict == "better"
    found = compare(*arms(effect, primary=("latency", "cost", "tokens")))
    assert found.verdict == "inconclusive"
    assert found.effects["latency"].gain > 0  # type: ignore[operator]


def test_after_the_declared_n_the_intervals_are_the_tests_own() -> None:
    base, cand = arms(primary=("latency", "cost"))
    record = ExperimentRecord(id="e" * 32, name="run", sample_size=40, primary=("latency", "cost"))
    found = compare(*(Subject(arm.spans, record) for arm in (base, cand)))
    ci = found.effects["latency"].improvement_ci
    assert ci is not None
    assert (ci.level, "sequence" in ci.method) == (0.95, False)


def test_looks_at_several_declared_outcomes_share_alpha() -> None:
    shared = interim(*arms(primary=("latency", "cost")), metric="latency")
    alone = interim(*arms(primary=("latency",)), metric="latency")
    assert (shared.alpha, alone.alpha) == (0.025, 0.05)
    assert shared.boundary > alone.boundary  # type: ignore[operator]
    assert "alpha is shared by 2 declared outcomes (Bonferroni)" in shared.assumptions
    assert interim(*arms(primary=("latency", "cost")), metric="tokens").alpha == 0.05
    assert interim(*arms(primary=("latency", "cost")), metric="latency", correction="none").alpha == 0.05
    with pytest.raises(ConfigurationError, match="correction='holm'"):
        interim(*arms(), correction="holm")
