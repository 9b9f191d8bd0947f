"""One function of a tool, in a process of its own: `python ask.py TOOL FUNCTION [WORD ...]`, its answer as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
sys.path[0:1] = [str(root / "benchmarks"), str(root)]  # not this folder: it has a file `tools`

from field.tools import named  # noqa: E402

if __name__ == "__main__":
    name, function, *words = sys.argv[1:]
    given = [int(word) if word.isdigit() else word for word in words]
    print("\n" + json.dumps({"answer": getattr(named(name), function)(*given)}, default=str))
