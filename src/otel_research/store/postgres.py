"""Spans in PostgreSQL 15 or newer: `postgresql://USER@HOST/DATABASE?sslmode=verify-full&schema=NAME`.

Durability: what `append` returned for is committed. Any number of processes and machines may
write to one experiment. A password comes from PGPASSWORD or ~/.pgpass; every option of libpq
passes through.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otel_research.context import uninstrumented
from otel_research.errors import StoreClosed
from otel_research.experiments import check_id
from otel_research.redaction import redacted
from otel_research.spans.schema import IDENTITY, STORED, names, polars_schema
from otel_research.store import rows
from otel_research.store.postgres_catalogue import PostgresCatalogue
from otel_research.store.postgres_database import Database, load_psycopg
from otel_research.store.postgres_rows import from_csv, selected, without_nul
from otel_research.store.postgres_write import store_rows
from otel_research.store.pushdown import condition

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from otel_research.store.postgres_database import Connection

_READ_ROWS = 20_000
_YEARS = range(2000, 2100)
"""Starts outside these share one partition."""
_SECOND = 1_000_000_000


class PostgresStore(PostgresCatalogue):
    """Spans, records, annotations and counts in one schema of a database."""

    def __init__(self, url: str) -> None:
        load_psycopg()
        self.url = redacted(url)
        self._database = Database(url, self.url)
        # Protects the connection: one write at a time. Reads have connections of their own.
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._partitions: set[str] = set()
        self._is_writing = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"PostgresStore({self.url!r})"

    # -- the way in ---------------------------------------------------------------------

    def append(self, batch: pa.RecordBatch, /) -> None:
        """Store all rows in one transaction; a row that is there already changes nothing."""
        import polars as pl

        given = pl.DataFrame(pl.from_arrow(batch)).select(names(STORED))
        # In one order everywhere, so that two writers never wait for each other.
        frame = rows.once(given.lazy()).sort(IDENTITY).collect()
        with self._writing() as connection:
            if frame.height:
                self._make_partitions(connection, frame)
                store_rows(connection, without_nul(frame))

    def _make_partitions(self, connection: Connection, frame: pl.DataFrame) -> None:
        """One per month that occurs, made when it first does."""
        for name, first, end in _months(frame):
            if name not in self._partitions:
                found = connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
                if found is None or found[0] is None:
                    with contextlib.suppress(load_psycopg().errors.DuplicateTable):
                        connection.execute(
                            f"CREATE TABLE {name} PARTITION OF spans FOR VALUES FROM ({first}) TO ({end})".encode()
                        )
                self._partitions.add(name)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """The connection for writes, made anew after it broke."""
        with self._lock, uninstrumented():
            if self._is_closed:
                raise StoreClosed(f"{self!r} is closed; make a new one or call otel_research.configure() again.")
            if self._is_writing:
                # A signal handler in the middle of a write, which goes on after it.
                with self._database.reading() as another:
                    yield another
                return
            self._is_writing = True
            try:
                yield from self._with_connection()
            finally:
                self._is_writing = False

    def _with_connection(self) -> Iterator[Connection]:
        psycopg = load_psycopg()
        if self._connection is None or self._connection.closed:
            self._connection, self._partitions = self._database.connect(), set()
        try:
            yield self._connection
        except psycopg.Error as error:
            self._drop_connection()
            raise self._database.meant(error) from error
        except BaseException:
            self._drop_connection()
            raise

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    # -- the way out --------------------------------------------------------------------

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        """Every stored row once; only the columns and, as far as a filter says so in ways that SQL knows, rows that are needed.

        Of an experiment that still runs the rows of this moment are fetched at once: a query that
        reads them several times must find the same.
        """
        from polars.io.plugins import register_io_source

        if self._is_running(None if experiment_id is None else check_id(experiment_id)):
            return self._at_once(experiment_id)

        def batches(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            wanted = names(STORED) if with_columns is None else with_columns
            # Polars asks for the first rows before it filters them: the database would filter first.
            told = predicate if n_rows is None else None
            for frame in self._fetch(experiment_id, wanted, n_rows, batch_size or _READ_ROWS, told):
                yield frame if predicate is None else frame.filter(predicate)

        return register_io_source(batches, schema=polars_schema(STORED))

    def _is_running(self, experiment_id: str | None) -> bool:
        """Whether rows may still come; a store that cannot be read says so here."""
        query = "SELECT 1 FROM experiments WHERE state = 'running' AND (%s::text IS NULL OR id = %s) LIMIT 1"
        return bool(self._rows(query, experiment_id, experiment_id))

    def _at_once(self, experiment_id: str | None) -> pl.LazyFrame:
        import polars as pl

        frames = list(self._fetch(experiment_id, names(STORED), None, _READ_ROWS))
        return pl.concat(frames).lazy() if frames else rows.nothing()

    def _fetch(
        self,
        experiment_id: str | None,
        columns: list[str],
        limit: int | None,
        size: int,
        predicate: pl.Expr | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows of one experiment or all; of a predicate what the database understands."""
        tests = [] if experiment_id is None else [f"experiment_id = '{check_id(experiment_id)}'"]
        told = condition(predicate, lambda value: str(load_psycopg().sql.Literal(value).as_string()))
        where = " AND ".join([*tests, *([] if told is None else [told])])
        most = "" if limit is None else f"LIMIT {limit:d}"
        chosen = f"SELECT {selected(columns)} FROM spans {f'WHERE {where}' if where else ''} {most}"
        query = f"COPY ({chosen}) TO STDOUT (FORMAT csv)"
        waiting: list[bytes] = []
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(self._database.reading())
            with uninstrumented():
                # Not for the whole block: who asks for the next rows may do so in another context.
                cursor = stack.enter_context(connection.cursor())
                copy = stack.enter_context(cursor.copy(query.encode()))
            for message in copy:
                waiting.append(bytes(message))
                if len(waiting) >= size:
                    yield from_csv(waiting, columns)
                    waiting = []
            if waiting:
                yield from_csv(waiting, columns)

    # -- the end ------------------------------------------------------------------------

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment's rows and counts."""
        check_id(experiment_id)
        with self._writing() as connection, connection.transaction():
            for table in ("spans", "calls", "accounts"):
                connection.execute(f"DELETE FROM {table} WHERE experiment_id = %s".encode(), (experiment_id,))

    def close(self) -> None:
        """Let the connection go. Idempotent."""
        with self._lock:
            self._is_closed = True
            self._drop_connection()

    def after_fork(self) -> None:
        """In the child: the connection is the parent's, and the lock may be held by a thread that is gone."""
        self._lock = threading.RLock()
        self._inherited: Any = self._connection  # kept, because closing it would end the parent's
        self._connection, self._is_writing = None, False


def _months(frame: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    """(partition, its first nanosecond, its end) of every month that occurs."""
    import polars as pl

    seconds = frame["start_ns"].drop_nulls() // _SECOND
    low, high = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (_YEARS.start, _YEARS.stop))
    dates = seconds.filter((seconds >= low) & (seconds < high))
    found = pl.from_epoch(dates, time_unit="s").dt.month_start().dt.date().unique().sort()
    for first in found:
        end = datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC)
        begin = datetime(first.year, first.month, 1, tzinfo=UTC)
        name = f"spans_{first.year}_{first.month:02}"
        yield name, int(begin.timestamp()) * _SECOND, int(end.timestamp()) * _SECOND
