"""Sample workers, loaded by `otelbridge serve --samples`."""
