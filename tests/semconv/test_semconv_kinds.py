"""Expressions evaluated per kind of row give what they give per row; no key of a large batch is overlooked."""

from __future__ import annotations

import captures
import polars as pl
import pytest

from otel_research.semconv import calls, keys, kinds, normalise


def all_captures() -> pl.DataFrame:
    return pl.concat([captures.raw(name) for name in captures.names()])


@pytest.mark.parametrize("words", [32, 10**9], ids=["columns of few words", "every column"])
def test_kinds_change_nothing(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All captures in one batch: by kind of row as row by row."""
    rows = all_captures().sample(fraction=1, shuffle=True, seed=3)
    assert len(rows) < kinds._LEAST  # row by row
    expected = normalise(rows.lazy()).collect()
    for name, value in {"_LEAST": 1, "_FEWER": 1, "_FEW_WORDS": words}.items():
        monkeypatch.setattr(kinds, name, value)
    assert "status" in kinds.Batch(rows)._kinds
    assert normalise(rows.lazy()).collect().equals(expected)


def test_a_batch_of_few_kinds_keeps_each_rows_evaluations() -> None:
    """What is worked out row by row is no line of a kind: the results of a large batch's evaluators were gone."""
    name = '[{"name":"gen_ai.evaluation.result","attributes":{"gen_ai.evaluation.name":"x","gen_ai.evaluation.score.value":%d}}]'
    rows = [{"name": "chat", "scope": "s", "events": name % n if n % 2 else None} for n in range(2 * kinds._LEAST)]
    told = normalise(pl.LazyFrame(rows)).select("evaluations").collect().to_series()
    assert told.null_count() == kinds._LEAST
    assert [f'"value":{n}' in told[n] for n in (1, 4097)] == [True, True]


def test_a_batch_of_few_kinds_is_held_by_kind() -> None:
    rows = pl.DataFrame({"scope": ["a", "b"] * 5000, "number": range(10_000)})
    batch = kinds.Batch(rows)
    batch.add([(pl.col("scope") == "a").alias("is_a"), (pl.col("number") + 1).alias("next")])
    assert {name: len(column) for name, column in batch._kinds.items()} == {"scope": 2, "is_a": 2}
    assert batch.select(["next", "is_a"]).row(9_999) == (10_000, False)


def test_a_column_may_move_from_kinds_to_rows_and_back() -> None:
    batch = kinds.Batch(pl.DataFrame({"scope": ["a", "b"] * 5000, "number": range(10_000)}))
    batch.add([pl.col("number").cast(pl.String).alias("scope")])
    assert batch.select(["scope"]).row(7) == ("7",)
    batch.add([pl.lit("c").alias("scope")])
    assert batch.select(["scope", "number"]).row(7) == ("c", 7)


@pytest.mark.parametrize("words", [["a", "b"], [f"word {n}" for n in range(10_000)]], ids=["few kinds", "many"])
def test_what_is_shared_is_a_column_like_any_other(words: list[str]) -> None:
    """Held by kind where there are few, by row where there are many; a row without a number has nulls."""
    rows = pl.DataFrame({"scope": words * (10_000 // len(words)), "number": range(10_000)})
    shared = kinds.Shared(pl.DataFrame({"model": ["x", "y"]}), pl.Series([0, 1, None, 1] * 2500, dtype=pl.UInt32))
    batch = kinds.Batch(rows, shared)
    batch.add([pl.concat_str("model", "scope").alias("both")])
    assert batch.select(["model"])["model"].to_list() == ["x", "y", None, "y"] * 2500
    assert batch.select(["both", "number"]).row(5) == ("y" + rows["scope"][5], 5)
    assert sorted(batch.columns) == ["both", "model", "number", "scope"]


@pytest.mark.parametrize("last", ["chat", None, "a"])
def test_a_column_that_looks_like_one_word_is_looked_at_whole(last: str | None) -> None:
    """The sample sees one word; a single other one makes another kind of row."""
    rows = pl.DataFrame({"name": ["chat"] * 9_000 + [last, "chat"], "status": ["ok"] * 9_002})
    batch = kinds.Batch(rows)
    batch.add([(pl.col("name") + "!").alias("loud")])
    assert batch.select(["loud"])["loud"].to_list() == ["chat!"] * 9_000 + [f"{last}!" if last else None, "chat!"]


def test_two_kinds_of_one_hash_are_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_hashed", lambda words: pl.repeat(7, len(words), dtype=pl.UInt64, eager=True))
    batch = kinds.Batch(pl.DataFrame({"scope": ["a", "b"] * 5000}))
    assert batch.select(["scope"])["scope"].to_list() == ["a", "b"] * 5000


@pytest.mark.parametrize(
    "rare",
    [
        '{"gen_ai.operation.name":"chat","gen_ai.tool.name":"x"}',
        '{"gen_ai.operation.name":"a:b","gen_ai.tool.name":"x"}',
        '{ "gen_ai.operation.name" : "chat" , "gen_ai.tool.name" : "x" }',
        '{"other":{"a":[{"b":1}]},"gen_ai.tool.name":"x"}',
        '{"gen_ai.operation.name":"\\"gen_ai.operation.name\\":\\"chat\\"","gen_ai.tool.name":"x"}',
        '{"gen_ai.operation.name":null,"gen_ai.tool.name":"x"}',
        '{"gen_ai.tool.name" : "x","url.full":"a:b"}',
    ],
)
@pytest.mark.parametrize("at", [500, 20_000, 39_999])
def test_a_key_that_one_row_of_many_has_is_found(rare: str, at: int) -> None:
    """Also where values have colons, print JSON or are objects, and where blanks stand around the colon."""
    texts = pl.Series(['{"gen_ai.operation.name":"chat","url.full":"https://a:1/"}'] * 40_000)
    found = keys.whole(texts.scatter(at, rare))
    assert found["@gen_ai.tool.name"].drop_nulls().to_list() == ["x"]
    assert found["@gen_ai.tool.name"][at] == "x"


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"a":{"b":1}}', "{torn"])
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_batch_without_a_key_is_a_batch(text: str | None, count: int) -> None:
    """Spans without attributes, and those whose attributes nobody reads, keep their rows."""
    found = keys.whole(pl.Series([text] * count, dtype=pl.String))
    assert [name for name in found.columns if name != keys.MALFORMED] == []
    assert normalise(pl.LazyFrame({"attributes": [text] * count})).collect().height == count


@pytest.mark.parametrize("odd", ["*", "^.*$", "^a$", "text", "known", "@malformed", ""])
def test_an_attribute_may_be_called_anything(odd: str) -> None:
    """What means something to the engine is a name like any other, and hides no key of a later row."""
    texts = pl.Series([f'{{"{odd}":1,"gen_ai.operation.name":"chat"}}'] * 2000 + ['{"gen_ai.tool.name":"x"}'] * 2)
    found = keys.whole(texts)
    assert sorted(found.columns) == ["@gen_ai.operation.name", "@gen_ai.tool.name"]
    assert found["@gen_ai.tool.name"].to_list()[-2:] == ["x", "x"]


def test_many_rows_with_keys_that_nobody_reads_hide_none() -> None:
    """More other keys than are read along: every row is suspected, and still the one that matters is found."""
    texts = pl.Series([f'{{"own.key.{n}":{n}}}' for n in range(5000)] + ['{"gen_ai.tool.name":"x"}'])
    found = keys.whole(texts)
    assert found.columns == ["@gen_ai.tool.name"]
    assert found["@gen_ai.tool.name"].null_count() == 5000


def test_columns_of_ones_own_stay_whatever_they_are_called() -> None:
    """Marking in one plan with normalising makes columns beside those of the frame."""
    own = {name: pl.lit(name) for name in ("l_key", "f_input", "t_provider", "l_part")}
    rows = captures.raw(captures.names()[0]).lazy().with_columns(**own)
    marked = calls.mark(normalise(rows)).collect()
    assert marked.select(list(own)).unique().rows() == [tuple(own)]
