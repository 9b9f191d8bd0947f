"""Nothing is kept alive that is over."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_research as otr
from otel_research.capture import registry


@pytest.mark.parametrize("store", ["memory:", "disk"])
def test_a_closed_recorder_is_garbage(tmp_path: Path, store: str) -> None:
    """Closed and forgotten, a recorder and its captures go, although the provider stays; so does its thread."""
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("x")
    url = f"disk:{tmp_path}" if store == "disk" else store
    recorder = otr.configure(store=url, provider=provider, forward=InMemorySpanExporter())
    with otr.experiment("over") as exp:
        tracer.start_span("s").end()
    thread = recorder._caretaker._thread
    gone = [weakref.ref(recorder), weakref.ref(recorder.captures[exp.id]), weakref.ref(exp)]
    recorder.close()
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
    del recorder, exp, thread
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]


def test_open_spans_are_forgotten_when_they_end(host: Any) -> None:
    """The table of open spans is empty after a run, exceptions and threads included."""
    with otr.experiment("many"):

        def work() -> None:
            for number in range(200):
                try:
                    with host.tracer.start_as_current_span("s"):
                        if number % 3 == 0:
                            raise ValueError
                except ValueError:
                    pass

        exp = otr.current_experiment()
        assert exp is not None

        def inside() -> None:
            with exp.activate():
                work()

        threads = [threading.Thread(target=inside) for _ in range(4)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        assert registry.open_spans == {}


def test_spans_are_not_kept_as_objects(host: Any) -> None:
    """A span that has ended is bytes: the object itself is garbage at once."""
    with otr.experiment("bytes"):
        span = host.tracer.start_span("s")
        gone = weakref.ref(span)
        span.end()
        del span
        gc.collect()
        assert gone() is None


def test_many_experiments_leave_little_behind(host: Any) -> None:
    """Hundreds of stopped experiments do not pile up in the tables that every span looks at."""
    for _ in range(50):
        with otr.experiment("brief"):
            host.tracer.start_span("s").end()
    assert registry.running == {}
    assert registry.open_spans == {}
    assert len(otr.list_experiments(name="brief")) == 50


def test_an_experiment_that_is_over_leaves_its_counts_and_nothing_else(host: Any) -> None:
    """Hundreds of decorated calls do not pile up in the recorder; its ledger still counts all their spans."""

    @otr.experiment("per call")
    def run() -> None:
        host.tracer.start_span("s").end()

    for _ in range(30):
        run()
    assert len(host.recorder.captures) <= 1
    assert len(host.recorder._caretaker._charges) <= 1
    ledger = host.recorder.ledger()
    assert (ledger.started, ledger.ended, ledger.stored) == (30, 30, 30)


def test_a_late_span_is_counted_although_its_experiment_is_over(host: Any) -> None:
    """The recorder lets go of an experiment only when no span of it is open any more."""
    exp = otr.start_experiment("over")
    late = host.tracer.start_span("late")
    otr.stop_experiment(exp.id, timeout=0.0)
    for _ in range(3):
        with otr.experiment("other"):
            pass
    late.end()
    with otr.experiment("last"):
        pass
    assert host.recorder.ledger().late == exp.ledger().late == 1


def test_a_store_that_experiments_name_is_opened_once(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the working directory of then, also for the second experiment in it."""
    monkeypatch.chdir(tmp_path)
    with otr.experiment("first", store="disk:here") as first:
        pass
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with otr.experiment("second", store=f"disk:{tmp_path / 'here'}") as second:
        pass
    assert first.library is second.library
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == sorted([first.id, second.id])
