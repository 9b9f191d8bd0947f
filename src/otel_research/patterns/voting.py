"""Counting votes: pure functions, no spans and no waiting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

Answer = TypeVar("Answer")
Outcome = Literal["answered", "failed", "cancelled"]


@dataclass(frozen=True)
class Vote(Generic[Answer]):
    """What one voter said, or why it said nothing."""

    voter: str
    outcome: Outcome
    answer: Answer | None = None
    key: Hashable = None
    """Votes with equal keys agree."""
    weight: float = 1.0
    score: float | None = None
    """The judge's score, in best-of-n."""
    error: Exception | None = None
    duration_ms: float = 0.0

    @property
    def is_cast(self) -> bool:
        """The voter answered."""
        return self.outcome == "answered"


@dataclass(frozen=True)
class Tally(Generic[Answer]):
    """The result of a count."""

    winner: Vote[Answer]
    """The winning answer's first vote, in the voters' declared order."""
    agreement: float
    """Share of the weight cast (0 to 1) that the winning answer has."""
    support: float
    """Share of the weight of all voters asked that the winning answer has: silence is not agreement."""
    is_tie: bool
    """Another answer did equally well; the one declared first won."""


def count(votes: Sequence[Vote[Answer]]) -> Tally[Answer] | None:
    """The answer with the largest weight; None if nobody answered.

    Votes come in the voters' declared order, which decides ties, so that the result does
    not depend on who was fastest.
    """
    return _tally(votes, lambda first, same: sum(vote.weight for vote in same))


def best(votes: Sequence[Vote[Answer]]) -> Tally[Answer] | None:
    """The answer with the highest score; None if nobody answered."""
    return _tally(votes, lambda first, same: max(_score(vote) for vote in same))


def _score(vote: Vote[Any]) -> float:
    return float("-inf") if vote.score is None else vote.score


def _tally(
    votes: Sequence[Vote[Answer]], merit: Callable[[Vote[Answer], list[Vote[Answer]]], float]
) -> Tally[Answer] | None:
    groups = group(vote for vote in votes if vote.is_cast)
    if not groups:
        return None
    merits = [merit(same[0], same) for same in groups]
    place = merits.index(max(merits))
    mine = sum(vote.weight for vote in groups[place])
    cast = sum(vote.weight for same in groups for vote in same)
    return Tally(
        winner=max(groups[place], key=_score),
        agreement=mine / cast,
        support=mine / sum(vote.weight for vote in votes),
        is_tie=merits.count(merits[place]) > 1,
    )


def group(votes: Iterable[Vote[Answer]]) -> list[list[Vote[Answer]]]:
    """Votes that agree, together; groups and votes in the order in which they came."""
    groups: dict[Hashable, list[Vote[Answer]]] = {}
    for vote in votes:
        groups.setdefault(vote.key, []).append(vote)
    return list(groups.values())


def is_decided(cast: Sequence[Vote[Any]], outstanding: float) -> bool:
    """No outcome of the votes still out, of `outstanding` weight in all, can change the winner."""
    weights = sorted((sum(vote.weight for vote in same) for same in group(cast)), reverse=True)
    if not weights:
        return False
    second = weights[1] if len(weights) > 1 else 0.0
    return weights[0] > second + outstanding


def default_key(answer: object) -> Hashable:
    """The answer itself, or its canonical JSON where it cannot be compared by hash."""
    if isinstance(answer, Hashable):
        try:
            hash(answer)
        except TypeError:
            pass
        else:
            return answer
    return json.dumps(answer, sort_keys=True, default=repr)


def digest(key: Hashable) -> str:
    """Twelve hex digits that are equal where keys are: lets spans be compared without their content."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:12]
