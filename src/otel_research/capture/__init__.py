"""The way in: what hangs on a TracerProvider, and what it does with each span.

    sampler     inside an experiment nothing is dropped; tags the span as it is made
    processor   journals the start and the end of every span of an experiment
    ids         span ids that neither read nor move the global `random`
    exporter    the same capture behind `SpanExporter`, for pipelines that only take exporters
    experiment  one experiment's journal, rules and counters in this process
    rules       event filter and sampling
    content     what may be written of prompts and completions
    room        what happens when there is no room
    ledger      what became of every span
    caretaker   what is due in the background; `courier` brings spans to a store that is elsewhere
    forward     where spans also go
    attach      puts the pieces on a provider without removing anything

With `hooks`, `testing` and `formats/otlp` the only code that imports `opentelemetry.sdk`.
"""
