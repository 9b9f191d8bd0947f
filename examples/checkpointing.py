"""A long run that is killed half-way, with checkpoints, and goes on where it ended.

This file starts itself as the run, and the run kills itself: `kill -9`, nothing is flushed. Spans
that had ended are on the disk all the same. A checkpoint is a sealed archive of what there was then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from opentelemetry import trace

import otel_research as otr
from otel_research.archive.verify import verify

tracer = trace.get_tracer("my-app")
ITEMS, EVERY, DIES_AT = range(30), 15, 20
made = 0


def ask(item: int, condition: otr.Condition) -> None:
    """One trial; the run below puts a checkpoint aside from time to time."""
    global made
    with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
        pass
    otr.score("accuracy", item % 3 > 0)
    made += 1
    if made == DIES_AT and "die" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)


def run() -> otr.Experiment:
    """The same call at every start: `resume=True` finds the earlier run, trials that are done are not repeated."""
    exp = otr.start_experiment("overnight", sample_size=len(ITEMS), seed=4, resume=True)
    for upto in range(EVERY, len(ITEMS) + 1, EVERY):
        trials = exp.run_trials(ask, ITEMS[:upto], conditions=["only"])
        print(f"{len(trials)} trials made, {trials.done_before} were there")
        if len(trials) and upto < len(ITEMS):
            print("checkpoint:", exp.archive(path=f"checkpoint-{upto}.archive"))
    return otr.stop_experiment(exp)


if "die" in sys.argv:
    run()
else:
    killed = subprocess.run([sys.executable, __file__, "die"])
    print(f"the first run ended by signal {-killed.returncode}")
    exp = run()

    trials = exp.trials().collect()
    whole = trials.filter(trials["outcome"] == "ok")
    print(f"{whole.height} whole trials of {trials['item_id'].n_unique()} items; {exp.ledger()}")
    assert whole["item_id"].n_unique() == whole.height == len(ITEMS)

    # A checkpoint proves itself, by its hashes and by computing its numbers again; so it can leave the machine.
    first = Path("checkpoint-15.archive")
    print(f"{first}: verified" if verify(first).is_sound else f"{first}: damaged")
