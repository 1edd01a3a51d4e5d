"""Builds otelbridge/sandbox/javascript/engine.wasm: QuickJS-ng, our C shim and our prelude as one module without imports; and
otelbridge/otel/encoder.wasm, the exporter's encoder.

Used by hatch_build.py and engine_build.py only; never part of the installed package.
"""
