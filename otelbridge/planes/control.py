"""The control plane, the hub: export, log store, live tail, and what the API shows of them. It runs no worker and imports
no engine; all it knows of workers it has from their spools and from the registry's files."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from otelbridge.lasting import LastingTask
from otelbridge.loader.registry import Registry
from otelbridge.logs import Indexer, LiveTail, Store
from otelbridge.model.passage import TailCall, TailPassage
from otelbridge.model.process import ProcessState
from otelbridge.otel import Environment, Exporter
from otelbridge.otel.measures import Measure
from otelbridge.planes.gauges import Numbers, gauges, store_losses, task_failures
from otelbridge.settings import Settings
from otelbridge.spool import SpoolReader, forget_consumer, list_spools, registered_consumers

__all__ = ["ControlPlane"]

_ADDING = "adding"  # the consumer that holds a spool until all others do


class ControlPlane:
    """See the module's text. Use as `async with ControlPlane(...)`.

    It reads all spools of the data directory, also those that processes of an earlier start left behind. Whoever knows that
    one has grown calls wake(), else they are looked into every `poll_seconds`. `notice`: takes a record of the bridge itself.
    `processes` are those of the service, set by whoever knows them; `numbers` gives numbers of theirs for metrics,
    `tail_calls` the calls of an invocation's tails, which an embedding program's workers have.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        notice: Callable[..., None],
        numbers: Callable[[], Numbers] = dict,
        tail_calls: Callable[[str], list[TailCall]] = lambda _: [],
        poll_seconds: float = 1.0,
    ) -> None:
        self.settings = settings
        self.store: Store | None = None
        self.live: LiveTail | None = None
        self._spools: dict[str, Path] = {}
        self._poll_seconds = poll_seconds
        self._indexer: Indexer | None = None
        self.processes: Sequence[ProcessState] = ()
        self._notice = notice
        self._numbers = numbers
        self._tail_calls = tail_calls
        self._wakes: list[Callable[[], None]] = []
        self._adding: dict[str, LastingTask] = {}
        self._ready = False
        self._stack = contextlib.AsyncExitStack()

    # ------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        self._ready = True
        return self

    async def _start(self) -> None:
        settings = self.settings
        self.registry = Registry(settings.data_dir / "registry")
        self._spools = list_spools(settings.data_dir / "spool")
        await asyncio.to_thread(_let_go, list(self._spools.values()))
        self.exporter = Exporter(
            settings=settings,
            environment=Environment(),
            spools=list(self._spools.values()),
            data_dir=settings.data_dir,
            tell=self._notice,
            own=self._measures,
        )
        if settings.store.enabled:
            await self._start_store()
        if settings.observability.enabled:
            self.live = await self._stack.enter_async_context(
                LiveTail(
                    spools=self._spools,
                    poll_seconds=self._poll_seconds,
                    invocation_logs=settings.observability.logs.invocation_logs,
                )
            )
            self._wakes.append(self.live.wake)
        await self._stack.enter_async_context(self.exporter)
        self._wakes.append(self.exporter.wake)

    def _measures(self) -> list[Measure]:
        subscribers = self.live.subscribers if self.live is not None else 0
        live = Measure("otelbridge.live_tail.subscribers", "{subscriber}", "Clients of the live tail.", False, [((), float(subscribers))])
        lost = store_losses(*self.store.losses()) if self.store is not None else ()
        return [*gauges(self.processes, self._numbers()), live, *lost, task_failures((t.name, t.failures) for t in self._tasks())]

    async def _start_store(self) -> None:
        settings = self.settings.store
        self.store = await self._stack.enter_async_context(
            Store(
                directory=self.settings.data_dir / "store",
                segment_records=settings.segment_records,
                retention_seconds=settings.retention_seconds,
                max_bytes=settings.max_bytes,
                query_seconds=settings.query_seconds,
                logs=self.settings.observability.logs.persist,
                spans=self.settings.observability.traces.persist,
                invocation_logs=self.settings.observability.logs.invocation_logs,
                tell=self._notice,
            )
        )
        readers = {name: SpoolReader(directory, "store") for name, directory in self._spools.items()}
        own = self.exporter.own_traces
        hold_bytes = self.settings.spool.max_bytes // 2  # at 80 % the spool begins to leave records out
        self._indexer = await self._stack.enter_async_context(
            Indexer(
                self.store, readers, poll_seconds=self._poll_seconds, hold_bytes=hold_bytes, observe=own.record if own is not None else None
            )
        )
        self._wakes.append(self._indexer.wake)

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop. What is not stored or sent yet stays in the spools. May be called twice."""
        self._ready = False
        await asyncio.gather(*(task.aclose() for task in self._adding.values()))
        await self._stack.aclose()

    def stopping(self) -> None:
        """The service stops: end what would never end by itself, like live tails."""
        self._ready = False
        if self.live is not None:
            self._ending = asyncio.ensure_future(self.live.aclose())

    def add(self, name: str) -> None:
        """Read a spool that a new process has begun. When the system has no files left for it, it is tried again until it works."""
        if name not in self._spools and name not in self._adding:
            self._adding[name] = LastingTask(f"reading the new spool {name}", functools.partial(self._add, name))

    async def _add(self, name: str) -> None:
        """What an attempt that failed halfway has done is not done again. Nobody lets go of anything before all hold on to it."""
        directory = self.settings.data_dir / "spool" / name
        await asyncio.to_thread(_hold, directory)
        if self._indexer is not None and not self._indexer.reads(name):
            self._indexer.add(name, await asyncio.to_thread(SpoolReader, directory, "store"))
        await self.exporter.add_spool(directory)
        if self.live is not None:
            await self.live.add(name, directory)
        self._spools[name] = directory
        self.wake()
        await asyncio.to_thread(forget_consumer, directory, _ADDING)

    def wake(self) -> None:
        """Something was appended to a spool. Callable from any thread, cheap when called often."""
        for wake in self._wakes:
            wake()

    async def flush(self, seconds: float) -> bool:
        """Send all that is in the spools, for at most this long; whether everything has left."""
        return await self.exporter.drain(seconds)

    # ---------------------------------------------------------------------------------------------- looking

    def ready(self) -> tuple[bool, list[str]]:
        """Whether requests can be served, and what is wrong: with processes that are missing or work that fails, they still can."""
        if not self._ready:
            return False, ["the service is starting or stopping"]
        troubles = [*(process.trouble for process in self.processes), *(task.trouble for task in self._tasks())]
        waits = [*(self._indexer.troubles if self._indexer is not None else ()), *self.exporter.troubles]
        return True, [trouble for trouble in troubles if trouble is not None] + waits

    def _tasks(self) -> list[LastingTask]:
        """All that has to go on for as long as this plane."""
        store = [self.store.upkeep] if self.store is not None else []
        live = [self.live.task] if self.live is not None else []
        index = self._indexer.tasks if self._indexer is not None else []
        return [task for task in (*store, *live, *index, *self.exporter.tasks, *self._adding.values()) if task is not None]

    def export_lines(self) -> list[str]:
        """Where telemetry is sent, in words."""
        return [f"{d.name} ({d.protocol} {d.endpoint})" for d in self.exporter.destinations]

    def exports(self) -> dict[str, Any]:
        """The loss ledger: what was emitted, delivered, queued, rejected and dropped, by destination and worker."""
        return self.exporter.exports() | {"processes": self.processes}

    async def ledger(self) -> dict[str, Any]:
        """exports(), with everything counted that is in the spools by now."""
        return await self.exporter.ledger() | {"processes": self.processes}

    def metrics_text(self) -> str:
        """Metrics of the bridge as Prometheus text."""
        return self.exporter.metrics_text()

    async def invocation(self, invocation_id: str) -> dict[str, Any] | None:
        """One invocation of the store as a TraceItem in Cloudflare's names; of one that has ended also what became of its
        records: `tail` (TailPassage) and `exports` (ExportPassage each). None when there is none."""
        found = await self.store.placed_invocation(invocation_id) if self.store is not None else None
        if found is None:
            return None
        item, place = found
        if "outcome" in item:
            stored = self._indexer.stored_ns(place) if self._indexer is not None and place is not None else None
            item["tail"] = TailPassage(
                spooled_time_unix_nano=None if place is None else str(place.time_ns),
                stored_time_unix_nano=None if stored is None else str(stored),
                calls=self._tail_calls(invocation_id),
            )
            item["exports"] = self.exporter.passages(invocation_id, place)
        return item

    async def worker_counters(self, worker_id: str | None = None) -> dict[str, dict[str, Any]]:
        """What the store has counted of all workers, or of one, by worker id."""
        if self.store is None:
            return {}
        return {
            c.worker_id: {k: v for k, v in msgspec.to_builtins(c).items() if k != "workerId"}
            for c in await self.store.worker_counters(worker_id)
        }


def _hold(directory: Path) -> None:
    SpoolReader(directory, _ADDING).close()


def _let_go(spools: Sequence[Path]) -> None:
    """Of what an earlier process held when it was killed."""
    for directory in spools:
        if _ADDING in registered_consumers(directory):
            forget_consumer(directory, _ADDING)
