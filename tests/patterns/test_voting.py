from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from otel_research.patterns.voting import Vote, best, count, default_key, digest, is_decided

ANSWERS = st.sampled_from("abcd")


def cast(answers: list[str], weights: list[float] | None = None) -> list[Vote[str]]:
    weights = weights or [1.0] * len(answers)
    return [
        Vote(f"v{number}", "answered", answer, answer, weight)
        for number, (answer, weight) in enumerate(zip(answers, weights, strict=True))
    ]


@given(st.lists(ANSWERS, min_size=1, max_size=15))
def test_majority_is_the_most_frequent_answer(answers: list[str]) -> None:
    """No answer was given more often than the winner, and agreement is its share."""
    tally = count(cast(answers))
    assert tally is not None
    frequencies = Counter(answers)
    assert frequencies[tally.winner.answer or ""] == max(frequencies.values())
    assert tally.agreement == max(frequencies.values()) / len(answers)


@given(st.lists(ANSWERS, min_size=1, max_size=15))
def test_a_tie_is_said_and_goes_to_the_first_declared(answers: list[str]) -> None:
    """Ties are flagged, and the tied answer that comes first in the declared order wins."""
    tally = count(cast(answers))
    assert tally is not None
    frequencies = Counter(answers)
    top = [answer for answer in frequencies if frequencies[answer] == max(frequencies.values())]
    assert tally.is_tie == (len(top) > 1)
    assert tally.winner.answer == next(answer for answer in answers if answer in top)


@given(st.lists(st.tuples(ANSWERS, st.integers(1, 8)), min_size=1, max_size=12))
def test_a_weight_is_so_many_equal_votes(ballots: list[tuple[str, int]]) -> None:
    """A vote of weight n decides what n votes of weight one decide."""
    weighted = count(cast([answer for answer, _ in ballots], [float(weight) for _, weight in ballots]))
    repeated = count(cast([answer for answer, weight in ballots for _ in range(weight)]))
    assert weighted is not None
    assert repeated is not None
    assert weighted.winner.answer == repeated.winner.answer
    assert weighted.agreement == repeated.agreement


@given(st.lists(ANSWERS, min_size=1, max_size=6), st.integers(0, 6))
def test_silence_lowers_support_but_not_agreement(answers: list[str], silent: int) -> None:
    """Voters that failed are no agreement: they count in the support's denominator alone."""
    quiet: list[Vote[str]] = [Vote(f"s{number}", "failed") for number in range(silent)]
    alone, together = count(cast(answers)), count(cast(answers) + quiet)
    assert alone is not None
    assert together is not None
    assert together.agreement == alone.agreement
    assert together.support * (len(answers) + silent) == alone.support * len(answers)


@given(st.lists(ANSWERS, min_size=1, max_size=6), st.lists(ANSWERS, max_size=6))
def test_decided_means_no_vote_can_change_it(answers: list[str], later: list[str]) -> None:
    """Once decided, whatever the outstanding voters say leaves the winner the same."""
    early = count(cast(answers))
    final = count(cast(answers + later))
    assert early is not None
    assert final is not None
    if is_decided(cast(answers), float(len(later))):
        assert final.winner.answer == early.winner.answer


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_best_has_the_highest_score(scores: list[float]) -> None:
    """Best-of-n takes an answer that none outscores, the first of equals."""
    votes = [Vote(f"v{n}", "answered", n, n, score=score) for n, score in enumerate(scores)]
    tally = best(votes)
    assert tally is not None
    assert tally.winner.answer == scores.index(max(scores))


def test_nobody_answered_is_no_result() -> None:
    """Without a single vote there is no winner, not an empty one."""
    assert count([Vote("a", "failed"), Vote("b", "cancelled")]) is None
    assert best([]) is None


def test_answers_without_a_hash_agree_by_content() -> None:
    """Lists and mappings are compared by their canonical JSON, nested ones too."""
    assert default_key({"b": [1], "a": 2}) == default_key({"a": 2, "b": [1]})
    assert default_key({"a": 1}) != default_key({"a": 2})
    assert default_key((1, [2])) == default_key((1, [2]))
    assert digest(default_key([1, 2])) != digest(default_key([2, 1]))
