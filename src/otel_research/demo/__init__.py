"""The bundled model server and the demonstration experiment: `otel-research demo`."""
