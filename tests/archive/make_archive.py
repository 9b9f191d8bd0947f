"""`python -m tests.archive.make_archive FOLDER`: an archive for an environment other than this one to verify."""

from __future__ import annotations

import sys

from tests.archive.conftest import run

if __name__ == "__main__":
    print(run().archive(path=sys.argv[1]))
