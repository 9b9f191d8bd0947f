"""A store of your own: spans in SQLite. It passes the suite that every store passes (`tests/test_examples.py`).

Four methods are the whole contract. SQLite keeps the promise "all rows or none, each span once"
with a transaction and a primary key.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
from opentelemetry import trace

import otel_research as otr
from otel_research.spans import schema

COLUMNS = schema.names(schema.STORED)
TYPES = {"text": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}


class SqliteStore:
    """Spans in one SQLite file. Durable when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False)
        # One connection, one statement at a time.
        self._lock = threading.Lock()
        self._is_closed = False
        columns = ", ".join(f"{column.name} {TYPES[column.type]}" for column in schema.STORED)
        with self._database:
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS spans ({columns}, PRIMARY KEY ({', '.join(schema.IDENTITY)}))"
            )

    def append(self, batch: pa.RecordBatch, /) -> None:
        if self._is_closed:
            raise otr.StoreClosed("this SQLite store is closed; open it again.")
        rows = zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True)
        changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in schema.IDENTITY)
        # An ended span replaces an interrupted one; otherwise the first wins.
        statement = f"""
            INSERT INTO spans ({", ".join(COLUMNS)}) VALUES ({", ".join("?" for _ in COLUMNS)})
            ON CONFLICT DO UPDATE SET {changed}
            WHERE spans.status = 'interrupted' AND excluded.status <> 'interrupted'"""
        with self._lock, self._database:
            self._database.executemany(statement, rows)

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        where, given = ("WHERE experiment_id = ?", (experiment_id,)) if experiment_id else ("", ())
        with self._lock:
            rows = self._database.execute(f"SELECT {', '.join(COLUMNS)} FROM spans {where}", given).fetchall()
        types = schema.polars_schema(schema.STORED)
        values = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
        # SQLite has no booleans: 0 and 1 become what the schema says.
        series = [
            pl.Series(name, list(column), strict=False).cast(types[name])
            for name, column in zip(COLUMNS, values, strict=True)
        ]
        return pl.LazyFrame(series)

    def delete(self, experiment_id: str) -> None:
        with self._lock, self._database:
            self._database.execute("DELETE FROM spans WHERE experiment_id = ?", (experiment_id,))

    def close(self) -> None:
        self._is_closed = True
        self._database.close()


if __name__ == "__main__":
    store = SqliteStore(Path("spans.db"))
    recorder = otr.configure(store=store)
    with otr.experiment("in-sqlite") as exp:
        for number in range(3):
            with trace.get_tracer("my-app").start_as_current_span("step", attributes={"number": number}):
                pass
    print(recorder.flush())
    print(exp.spans().select("name", "status", "duration_ms").collect())
    assert exp.spans().collect().height == 3
    recorder.close()
    store.close()
