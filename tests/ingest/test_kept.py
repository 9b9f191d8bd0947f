"""What was answered for is kept: through `kill -9`, twice sent, sealed, merged, imported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl
from receivers import Served, message

import otel_research as otr
from otel_research.handle import Experiment
from otel_research.spans.schema import RAW, names
from otel_research.store.library import Library

ID = "0123456789abcdef0123456789abcdef"


def test_kill_loses_nothing_that_was_answered(serve: Callable[..., Served], found: Callable[..., Experiment]) -> None:
    """Whatever got its 200 before `kill -9` is stored; the same experiment goes on in the next receiver."""
    served = serve()
    answered: set[str] = set()

    def send(sender: int) -> None:
        for batch in range(10_000):
            numbers = range((sender * 10_000 + batch) * 20, (sender * 10_000 + batch + 1) * 20)
            try:
                status = served.post(message(*numbers).SerializeToString())[0]
            except OSError:
                return
            if status == 200:
                answered.update(f"work {number}" for number in numbers)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(3)]
    for thread in threads:
        thread.start()
    while len(answered) < 3_000:
        threads[0].join(0.01)
    served.kill()
    for thread in threads:
        thread.join()
    stored = set(found().spans().collect()["name"])
    assert answered <= stored
    again = serve()
    assert again.post(message(999_999_999).SerializeToString())[0] == 200
    assert again.stop() == 0
    experiment = found()
    assert set(experiment.spans().collect()["name"]) == stored | {"work 999999999"}
    assert experiment.ledger().is_balanced
    assert experiment.ledger().stored == len(stored) + 1
    assert len(experiment.ledgers()) == 2


def test_twice_sent_is_once_stored(serve: Callable[..., Served], found: Callable[..., Experiment]) -> None:
    """OTLP is at-least-once: a second copy, also to the next receiver, is a duplicate and no span."""
    body = message(1, 2, 3).SerializeToString()
    served = serve()
    assert [served.post(body)[0] for _ in range(3)] == [200, 200, 200]
    assert served.stop() == 0
    again = serve()
    assert again.post(body)[0] == 200
    assert again.stop() == 0
    ledger = found().ledger()
    assert (ledger.received, ledger.stored, ledger.duplicates) == (12, 3, 9)
    assert ledger.is_balanced


def test_received_is_what_an_import_gives(
    serve: Callable[..., Served], tmp_path: Path, found: Callable[..., Experiment]
) -> None:
    """The rows of a message are the same whether it is received or imported as a file."""
    body = message(
        *range(50), experiment__id=ID, experiment__condition="b", experiment__factor__temperature="0"
    ).SerializeToString()
    served = serve()
    assert served.post(body)[0] == 200
    assert served.stop() == 0
    (tmp_path / "file.binpb").write_bytes(body)
    (imported,) = otr.import_spans(tmp_path / "file.binpb", store=f"disk:{tmp_path / 'other'}")
    wanted = imported.spans().select(names(RAW)).collect().sort("span_id")
    given = Experiment(Library(f"disk:{tmp_path / 'store'}").get(ID), Library(f"disk:{tmp_path / 'store'}"))
    assert given.spans().select(names(RAW)).collect().sort("span_id").equals(wanted)
    assert given.record.content_hash == imported.record.content_hash


def test_one_message_of_several_experiments(serve: Callable[..., Served], library: Library) -> None:
    """Each span of a message goes to its own experiment; a resource speaks for the spans that say nothing."""
    other = ID[::-1]
    mixed = message(1, resource={"experiment.id": other, "experiment.condition": "of the resource"})
    mixed.MergeFrom(message(2, experiment__id=ID))
    mixed.MergeFrom(message(3))
    mixed.MergeFrom(message(4, experiment__id="../../etc"))
    mixed.resource_spans[0].scope_spans[0].spans.extend(
        message(5, experiment__id=ID).resource_spans[0].scope_spans[0].spans
    )
    served = serve("--experiment", "rest")
    assert served.post(mixed.SerializeToString())[0] == 200
    assert served.stop() == 0
    by_name = {record.name: record for record in library.find()}
    assert by_name.keys() == {"received", "rest"}
    assert _names(library, ID) == ["work 2", "work 5"]
    assert _names(library, other) == ["work 1"]
    assert _names(library, by_name["rest"].id) == ["work 3", "work 4"]
    rows = pl.concat([library.scan(owner) for owner in (ID, other)]).collect()
    assert dict(zip(rows["name"], rows["condition"], strict=True)) == {
        "work 1": "of the resource",
        "work 2": None,
        "work 5": "of the resource",
    }


def _names(library: Library, experiment_id: str) -> list[str]:
    return sorted(library.scan(experiment_id).collect()["name"])


def test_a_copy_of_the_journal_is_merged(
    serve: Callable[..., Served], found: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The segment of a receiver that was killed is data like any other: it can be carried to another store."""
    served = serve()
    assert served.post(message(1, 2, 3).SerializeToString())[0] == 200
    served.kill()
    (segment,) = (tmp_path / "store").glob("*/journal/*.wal")
    (brought,) = otr.import_spans(segment, store=f"disk:{tmp_path / 'home'}")
    assert sorted(brought.spans().collect()["name"]) == ["work 1", "work 2", "work 3"]
    assert brought.id == found().id


def test_evaluations_belong_to_their_span(serve: Callable[..., Served]) -> None:
    """A logged evaluation result is a score of its span's experiment; other log records are refused and told."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
    )

    served = serve()
    assert served.post(message(1, experiment__id=ID).SerializeToString())[0] == 200
    made = ExportLogsServiceRequest()
    records = made.resource_logs.add().scope_logs.add().log_records
    score = records.add(
        event_name="gen_ai.evaluation.result",
        trace_id=(2).to_bytes(16, "big"),
        span_id=(2).to_bytes(8, "big"),
        time_unix_nano=1_795_414_056_080_254_720,
    )
    score.attributes.add(key="gen_ai.evaluation.name").value.string_value = "correct"
    score.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = 1.0
    records.add(event_name="something.else", time_unix_nano=1)
    status, _, body = served.post(made.SerializeToString(), "/v1/logs")
    assert (status, ExportLogsServiceResponse.FromString(body).partial_success.rejected_log_records) == (200, 1)
    assert served.stop() == 0
    store = Library(f"disk:{served.store}")
    rows = store.scan(ID).collect()
    assert sorted(rows["name"]) == ["gen_ai.evaluation.result", "work 1"]
    assert rows.filter(name="gen_ai.evaluation.result")["parent_span_id"].to_list() == [(2).to_bytes(8, "big").hex()]
