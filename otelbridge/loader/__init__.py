"""The loader: worker code becomes instances, calls become invocations, and each invocation leaves its record."""
