"""Experiments by name: as the command line takes them, and never one of several by chance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import otel_research as otr
from otel_research.errors import ConfigurationError, UnknownExperiment
from otel_research.testing import recording


def test_an_experiment_is_found_by_id_by_its_beginning_and_by_name() -> None:
    with recording("memory:"):
        with otr.experiment("short prompts") as exp, exp.trial(item=1):
            assert otr.get_experiment("short prompts") is exp, "one that runs is the one that runs"
        for said in (exp.id, exp.id[:8], "short prompts"):
            assert otr.get_experiment(said).id == exp.id
        for unknown in ("long prompts", exp.id[:3], "f" * 32, None):
            with pytest.raises(UnknownExperiment, match="no experiment"):
                otr.get_experiment(unknown)  # type: ignore[arg-type]


def test_several_of_a_name_are_an_error_that_lists_their_ids() -> None:
    with recording("memory:"):
        ids = []
        for _ in range(2):
            with otr.experiment("twice") as exp:
                ids.append(exp.id)
        for ask in (otr.get_experiment, otr.calculate_metrics, otr.stop_experiment):
            with pytest.raises(ConfigurationError, match="2 experiments are called 'twice'") as told:
                ask("twice")
            assert all(one in str(told.value) for one in ids)


def test_numbers_take_names_and_conditions_of_names() -> None:
    with recording("memory:"):
        for name in ("fast", "slow", "a:b"):
            with otr.experiment(name) as exp:
                for item in range(4):
                    with exp.arm("x" if item % 2 else "y"), exp.trial(item=item):
                        pass
        assert otr.calculate_metrics("fast", unit="trial").n == 4
        assert otr.calculate_metrics("fast:x", unit="trial").n == 2
        assert otr.calculate_metrics("a:b", unit="trial").n == 4
        assert otr.calculate_metrics("a:b:x", unit="trial").n == 2
        found = otr.compare("slow", "fast", metrics="latency")
        assert (found.baseline, found.candidate) == ("slow", "fast")


def test_a_text_with_two_meanings_is_an_error_and_an_id_has_one() -> None:
    """ "a:b" is an experiment or a condition of another: neither is taken by chance."""
    with recording("memory:"):
        for name in ("a", "a:b"):
            with otr.experiment(name) as exp, exp.arm("b"), exp.trial(item=1):
                pass
        with pytest.raises(ConfigurationError, match="experiment 'a:b' or condition 'b' of 'a'"):
            otr.calculate_metrics("a:b", unit="trial")
        assert otr.calculate_metrics(f"{exp.id}:b", unit="trial").n == 1
        with pytest.raises(UnknownExperiment, match="'c:b'"):
            otr.calculate_metrics("c:b", unit="trial")


@pytest.mark.parametrize(
    "ask",
    [
        otr.calculate_metrics,
        otr.validate,
        lambda side: otr.metrics_by(side, "condition"),
        lambda side: otr.compare("prompts:long", side),
        otr.time_series,
    ],
)
def test_a_condition_that_no_row_has_is_an_error(ask: Callable[[str], object]) -> None:
    """And no result about nothing: the conditions that there are are named."""
    with recording("memory:"):
        with otr.experiment("prompts") as exp, exp.arm("long"), exp.trial(item=1):
            pass
        with pytest.raises(ConfigurationError, match=r"'prompts' has no condition 'lnog'\. Its conditions: long\."):
            ask("prompts:lnog")
