"""The data plane: runs workers, and writes what they leave behind into the spool. One in each process that runs workers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import msgspec

from otelbridge.errors import WorkerError, WorkerNotFoundError
from otelbridge.loader.instances import Instances
from otelbridge.loader.loader import LARGE_CODE_BYTES, MAX_WORKERS, Loader, code_size
from otelbridge.loader.outbound import Outbound
from otelbridge.loader.registry import Registered, Registry
from otelbridge.loader.values import pack
from otelbridge.loader.version import Runtimes
from otelbridge.loader.worker import Entrypoint, Host, Worker
from otelbridge.model.code import Limits, WorkerCode, check_code, version_of
from otelbridge.model.http import Request, Response
from otelbridge.model.part import Part
from otelbridge.model.trace import TraceItem
from otelbridge.sandbox import CoreRuntime, Engine, JsRuntime, SharedImages
from otelbridge.sessions import LogSession, SessionLogs
from otelbridge.settings import Settings
from otelbridge.tail import BridgeTail, TailStage

__all__ = ["DataPlane", "RunResult", "Timing"]


class Timing(msgspec.Struct, frozen=True, rename="camel"):
    """Where the time of a run went, in milliseconds."""

    compile_ms: float
    start_ms: float
    run_ms: float
    total_ms: float
    cold_start: bool


class RunResult(msgspec.Struct, frozen=True):
    """What one run gave: a response or the error in its place, and what was logged."""

    response: Response | None
    body: bytes
    error: WorkerError | None
    logs: SessionLogs
    timing: Timing

    @property
    def item(self) -> TraceItem | None:
        return self.logs.item


class _Met(msgspec.Struct, frozen=True):
    """A registration that this process has seen; `key`: what the loader knows its worker by."""

    entry: Registered
    key: str
    make_code: Callable[[], Awaitable[WorkerCode]]


class DataPlane:
    """See the module's text. Use as `async with DataPlane(...)`; `tail_stage` is over the spool's writer and outlives it.

    `life`: a name for this life of the service, if other processes take part in it.
    """

    def __init__(self, *, settings: Settings, tail_stage: TailStage, life: str | None = None) -> None:
        self.settings = settings
        self._life = life
        self.tail = BridgeTail()
        self._tails = (self.tail,) if settings.observability.enabled else ()
        self.tail_stage = tail_stage
        self._met: dict[str, _Met] = {}  # by worker id
        self._stack = contextlib.AsyncExitStack()

    # ------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        settings = self.settings
        sandbox = settings.sandbox
        engine = await self._stack.enter_async_context(
            Engine(
                cache_dir=settings.cache_dir,
                max_instances=sandbox.max_instances,
                max_memory_bytes=settings.limits_max.memory_mb << 20,
                tick_ms=sandbox.tick_ms,
                compile_seconds=sandbox.compile_seconds,
            )
        )
        self.instances = Instances(limit=sandbox.max_instances, queue_limit=sandbox.queue_limit, queue_seconds=sandbox.queue_seconds)
        self._stack.push_async_callback(self.instances.aclose)
        out = settings.outbound
        outbound = await self._stack.enter_async_context(
            Outbound(
                allow_private=out.allow_private,
                allow=out.allow,
                deny=out.deny,
                timeout_seconds=out.timeout_seconds,
                max_response_bytes=out.max_response_bytes,
            )
        )
        javascript = JsRuntime(engine)
        self._images = SharedImages(javascript, settings.images_dir, self._life) if self._life is not None else None
        host = Host(
            runtimes=Runtimes(javascript, CoreRuntime(engine), self._images),
            instances=self.instances,
            outbound=outbound,
            tail=self.tail_stage,
            defaults=_limits(settings.limits),
            maxima=_limits(settings.limits_max),
            max_per_worker=sandbox.max_per_worker,
            propagate=_propagates(os.environ),
        )
        self.loader = Loader(host=host)
        self.registry = Registry(settings.data_dir / "registry")

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what still runs, and close all instances. May be called twice."""
        await self._stack.aclose()

    async def drain(self) -> None:
        """Wait until running invocations have ended, every tail has run and every record is in the spool."""
        await self.instances.settled()
        await self.tail_stage.drain()

    # ---------------------------------------------------------------------------------------------- workers

    def worker(self, worker_id: str) -> Worker:
        """A registered worker. WorkerNotFoundError when there is none."""
        entry = self.registry.get(worker_id)
        met = self._met.get(worker_id)
        if met is None or met.entry is not entry:
            met = self._meet(worker_id, entry)
        if met is None:
            raise WorkerNotFoundError(worker_id)
        return self.loader.get(worker_id, met.make_code, key=met.key, registration=met.key)

    def _meet(self, worker_id: str, entry: Registered | None) -> _Met | None:
        """Another process, or this one, has replaced or removed a worker: close the instances of the version before."""
        # The time of registration is part of the key: what replaces a worker is loaded anew, also in other processes.
        key = _registration(entry) if entry is not None else None
        before = self._met.pop(worker_id, None)
        if before is not None and before.key != key:
            self.loader.forget(before.key)
        if entry is None or key is None:
            return None
        met = self._met[worker_id] = _Met(entry, key, functools.partial(self._code, worker_id))
        if len(self._met) > MAX_WORKERS:  # the loader has forgotten the oldest too
            self._met.pop(next(iter(self._met)))
        return met

    async def _code(self, worker_id: str) -> WorkerCode:
        if self.registry.code_bytes(worker_id) > LARGE_CODE_BYTES:
            code = await asyncio.to_thread(self.registry.code, worker_id)
        else:
            code = self.registry.code(worker_id)
        if code is None:
            raise WorkerNotFoundError(worker_id)
        return msgspec.structs.replace(code, tails=self._tails)

    async def put(self, worker_id: str, code: WorkerCode) -> Registered:
        """Load the code, and register it if that works. WorkerCodeError or WorkerLoadError if not."""
        warnings = await self.loader.try_out(worker_id, msgspec.structs.replace(code, tails=self._tails))
        before = self.registry.get(worker_id)
        entry = await asyncio.to_thread(self.registry.put, worker_id, code, warnings)  # fsyncs
        self._meet(worker_id, self.registry.get(worker_id))
        await self._drop_image(before)
        return entry

    async def delete(self, worker_id: str) -> bool:
        """Remove a registered worker; whether there was one."""
        before = self.registry.get(worker_id)
        deleted = await asyncio.to_thread(self.registry.delete, worker_id)
        self._meet(worker_id, self.registry.get(worker_id))
        await self._drop_image(before)
        return deleted

    async def _drop_image(self, entry: Registered | None) -> None:
        """Nobody asks for the image of a registration that is no more. One that is being stored in this moment is left to the bound."""
        if self._images is not None and entry is not None:
            await asyncio.to_thread(self._images.drop, _registration(entry), entry.version)

    # ---------------------------------------------------------------------------------------- logs right away

    async def log_session(self, entrypoint: Entrypoint) -> LogSession:
        """A session that keeps the logs of the calls made through it."""
        return LogSession(entrypoint)

    async def run(
        self,
        code: WorkerCode,
        request: Request,
        *,
        worker_id: str | None = None,
        timeout: float = 1.0,
        listener: Callable[[Part], None] | None = None,
    ) -> RunResult:
        """Run code once and give back its response and logs. What the worker throws is in the result, not raised.

        `listener`: see LogSession.
        """
        started = time.monotonic_ns()
        content = await asyncio.to_thread(_content_id, code) if code_size(code) > LARGE_CODE_BYTES else _content_id(code)
        name = worker_id or content
        bridged = msgspec.structs.replace(code, tails=(*code.tails, *self._tails))
        worker = self.loader.get(name, lambda: bridged, key=f"{name}\0run\0{content}")
        session = LogSession(worker.get_entrypoint(), listener=listener)
        response: Response | None = None
        error: WorkerError | None = None
        body = b""
        try:
            response = await session.fetch(request)
            body = await response.bytes()
        except WorkerError as e:
            error = e
        ran = time.monotonic_ns()
        logs = await session.get_logs(timeout)
        return RunResult(response, body, error, logs, _timing(logs, started, ran))


def _registration(entry: Registered) -> str:
    return f"{entry.worker_id}\0{entry.updated_ns}"


def _content_id(code: WorkerCode) -> str:
    return version_of(code, check_code(code), msgspec.json.encode(pack(dict(code.env), lambda service: str(id(service)))))


def _timing(logs: SessionLogs, started: int, ran: int) -> Timing:
    total = (ran - started) / 1e6
    cold = logs.end.cold_start if logs.end is not None else None
    load = (cold.end_ns - cold.start_ns) / 1e6 if cold is not None else 0.0
    compile_ms = cold.compile_ns / 1e6 if cold is not None else 0.0
    return Timing(round(compile_ms, 3), round(load - compile_ms, 3), round(total - load, 3), round(total, 3), cold is not None)


def _propagates(environ: Mapping[str, str]) -> bool:
    """Whether OTEL_PROPAGATORS has W3C trace context, the only one there is. Read here: a loader imports nothing of otel/."""
    words = environ.get("OTEL_PROPAGATORS", "").strip().lower() or "tracecontext"
    return "tracecontext" in (word.strip() for word in words.split(","))


def _limits(section: Any) -> Limits:
    return Limits(**{name: getattr(section, name) for name in Limits.__struct_fields__})
