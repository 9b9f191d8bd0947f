"""PostgreSQL: what is beyond the contract. A real server, started by the tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import CALL
from tests.imports.otlp_files import line, span
from tests.servers import PostgresServer

import otel_research as otr
from otel_research.spans.schema import STORED, names
from otel_research.store.library import Library
from otel_research.store.postgres import PostgresStore
from otel_research.store.postgres_database import Database, migrations
from otel_research.testing import batch, recording, rows


@pytest.fixture
def store(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """A store in a fresh database, with the local journal in the test's folder."""
    monkeypatch.chdir(tmp_path)
    opened = PostgresStore(postgres_url)
    yield opened
    opened.close()


def queried(url: str, query: str, *given: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = otel_research")
        return connection.execute(query.encode(), given).fetchall()


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(names(STORED)).sort("span_id", "start_ns")


_text = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=_text,
    item=_text,
    error=_text,
    start=st.none() | st.integers(-(2**63), 2**63 - 1),
    weight=st.none() | st.floats(allow_nan=False),
    span=st.sampled_from(["00000000000000aa", "00000000000000AA", "", "not an id", "0" * 15, "ff" * 8]),
    number=st.integers(0, 10**9),
)
def test_any_row_comes_back_as_it_was(
    store: PostgresStore, name: Any, item: Any, error: Any, start: Any, weight: Any, span: str, number: int
) -> None:
    """Text with NUL, marks and quotes, ids that are none, times that no calendar knows, every float."""
    experiment = f"{number:032x}"
    store.delete(experiment)
    given = rows(1, experiment, name=name, item_id=item, status_message=error, span_id=span, sample_weight=weight)
    # After normalising, which derives a duration that such a start does not have.
    given = given.with_columns(pl.Series("start_ns", [start], dtype=pl.Int64))
    store.append(batch(given))
    store.append(batch(given))
    back = store.scan(experiment).collect()
    assert back.equals(given), (back.to_dicts(), given.to_dicts())


def test_attributes_are_there_for_queries_and_as_they_were(store: PostgresStore, postgres_url: str) -> None:
    """`attributes` is jsonb, without what jsonb cannot hold; the text as it was emitted comes back."""
    texts = [
        '{"a":1.50,"b":{"c":[true,null]}}',
        '{"nul":"x\\u0000y","a":2}',
        '{"lone":"\\ud800","a":3}',
        '{"escaped":"\\\\u0000","a":4}',
        "[" * 100_000 + "]" * 100_000,
        "not json",
    ]
    given = rows(6).with_columns(attributes=pl.Series(texts))
    store.append(batch(given))
    assert store.scan().sort("start_ns").collect()["attributes"].to_list() == texts
    found = [
        row[0]
        for row in queried(
            postgres_url, "SELECT attributes FROM spans WHERE length(attributes_text) < 99 ORDER BY start_ns"
        )
    ]
    assert found[0] == {"a": 1.5, "b": {"c": [True, None]}}
    assert [row["a"] for row in found[:4]] == [1.5, 2, 3, 4]
    assert found[1]["nul"] == "x\u2400y"
    assert found[3]["escaped"] == "\\u0000"
    assert found[4] == "not json"


def test_spans_are_partitioned_by_month(store: PostgresStore, postgres_url: str) -> None:
    """Each month that occurs has a partition; what no calendar knows has one together."""
    month = 31 * 24 * 3600 * 10**9
    starts = [1_700_000_000_000_000_000, 1_700_000_000_000_000_000 + month, -5, 2**63 - 1]
    store.append(batch(rows(4).with_columns(start_ns=pl.Series(starts))))
    found = queried(postgres_url, "SELECT tableoid::regclass::text, count(*) FROM spans GROUP BY 1 ORDER BY 1")
    assert found == [("spans_2023_11", 1), ("spans_2023_12", 1), ("spans_other", 2)]


def test_only_what_is_needed_is_fetched(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lazy frame asks for the columns of the query; filters and limits give what they give elsewhere."""
    store.append(batch(rows(10)))
    asked: list[list[str]] = []
    fetch = PostgresStore._fetch

    def watched(self: PostgresStore, experiment: Any, columns: list[str], *others: Any) -> Any:
        asked.append(columns)
        return fetch(self, experiment, columns, *others)

    monkeypatch.setattr(PostgresStore, "_fetch", watched)
    found = store.scan("e" * 32).filter(pl.col("condition") == "a").select("span_id").collect()
    assert found.height == 5
    assert sorted(asked[0]) == ["condition", "span_id"]
    assert store.scan().head(3).collect().height == 3
    assert store.scan().select(pl.len()).collect().item() == 10


def test_the_views_answer_plain_sql(store: PostgresStore, postgres_url: str) -> None:
    """Latency by condition and cost by model, with the numbers that the library gives."""
    with recording(store) as (_, provider):
        with otr.experiment("in sql") as exp:
            tracer = provider.get_tracer("app")
            for condition in ("a", "b", "b"):
                with exp.arm(condition), tracer.start_as_current_span("chat", attributes=CALL):
                    pass
            with exp.aside("judge"), tracer.start_as_current_span("chat", attributes=CALL):
                pass
        metrics = otr.calculate_metrics(exp)
        by = otr.metrics_by(exp, "condition")
    found = queried(postgres_url, "SELECT condition, calls, p50_ms FROM latency_by_condition ORDER BY condition")
    assert [(row[0], row[1]) for row in found] == [("a", 1), ("b", 2)]
    assert found[1][2] == pytest.approx(by["b"].latency.p50)
    ((model, calls, priced, cost),) = queried(postgres_url, "SELECT model, calls, priced, cost_usd FROM cost_by_model")
    assert (model, calls, priced) == ("gpt-4o-mini", 3, 3)
    assert float(cost) == pytest.approx(metrics.cost.total_usd)
    ((started, trace),) = queried(postgres_url, "SELECT started_at, trace FROM readable_spans LIMIT 1")
    assert started.year >= 2024
    assert len(trace) == 32


def test_the_queries_of_the_documentation_run(store: PostgresStore, postgres_url: str) -> None:
    """Every SQL block of docs/stores.md, statement by statement."""
    store.append(batch(rows(3)))
    page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
    statements = [line for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for line in block.split(";\n")]
    assert len([queried(postgres_url, one) for one in statements if one.strip()]) >= 3


def test_everything_of_an_experiment_is_in_the_database(store: PostgresStore, tmp_path: Path) -> None:
    """Record, spans, annotations and ledger: another machine, with nothing but the URL, sees the same."""
    with recording(store) as (_, provider):
        with otr.experiment("shared", tags=["t"], hypothesis="nul \0 is fine") as exp:
            for _ in range(5):
                provider.get_tracer("x").start_span("s").end()
        exp.exclude({"name": "s"}, reason="to see it elsewhere")
        told = exp.ledger().to_dict()
    elsewhere = Library(store, local_root=tmp_path / "another machine")
    there = otr.Experiment(elsewhere.get(exp.id), elsewhere)
    assert there.record == exp.record
    assert there.hypothesis == "nul \0 is fine"
    assert [note["reason"] for note in there.annotations()] == ["to see it elsewhere"]
    assert there.spans().collect().height == 5
    # How fast the hooks were is measured until the end, and told with the next delivery.
    assert {**there.ledger().to_dict(), "overhead": {}} == {**told, "overhead": {}}
    ledger = there.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (5, 0, True)
    assert [record.id for record in elsewhere.find(tag="t")] == [exp.id]
    there.cleanup(keep_data=False, force=True)
    assert Library(store).find(include_hidden=True) == []
    assert store.scan().collect().is_empty()


def test_one_file_in_two_experiments_is_in_both(store: PostgresStore, postgres_url: str, tmp_path: Path) -> None:
    """The identity of a row includes its experiment: spans that a file has for two of them are there twice, again once."""
    owners = ["a" * 32, "b" * 32]
    calls = [span(number, **{"experiment.id": owner}) for owner in owners for number in range(3)]
    path = tmp_path / "shared.jsonl"
    path.write_text(line(*calls))
    for _ in range(2):
        found = otr.import_spans(path, store=postgres_url)
        assert sorted(exp.id for exp in found) == owners
        assert [exp.spans().collect().height for exp in found] == [3, 3]
    counted = "SELECT count(*), count(DISTINCT span_id), count(DISTINCT experiment_id) FROM spans"
    assert queried(postgres_url, counted) == [(6, 3, 2)]


def test_several_start_at_once_on_an_empty_database(postgres_url: str) -> None:
    """The tables are made once, whoever comes first."""
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> None:
        store = PostgresStore(postgres_url)
        store.append(batch(rows(5, first=number * 5)))
        store.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert queried(postgres_url, "SELECT count(*) FROM spans") == [(30,)]
    assert queried(postgres_url, "SELECT version FROM migrations") == [(number,) for number, *_ in migrations()]


def test_a_column_of_a_later_version_is_added(store: PostgresStore, postgres_url: str) -> None:
    """A table that lacks a column gets it; its rows have none."""
    store.append(batch(rows(1)))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE otel_research.spans DROP COLUMN flags CASCADE")
    again = PostgresStore(postgres_url)
    again.append(batch(rows(1, first=1)))
    assert again.scan().collect().height == 2
    assert queried(postgres_url, "SELECT count(*) FROM readable_spans") == [(2,)]


def test_the_schema_can_be_named(postgres_url: str) -> None:
    """Two schemas of one database are two stores; names are quoted, and a name that is none is refused."""
    one, two = (PostgresStore(f"{postgres_url}&schema={name}") for name in ("Select", "other"))
    one.append(batch(rows(2)))
    assert (one.scan().collect().height, two.scan().collect().height) == (2, 0)
    with pytest.raises(otr.ConfigurationError, match="no name"):
        PostgresStore(f"{postgres_url}&schema=a%22b")


def test_options_of_libpq_pass_through(postgres_server: PostgresServer) -> None:
    """TLS and timeouts are the driver's own; ours are defaults."""
    database = Database("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/a%20b&connect_timeout=1", "shown")
    assert "sslmode=verify-full" in database._conninfo
    assert "sslrootcert=%2Fa%20b" in database._conninfo
    assert "connect_timeout=1" in database._conninfo


def test_commands_work_on_it(
    store: PostgresStore, postgres_url: str, run_python: Any, postgres_server: PostgresServer
) -> None:
    """`--store postgresql://…` everywhere, the password from PGPASSWORD."""
    with recording(store) as (_, provider), otr.experiment("for the commands") as exp:
        provider.get_tracer("x").start_span("s").end()
    url, password = postgres_url.replace(":of%20the%20tests@", "@"), "of the tests"
    command = "from otel_research.cli import main; main()"
    for words in (["ls"], ["show", exp.id], ["metrics", exp.id, "--unit", "span"], ["export", exp.id, "-o", "x.csv"]):
        done = run_python(command, *words, "--store", url, "--json", PGPASSWORD=password)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    refused = run_python(command, "ls", "--store", url, PGPASSWORD="not it")
    assert refused.returncode == 2
    assert "password authentication failed" in refused.stderr
    assert "not it" not in refused.stderr
