"""Whether this process may turn frames into columns: a forked child of one that has Polars may not.

Polars works with threads of its own, which a child does not have: it would wait for them for
ever. So such a child only ends its segments; who opens the experiment next seals them.
"""

from __future__ import annotations

import os
import sys

is_safe = True


def _after_fork() -> None:
    global is_safe
    is_safe = "polars" not in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
