"""Questions with a known right answer: the items of the demonstration experiment."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable

import msgspec

_OPERATORS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_QUESTION = re.compile(r"(-?\d{1,9})\s*([+\-*])\s*(\d{1,9})")
_INTEGER = re.compile(r"-?\d+")


class Question(msgspec.Struct, frozen=True):
    """One item: its id, what is asked and the right answer."""

    id: str
    text: str
    answer: int


def questions(count: int, seed: int = 0) -> list[Question]:
    """`count` arithmetic questions, the same ones for the same seed."""
    rng = random.Random(f"questions|{seed}")
    return [_question(number, rng) for number in range(count)]


def _question(number: int, rng: random.Random) -> Question:
    sign = rng.choice("+-*")
    left, right = rng.randint(12, 99), rng.randint(12, 99)
    return Question(f"q{number:03d}", f"What is {left} {sign} {right}?", _OPERATORS[sign](left, right))


def solve(text: str) -> int | None:
    """The right answer to the last sum in a text; None where it asks for none."""
    found = _QUESTION.findall(text)
    if not found:
        return None
    left, sign, right = found[-1]
    return _OPERATORS[sign](int(left), int(right))


def read_answer(text: str | None) -> int | None:
    """The last integer a model's answer mentions; None where it mentions none."""
    found = _INTEGER.findall(text or "")
    return int(found[-1]) if found else None
