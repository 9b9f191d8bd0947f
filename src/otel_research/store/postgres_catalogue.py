"""Records, annotations and counts in PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.context import uninstrumented
from otel_research.errors import UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id
from otel_research.store.catalogue import decoded, readable

if TYPE_CHECKING:
    import polars as pl

    from otel_research.store.postgres_database import Connection, Database


class PostgresCatalogue:
    """The `Catalogue` and `Accounts` of the PostgreSQL store."""

    url: str
    _database: Database

    def _writing(self) -> contextlib.AbstractContextManager[Connection]:
        raise NotImplementedError

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record."""
        fields = {
            "id": record.id,
            "name": record.name,
            "state": record.state,
            "study": _shown(record.study),
            "tags": [_shown(tag) for tag in record.tags],
            "started_ns": record.started_ns,
            "stopped_ns": record.stopped_ns,
            "record": msgspec.json.encode(record).decode(),
        }
        names = ", ".join(fields)
        places = ", ".join(f"%({name})s" for name in fields)
        changes = ", ".join(f"{name} = excluded.{name}" for name in fields)
        with self._writing() as connection:
            connection.execute(
                f"INSERT INTO experiments ({names}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {changes}".encode(),
                fields,
            )

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record; raises `UnknownExperiment`."""
        found = self._rows("SELECT record FROM experiments WHERE id = %s", check_id(experiment_id))
        for (text,) in found:
            return decoded(text.encode(), f"experiment {experiment_id} in {self.url}")
        raise UnknownExperiment(
            f"no experiment {experiment_id} in {self.url}. `otel-research ls` lists those that are there."
        )

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every readable record, oldest first."""
        return self._read()[0]

    def unreadable(self) -> list[str]:
        """What hides an experiment from the list: a sentence for each record that cannot be read."""
        return self._read()[1]

    def _read(self) -> tuple[list[ExperimentRecord], list[str]]:
        found = self._rows("SELECT id, record FROM experiments ORDER BY started_ns, id")
        return readable((f"experiment {name} in {self.url}", text.encode()) for name, text in found)

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record and its annotations."""
        with self._writing() as connection, connection.transaction():
            connection.execute("DELETE FROM annotations WHERE experiment_id = %s", (check_id(experiment_id),))
            connection.execute("DELETE FROM experiments WHERE id = %s", (experiment_id,))

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one annotation; the very same note again is the same one."""
        text = msgspec.json.encode(note)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO annotations (experiment_id, digest, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (check_id(experiment_id), hashlib.sha256(text).digest(), text.decode()),
            )

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made."""
        query = "SELECT note FROM annotations WHERE experiment_id = %s ORDER BY number"
        return [msgspec.json.decode(text) for (text,) in self._rows(query, check_id(experiment_id))]

    def put_accounts(self, experiment_id: str, writer: str, counts: dict[str, Any], /) -> None:
        """Keep or replace what one process counted."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO accounts (experiment_id, writer, counts) VALUES (%s, %s, %s) "
                "ON CONFLICT (experiment_id, writer) DO UPDATE SET counts = excluded.counts",
                (check_id(experiment_id), writer, msgspec.json.encode(counts).decode()),
            )

    def accounts(self, experiment_id: str) -> dict[str, dict[str, Any]]:
        """writer -> what it counted."""
        query = "SELECT writer, counts FROM accounts WHERE experiment_id = %s ORDER BY writer"
        return {writer: msgspec.json.decode(text) for writer, text in self._rows(query, check_id(experiment_id))}

    def put_derived(self, experiment_id: str, calls: pl.DataFrame, prices: str, /) -> None:
        """Replace what was derived of an experiment: its calls and their cost, with the prices that were used."""
        import polars as pl

        from otel_research.store.postgres_rows import ids_out

        content = calls.with_columns(*ids_out("trace_id", "span_id"), pl.lit(prices).alias("prices"))
        columns = ", ".join(f'"{name}"' for name in content.columns)
        with self._writing() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM calls WHERE experiment_id = %s", (check_id(experiment_id),))
            with cursor.copy(f"COPY calls ({columns}) FROM STDIN (FORMAT csv)".encode()) as copy:
                copy.write(content.write_csv(include_header=False).encode())

    def _rows(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection, uninstrumented():
            return connection.execute(query.encode(), given).fetchall()


def _shown(text: str | None) -> str | None:
    """Text for a column; NUL, which PostgreSQL cannot hold, is in the record."""
    return None if text is None else text.replace("\0", "\N{SYMBOL FOR NULL}")
