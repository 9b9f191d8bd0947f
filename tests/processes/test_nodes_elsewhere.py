"""Nodes that share nothing but a store elsewhere: PostgreSQL, S3, and S3 over networks of their own; one is killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from figures import figures
from namespaces import HUB, nodes, why_not
from test_joining import WORK
from tests.servers import S3Server

import otel_research as otr
from otel_research.handle import Experiment
from otel_research.store.library import Library
from otel_research.testing import recording

Start = Callable[..., "subprocess.Popen[str]"]
pytestmark = pytest.mark.once  # networks and stores

NODE = (
    WORK
    + """
import pathlib
folder, number = pathlib.Path(sys.argv[2]), int(sys.argv[3])
folder.mkdir()
os.chdir(folder)
exp = otr.join_experiment(sys.argv[1])
work(tracer, exp, 2 * number)
assert otr.recorder.current().flush().pending == 0
print("half", flush=True)
sys.stdin.readline()
work(tracer, exp, 2 * number + 1)
if number:
    tracer.start_span("never ends")
    print("all", flush=True)
    sys.stdin.readline()
"""
)
NEXT = """
os.chdir(sys.argv[2])
from otel_research.store.library import Library
assert Library(os.environ["OTEL_RESEARCH_STORE"]).get(sys.argv[1]).name == "of two nodes"
"""
"""The next program on a node: whoever opens the experiment delivers what a dead process left there."""


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"s3://{request.getfixturevalue('s3_bucket')}/runs"


@pytest.fixture
def nothing_is_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's local journal lies in a folder of its own."""
    (tmp_path / "owner").mkdir()
    monkeypatch.chdir(tmp_path / "owner")


def expected(url: str) -> dict[str, Any]:
    """The metrics of the same spans in one place."""
    here: dict[str, Any] = {}
    exec("from opentelemetry import trace\n" + WORK, here)
    with recording(url) as (_, provider), otr.experiment("alone") as alone:
        for number in range(4):
            here["work"](provider.get_tracer("app"), alone, number)
    return told(alone)


def told(exp: Experiment) -> dict[str, Any]:
    by = otr.metrics_by(exp, "condition")
    return {arm: figures({**by[arm].to_dict(), "estimand": None}) for arm in "ab"}


def run_on_two_nodes(
    url: str, start: Start, prefixes: Sequence[Sequence[str]], cut: Callable[[], None], bring_back: Callable[[], None]
) -> None:
    """Two nodes record; the second loses its network where it can, is killed, and comes back."""
    with recording(url):
        exp = otr.start_experiment("of two nodes")
        begun = [
            start(NODE, exp.id, f"node {number}", str(number), prefix=prefix, OTEL_RESEARCH_STORE=url)
            for number, prefix in enumerate(prefixes)
        ]
        for node in begun:
            assert node.stdout is not None
            assert node.stdout.readline() == "half\n", node.communicate()[1]
        _, err = begun[0].communicate("\n", timeout=60)
        assert begun[0].returncode == 0, err
        cut()
        says, listens = begun[1].stdout, begun[1].stdin
        assert says is not None
        assert listens is not None
        listens.write("\n")
        listens.flush()
        assert says.readline() == "all\n"
        begun[1].kill()
        begun[1].communicate()
        assert begun[1].returncode == -signal.SIGKILL
        bring_back()
        otr.stop_experiment(exp)
        after = start(NEXT, exp.id, "node 1", prefix=prefixes[1], OTEL_RESEARCH_STORE=url)
        _, err = after.communicate(timeout=60)
        assert after.returncode == 0, err
    check(url, exp.id)


def check(url: str, experiment_id: str) -> None:
    """As a third machine sees it: metrics as in one place, the ledger of each process, nothing twice."""
    library = Library(url, local_root=Path("a third machine"))
    exp = Experiment(library.get(experiment_id), library)
    assert exp.where({"status": "interrupted"}).spans().select("name").collect().rows() == [("never ends",)]
    assert told(exp) == expected("memory:")
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.interrupted, ledger.stored) == (201, 200, 1, 200)
    assert (ledger.lost_total, ledger.duplicates, ledger.is_balanced) == (0, 0, True)
    of_nodes = [one for one in exp.ledgers().values() if one.started]
    assert sorted((one.ended, one.stored, one.interrupted) for one in of_nodes) == [(100, 100, 0), (100, 100, 1)]


@pytest.mark.usefixtures("nothing_is_waiting")
@pytest.mark.parametrize("elsewhere", ["postgresql", "s3"], indirect=True)
def test_nodes_that_share_only_a_store_elsewhere(elsewhere: str, start: Start) -> None:
    """Joined through a database or a bucket, one node killed: the metrics of all spans in one place, every ledger kept."""
    run_on_two_nodes(elsewhere, start, [(), ()], lambda: None, lambda: None)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[Any]]]:
    """An S3 store on this machine and two nodes in networks of their own."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"{reason}; separate stores and one store elsewhere are tested without it")
    with nodes(2) as made:
        server = S3Server(HUB)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.make_bucket("nodes")
        yield "s3://nodes/runs", made
        server.close()


@pytest.mark.usefixtures("nothing_is_waiting")
def test_nodes_in_separate_networks(hub: tuple[str, list[Any]], start: Start) -> None:
    """Two network namespaces, one cut off and then killed: what it had recorded is delivered when it is back."""
    url, (one, two) = hub
    run_on_two_nodes(url, start, [one.prefix, two.prefix], two.cut_off, two.bring_back)
