"""One invocation from its instance to its record: the last part is written, the instance given back, the tails are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from otelbridge.errors import WorkerError
from otelbridge.loader.instances import Instances, Lease
from otelbridge.loader.javascript import JsRun
from otelbridge.loader.recorder import Recorder, pack_exception
from otelbridge.loader.version import LoadFailed, Version
from otelbridge.model.code import Limits
from otelbridge.model.http import Response
from otelbridge.model.part import End, trace_item
from otelbridge.model.trace import Dropped, TraceItem
from otelbridge.sandbox import Meter, RingCounters, Stop
from otelbridge.tail import TailStage

__all__ = ["Call", "Watch"]

Watch = Callable[[Recorder, TraceItem | None], None]


class Call:
    """One invocation of this version. `lease` is set while an instance serves it."""

    __slots__ = ("_instances", "_tail", "_version", "_watch", "lease", "queue_ns", "recorder")

    def __init__(self, version: Version, recorder: Recorder, *, instances: Instances, tail: TailStage, watch: Watch | None) -> None:
        self.queue_ns = 0
        self.lease: Lease | None = None
        self.recorder = recorder
        self._version = version
        self._instances = instances
        self._tail = tail
        self._watch = watch

    def ended(self, run: JsRun) -> None:
        """A JavaScript guest is done, or was stopped."""
        lease = self.lease
        if lease is None:
            return
        self.lease = None
        counters = lease.instance.counters()
        end = End(
            run.end_ns,
            run.outcome,
            run.meter.cpu_ns + lease.load_cpu_ns,
            run.end_ns - self.recorder.start_ns,
            run.status,
            lease.cold,
            lease.instance.heap_bytes,
            counters.truncated,
            _dropped(counters),
            run.subrequests,
            run.response_bytes,
            self.queue_ns,
        )
        lease.cold, lease.load_cpu_ns = None, 0
        warm = self._version.code.isolation == "reuse"
        reuse = run.reusable and not lease.instance.dead if warm else lease.instance.restore()
        self._instances.release(lease, reuse=reuse)
        self._finish(run.last_entries, end)

    def load_failed(self, e: LoadFailed) -> WorkerError:
        """The invocation ends with its worker's failed load."""
        now = time.time_ns()
        self._finish(e.entries, End(now, e.error.outcome, e.cpu_ns, now - self.recorder.start_ns, None, e.cold))
        return self._named(e.error)

    def refused(self, e: WorkerError) -> WorkerError:
        """There was no instance for it."""
        now = time.time_ns()
        entries = pack_exception(e.name, e.message, None)
        self._finish(entries, End(now, e.outcome, 0, now - self.recorder.start_ns, queue_ns=self.queue_ns))
        return self._named(e)

    async def core(
        self, lease: Lease, limits: Limits, detail: list[Any], blob: bytes, chunks: AsyncIterator[bytes] | None, kind: str
    ) -> Response:
        """Run a core module: one call, no host operations."""
        instance, meter = lease.instance, Meter(cpu_limit_ns=(limits.cpu_ms or 1) * 1_000_000)
        outcome = "ok"
        ids = {"invocation_id": self.recorder.invocation_id, "trace_id": self.recorder.trace_id}
        last = b""
        error: WorkerError | None = None
        response: Response | None = None

        def abort() -> None:
            meter.cpu_limit_ns = 1

        lease.abort = abort
        try:
            if kind != "fetch":
                raise Stop("exception", "TypeError", f"A core module has no {kind}() handler.", None)
            async with asyncio.timeout((limits.wall_ms or 1) / 1000):
                if chunks is not None:
                    blob = b"".join([bytes(chunk) async for chunk in chunks])
                status, headers, body = await instance.fetch(detail[0], detail[1], [(k, v) for k, v in detail[2]], blob, meter)
            response = Response(body, status, headers)
            response.invocation_id, response.trace_id = self.recorder.invocation_id, self.recorder.trace_id
        except Stop as stop:
            outcome, error = stop.outcome, WorkerError(stop.name, stop.message, stack=stop.stack, outcome=stop.outcome, **ids)
        except TimeoutError:
            outcome, error = "exceededWallTime", WorkerError("Error", "Worker exceeded wall time limit.", outcome="exceededWallTime", **ids)
        except ValueError as e:
            outcome, error = "exception", WorkerError("TypeError", f"The worker's response is not valid HTTP: {e}", **ids)
        except asyncio.CancelledError:
            self._end_core(lease, meter, "canceled", None, b"", 0)
            raise
        except Exception as e:  # a fault of ours, or of whoever feeds the request's body
            outcome = "internalError"
            error = WorkerError("Error", f"internal error: {type(e).__name__}: {e}", outcome=outcome, **ids)
        if error is not None:
            last = pack_exception(error.name, error.message, error.stack)
        body_bytes = len(response.whole or b"") if response is not None else 0
        self._end_core(lease, meter, outcome, response.status if response is not None else None, last, body_bytes)
        if error is not None:
            raise error
        assert response is not None
        return response

    def _end_core(self, lease: Lease, meter: Meter, outcome: str, status: int | None, last: bytes, body_bytes: int) -> None:
        instance = lease.instance
        counters = instance.counters()
        now = time.time_ns()
        end = End(
            now,
            outcome,
            meter.cpu_ns + lease.load_cpu_ns,
            now - self.recorder.start_ns,
            status,
            lease.cold,
            instance.memory_bytes,
            counters.truncated,
            _dropped(counters),
            (),
            body_bytes,
            self.queue_ns,
        )
        entries = lease.load_entries + instance.read_ring() + last
        lease.cold, lease.load_entries, lease.load_cpu_ns = None, b"", 0
        reuse = outcome == "ok" and not instance.dead and instance.reusable and self._version.code.isolation == "reuse"
        self._instances.release(lease, reuse=reuse)
        self._finish(entries, end)

    def _finish(self, entries: bytes, end: End) -> None:
        recorder = self.recorder
        recorder.record(entries, end)
        if recorder.keep:
            item = trace_item(recorder.parts, recorder.raw_event)
            self._tail.deliver(self._version.code.tails, item)
            if self._watch is not None:
                self._watch(recorder, item)

    def _named(self, error: WorkerError) -> WorkerError:
        error.invocation_id, error.trace_id = self.recorder.invocation_id, self.recorder.trace_id
        return error


_NONE_DROPPED = Dropped()


def _dropped(counters: RingCounters) -> Dropped:
    if not counters.dropped_bytes and not counters.dropped_logs and not counters.dropped_exceptions:
        return _NONE_DROPPED
    return Dropped(counters.dropped_logs, counters.dropped_exceptions, counters.dropped_bytes)
