"""The bridge: both planes in one process, over the same spool; the entry for programs that embed otelbridge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from otelbridge.claim import claim
from otelbridge.loader.loader import Loader
from otelbridge.loader.registry import Registered, Registry
from otelbridge.loader.worker import Entrypoint, Worker
from otelbridge.logs import LiveTail, Store
from otelbridge.model.code import WorkerCode
from otelbridge.model.http import Request
from otelbridge.model.part import Part
from otelbridge.model.process import ProcessState
from otelbridge.model.record import rfc3339
from otelbridge.planes.control import ControlPlane
from otelbridge.planes.data import DataPlane, RunResult
from otelbridge.planes.gauges import Numbers
from otelbridge.sessions import LogSession
from otelbridge.settings import Settings
from otelbridge.spool import SpoolWriter
from otelbridge.tail import TailStage

__all__ = ["Bridge"]

_SPOOL = "main"


class Bridge:
    """See the module's text. Use as `async with Bridge(Settings()) as bridge`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._started = False
        self._stack = contextlib.AsyncExitStack()

    # ------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Bridge:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        """What is started last is stopped first: workers before those who read what they leave behind."""
        settings = self.settings
        self._stack.callback(os.close, claim(settings.data_dir))
        # Of a service in several processes that was killed: no other life may use them.
        shutil.rmtree(settings.images_dir, ignore_errors=True)
        spool = settings.spool
        writer = SpoolWriter(
            settings.data_dir / "spool" / _SPOOL, segment_bytes=spool.segment_bytes, max_bytes=spool.max_bytes, sync_ms=spool.sync_ms
        )
        self._stack.callback(writer.close)
        self.tail_stage = TailStage(spool=writer)
        self.tail_stage.cut(writer.cut_bytes)
        self._stack.push_async_callback(self.tail_stage.aclose)
        control = ControlPlane(settings=settings, notice=self.tail_stage.notice, numbers=self._numbers, tail_calls=self.tail_stage.calls)
        control.processes = [ProcessState("main", "all", "running", rfc3339(time.time_ns()), os.getpid())]
        self.control = await self._stack.enter_async_context(control)
        writer.subscribe(control.wake)
        self.data = await self._stack.enter_async_context(DataPlane(settings=settings, tail_stage=self.tail_stage))
        self._started = True

    def _numbers(self) -> Numbers:
        of = self.data.instances
        return {"main": {"instances": of.live, "instances_busy": of.in_use, "invocations_queued": of.waiting}}

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: running invocations end and tails run, for as long as server.drain_seconds; then telemetry is flushed."""
        if self._started:
            self._started = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.server.drain_seconds):
                    await self.drain()
                    await self.control.flush(self.settings.server.drain_seconds)
        await self._stack.aclose()

    def stopping(self) -> None:
        """The service stops: end what would never end by itself, like live tails."""
        self.control.stopping()

    async def drain(self) -> None:
        """Wait until running invocations have ended, every tail has run and every record is in the spool."""
        await self.data.drain()

    # ---------------------------------------------------------------------------------------------- workers

    @property
    def loader(self) -> Loader:
        """Gives workers by id, or fresh ones."""
        return self.data.loader

    @property
    def registry(self) -> Registry:
        """The workers registered by put()."""
        return self.data.registry

    def worker(self, worker_id: str) -> Worker:
        """A registered worker. WorkerNotFoundError when there is none."""
        return self.data.worker(worker_id)

    async def put(self, worker_id: str, code: WorkerCode) -> Registered:
        """Load the code, and register it if that works. WorkerCodeError or WorkerLoadError if not."""
        return await self.data.put(worker_id, code)

    async def delete(self, worker_id: str) -> bool:
        """Remove a registered worker; whether there was one."""
        return await self.data.delete(worker_id)

    async def log_session(self, entrypoint: Entrypoint) -> LogSession:
        """A session that keeps the logs of the calls made through it."""
        return await self.data.log_session(entrypoint)

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
        return await self.data.run(code, request, worker_id=worker_id, timeout=timeout, listener=listener)

    # ---------------------------------------------------------------------------------------------- looking

    @property
    def store(self) -> Store | None:
        """The log store, None when it is off."""
        return self.control.store

    @property
    def live(self) -> LiveTail | None:
        """The live tail, None when it is off."""
        return self.control.live

    def exports(self) -> dict[str, Any]:
        """The loss ledger: what was emitted, delivered, queued, rejected and dropped, by destination and worker."""
        return self.control.exports()

    def metrics_text(self) -> str:
        """Metrics of the bridge as Prometheus text."""
        return self.control.metrics_text()
