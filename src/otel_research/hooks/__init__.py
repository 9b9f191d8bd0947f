"""What OpenTelemetry's own set-up finds of us: entry points, so that a program needs no line of ours.

Nothing here records unless it was asked to: by an `OTEL_RESEARCH_*` variable, or by our name,
"research", in a variable or a configuration file of OpenTelemetry's. Every hook swallows and reports.
There is no distro and no configurator: registering one would take over everybody else's.
"""
