"""Which conditions an experiment has: plain names, or the combinations of factor levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Self

from otel_research.errors import ConfigurationError
from otel_research.experiments import check_factors, check_label

MOST = 1024
"""Conditions of one design; beyond that a fraction of it is what is wanted."""


class Condition(str):
    """A condition's name that knows its factor levels: `condition == "short"` and `condition.factors["model"]`."""

    factors: dict[str, Any]

    def __new__(cls, name: str, factors: Mapping[str, Any] | None = None) -> Self:
        """Checks the name and the levels; raises `ConfigurationError`."""
        checked = check_label("condition", name)
        if checked is None:
            raise ConfigurationError("a condition needs a name, got None.")
        made = super().__new__(cls, checked)
        made.factors = check_factors(factors)
        return made

    def __repr__(self) -> str:
        return f"Condition({str(self)!r}, {self.factors})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.factors)


@dataclass(frozen=True)
class Design:
    """The conditions of a factorial design, and what a fraction of it cannot tell apart."""

    conditions: tuple[Condition, ...]
    factors: dict[str, tuple[Any, ...]]
    generators: tuple[frozenset[str], ...] = ()
    """The words of the defining relation that were chosen, such as {"A", "B", "C"} for C = A*B."""

    def __iter__(self) -> Any:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)

    @property
    def relation(self) -> tuple[frozenset[str], ...]:
        """The whole defining relation: every product of the generators, shortest first."""
        words = set()
        for size in range(1, len(self.generators) + 1):
            for chosen in combinations(self.generators, size):
                word: frozenset[str] = frozenset()
                for one in chosen:
                    word ^= one
                words.add(word)
        return tuple(sorted(words, key=lambda word: (len(word), sorted(word))))

    @property
    def resolution(self) -> int | None:
        """The length of the shortest word (Box & Hunter 1961): 3 confounds main effects with pairs. None: full."""
        return min(map(len, self.relation), default=None)

    def aliases(self, *effect: str) -> tuple[tuple[str, ...], ...]:
        """The effects that the design cannot tell from this one: `aliases("A")`, `aliases("A", "B")`."""
        unknown = [name for name in effect if name not in self.factors]
        if unknown:
            raise ConfigurationError(f"{unknown[0]!r} is no factor of the design: {', '.join(self.factors)}.")
        found = [frozenset(effect) ^ word for word in self.relation]
        return tuple(tuple(sorted(one)) for one in sorted(found, key=lambda one: (len(one), sorted(one))))


def full_factorial(factors: Mapping[str, Iterable[Any]]) -> Design:
    """Every combination of the levels of the factors, the last factor running fastest.

    Args:
        factors: {factor: its levels (text, numbers, booleans)}; each at least one, all different.

    Raises:
        ConfigurationError: no factor, a level that is none, or more than 1,024 combinations.
    """
    levels = _levels(factors)
    combined = [dict(zip(levels, chosen, strict=True)) for chosen in product(*levels.values())]
    return Design(tuple(Condition(_name(one), one) for one in combined), levels)


def fractional_factorial(
    factors: Mapping[str, Iterable[Any]], generators: Mapping[str, Sequence[str]] | None = None
) -> Design:
    """A fraction of a two-level design: 2^(k-p) conditions for k factors and p generators.

    With levels coded -1 and +1, each generated factor is the product of others (Box, Hunter & Hunter 2005,
    chapter 6); `Design.resolution` and `.aliases` say what that confounds.

    Args:
        factors: {factor: its two levels}, at least three factors.
        generators: {generated factor: the factors whose product it is}. Default: the last one is the product of
            all others, the half fraction of the highest resolution.

    Raises:
        ConfigurationError: a factor without exactly two levels, or a generator of unknown or generated factors.
    """
    levels = _levels(factors)
    if len(levels) < 3:
        raise ConfigurationError(f"a fraction needs at least 3 factors, got {len(levels)}. Use full_factorial.")
    for name, two in levels.items():
        if len(two) != 2:
            raise ConfigurationError(f"factor {name!r} has {len(two)} levels; a fractional design takes two of each.")
    *base, last = levels
    chosen = {last: tuple(base)} if generators is None else _generators(generators, levels)
    free = [name for name in levels if name not in chosen]
    conditions = []
    for signs in product((-1, 1), repeat=len(free)):
        coded = dict(zip(free, signs, strict=True))
        for made, sources in chosen.items():
            coded[made] = _product(coded[source] for source in sources)
        one = {name: levels[name][coded[name] > 0] for name in levels}
        conditions.append(Condition(_name(one), one))
    words = tuple(frozenset((made, *sources)) for made, sources in chosen.items())
    return Design(tuple(conditions), levels, words)


def conditions_of(given: Any) -> tuple[Condition | None, ...]:
    """What `run_trials(conditions=...)` means.

    None: the experiment's own condition. A design: its conditions. A list of names. A mapping from
    factor to levels: the full factorial; from name to a mapping of factor levels: those conditions.
    """
    if given is None:
        return (None,)
    if isinstance(given, Design):
        return given.conditions
    if isinstance(given, Mapping):
        return _of_mapping(given)
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        raise ConfigurationError(f"conditions is a list of names, a design or factors with levels, got {given!r}.")
    found = tuple(one if isinstance(one, Condition) else Condition(one) for one in names)
    if not found:
        raise ConfigurationError("conditions is empty, so there is no trial to run. Leave it out for one condition.")
    twice = sorted({one for one in found if found.count(one) > 1})
    if twice:
        raise ConfigurationError(f"the condition {str(twice[0])!r} is there twice; use repetitions= for more trials.")
    return found


def _of_mapping(given: Mapping[Any, Any]) -> tuple[Condition, ...]:
    if given and all(isinstance(levels, Mapping) for levels in given.values()):
        return tuple(Condition(name, levels) for name, levels in given.items())
    return full_factorial(given).conditions


def _levels(factors: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(factors, Mapping) or not factors:
        raise ConfigurationError(f"factors is a mapping such as {{'prompt': ['short', 'long']}}, got {factors!r}.")
    found: dict[str, tuple[Any, ...]] = {}
    size = 1
    for name, given in factors.items():
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise ConfigurationError(f"factor {name!r} needs a list of levels, got {given!r}.")
        levels = tuple(check_factors({name: level})[name] for level in given)
        if not levels or len(set(map(str, levels))) < len(levels):
            raise ConfigurationError(f"factor {name!r} needs one or several different levels, got {list(levels)}.")
        found[name] = levels
        size *= len(levels)
    if size > MOST:
        raise ConfigurationError(f"{size:,} combinations are more than {MOST:,}; use fractional_factorial.")
    return found


def _generators(given: Mapping[str, Sequence[str]], levels: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found = {name: tuple(sources) for name, sources in given.items()}
    for name, sources in found.items():
        bad = [one for one in (name, *sources) if one not in levels] or [one for one in sources if one in found]
        if bad or len(sources) < 2 or len(set(sources)) < len(sources):
            raise ConfigurationError(
                f"generator {name!r}: {list(sources)} has to be a product of two or more different factors that are "
                f"not generated themselves; factors are {', '.join(levels)}."
            )
    if len({frozenset(sources) for sources in found.values()}) < len(found):
        raise ConfigurationError("two generators are the same product, so their factors would always be equal.")
    return found


def _product(signs: Iterable[int]) -> int:
    total = 1
    for sign in signs:
        total *= sign
    return total


def _name(levels: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={level}" for name, level in levels.items())
