"""Rows as PostgreSQL's CSV and back, whole columns at a time.

Text has the mark `=` before it on the way, so that empty text and no text differ; ids are bytes;
the attributes go over once and become text and `jsonb` there.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from otel_research.errors import StoreError
from otel_research.spans.schema import DERIVED, STORED, Column, polars_schema

if TYPE_CHECKING:
    import polars as pl

MARK = "="
IDS = {"trace_id": 32, "span_id": 16, "parent_span_id": 16}
"""Columns that are bytes there -> how many hex digits such an id has."""
TYPES = {"text": "text", "int": "bigint", "float": "double precision", "bool": "boolean"}
EXACT = Column("exact", "text", "JSON: columns whose text holds NUL")
ARRIVING = (*STORED, EXACT)
"""The columns of the temporary table, in the order of the CSV."""
_STANDS_IN = "\N{SYMBOL FOR NULL}"
_NO_ID = "00" * 17
"""Before the text of an id that is not one: longer than any id."""


def arriving_type(column: Column) -> str:
    """The column's type in the temporary table."""
    return "bytea" if column.name in IDS else TYPES[column.type]


def stored_as(column: Column) -> str:
    """The column of the spans table that takes it."""
    return "attributes_text" if column.name == "attributes" else column.name


def value_of(column: Column) -> str:
    """The SQL that takes the mark off again."""
    return column.name if column.name in IDS or column.type != "text" else f"substr({column.name}, 2)"


def to_csv(frame: pl.DataFrame) -> bytes:
    """The rows as PostgreSQL reads them."""
    import polars as pl

    frame = _without_nul(frame)
    marked = [
        _id_out(column.name)
        if column.name in IDS
        else pl.lit(MARK) + pl.col(column.name)
        if column.type == "text"
        else pl.col(column.name)
        for column in ARRIVING
    ]
    names_ = [column.name for column in ARRIVING]
    out = frame.select(expression.alias(name) for expression, name in zip(marked, names_, strict=True))
    return out.write_csv(include_header=False).encode()


def _id_out(name: str) -> pl.Expr:
    import polars as pl

    is_id = pl.col(name).str.contains(f"^[0-9a-f]{{{IDS[name]}}}$")
    other = pl.lit(_NO_ID) + pl.col(name).cast(pl.Binary).bin.encode("hex")
    return pl.lit("\\x") + pl.when(is_id).then(pl.col(name)).otherwise(other)


def _without_nul(frame: pl.DataFrame) -> pl.DataFrame:
    """NUL stands as a visible character in its column; the text as it was goes to `exact`."""
    import polars as pl

    text = [column.name for column in STORED if column.type == "text" and column.name not in IDS]
    holds = frame.select(pl.col(text).str.contains("\0", literal=True).any())
    affected = [name for name, found in zip(text, holds.row(0), strict=True) if found] if frame.height else []
    if not affected:
        return frame.with_columns(exact=pl.lit(None, dtype=pl.String))
    exact = [
        json.dumps(found) if (found := {key: value for key, value in row.items() if value and "\0" in value}) else None
        for row in frame.select(affected).iter_rows(named=True)
    ]
    cleaned = frame.with_columns(pl.col(affected).str.replace_all("\0", _STANDS_IN, literal=True))
    return cleaned.with_columns(exact=pl.Series(exact, dtype=pl.String))


def selected(columns: list[str]) -> str:
    """The SQL that gives the columns, and `exact`, as `from_csv` reads them."""
    types = {column.name: column for column in STORED}
    return ", ".join([*(_given(types[name]) for name in columns), f"'{MARK}' || exact"])


def _given(column: Column) -> str:
    if column.name in IDS:
        return f"encode({column.name}, 'hex')"
    return f"'{MARK}' || {stored_as(column)}" if column.type == "text" else column.name


def from_csv(messages: list[bytes], columns: list[str]) -> pl.DataFrame:
    """The rows of COPY's messages, one row each, as they were."""
    import polars as pl

    types = polars_schema(STORED)
    is_bool = [name for name in columns if types[name] == pl.Boolean]
    read = {name: pl.String() if name in is_bool else types[name] for name in columns} | {"exact": pl.String()}
    frame = pl.read_csv(io.BytesIO(b"".join(messages)), has_header=False, schema=read)
    if frame.height != len(messages):
        raise StoreError(f"PostgreSQL sent {len(messages)} rows, of which {frame.height} could be read.")
    text = [name for name in (*columns, "exact") if read[name] == pl.String and name not in is_bool]
    plain = frame.with_columns(
        *(pl.col(name).str.slice(len(MARK)) for name in text if name not in IDS),
        *(_id_back(name) for name in columns if name in IDS),
        *((pl.col(name) == "t").alias(name) for name in is_bool),
    )
    return _exact(plain).drop("exact")


def _id_back(name: str) -> pl.Expr:
    import polars as pl

    told = pl.col(name).str.slice(len(_NO_ID)).str.decode("hex", strict=False).cast(pl.String)
    return pl.when(pl.col(name).str.starts_with(_NO_ID)).then(told).otherwise(pl.col(name)).alias(name)


def _exact(frame: pl.DataFrame) -> pl.DataFrame:
    """Put back what PostgreSQL could not hold."""
    import polars as pl

    if frame["exact"].null_count() == frame.height:
        return frame
    found = [{} if text is None else json.loads(text) for text in frame["exact"]]
    affected = {name for row in found for name in row} & set(frame.columns)
    return frame.with_columns(
        pl.Series(name, [row.get(name, kept) for row, kept in zip(found, frame[name], strict=True)], dtype=pl.String)
        for name in affected
    )


def ids_out(*columns: str) -> list[pl.Expr]:
    """The ids of the columns as PostgreSQL reads bytes."""
    return [_id_out(name).alias(name) for name in columns]


ADDED: dict[str, tuple[Column, ...]] = {
    # All but the attributes, which have two columns.
    "spans": tuple(column for column in STORED if column.name != "attributes"),
    "calls": DERIVED,
}
"""Table -> its columns that come from the schema."""
