"""Analysis of variance: from sequences, frames and experiments to a table that says what it rests on."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from trial_runs import experiment

from otel_research.analysis.anova import anova
from otel_research.analysis.anova_result import Anova
from otel_research.analysis.stats import linear
from otel_research.errors import ConfigurationError, NotEnoughData


def crossed(seed: int = 1, n: int = 20, drop: tuple[str, str] | None = None) -> pl.DataFrame:
    """Two factors, an effect of `prompt` only."""
    rng = np.random.default_rng(seed)
    rows = [
        {"prompt": prompt, "model": model, "score": float(rng.normal(10 + 3 * (prompt == "cot"), 1))}
        for prompt in ("plain", "cot")
        for model in ("small", "large")
        for _ in range(n)
        if (prompt, model) != drop
    ]
    return pl.DataFrame(rows)


def test_sequences_are_one_way():
    """A list of sequences is one-way, and Welch's F is the p-value to quote."""
    found = anova([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [7.0, 8.0, 9.5]])
    assert found.welch is not None
    assert found.p_value == found.welch.p_value
    assert found.p_value < 0.05
    assert list(found.comparisons) == ["2 - 1", "3 - 1", "3 - 2"]
    assert found.n == 9


def test_a_mapping_names_the_groups():
    """With a control, comparisons are Dunnett's, group minus control."""
    found = anova({"base": [1.0, 2.0, 3.0, 2.5], "new": [5.0, 6.0, 7.0, 6.5]}, control="base")
    assert list(found.comparisons) == ["new - base"]
    assert found.comparisons["new - base"].difference == pytest.approx(4.0)
    assert "dunnett" in found.comparisons["new - base"].method


def test_two_groups_agree_with_welch_t():
    """With two groups Welch's F is the square of Welch's t."""
    from scipy import stats

    a, b = [1.0, 4.0, 2.0, 8.0], [3.0, 9.0, 11.0, 7.0, 8.0]
    found = anova([a, b])
    assert found.welch is not None
    t = stats.ttest_ind(a, b, equal_var=False)
    assert found.welch.statistic == pytest.approx(t.statistic**2)
    assert found.p_value == pytest.approx(t.pvalue)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_factorial_finds_the_factor_that_matters(kind: int):
    """Only the factor with an effect is significant, with an interval of its size, in every type."""
    found = anova(crossed(), "score", ["prompt", "model"], type=kind)
    assert found.terms["prompt"].p_value < 1e-6
    assert found.terms["model"].p_value > 0.05
    assert found.terms["prompt:model"].p_value > 0.01
    interval = found.terms["prompt"].partial_eta_interval
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < found.terms["prompt"].partial_eta_squared < interval.high


def test_marginal_means_weigh_levels_equally():
    """In an unbalanced table a marginal mean is the mean of cell means, not of rows."""
    frame = pl.concat([crossed(), crossed(seed=2).filter((pl.col("prompt") == "cot") & (pl.col("model") == "small"))])
    found = anova(frame, "score", ["prompt", "model"])
    cells = frame.group_by("prompt", "model").agg(pl.col("score").mean())
    expected = cells.filter(pl.col("model") == "small")["score"].mean()
    assert found.marginal_means["model = small"].mean == pytest.approx(expected)
    assert found.marginal_means["model = small"].n == 60


def test_simple_effects_ask_within_a_level():
    """The effect of one factor is asked at each level of the other."""
    found = anova(crossed(), "score", ["prompt", "model"])
    assert found.simple_effects["prompt at model = small"].p_value < 1e-4
    assert found.simple_effects["model at prompt = cot"].p_value > 0.01


def test_empty_cells_are_named():
    """An empty cell is named, and the interaction it leaves open is not claimed."""
    found = anova(crossed(drop=("cot", "large")), "score", ["prompt", "model"])
    assert found.empty_cells == ({"prompt": "cot", "model": "large"},)
    assert found.dropped_terms == ("prompt:model",)
    assert set(found.terms) == {"prompt", "model"}
    assert any(w.code == "empty_cells" and "prompt=cot, model=large" in w.text for w in found.warnings)


def test_blocks_take_out_what_items_share():
    """With items as blocks a small effect is seen that the spread between items hides."""
    rng = np.random.default_rng(3)
    item = rng.normal(0, 50, 25)
    rows = [
        {"item_id": i, "condition": c, "y": float(100 + item[i] + (5 if c == "b" else 0) + rng.normal(0, 3))}
        for i in range(25)
        for c in "ab"
    ]
    frame = pl.DataFrame(rows)
    assert anova(frame, "y", "condition").p_value > 0.3
    fixed = anova(frame, "y", "condition", block="item_id")
    random = anova(frame, "y", "condition", block="item_id", block_as="random")
    assert fixed.terms["condition"].p_value < 1e-3
    assert random.mixed_terms["condition"].p_value < 1e-3
    assert random.icc is not None
    assert random.icc > 0.9
    assert fixed.n_units == 25
    interval = random.marginal_means["condition = a"].interval
    assert interval.high - interval.low > 30


def test_repeated_items_without_block_are_flagged():
    """Rows of one item in one cell are not independent, and the result says so."""
    frame = pl.DataFrame({"item_id": [1, 1, 2, 2, 1, 1, 2, 2], "c": list("aaaabbbb"), "y": [1.0, 2, 3, 4, 2, 3, 5, 4]})
    assert [w.code for w in anova(frame, "y", "c").warnings if w.severity == "error"] == ["clustered"]


def test_log_gives_geometric_means():
    """On logarithms a marginal mean is read as a geometric mean."""
    frame = pl.DataFrame({"a": list("xxyy") * 5, "b": list("uvuv") * 5, "y": np.exp(np.arange(20) / 7.0)})
    found = anova(frame, "y", ["a", "b"], transform="log")
    cells = frame.with_columns(pl.col("y").log()).group_by("a", "b").agg(pl.col("y").mean())
    expected = math.exp(cells.filter(pl.col("a") == "x")["y"].mean())
    assert found.marginal_means["a = x"].mean == pytest.approx(expected)


def test_experiments_are_pooled_by_their_factors():
    """Experiments that differ in a declared factor become the levels of that factor."""
    runs = [
        experiment("fast", {"only": 1.0}, record_factors={"prompt": "short"}, seed=1),
        experiment("slow", {"only": 2.0}, record_factors={"prompt": "long"}, seed=2),
    ]
    found = anova(runs, "latency", "prompt", transform="log")
    assert found.unit == "trial"
    assert found.measure == "ms"
    assert {name: group.n for name, group in found.groups.items()} == {"long": 30, "short": 30}
    assert found.p_value < 1e-6


def test_factors_of_rows_and_conditions():
    """A factor of the rows is found before one of the experiment; the condition is a factor as well."""
    run = experiment(
        "one", {"a": 1.0, "b": 1.0, "c": 2.0, "d": 2.0},
        factors={"a": {"p": 1, "m": "x"}, "b": {"p": 1, "m": "y"}, "c": {"p": 2, "m": "x"}, "d": {"p": 2, "m": "y"}},
    )  # fmt: skip
    by_factor = anova(run, "latency", ["p", "m"], transform="log")
    assert by_factor.terms["p"].p_value < 1e-6
    assert by_factor.terms["m"].p_value > 0.01
    assert set(anova(run).groups) == {"a", "b", "c", "d"}


def test_unknown_response_names_the_known_ones():
    """A response that no unit has is refused with those that exist."""
    with pytest.raises(NotEnoughData, match="latency"):
        anova(experiment("one", {"a": 1.0, "b": 1.0}), "accuracy")


def test_unknown_factor_names_the_known_ones():
    """A factor that no row has a level of is refused with those that exist."""
    with pytest.raises(NotEnoughData, match="condition"):
        anova(experiment("one", {"a": 1.0, "b": 1.0}), "latency", "prompt")


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], {}),
        ([[1.0, 2.0]], {}),
        ([[1.0], [2.0]], {}),
        ([[1.0, float("nan")], [2.0, 3.0]], {}),
        (pl.DataFrame({"y": [1.0, 2.0], "f": ["a", "a"]}), {"response": "y", "factors": "f"}),
        (pl.DataFrame({"y": [1.0, 2.0, 3.0], "f": ["a", None, "b"]}), {"response": "y", "factors": "f"}),
        (pl.DataFrame({"y": [None, None], "f": ["a", "b"]}), {"response": "y", "factors": "f"}),
        (pl.DataFrame({"y": ["1", "2"], "f": ["a", "b"]}), {"response": "y", "factors": "f"}),
        (crossed(n=1), {"response": "score", "factors": ["prompt", "model"]}),
        (crossed(), {"response": "score", "factors": ["prompt", "prompt"]}),
        (crossed(), {"response": "score", "factors": ["prompt", "model"], "type": 4}),
        (crossed(), {"response": "score", "factors": "prompt", "transform": "cube"}),
        (crossed(), {"response": "score", "factors": "prompt", "posthoc": "dunnett"}),
    ],
)
def test_what_cannot_be_answered_is_refused(data: object, options: dict[str, object]):
    """No variation, one level, too few values, missing labels, wrong options: a reason, never a traceback."""
    with pytest.raises((NotEnoughData, ConfigurationError)):
        anova(data, **options)


def test_one_constant_group_leaves_kruskal():
    """Where Welch's F has no answer its reason is kept, and the rank test still answers."""
    found = anova([[5.0, 5.0, 5.0], [1.0, 2.0, 3.0], [7.0, 8.0, 9.0]])
    assert found.welch is None
    assert "same" in found.reasons["welch"]
    assert found.kruskal is not None


def test_round_trip():
    """A result is the same after JSON, and its table has no NaN."""
    found = anova(crossed(), "score", ["prompt", "model"])
    again = Anova.from_json(found.to_json())
    assert again == found
    assert again.to_json() == anova(crossed(), "score", ["prompt", "model"]).to_json()
    assert "nan" not in found.to_markdown().lower()
    assert "| prompt |" in found.to_markdown()
    assert found.to_polars().filter(pl.col("field") == "terms.prompt.f")["value"].item() > 10


def test_marginal_means_of_the_fit_are_cell_means():
    """In a full factorial the marginal mean of a cell is the mean of its values."""
    frame = crossed()
    fit = linear.factorial(frame["score"].to_numpy(), {n: frame[n].to_list() for n in ("prompt", "model")})
    cell = next(m for m in linear.marginal_means(fit, ["prompt", "model"]) if m.level == "cot, large")
    rows = frame.filter((pl.col("prompt") == "cot") & (pl.col("model") == "large"))["score"]
    assert cell.mean == pytest.approx(rows.mean())
