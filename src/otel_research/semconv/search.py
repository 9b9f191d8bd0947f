"""Rows that may have an attribute key we read but have not met yet: found without parsing them.

Looking for some 200 names takes as long as parsing. But a few dozen pieces of four letters are enough to betray
them all, none of which occurs in the keys that rows usually have, and so few short words of one length are searched
with vector instructions. A hit is only a suspicion: the row's keys are then read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

import polars as pl

_PIECES = (4, 6, 9)
"""Lengths of the pieces; names that no short one tells from the usual keys are asked for by a longer one."""
_AT_ONCE = 40
"""More words than that in one pattern are slower than two patterns."""
_MANY = 64
"""So many suspects are searched again for whole names before they are parsed."""


def suspects(texts: pl.Series, absent: frozenset[str], usual: frozenset[str]) -> pl.Series:
    """Every text that has one of the `absent` keys, and some others; `usual` are the keys that most texts have."""
    patterns = _patterns(absent, usual)
    found = texts.filter(pl.select(pl.any_horizontal(texts.str.contains(pattern) for pattern in patterns)).to_series())
    if len(found) > _MANY:
        found = found.filter(found.str.contains_any([_quoted(key) for key in sorted(absent)]))
    return found


@lru_cache(maxsize=256)
def _patterns(absent: frozenset[str], usual: frozenset[str]) -> tuple[str, ...]:
    """Patterns of short pieces, and of whole names for keys that no piece tells from the usual ones."""
    left, told = {_quoted(key) for key in absent}, "\n".join(map(_quoted, usual))
    patterns = []
    for length in _PIECES:
        pieces, left = _covering(left, told, length)
        patterns += _of_few(sorted(pieces))
    return tuple(patterns + _of_few(sorted(left))) or ("$^",)


def _of_few(words: list[str]) -> list[str]:
    return ["|".join(map(re.escape, words[at : at + _AT_ONCE])) for at in range(0, len(words), _AT_ONCE)]


def _covering(names: Collection[str], usual: str, length: int) -> tuple[set[str], set[str]]:
    """Few pieces that together occur in all names, and never in the usual text; names without such a piece."""
    holders: dict[str, set[str]] = {}
    for name in sorted(names):
        for at in range(len(name) - length + 1):
            piece = name[at : at + length]
            if piece not in usual:
                holders.setdefault(piece, set()).add(name)
    chosen, left = set(), set(names)
    while best := max(holders, key=lambda piece: (len(holders[piece] & left), piece), default=None):
        if not holders[best] & left:
            break
        chosen.add(best)
        left -= holders.pop(best)
    return chosen, left


def _quoted(key: str) -> str:
    return f'"{key}"'
