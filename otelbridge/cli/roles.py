"""What a process of a service can be: a loader, which runs workers, or the hub, which does everything else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self

from otelbridge.cli.output import say
from otelbridge.lasting import LastingTask
from otelbridge.model.process import ProcessState
from otelbridge.processes.channel import Start
from otelbridge.processes.hub_socket import bind_hub_socket, hub_socket_path
from otelbridge.processes.priority import Priority
from otelbridge.processes.vitals import Vitals
from otelbridge.settings import Settings
from otelbridge.spool import SpoolWatch, SpoolWriter, list_spools, waiting_bytes
from otelbridge.tail import TailStage
from otelbridge.web.service import Service

if TYPE_CHECKING:
    from otelbridge.planes.control import ControlPlane
    from otelbridge.planes.data import DataPlane

__all__ = ["HubRole", "LoaderRole", "make_role"]

_VITALS_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 2.0
_SHARE_SECONDS: Final = 1.0
_BEHIND: Final = 16  # this part of what the spools may hold is too much to wait for a hub that gives way
_MIN_SPOOL_BYTES: Final = 1 << 20


def make_role(name: str) -> Callable[[Settings, Start, int, int], HubRole | LoaderRole]:
    """The role of that name, with all that it imports."""
    if name == "hub":
        import otelbridge.planes.control

        return HubRole
    import otelbridge.planes.data  # noqa: F401

    return LoaderRole


class LoaderRole:
    """Runs workers. Answers for the data plane itself, and passes everything else on to the hub."""

    def __init__(self, settings: Settings, start: Start, listen_fd: int, vitals_fd: int) -> None:
        self.settings = settings
        self.control: ControlPlane | None = None
        self.data: DataPlane | None = None
        self._start = start
        self._sock = socket.socket(fileno=listen_fd)
        self._vitals = Vitals(vitals_fd)
        self._row = self._vitals.row(start.number)
        self._tasks: list[LastingTask] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        from otelbridge.planes.data import DataPlane
        from otelbridge.web.remote import Remote

        async with contextlib.AsyncExitStack() as stack:
            stage = await _open_spool(self.settings, self._start, stack)
            self.data = await stack.enter_async_context(DataPlane(settings=self.settings, tail_stage=stage, life=self._start.life))
            self._remote = await stack.enter_async_context(
                Remote(hub_socket_path(self.settings.data_dir), query_seconds=self.settings.store.query_seconds)
            )
            self._service = await stack.enter_async_context(Service(bridge=self, remote=self._remote))
            if self._start.first:
                await self._load_workers(self.data)
            self._service.share(self._sock, self._vitals, self._row)
            self._tasks.append(LastingTask("the numbers for the hub", functools.partial(self._show_vitals, self.data)))
            self._stack = stack.pop_all()
        return self

    async def _load_workers(self, data: DataPlane) -> None:
        """Files that the user names are loaded by one loader, for all."""
        from otelbridge.cli.reload import load_samples, reload_workers

        if self._start.samples:
            await load_samples(data)
        directory = self.settings.server.reload
        if directory is not None:
            await reload_workers(data, directory, say, once=True)
            self._tasks.append(LastingTask("the reloading of worker files", functools.partial(reload_workers, data, directory, say)))

    async def _show_vitals(self, data: DataPlane) -> None:
        instances = data.instances
        while True:
            self._row.show(instances=instances.live, busy=instances.in_use, queued=instances.waiting)
            await asyncio.sleep(_VITALS_SECONDS)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(task.aclose() for task in self._tasks))
        await self._stack.aclose()

    @property
    def exports(self) -> list[str]:
        """Only the hub sends something anywhere."""
        return []

    def show(self, processes: Sequence[ProcessState]) -> None:
        """Only the hub shows them."""

    def stopping(self) -> None:
        """The service stops: live tails, which the hub serves, end here."""
        self._remote.stopping()

    async def stop(self, seconds: float, *, handover: bool) -> None:
        """Answer what runs, and write the last of it into the spool."""
        deadline = asyncio.get_running_loop().time() + seconds
        for task in self._tasks:
            task.cancel()
        await self._service.aclose(seconds, linger_seconds=_LINGER_SECONDS if handover else 0.0)
        assert self.data is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self.data.drain()


class HubRole:
    """Exports, stores and shows what the loaders leave in their spools, and answers what they pass on."""

    def __init__(self, settings: Settings, start: Start, listen_fd: int, vitals_fd: int) -> None:
        os.close(listen_fd)
        self.settings = settings
        self.control: ControlPlane | None = None
        self.data: DataPlane | None = None
        self._start = start
        self._vitals = Vitals(vitals_fd)
        self._priority = Priority()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        from otelbridge.planes.control import ControlPlane

        async with contextlib.AsyncExitStack() as stack:
            stage = await _open_spool(self.settings, self._start, stack)
            watch = SpoolWatch(self.settings.data_dir / "spool", on_append=self._wake, on_new=self._add)
            watched = watch.start()
            stack.callback(watch.close)
            plane = ControlPlane(settings=self.settings, notice=stage.notice, numbers=self._numbers, poll_seconds=1.0 if watched else 0.05)
            self.control = await stack.enter_async_context(plane)
            for name in set(watch.known):
                self.control.add(name)  # one that came between
            self._service = await stack.enter_async_context(Service(bridge=self, trusted=True))
            await self._service.listen_unix(bind_hub_socket(self.settings.data_dir))
            self._sharing = LastingTask("the hub's share of CPU time", self._share)
            stack.push_async_callback(self._sharing.aclose)
            self._stack = stack.pop_all()
        return self

    async def _share(self) -> None:
        """Requests first, for as long as telemetry does not wait too long for that."""
        while self._priority.may_yield:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(_SHARE_SECONDS)

    def _look(self) -> None:
        waiting = sum(map(waiting_bytes, list_spools(self.settings.data_dir / "spool").values()))
        most = self.settings.spool.max_bytes // _BEHIND
        self._priority.give_way(waiting < (most if self._priority.yields else most // 2))

    def _wake(self) -> None:
        if self.control is not None:
            self.control.wake()

    def _add(self, name: str) -> None:
        """A loader has begun a spool."""
        if self.control is not None:
            self.control.add(name)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _numbers(self) -> dict[str, dict[str, int]]:
        out = {}
        for process in self.control.processes if self.control is not None else ():
            if process.role == "loader":
                row = self._vitals.row(int(process.name.rpartition("-")[2]))
                names = ("instances", "instances_busy", "invocations_queued")
                out[process.name] = {"connections": row.connections, **dict(zip(names, row.shown, strict=True))}
        return out

    @property
    def exports(self) -> list[str]:
        """Where telemetry is sent, in words."""
        return self.control.export_lines() if self.control is not None else []

    def show(self, processes: Sequence[ProcessState]) -> None:
        """What GET /v1/exports says of the processes from now on."""
        if self.control is not None:
            self.control.processes = list(processes)

    def stopping(self) -> None:
        """The service stops: live tails end."""
        if self.control is not None:
            self.control.stopping()

    async def stop(self, seconds: float, *, handover: bool) -> None:
        """Answer what runs, and send what is in the spools; another hub that takes over goes on with it."""
        deadline = asyncio.get_running_loop().time() + seconds
        await self._sharing.aclose()
        self._priority.give_way(False)  # there are no requests any more
        await self._service.aclose(min(seconds, 1.0))
        if not handover and self.control is not None:
            await self.control.flush(max(deadline - asyncio.get_running_loop().time(), 0.0))


async def _open_spool(settings: Settings, start: Start, stack: contextlib.AsyncExitStack) -> TailStage:
    """The spool of this process; the loaders share what all may hold."""
    spool = settings.spool
    writer = SpoolWriter(
        settings.data_dir / "spool" / start.name,
        segment_bytes=spool.segment_bytes,
        max_bytes=max(spool.max_bytes // start.loaders, _MIN_SPOOL_BYTES),
        sync_ms=spool.sync_ms,
    )
    stack.callback(writer.close)
    stage = TailStage(spool=writer)
    stage.cut(writer.cut_bytes)
    stack.push_async_callback(stage.aclose)
    if start.notice is not None:
        stage.notice("error", start.notice, event="otelbridge.process.restarted", process=start.name)
    return stage
