from __future__ import annotations

import pytest
from captured_spans import Captured


@pytest.fixture
def captured() -> Captured:
    return Captured()
