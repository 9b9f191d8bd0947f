"""`python -m otel_research.cli`: the same as `otel-research`."""

from otel_research.cli import main

main(prog_name="otel-research")
