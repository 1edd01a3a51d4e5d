"""The live instances of a process: idle ones to be used again, a bound on all of them, and a queue when it is reached."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from otelbridge.errors import WorkerError
from otelbridge.model.part import ColdStart

__all__ = ["Instances", "Lease", "Owner"]

QUEUE_FULL = "The worker is overloaded: no instance became free."


class Owner(Protocol):
    """A worker, as far as its instances go."""

    idle: list[Lease]
    live: int
    max_live: int


class Lease:
    """One instance in use, with what its load left behind for the first invocation."""

    __slots__ = ("cold", "instance", "load_cpu_ns", "load_entries", "owner")

    def __init__(self, instance: Any, *, owner: Owner, load_entries: bytes = b"", load_cpu_ns: int = 0, cold: ColdStart | None = None) -> None:
        self.instance = instance
        self.owner = owner
        self.load_entries = load_entries
        self.load_cpu_ns = load_cpu_ns
        self.cold = cold


class Instances:
    """Hands out instances, one invocation at a time each. Not more than `limit` live, nor `queue_limit` waiting."""

    def __init__(self, *, limit: int, queue_limit: int, queue_seconds: float) -> None:
        self.live = 0
        self.evictions = 0
        self._limit = limit
        self._queue_limit = queue_limit
        self._queue_seconds = queue_seconds
        self._idle: OrderedDict[Lease, None] = OrderedDict()  # least recently used first
        self._queue: deque[tuple[Owner, asyncio.Future[None]]] = deque()
        self._settled: list[asyncio.Future[None]] = []

    @property
    def in_use(self) -> int:
        """Instances that serve an invocation or are being made."""
        return self.live - len(self._idle)

    async def settled(self) -> None:
        """Wait until no instance is in use and nobody waits for one."""
        while self.in_use or self._queue:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settled.append(done)
            await done

    @property
    def waiting(self) -> int:
        """Invocations in the queue."""
        return len(self._queue)

    async def acquire(self, owner: Owner, make: Callable[[], Awaitable[Lease]]) -> tuple[Lease, int]:
        """An instance of this worker, made if need be, and the ns waited in the queue. WorkerError loadShed when none comes free."""
        waited = 0
        if self._queue:
            waited = await self._wait(owner)
        while not self._available(owner):
            waited += await self._wait(owner)
        if owner.idle:
            lease = owner.idle.pop()
            del self._idle[lease]
            return lease, waited
        if self.live >= self._limit:
            self._evict()
        self.live += 1
        owner.live += 1
        try:
            return await make(), waited
        except BaseException:
            self.live -= 1
            owner.live -= 1
            self._next()
            raise

    def release(self, lease: Lease, *, reuse: bool) -> None:
        """Give an instance back: kept for the next invocation, or closed."""
        if reuse:
            lease.owner.idle.append(lease)
            self._idle[lease] = None
        else:
            self._close(lease)
        self._next()

    def retire(self, owner: Owner) -> None:
        """Close the idle instances of a worker that is replaced or removed."""
        while owner.idle:
            lease = owner.idle.pop()
            del self._idle[lease]
            self._close(lease)
        self._next()

    def _available(self, owner: Owner) -> bool:
        return bool(owner.idle) or (owner.live < owner.max_live and (self.live < self._limit or bool(self._idle)))

    async def _wait(self, owner: Owner) -> int:
        if len(self._queue) >= self._queue_limit:
            raise WorkerError("Error", QUEUE_FULL, outcome="loadShed")
        started = time.monotonic_ns()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (owner, turn)
        self._queue.append(entry)
        self._next()
        try:
            async with asyncio.timeout(self._queue_seconds):
                await turn
        except TimeoutError:
            raise WorkerError("Error", QUEUE_FULL, outcome="loadShed") from None
        except asyncio.CancelledError:
            if turn.done():
                self._next()
            raise
        finally:
            if entry in self._queue:
                self._queue.remove(entry)
        return time.monotonic_ns() - started

    def _next(self) -> None:
        """Wake the first that can go on now, and whoever waits for quiet."""
        for entry in self._queue:
            owner, turn = entry
            if not turn.done() and self._available(owner):
                self._queue.remove(entry)
                turn.set_result(None)
                return
        if self._settled and not self.in_use:
            settled, self._settled = self._settled, []
            for done in settled:
                if not done.done():
                    done.set_result(None)

    def _evict(self) -> None:
        lease, _ = self._idle.popitem(last=False)
        lease.owner.idle.remove(lease)
        self.evictions += 1
        self._close(lease)

    def _close(self, lease: Lease) -> None:
        self.live -= 1
        lease.owner.live -= 1
        lease.instance.close()

    async def aclose(self) -> None:
        """Close all idle instances."""
        while self._idle:
            lease, _ = self._idle.popitem()
            lease.owner.idle.remove(lease)
            self._close(lease)
