"""Rules attached to a running experiment: recorded, delivered, and able to stop it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import otel_research as otr
from otel_research import alerts

# A dime a call, at gpt-4o-mini's price of some date: what it costs exactly is asked of the metrics.
DEAR = {"gen_ai.usage.input_tokens": 500_000, "gen_ai.usage.output_tokens": 50_000}


def noted(exp: otr.Experiment, kind: str = "alert") -> list[dict[str, Any]]:
    return [note for note in exp.annotations() if note["kind"] == kind]


def test_an_alert_is_recorded_in_the_experiment_and_given_to_the_sinks(host: Any) -> None:
    """With rule, value, limit and the span that did it; at the end of the run nothing is pending."""
    got: list[alerts.Alert] = []
    with otr.experiment("alarmed", alerts=[alerts.TokenThreshold(1000), got.append]) as exp:
        host.call()
        host.call(**DEAR)
    (note,) = noted(exp)
    assert (note["rule"], note["value"], note["limit"], note["state"]) == ("TokenThreshold", 550_000, 1000, "firing")
    assert [alert.id for alert in got] == [note["id"]]
    span = exp.spans().filter(__import__("polars").col("span_id") == note["span_id"]).collect()
    assert span["input_tokens"].to_list() == [500_000]


def test_quiet_rules_leave_nothing(host: Any) -> None:
    """No alert, no annotation."""
    rules = [
        alerts.LatencyThreshold(60_000),
        alerts.ErrorRate(0.5, "60s"),
        alerts.CostThreshold(10),
        alerts.Budget(100, action="stop"),
        alerts.NoData(600),
    ]
    with otr.experiment("quiet", alerts=rules) as exp:
        for _ in range(20):
            with exp.trial():
                host.call()
    assert exp.annotations() == []


def test_live_and_recorded_spans_give_the_same_alerts(host: Any) -> None:
    """The rules go by the spans' own clock, so looking later sees what looking then saw."""
    rules = [alerts.ErrorRate(0.3, 10, min_count=5, every=0), alerts.TokenThreshold(1000, every=0)]
    with otr.experiment("both", alerts=rules) as exp:
        for number in range(40):
            with host.tracer.start_as_current_span(
                "chat",
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "gpt-4o-mini",
                    "gen_ai.usage.input_tokens": 2000 if number == 7 else 10,
                    "gen_ai.usage.output_tokens": 1,
                },
            ) as span:
                if 10 <= number < 18:
                    span.set_status(StatusCode.ERROR)
    from otel_research.watching.calls import Calls

    change = Calls().add(otr.get_experiment(exp.id).library.scan(exp.id).collect())
    recorded = alerts.Watch(rules).calls(change.added)
    live = noted(exp)
    assert [(alert.rule, alert.state, alert.value, alert.time_ns) for alert in recorded] == [
        (note["rule"], note["state"], note["value"], note["at_ns"]) for note in live
    ]
    assert [note["state"] for note in live if note["rule"] == "ErrorRate"] == ["firing", "resolved"]


def test_a_spent_budget_stops_the_next_trial(host: Any) -> None:
    """One call after the other: no trial begins once the budget is spent."""
    ran = 0

    def run_all() -> None:
        nonlocal ran
        for item in range(100):
            with exp.trial(item=item):
                ran += 1
                host.call(**DEAR)

    with otr.experiment("stopped", alerts=[alerts.Budget(0.3, action="stop")]) as exp:
        with pytest.raises(otr.BudgetExceeded, match="stopped"):
            run_all()
        cost = exp.metrics().cost
    assert cost is not None
    assert cost.total_usd is not None
    each = cost.total_usd / ran
    assert cost.total_usd >= 0.3
    assert cost.total_usd - each < 0.3
    assert noted(exp)[0]["action"] == "stop"


def test_a_budget_overshoots_by_at_most_the_calls_in_flight(host: Any) -> None:
    """Eight threads at once: at most eight calls more than the budget pays."""
    threads, each = 8, otr_price(host)
    stopped = threading.Event()
    with otr.experiment("parallel", alerts=[alerts.Budget(20 * each, action="stop")]) as exp:

        def work(item: int) -> None:
            if stopped.is_set():
                return
            try:
                with exp.activate(), exp.trial(item=item):
                    time.sleep(0.002)
                    host.call(**DEAR)
            except otr.BudgetExceeded:
                stopped.set()

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(400)))
        cost = exp.metrics().cost
    assert stopped.is_set()
    assert cost is not None
    assert cost.total_usd is not None
    assert 20 * each <= cost.total_usd <= (20 + threads) * each + 1e-9


def otr_price(host: Any) -> float:
    with otr.experiment("price") as exp:
        host.call(**DEAR)
    cost = exp.metrics().cost
    assert cost is not None
    assert cost.total_usd is not None
    return cost.total_usd


def test_run_trials_ends_with_the_budget(host: Any) -> None:
    """The runner's trials are trials: what the rule stops is the plan."""

    def answer(item: int, condition: str | None) -> None:
        host.call(**DEAR)

    with otr.experiment("plan", alerts=[alerts.Budget(0.2, action="stop")]) as exp:
        with pytest.raises(otr.BudgetExceeded):
            exp.run_trials(answer, list(range(50)))
        assert exp.metrics().n < 10


def test_a_dead_webhook_loses_nothing(host: Any) -> None:
    """The record says what was not delivered; that nobody waits is `test_nobody_waits_for_a_sink`."""
    sink = alerts.webhook("http://127.0.0.1:9/dead")
    with otr.experiment("dead sink") as exp:
        exp.alert(alerts.TokenThreshold(10, every=0), sinks=[sink])
        for _ in range(3):
            host.call()
    assert len(noted(exp)) == 3
    undelivered = {note["alert_id"] for note in noted(exp, "alert_delivery") if note["state"] == "undelivered"}
    assert undelivered == {note["id"] for note in noted(exp)}


def test_alerts_do_not_change_the_experiment_s_numbers(host: Any) -> None:
    """Alert annotations are no exclusions and no scores."""
    with otr.experiment("same", alerts=[alerts.TokenThreshold(10, every=0)]) as exp:
        for item in range(5):
            with exp.trial(item=item):
                host.call()
        before = exp.metrics(unit="trial").n
    assert noted(exp)
    assert exp.metrics(unit="trial").n == before == 5


def test_an_odd_alerts_argument_is_refused_before_anything_is_stored(host: Any) -> None:
    """Nothing is half started."""
    for wrong in ([3], ["not an address"], [print], [alerts.Budget]):
        with pytest.raises(otr.ConfigurationError):
            otr.start_experiment("wrong", alerts=wrong)
    assert otr.list_experiments(name="wrong") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_obeys_the_budget_and_the_parent_counts_its_spans(
    disk_host: Any, wait_for: Callable[[int], None]
) -> None:
    """The parent's watcher follows the child's journal; the child reads what the parent recorded."""
    with otr.experiment("forked", alerts=[alerts.Budget(0.2, action="stop")]) as exp:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(200):
                    with exp.trial():
                        disk_host.call(**DEAR)
                    time.sleep(0.05)
            except otr.BudgetExceeded:
                code = 0
            finally:
                os._exit(code)
        deadline = time.monotonic() + 20
        while not noted(exp) and time.monotonic() < deadline:
            time.sleep(0.05)
        wait_for(child)
        with pytest.raises(otr.BudgetExceeded), exp.trial():
            pass
    assert [note["rule"] for note in noted(exp)] == ["Budget"]
