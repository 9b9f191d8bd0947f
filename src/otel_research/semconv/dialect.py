"""What a dialect is: a table of attribute names and a rule for the part a span plays.

A dialect is data plus one expression. The tables of all dialects are read together (first name that has a
value wins, in the order of `dialects.DIALECTS`), because real spans mix vocabularies; the rule decides which
dialect explained a row. A key may point into a JSON value: `mlflow.chat.tokenUsage#input_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

PREFIX = "@"
"""In front of an attribute's key, where it is the name of a column."""
TEXT = pl.String()
NOTHING = pl.lit(None, dtype=TEXT)

CALL, AGENT, CHAIN, TOOL, RETRIEVAL, EVALUATOR, HTTP = (
    "call",
    "agent",
    "chain",
    "tool",
    "retrieval",
    "evaluator",
    "http",
)


@dataclass(frozen=True)
class Attributes:
    """The attribute columns that a batch really has; asks for absent ones give null."""

    present: frozenset[str]

    def has(self, *keys: str) -> bool:
        """Whether any row of the batch carries one of the keys."""
        return any(key in self.present for key in keys)

    def text(self, *keys: str) -> pl.Expr:
        """The first non-null value under the keys, as text."""
        found = [pl.col(PREFIX + key) for key in keys if key in self.present]
        return pl.coalesce(found) if len(found) > 1 else found[0] if found else NOTHING

    def number(self, *keys: str) -> pl.Expr:
        """The first value under the keys that is a number."""
        found = [pl.col(PREFIX + key).cast(pl.Float64, strict=False) for key in keys if key in self.present]
        return pl.coalesce(found) if found else pl.lit(None, dtype=pl.Float64)

    def truth(self, *keys: str) -> pl.Expr:
        """The first value under the keys, as a boolean (`True`, "true", 1); null where it is neither."""
        if not self.has(*keys):
            return pl.lit(None, dtype=pl.Boolean)
        word = self.text(*keys).str.to_lowercase()
        return pl.when(word.is_in(["true", "1"])).then(True).when(word.is_in(["false", "0"])).then(False)


Rule = Callable[[Attributes], pl.Expr]
"""An expression for the role (text) of each row, null where the dialect does not say."""


@dataclass(frozen=True)
class Dialect:
    """One vocabulary: where it was read, its names for our columns, its rule for roles."""

    name: str
    versions: str
    """The packages and versions whose spans the table was read from."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Our field -> the dialect's keys for it, the newest name first. Two aliases are never added up."""
    role: Rule | None = None
    operation: Rule | None = None
    """What kind of call, where the dialect has its own word for it."""
    evidence: tuple[str, ...] = ()
    """Keys whose presence alone says that this dialect wrote the row."""
    scopes: tuple[str, ...] = ()
    """Beginnings of instrumentation scopes that write this dialect."""
    quoted: Collection[str] = ()
    """Keys whose text is JSON text in quotes."""
    known: tuple[str, ...] = ()
    """Beginnings of keys that are understood and deliberately not in a column (content, tool schemas)."""


def by_word(value: pl.Expr, rule: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """A rule for text, applied to each different word once: columns of few words are the usual case."""
    known: dict[str | None, str | None] = {}

    def answers(different: Iterable[str | None]) -> dict[str | None, str | None]:
        # Other threads read, add and clear meanwhile.
        told = {word: known.get(word, _UNKNOWN) for word in different}
        if new := [word for word, answer in told.items() if answer == _UNKNOWN]:
            words = pl.Series("word", new, dtype=TEXT)
            found = dict(zip(new, words.to_frame().select(rule(pl.col("word"))).to_series(), strict=True))
            if len(known) + len(found) > _REMEMBERED:
                known.clear()
            known.update((word, answer) for word, answer in found.items() if len(word or "") <= _SHORT)
            told |= found
        return told

    def apply(texts: pl.Series) -> pl.Series:
        if len(texts) <= _LOOKED_UP:
            told = answers(texts)
            return pl.Series([told[word] for word in texts], dtype=TEXT)
        different = texts.unique()
        if len(different) * 4 > len(texts):
            return texts.to_frame("word").select(rule(pl.col("word"))).to_series()
        told = answers(different)
        if len(different) > _COMPARED:
            return texts.replace_strict(list(told), list(told.values()), return_dtype=TEXT)
        return _compared(texts, told)

    return value.map_batches(apply, return_dtype=pl.String, is_elementwise=True)


_UNKNOWN = "\0"
"""Stands for an answer that is not known yet; no rule gives it."""
_REMEMBERED = 10_000
"""So many words' answers are kept for the next batch."""
_SHORT = 200
"""Longer words are not kept: a span's name may be a megabyte."""
_LOOKED_UP = 64
"""Up to so many rows are answered from memory one by one; a query costs more."""
_COMPARED = 8
"""Up to so many different words are told apart by comparing, which is quicker than looking each row's up."""


def _compared(texts: pl.Series, answers: Mapping[str | None, str | None]) -> pl.Series:
    cases = [
        pl.when(pl.col("word").eq_missing(pl.lit(word, TEXT))).then(pl.lit(answer, TEXT))
        for word, answer in answers.items()
        if answer is not None
    ]
    if not cases:
        return pl.repeat(None, len(texts), dtype=TEXT, eager=True)
    return texts.to_frame("word").select(pl.coalesce(cases)).to_series()


def words(value: pl.Expr, table: Mapping[str, str]) -> pl.Expr:
    """The value looked up in a table of words; null where the table has none."""
    return value.replace_strict(list(table), list(table.values()), default=None, return_dtype=pl.String)
