"""An exclusion is checked before it is written; a stored one that cannot be used is named and stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from frames import Rows

import otel_research as otr
from otel_research.analysis.compare import compare
from otel_research.analysis.metrics import calculate_metrics
from otel_research.analysis.quality import validate
from otel_research.analysis.subject import Subject
from otel_research.analysis.trials import trials
from otel_research.errors import ConfigurationError


@pytest.fixture
def exp(tmp_path: Path):
    """A stopped experiment with trials of items 1 and 2."""
    recorder = otr.configure(store="memory:")
    try:
        with otr.experiment("exclusions") as running:
            for item in (1, 2):
                with running.trial(item=item):
                    pass
        yield running
    finally:
        recorder.close()


@pytest.mark.parametrize("where", [{"itm_id": "1"}, {"item_id": 1.5}, {"item_id": True}, {"repetition": "first"},
                                   {"is_call": "yes"}, {"item_id": ["1", 2.5]}])  # fmt: skip
def test_an_exclusion_that_no_row_can_answer_is_refused_and_not_written(exp, where) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(where))):
        exp.exclude(where, reason="typo")
    assert list(exp.annotations()) == []
    assert otr.calculate_metrics(exp, unit="trial").n == 2


def test_an_item_may_be_named_by_the_number_it_was_given_as(exp) -> None:
    """In an exclusion and in a selection, alone and in a list, as `exp.trial(item=1)` took it."""
    assert exp.where({"item_id": 1}).trials().collect()["item_id"].to_list() == ["1"]
    assert exp.where({"item_id": [1, "2"]}).trials().collect().height == 2
    exp.exclude({"item_id": 1}, reason="ambiguous")
    assert otr.calculate_metrics(exp, unit="trial").n == 1
    assert exp.trials().collect()["outcome"].to_list() == ["excluded", "ok"]


def test_a_stored_exclusion_that_cannot_be_used_is_a_warning_of_every_result() -> None:
    def subject(condition: str) -> Subject:
        rows = Rows()
        for index in range(6):
            rows.trial(100.0 + index, condition=condition, item_id=f"q{index}")
        notes = ({"kind": "exclusion", "where": {"itm_id": "1"}, "reason": "typo"},)
        return rows.subject(annotations=notes, label=condition)

    one, two = subject("a"), subject("b")
    metrics, compared, quality = calculate_metrics(one, unit="trial"), compare(one, two), validate(one)
    assert (metrics.n, trials(one).collect().height) == (6, 6)
    told = [[w.text for w in result.warnings if w.code == "unusable_exclusion"] for result in (metrics, compared)]
    told.append([finding.text for finding in quality.findings if finding.code == "unusable_exclusion"])
    assert [len(texts) for texts in told] == [1, 2, 1]
    assert all("itm_id" in text and "typo" in text for texts in told for text in texts)
