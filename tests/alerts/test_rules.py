"""Each rule fires where it should, stays quiet where it should, and says so once."""

from __future__ import annotations

from typing import Any

import pytest
from calls_made import SECOND, T0, call

from otel_research import alerts
from otel_research.alerts import Totals, Watch
from otel_research.errors import ConfigurationError


def fired(rule: Any, *calls: Any) -> list[str]:
    return [alert.state for alert in Watch([rule]).calls(calls)]


def test_a_slow_call_fires_and_one_at_the_limit_does_not() -> None:
    """The limit itself is allowed."""
    assert fired(alerts.LatencyThreshold(100), call(ms=100.0)) == []
    assert fired(alerts.LatencyThreshold(100), call(ms=100.1)) == ["firing"]


def test_a_call_without_a_duration_or_a_price_or_tokens_is_no_news() -> None:
    """Unknown is not zero and not too much."""
    unknown = call(ms=None, cost_usd=None, input_tokens=None, output_tokens=None)
    for rule in (alerts.LatencyThreshold(1), alerts.CostThreshold(1e-9), alerts.TokenThreshold(1)):
        assert fired(rule, unknown) == []


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        (alerts.CostThreshold(0.01), call(cost_usd=0.009), call(cost_usd=0.011)),
        (
            alerts.TokenThreshold(1000),
            call(input_tokens=900, output_tokens=100),
            call(input_tokens=900, output_tokens=101),
        ),
    ],
)
def test_cost_and_tokens_of_one_call(rule: Any, low: Any, high: Any) -> None:
    """A call over the limit fires, one at or below it does not."""
    assert fired(rule, low) == []
    assert fired(rule, high) == ["firing"]


def test_the_rate_limit_holds_alerts_back_and_counts_them() -> None:
    """One alert a minute; the next one tells how many there were in between."""
    watch = Watch([alerts.LatencyThreshold(100, every=60)])
    found = watch.calls([call(at, ms=500.0) for at in (0, 10, 20, 59, 61)])
    assert [alert.suppressed for alert in found] == [0, 3]
    assert "3 more since the last alert" in found[1].text


def test_an_error_rate_needs_enough_calls() -> None:
    """One failure of one call is no rate; of ten calls it is."""
    rule = alerts.ErrorRate(0.1, 100, min_count=10)
    assert fired(rule, *[call(at, is_failed=True) for at in range(9)]) == []
    assert fired(rule, *[call(at, is_failed=True) for at in range(10)]) == ["firing"]


def test_a_rate_that_stays_high_fires_once_and_resolves_below_clear() -> None:
    """Hysteresis: around the limit nothing flaps; the resolution carries the id of the firing."""
    watch = Watch([alerts.ErrorRate(0.5, 10, clear=0.2, every=0)])
    bad = watch.calls([call(at, is_failed=True) for at in range(10)])
    between = watch.calls([call(10 + at, is_failed=at % 2 == 0) for at in range(20)])
    good = watch.calls([call(40 + at) for at in range(10)])
    assert [alert.state for alert in bad] == ["firing"]
    assert between == []
    assert [alert.state for alert in good] == ["resolved"]
    assert good[0].id == bad[0].id


def test_a_window_of_seconds_forgets() -> None:
    """Failures of an hour ago are not in the last minute."""
    rule = alerts.ErrorRate(0.5, "60s", min_count=3)
    old = [call(at, is_failed=True) for at in range(2)]
    new = [call(3600 + at) for at in range(3)]
    assert fired(rule, *old, *new) == []


def test_time_alone_resolves_a_window_that_empties() -> None:
    """Where no calls come any more, the rate is over with its window."""
    watch = Watch([alerts.ErrorRate(0.5, "60s", min_count=3)])
    assert [one.state for one in watch.calls([call(at, is_failed=True) for at in range(3)])] == ["firing"]
    assert watch.tick(T0 + 30 * SECOND, T0) == []
    assert [one.state for one in watch.tick(T0 + 120 * SECOND, T0)] == ["resolved"]


@pytest.mark.parametrize(("statistic", "fires"), [("mean", False), ("p50", False), ("p99", True), ("max", True)])
def test_latency_of_a_window_is_judged_by_its_statistic(statistic: Any, fires: bool) -> None:
    """One slow call of twenty moves the maximum and not the median."""
    rule = alerts.LatencyThreshold(300, 20, statistic=statistic, min_count=20)
    calls = [call(at, ms=1000.0 if at == 5 else 100.0) for at in range(20)]
    assert bool(fired(rule, *calls)) is fires


def test_a_call_taken_back_leaves_its_window() -> None:
    """A twin that turns out to be another's is not counted twice."""
    watch = Watch([alerts.TokenThreshold(1000, 10, min_count=1)])
    first = call(0, input_tokens=600, output_tokens=0)
    assert watch.calls([first]) == []
    watch.taken_back([first.key])
    assert watch.calls([call(1, input_tokens=600, output_tokens=0)]) == []


def test_a_budget_fires_once_and_names_what_has_no_price() -> None:
    """At the budget, not above it; unpriced is not free."""
    watch = Watch([alerts.Budget(1.0, action="stop")])
    below = Totals(calls=9, cost_nano_usd=999_999_999)
    at = Totals(calls=10, cost_nano_usd=1_000_000_000, unpriced=3)
    assert watch.totals(below, T0) == []
    (alert,) = watch.totals(at, T0)
    assert alert.action == "stop"
    assert "3 unpriced" in alert.text
    assert watch.totals(at, T0) == []


def test_a_budget_without_any_price_stays_quiet() -> None:
    """Nothing is known of the cost, so nothing is claimed."""
    assert Watch([alerts.Budget(0.01)]).totals(Totals(calls=5, unpriced=5), T0) == []


def test_silence_fires_and_the_next_span_ends_it() -> None:
    """No data is told once, and that it is over too."""
    watch = Watch([alerts.NoData(10)])
    assert watch.tick(T0 + 10 * SECOND, T0) == []
    (silent,) = watch.tick(T0 + 11 * SECOND, T0)
    assert watch.tick(T0 + 20 * SECOND, T0) == []
    (again,) = watch.tick(T0 + 21 * SECOND, T0 + 20 * SECOND)
    assert (silent.state, again.state, silent.id == again.id) == ("firing", "resolved", True)


def test_a_custom_rule_sees_every_column_and_one_that_raises_says_no(caplog: pytest.LogCaptureFixture) -> None:
    """`span.name`, `span["name"]` and its attributes as a dict; an error is logged once."""
    row = {"trace_id": "0" * 32, "span_id": "1" * 16, "name": "tool", "end_ns": T0, "start_ns": T0, "condition": None,
           "attributes": '{"n": 3}'}  # fmt: skip
    seen = alerts.Custom(lambda span: span.name == span["name"] == "tool" and span.attributes["n"] == 3)
    broken = alerts.Custom(lambda span: span.no_such_column)
    watch = Watch([seen, broken])
    assert [alert.rule for alert in watch.spans([row])] == ["Custom"]
    watch.spans([row])
    assert sum("counts as no" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: alerts.LatencyThreshold(0),
        lambda: alerts.LatencyThreshold(float("nan")),
        lambda: alerts.LatencyThreshold(100, "soon"),
        lambda: alerts.LatencyThreshold(100, 10, statistic="p42"),  # type: ignore[arg-type]
        lambda: alerts.ErrorRate(1.5, "60s"),
        lambda: alerts.ErrorRate(0.1, 0),
        lambda: alerts.Budget(5, action="explode"),  # type: ignore[arg-type]
        lambda: alerts.Budget(True),  # type: ignore[arg-type]
        lambda: alerts.CostThreshold(1, clear=2),
        lambda: alerts.NoData(-1),
        lambda: alerts.Custom("x"),  # type: ignore[arg-type]
        lambda: alerts.TokenThreshold(10, every=-1),
        lambda: alerts.TokenThreshold(10, severity="loud"),  # type: ignore[arg-type]
        lambda: alerts.TokenThreshold(10, 5, min_count=0),
    ],
)
def test_a_rule_that_cannot_be_is_refused_when_it_is_made(make: Any) -> None:
    """Not an hour into the run."""
    with pytest.raises(ConfigurationError):
        make()


def test_rules_as_text() -> None:
    """The command line's way to write them."""
    assert alerts.parsed("budget > 5") == alerts.Budget(5.0)
    assert alerts.parsed("latency > 2000 over 60s") == alerts.LatencyThreshold(2000.0, "60s")
    assert alerts.parsed("error_rate>0.1 over 50") == alerts.ErrorRate(0.1, 50)
    assert alerts.parsed("no_data > 30") == alerts.NoData(30.0)


@pytest.mark.parametrize(
    "text", ["", "budget", "budget < 5", "speed > 3", "budget > 5 over 60s", "latency > 1e", "cost > -1"]
)
def test_text_that_is_no_rule_is_refused(text: str) -> None:
    """With what a rule looks like."""
    with pytest.raises(ConfigurationError):
        alerts.parsed(text)
