"""Which invocations are kept: all records of one or none, decided by its trace id, and by how it ended.

An invocation that failed, was slow or logged an error is kept whole, whatever the rate.
"""

from __future__ import annotations

from otelbridge.model import ring
from otelbridge.model.part import End, Part
from otelbridge.otel.conventions import failed
from otelbridge.otel.environment import LOGS, Environment, Signal
from otelbridge.settings import ObservabilitySettings

__all__ = ["Sampling", "has_errors"]

_BITS = 1 << 64


class Sampling:
    """The decisions for one signal. `enabled`: whether the signal is wanted at all."""

    def __init__(self, signal: Signal, settings: ObservabilitySettings, environment: Environment) -> None:
        section = settings.logs if signal == LOGS else settings.traces
        self.enabled = settings.enabled and section.enabled
        rate = section.head_sampling_rate if section.head_sampling_rate is not None else settings.head_sampling_rate
        self._parent_based = signal != LOGS
        if signal != LOGS and environment.sampler_set:
            kind = environment.sampler
            self._parent_based = kind.startswith("parentbased_")
            rate = {"always_on": 1.0, "always_off": 0.0, "traceidratio": environment.sampler_rate}[kind.removeprefix("parentbased_")]
        self._bound = round(rate * _BITS)
        self.takes_roots = self.enabled and self._bound >= _BITS  # head() says yes to all that have no parent
        self.takes_all = self.takes_roots and not self._parent_based
        self._keep_failed = settings.keep_failed
        self._slow_ns = settings.slow_ms * 1_000_000

    def head(self, part: Part) -> bool:
        """The decision that needs no end. The same for every process and attempt: it depends on the trace alone."""
        if self._parent_based and part.parent_span_id is not None:
            return part.trace_flags & 1 == 1
        if self._bound >= _BITS:
            return True
        # As the SDK's TraceIdRatioBased does it, so that services along a trace agree.
        return int(part.trace_id[16:], 16) < self._bound

    @property
    def waits(self) -> bool:
        """Whether an invocation that was not sampled may still be kept for how it ends."""
        return self._keep_failed or self._slow_ns > 0

    def keep(self, end: End | None, errors: bool) -> bool:
        """Whether how it ended makes it worth keeping. No end: its process died."""
        if self._keep_failed and (errors or failed(end)):
            return True
        return self._slow_ns > 0 and end is not None and end.wall_ns >= self._slow_ns


def has_errors(part: Part) -> bool:
    """Whether a part holds an exception or a line at level error."""
    return any(e.kind == ring.EXCEPTION or (e.kind <= ring.TEXT and ring.LEVELS[e.level] == "error") for e in ring.walk(part.ring))
