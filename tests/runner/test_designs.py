from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_research as otr
from otel_research.errors import ConfigurationError
from otel_research.runner.designs import conditions_of

TWO = {name: [0, 1] for name in "ABCDE"}


def test_a_full_factorial_has_every_combination_once() -> None:
    """The last factor runs fastest, and every condition knows its levels."""
    design = otr.full_factorial({"prompt": ["short", "long"], "model": ["a", "b", "c"]})
    assert len(design) == 6
    assert [one.factors for one in design][:2] == [{"prompt": "short", "model": "a"}, {"prompt": "short", "model": "b"}]
    assert next(iter(design)) == "prompt=short, model=a"
    assert design.resolution is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_full_factorial_is_balanced(sizes: list[int]) -> None:
    """Each level of a factor occurs equally often with each level of every other."""
    factors = {f"f{at}": list(range(size)) for at, size in enumerate(sizes)}
    design = otr.full_factorial(factors)
    assert len({str(one) for one in design}) == len(design) == math.prod(sizes)
    for name, levels in factors.items():
        counts = [sum(one.factors[name] == level for one in design) for level in levels]
        assert len(set(counts)) == 1


def test_a_half_fraction_has_the_highest_resolution() -> None:
    """2^(5-1) with E = ABCD: 16 conditions, resolution V (Box, Hunter & Hunter 2005, table 6.22)."""
    design = otr.fractional_factorial(TWO)
    assert (len(design), design.resolution) == (16, 5)
    assert design.aliases("A") == (("B", "C", "D", "E"),)


def test_generators_make_the_textbook_quarter() -> None:
    """2^(5-2) with D = AB, E = AC: 8 conditions, resolution III, relation ABD = ACE = BCDE."""
    design = otr.fractional_factorial(TWO, {"D": ["A", "B"], "E": ["A", "C"]})
    assert (len(design), design.resolution) == (8, 3)
    assert {"".join(sorted(word)) for word in design.relation} == {"ABD", "ACE", "BCDE"}
    assert ("B", "D") in design.aliases("A")


def test_every_column_of_a_fraction_is_balanced_and_orthogonal() -> None:
    """Main effects are estimated independently of each other."""
    design = otr.fractional_factorial(TWO, {"D": ["A", "B"], "E": ["A", "C"]})
    signs = {name: [2 * one.factors[name] - 1 for one in design] for name in TWO}
    for one in TWO:
        assert sum(signs[one]) == 0
        assert all(
            sum(x * y for x, y in zip(signs[one], signs[other], strict=True)) == 0 for other in TWO if other != one
        )


def test_a_condition_is_its_name() -> None:
    """It compares, hashes and travels as text, and keeps its levels on the way."""
    one = otr.Condition("cot", {"prompt": "cot"})
    assert one == "cot"
    assert {one: 1}["cot"] == 1
    assert pickle.loads(pickle.dumps(one)).factors == {"prompt": "cot"}


def test_what_conditions_may_be() -> None:
    """None, names, levels of factors, named levels, a design."""
    assert conditions_of(None) == (None,)
    assert conditions_of(["a", "b"]) == ("a", "b")
    assert len(conditions_of({"p": [1, 2], "q": [1, 2]})) == 4
    assert [one.factors for one in conditions_of({"x": {"p": 1}, "y": {"p": 2}})] == [{"p": 1}, {"p": 2}]  # type: ignore[union-attr]
    assert len(conditions_of(otr.fractional_factorial(TWO))) == 16


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: otr.full_factorial({}), "factors is a mapping"),
        (lambda: otr.full_factorial({"p": "abc"}), "'p' needs a list of levels"),
        (lambda: otr.full_factorial({"p": [1, 1]}), "'p' needs one or several different levels"),
        (lambda: otr.full_factorial({"p": [object()]}), "factors"),
        (lambda: otr.full_factorial({name: range(9) for name in "abcd"}), "6,561 combinations"),
        (lambda: otr.fractional_factorial({"a": [0, 1], "b": [0, 1]}), "at least 3 factors"),
        (lambda: otr.fractional_factorial({"a": [0, 1], "b": [0, 1], "c": [0, 1, 2]}), "'c' has 3 levels"),
        (lambda: otr.fractional_factorial(TWO, {"E": ["A", "Z"]}), "generator 'E'"),
        (lambda: otr.fractional_factorial(TWO, {"E": ["A", "B"], "D": ["A", "B"]}), "same product"),
        (lambda: otr.fractional_factorial(TWO).aliases("Q"), "'Q' is no factor"),
        (lambda: conditions_of([]), "conditions is empty"),
        (lambda: conditions_of(["a", "a"]), "'a' is there twice"),
        (lambda: conditions_of(5), "conditions is a list of names"),
    ],
)
def test_a_design_that_is_none_is_refused(make: object, says: str) -> None:
    """What is wrong is named, and what to do instead."""
    with pytest.raises(ConfigurationError, match=says):
        make()  # type: ignore[operator]
