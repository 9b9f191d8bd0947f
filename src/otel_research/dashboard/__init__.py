"""The live dashboard: a process of its own that reads a store.

    catalogue, overview, curves, spans, comparing, news       store -> plain data, no HTTP
    worker                                                    computes them, in a process that comes and goes
    pool, broadcast, app, guard, server                       HTTP, server-sent events, who may ask
    sentinel                                                  alert rules for every experiment that runs
    static/                                                   the pages: hand-written, no build step

The server's process never loads Polars, so that it stays small whatever the store holds.
"""
