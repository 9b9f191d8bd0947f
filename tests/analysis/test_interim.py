"""`interim`: looking early costs alpha, and the cost is paid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frames import Rows

from otel_research.analysis.compare import compare
from otel_research.analysis.interim import Interim, interim
from otel_research.analysis.subject import Subject
from otel_research.errors import NotEnoughData
from otel_research.experiments import ExperimentRecord


def look(
    n: int, effect: float, notes: tuple[dict[str, Any], ...] = (), size: int | None = 200, seed: int = 0
) -> Interim:
    rng = np.random.default_rng(seed)
    rows = Rows()
    for i in range(n):
        for condition in ("a", "b"):
            rows.trial(
                float(rng.lognormal(5, 0.4)) * (effect if condition == "b" else 1),
                condition=condition,
                item_id=f"{condition}{i}",
            )
    record = ExperimentRecord(id="e" * 32, name="run", sample_size=size)
    subject = Subject(rows.frame(), record, annotations=notes)
    return interim(subject.where({"condition": "a"}), subject.where({"condition": "b"}), metric="latency")


def test_the_first_early_look_has_the_published_obrien_fleming_type_boundary() -> None:
    found = look(100, 1.0)
    # Lan-DeMets, O'Brien-Fleming type, two-sided .05: z = 2.963 at half of the information.
    assert found.fraction == 0.5
    assert found.boundary == pytest.approx(2.963, abs=0.002)
    assert found.verdict == "continue"


def test_an_overwhelming_effect_stops_and_a_small_one_does_not() -> None:
    assert look(100, 0.5).stop
    assert look(100, 0.5).verdict == "better"
    assert look(100, 2.0).verdict == "worse"
    assert not look(20, 0.9).stop


def test_a_look_is_recorded_and_the_next_one_pays_for_it() -> None:
    first = look(100, 1.0)
    again = look(100, 1.0, (first.note(),))
    final = look(200, 1.0, (first.note(),))
    alone = look(200, 1.0)
    assert (first.look, again.look, final.look) == (1, 1, 2)
    assert final.boundary > alone.boundary  # type: ignore[operator]
    assert alone.boundary == pytest.approx(1.96, abs=0.001)
    assert final.spent == pytest.approx(0.05)


def test_without_a_declared_n_the_interval_holds_at_every_look() -> None:
    found = look(100, 1.0, size=None)
    assert found.rule == "confidence sequence"
    assert found.boundary is None
    assert found.reasons["boundary"]
    assert found.anytime_p is not None
    assert found.improvement_ci.low < found.improvement_pct < found.improvement_ci.high  # type: ignore[operator]


def test_peeking_twenty_times_without_a_declared_n_keeps_the_level() -> None:
    rng = np.random.default_rng(1)
    stopped = 0
    for _ in range(60):
        a, b = rng.lognormal(5, 1, 400), rng.lognormal(5, 1, 400)
        stopped += any(interim(a[:n], b[:n]).stop for n in range(20, 401, 20))
    # Fixed-n tests would stop in about 25 % of such runs.
    # 60 runs at a true 5 %: more than 9 has probability 0.1 %.
    assert stopped <= 9


def test_a_score_of_right_and_wrong_changes_by_points_as_in_a_comparison() -> None:
    """0.5 -> 0.7 of 0/1 values is 20 points, 5 -> 6 points of ten is 20 %."""
    right = [0.0, 1.0] * 50, [0.0] * 30 + [1.0] * 70
    graded = [4.0, 6.0] * 50, [5.0, 7.0] * 50
    for (baseline, candidate), unit, estimand in ((right, "points", "rate"), (graded, "%", "mean")):
        found = interim(baseline, candidate, metric="score:x")
        assert (found.improvement_pct, found.change_unit) == (pytest.approx(20.0), unit)
        assert compare(baseline, candidate, metrics=["score:x"]).effects["score:x"].estimand == estimand


def test_a_look_at_nothing_is_refused() -> None:
    with pytest.raises(NotEnoughData):
        interim([1.0, 1.0], [1.0, 1.0])


def test_an_interim_result_is_the_same_after_json() -> None:
    found = look(50, 0.9)
    assert Interim.from_json(found.to_json()) == found
