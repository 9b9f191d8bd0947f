"""Connections to PostgreSQL: how they are made, what their errors mean, and the tables they find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from otel_research.context import uninstrumented
from otel_research.errors import ConfigurationError, MissingExtra, StoreError, StoreUnreachable
from otel_research.store.postgres_rows import ADDED, arriving_type

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

SCHEMA = "otel_research"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OLDEST = 150000
_LOCK = 0x07E1_5EA2
"""The advisory lock under which tables are made and changed."""
_PASSING = ("starting up", "shutting down", "recovery mode", "too many", "remaining connection slots")
WRITE_TIMEOUT = "60s"
"""How long one statement of ours may take; a scan may take as long as its reader does."""


class Database:
    """One PostgreSQL database and the schema of it that is ours: `...?schema=NAME`, else `otel_research`."""

    def __init__(self, url: str, shown: str) -> None:
        self.shown = shown
        base, _, query = url.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        self.schema = options.pop("schema", SCHEMA)
        if not _NAME.fullmatch(self.schema):
            raise ConfigurationError(f"schema={self.schema!r} in {shown} is no name: letters, digits and _ only.")
        self._has_own_timeout = "statement_timeout" in options.get("options", "")
        # What the user says wins; the rest keeps a dead network from holding us for hours.
        options = {
            "connect_timeout": "5",
            "application_name": "otel-research",
            "keepalives_idle": "30",
            "tcp_user_timeout": "60000",
            **options,
        }
        self._conninfo = f"{base}?{urlencode(options, quote_via=quote)}"
        self._is_ready = False

    def connect(self, *, is_for_reading: bool = False) -> Connection:
        """A new connection, in autocommit mode, that finds our tables."""
        psycopg = load_psycopg()
        try:
            connection: Connection = psycopg.connect(self._conninfo, autocommit=True)
        except (psycopg.Error, ValueError) as error:
            raise self.meant(error) from error
        try:
            if not self._has_own_timeout:
                connection.execute(f"SET statement_timeout = '{0 if is_for_reading else WRITE_TIMEOUT}'")
            connection.execute(f'SET search_path = "{self.schema}"')
            connection.execute("SET client_encoding = 'UTF8'")
            if not self._is_ready:
                self._make_ready(connection)
        except psycopg.Error as error:
            connection.close()
            raise self.meant(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for a block."""
        psycopg = load_psycopg()
        with uninstrumented():
            connection = self.connect(is_for_reading=True)
        try:
            yield connection
        except psycopg.Error as error:
            raise self.meant(error) from error
        finally:
            with suppress(psycopg.Error):
                connection.close()

    def meant(self, error: Exception) -> StoreError:
        """Our error for one of the driver's: what happened, where, and what to do."""
        psycopg = load_psycopg()
        said = " ".join(str(error).split())
        state = getattr(error, "sqlstate", None) or ""
        if state in ("42P01", "3F000", "42703"):
            # Somebody removed or changed the tables: look again next time.
            self._is_ready = False
            return StoreError(f"the tables of {self.shown} (schema {self.schema}) are gone or were changed: {said}.")
        if state == "42501":
            return StoreError(
                f"{self.shown} does not allow this user what the store needs: {said}. "
                f"Grant it: GRANT USAGE, CREATE ON SCHEMA {self.schema} TO the user, and SELECT, INSERT, UPDATE, DELETE on its tables."
            )
        is_refused = "FATAL" in said and not any(words in said for words in _PASSING)
        if isinstance(error, psycopg.OperationalError) and not is_refused:
            return StoreUnreachable(f"{self.shown} does not answer: {said}.")
        if is_refused or isinstance(error, (psycopg.ProgrammingError, ValueError)):
            return StoreError(
                f"{self.shown} cannot be used: {said}. Check user, password (PGPASSWORD or ~/.pgpass), database and options."
            )
        return StoreError(f"{self.shown}: {said}.")

    # -- the tables ---------------------------------------------------------------------

    def _make_ready(self, connection: Connection) -> None:
        """Make or bring up to date our tables, where they are not."""
        version = connection.info.server_version
        if version < _OLDEST:
            raise StoreError(f"{self.shown} runs PostgreSQL {version // 10000}; the store needs 15 or newer.")
        if not self._is_current(connection):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                if not self._is_current(connection):
                    self._migrate(connection)
        self._is_ready = True

    def _is_current(self, connection: Connection) -> bool:
        newest = migrations()[-1][0]
        found = self._version(connection)
        if found > newest:
            raise StoreError(
                f"{self.shown} was made by a newer otel-research (schema version {found}, this one knows {newest}). "
                "Upgrade: pip install -U otel-research. Spans wait in the local journal meanwhile."
            )
        return found == newest and not self._missing(connection)

    def _version(self, connection: Connection) -> int:
        known = connection.execute("SELECT to_regclass(%s)", (f'"{self.schema}".migrations',)).fetchone()
        if known is None or known[0] is None:
            return 0
        row = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
        return 0 if row is None else int(row[0])

    def _missing(self, connection: Connection) -> list[str]:
        """The statements that add what our tables lack."""
        found = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s", (self.schema,)
        ).fetchall()
        present = set(found)
        statements = []
        for table, columns in ADDED.items():
            added = [
                f'ADD COLUMN "{item.name}" {arriving_type(item)}'
                for item in columns
                if (table, item.name) not in present
            ]
            if added:
                statements.append(f"ALTER TABLE {table} {', '.join(added)}")
        return statements

    def _migrate(self, connection: Connection) -> None:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version int PRIMARY KEY, name text, applied_at timestamptz DEFAULT now())"
        )
        done = self._version(connection)
        for version, name, text in migrations():
            if version > done:
                connection.execute(text.encode())
                connection.execute("INSERT INTO migrations (version, name) VALUES (%s, %s)", (version, name))
        for statement in self._missing(connection):
            connection.execute(statement.encode())
        connection.execute(
            "DROP VIEW IF EXISTS latency_by_condition, cost_by_model, model_calls, readable_spans CASCADE"
        )
        connection.execute(sql("views").encode())


def sql(name: str) -> str:
    """The text of one of our `.sql` files."""
    return resources.files("otel_research.store").joinpath("sql", f"{name}.sql").read_text()


def migrations() -> list[tuple[int, str, str]]:
    """(version, name, text) in order: the files that begin with a number."""
    files = resources.files("otel_research.store").joinpath("sql").iterdir()
    numbered = sorted(file.name for file in files if re.match(r"\d+_", file.name))
    return [(int(name.split("_")[0]), name, sql(name.removesuffix(".sql"))) for name in numbered]


def load_psycopg() -> Any:
    """The driver, if it is installed."""
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error
    return psycopg
