"""Results in a notebook and in other libraries: nothing is lost on the way, nothing is markup."""

from __future__ import annotations

import sys
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import otel_research as otr
from otel_research.analysis.result import Result, Warn
from otel_research.capture.ledger import Ledger
from otel_research.errors import MissingExtra
from otel_research.pricing.reprice import Repriced, Repricing
from otel_research.report.live import View
from otel_research.runner.trials import Ran, Trials

EVIL = "<script>alert(1)</script>"


class Small(Result, frozen=True, kw_only=True):
    value: float | None = None
    text: str = EVIL


REPRICED = Repriced(
    **dict.fromkeys(Repriced.__dataclass_fields__, None) | {"key": EVIL, "calls": 1}  # type: ignore[arg-type]
)
RESULTS: dict[str, Any] = {
    "result": Small(
        estimand=EVIL, unit=EVIL, n=1, n_units=1, method="small/1", reasons={"value": EVIL},
        warnings=(Warn(code="x", severity="info", text=EVIL),),
    ),
    "trials": Trials(
        experiment_id="a" * 32, order="random", seed=0, planned=1, done_before=0,
        ran=(Ran(item_id=EVIL, condition=None, repetition=0, position=0, trial_id=None, outcome="ok"),),
    ),
    "repricing": Repricing(
        before="a", after="b", unit="call", total=REPRICED, by_condition=(), by_model=(), ranking_before=(),
        ranking_after=(), ranking_survives=None, reason=EVIL, notes=(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RESULTS))
def test_a_notebook_shows_text_as_text(name: str) -> None:
    """Names come from data: in HTML they are escaped, in every result."""
    shown = RESULTS[name]._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_a_ledger_names_its_losses() -> None:
    """Every reason has its row, escaped."""
    shown = Ledger(ended=3, stored=1, lost={EVIL: 2})._repr_html_()
    assert "<script>" not in shown
    assert "<td>2</td>" in shown


@pytest.mark.parametrize("name", list(RESULTS))
def test_other_libraries_get_the_same_table(name: str) -> None:
    """Arrow and pandas have the rows, columns and values of `to_polars`; what is missing is missing there too."""
    frame = RESULTS[name].to_polars()
    assert frame.height > 0
    assert_frame_equal(pl.from_arrow(RESULTS[name].to_arrow()), frame)  # type: ignore[arg-type]
    pandas = RESULTS[name].to_pandas()
    assert list(pandas.columns) == frame.columns
    assert pandas.shape == frame.shape
    assert int(pandas.isna().sum().sum()) == sum(frame.null_count().row(0))


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"otel-research\[pandas\]"):
        RESULTS["result"].to_pandas()


def test_an_experiment_and_a_part_of_one_have_cards(host: Any) -> None:
    """What it is, how it stands, how many rows; what a user wrote is escaped."""
    with otr.experiment("<b>x", hypothesis=EVIL, tags=("a:b",), condition="x") as exp:
        host.call()
        host.call()
    card, part = exp._repr_html_(), exp.where({"condition": "x"}).where(pl.col("name") == EVIL)._repr_html_()
    assert EVIL not in card + part
    assert "<b>x" not in card + part
    assert all(text in card for text in (exp.id, "stopped", "a:b", "2 stored, 0 lost"))
    assert "rows</th><td style='text-align:left'>0<" in part


def test_a_live_view_of_calls_without_tokens_says_that_they_are_unknown() -> None:
    """Neither 0 nor an error: no call has told any."""
    view = View("x", "a" * 32, "running")
    view.rolling = {"total_spans": 2, "total_calls": 2, "total_tokens": None}
    assert dict(view.facts())["tokens"] == "–"
    view.rolling["total_tokens"] = 1200
    assert dict(view.facts())["tokens"] == "1,200"
