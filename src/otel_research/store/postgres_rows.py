"""Rows as PostgreSQL takes them, and back from its CSV, whole columns at a time.

Ids are bytes there. On the way back text has the mark `=` before it, so that empty text and no text differ.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

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
"""The columns that are written, in their order."""
STANDS_IN = "\N{SYMBOL FOR NULL}"
"""What a column shows in place of NUL."""
_NO_ID = "00" * 17
"""Before the text of an id that is not one: longer than any id."""


def arriving_type(column: Column) -> str:
    """The column's type in the temporary table."""
    return "bytea" if column.name in IDS else TYPES[column.type]


def stored_as(column: Column) -> str:
    """The column of the spans table that takes it."""
    return "attributes_text" if column.name == "attributes" else column.name


def to_rows(frame: pl.DataFrame, json_version: bytes | None) -> list[tuple[Any, ...]]:
    """The rows of `without_nul` as Python values in the order of `ARRIVING`, ids as bytes.

    With a `json_version` the attributes once more at the end, as the binary form of jsonb.
    """
    import polars as pl

    columns = [
        _hex(column.name).str.decode("hex").alias(column.name) if column.name in IDS else pl.col(column.name)
        for column in ARRIVING
    ]
    if json_version is not None:
        columns.append((pl.lit(json_version) + pl.col("attributes").cast(pl.Binary)).alias("attributes_json"))
    return frame.select(columns).rows()


def _hex(name: str) -> pl.Expr:
    import polars as pl

    is_id = pl.col(name).str.contains(f"^[0-9a-f]{{{IDS[name]}}}$")
    other = pl.lit(_NO_ID) + pl.col(name).cast(pl.Binary).bin.encode("hex")
    return pl.when(is_id).then(pl.col(name)).otherwise(other)


def bytes_of(name: str, value: str) -> bytes:
    """One id of that column as it is stored."""
    is_id = re.fullmatch(rf"[0-9a-f]{{{IDS[name]}}}", value) is not None
    return bytes.fromhex(value) if is_id else bytes.fromhex(_NO_ID) + value.encode()


def without_nul(frame: pl.DataFrame) -> pl.DataFrame:
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
    cleaned = frame.with_columns(pl.col(affected).str.replace_all("\0", STANDS_IN, literal=True))
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
    import polars as pl

    return [(pl.lit("\\x") + _hex(name)).alias(name) for name in columns]


ADDED: dict[str, tuple[Column, ...]] = {
    # All but the attributes, which have two columns.
    "spans": tuple(column for column in STORED if column.name != "attributes"),
    "calls": DERIVED,
}
"""Table -> its columns that come from the schema."""
