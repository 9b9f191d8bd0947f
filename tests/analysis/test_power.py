"""Sample sizes: solved for any of n, effect, power and alpha, and answered in trials, dollars and minutes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from trial_runs import experiment

from otel_research.analysis.power import Power, power
from otel_research.analysis.stats.power import n_of_exact_test
from otel_research.errors import ConfigurationError, NotEnoughData


@pytest.mark.parametrize(
    ("options", "n"),
    [
        ({"design": "means", "effect": 0.5}, 64),  # Cohen 1988, table 2.4.1
        ({"design": "means", "effect": 0.2}, 394),
        ({"design": "proportions", "effect": -0.05, "p": 0.95}, 435),  # R power.prop.test
        ({"design": "groups", "effect": 0.25, "conditions": 5}, 40),  # R pwr.anova.test
    ],
)
def test_published_sample_sizes(options: dict[str, object], n: int):
    """Textbook sample sizes come out."""
    found = power(**options)
    assert found.n_per_condition == n


def test_the_exact_tests_of_rates_need_more_and_it_is_said():
    """Fisher's: 474 with continuity correction for the unrounded 434.4 (Fleiss 1981, table A.3), 475 for our whole 435."""
    found = power(-0.05, design="proportions", p=0.95)
    assert (found.n_per_condition, found.warnings[0].code, found.warnings[0].value) == (435, "exact_test", 475)
    assert math.ceil(n_of_exact_test(found.n_exact, -0.05)) == 474
    pairs = power(-0.05, design="paired_proportions", p=0.95, discordant=0.15)
    assert "McNemar" in pairs.warnings[0].text
    assert pairs.warnings[0].value > pairs.n_per_condition
    assert not power(0.5, design="means").warnings
    assert found.solved_for == "n"
    assert 0.8 <= found.power < 0.81


@pytest.mark.parametrize(
    "options",
    [
        {"design": "means", "sd": 2.0},
        {"design": "log_ratio", "sd": 0.8},
        {"design": "log_ratio", "sd": 0.8, "icc": 0.4, "trials_per_item": 5, "rho": 0.8},
        {"design": "proportions", "p": 0.9},
        {"design": "paired_proportions", "p": 0.9, "discordant": 0.3},
        {"design": "groups", "conditions": 4},
    ],
)
def test_all_four_are_one_equation(options: dict[str, object]):
    """What one call solves for, put into the next, gives the others back."""
    effect = power(n=200, **options).effect
    assert power(effect, n=200, **options).power == pytest.approx(0.8, abs=1e-6)
    assert power(effect, n=200, alpha=None, **options).alpha == pytest.approx(0.05, abs=1e-6)
    assert power(effect, **options).n_exact == pytest.approx(200, rel=1e-4)


def test_repeated_trials_of_an_item_are_worth_less():
    """Clustering costs Kish's design effect; sharing items gives it back."""
    alone = power(-0.1, sd=0.8)
    clustered = power(-0.1, sd=0.8, icc=0.5, trials_per_item=5)
    shared = power(-0.1, sd=0.8, icc=0.5, trials_per_item=5, rho=0.95)
    assert clustered.n_exact / alone.n_exact == pytest.approx(3.0, rel=0.01)
    assert shared.n_exact < alone.n_exact
    assert clustered.n_per_condition % 5 == 0


def test_the_recommended_n_has_the_power():
    """Simulated log-normal latencies at the recommended n are told apart 4 times in 5."""
    from otel_research.analysis.stats.two_samples import log_welch

    n = power(-0.1, sd=0.5).n_per_condition
    rng = np.random.default_rng(11)
    hits = [
        log_welch(rng.lognormal(math.log(0.9), 0.5, n), rng.lognormal(0, 0.5, n)).p_value < 0.05 for _ in range(600)
    ]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.05)


def test_a_pilot_answers_in_trials_dollars_and_minutes():
    """Spread, clustering, price and length of a trial come from the pilot."""
    pilot = experiment("pilot", {"baseline": 1.0, "candidate": 1.1}, n_items=40, repetitions=2)
    found = power(-0.05, pilot=pilot)
    assert found.design == "log_ratio"
    assert found.trials_per_item == 2
    assert found.rho is not None
    assert found.icc == pytest.approx(0.3**2 / (0.3**2 + 0.2**2), abs=0.2)
    assert found.dollars == pytest.approx(found.n_total * 0.002)
    assert found.minutes == pytest.approx(found.n_total * 0.25 / 60, rel=0.3)
    assert power(-0.05, pilot=pilot, concurrency=4).minutes == pytest.approx(found.minutes / 4)
    assert "$" in str(found)


def test_a_pilot_of_outcomes():
    """Success rates are planned from the pilot's rate."""
    found = power(0.05, pilot=experiment("pilot", {"a": 1.0}, n_items=60, failing=0.2, seed=4), outcome="success_rate")
    assert found.design == "proportions"
    assert found.n_per_condition > 100


def test_a_small_pilot_is_flagged():
    """A spread from a handful of trials is called rough."""
    found = power(-0.1, pilot=experiment("pilot", {"a": 1.0}, n_items=5))
    assert [w.code for w in found.warnings] == ["small_pilot"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"effect": 0.5, "n": 10, "power": 0.8},
        {"effect": 0.0, "sd": 1.0},
        {"effect": -1.5, "sd": 1.0},
        {"effect": 0.5, "design": "t-test"},
        {"effect": 0.2, "design": "proportions", "p": 0.9},
        {"effect": 0.5, "design": "means", "n": 1},
        {"effect": 0.5, "design": "means", "power": 80},
        {"effect": 0.5, "design": "means", "icc": 2.0},
        {"effect": -0.1},
        {"effect": -0.1, "design": "proportions"},
        {"effect": 0.1, "design": "paired_proportions", "p": 0.5, "discordant": 0.05},
    ],
)
def test_what_cannot_be_planned_is_refused(options: dict[str, object]):
    """A question without one unknown, or outside of its range, is refused with a reason."""
    with pytest.raises((ConfigurationError, NotEnoughData)):
        power(**options)


def test_round_trip():
    """A result is the same after JSON; what a pilot would add is None with a reason."""
    found = power(-0.1, sd=0.8)
    assert Power.from_json(found.to_json()) == found
    assert found.dollars is None
    assert "pilot" in found.reasons["dollars"]
