"""The bridge's own spans: what it does behind the spool, told under its own resource. Off by default (`telemetry.own_traces`).

They are for looking at the bridge, not part of what it promises: they wait in memory, bounded and counted, are in no ledger, and go with the process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from otelbridge.lasting import LastingTask
from otelbridge.model.part import Part
from otelbridge.otel import wire
from otelbridge.otel.encoder import Encoded
from otelbridge.otel.environment import BatchLimits
from otelbridge.otel.request import Request
from otelbridge.otel.resource import Resources
from otelbridge.otel.sender import Fate, Sender
from otelbridge.otel.span_rows import CLIENT, ERROR, INTERNAL, SpanRow

__all__ = ["OwnTraces"]

_log = logging.getLogger("otelbridge.otel")

_MAX_WAITING: Final = 2_048  # spans, for each destination


class _Target:
    """A destination, and the spans that wait for it."""

    def __init__(self, sender: Sender, send: Callable[[Sender, list[bytes]], Awaitable[None]], max_batch: int) -> None:
        self.sender = sender
        self.waiting: deque[bytes] = deque()
        self._send = send
        self._max_batch = max_batch
        self._alone = asyncio.Lock()

    async def flush(self) -> None:
        """Send what waits, and wait for what is under way."""
        async with self._alone:
            while self.waiting:
                batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self._max_batch))]
                try:
                    await self._send(self.sender, batch)
                except BaseException:  # it is tried again, or counted at the end
                    self.waiting.extendleft(reversed(batch))
                    raise


class OwnTraces:
    """Takes spans on any thread, and sends them to each of `senders` in its own time; `start()` on the running loop, then `aclose()`.

    `sent` counts spans that a destination took, `dropped` those that did not fit into the queue or were refused.
    """

    def __init__(self, senders: Sequence[Sender], resources: Resources, limits: BatchLimits) -> None:
        self.sent = 0
        self.dropped = 0
        self._resources = resources
        self._limits = limits
        self._lock = threading.Lock()
        self._targets = [_Target(sender, self._send, limits.max_batch) for sender in senders]
        self.tasks: list[LastingTask] = []

    def record(
        self, name: str, start_ns: int, end_ns: int, attributes: Mapping[str, Any], error: str | None = None, *, client: bool = False
    ) -> None:
        """A span that has ended, each a trace of its own. `error`: what went wrong."""
        own: dict[str, Any] = dict(attributes)
        status, message = (ERROR, error[:500]) if error is not None else (0, "")
        kind = CLIENT if client else INTERNAL
        trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
        row = SpanRow(trace_id, span_id, "", name, kind, start_ns, max(end_ns, start_ns), own, 0, status, message)
        [data] = wire.spans([row])
        with self._lock:
            for target in self._targets:
                if len(target.waiting) < _MAX_WAITING:
                    target.waiting.append(data)
                else:
                    self.dropped += 1

    def loaded(self, part: Part) -> None:
        """The load that an invocation waited for, if it did. Whose it was is an attribute: the resource stays the bridge's."""
        cold = part.end.cold_start if part.end is not None else None
        if cold is not None:
            attributes = {
                "otelbridge.worker_id": part.worker.worker_id,
                "otelbridge.worker_version": part.worker.version,
                "otelbridge.compile_time_ms": cold.compile_ns / 1e6,
            }
            self.record("load worker", cold.start_ns, cold.end_ns, attributes)

    def attempt(self, destination: str) -> Callable[[Request, int, int, str | None], None]:
        """For a Sender: takes each attempt to send a request to a destination."""

        def take(request: Request, start_ns: int, end_ns: int, error: str | None) -> None:
            attributes = {
                "otelbridge.destination": destination,
                "otelbridge.signal": request.signal,
                "otelbridge.records": request.records,
                "otelbridge.bytes": len(request.payload()),
            }
            self.record("export", start_ns, end_ns, attributes, error, client=True)

        return take

    # ----------------------------------------------------------------------------------------------------------- work

    def start(self) -> None:
        """Begin to send."""
        self.tasks = [
            LastingTask(f"the bridge's own spans, to destination {number}", functools.partial(self._run, target))
            for number, target in enumerate(self._targets, 1)
        ]

    async def drained(self) -> None:
        """Send all that has been recorded."""
        await asyncio.gather(*(target.flush() for target in self._targets))

    async def aclose(self) -> None:
        """Stop at once; what waits is gone, which is counted and said. May be called twice."""
        await asyncio.gather(*(task.aclose() for task in self.tasks))
        left = sum(len(target.waiting) for target in self._targets)
        if left:
            self.dropped += left
            _log.warning("%d of the bridge's own spans were not sent before it stopped, and are gone", left)
        for target in self._targets:
            target.waiting.clear()
            await target.sender.aclose()

    async def _run(self, target: _Target) -> None:
        while True:
            await asyncio.sleep(self._limits.delay_ms / 1000)
            await target.flush()

    async def _send(self, sender: Sender, batch: list[bytes]) -> None:
        request = Request("spans")
        request.add(None, Encoded(wire.records(batch), len(batch)), self._resources)
        await sender.deliver(request, self._settled)

    def _settled(self, fates: list[Fate]) -> None:
        for fate in fates:
            count = sum(fate.counts.values())
            if fate.reason is None:
                self.sent += count
            else:
                self.dropped += count
