"""The shared reference cases: certified, published or R values, within the tolerance each states."""

from __future__ import annotations

import math

import pytest
from reference import KINDS, Case, at, cases, leaves

CASES = cases()


def test_every_kind_is_mapped():
    """Every kind of reference case has a function behind it, and no adapter is left without a case."""
    assert {case.kind for case in CASES} == set(KINDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_reference_case(case: Case):
    """What we compute is what the oracle says, within the case's tolerance."""
    found = KINDS[case.kind](case)
    wrong = []
    for path, expected in leaves(case.expected):
        got = at(found, path)
        if expected is None or got is None:
            is_right = got is None and expected is None
        else:
            is_right = math.isfinite(got) and abs(got - expected) <= max(case.abs, case.rel * abs(expected))
        if not is_right:
            wrong.append(f"{'.'.join(path)}: got {got!r}, expected {expected!r}")
    assert not wrong, "\n".join(wrong)
