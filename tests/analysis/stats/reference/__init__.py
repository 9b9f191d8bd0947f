"""How each kind of reference case is put to our functions: one short adapter per kind, one file per family.

An adapter gets a `Case` and returns the numbers under the names the case expects. It may return more
than a case asks for; a name that the case expects and the adapter does not return fails the test.
"""

from __future__ import annotations

from reference import describing, planning, rates, several_groups, two_samples
from reference.case import Case, Numbers, at, cases, leaves

KINDS = {
    **describing.KINDS,
    **two_samples.KINDS,
    **several_groups.KINDS,
    **rates.KINDS,
    **planning.KINDS,
}

__all__ = ["KINDS", "Case", "Numbers", "at", "cases", "leaves"]
