"""A worker as its callers see it: entrypoints, and what one call of them does from start to record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from otelbridge.errors import WorkerError, WorkerLoadError
from otelbridge.loader.instances import Instances, Lease
from otelbridge.loader.javascript import JsRun
from otelbridge.loader.messages import frame
from otelbridge.loader.operations import Bindings, Operations
from otelbridge.loader.outbound import Outbound
from otelbridge.loader.recorder import Recorder, pack_exception
from otelbridge.loader.values import decode, pack
from otelbridge.loader.version import LoadFailed, Runtimes, Version
from otelbridge.model.code import INHERIT, Limits, lower
from otelbridge.model.http import Request, Response, header
from otelbridge.model.ids import parse_traceparent
from otelbridge.model.part import End, trace_item
from otelbridge.model.redaction import redact_headers, redact_url
from otelbridge.model.trace import Dropped, Event, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent, TraceItem
from otelbridge.sandbox import Meter, Stop
from otelbridge.tail import TailStage

__all__ = ["Entrypoint", "Host", "Watch", "Worker"]

Watch = Callable[[Recorder, TraceItem | None], None]
MAX_DEPTH = 16  # as Cloudflare's: of calls within calls, in one worker or through several
TOO_DEEP = (
    "Subrequest depth limit exceeded. This request recursed through Workers too many times. This can happen e.g. if you have a Worker"
    " that calls other Workers recursively."
)
# Tasks inherit it, so that it also counts what goes through an embedding program's own objects. Without it a worker that
# calls itself left 25,000 records behind one request: each call that ended made room for one more at the other end.
_depth: ContextVar[int] = ContextVar("otelbridge_call_depth", default=0)


class Host(msgspec.Struct, frozen=True):
    """What workers run on: shared by all workers of a loader."""

    runtimes: Runtimes
    instances: Instances
    outbound: Outbound
    tail: TailStage
    defaults: Limits
    maxima: Limits
    max_per_worker: int
    propagate: bool = True


class Worker:
    """Code with an id. `prepare` gives its version; it runs at most once at a time, and again after a failed load."""

    def __init__(self, worker_id: str, prepare: Callable[[], Any], host: Host) -> None:
        self.worker_id = worker_id
        self.host = host
        self._prepare = prepare
        self._version: asyncio.Future[Version] | None = None

    def get_entrypoint(self, name: str | None = None, props: Mapping[str, Any] | None = None, limits: Limits | None = None) -> Entrypoint:
        """A handle to call. `name` None: the default export. Of `limits` and the code's own the lower ones hold."""
        return Entrypoint(self, None if name in (None, "default") else name, props, limits)

    async def version(self) -> Version:
        """The worker's version, prepared when first needed. A failure is not remembered."""
        future = self._version
        if future is None:
            future = self._version = asyncio.ensure_future(self._prepare())
            future.add_done_callback(self._prepared)
        return future.result() if future.done() else await asyncio.shield(future)

    def _prepared(self, future: asyncio.Future[Version]) -> None:
        if (future.cancelled() or future.exception() is not None) and self._version is future:
            self._version = None

    async def load(self) -> None:
        """Make sure that the code loads. A failure is recorded like that of a call."""
        version = await self.version()
        event = RpcEvent("load")
        call = self.begin(version, event, None, None, None, None)
        try:
            lease, _ = await self.host.instances.acquire(version, lambda: version.make(self.host.runtimes))
        except LoadFailed as e:
            raise call.load_failed(e) from None
        self.host.instances.release(lease, reuse=True)

    def begin(
        self,
        version: Version,
        event: Event,
        raw: Callable[[], Event] | None,
        entrypoint: str | None,
        traceparent: str | None,
        watch: Watch | None,
    ) -> _Call:
        """Give an invocation its identity, and see who wants to know of it. `raw` makes the event unredacted, if it differs."""
        keep = watch is not None or version.tailed
        recorder = Recorder(
            worker=version.worker,
            event=event,
            raw_event=raw() if keep and raw is not None else event,
            entrypoint=entrypoint,
            parent=parse_traceparent(traceparent) if self.host.propagate else None,
            write=self.host.tail.record if version.bridged else None,
            keep=keep,
            maps=version.maps,
        )
        if watch is not None:
            watch(recorder, None)
        return _Call(self, version, recorder, version.code.tails, watch)

    def forget(self, version: Version) -> None:
        """Prepare anew for the next call: this version's load failed."""
        if self._version is not None and self._version.done() and self._version.result() is version:
            self._version = None

    def retire(self) -> None:
        """Close the instances; calls that run end as they would. Whoever calls it after all has it prepared anew."""
        version, self._version = self._version, None
        if version is not None and version.done() and not version.cancelled() and version.exception() is None:
            self.host.instances.retire(version.result())


class Entrypoint:
    """An exported handler of a worker: fetch(), methods, triggers."""

    is_entrypoint = True
    __slots__ = ("_limits", "_name", "_props", "worker")

    def __init__(self, worker: Worker, name: str | None, props: Mapping[str, Any] | None, limits: Limits | None) -> None:
        self.worker = worker
        self._name = name
        self._props = pack(dict(props)) if props else {}
        self._limits = limits

    async def fetch(
        self, request: Request, *, traceparent: str | None = None, client_ip: str | None = None, watch: Watch | None = None
    ) -> Response:
        """Have the worker answer a request. Raises WorkerError with what it threw or what ended it."""
        if traceparent is None:
            traceparent = header(request.headers, "traceparent")
        url = request.url.partition("#")[0]  # as every HTTP client does
        pairs = [(k.lower(), v) for k, v in request.headers]
        event = FetchEvent(request.method, redact_url(url), redact_headers(pairs), client_ip)
        body = request.body
        kind, blob = (0, b"") if body is None else (1, body) if isinstance(body, bytes) else (2, b"")
        detail = [request.method, url, pairs, kind, request.cf]
        stream = None if body is None or isinstance(body, bytes) else aiter(body)

        def raw() -> Event:
            return FetchEvent(request.method, url, dict(pairs), client_ip)

        answer = await self._invoke("fetch", event, raw, detail, blob, stream=stream, traceparent=traceparent, watch=watch, request=request)
        return answer  # type: ignore[no-any-return]

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method and return its result. Raises WorkerError."""
        event = RpcEvent(method)
        result = await self._invoke("rpc", event, None, [method, pack(list(args))])
        return decode(result)

    async def scheduled(self, *, cron: str = "", scheduled_time: float | None = None, watch: Watch | None = None) -> dict[str, Any]:
        """Run the scheduled() handler: {"outcome", "noRetry"}. `scheduled_time`: milliseconds since 1970, now by default."""
        at = int(time.time() * 1000 if scheduled_time is None else scheduled_time)
        event = ScheduledEvent(cron, at)
        outcome, text = await self._trigger("scheduled", event, [cron, at], watch)
        left = decode(text) if text else {}
        return {"outcome": outcome, "noRetry": left.get("noRetry") is True}

    async def queue(self, name: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Run the queue() handler: {"outcome", "ackAll", "explicitAcks", "retryBatch", "retryMessages"}.

        A message is {"id", "body", "timestamp"? (ms), "attempts"?}.
        """
        now = int(time.time() * 1000)
        listed = [
            {"id": str(m.get("id", i)), "body": pack(m.get("body")), "timestamp": m.get("timestamp", now), "attempts": m.get("attempts", 1)}
            for i, m in enumerate(messages)
        ]
        outcome, text = await self._trigger("queue", QueueEvent(name, len(listed)), [name, listed], None)
        batch = (decode(text) if text else None) or {}
        acked, retried = batch.get("acked") or {}, batch.get("retried") or {}
        return {
            "outcome": outcome,
            "ackAll": batch.get("all") == "ack",
            "explicitAcks": list(acked),
            "retryBatch": {"retry": batch.get("all") == "retry"} | ({} if (v := batch.get("delay")) is None else {"delaySeconds": v}),
            "retryMessages": [{"msgId": k} | ({} if v is None else {"delaySeconds": v}) for k, v in retried.items()],
        }

    async def _trigger(self, kind: str, event: Event, detail: list[Any], watch: Watch | None) -> tuple[str, bytes | None]:
        """A handler without a caller: what it throws becomes an outcome. That, and what the handler left behind."""
        try:
            outcome, left = await self._invoke(kind, event, None, detail, watch=watch)
            return outcome, left
        except WorkerLoadError:
            raise
        except WorkerError as e:
            return e.outcome, None

    # -------------------------------------------------------------------------------------------- one invocation

    async def _invoke(
        self,
        kind: str,
        event: Event,
        raw: Callable[[], Event] | None,
        detail: list[Any],
        blob: bytes = b"",
        *,
        stream: AsyncIterator[bytes] | None = None,
        traceparent: str | None = None,
        watch: Watch | None = None,
        request: Request | None = None,
    ) -> Any:
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            raise WorkerError("Error", TOO_DEEP)
        token = _depth.set(depth + 1)
        try:
            return await self._invoke_at(kind, event, raw, detail, blob, stream, traceparent, watch, request)
        finally:
            _depth.reset(token)

    async def _invoke_at(
        self,
        kind: str,
        event: Event,
        raw: Callable[[], Event] | None,
        detail: list[Any],
        blob: bytes,
        stream: AsyncIterator[bytes] | None,
        traceparent: str | None,
        watch: Watch | None,
        request: Request | None,
    ) -> Any:
        host = self.worker.host
        # Whatever of the request can't be used shows here, while there is no instance that could be lost over it.
        message = frame(["invoke", kind, self._name, self._props, detail], blob)
        chunks = None if stream is None else aiter(stream)
        version = await self.worker.version()
        call = self.worker.begin(version, event, raw, self._name, traceparent, watch)
        recorder = call.recorder
        try:
            lease, call.queue_ns = await host.instances.acquire(version, lambda: version.make(host.runtimes))
        except LoadFailed as e:
            self.worker.forget(version)
            raise call.load_failed(e) from None
        except WorkerError as e:
            raise call.refused(e) from None
        except Exception as e:  # a fault of ours: the call leaves its record all the same
            raise call.refused(WorkerError("Error", f"internal error: {type(e).__name__}: {e}", outcome="internalError")) from e
        limits = version.limits if self._limits is None else lower(version.limits, self._limits)
        if version.is_core:
            if stream is not None:
                blob = b"".join([chunk async for chunk in stream])
            return await call.core(lease, limits, detail, blob, chunks, kind)
        call.lease = lease
        meter = Meter(cpu_limit_ns=(limits.cpu_ms or 1) * 1_000_000)
        if version.bindings is None:
            version.bindings = Bindings(
                outbound=host.outbound,
                slots=version.connections,
                global_outbound=version.code.global_outbound,
                services=version.services,
                own_entrypoint=self.worker.get_entrypoint,
            )
        operations = Operations(
            bindings=version.bindings,
            limit=limits.subrequests or 0,
            trace_id=recorder.trace_id,
            trace_flags=recorder.trace_flags,
            propagate=host.propagate,
            meter=meter,
        )
        if chunks is not None:
            operations.open_stream(chunks, stream=0)
        earlier, lease.load_entries = lease.load_entries, b""
        run = JsRun(
            instance=lease.instance,
            recorder=recorder,
            operations=operations,
            meter=meter,
            wall_seconds=(limits.wall_ms or 1) / 1000,
            on_end=call.ended,
            earlier=earlier,
            until_end=kind in ("scheduled", "queue"),
        )
        lease.abort = run.abort
        lease.instance.begin(limits.log_bytes)
        try:
            return await run.start(message)
        except WorkerError:
            if run.pass_through and request is not None:
                return await self._pass_through(version, request)
            raise

    async def _pass_through(self, version: Version, request: Request) -> Response:
        target = version.code.global_outbound
        if target is None:
            raise WorkerError("Error", "passThroughOnException() was called, but this worker has no outbound.")
        try:
            answer = await (self.worker.host.outbound.fetch(request) if target is INHERIT else getattr(target, "fetch", target)(request))
        except WorkerError:
            raise
        except Exception as e:  # of the network, of the egress policy, of an embedding program's gateway
            raise WorkerError("Error", f"Network connection lost: {type(e).__name__}: {e}") from e
        return answer


class _Call:
    """The end of one invocation: its last part, its instance given back, its tails told."""

    __slots__ = ("_tails", "_version", "_watch", "_worker", "lease", "queue_ns", "recorder")

    def __init__(self, worker: Worker, version: Version, recorder: Recorder, tails: Sequence[Any], watch: Watch | None) -> None:
        self.queue_ns = 0
        self.lease: Lease | None = None
        self._worker = worker
        self._version = version
        self.recorder = recorder
        self._tails = tails
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
            Dropped(counters.dropped_logs, counters.dropped_exceptions, counters.dropped_bytes),
            tuple(run.operations.subrequests),
            run.response_bytes,
            self.queue_ns,
        )
        lease.cold, lease.load_cpu_ns = None, 0
        warm = self._version.code.isolation == "reuse"
        reuse = run.reusable and not lease.instance.dead if warm else lease.instance.restore()
        self._worker.host.instances.release(lease, reuse=reuse)
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
            Dropped(counters.dropped_logs, counters.dropped_exceptions, counters.dropped_bytes),
            (),
            body_bytes,
            self.queue_ns,
        )
        entries = lease.load_entries + instance.read_ring() + last
        lease.cold, lease.load_entries, lease.load_cpu_ns = None, b"", 0
        reuse = outcome == "ok" and not instance.dead and instance.reusable and self._version.code.isolation == "reuse"
        self._worker.host.instances.release(lease, reuse=reuse)
        self._finish(entries, end)

    def _finish(self, entries: bytes, end: End) -> None:
        recorder = self.recorder
        recorder.record(entries, end)
        if recorder.keep:
            item = trace_item(recorder.parts, recorder.raw_event)
            self._worker.host.tail.deliver(self._tails, item)
            if self._watch is not None:
                self._watch(recorder, item)

    def _named(self, error: WorkerError) -> WorkerError:
        error.invocation_id, error.trace_id = self.recorder.invocation_id, self.recorder.trace_id
        return error
