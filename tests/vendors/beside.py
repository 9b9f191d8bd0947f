"""What a vendor's backend receives without us and beside us, span by span; and whether we store every one.

    python tests/vendors/beside.py logfire

Run by `nox -s beside`. Fails where a vendor receives anything else beside us than alone, or where we miss a span.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # started as a script, so that it runs in a vendor's environment without pytest

from tests.sink import listening  # noqa: E402

import otel_research as otr  # noqa: E402
from otel_research.demo.profiles import NO_FAULTS  # noqa: E402
from otel_research.demo.server import ModelServer  # noqa: E402

PACKAGES = {
    "handmade": "opentelemetry-sdk",
    "logfire": "logfire",
    "phoenix": "arize-phoenix-otel",
    "langfuse": "langfuse",
    "mlflow": "mlflow",
    "openlit": "openlit",
    "traceloop": "traceloop-sdk",
}
ORDERS = ("after", "before", "joined")
"""When we are set up: after the vendor, before it, or before it with an experiment that runs already."""
QUESTIONS = {1.0: 20, 0.1: 200}
"""Ratio of the vendor's sampler -> questions; each is three spans, or four where HTTP is instrumented too."""

TOO_LATE = {
    ("openlit", 1.0): 0,
    ("openlit", 0.1): 0,
    ("langfuse", 0.1): 400,
    ("traceloop", 1.0): 60,
    ("traceloop", 0.1): 600,
    ("mlflow", 1.0): 60,
    ("mlflow", 0.1): 600,
}
"""Spans received by vendors that find a provider, ours or anybody's ("joined"): OpenLIT exports nothing then, others leave
their sampler and service name out. Held here to what the documentation says."""

Key = tuple[str, str]
"""A span, in whichever run: its trace, which is the same in all of them, and its name, of which a trace has one."""


Spans = dict[Key, dict[str, Any]]


class Run(NamedTuple):
    """Span -> what the vendor received of it; the names of what we stored."""

    theirs: Spans
    ours: Counter[str]


def run(vendor: str, order: str, ratio: float, folder: Path) -> Run:
    """The program once, in a process and a folder of its own."""
    here = folder / f"{order}-{ratio}-{len(list(folder.iterdir()))}"
    here.mkdir()
    store = f"disk:{here / 'store'}"
    (here / "prices.json").write_text("{}")
    with listening() as sink, ModelServer(seed=3, faults=NO_FAULTS, latency_scale=0) as server:
        words = [vendor, order, ratio, QUESTIONS[ratio], server.url, sink.url, store]
        program = [sys.executable, str(Path(__file__).with_name("beside_program.py")), *map(str, words)]
        done = subprocess.run(program, cwd=here, env=variables(vendor, ratio, here), capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{vendor} {order}: {done.stderr}")
        assert len(server.ledger.exchanges) == QUESTIONS[ratio]
        theirs = mlflow_spans(here) if vendor == "mlflow" else sink_spans(sink.received)
    return Run(theirs, Counter() if order == "without" else our_names(store))


def variables(vendor: str, ratio: float, here: Path) -> dict[str, str]:
    """The environment, without anybody's OTEL_*; a sampler where that is how the vendor is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "MLFLOW_"))}
    kept |= {"PRICES": str(here / "prices.json"), "TRACELOOP_METRICS_ENABLED": "false"}
    if vendor == "mlflow":
        kept |= {"MLFLOW_USE_DEFAULT_TRACER_PROVIDER": "false", "MLFLOW_TRACKING_URI": prepared(here)}
        kept |= {} if ratio == 1 else {"MLFLOW_TRACE_SAMPLING_RATIO": str(ratio)}
    if vendor == "openlit" and ratio < 1:
        kept |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(ratio)}
    return kept


def prepared(here: Path) -> str:
    """A database of MLflow's, a copy of one whose tables are there: making them takes longer than a run."""
    ready = here.parent.with_name(here.parent.name + ".db")
    if not ready.exists():
        make = "import mlflow; mlflow.set_experiment('beside')"
        told = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{ready}"}
        subprocess.run([sys.executable, "-c", make], env=told, check=True, capture_output=True, cwd=here)
    shutil.copy(ready, here / "mlflow.db")
    return f"sqlite:///{here / 'mlflow.db'}"


def sink_spans(received: list[Any]) -> Spans:
    """What came over OTLP. Logfire's notes that a span is open come or not, as its timer says: they are left out."""
    told = []
    for one in received:
        span = one.span
        if b"pending_span" not in one.attributes.get("logfire.span_type", b""):
            parts = {f"attribute {key}": value for key, value in one.attributes.items()}
            parts |= {f"resource {key}": value for key, value in one.resource.items()}
            parts |= {"scope": one.scope, "kind": span.kind, "status": span.status.SerializeToString()}
            parts["events"] = [event.name for event in span.events]
            told.append((span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.name, parts))
    return by_key(told)


def by_key(told: list[tuple[str, str, str | None, str, dict[str, Any]]]) -> Spans:
    """Spans (trace, span, parent, name, the rest) by their key; the parent is said by its name."""
    names = {(trace, span): name for trace, span, _, name, _ in told}
    found = {(trace, name): {**rest, "parent": names.get((trace, parent))} for trace, _, parent, name, rest in told}
    assert len(found) == len(names) == len(told), "a span was sent twice"
    return found


def mlflow_spans(here: Path) -> Spans:
    """What MLflow's own client reads from its database."""
    read = """
import json, mlflow
spans, here = [], mlflow.get_experiment_by_name("beside").experiment_id
for trace in mlflow.search_traces(locations=[here], return_type="list", max_results=500):
    for span in trace.data.spans:
        told = span.to_dict()
        spans.append([told["trace_id"], told["span_id"], told["parent_span_id"], told["name"], told["attributes"],
                      told["status"], [event["name"] for event in told["events"]], trace.info.tags])
print(json.dumps(spans, default=str))
"""
    told = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{here / 'mlflow.db'}"}
    done = subprocess.run([sys.executable, "-c", read], env=told, check=True, capture_output=True, text=True)
    return by_key(
        [
            (trace, span, parent, name, {"status": status, "events": events}
                | {f"attribute {key}": value for key, value in attributes.items()}
                | {f"tag {key}": value for key, value in tags.items()})
            for trace, span, parent, name, attributes, status, events, tags in json.loads(done.stdout)
        ]
    )  # fmt: skip


def our_names(store: str) -> Counter[str]:
    """The spans of the one experiment, each counted by its name; nothing may be lost."""
    from otel_research.store.library import Library

    library = Library(store)
    (record,) = library.find()
    found = otr.Experiment(record, library)
    assert found.ledger().lost_total == 0
    return Counter(found.spans().collect()["name"].to_list())


def untagged(spans: Spans) -> Spans:
    """Without the tags that an experiment adds, which is all that it may add."""
    return {
        key: {name: value for name, value in told.items() if not name.startswith("attribute experiment.")}
        for key, told in spans.items()
    }


def varying(first: Spans, second: Spans) -> set[str]:
    """What differs between two runs without us: process ids, times; no fault of ours where it differs with us."""
    assert first.keys() == second.keys(), "two runs without us made different spans"
    return {
        name
        for key in first
        for name in first[key].keys() | second[key].keys()
        if first[key].get(name) != second[key].get(name)
    }


def differences(alone: Spans, beside: Spans, vary: set[str]) -> list[str]:
    """What the vendor receives otherwise than without us."""
    found = [f"{len(alone.keys() - beside.keys())} spans are missing"] if alone.keys() - beside.keys() else []
    found += [f"{len(beside.keys() - alone.keys())} spans are new"] if beside.keys() - alone.keys() else []
    changed: Counter[str] = Counter()
    for key in alone.keys() & beside.keys():
        a, b = alone[key], beside[key]
        changed.update(name for name in (a.keys() | b.keys()) - vary if a.get(name) != b.get(name))
        changed.update(name for name in a.keys() ^ b.keys())
    return found + [f"{name} differs in {count}" for name, count in sorted(changed.items())]


def compare(vendor: str, ratio: float, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A row of figures per order, and what is wrong."""
    alone, again = (run(vendor, "without", ratio, folder) for _ in range(2))
    vary = varying(alone.theirs, again.theirs)
    rows, problems = [], []
    for order in ORDERS:
        beside = run(vendor, order, ratio, folder)
        wrong = differences(alone.theirs, untagged(beside.theirs), vary)
        made = expected(vendor, QUESTIONS[ratio])
        if beside.ours != made:
            wrong.append(f"stored are {beside.ours.total()} of {made.total()} spans: {made - beside.ours}")
        row = {"vendor": vendor, "version": importlib.metadata.version(PACKAGES[vendor]), "sampler": ratio}
        row |= {"set up": order, "theirs without": len(alone.theirs), "theirs with": len(beside.theirs)}
        rows.append({**row, "ours": beside.ours.total(), "of": made.total(), "differs": "; ".join(wrong)})
        told = TOO_LATE.get((vendor, ratio)) if order == "joined" else None
        if told is None or len(beside.theirs) != told or beside.ours != made:
            problems += [f"{vendor}, {order}, {ratio}: {one}" for one in wrong]
    return rows, problems


CALLS = {
    "handmade": "chat gpt-4o-mini",
    "logfire": "Chat Completion with {request_data[model]!r}",
    "phoenix": "ChatCompletion",
    "langfuse": "OpenAI-generation",
    "mlflow": "Completions",
    "openlit": "chat gpt-4o-mini",
    "traceloop": "openai.chat",
}
"""What a vendor's instrumentation calls the span of a model call."""


def expected(vendor: str, questions: int) -> Counter[str]:
    """The spans that the program makes: the vendor's way, plain OpenTelemetry's, and the call's."""
    made = Counter(f"work {number}" for number in range(questions))
    opened = ("question {number}",) * questions if vendor == "logfire" else map("question {}".format, range(questions))
    made.update(opened)
    made[CALLS[vendor]] += questions
    if vendor == "openlit":
        made["POST"] += questions  # it instruments the HTTP client too
    return made


def main(vendor: str) -> int:
    """Print the figures of one vendor as JSON lines, and what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"beside-{vendor}-"))
    failed = []
    try:
        for ratio in QUESTIONS:
            rows, problems = compare(vendor, ratio, folder)
            failed += problems
            for row in rows:
                print(json.dumps(row))
    finally:
        shutil.rmtree(folder)
        folder.with_name(folder.name + ".db").unlink(missing_ok=True)
    late = ", but for 'joined', as documented" if any(name == vendor for name, _ in TOO_LATE) else ""
    print("\n".join(failed) or f"{vendor}: receives what it received without us{late}; every span is stored")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
