"""A worker as its callers see it: entrypoints, and what one call of them does from start to record."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from otelbridge.errors import WorkerError, WorkerLoadError
from otelbridge.loader.call import Call, Watch
from otelbridge.loader.instances import Instances, Lease
from otelbridge.loader.javascript import JsRun
from otelbridge.loader.messages import frame
from otelbridge.loader.operations import Bindings, Operations
from otelbridge.loader.outbound import Outbound, network_words
from otelbridge.loader.recorder import Recorder
from otelbridge.loader.values import decode, pack
from otelbridge.loader.version import LoadFailed, Runtimes, Version
from otelbridge.model.code import INHERIT, Limits, lower
from otelbridge.model.http import Request, Response, header
from otelbridge.model.ids import parse_traceparent
from otelbridge.model.redaction import redact_headers, redact_url
from otelbridge.model.trace import Event, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent
from otelbridge.sandbox import Meter
from otelbridge.tail import TailStage

__all__ = ["Entrypoint", "Host", "Watch", "Worker"]

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

    def prepared(self) -> Version | None:
        """The worker's version when it is there already; else await version()."""
        future = self._version
        return future.result() if future is not None and future.done() else None

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

    async def load(self) -> list[str]:
        """Make sure that the code loads; what is doubtful about it, in words. A failure is recorded like that of a call."""
        version = await self.version()
        event = RpcEvent("load")
        call = self.begin(version, event, None, None, None, None)
        try:
            lease, _ = await self.host.instances.acquire(version, lambda: version.make(self.host.runtimes))
        except LoadFailed as e:
            raise call.load_failed(e) from None
        self.host.instances.release(lease, reuse=True)
        return version.warnings

    def begin(
        self,
        version: Version,
        event: Event,
        raw: Callable[[], Event] | None,
        entrypoint: str | None,
        traceparent: str | None,
        watch: Watch | None,
    ) -> Call:
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
        return Call(version, recorder, instances=self.host.instances, tail=self.host.tail, watch=watch)

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
        url = request.url.partition("#")[0]  # as every HTTP client does
        pairs = request.headers if request.lower_case else [(k.lower(), v) for k, v in request.headers]
        shown = redact_headers(pairs)
        if traceparent is None and "traceparent" in shown:
            traceparent = header(pairs, "traceparent")
        event = FetchEvent(request.method, redact_url(url), shown, client_ip)
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
        outcome, left = await self._trigger("scheduled", event, [cron, at], watch)
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
        outcome, batch = await self._trigger("queue", QueueEvent(name, len(listed)), [name, listed], None)
        acked, retried = batch.get("acked") or {}, batch.get("retried") or {}
        return {
            "outcome": outcome,
            "ackAll": batch.get("all") == "ack",
            "explicitAcks": list(acked),
            "retryBatch": {"retry": batch.get("all") == "retry"} | ({} if (v := batch.get("delay")) is None else {"delaySeconds": v}),
            "retryMessages": [{"msgId": k} | ({} if v is None else {"delaySeconds": v}) for k, v in retried.items()],
        }

    async def _trigger(self, kind: str, event: Event, detail: list[Any], watch: Watch | None) -> tuple[str, dict[Any, Any]]:
        """A handler without a caller: what it throws becomes an outcome. That, and what the handler left behind."""
        try:
            outcome, text = await self._invoke(kind, event, None, detail, watch=watch)
            left = decode(text) if text else None
            return outcome, left if isinstance(left, dict) else {}
        except WorkerLoadError:
            raise
        except WorkerError as e:
            return e.outcome, {}

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
            # Whatever of the request can't be used shows here, while there is no instance that could be lost over it.
            message = frame(["invoke", kind, self._name, self._props, detail], blob)
            version = self.worker.prepared() or await self.worker.version()
            call = self.worker.begin(version, event, raw, self._name, traceparent, watch)
            lease = self.worker.host.instances.idle(version) or await self._lease(call, version)
            limits = version.limits if self._limits is None else lower(version.limits, self._limits)
            if version.is_core:
                return await call.core(lease, limits, detail, blob, stream, kind)
            run = self._run(call, lease, version, limits, kind, stream, request)
            try:
                return await run.start(message)
            except WorkerError:
                if run.pass_through and request is not None:
                    return await self._pass_through(version, request)
                raise
        finally:
            _depth.reset(token)

    async def _lease(self, call: Call, version: Version) -> Lease:
        """An instance for this call, made or waited for. Without one, the call leaves its record all the same."""
        host = self.worker.host
        try:
            lease, call.queue_ns = await host.instances.acquire(version, lambda: version.make(host.runtimes))
        except LoadFailed as e:
            self.worker.forget(version)
            raise call.load_failed(e) from None
        except WorkerError as e:
            raise call.refused(e) from None
        except Exception as e:  # a fault of ours
            raise call.refused(WorkerError("Error", f"internal error: {type(e).__name__}: {e}", outcome="internalError")) from e
        return lease

    def _run(
        self,
        call: Call,
        lease: Lease,
        version: Version,
        limits: Limits,
        kind: str,
        stream: AsyncIterator[bytes] | None,
        request: Request | None,
    ) -> JsRun:
        call.lease = lease
        meter = Meter(cpu_limit_ns=(limits.cpu_ms or 1) * 1_000_000)
        run = JsRun(
            instance=lease.instance,
            recorder=call.recorder,
            operations=functools.partial(self._operations, version, call.recorder, limits, meter, stream),
            meter=meter,
            wall_seconds=(limits.wall_ms or 1) / 1000,
            on_end=call.ended,
            earlier=lease.load_entries,
            until_end=kind in ("scheduled", "queue"),
            forward=None if request is None else functools.partial(self._pass_through, version, request),
        )
        lease.load_entries = b""
        lease.abort = run.abort
        lease.instance.begin(limits.log_bytes)
        return run

    def _operations(
        self, version: Version, recorder: Recorder, limits: Limits, meter: Meter, stream: AsyncIterator[bytes] | None
    ) -> Operations:
        host = self.worker.host
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
        if stream is not None:
            operations.open_stream(stream, stream=0)
        return operations

    async def _pass_through(self, version: Version, request: Request) -> Response:
        target = version.code.global_outbound
        if target is None:
            raise WorkerError("Error", "passThroughOnException() was called, but this worker has no outbound.")
        try:
            answer = await (self.worker.host.outbound.fetch(request) if target is INHERIT else getattr(target, "fetch", target)(request))
        except WorkerError:
            raise
        except Exception as e:  # of the network, of the egress policy, of an embedding program's gateway
            raise WorkerError("Error", f"Network connection lost: {network_words(e)}") from e
        return answer
