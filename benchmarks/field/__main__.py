"""`python benchmarks/field TOOL [TABLE ...]`: run by `nox -s field`, which makes the tool's environment."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root / "benchmarks"), str(root)]
    from field.run import main

    sys.exit(main(sys.argv[1], sys.argv[2:]))
