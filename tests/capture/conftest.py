"""After every test here the process is as it was: nothing runs, nothing is open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_research import context, lifecycle, recorder
from otel_research.capture import registry


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(registry.open_spans)  # tests of other rooms, in the same process, leave spans open on purpose
    yield
    assert recorder.current() is None
    assert registry.running == {}
    assert registry.open_spans.keys() <= before
    assert lifecycle._live == {}
    assert context.process_scope() is None
    assert context.context_scope() is None
